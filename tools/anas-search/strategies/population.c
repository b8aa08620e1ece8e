// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Populations of trained candidates, read from the log of trials.
#include "tools/anas-search/strategies/population.h"

#include "passes/search/nondominated.h"
#include "runtime/support/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool read_row(const struct search *search, int64_t number, double *row) {
  const struct study_trial *trial = &search->trials[number];
  if (trial->state != STUDY_COMPLETE) return false;
  for (int o = 0; o < search->options.num_objectives; o++) {
    row[o] = search_standardised(&search->options.objectives[o], trial);
    if (!isfinite(row[o])) return false;
  }
  return true;
}

struct population population_read(const struct search *search, int64_t first, int64_t end, int64_t newest) {
  int objectives = search->options.num_objectives;
  int64_t room = end > first ? end - first : 0;
  if (newest > 0 && room > newest) room = newest;
  struct population out = {.num_objectives = objectives};
  out.numbers = anas_calloc((size_t)room, sizeof *out.numbers);
  out.rows = anas_calloc((size_t)room * (size_t)objectives, sizeof *out.rows);
  for (int64_t i = end - 1; i >= first && out.count < room; i--)
    if (read_row(search, i, out.rows + (size_t)out.count * (size_t)objectives)) out.numbers[out.count++] = i;
  for (int i = 0, j = out.count - 1; i < j; i++, j--) { // read backwards
    int64_t number = out.numbers[i];
    out.numbers[i] = out.numbers[j];
    out.numbers[j] = number;
    for (int o = 0; o < objectives; o++) {
      double *a = &out.rows[i * objectives + o], *b = &out.rows[j * objectives + o], value = *a;
      *a = *b;
      *b = value;
    }
  }
  return out;
}

void population_deinit(struct population *population) {
  free(population->numbers);
  free(population->rows);
}

int *population_order(const struct population *population) {
  size_t count = (size_t)population->count;
  int *rank = anas_calloc(count, sizeof *rank), *order = anas_calloc(count, sizeof *order);
  double *distance = anas_calloc(count, sizeof *distance);
  anas_nondominated_ranks(population->rows, population->count, population->num_objectives, rank);
  anas_crowding_distances(population->rows, rank, population->count, population->num_objectives, distance);
  anas_crowded_order(rank, distance, population->count, order);
  free(distance);
  free(rank);
  return order;
}

static void copy_member(struct population *to, int index, const struct population *from, int member) {
  size_t objectives = (size_t)from->num_objectives;
  to->numbers[index] = from->numbers[member];
  memcpy(to->rows + (size_t)index * objectives, from->rows + (size_t)member * objectives,
         objectives * sizeof *to->rows);
}

void population_truncate(struct population *population, int64_t size) {
  int *order = population_order(population);
  int kept = population->count < size ? population->count : (int)size;
  struct population best = {.count = kept, .num_objectives = population->num_objectives};
  best.numbers = anas_calloc((size_t)kept, sizeof *best.numbers);
  best.rows = anas_calloc((size_t)kept * (size_t)best.num_objectives, sizeof *best.rows);
  for (int i = 0; i < kept; i++)
    copy_member(&best, i, population, order[i]);
  free(order);
  population_deinit(population);
  *population = best;
}

void population_append(struct population *population, const struct population *more) {
  size_t count = (size_t)(population->count + more->count), objectives = (size_t)more->num_objectives;
  struct population both = {.num_objectives = more->num_objectives};
  both.numbers = anas_calloc(count, sizeof *both.numbers);
  both.rows = anas_calloc(count * objectives, sizeof *both.rows);
  for (int i = 0; i < population->count; i++)
    copy_member(&both, both.count++, population, i);
  for (int i = 0; i < more->count; i++)
    copy_member(&both, both.count++, more, i);
  population_deinit(population);
  *population = both;
}

int64_t population_uniform(const struct search *search, const struct population *population, struct anas_rng *rng,
                           json_t *decision) {
  (void)search;
  (void)decision;
  return population->numbers[anas_rng_below(rng, (uint64_t)population->count)];
}

struct choice {
  const struct population *population;
  population_choose choose;
};

static int64_t choose_member(const struct search *search, int64_t visible, const void *data, struct anas_rng *rng,
                             json_t *decision) {
  (void)visible;
  const struct choice *choice = data;
  json_object_set_new(decision, "population", json_integer(choice->population->count));
  return choice->population->count ? choice->choose(search, choice->population, rng, decision) : 0;
}

anas_status population_propose(struct search *search, const char *strategy, struct population *population,
                               population_choose choose, int64_t visible, struct anas_rng *rng, struct proposal *out) {
  struct choice choice = {population, choose};
  anas_status status = proposal_mutate(search, strategy, choose_member, &choice, visible, rng, out);
  population_deinit(population);
  return status;
}
