// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// (mu + lambda) evolution: the best --population of everything tried so far are the parents, one child at a time, so
// lambda is the number of workers.
#include "tools/anas-search/strategies/population.h"

static anas_status propose(struct search *search, int64_t number, int64_t visible, struct anas_rng *rng,
                           struct proposal *out) {
  (void)number;
  // A few at a time: ranking is quadratic.
  int64_t size = search->options.population;
  struct population population = {.num_objectives = search->options.num_objectives};
  for (int64_t first = 0; first < visible; first += size) {
    struct population more = population_read(search, first, first + size < visible ? first + size : visible, 0);
    population_append(&population, &more);
    population_deinit(&more);
    population_truncate(&population, size);
  }
  return population_propose(search, "mu-plus-lambda", &population, population_uniform, visible, rng, out);
}

const struct search_strategy strategy_mu_plus_lambda = {
    .name = "mu-plus-lambda",
    .summary = "elitist evolution: parents uniformly from the best --population of all, by rank and crowding",
    .propose = propose,
};
