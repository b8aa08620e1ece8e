// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The baseline of undirected evolution: mutations of uniformly chosen candidates, whatever their results.
#include "tools/anas-search/strategies/population.h"

static anas_status propose(struct search *search, int64_t number, int64_t visible, struct anas_rng *rng,
                           struct proposal *out) {
  (void)number;
  struct population_memory *memory = population_recall(search, visible);
  population_extend(&memory->population, search, memory->seen, visible);
  memory->seen = visible;
  return population_propose(search, "mutation", &memory->population, population_uniform, visible, rng, out);
}

const struct search_strategy strategy_mutation = {
    .name = "mutation",
    .summary = "baseline: one mutation of any candidate that could be trained, chosen uniformly",
    .propose = propose,
    .forget = population_forget,
};
