// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tiles of a contraction from global to shared memory, by way of registers: shared memory holds k rows of neighbours in
// m or n, in bf16 of pairs of k. Positions outside of m and n read the last one inside; their results are not stored.
#include "passes/gpu/contraction.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

void anas_gpu_fetch_init(struct anas_gpu_contraction *c, const struct anas_gpu_side *side, MlirValue x0, MlirValue b,
                         struct anas_gpu_fetch *out) {
  struct anas_gpu_function *f = &c->f;
  int64_t width = side->access == ANAS_GPU_SINGLE ? 1 : 4;
  int64_t rows = side->access == ANAS_GPU_ALONG_K ? c->step : c->step / c->packed, total = side->tile * rows / width;
  *out = (struct anas_gpu_fetch){.side = side, .count = (int)((total + ANAS_GPU_BLOCK - 1) / ANAS_GPU_BLOCK)};
  if (total < ANAS_GPU_BLOCK) out->active = anas_gpu_less(f, f->thread, total);
  MlirValue batch = anas_gpu_axis_address(c, &c->b, side->operand, b);
  for (int i = 0; i < out->count; i++) {
    MlirValue number = anas_gpu_offset(f, f->thread, (int64_t)i * ANAS_GPU_BLOCK), x, k;
    switch (side->access) {
    case ANAS_GPU_ALONG_X:
      x = anas_gpu_scale(f, anas_gpu_rem(f, number, side->tile / 4), 4);
      k = anas_gpu_div(f, number, side->tile / 4);
      break;
    case ANAS_GPU_ALONG_K:
      if (side->k_stride == 1) { // whole sectors of global memory
        x = anas_gpu_div(f, number, c->step / 4);
        k = anas_gpu_scale(f, anas_gpu_rem(f, number, c->step / 4), 4);
      } else { // no bank conflicts when the vector is taken apart
        x = anas_gpu_rem(f, number, side->tile);
        k = anas_gpu_scale(f, anas_gpu_div(f, number, side->tile), 4);
      }
      break;
    default:
      x = side->x_fastest ? anas_gpu_rem(f, number, side->tile) : anas_gpu_div(f, number, rows);
      k = side->x_fastest ? anas_gpu_div(f, number, side->tile) : anas_gpu_rem(f, number, rows);
    }
    if (side->access != ANAS_GPU_ALONG_K) k = anas_gpu_scale(f, k, c->packed);
    out->x[i] = x;
    out->k[i] = k;
    MlirValue point = anas_gpu_add(f, x0, x);
    if (side->x->extent % side->tile)
      point = anas_gpu_min(f, point, side->x->extent - (side->access == ANAS_GPU_ALONG_X ? 4 : 1));
    MlirValue base = anas_gpu_add(f, batch, anas_gpu_axis_address(c, side->x, side->operand, point));
    out->base[i] = anas_gpu_offset(f, base, c->emit->nest.operand[side->operand].offset);
  }
}

// The nearest tf32 number, in the bits of an f32.
static MlirValue round_to_tf32(struct anas_gpu_function *f, MlirValue vector) {
  struct anas_code *code = &f->code;
  int lanes = (int)mlirShapedTypeGetDimSize(mlirValueGetType(vector), 0);
  MlirNamedAttribute rounding = anas_code_attribute(
      code, "rnd", mlirAttributeParseGet(code->context, mlirStringRefCreateFromCString("#nvvm.fp_rnd_mode<rna>")));
  MlirValue element[4];
  for (int i = 0; i < lanes; i++) {
    MlirValue scalar = anas_gpu_extract(f, vector, i);
    MlirValue bits = anas_code_op(code, "nvvm.convert.float.to.tf32", 1, &scalar, code->i32, 1, &rounding);
    element[i] = anas_code_unary(code, "arith.bitcast", bits, code->f32);
  }
  return anas_code_op(code, "vector.from_elements", lanes, element, mlirValueGetType(vector), 0, NULL);
}

// Rounds to bf16, neighbours of the result in one word: the bits of an f32.
static MlirValue round_to_bf16(struct anas_gpu_function *f, MlirValue vector) {
  struct anas_code *code = &f->code;
  int lanes = (int)mlirShapedTypeGetDimSize(mlirValueGetType(vector), 0);
  MlirValue rounded =
      anas_code_unary(code, "arith.truncf", vector, anas_code_vector(lanes, mlirBF16TypeGet(code->context)));
  return anas_code_unary(code, "vector.bitcast", rounded, anas_code_vector(lanes / 2, code->f32));
}

