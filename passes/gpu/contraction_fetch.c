// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tiles of a contraction from global to shared memory, by way of registers, where bf16 is rounded to, or by copies that
// run beside the computation (cp.async). Positions outside of m and n read the last one inside; their results are not
// stored.
#include "passes/gpu/contraction.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

void anas_gpu_fetch_init(struct anas_gpu_contraction *c, const struct anas_gpu_side *side, MlirValue x0, MlirValue b,
                         struct anas_gpu_fetch *out) {
  struct anas_gpu_function *f = &c->f;
  int64_t width = side->access == ANAS_GPU_SINGLE ? 1 : 4;
  int64_t rows = side->access == ANAS_GPU_SINGLE ? c->step / c->packed : c->step, total = side->tile * rows / width;
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
      if (side->rows_along_k) { // whole sectors of global memory
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
    if (side->access == ANAS_GPU_SINGLE) k = anas_gpu_scale(f, k, c->packed);
    out->x[i] = x;
    out->k[i] = k;
    MlirValue point = anas_gpu_add(f, x0, x);
    if (side->x->extent % side->tile)
      point = anas_gpu_min(f, point, side->x->extent - (side->access == ANAS_GPU_ALONG_X ? 4 : 1));
    MlirValue base = anas_gpu_add(f, batch, anas_gpu_axis_address(c, side->x, side->operand, point));
    out->base[i] = anas_gpu_offset(f, base, c->emit->nest.operand[side->operand].offset);
  }
}

// Rounds to bf16, neighbours of the result in one word: the bits of an f32.
static MlirValue round_to_bf16(struct anas_gpu_function *f, MlirValue vector) {
  struct anas_code *code = &f->code;
  int lanes = (int)mlirShapedTypeGetDimSize(mlirValueGetType(vector), 0);
  MlirValue rounded =
      anas_code_unary(code, "arith.truncf", vector, anas_code_vector(lanes, mlirBF16TypeGet(code->context)));
  return anas_code_unary(code, "vector.bitcast", rounded, anas_code_vector(lanes / 2, code->f32));
}

static MlirValue pair(struct anas_gpu_function *f, MlirValue a, MlirValue b) {
  MlirValue elements[] = {anas_gpu_extract(f, a, 0), anas_gpu_extract(f, b, 0)};
  return anas_code_op(&f->code, "vector.from_elements", 2, elements, anas_code_vector(2, f->code.f32), 0, NULL);
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
      if (fetch->side->access == ANAS_GPU_SINGLE)
        value = pair(f, value, load_at(c, fetch, i, anas_gpu_offset(f, k, 1)));
      value = round_to_bf16(f, value);
    }
    fetch->value[i] = value;
  }
}

// Word of element i of a thread in the buffer.
static MlirValue place(struct anas_gpu_contraction *c, const struct anas_gpu_fetch *fetch, int i, MlirValue buffer) {
  struct anas_gpu_function *f = &c->f;
  const struct anas_gpu_side *side = fetch->side;
  MlirValue row = side->rows_along_k ? fetch->x[i] : fetch->k[i],
            column = side->rows_along_k ? fetch->k[i] : fetch->x[i];
  MlirValue at = anas_gpu_add(f, anas_gpu_scale(f, row, side->row), anas_gpu_div(f, column, c->packed));
  return anas_gpu_add(f, anas_gpu_offset(f, buffer, side->first), at);
}

static struct anas_code_scope begin_active(struct anas_gpu_contraction *c, const struct anas_gpu_fetch *fetch) {
  struct anas_code_scope none = {.iv = {0}};
  return mlirValueIsNull(fetch->active) ? none : anas_code_if(&c->f.code, fetch->active, false);
}

static void end_active(struct anas_gpu_contraction *c, const struct anas_gpu_fetch *fetch,
                       struct anas_code_scope *scope) {
  if (!mlirValueIsNull(fetch->active)) anas_code_end(&c->f.code, scope, 0, NULL);
}

