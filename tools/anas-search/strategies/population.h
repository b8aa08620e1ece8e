// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What strategies share that keep a population of trained candidates: reading it from the log of trials, and children
// by mutating one of it. The log and the trial's number decide; what a strategy remembers from one decision to the next
// only saves reading the log again.
#ifndef ANAS_TOOLS_ANAS_SEARCH_POPULATION_H
#define ANAS_TOOLS_ANAS_SEARCH_POPULATION_H

#include "tools/anas-search/search.h"

// Candidates with finite values of every objective, in order of their numbers.
struct population {
  int64_t *numbers;
  double *rows; // count x objectives, standardised: higher is better
  int count, num_objectives;
  size_t capacity_numbers, capacity_rows;
};
// The last 'newest' candidates of the trials below end.
struct population population_newest(const struct search *search, int64_t end, int64_t newest);
void population_deinit(struct population *population);
// Appends the candidates of the trials [first, end).
void population_extend(struct population *population, const struct search *search, int64_t first, int64_t end);
// Orders members 0..count-1 by rank, then crowding distance (passes/search/nondominated.h). malloc'ed.
int *population_order(const struct population *population);
// Keeps the best 'size' of that order, in order.
void population_truncate(struct population *population, int64_t size);
// Adds the trials [first, end) 'size' at a time and keeps the best 'size' after each (ranking is quadratic).
void population_select(struct population *population, const struct search *search, int64_t first, int64_t end,
                       int64_t size);
struct population population_copy(const struct population *population);

// What the population strategies remember: a population made from the trials below seen. It is empty, with seen 0,
// before the first decision and where a decision may see less than the last one did (replay).
struct population_memory {
  struct population population;
  int64_t seen;
};
struct population_memory *population_recall(struct search *search, int64_t visible);
void population_forget(void *memory);

// Chooses a parent; population is not empty. What led to it may be added to the decision.
typedef int64_t (*population_choose)(const struct search *search, const struct population *population,
                                     struct anas_rng *rng, json_t *decision);
int64_t population_uniform(const struct search *search, const struct population *population, struct anas_rng *rng,
                           json_t *decision); // any member
// Proposes a mutation of a chosen member, trying others while nothing new is found. An empty population stands for the
// seed model.
anas_status population_propose(struct search *search, const char *strategy, const struct population *population,
                               population_choose choose, int64_t visible, struct anas_rng *rng, struct proposal *out);

#endif
