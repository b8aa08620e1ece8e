// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The rank-sum test of Mann and Whitney (1947), exact: how many of the ways to deal the values into two groups of these
// sizes have a rank sum as far from the middle. Ties share their mean rank, and are dealt as they are.
#include "tools/anas-search/rank.h"

#include "runtime/support/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int ascending(const void *left, const void *right) {
  double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

// Twice the mean rank of a value among the sorted ones: an integer.
static int64_t double_rank(const double *sorted, int64_t n, double value) {
  int64_t below = 0, equal = 0;
  for (int64_t i = 0; i < n; i++) {
    below += sorted[i] < value;
    equal += sorted[i] == value;
  }
  return 2 * below + equal + 1;
}

struct rank_sum rank_sum_test(const double *x, int64_t num_x, const double *y, int64_t num_y) {
  struct rank_sum result = {NAN, NAN, NAN};
  int64_t n = num_x + num_y, most = n * (n + 1), sum = 0;
  if (!num_x || !num_y || n > RANK_SUM_MAX) return result;
  double *all = anas_calloc((size_t)n, sizeof *all);
  memcpy(all, x, (size_t)num_x * sizeof *all);
  memcpy(all + num_x, y, (size_t)num_y * sizeof *all);
  qsort(all, (size_t)n, sizeof *all, ascending);
  for (int64_t i = 0; i < num_x; i++)
    sum += double_rank(all, n, x[i]);
  // ways[k][s]: probability that k of the values dealt so far are in the first group, with double rank sum s; value
  // i + 1 goes to it with a chance of (places left there) / (values left).
  size_t width = (size_t)most + 1;
  double *ways = anas_calloc((size_t)(num_x + 1) * width, sizeof *ways);
  ways[0] = 1;
  for (int64_t i = 0; i < n; i++) {
    int64_t rank = double_rank(all, n, all[i]);
    for (int64_t k = i < num_x ? i : num_x; k >= 0; k--) {
      double chance = (double)(num_x - k) / (double)(n - i);
      double *from = ways + (size_t)k * width, *to = k < num_x ? from + width : NULL;
      for (int64_t s = 0; s <= most; s++) {
        if (from[s] == 0) continue;
        if (to) to[s + rank] += from[s] * chance;
        from[s] *= 1 - chance;
      }
    }
  }
  int64_t middle = num_x * (n + 1); // expectation of the double rank sum
  result.p = 0;
  for (int64_t s = 0; s <= most; s++)
    if (llabs(s - middle) >= llabs(sum - middle)) result.p += ways[(size_t)num_x * width + (size_t)s];
  result.superiority = ((double)sum / 2 - (double)(num_x * (num_x + 1)) / 2) / (double)(num_x * num_y);
  // Without ties, only the two extreme orders are as far out as can be.
  double extremes = 2 * exp(lgamma((double)num_x + 1) + lgamma((double)num_y + 1) - lgamma((double)n + 1));
  result.smallest_p = extremes < 1 ? extremes : 1;
  if (result.p > 1) result.p = 1;
  free(ways);
  free(all);
  return result;
}