void anas_gpu_fetch_store(struct anas_gpu_contraction *c, const struct anas_gpu_fetch *fetch, MlirValue buffer) {
  struct anas_gpu_function *f = &c->f;
  const struct anas_gpu_side *side = fetch->side;
  struct anas_code_scope guard = begin_active(c, fetch);
  for (int i = 0; i < fetch->count; i++) {
    MlirValue at = place(c, fetch, i, buffer);
    if (side->access != ANAS_GPU_ALONG_K || side->rows_along_k) {
      anas_gpu_store(f, fetch->value[i], f->shared, at);
      continue;
    }
    for (int lane = 0; lane < 4; lane++)
      anas_gpu_store(f, anas_gpu_splat(f, anas_gpu_extract(f, fetch->value[i], lane), 1), f->shared,
                     anas_gpu_offset(f, at, lane * side->row));
  }
  end_active(c, fetch, &guard);
}

// ---- copies beside the computation

static MlirValue global_pointer(struct anas_gpu_function *f, MlirValue memory, MlirValue address) {
  struct anas_code *code = &f->code;
  MlirType i64 = mlirIntegerTypeGet(code->context, 64);
  MlirValue base = anas_code_unary(code, "memref.extract_aligned_pointer_as_index", memory, code->index);
  base = anas_code_unary(code, "arith.index_cast", base, i64);
  MlirValue bytes = anas_code_unary(code, "arith.extui", anas_gpu_scale(f, address, 4), i64);
  MlirValue pointer = anas_code_unary(code, "llvm.inttoptr", anas_code_binary(code, "arith.addi", base, bytes),
                                      mlirTypeParseGet(code->context, mlirStringRefCreateFromCString("!llvm.ptr")));
  return anas_code_unary(code, "llvm.addrspacecast", pointer,
                         mlirTypeParseGet(code->context, mlirStringRefCreateFromCString("!llvm.ptr<1>")));
}

void anas_gpu_fetch_copy(struct anas_gpu_contraction *c, const struct anas_gpu_fetch *fetch, MlirValue k0,
                         MlirValue buffer) {
  struct anas_gpu_function *f = &c->f;
  struct anas_code *code = &f->code;
  const struct anas_gpu_side *side = fetch->side;
  int bytes = side->access == ANAS_GPU_SINGLE ? 4 : 16;
  struct anas_code_scope guard = begin_active(c, fetch);
  for (int i = 0; i < fetch->count; i++) {
    MlirValue k = anas_gpu_add(f, k0, fetch->k[i]), operands[3];
    bool partial = c->k.extent % c->step;
    if (partial)
      operands[2] =
          anas_code_select(code, anas_gpu_less(f, k, c->k.extent), anas_gpu_i32(f, bytes), anas_gpu_i32(f, 0));
    k = anas_gpu_min(f, k, c->k.extent - (side->access == ANAS_GPU_ALONG_K ? 4 : 1));
    MlirValue address = anas_gpu_add(f, fetch->base[i], anas_gpu_axis_address(c, &c->k, side->operand, k));
    operands[0] = anas_gpu_shared_pointer(f, place(c, fetch, i, buffer));
    operands[1] = global_pointer(f, f->operand[side->operand], mlirValueIsNull(address) ? anas_gpu_i32(f, 0) : address);
    MlirNamedAttribute attributes[] = {
        anas_code_attribute(code, "size", mlirIntegerAttrGet(code->i32, bytes)),
        anas_code_attribute(code, "modifier",
                            mlirAttributeParseGet(code->context, mlirStringRefCreateFromCString(
                                                                     bytes == 16 ? "#nvvm<load_cache_modifier cg>"
                                                                                 : "#nvvm<load_cache_modifier ca>"))),
    };
    anas_code_op(code, "nvvm.cp.async.shared.global", partial ? 3 : 2, operands, (MlirType){0}, 2, attributes);
  }
  end_active(c, fetch, &guard);
}

void anas_gpu_fetch_commit(struct anas_gpu_contraction *c) {
  anas_code_op(&c->f.code, "nvvm.cp.async.commit.group", 0, NULL, (MlirType){0}, 0, NULL);
}

void anas_gpu_fetch_wait(struct anas_gpu_contraction *c, int64_t pending) {
  MlirNamedAttribute n = anas_code_attribute(&c->f.code, "n", mlirIntegerAttrGet(c->f.code.i32, pending));
  anas_code_op(&c->f.code, "nvvm.cp.async.wait.group", 0, NULL, (MlirType){0}, 1, &n);
}