// a[0], b[0], a[1], b[1], ...
static MlirValue interleave(struct anas_gpu_function *f, MlirValue a, MlirValue b) {
  int lanes = (int)mlirShapedTypeGetDimSize(mlirValueGetType(a), 0);
  int64_t mask[8];
  for (int i = 0; i < 2 * lanes; i++)
    mask[i] = i / 2 + i % 2 * lanes;
  MlirNamedAttribute attribute =
      anas_code_attribute(&f->code, "mask", mlirDenseI64ArrayGet(f->code.context, 2 * lanes, mask));
  MlirValue operands[] = {a, b};
  return anas_code_op(&f->code, "vector.shuffle", 2, operands, anas_code_vector(2 * lanes, f->code.f32), 1, &attribute);
}

// The elements at k, zero outside of the contraction.
static MlirValue load_at(struct anas_gpu_contraction *c, const struct anas_gpu_fetch *fetch, int i, MlirValue k) {
  struct anas_gpu_function *f = &c->f;
  const struct anas_gpu_side *side = fetch->side;
  int lanes = side->access == ANAS_GPU_SINGLE ? 1 : 4;
  MlirValue inside = {0};
  if (c->k.extent % c->step) inside = anas_gpu_less(f, k, c->k.extent);
  // The tile behind the last one is read too, and not used.
  k = anas_gpu_min(f, k, c->k.extent - (side->access == ANAS_GPU_ALONG_K ? 4 : 1));
  MlirValue address = anas_gpu_add(f, fetch->base[i], anas_gpu_axis_address(c, &c->k, side->operand, k));
  MlirValue value = anas_gpu_load(f, f->operand[side->operand], address, lanes);
  if (mlirValueIsNull(inside)) return value;
  return anas_code_select(&f->code, inside, value, anas_gpu_zero(f, lanes, f->code.f32));
}

void anas_gpu_fetch_load(struct anas_gpu_contraction *c, struct anas_gpu_fetch *fetch, MlirValue k0) {
  struct anas_gpu_function *f = &c->f;
  for (int i = 0; i < fetch->count; i++) {
    MlirValue k = anas_gpu_add(f, k0, fetch->k[i]), value = load_at(c, fetch, i, k);
    if (c->packed == 2) {
      if (fetch->side->access != ANAS_GPU_ALONG_K)
        value = interleave(f, value, load_at(c, fetch, i, anas_gpu_offset(f, k, 1)));
      value = round_to_bf16(f, value);
    } else if (c->tensor_cores) {
      value = round_to_tf32(f, value);
    }
    fetch->value[i] = value;
  }
}

void anas_gpu_fetch_store(struct anas_gpu_contraction *c, const struct anas_gpu_fetch *fetch, MlirValue buffer) {
  struct anas_gpu_function *f = &c->f;
  const struct anas_gpu_side *side = fetch->side;
  struct anas_code_scope guard = {.iv = {0}};
  if (!mlirValueIsNull(fetch->active)) guard = anas_code_if(&f->code, fetch->active, false);
  MlirValue start = anas_gpu_offset(f, buffer, side->first);
  for (int i = 0; i < fetch->count; i++) {
    MlirValue k = anas_gpu_div(f, fetch->k[i], c->packed);
    MlirValue at = anas_gpu_add(f, start, anas_gpu_scale(f, k, side->k_stride));
    at = anas_gpu_add(f, at, anas_gpu_scale(f, fetch->x[i], side->x_stride));
    if (side->access != ANAS_GPU_ALONG_K || side->k_stride == 1) {
      anas_gpu_store(f, fetch->value[i], f->shared, at);
      continue;
    }
    for (int lane = 0; lane < 4; lane++)
      anas_gpu_store(f, anas_gpu_splat(f, anas_gpu_extract(f, fetch->value[i], lane), 1), f->shared,
                     anas_gpu_offset(f, at, lane * side->k_stride));
  }
  if (!mlirValueIsNull(fetch->active)) anas_code_end(&f->code, &guard, 0, NULL);
}
