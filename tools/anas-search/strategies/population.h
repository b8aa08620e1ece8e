// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What strategies share that keep a population of trained candidates: reading it from the log of trials, and children
// by mutating one of it. A strategy has no state of its own: the log and the trial's number decide.
#ifndef ANAS_TOOLS_ANAS_SEARCH_POPULATION_H
#define ANAS_TOOLS_ANAS_SEARCH_POPULATION_H

#include "tools/anas-search/search.h"

// Candidates with finite values of every objective, in order of their numbers.
struct population {
  int64_t *numbers;
  double *rows; // count x objectives, standardised: higher is better
  int count, num_objectives;
};
// Of the trials [first, end) the last 'newest'; 0: all.
struct population population_read(const struct search *search, int64_t first, int64_t end, int64_t newest);
void population_deinit(struct population *population);
// Orders members 0..count-1 by rank, then crowding distance (passes/search/nondominated.h). malloc'ed.
int *population_order(const struct population *population);
// Keeps the best 'size' of that order, in order.
void population_truncate(struct population *population, int64_t size);
// Appends the members of another one.
void population_append(struct population *population, const struct population *more);

// Chooses a parent; population is not empty. What led to it may be added to the decision.
typedef int64_t (*population_choose)(const struct search *search, const struct population *population,
                                     struct anas_rng *rng, json_t *decision);
int64_t population_uniform(const struct search *search, const struct population *population, struct anas_rng *rng,
                           json_t *decision); // any member
// Proposes a mutation of a chosen member, trying others while nothing new is found. An empty population stands for the
// seed model. The population is taken over.
anas_status population_propose(struct search *search, const char *strategy, struct population *population,
                               population_choose choose, int64_t visible, struct anas_rng *rng, struct proposal *out);

#endif
