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
  if (trial->state != STUDY_COMPLETE && trial->state != STUDY_PRUNED) return false;
  for (int o = 0; o < search->options.num_objectives; o++) {
    row[o] = search_expected(search, &search->options.objectives[o], trial);
    if (!isfinite(row[o])) return false;
  }
  return true;
}

static void add(struct population *population, int64_t number, const double *row) {
  size_t count = (size_t)population->count, objectives = (size_t)population->num_objectives;
  population->numbers =
      anas_grow(population->numbers, count, &population->capacity_numbers, sizeof *population->numbers);
  population->rows =
      anas_grow(population->rows, (count + 1) * objectives - 1, &population->capacity_rows, sizeof *population->rows);
  population->numbers[count] = number;
  memcpy(population->rows + count * objectives, row, objectives * sizeof *row);
  population->count++;
}

void population_extend(struct population *population, const struct search *search, int64_t first, int64_t end) {
  double row[MAX_OBJECTIVES];
  for (int64_t i = first; i < end; i++)
    if (read_row(search, i, row)) add(population, i, row);
}

struct population population_newest(const struct search *search, int64_t end, int64_t newest) {
  double row[MAX_OBJECTIVES];
  int64_t first = end;
  for (int64_t found = 0; first > 0 && found < newest; found += read_row(search, first, row))
    first--;
  struct population out = {.num_objectives = search->options.num_objectives};
  population_extend(&out, search, first, end);
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

static const double *row_of(const struct population *population, int member) {
  return population->rows + (size_t)member * (size_t)population->num_objectives;
}

void population_truncate(struct population *population, int64_t size) {
  int *order = population_order(population);
  struct population best = {.num_objectives = population->num_objectives};
  for (int i = 0; i < population->count && i < size; i++)
    add(&best, population->numbers[order[i]], row_of(population, order[i]));
  free(order);
  population_deinit(population);
  *population = best;
}

void population_select(struct population *population, const struct search *search, int64_t first, int64_t end,
                       int64_t size) {
  for (; first < end; first += size) {
    population_extend(population, search, first, first + size < end ? first + size : end);
    population_truncate(population, size);
  }
}

struct population population_copy(const struct population *population) {
  struct population copy = {.num_objectives = population->num_objectives};
  for (int i = 0; i < population->count; i++)
    add(&copy, population->numbers[i], row_of(population, i));
  return copy;
}

struct population_memory *population_recall(struct search *search, int64_t visible) {
  struct population_memory *memory = search->memory;
  if (memory && memory->seen > visible) {
    population_forget(memory);
    memory = NULL;
  }
  if (!memory) {
    memory = anas_alloc(sizeof *memory);
    memory->population.num_objectives = search->options.num_objectives;
  }
  search->memory = memory;
  return memory;
}

void population_forget(void *memory) {
  population_deinit(&((struct population_memory *)memory)->population);
  free(memory);
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

anas_status population_propose(struct search *search, const char *strategy, const struct population *population,
                               population_choose choose, int64_t visible, struct anas_rng *rng, struct proposal *out) {
  struct choice choice = {population, choose};
  return proposal_mutate(search, strategy, choose_member, &choice, visible, rng, out);
}
