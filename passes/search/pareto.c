// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Pareto curves, distances to them, and selection (spec 4.4, 4.7).
#include "passes/search/pareto.h"

#include "passes/search/nondominated.h"
#include "runtime/support/memory.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// Along a curve the first objective falls and the second rises. How many of its points are at least as good as 'first'
// in the first objective; the last of them is the best in the second.
static int at_least(const struct anas_point *curve, int curve_count, double first) {
  int low = 0, high = curve_count;
  while (low < high) {
    int middle = (low + high) / 2;
    if (curve[middle].first >= first)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

// Point by point into the curve so far: most are dominated, and curves are short.
int anas_pareto_curve(const struct anas_point *points, int count, struct anas_point *curve) {
  int kept = 0;
  for (int i = 0; i < count; i++) {
    struct anas_point p = points[i];
    if (!anas_pareto_optimal(curve, kept, p)) continue;
    int to = at_least(curve, kept, p.first), from = to; // it pushes out [to, from) and an equal first before
    while (from < kept && curve[from].second <= p.second)
      from++;
    if (to > 0 && curve[to - 1].first == p.first) to--;
    memmove(&curve[to + 1], &curve[from], (size_t)(kept - from) * sizeof *curve);
    curve[to] = p;
    kept += 1 - (from - to);
  }
  return kept;
}

bool anas_pareto_optimal(const struct anas_point *curve, int curve_count, struct anas_point point) {
  int better = at_least(curve, curve_count, point.first);
  return !better || curve[better - 1].second < point.second;
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

// Brings the 'top' smallest to the front, in any order (Hoare's selection; the middle one as pivot).
static void bring_smallest(struct ranked *ranked, int count, int top) {
  int low = 0, high = count - 1;
  while (low < high) {
    struct ranked pivot = ranked[low + (high - low) / 2];
    int i = low, j = high;
    while (i <= j) {
      while (by_weight(&ranked[i], &pivot) < 0)
        i++;
      while (by_weight(&pivot, &ranked[j]) < 0)
        j--;
      if (i > j) break;
      struct ranked swap = ranked[i];
      ranked[i++] = ranked[j];
      ranked[j--] = swap;
    }
    if (top - 1 <= j)
      high = j;
    else if (top - 1 >= i)
      low = i;
    else
      break;
  }
}

int anas_pareto_select(const double *weights, int count, struct anas_rng *rng) {
  assert(count > 0);
  struct ranked *ranked = anas_calloc((size_t)count, sizeof *ranked);
  for (int i = 0; i < count; i++)
    ranked[i] = (struct ranked){weights[i], i};
  int top = count / 10 > 10 ? count / 10 : 10;
  if (top > count) top = count;
  bring_smallest(ranked, count, top);
  qsort(ranked, (size_t)top, sizeof *ranked, by_weight);
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
  int *front = anas_calloc((size_t)count, sizeof *front), size = 0; // of the rows so far
  for (int i = 0; i < count; i++) {
    const double *row = rows + (size_t)i * (size_t)num_objectives;
    int kept = 0;
    out_front[i] = true;
    for (int k = 0; k < size && out_front[i]; k++)
      out_front[i] = !anas_dominates(rows + (size_t)front[k] * (size_t)num_objectives, row, num_objectives);
    for (int k = 0; k < size && out_front[i]; k++) {
      out_front[front[k]] = !anas_dominates(row, rows + (size_t)front[k] * (size_t)num_objectives, num_objectives);
      if (out_front[front[k]]) front[kept++] = front[k];
    }
    if (!out_front[i]) continue;
    front[kept++] = i;
    size = kept;
  }
  free(front);
}
