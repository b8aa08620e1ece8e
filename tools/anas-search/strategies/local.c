// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Pareto local search: neighbours (one mutation) of the least explored candidate of the front. With one objective this
// is hill climbing; when an incumbent has had --population children in vain, the search goes on from a random
// candidate.
#include "passes/search/nondominated.h"
#include "tools/anas-search/strategies/population.h"

#include "runtime/support/memory.h"

#include <stdlib.h>

struct memory {
  struct population all; // of the trials below seen
  int64_t seen;
  int *front; // members of 'all', in order
  int num_front;
  size_t capacity_front;
  int64_t *children; // by number, of the trials below counted
  int64_t counted;
  size_t capacity_children;
};

static void forget(void *data) {
  struct memory *memory = data;
  population_deinit(&memory->all);
  free(memory->front);
  free(memory->children);
  free(memory);
}

static const double *row_of(const struct population *population, int member) {
  return population->rows + (size_t)member * (size_t)population->num_objectives;
}

// Equal rows are all kept.
static void join_front(struct memory *memory, int member) {
  const struct population *all = &memory->all;
  const double *row = row_of(all, member);
  int kept = 0;
  for (int i = 0; i < memory->num_front; i++)
    if (anas_dominates(row_of(all, memory->front[i]), row, all->num_objectives)) return;
  for (int i = 0; i < memory->num_front; i++)
    if (!anas_dominates(row, row_of(all, memory->front[i]), all->num_objectives))
      memory->front[kept++] = memory->front[i];
  memory->front = anas_grow(memory->front, (size_t)kept, &memory->capacity_front, sizeof *memory->front);
  memory->front[kept] = member;
  memory->num_front = kept + 1;
}

// Results may be looked at below visible only; children are counted as soon as they are decided.
static struct memory *recall(struct search *search, int64_t visible) {
  struct memory *memory = search->memory;
  if (memory && (memory->seen > visible || memory->counted > search->num_trials)) { // replay
    forget(memory);
    memory = NULL;
  }
  if (!memory) memory = anas_alloc(sizeof *memory);
  search->memory = memory;
  memory->all.num_objectives = search->options.num_objectives;
  int known = memory->all.count;
  population_extend(&memory->all, search, memory->seen, visible);
  memory->seen = visible;
  for (; known < memory->all.count; known++)
    join_front(memory, known);
  for (; memory->counted < search->num_trials; memory->counted++) {
    memory->children =
        anas_grow(memory->children, (size_t)memory->counted, &memory->capacity_children, sizeof *memory->children);
    memory->children[memory->counted] = 0;
    int64_t parent = search->trials[memory->counted].parent;
    if (parent >= 0) memory->children[parent]++;
  }
  return memory;
}

static int64_t choose(const struct search *search, const struct population *population, struct anas_rng *rng,
                      json_t *decision) {
  const struct memory *memory = search->memory;
  int64_t fewest = INT64_MAX, chosen = 0;
  for (int i = 0; i < memory->num_front; i++) {
    int64_t number = population->numbers[memory->front[i]];
    if (memory->children[number] >= fewest) continue;
    fewest = memory->children[number];
    chosen = number;
  }
  bool restart = fewest >= search->options.population;
  if (restart) chosen = population->numbers[anas_rng_below(rng, (uint64_t)population->count)];
  json_object_set_new(decision, "restart", json_boolean(restart));
  return chosen;
}

static anas_status propose(struct search *search, int64_t number, int64_t visible, struct anas_rng *rng,
                           struct proposal *out) {
  (void)number;
  struct memory *memory = recall(search, visible);
  return population_propose(search, "local", &memory->all, choose, visible, rng, out);
}

const struct search_strategy strategy_local = {
    .name = "local",
    .summary = "Pareto local search: neighbours of the least explored candidate of the front",
    .propose = propose,
    .forget = forget,
};
