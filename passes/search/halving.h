// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Budgets of candidates that are trained in stages: successive halving (Jamieson and Talwalkar, 2016; asynchronous: Li
// et al., "A System for Massively Parallel Hyperparameter Tuning", 2018), the brackets of Hyperband (Li et al., 2017),
// the median rule (Golovin et al., "Google Vizier", 2017).
#ifndef ANAS_PASSES_SEARCH_HALVING_H
#define ANAS_PASSES_SEARCH_HALVING_H

#include <stdbool.h>
#include <stdint.h>

#define ANAS_MAX_RUNGS 16

// What a candidate is trained for before it is compared: budget / factor^k for every k >= 1 where that is not below
// 'least', ascending. Returns how many there are: at most ANAS_MAX_RUNGS. factor >= 2, least > 0.
int anas_halving_rungs(double budget, double least, int64_t factor, double out_rungs[ANAS_MAX_RUNGS]);

// Candidates at a rung. Those that are judged compete with each other for going on; the others were there before, and
// count in the ranking only: what is good among its own generation may have been known for long.
struct anas_rung {
  const double *rows;     // count x num_objectives, see nondominated.h; higher is better
  const double *accuracy; // count, or null
  const bool *judged;     // count; null: all are
  int count, num_objectives;
};

// Marks the judged rows that go on: floor(number of judged / factor), but at least one, by non-domination rank, then
// crowding distance, both among all rows, then place. Rows less than half as accurate as the best one are hopeless:
// they would be on the front for being small. They come last and do not go on, even if nobody else does.
void anas_halving_keep(const struct anas_rung *rung, int64_t factor, bool *out_keep);

// The first of num_rungs rungs at which candidate 'number' is compared: 0, the most aggressive bracket, up to
// num_rungs, none at all. Of every cycle of candidates, bracket b has ceil((K + 1) / (K - b + 1) * factor^(K - b))
// with K = num_rungs, as in Hyperband; the brackets of a cycle are spread evenly over it.
int anas_hyperband_bracket(int64_t number, int num_rungs, int64_t factor);

// Whether a value (higher is better) is below the median of others.
bool anas_below_median(double value, const double *others, int count);

#endif
