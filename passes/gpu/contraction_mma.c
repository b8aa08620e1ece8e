// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tiles of a contraction on tensor cores: mma.sync m16n8k8 of tf32 numbers, or m16n8k16 of bf16, with f32 sums. Each of
// the eight warps has a part of the tile. Element layout of the instruction: lane = 4 * g + t; A rows g and g + 8,
// columns t and t + 4; B rows t and t + 4, column g; C rows g and g + 8, columns 2t and 2t + 1. In bf16 the elements of
// A and B are pairs of neighbours in k.
#include "passes/gpu/contraction.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#define M 16
#define N 8
#define K 8 // words

int anas_gpu_mma_count(const struct anas_gpu_contraction *c) {
  return (int)(c->rows / M * (c->columns / N) * 4);
}

MlirValue anas_gpu_mma_zero(struct anas_gpu_contraction *c) {
  return anas_code_constant(&c->f.code, c->f.code.f32, mlirFloatAttrDoubleGet(c->f.code.context, c->f.code.f32, 0.0));
}

struct position {              // of a lane
  MlirValue g, t, row, column; // row, column: of the warp's part
};

static struct position locate(struct anas_gpu_contraction *c) {
  struct anas_gpu_function *f = &c->f;
  int64_t across = c->b_side.tile / c->columns;
  MlirValue lane = anas_gpu_rem(f, f->thread, 32), warp = anas_gpu_div(f, f->thread, 32);
  return (struct position){
      .g = anas_gpu_div(f, lane, 4),
      .t = anas_gpu_rem(f, lane, 4),
      .row = anas_gpu_scale(f, anas_gpu_div(f, warp, across), c->rows),
      .column = anas_gpu_scale(f, anas_gpu_rem(f, warp, across), c->columns),
  };
}

static MlirValue load_bits(struct anas_gpu_function *f, MlirValue base, int64_t offset) {
  MlirValue value = anas_gpu_extract(f, anas_gpu_load(f, f->shared, anas_gpu_offset(f, base, offset), 1), 0);
  return anas_code_unary(&f->code, "arith.bitcast", value, f->code.i32);
}

static MlirNamedAttribute parsed(struct anas_code *code, const char *name, const char *text) {
  return anas_code_attribute(code, name, mlirAttributeParseGet(code->context, mlirStringRefCreateFromCString(text)));
}

static void multiply(struct anas_gpu_contraction *c, const MlirValue *a, const MlirValue *b, MlirValue *accumulator) {
  struct anas_code *code = &c->f.code;
  bool bf16 = c->packed == 2;
  const char *type_name = bf16 ? "#nvvm.mma_type<bf16>" : "#nvvm.mma_type<tf32>";
  const int32_t segments[] = {4, 2, 4};
  MlirNamedAttribute attributes[] = {
      parsed(code, "layoutA", "#nvvm.mma_layout<row>"),
      parsed(code, "layoutB", "#nvvm.mma_layout<col>"),
      parsed(code, "multiplicandAPtxType", type_name),
      parsed(code, "multiplicandBPtxType", type_name),
      parsed(code, "shape", bf16 ? "#nvvm.shape<m = 16, n = 8, k = 16>" : "#nvvm.shape<m = 16, n = 8, k = 8>"),
      anas_code_attribute(code, "operandSegmentSizes", mlirDenseI32ArrayGet(code->context, 3, segments)),
  };
  MlirType type = mlirTypeParseGet(code->context, mlirStringRefCreateFromCString("!llvm.struct<(f32, f32, f32, f32)>"));
  MlirValue operands[] = {a[0], a[1],           a[2],           a[3],           b[0],
                          b[1], accumulator[0], accumulator[1], accumulator[2], accumulator[3]};
  MlirValue sum = anas_code_op(code, "nvvm.mma.sync", 10, operands, type, 6, attributes);
  for (int64_t i = 0; i < 4; i++) {
    MlirNamedAttribute position = anas_code_attribute(code, "position", mlirDenseI64ArrayGet(code->context, 1, &i));
    accumulator[i] = anas_code_op(code, "llvm.extractvalue", 1, &sum, code->f32, 1, &position);
  }
}

void anas_gpu_mma_step(struct anas_gpu_contraction *c, MlirValue buffer, MlirValue *accumulator) {
  struct anas_gpu_function *f = &c->f;
  struct position at = locate(c);
  int down = (int)c->rows / M, across = (int)c->columns / N;
  const struct anas_gpu_side *sides[] = {&c->a_side, &c->b_side};
  MlirValue base[2];
  for (int i = 0; i < 2; i++) {
    MlirValue x = anas_gpu_add(f, i ? at.column : at.row, at.g);
    base[i] = anas_gpu_add(f, anas_gpu_scale(f, x, sides[i]->x_stride), anas_gpu_scale(f, at.t, sides[i]->k_stride));
    base[i] = anas_gpu_add(f, buffer, anas_gpu_offset(f, base[i], sides[i]->first));
  }
  for (int k = 0; k < c->step / c->packed; k += K) {
    MlirValue a[4][4], b[4][2];
    for (int i = 0; i < down; i++)
      for (int part = 0; part < 4; part++)
        a[i][part] = load_bits(f, base[0],
                               (i * M + part % 2 * 8) * c->a_side.x_stride + (k + part / 2 * 4) * c->a_side.k_stride);
    for (int j = 0; j < across; j++)
      for (int part = 0; part < 2; part++)
        b[j][part] = load_bits(f, base[1], j * N * c->b_side.x_stride + (k + part * 4) * c->b_side.k_stride);
    for (int i = 0; i < down; i++)
      for (int j = 0; j < across; j++)
        multiply(c, a[i], b[j], accumulator + (i * across + j) * 4);
  }
}

int anas_gpu_mma_fragments(struct anas_gpu_contraction *c, const MlirValue *accumulator,
                           struct anas_gpu_fragment *out) {
  struct anas_gpu_function *f = &c->f;
  struct position at = locate(c);
  int down = (int)c->rows / M, across = (int)c->columns / N, count = 0;
  for (int i = 0; i < down; i++)
    for (int j = 0; j < across; j++)
      for (int half = 0; half < 2; half++, count++) {
        MlirValue row = anas_gpu_offset(f, anas_gpu_add(f, at.row, at.g), i * M + half * 8);
        MlirValue column = anas_gpu_offset(f, anas_gpu_add(f, at.column, anas_gpu_scale(f, at.t, 2)), j * N);
        MlirValue value =
            anas_code_op(&f->code, "vector.from_elements", 2, accumulator + (i * across + j) * 4 + half * 2,
                         anas_code_vector(2, f->code.f32), 0, NULL);
        out[count] = (struct anas_gpu_fragment){.row = row, .column = column, .value = value, .lanes = 2};
      }
  return count;
}
