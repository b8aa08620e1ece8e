// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rank correlation and the rank-sum test, with ties.
#ifndef ANAS_TOOLS_ANAS_SEARCH_RANK_H
#define ANAS_TOOLS_ANAS_SEARCH_RANK_H

#include <stdint.h>

// Of n pairs of finite values, -1..1; NaN if there are fewer than two pairs or one side has one value only.
double rank_spearman(const double *x, const double *y, int64_t n); // of mid-ranks
double rank_kendall(const double *x, const double *y, int64_t n);  // tau-b, in n log n (Knight, 1966)

#define RANK_SUM_MAX 128 // values
struct rank_sum {
  double p;           // two-sided: chance of a rank sum as far from the middle, if both groups are alike
  double superiority; // share of pairs in which x is larger, ties half
  double smallest_p;  // what p can be at best with groups of these sizes
};
// NaN where a group is empty or there are more than RANK_SUM_MAX values.
struct rank_sum rank_sum_test(const double *x, int64_t num_x, const double *y, int64_t num_y);

#endif
