// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sums of columns (column_sums.h). Loops of the first nest: one a dimension; the dimension that is cut has two.
#include "dialect/column_sums.h"

#include "dialect/op_support.h"

#include <string.h>

#define LEAST_BLOCKS 64  // enough for the threads of most machines
#define SHORT_COLUMN 256 // positions; one nest does

static int64_t largest_divisor(int64_t extent, int64_t most) {
  int64_t divisor = most < extent ? most : extent;
  while (extent % divisor)
    divisor--;
  return divisor;
}

void anas_column_sums_init(struct anas_column_sums *sums, const struct anas_shape *x, int keep) {
  *sums = (struct anas_column_sums){.x = *x, .keep = keep, .cut = -1, .first = x->rank - 1};
  int64_t blocks = 1, tasks = 1;
  for (int d = 0; d < x->rank - 1; d++)
    *(d < keep ? &tasks : &blocks) *= x->dim[d];
  if (blocks < SHORT_COLUMN || tasks >= LEAST_BLOCKS) {
    sums->first = keep;
    return;
  }
  while (tasks * blocks / x->dim[sums->first - 1] >= LEAST_BLOCKS)
    blocks /= x->dim[--sums->first];
  // Part of the next dimension.
  int64_t extent = x->dim[sums->first - 1], part = largest_divisor(extent, tasks * blocks / LEAST_BLOCKS);
  if (part > 1) {
    sums->cut = sums->first - 1;
    sums->positions = part;
  }
  sums->two = true;
}

// Loop of a dimension: of the blocks where the dimension is cut.
static int loop_of(const struct anas_column_sums *sums, int dim) {
  return sums->cut >= 0 && dim > sums->cut ? dim + 1 : dim;
}

struct anas_nest *anas_column_sums_begin(struct anas_column_sums *sums, struct anas_lowering *l, const char *kind,
                                         const int *results, int num_results) {
  const struct anas_shape *x = &sums->x;
  struct anas_shape partial = {.element = ANAS_F32};
  for (int d = 0; d < sums->first; d++)
    partial.dim[partial.rank++] = d == sums->cut ? x->dim[d] / sums->positions : x->dim[d];
  partial.dim[partial.rank++] = x->dim[x->rank - 1];
  for (int k = 0; k < num_results; k++)
    sums->partial[k] = sums->two ? anas_lower_scratch(l, &partial) : results[k];
  struct anas_nest *nest = anas_lower_nest(l, kind);
  for (int d = 0; d < x->rank; d++) {
    bool summed = d < x->rank - 1 && d >= (sums->two ? sums->first : sums->keep);
    anas_nest_loop(nest, d == sums->cut ? x->dim[d] / sums->positions : x->dim[d], summed);
    if (d == sums->cut) anas_nest_loop(nest, sums->positions, true);
  }
  for (int k = 0; k < num_results; k++) {
    struct anas_access *out = anas_nest_out(nest, sums->partial[k], ANAS_FILL_ZERO);
    int dims = sums->two ? sums->first : sums->keep;
    for (int d = 0; d < dims; d++)
      anas_access_add(out, d, loop_of(sums, d), 1);
    anas_access_add(out, anas_lower_shape(l, sums->partial[k])->rank - 1, loop_of(sums, x->rank - 1), 1);
  }
  return nest;
}

void anas_column_sums_whole(const struct anas_column_sums *sums, struct anas_access *access) {
  anas_column_sums_position(sums, access);
  anas_column_sums_channel(sums, access, sums->x.rank - 1);
}

void anas_column_sums_position(const struct anas_column_sums *sums, struct anas_access *access) {
  for (int d = 0; d < sums->x.rank - 1; d++) {
    anas_access_add(access, d, loop_of(sums, d), d == sums->cut ? sums->positions : 1);
    if (d == sums->cut) anas_access_add(access, d, d + 1, 1);
  }
}

void anas_column_sums_channel(const struct anas_column_sums *sums, struct anas_access *access, int dim) {
  anas_access_add(access, dim, loop_of(sums, sums->x.rank - 1), 1);
}

void anas_column_sums_kept(const struct anas_column_sums *sums, struct anas_access *access) {
  for (int d = 0; d < sums->keep; d++)
    anas_access_add(access, d, d, 1);
}

void anas_column_sums_end(struct anas_column_sums *sums, struct anas_lowering *l, const int *results, int num_results) {
  if (!sums->two) return;
  struct anas_shape partial = *anas_lower_shape(l, sums->partial[0]);
  struct anas_nest *nest = anas_lower_nest(l, "sum_blocks");
  for (int d = 0; d < partial.rank; d++)
    anas_nest_loop(nest, partial.dim[d], d >= sums->keep && d < partial.rank - 1);
  for (int k = 0; k < num_results; k++)
    anas_access_whole(anas_nest_in(nest, sums->partial[k]), partial.rank);
  for (int k = 0; k < num_results; k++) {
    struct anas_access *out = anas_nest_out(nest, results[k], ANAS_FILL_ZERO);
    for (int d = 0; d < sums->keep; d++)
      anas_access_add(out, d, d, 1);
    anas_access_add(out, anas_lower_shape(l, results[k])->rank - 1, partial.rank - 1, 1);
    anas_nest_yield(nest, k, "%%v%d", anas_nest_value(nest, "arith.addf %%o%d, %%i%d : f32", k, k));
  }
}
