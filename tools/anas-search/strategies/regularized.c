// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Regularised (ageing) evolution: tournaments among the youngest (Real et al., "Regularized evolution for image
// classifier architecture search", 2019). The oldest member dies, however good it is.
#include "passes/search/nondominated.h"
#include "tools/anas-search/strategies/population.h"

// Of --sample members drawn with replacement, one that no other of them dominates; the first objective decides ties.
static int64_t choose(const struct search *search, const struct population *population, struct anas_rng *rng,
                      json_t *decision) {
  int best = -1;
  for (int64_t i = 0; i < search->options.sample; i++) {
    int member = (int)anas_rng_below(rng, (uint64_t)population->count);
    const double *row = population->rows + (size_t)member * (size_t)population->num_objectives,
                 *other = best < 0 ? NULL : population->rows + (size_t)best * (size_t)population->num_objectives;
    if (best < 0 || anas_dominates(row, other, population->num_objectives) ||
        (!anas_dominates(other, row, population->num_objectives) && row[0] > other[0]))
      best = member;
  }
  json_object_set_new(decision, "sample", json_integer((json_int_t)search->options.sample));
  return population->numbers[best];
}

static anas_status propose(struct search *search, int64_t number, int64_t visible, struct anas_rng *rng,
                           struct proposal *out) {
  (void)number;
  struct population population = population_newest(search, visible, search->options.population);
  anas_status status = population_propose(search, "regularized", &population, choose, visible, rng, out);
  population_deinit(&population);
  return status;
}

const struct search_strategy strategy_regularized = {
    .name = "regularized",
    .summary = "ageing evolution: tournaments of --sample among the last --population candidates",
    .propose = propose,
};
