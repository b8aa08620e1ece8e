// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The definition of the pairing matrix (spec 2.4), enumerated literally over every position: the slow reference of
// anas_mixing_of_op for extents up to 4096.
#ifndef ANAS_TEST_PAIRING_H
#define ANAS_TEST_PAIRING_H

#include "passes/analysis/analysis.h"

#include <string.h>

static inline bool test_reads(const struct anas_dep *dep, int64_t extent, const struct anas_shape *result,
                              const int64_t *y, int64_t position) {
  int64_t v = y[dep->out_dim];
  for (int j = dep->out_dim + 1; dep->kind == ANAS_DEP_LINEAR && j <= dep->out_last; j++)
    v = v * result->dim[j] + y[j];
  switch (dep->kind) {
  case ANAS_DEP_NONE: return false;
  case ANAS_DEP_ALL: return true;
  case ANAS_DEP_FIRST: return position == 0;
  case ANAS_DEP_LINEAR:
  case ANAS_DEP_DIVMOD: return v / dep->div % extent == position;
  case ANAS_DEP_GROUP:
    return position >= v / dep->out_group * dep->in_group && position < (v / dep->out_group + 1) * dep->in_group;
  case ANAS_DEP_WINDOW:
    for (int64_t t = 0; t < dep->window; t++)
      if (v * dep->stride - dep->pad + t * dep->dilation == position) return true;
    return false;
  }
  return false;
}

// Marks the positions of dimension i that element y reads; returns how many.
static inline int test_project(const struct anas_dep *deps, const struct anas_shape *operand,
                               const struct anas_shape *result, const int64_t *y, int i, bool *mark) {
  bool empty = false;
  int count = 0;
  for (int k = 0; k < operand->rank; k++) {
    bool any = false;
    for (int64_t p = 0; p < operand->dim[k]; p++)
      any = any || test_reads(&deps[k], operand->dim[k], result, y, p);
    empty = empty || !any;
  }
  for (int64_t p = 0; !empty && p < operand->dim[i]; p++)
    if (test_reads(&deps[i], operand->dim[i], result, y, p)) {
      mark[p] = true;
      count++;
    }
  return count;
}

static inline void test_literal_pairing(const struct anas_dep *deps, const struct anas_shape *operand,
                                        const struct anas_shape *result, struct anas_mixing *out) {
  *out = (struct anas_mixing){.rows = operand->rank, .columns = result->rank};
  int64_t y[ANAS_MAX_RANK];
  for (int j = 0; j < result->rank; j++)
    y[j] = result->dim[j] / 2;
  for (int i = 0; i < operand->rank; i++) {
    bool centre[4096] = {false};
    int at_centre = test_project(deps, operand, result, y, i, centre);
    for (int j = 0; j < result->rank; j++) {
      bool mark[4096] = {false}, covered = true;
      for (int64_t v = 0; v < result->dim[j]; v++) {
        int64_t z[ANAS_MAX_RANK];
        memcpy(z, y, sizeof z);
        z[j] = v;
        test_project(deps, operand, result, z, i, mark);
      }
      for (int64_t p = 0; p < operand->dim[i]; p++)
        covered = covered && mark[p];
      if (covered)
        out->pair[i][j] = at_centre == operand->dim[i] ? ANAS_PAIR_ALL : at_centre > 1 ? ANAS_PAIR_MANY : ANAS_PAIR_ONE;
    }
  }
}

#endif
