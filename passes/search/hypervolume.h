// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Hypervolume (Zitzler and Thiele, 1998): how much of the space of objectives a set of results dominates.
#ifndef ANAS_PASSES_SEARCH_HYPERVOLUME_H
#define ANAS_PASSES_SEARCH_HYPERVOLUME_H

// Exact volume between the origin and count rows of num_objectives values each, higher is better; rows that are not
// above the origin everywhere count for nothing. Time: count * log(count) for two objectives, times count for each
// more.
double anas_hypervolume(const double *rows, int count, int num_objectives);

#endif
