// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Pareto curves, distances to them, and selection (spec 4.4, 4.7).
#include "passes/search/pareto.h"

#include "runtime/support/memory.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

static int descending(const void *left, const void *right) {
  const struct anas_point *a = left, *b = right;
  if (a->first != b->first) return a->first > b->first ? -1 : 1;
  if (a->second != b->second) return a->second > b->second ? -1 : 1;
  return 0;
}

int anas_pareto_curve(const struct anas_point *points, int count, struct anas_point *curve) {
  if (!count) return 0;
  struct anas_point *sorted = anas_calloc((size_t)count, sizeof *sorted);
  for (int i = 0; i < count; i++)
    sorted[i] = points[i];
  qsort(sorted, (size_t)count, sizeof *sorted, descending);
  int kept = 0;
  for (int i = 0; i < count; i++)
    if (!kept || sorted[i].second > curve[kept - 1].second) curve[kept++] = sorted[i];
  free(sorted);
  return kept;
}

bool anas_pareto_optimal(const struct anas_point *curve, int curve_count, struct anas_point point) {
  for (int i = 0; i < curve_count; i++)
    if (curve[i].first >= point.first && curve[i].second >= point.second) return false;
  return true;
}

struct anas_point anas_pareto_sample(const struct anas_point *curve, int curve_count, struct anas_rng *rng) {
  assert(curve_count > 0);
  if (curve_count == 1) return curve[0];
  uint64_t segment = anas_rng_below(rng, (uint64_t)curve_count - 1);
  double position = anas_rng_double(rng);
  const struct anas_point *a = &curve[segment], *b = a + 1;
  return (struct anas_point){a->first + position * (b->first - a->first),
                             a->second + position * (b->second - a->second)};
}

struct anas_point anas_pareto_scale(const struct anas_point *curve, int curve_count, const struct anas_point *anchor) {
  int low = 0, high = curve_count - 1;
  if (curve_count <= 1) return (struct anas_point){1, 1};
  // Along the curve the first objective falls and the second rises.
  while (anchor && low + 1 < high && curve[low + 1].first >= anchor->first && curve[low + 1].second <= anchor->second)
    low++;
  while (anchor && high - 1 > low && curve[high - 1].first <= anchor->first && curve[high - 1].second >= anchor->second)
    high--;
  struct anas_point scale = {curve[low].first - curve[high].first, curve[high].second - curve[low].second};
  if (!(scale.first > 0)) scale.first = 1;
  if (!(scale.second > 0)) scale.second = 1;
  return scale;
}

// Distance from the origin to segment (a, b).
static double segment_distance(struct anas_point a, struct anas_point b) {
  double ux = b.first - a.first, uy = b.second - a.second;
  double length2 = ux * ux + uy * uy;
  double t = length2 > 0 ? -(a.first * ux + a.second * uy) / length2 : 0;
  t = t < 0 ? 0 : t > 1 ? 1 : t;
  return hypot(a.first + t * ux, a.second + t * uy);
}

double anas_pareto_weight(const struct anas_point *curve, int curve_count, const struct anas_point *anchor,
                          struct anas_point scale, struct anas_point point) {
  bool optimal = anas_pareto_optimal(curve, curve_count, point);
  if (anchor) {
    double distance =
        hypot((point.first - anchor->first) / scale.first, (point.second - anchor->second) / scale.second);
    return optimal ? -distance : distance;
  }
  const struct anas_point *best_first = &curve[0], *best_second = &curve[curve_count - 1];
  // Horizontal and vertical extensions of the curve beyond its ends.
  double distance;
  if (optimal) {
    double corner = hypot(fmax(point.first - best_second->first, 0) / scale.first,
                          fmax(point.second - best_second->second, 0) / scale.second);
    distance = fmin(corner, hypot(fmax(point.first - best_first->first, 0) / scale.first,
                                  fmax(point.second - best_first->second, 0) / scale.second));
  } else {
    distance = fmin(fabs(point.first - best_first->first) / scale.first,
                    fabs(point.second - best_second->second) / scale.second);
  }
  for (int i = 0; i + 1 < curve_count; i++) {
    struct anas_point a = {(curve[i].first - point.first) / scale.first,
                           (curve[i].second - point.second) / scale.second};
    struct anas_point b = {(curve[i + 1].first - point.first) / scale.first,
                           (curve[i + 1].second - point.second) / scale.second};
    distance = fmin(distance, segment_distance(a, b));
  }
  return optimal ? -distance : distance;
}

struct ranked {
  double weight;
  int index;
};

static int by_weight(const void *left, const void *right) {
  const struct ranked *a = left, *b = right;
  if (a->weight != b->weight) return a->weight < b->weight ? -1 : 1;
  return a->index < b->index ? -1 : a->index > b->index;
}

int anas_pareto_select(const double *weights, int count, struct anas_rng *rng) {
  assert(count > 0);
  struct ranked *ranked = anas_calloc((size_t)count, sizeof *ranked);
  for (int i = 0; i < count; i++)
    ranked[i] = (struct ranked){weights[i], i};
  qsort(ranked, (size_t)count, sizeof *ranked, by_weight);
  int top = count / 10 > 10 ? count / 10 : 10;
  if (top > count) top = count;
  double low = ranked[0].weight, range = ranked[top - 1].weight - low, total = 0;
  double *probability = anas_calloc((size_t)top, sizeof *probability);
  for (int i = 0; i < top; i++) {
    probability[i] = pow(10, range > 0 ? -(ranked[i].weight - low) / range : 0);
    total += probability[i];
  }
  double left = anas_rng_double(rng) * total;
  int chosen = 0;
  while (chosen + 1 < top && (left -= probability[chosen]) >= 0)
    chosen++;
  int index = ranked[chosen].index;
  free(probability);
  free(ranked);
  return index;
}

void anas_pareto_front(const double *rows, int count, int num_objectives, bool *out_front) {
  for (int i = 0; i < count; i++) {
    out_front[i] = true;
    for (int k = 0; k < count && out_front[i]; k++) {
      bool no_worse = true, better = false;
      for (int o = 0; o < num_objectives; o++) {
        double a = rows[(size_t)i * (size_t)num_objectives + (size_t)o];
        double b = rows[(size_t)k * (size_t)num_objectives + (size_t)o];
        no_worse &= b >= a;
        better |= b > a;
      }
      if (no_worse && better) out_front[i] = false;
    }
  }
}
