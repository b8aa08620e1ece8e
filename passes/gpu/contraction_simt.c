// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tiles of a contraction with fused multiply-adds: each thread has rows x columns accumulators, in groups of four
// neighbours, so that shared memory is read in vectors.
#include "passes/gpu/contraction.h"

int anas_gpu_simt_count(const struct anas_gpu_contraction *c) {
  return (int)(c->rows * c->columns / 4);
}

MlirValue anas_gpu_simt_zero(struct anas_gpu_contraction *c) {
  return anas_gpu_zero(&c->f, 4, c->f.code.f32);
}

// Start of group i of the thread's rows or columns: groups are a whole tile's share of the threads apart.
static MlirValue group(struct anas_gpu_contraction *c, bool row, int i) {
  struct anas_gpu_function *f = &c->f;
  int64_t across = c->b_side.tile / c->columns, down = c->a_side.tile / c->rows;
  MlirValue thread = row ? anas_gpu_div(f, f->thread, across) : anas_gpu_rem(f, f->thread, across);
  return anas_gpu_offset(f, anas_gpu_scale(f, thread, 4), (int64_t)i * 4 * (row ? down : across));
}

void anas_gpu_simt_step(struct anas_gpu_contraction *c, MlirValue buffer, MlirValue *accumulator) {
  struct anas_gpu_function *f = &c->f;
  int down = (int)c->rows / 4, across = (int)c->columns / 4;
  MlirValue row[4], column[4];
  for (int i = 0; i < down; i++)
    row[i] = anas_gpu_add(f, buffer, anas_gpu_offset(f, group(c, true, i), c->a_side.first));
  for (int j = 0; j < across; j++)
    column[j] = anas_gpu_add(f, buffer, anas_gpu_offset(f, group(c, false, j), c->b_side.first));
  for (int k = 0; k < c->step; k++) {
    MlirValue a[4], b[4];
    for (int i = 0; i < down; i++)
      a[i] = anas_gpu_load(f, f->shared, anas_gpu_offset(f, row[i], k * c->a_side.row), 4);
    for (int j = 0; j < across; j++)
      b[j] = anas_gpu_load(f, f->shared, anas_gpu_offset(f, column[j], k * c->b_side.row), 4);
    for (int i = 0; i < 4 * down; i++) {
      MlirValue scalar = anas_gpu_splat(f, anas_gpu_extract(f, a[i / 4], i % 4), 4);
      for (int j = 0; j < across; j++)
        accumulator[i * across + j] = anas_code_fma(&f->code, scalar, b[j], accumulator[i * across + j]);
    }
  }
}

int anas_gpu_simt_fragments(struct anas_gpu_contraction *c, const MlirValue *accumulator,
                            struct anas_gpu_fragment *out) {
  int across = (int)c->columns / 4, count = 0;
  for (int i = 0; i < (int)c->rows; i++)
    for (int j = 0; j < across; j++, count++)
      out[count] = (struct anas_gpu_fragment){.row = anas_gpu_offset(&c->f, group(c, true, i / 4), i % 4),
                                              .column = group(c, false, j),
                                              .value = accumulator[count],
                                              .lanes = 4};
  return count;
}
