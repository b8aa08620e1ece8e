// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ranking by several objectives (Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", 2002).
// Rows hold num_objectives values each; higher is better in all of them.
#ifndef ANAS_PASSES_SEARCH_NONDOMINATED_H
#define ANAS_PASSES_SEARCH_NONDOMINATED_H

#include <stdbool.h>

// At least as good everywhere, better somewhere.
bool anas_dominates(const double *row, const double *other, int num_objectives);

// Rank 0: dominated by no row; rank r: by none once the rows of lower rank are taken away.
void anas_nondominated_ranks(const double *rows, int count, int num_objectives, int *out_rank);

// Sum over the objectives of the distance between a row's two neighbours of the same rank, in units of that rank's
// range; infinite at the ends. Of equal rows only the outermost count as ends.
void anas_crowding_distances(const double *rows, const int *rank, int count, int num_objectives, double *out_distance);

// Orders the numbers 0..count-1: lower rank first, then larger distance, then smaller number.
void anas_crowded_order(const int *rank, const double *distance, int count, int *out_order);

#endif
