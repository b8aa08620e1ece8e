// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// alphaNAS: parents by Pareto-weighted sampling (spec 4.4), children by one property-guided mutation (spec 4.3).
#include "passes/search/pareto.h"
#include "tools/anas-search/pruners/pruner.h"

#include "runtime/support/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ONLY_PROBABILITY 0.2 // parents chosen by the first objective alone
// So many compete for being the parent, at most, beside the seeds and the curve: of a larger study a new uniform sample
// each time, whose best tenth stands for the best tenth of all. A decision then costs the same however many there are.
#define MAX_POOL 4096

// Numbers of the trials whose results form the curve of the first and another objective, in order.
struct curve {
  int64_t *numbers;
  size_t count, capacity;
};

struct memory {
  int64_t seen; // trials below were looked at, with this threshold
  double threshold;
  int64_t *eligible; // in order
  size_t num_eligible, capacity_eligible;
  struct curve curves[MAX_OBJECTIVES]; // by the second objective, without ageing
};

static void forget(void *data) {
  struct memory *memory = data;
  for (int o = 0; o < MAX_OBJECTIVES; o++)
    free(memory->curves[o].numbers);
  free(memory->eligible);
  free(memory);
}

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

static struct anas_point point_of(const struct search *search, int64_t number, const struct search_objective *second) {
  const struct study_trial *trial = &search->trials[number];
  return (struct anas_point){search_expected(search, &search->options.objectives[0], trial),
                             search_expected(search, second, trial)};
}

static bool beats(struct anas_point a, struct anas_point b) {
  return a.first >= b.first && a.second >= b.second;
}

static void join_curve(const struct search *search, struct curve *curve, int o, int64_t number) {
  const struct search_objective *second = &search->options.objectives[o];
  struct anas_point point = point_of(search, number, second);
  if (!isfinite(point.first) || !isfinite(point.second)) return;
  for (size_t i = 0; i < curve->count; i++)
    if (beats(point_of(search, curve->numbers[i], second), point)) return;
  size_t kept = 0;
  for (size_t i = 0; i < curve->count; i++)
    if (!beats(point, point_of(search, curve->numbers[i], second))) curve->numbers[kept++] = curve->numbers[i];
  curve->numbers = anas_grow(curve->numbers, kept, &curve->capacity, sizeof *curve->numbers);
  curve->numbers[kept] = number;
  curve->count = kept + 1;
}

// Brings the memory up to the trials below visible. The threshold moves while the seeds are trained.
static void recall(struct search *search, int64_t visible) {
  struct memory *memory = search->memory;
  double threshold = accuracy_threshold(search, visible);
  if (memory && (memory->seen > visible || memory->threshold != threshold)) {
    forget(memory);
    memory = NULL;
  }
  if (!memory) memory = anas_alloc(sizeof *memory);
  search->memory = memory;
  memory->threshold = threshold;
  for (; memory->seen < visible; memory->seen++) {
    const struct study_trial *trial = &search->trials[memory->seen];
    if (trial->state != STUDY_COMPLETE && trial->state != STUDY_PRUNED) continue;
    if (!(pruner_expected(search, trial, METRIC_ACCURACY) >= threshold)) continue;
    memory->eligible =
        anas_grow(memory->eligible, memory->num_eligible, &memory->capacity_eligible, sizeof *memory->eligible);
    memory->eligible[memory->num_eligible++] = memory->seen;
    for (int o = 1; o < search->options.num_objectives; o++)
      join_curve(search, &memory->curves[o], o, memory->seen);
  }
}

// Seeds, curve and a uniform sample, one of each of MAX_POOL equal parts of the eligible trials; in order.
static size_t sample(const struct search *search, const struct memory *memory, const struct curve *curve,
                     struct anas_rng *rng, int64_t *out) {
  size_t count = 0, next = 0, all = memory->num_eligible;
  for (size_t i = 0; i < all && memory->eligible[i] < search->options.seed_trials; i++)
    out[count++] = memory->eligible[i];
  for (size_t part = 0; part <= MAX_POOL; part++) {
    int64_t number = INT64_MAX;
    if (part < MAX_POOL) {
      size_t first = part * all / MAX_POOL, end = (part + 1) * all / MAX_POOL;
      number = memory->eligible[first + anas_rng_below(rng, end - first)];
    }
    for (; next < curve->count && curve->numbers[next] <= number; next++)
      if (!count || curve->numbers[next] > out[count - 1]) out[count++] = curve->numbers[next];
    if (part < MAX_POOL && (!count || number > out[count - 1])) out[count++] = number;
  }
  return count;
}

// Candidates to choose among. second: index of the other objective, 0 for none.
static struct pool collect(const struct search *search, int64_t visible, int second, struct anas_rng *rng) {
  const struct memory *memory = search->memory;
  const struct search_objective *objectives = search->options.objectives;
  const struct curve none = {0}, *curve = second ? &memory->curves[second] : &none;
  bool all = memory->num_eligible <= MAX_POOL;
  size_t room = all ? memory->num_eligible : MAX_POOL + curve->count + (size_t)search->options.seed_trials;
  struct pool pool = {
      .numbers = anas_calloc(room, sizeof *pool.numbers),
      .points = anas_calloc(room, sizeof *pool.points),
      .on_curve = anas_calloc(room, sizeof *pool.on_curve),
  };
  if (!all) room = sample(search, memory, curve, rng, pool.numbers);
  for (size_t i = 0; all && i < room; i++)
    pool.numbers[i] = memory->eligible[i];
  enum anas_ageing ageing = (enum anas_ageing)search_ageing(&search->options);
  int64_t life = search->options.generations_to_live;
  for (size_t i = 0; i < room; i++) {
    int64_t number = pool.numbers[i];
    struct anas_point point = point_of(search, number, &objectives[second]);
    if (objectives[0].metric == METRIC_ACCURACY)
      point.first = anas_aged(point.first, visible - 1 - number, life, ageing);
    if (!isfinite(point.first) || !isfinite(point.second)) continue;
    pool.numbers[pool.count] = number;
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
  const struct memory *memory = search->memory;
  int second = 0;
  bool targeted = !strcmp(options->targeted, "on") && options->num_objectives > 1 && anas_rng_double(rng) < 0.5;
  bool first_only = options->num_objectives == 1 || (!targeted && anas_rng_double(rng) < FIRST_ONLY_PROBABILITY);
  if (!first_only) second = 1 + (int)anas_rng_below(rng, (uint64_t)options->num_objectives - 1);
  struct pool pool = collect(search, visible, second, rng);
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
  json_object_set_new(decision, "second",
                      first_only ? json_null() : json_string(study_metrics[options->objectives[second].metric].name));
  json_object_set_new(decision, "eligible", json_integer(pool.count));
  if (memory->num_eligible > MAX_POOL)
    json_object_set_new(decision, "sampled_from", json_integer((json_int_t)memory->num_eligible));
  if (!strcmp(options->targeted, "on")) json_object_set_new(decision, "targeted", json_boolean(targeted));
  pool_deinit(&pool);
  return parent;
}

static anas_status propose(struct search *search, int64_t number, int64_t visible, struct anas_rng *rng,
                           struct proposal *out) {
  (void)number;
  recall(search, visible);
  return proposal_mutate(search, "alphanas", select_parent, NULL, visible, rng, out);
}

const struct search_strategy strategy_alphanas = {
    .name = "alphanas",
    .summary = "parents sampled near the Pareto curve, one property-guided mutation each (default)",
    .propose = propose,
    .forget = forget,
};
