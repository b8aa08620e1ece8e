// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ranks and crowding distances. Quadratic in the number of rows: populations are small.
#include "passes/search/nondominated.h"

#include "runtime/support/memory.h"

#include <math.h>
#include <stdlib.h>

bool anas_dominates(const double *row, const double *other, int num_objectives) {
  bool better = false;
  for (int o = 0; o < num_objectives; o++) {
    if (row[o] < other[o]) return false;
    better |= row[o] > other[o];
  }
  return better;
}

void anas_nondominated_ranks(const double *rows, int count, int num_objectives, int *out_rank) {
  for (int i = 0; i < count; i++)
    out_rank[i] = -1;
  for (int rank = 0, left = count; left > 0; rank++) {
    // Rows that get this rank are marked only after the scan, so that they still dominate others in it.
    for (int i = 0; i < count; i++) {
      if (out_rank[i] >= 0) continue;
      bool dominated = false;
      for (int j = 0; j < count && !dominated; j++)
        dominated = (out_rank[j] < 0 || out_rank[j] == rank) &&
                    anas_dominates(rows + (size_t)j * (size_t)num_objectives, rows + (size_t)i * (size_t)num_objectives,
                                   num_objectives);
      if (!dominated) {
        out_rank[i] = rank;
        left--;
      }
    }
  }
}

struct value {
  double value;
  int row;
};

static int by_value(const void *left, const void *right) {
  const struct value *a = left, *b = right;
  if (a->value != b->value) return a->value < b->value ? -1 : 1;
  return a->row < b->row ? -1 : a->row > b->row;
}

void anas_crowding_distances(const double *rows, const int *rank, int count, int num_objectives, double *out_distance) {
  struct value *values = anas_calloc((size_t)count, sizeof *values);
  int ranks = 0;
  for (int i = 0; i < count; i++) {
    out_distance[i] = 0;
    if (rank[i] >= ranks) ranks = rank[i] + 1;
  }
  for (int r = 0; r < ranks; r++) {
    for (int o = 0; o < num_objectives; o++) {
      int num = 0;
      for (int i = 0; i < count; i++)
        if (rank[i] == r) values[num++] = (struct value){rows[(size_t)i * (size_t)num_objectives + (size_t)o], i};
      if (!num) continue;
      qsort(values, (size_t)num, sizeof *values, by_value);
      double range = values[num - 1].value - values[0].value;
      out_distance[values[0].row] = out_distance[values[num - 1].row] = INFINITY;
      for (int i = 1; i + 1 < num && range > 0; i++)
        out_distance[values[i].row] += (values[i + 1].value - values[i - 1].value) / range;
    }
  }
  free(values);
}

struct crowded {
  int rank, row;
  double distance;
};

static int by_crowding(const void *left, const void *right) {
  const struct crowded *a = left, *b = right;
  if (a->rank != b->rank) return a->rank < b->rank ? -1 : 1;
  if (a->distance != b->distance) return a->distance > b->distance ? -1 : 1;
  return a->row < b->row ? -1 : a->row > b->row;
}

void anas_crowded_order(const int *rank, const double *distance, int count, int *out_order) {
  struct crowded *rows = anas_calloc((size_t)count, sizeof *rows);
  for (int i = 0; i < count; i++)
    rows[i] = (struct crowded){rank[i], i, distance[i]};
  qsort(rows, (size_t)count, sizeof *rows, by_crowding);
  for (int i = 0; i < count; i++)
    out_order[i] = rows[i].row;
  free(rows);
}
