// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Spearman's rho and Kendall's tau-b.
#include "tools/anas-search/rank.h"

#include "runtime/support/memory.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct pair {
  double x, y;
};

static int by_x_then_y(const void *left, const void *right) {
  const struct pair *a = left, *b = right;
  if (a->x != b->x) return a->x < b->x ? -1 : 1;
  return (a->y > b->y) - (a->y < b->y);
}

static struct pair *pairs_of(const double *x, const double *y, int64_t n) {
  struct pair *pairs = anas_calloc((size_t)n, sizeof *pairs);
  for (int64_t i = 0; i < n; i++)
    pairs[i] = (struct pair){x[i], y[i]};
  qsort(pairs, (size_t)n, sizeof *pairs, by_x_then_y);
  return pairs;
}

// ---- Spearman

// Ranks from 1; equal values share the mean of theirs.
static double *mid_ranks(const double *values, int64_t n) {
  double *numbers = anas_calloc((size_t)n, sizeof *numbers), *ranks = anas_calloc((size_t)n, sizeof *ranks);
  for (int64_t i = 0; i < n; i++)
    numbers[i] = (double)i;
  struct pair *sorted = pairs_of(values, numbers, n);
  for (int64_t first = 0, next; first < n; first = next) {
    for (next = first + 1; next < n && sorted[next].x == sorted[first].x;)
      next++;
    for (int64_t i = first; i < next; i++)
      ranks[(int64_t)sorted[i].y] = 0.5 * (double)(first + 1 + next);
  }
  free(sorted);
  free(numbers);
  return ranks;
}

double rank_spearman(const double *x, const double *y, int64_t n) {
  double *a = mid_ranks(x, n), *b = mid_ranks(y, n), mean = 0.5 * (double)(n + 1), ab = 0, aa = 0, bb = 0;
  for (int64_t i = 0; i < n; i++) {
    ab += (a[i] - mean) * (b[i] - mean);
    aa += (a[i] - mean) * (a[i] - mean);
    bb += (b[i] - mean) * (b[i] - mean);
  }
  free(a);
  free(b);
  return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : NAN;
}

// ---- Kendall

// Sorts values and returns how many pairs were in the wrong order.
static double merge_count(double *values, double *spare, int64_t n) {
  if (n < 2) return 0;
  int64_t half = n / 2, a = 0, b = half, out = 0;
  double swaps = merge_count(values, spare, half) + merge_count(values + half, spare, n - half);
  while (a < half || b < n) {
    bool left = b == n || (a < half && values[a] <= values[b]);
    if (!left) swaps += (double)(half - a);
    spare[out++] = left ? values[a++] : values[b++];
  }
  memcpy(values, spare, (size_t)n * sizeof *values);
  return swaps;
}

static double pairs_among(int64_t n) {
  return 0.5 * (double)n * (double)(n - 1);
}

double rank_kendall(const double *x, const double *y, int64_t n) {
  struct pair *sorted = pairs_of(x, y, n);
  double *values = anas_calloc((size_t)n, sizeof *values), *spare = anas_calloc((size_t)n, sizeof *spare);
  double ties_x = 0, ties_y = 0, ties_both = 0, all = pairs_among(n);
  for (int64_t first = 0, next; first < n; first = next) {
    for (next = first + 1; next < n && sorted[next].x == sorted[first].x;)
      next++;
    ties_x += pairs_among(next - first);
  }
  for (int64_t first = 0, next; first < n; first = next) {
    for (next = first + 1; next < n && sorted[next].x == sorted[first].x && sorted[next].y == sorted[first].y;)
      next++;
    ties_both += pairs_among(next - first);
  }
  for (int64_t i = 0; i < n; i++)
    values[i] = sorted[i].y;
  double discordant = merge_count(values, spare, n);
  for (int64_t first = 0, next; first < n; first = next) {
    for (next = first + 1; next < n && values[next] == values[first];)
      next++;
    ties_y += pairs_among(next - first);
  }
  free(sorted);
  free(values);
  free(spare);
  double difference = all - ties_x - ties_y + ties_both - 2 * discordant;
  double scale = sqrt((all - ties_x) * (all - ties_y));
  return scale > 0 ? difference / scale : NAN;
}
