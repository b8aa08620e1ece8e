// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// alphaNAS: parents by Pareto-weighted sampling (spec 4.4), children by one property-guided mutation (spec 4.3).
#include "passes/search/pareto.h"
#include "tools/anas-search/search.h"

#include "runtime/support/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ONLY_PROBABILITY 0.2 // parents chosen by the first objective alone

struct pool {
  int64_t *numbers;
  struct anas_point *points;
  bool *on_curve; // counts for the curve of the objectives: all, or the kept ones of the targeted filter
  int count;
};

// Parents must be as accurate as this; default: 0.85 of the mean of the seed trials.
static double accuracy_threshold(const struct search *search, int64_t visible) {
  if (search->options.min_accuracy >= 0) return search->options.min_accuracy;
  double sum = 0;
  int count = 0;
  for (int64_t i = 0; i < visible && i < search->options.seed_trials; i++)
    if (search->trials[i].state == STUDY_COMPLETE) {
      sum += search->trials[i].metric[METRIC_ACCURACY];
      count++;
    }
  return count ? 0.85 * sum / count : 0;
}

static struct pool collect(const struct search *search, int64_t visible, const struct search_objective *first,
                           const struct search_objective *second) {
  struct pool pool = {
      .numbers = anas_calloc((size_t)visible, sizeof *pool.numbers),
      .points = anas_calloc((size_t)visible, sizeof *pool.points),
      .on_curve = anas_calloc((size_t)visible, sizeof *pool.on_curve),
  };
  enum anas_ageing ageing = (enum anas_ageing)search_ageing(&search->options);
  int64_t life = search->options.generations_to_live;
  double threshold = accuracy_threshold(search, visible);
  for (int64_t i = 0; i < visible; i++) {
    const struct study_trial *trial = &search->trials[i];
    if (trial->state != STUDY_COMPLETE || !(trial->metric[METRIC_ACCURACY] >= threshold)) continue;
    struct anas_point point = {search_standardised(first, trial), search_standardised(second, trial)};
    if (first->metric == METRIC_ACCURACY) point.first = anas_aged(point.first, visible - 1 - i, life, ageing);
    if (!isfinite(point.first) || !isfinite(point.second)) continue;
    pool.numbers[pool.count] = i;
    pool.on_curve[pool.count] = true;
    pool.points[pool.count++] = point;
  }
  return pool;
}

static void pool_deinit(struct pool *pool) {
  free(pool->numbers);
  free(pool->points);
  free(pool->on_curve);
}

// Leaves the candidates of the targeted filter.
static void target(struct pool *pool, int64_t seed_trials, struct anas_rng *rng) {
  bool *seed = anas_calloc((size_t)pool->count, sizeof *seed),
       *candidate = anas_calloc((size_t)pool->count, sizeof *seed);
  for (int i = 0; i < pool->count; i++)
    seed[i] = pool->numbers[i] < seed_trials;
  anas_targeted_filter(pool->points, seed, pool->count, rng, pool->on_curve, candidate);
  int count = 0;
  for (int i = 0; i < pool->count; i++) {
    if (!candidate[i]) continue;
    pool->numbers[count] = pool->numbers[i];
    pool->points[count] = pool->points[i];
    pool->on_curve[count++] = pool->on_curve[i];
  }
  pool->count = count;
  free(candidate);
  free(seed);
}

// Weights relative to an anchor on the curve of the two objectives, lower is better.
static void pareto_weights(const struct pool *pool, struct anas_rng *rng, double *weights,
                           struct anas_point *out_anchor) {
  struct anas_point *curve = anas_calloc((size_t)pool->count, sizeof *curve);
  struct anas_point *kept = anas_calloc((size_t)pool->count, sizeof *kept);
  int num_kept = 0;
  for (int i = 0; i < pool->count; i++)
    if (pool->on_curve[i]) kept[num_kept++] = pool->points[i];
  int length = anas_pareto_curve(kept, num_kept, curve);
  free(kept);
  struct anas_point anchor = anas_pareto_sample(curve, length, rng);
  struct anas_point scale = anas_pareto_scale(curve, length, &anchor);
  for (int i = 0; i < pool->count; i++)
    weights[i] = anas_pareto_weight(curve, length, &anchor, scale, pool->points[i]);
  *out_anchor = anchor;
  free(curve);
}

// Number of the parent, or 0 (the first seed) while there is nothing to choose from.
static int64_t select_parent(const struct search *search, int64_t visible, const void *data, struct anas_rng *rng,
                             json_t *decision) {
  (void)data;
  const struct search_options *options = &search->options;
  const struct search_objective *first = &options->objectives[0], *second = first;
  bool targeted = !strcmp(options->targeted, "on") && options->num_objectives > 1 && anas_rng_double(rng) < 0.5;
  bool first_only = options->num_objectives == 1 || (!targeted && anas_rng_double(rng) < FIRST_ONLY_PROBABILITY);
  if (!first_only) second = &options->objectives[1 + anas_rng_below(rng, (uint64_t)options->num_objectives - 1)];
  struct pool pool = collect(search, visible, first, second);
  int64_t parent = 0;
  if (targeted && pool.count && pool.numbers[0] < options->seed_trials) target(&pool, options->seed_trials, rng);
  if (pool.count) {
    double *weights = anas_calloc((size_t)pool.count, sizeof *weights);
    if (first_only) {
      for (int i = 0; i < pool.count; i++)
        weights[i] = -pool.points[i].first;
    } else {
      struct anas_point anchor;
      pareto_weights(&pool, rng, weights, &anchor);
      json_object_set_new(decision, "anchor", json_pack("[f, f]", anchor.first, anchor.second));
    }
    int chosen = anas_pareto_select(weights, pool.count, rng);
    parent = pool.numbers[chosen];
    json_object_set_new(decision, "weight", json_real(weights[chosen]));
    free(weights);
  }
  json_object_set_new(decision, "second", first_only ? json_null() : json_string(study_metrics[second->metric].name));
  json_object_set_new(decision, "eligible", json_integer(pool.count));
  if (!strcmp(options->targeted, "on")) json_object_set_new(decision, "targeted", json_boolean(targeted));
  pool_deinit(&pool);
  return parent;
}

static anas_status propose(struct search *search, int64_t number, int64_t visible, struct anas_rng *rng,
                           struct proposal *out) {
  (void)number;
  return proposal_mutate(search, "alphanas", select_parent, NULL, visible, rng, out);
}

const struct search_strategy strategy_alphanas = {
    .name = "alphanas",
    .summary = "parents sampled near the Pareto curve, one property-guided mutation each (default)",
    .propose = propose,
};
