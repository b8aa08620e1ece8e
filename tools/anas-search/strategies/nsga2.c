// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// NSGA-II (Deb et al., 2002) without crossover: generations of --population trials; survivors by rank and crowding,
// parents by binary tournaments among them.
#include "tools/anas-search/strategies/population.h"

// The population is in crowded order, so the smaller index wins.
static int64_t choose(const struct search *search, const struct population *population, struct anas_rng *rng,
                      json_t *decision) {
  (void)search;
  uint64_t count = (uint64_t)population->count, a = anas_rng_below(rng, count), b = anas_rng_below(rng, count),
           winner = a < b ? a : b;
  json_object_set_new(decision, "place", json_integer((json_int_t)winner));
  return population->numbers[winner];
}

static anas_status propose(struct search *search, int64_t number, int64_t visible, struct anas_rng *rng,
                           struct proposal *out) {
  (void)number;
  // A generation breeds from the survivors of the last complete one.
  int64_t size = search->options.population, generations = visible / size;
  struct population_memory *memory = population_recall(search, visible);
  population_select(&memory->population, search, memory->seen, generations * size, size);
  memory->seen = generations * size;
  return population_propose(search, "nsga2", &memory->population, choose, visible, rng, out);
}

const struct search_strategy strategy_nsga2 = {
    .name = "nsga2",
    .summary = "NSGA-II: generations of --population; survival by non-domination rank and crowding distance",
    .propose = propose,
    .forget = population_forget,
};
