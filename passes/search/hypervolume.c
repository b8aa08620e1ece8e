// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Hypervolume by slicing along the last objective.
#include "passes/search/hypervolume.h"

#include "runtime/support/memory.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct sorted {
  const double *row;
  int last; // objective that decides
};

static int falling(const void *left, const void *right) {
  const struct sorted *a = left, *b = right;
  double x = a->row[a->last], y = b->row[b->last];
  return x > y ? -1 : x < y;
}

// Areas under a staircase: by falling second objective, only what reaches further in the first one adds.
static double area(const struct sorted *sorted, int count) {
  double sum = 0, reached = 0;
  for (int i = 0; i < count; i++) {
    if (sorted[i].row[0] <= reached) continue;
    sum += (sorted[i].row[0] - reached) * sorted[i].row[1];
    reached = sorted[i].row[0];
  }
  return sum;
}

// All rows are above the origin.
static double volume(const double *const *rows, int count, int num_objectives) {
  if (!count) return 0;
  double best = 0, sum = 0;
  for (int i = 0; i < count && num_objectives == 1; i++)
    best = rows[i][0] > best ? rows[i][0] : best;
  if (num_objectives == 1) return best;
  struct sorted *sorted = anas_calloc((size_t)count, sizeof *sorted);
  const double **above = anas_calloc((size_t)count, sizeof *above);
  for (int i = 0; i < count; i++)
    sorted[i] = (struct sorted){rows[i], num_objectives - 1};
  qsort(sorted, (size_t)count, sizeof *sorted, falling);
  if (num_objectives == 2) sum = area(sorted, count);
  for (int i = 0; i < count && num_objectives > 2; i++) {
    above[i] = sorted[i].row;
    double top = sorted[i].row[num_objectives - 1], bottom = i + 1 < count ? sorted[i + 1].row[num_objectives - 1] : 0;
    if (top > bottom) sum += (top - bottom) * volume(above, i + 1, num_objectives - 1);
  }
  free(above);
  free(sorted);
  return sum;
}

double anas_hypervolume(const double *rows, int count, int num_objectives) {
  const double **inside = anas_calloc((size_t)count, sizeof *inside);
  int num_inside = 0;
  for (int i = 0; i < count; i++) {
    const double *row = rows + (size_t)i * (size_t)num_objectives;
    bool positive = true;
    for (int o = 0; o < num_objectives; o++)
      positive &= row[o] > 0; // false for NaN
    if (positive) inside[num_inside++] = row;
  }
  double sum = volume(inside, num_inside, num_objectives);
  free(inside);
  return sum;
}
