// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rungs, who goes on from one, brackets, the median rule.
#include "passes/search/halving.h"

#include "passes/search/nondominated.h"
#include "runtime/support/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int anas_halving_rungs(double budget, double least, int64_t factor, double out_rungs[ANAS_MAX_RUNGS]) {
  double descending[ANAS_MAX_RUNGS];
  int count = 0;
  // A hair of tolerance: 9 / 3 / 3 must count as 1.
  for (double rung = budget / (double)factor; count < ANAS_MAX_RUNGS && rung >= least * (1 - 1e-9);
       rung /= (double)factor)
    descending[count++] = rung;
  for (int i = 0; i < count; i++)
    out_rungs[i] = descending[count - 1 - i];
  return count;
}

static void find_hopeless(const struct anas_rung *rung, bool *out_hopeless) {
  double best = -HUGE_VAL;
  for (int i = 0; rung->accuracy && i < rung->count; i++)
    best = rung->accuracy[i] > best ? rung->accuracy[i] : best;
  for (int i = 0; rung->accuracy && i < rung->count; i++)
    out_hopeless[i] = isfinite(best) && !(rung->accuracy[i] >= best / 2);
}

void anas_halving_keep(const struct anas_rung *rung, int64_t factor, bool *out_keep) {
  size_t size = (size_t)rung->count, width = (size_t)rung->num_objectives;
  int *rank = anas_calloc(size, sizeof *rank), *order = anas_calloc(size, sizeof *order);
  double *distance = anas_calloc(size, sizeof *distance), *rows = anas_calloc(size * width, sizeof *rows);
  bool *hopeless = anas_calloc(size, sizeof *hopeless);
  find_hopeless(rung, hopeless);
  // Worse than everyone, they are no neighbours of anybody on a front.
  for (size_t i = 0; i < size * width; i++)
    rows[i] = hopeless[i / width] ? -HUGE_VAL : rung->rows[i];
  anas_nondominated_ranks(rows, rung->count, rung->num_objectives, rank);
  anas_crowding_distances(rows, rank, rung->count, rung->num_objectives, distance);
  anas_crowded_order(rank, distance, rung->count, order);
  int64_t judged = 0;
  for (int i = 0; i < rung->count; i++) {
    judged += !rung->judged || rung->judged[i];
    out_keep[i] = false;
  }
  int64_t left = judged / factor > 1 ? judged / factor : 1;
  for (int i = 0; i < rung->count && left; i++) {
    if ((rung->judged && !rung->judged[order[i]]) || hopeless[order[i]]) continue;
    out_keep[order[i]] = true;
    left--;
  }
  free(hopeless);
  free(rows);
  free(distance);
  free(order);
  free(rank);
}

int anas_hyperband_bracket(int64_t number, int num_rungs, int64_t factor) {
  double share[ANAS_MAX_RUNGS + 1], credit[ANAS_MAX_RUNGS + 1] = {0}, total = 0;
  for (int b = 0; b <= num_rungs; b++) {
    int halvings = num_rungs - b;
    share[b] = ceil((num_rungs + 1.0) / (halvings + 1) * pow((double)factor, halvings));
    total += share[b];
  }
  // Everyone gains its share, the richest is served and pays the total: after 'total' rounds all are at zero again.
  int served = 0;
  for (int64_t i = 0, rounds = number % (int64_t)total + 1; i < rounds; i++) {
    served = 0;
    for (int b = 0; b <= num_rungs; b++) {
      credit[b] += share[b];
      if (credit[b] > credit[served]) served = b;
    }
    credit[served] -= total;
  }
  return served;
}

static int ascending(const void *left, const void *right) {
  double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

bool anas_below_median(double value, const double *others, int count) {
  if (!count) return false;
  double *sorted = anas_calloc((size_t)count, sizeof *sorted);
  memcpy(sorted, others, (size_t)count * sizeof *sorted);
  qsort(sorted, (size_t)count, sizeof *sorted, ascending);
  double median = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
  free(sorted);
  return value < median;
}
