// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rank correlation, with ties.
#ifndef ANAS_TOOLS_ANAS_SEARCH_RANK_H
#define ANAS_TOOLS_ANAS_SEARCH_RANK_H

#include <stdint.h>

// Of n pairs of finite values, -1..1; NaN if there are fewer than two pairs or one side has one value only.
double rank_spearman(const double *x, const double *y, int64_t n); // of mid-ranks
double rank_kendall(const double *x, const double *y, int64_t n);  // tau-b, in n log n (Knight, 1966)

#endif
