// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Pareto curves of two objectives and the weights of parent selection (spec 4.4 and 4.7); fronts of any number of
// objectives. Everything here is "higher is better": callers negate what they minimise.
#ifndef ANAS_PASSES_SEARCH_PARETO_H
#define ANAS_PASSES_SEARCH_PARETO_H

#include "runtime/support/rng.h"

#include <stdbool.h>
#include <stdint.h>

struct anas_point {
  double first, second;
};

// Non-dominated points from best first to best second; equal points count once. curve has room for count points;
// returns how many. Other functions expect a curve in this order.
int anas_pareto_curve(const struct anas_point *points, int count, struct anas_point *curve);

// No curve point is at least as good in both objectives.
bool anas_pareto_optimal(const struct anas_point *curve, int curve_count, struct anas_point point);

// A point on the polyline of the curve: uniform segment, uniform position. count > 0.
struct anas_point anas_pareto_sample(const struct anas_point *curve, int curve_count, struct anas_rng *rng);

// Scale of each objective for distances: the ranges of the curve, or of its smallest stretch that contains anchor in
// both objectives; (1, 1) where a range is zero. anchor may be null.
struct anas_point anas_pareto_scale(const struct anas_point *curve, int curve_count, const struct anas_point *anchor);

// Distance to anchor, or to the polyline if anchor is null, in units of scale; negative for points beyond the curve.
// Lower is better. The reference measures some distances to the polyline unscaled (spec 4.7); here all are scaled.
double anas_pareto_weight(const struct anas_point *curve, int curve_count, const struct anas_point *anchor,
                          struct anas_point scale, struct anas_point point);

// One index of weights (lower is better, count > 0): the top max(10 %, 10) compete with probability proportional to
// 10^(-w), w scaled to 0..1 (spec 4.4, step 3). Ties keep the order of the indices.
int anas_pareto_select(const double *weights, int count, struct anas_rng *rng);

// Marks the non-dominated of count rows of num_objectives values each; equal rows are all kept.
void anas_pareto_front(const double *rows, int count, int num_objectives, bool *out_front);

// Targeted selection (spec 4.6): kept are the seeds and the points no worse than the worst seed in either objective;
// the curve is that of the kept ones. Candidates are these and, to balance, each other point with probability min(1,
// kept / not kept).
void anas_targeted_filter(const struct anas_point *points, const bool *is_seed, int count, struct anas_rng *rng,
                          bool *out_kept, bool *out_candidate);

// Ageing (spec 4.5): what is left of a value, in 0.1 to 1 of it, when age generations have been made since. Full value
// for 'life' generations, then falling; cyclic forms come back. life 0: no ageing.
enum anas_ageing {
  ANAS_AGEING_IMPULSE,    // falls by half a cosine over another life, then jumps back
  ANAS_AGEING_CYCLIC,     // falls and rises over another life
  ANAS_AGEING_ONCE,       // falls by half a cosine and stays
  ANAS_AGEING_STEP,       // falls at once and stays
  ANAS_AGEING_CYCLIC_STEP // falls at once for another life
};
extern const char *const anas_ageing_names[]; // by enum; ends with null
double anas_aged(double value, int64_t age, int64_t life, enum anas_ageing ageing);

#endif
