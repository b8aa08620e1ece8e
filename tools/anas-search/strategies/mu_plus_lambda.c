// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// (mu + lambda) evolution: the best --population of everything tried so far are the parents, one child at a time, so
// lambda is the number of workers.
#include "tools/anas-search/strategies/population.h"

static anas_status propose(struct search *search, int64_t number, int64_t visible, struct anas_rng *rng,
                           struct proposal *out) {
  (void)number;
  int64_t size = search->options.population, whole = visible / size * size;
  struct population_memory *memory = population_recall(search, visible);
  population_select(&memory->population, search, memory->seen, whole, size);
  memory->seen = whole;
  struct population population = population_copy(&memory->population);
  population_select(&population, search, whole, visible, size);
  anas_status status = population_propose(search, "mu-plus-lambda", &population, population_uniform, visible, rng, out);
  population_deinit(&population);
  return status;
}

const struct search_strategy strategy_mu_plus_lambda = {
    .name = "mu-plus-lambda",
    .summary = "elitist evolution: parents uniformly from the best --population of all, by rank and crowding",
    .propose = propose,
    .forget = population_forget,
};
