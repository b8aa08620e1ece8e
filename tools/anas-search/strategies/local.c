// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Pareto local search: neighbours (one mutation) of the least explored candidate of the front. With one objective this
// is hill climbing; when an incumbent has had --population children in vain, the search goes on from a random
// candidate.
#include "passes/search/pareto.h"
#include "tools/anas-search/strategies/population.h"

#include "runtime/support/memory.h"

#include <stdlib.h>

static int64_t count_children(const struct search *search, int64_t number) {
  int64_t children = 0;
  for (int64_t i = number + 1; i < search->num_trials; i++)
    children += search->trials[i].parent == number;
  return children;
}

static int64_t choose(const struct search *search, const struct population *population, struct anas_rng *rng,
                      json_t *decision) {
  bool *front = anas_calloc((size_t)population->count, sizeof *front);
  anas_pareto_front(population->rows, population->count, population->num_objectives, front);
  int64_t fewest = INT64_MAX, chosen = 0;
  for (int i = 0; i < population->count; i++) {
    if (!front[i]) continue;
    int64_t children = count_children(search, population->numbers[i]);
    if (children >= fewest) continue;
    fewest = children;
    chosen = population->numbers[i];
  }
  free(front);
  bool restart = fewest >= search->options.population;
  if (restart) chosen = population->numbers[anas_rng_below(rng, (uint64_t)population->count)];
  json_object_set_new(decision, "restart", json_boolean(restart));
  return chosen;
}

static anas_status propose(struct search *search, int64_t number, int64_t visible, struct anas_rng *rng,
                           struct proposal *out) {
  (void)number;
  struct population population = population_read(search, 0, visible, 0);
  return population_propose(search, "local", &population, choose, visible, rng, out);
}

const struct search_strategy strategy_local = {
    .name = "local",
    .summary = "Pareto local search: neighbours of the least explored candidate of the front",
    .propose = propose,
};
