// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tiles of a contraction on tensor cores: mma.sync m16n8k8 of tf32 numbers, or m16n8k16 of bf16, with f32 sums. Each of
// the eight warps has a part of the tile. Element layout of the instruction: lane = 4 * g + t; A rows g and g + 8,
// columns t and t + 4; B rows t and t + 4, column g; C rows g and g + 8, columns 2t and 2t + 1. In bf16 the elements of
// A and B are pairs of neighbours in k. ldmatrix gives lane l the words l % 4 of row l / 4 of four matrices of 8 rows
// of 16 bytes, whose row addresses are those of lanes 0 to 7, 8 to 15, ..: with rows along k the fragments of either
// type; transposed, which is by 16 bits, with rows along x those of bf16.
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
  MlirValue lane, row, column; // row, column: of the warp's part
};

static struct position locate(struct anas_gpu_contraction *c) {
  struct anas_gpu_function *f = &c->f;
  int64_t across = c->b_side.tile / c->columns;
  MlirValue lane = anas_gpu_rem(f, f->thread, 32), warp = anas_gpu_div(f, f->thread, 32);
  return (struct position){
      .lane = lane,
      .row = anas_gpu_scale(f, anas_gpu_div(f, warp, across), c->rows),
      .column = anas_gpu_scale(f, anas_gpu_rem(f, warp, across), c->columns),
  };
}

// bits / div % rem * factor: which of the four matrices, or rows, a lane names.
static MlirValue part(struct anas_gpu_function *f, MlirValue lane, int div, int rem, int64_t factor) {
  MlirValue value = anas_gpu_div(f, lane, div);
  return anas_gpu_scale(f, rem ? anas_gpu_rem(f, value, rem) : value, factor);
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

// The nearest tf32 number, in the bits of an f32.
static MlirValue round_to_tf32(struct anas_gpu_function *f, MlirValue bits) {
  struct anas_code *code = &f->code;
  MlirNamedAttribute rounding = parsed(code, "rnd", "#nvvm.fp_rnd_mode<rna>");
  MlirValue value = anas_code_unary(code, "arith.bitcast", bits, code->f32);
  return anas_code_op(code, "nvvm.convert.float.to.tf32", 1, &value, code->i32, 1, &rounding);
}

// What the lanes need of one side for a k of 32 bytes.
struct reader {
  const struct anas_gpu_side *side;
  MlirValue base; // word of the lane in the buffer
  bool matrix;    // ldmatrix
};

static struct reader prepare(struct anas_gpu_contraction *c, bool is_a, MlirValue buffer) {
  struct anas_gpu_function *f = &c->f;
  struct position at = locate(c);
  const struct anas_gpu_side *side = is_a ? &c->a_side : &c->b_side;
  struct reader reader = {.side = side, .matrix = side->rows_along_k || c->packed == 2};
  MlirValue x = is_a ? at.row : at.column, lane = at.lane, row, word;
  if (!reader.matrix) { // t * row + g
    row = part(f, lane, 1, 4, 1);
    word = anas_gpu_add(f, x, part(f, lane, 4, 0, 1));
  } else if (side->rows_along_k) {
    // A: rows of 16, then the second half of k; B: two halves of k, then the next columns.
    row = is_a ? part(f, lane, 1, 16, 1) : anas_gpu_add(f, part(f, lane, 1, 8, 1), part(f, lane, 16, 0, 8));
    row = anas_gpu_add(f, x, row);
    word = is_a ? part(f, lane, 16, 0, 4) : part(f, lane, 8, 2, 4);
  } else {
    row = is_a ? anas_gpu_add(f, part(f, lane, 1, 8, 1), part(f, lane, 16, 0, 8)) : part(f, lane, 1, 16, 1);
    word = anas_gpu_add(f, anas_gpu_div(f, x, 2), is_a ? part(f, lane, 8, 2, 4) : part(f, lane, 16, 0, 4));
  }
  MlirValue base = anas_gpu_add(f, anas_gpu_scale(f, row, side->row), word);
  reader.base = anas_gpu_add(f, buffer, anas_gpu_offset(f, base, side->first));
  return reader;
}

static void load_matrices(struct anas_gpu_function *f, MlirValue address, bool transposed, MlirValue *out) {
  struct anas_code *code = &f->code;
  MlirNamedAttribute attributes[] = {
      anas_code_attribute(code, "num", mlirIntegerAttrGet(code->i32, 4)),
      parsed(code, "layout", transposed ? "#nvvm.mma_layout<col>" : "#nvvm.mma_layout<row>"),
      parsed(code, "shape", "#nvvm.ld_st_matrix_shape<m = 8, n = 8>"),
      parsed(code, "eltType", "#nvvm.ld_st_matrix_elt_type<b16>"),
  };
  MlirType type = mlirTypeParseGet(code->context, mlirStringRefCreateFromCString("!llvm.struct<(i32, i32, i32, i32)>"));
  MlirValue pointer = anas_gpu_shared_pointer(f, address);
  MlirValue words = anas_code_op(code, "nvvm.ldmatrix", 1, &pointer, type, 4, attributes);
  for (int64_t i = 0; i < 4; i++) {
    MlirNamedAttribute position = anas_code_attribute(code, "position", mlirDenseI64ArrayGet(code->context, 1, &i));
    out[i] = anas_code_op(code, "llvm.extractvalue", 1, &words, code->i32, 1, &position);
  }
}

static MlirValue load_bits(struct anas_gpu_function *f, MlirValue base, int64_t offset) {
  MlirValue value = anas_gpu_extract(f, anas_gpu_load(f, f->shared, anas_gpu_offset(f, base, offset), 1), 0);
  return anas_code_unary(&f->code, "arith.bitcast", value, f->code.i32);
}

// Four words of 16 neighbours in x, from x on, at step k (in words) of the tile: of A those of one instruction, of B
// those of two.
static void read_words(struct anas_gpu_contraction *c, const struct reader *reader, bool is_a, int x, int k,
                       MlirValue *out) {
  struct anas_gpu_function *f = &c->f;
  const struct anas_gpu_side *side = reader->side;
  if (reader->matrix && side->rows_along_k)
    load_matrices(f, anas_gpu_offset(f, reader->base, x * side->row + k), false, out);
  else if (reader->matrix)
    load_matrices(f, anas_gpu_offset(f, reader->base, k * c->packed * side->row + x / c->packed), true, out);
  else
    for (int i = 0; i < 4; i++) {
      int half_x = is_a ? i % 2 : i / 2, half_k = is_a ? i / 2 : i % 2;
      out[i] = load_bits(f, reader->base, x + half_x * 8 + (k + half_k * 4) * side->row);
    }
  for (int i = 0; i < 4 && c->packed == 1; i++)
    out[i] = round_to_tf32(f, out[i]);
}

void anas_gpu_mma_step(struct anas_gpu_contraction *c, MlirValue buffer, MlirValue *accumulator) {
  int down = (int)c->rows / M, across = (int)c->columns / N;
  struct reader readers[] = {prepare(c, true, buffer), prepare(c, false, buffer)};
  for (int k = 0; k < c->step / c->packed; k += K) {
    MlirValue a[4][4], b[8];
    for (int i = 0; i < down; i++)
      read_words(c, &readers[0], true, i * M, k, a[i]);
    for (int j = 0; j < across; j += 2)
      read_words(c, &readers[1], false, j * N, k, b + 2 * j);
    for (int i = 0; i < down; i++)
      for (int j = 0; j < across; j++)
        multiply(c, a[i], b + 2 * j, accumulator + (i * across + j) * 4);
  }
}

int anas_gpu_mma_fragments(struct anas_gpu_contraction *c, const MlirValue *accumulator,
                           struct anas_gpu_fragment *out) {
  struct anas_gpu_function *f = &c->f;
  struct position at = locate(c);
  MlirValue g = anas_gpu_div(f, at.lane, 4), t = anas_gpu_rem(f, at.lane, 4);
  int down = (int)c->rows / M, across = (int)c->columns / N, count = 0;
  for (int i = 0; i < down; i++)
    for (int j = 0; j < across; j++)
      for (int half = 0; half < 2; half++, count++) {
        MlirValue row = anas_gpu_offset(f, anas_gpu_add(f, at.row, g), i * M + half * 8);
        MlirValue column = anas_gpu_offset(f, anas_gpu_add(f, at.column, anas_gpu_scale(f, t, 2)), j * N);
        MlirValue value =
            anas_code_op(&f->code, "vector.from_elements", 2, accumulator + (i * across + j) * 4 + half * 2,
                         anas_code_vector(2, f->code.f32), 0, NULL);
        out[count] = (struct anas_gpu_fragment){.row = row, .column = column, .value = value, .lanes = 2};
      }
  return count;
}
