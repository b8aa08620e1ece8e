// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Contractions in bf16: code that rounds an operand to pairs, and multiplies them.
#include "passes/cpu/bf16.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#define MAX_LANES 16
#define BLOCK 4096 // pairs of neighbours in a work item

static MlirType bf16_vector(struct anas_code *code, int lanes) {
  return anas_code_vector(lanes, mlirBF16TypeGet(code->context));
}

static int64_t num_pairs(const struct anas_bf16_copy *copy) {
  return (copy->extent + 1) / 2;
}

static MlirValue round_vector(struct anas_code *code, MlirValue value, int lanes) {
  return anas_code_unary(code, "arith.truncf", value, bf16_vector(code, lanes));
}

// A vector of pairs, elements of 32 bits with the second value in the upper half: of a[i] and b[i], or of neighbours in
// a and then in b.
static MlirValue shuffle_pairs(struct anas_code *code, MlirValue a, MlirValue b, bool interleave) {
  int lanes = code->target->lanes;
  int64_t position[2 * MAX_LANES];
  for (int i = 0; i < 2 * lanes; i++)
    position[i] = interleave ? i / 2 + i % 2 * lanes : i;
  MlirNamedAttribute mask = anas_code_attribute(code, "mask", mlirDenseI64ArrayGet(code->context, 2 * lanes, position));
  MlirValue operands[] = {round_vector(code, a, lanes), round_vector(code, b, lanes)};
  MlirValue pairs = anas_code_op(code, "vector.shuffle", 2, operands, bf16_vector(code, 2 * lanes), 1, &mask);
  return anas_code_unary(code, "vector.bitcast", pairs, anas_code_vector(lanes, code->f32));
}

// ---- neighbours

// A vector of pairs of which `active` values exist.
static void emit_neighbours(struct anas_code *code, MlirValue source, struct anas_address from, MlirValue scratch,
                            struct anas_address to, int active) {
  int lanes = code->target->lanes, second = active - lanes;
  MlirType type = anas_code_vector(lanes, code->f32);
  MlirValue a = anas_code_vector_load(code, source, from, type, active < lanes ? active : lanes);
  MlirValue b = second > 0 ? anas_code_vector_load(code, source, anas_address_offset(from, lanes), type, second)
                           : anas_code_splat_f32(code, lanes, 0);
  anas_code_vector_store(code, shuffle_pairs(code, a, b, false), scratch, to, (active + 1) / 2);
}

// A row of neighbours, or a block of a long one.
static void emit_row(struct anas_code *code, MlirValue source, struct anas_address from, MlirValue scratch,
                     struct anas_address to, int64_t extent) {
  int64_t width = 2 * code->target->lanes, whole = extent - extent % width;
  if (whole > 0) {
    struct anas_code_scope scope =
        anas_code_for(code, (MlirValue){0}, anas_code_index(code, whole / width), 1, 0, NULL);
    emit_neighbours(code, source, anas_address_step(code, from, scope.iv, width), scratch,
                    anas_address_step(code, to, scope.iv, width / 2), (int)width);
    anas_code_end(code, &scope, 0, NULL);
  }
  if (whole < extent)
    emit_neighbours(code, source, anas_address_offset(from, whole), scratch, anas_address_offset(to, whole / 2),
                    (int)(extent - whole));
}

static bool is_long_row(const struct anas_bf16_copy *copy) {
  return copy->inner == 1 && copy->outer == 1 && copy->extent > 2 * BLOCK;
}

// Work item: a block of the only row.
static void emit_block(struct anas_code *code, const struct anas_bf16_copy *copy, MlirValue source, MlirValue scratch,
                       MlirValue item) {
  int64_t whole = copy->extent / (2 * BLOCK), rest = copy->extent % (2 * BLOCK);
  struct anas_address from = anas_address_step(code, (struct anas_address){{0}, copy->first}, item, 2 * BLOCK);
  struct anas_address to = anas_address_step(code, (struct anas_address){{0}, copy->at}, item, BLOCK);
  if (rest == 0) {
    emit_row(code, source, from, scratch, to, 2 * BLOCK);
    return;
  }
  MlirValue is_whole = anas_code_compare(code, false, ANAS_CMPI_SLT, item, anas_code_index(code, whole));
  struct anas_code_scope branch = anas_code_if(code, is_whole, true);
  emit_row(code, source, from, scratch, to, 2 * BLOCK);
  anas_code_else(code, &branch);
  emit_row(code, source, from, scratch, to, rest);
  anas_code_end(code, &branch, 0, NULL);
}

// ---- pairs of rows

// `active` lanes of two rows, `next` elements apart (null: inner). missing: whether there is no second row; null: there
// is one.
static void emit_interleaved(struct anas_code *code, const struct anas_bf16_copy *copy, MlirValue source,
                             struct anas_address from, MlirValue next, MlirValue missing, MlirValue scratch,
                             struct anas_address to, int active) {
  int lanes = code->target->lanes;
  MlirType type = anas_code_vector(lanes, code->f32);
  MlirValue a = anas_code_vector_load(code, source, from, type, active);
  struct anas_address behind =
      mlirValueIsNull(next) ? anas_address_offset(from, copy->inner) : anas_address_step(code, from, next, 1);
  MlirValue b = anas_code_vector_load(code, source, behind, type, active);
  if (!mlirValueIsNull(missing)) b = anas_code_select(code, missing, anas_code_splat_f32(code, lanes, 0), b);
  anas_code_vector_store(code, shuffle_pairs(code, a, b, true), scratch, to, active);
}

// Work item: two rows of `inner` elements.
static void emit_rows(struct anas_code *code, const struct anas_bf16_copy *copy, MlirValue source, MlirValue scratch,
                      MlirValue item) {
  int64_t inner = copy->inner, pairs = num_pairs(copy), lanes = code->target->lanes, whole = inner - inner % lanes;
  MlirValue count = anas_code_index(code, pairs), outer = {0}, pair = item;
  if (copy->outer > 1) {
    outer = anas_code_binary(code, "arith.divui", item, count);
    pair = anas_code_binary(code, "arith.remui", item, count);
  }
  struct anas_address from = {{0}, copy->first * inner}, to = {{0}, copy->at};
  from = anas_address_step(code, anas_address_step(code, from, outer, copy->depth * inner), pair, 2 * inner);
  to = anas_address_step(code, to, item, inner);
  MlirValue missing = {0}, next = {0};
  if (copy->extent % 2) { // the last row is read twice rather than the one behind it, and then taken for zero
    missing = anas_code_compare(code, false, ANAS_CMPI_EQ, pair, anas_code_index(code, pairs - 1));
    next = anas_code_select(code, missing, anas_code_index(code, 0), anas_code_index(code, inner));
  }
  if (whole > 0) {
    struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, anas_code_index(code, whole), lanes, 0, NULL);
    emit_interleaved(code, copy, source, anas_address_step(code, from, scope.iv, 1), next, missing, scratch,
                     anas_address_step(code, to, scope.iv, 1), (int)lanes);
    anas_code_end(code, &scope, 0, NULL);
  }
  if (whole < inner)
    emit_interleaved(code, copy, source, anas_address_offset(from, whole), next, missing, scratch,
                     anas_address_offset(to, whole), (int)(inner - whole));
}

// ---- copies

int64_t anas_bf16_copy_items(const struct anas_bf16_copy *copy) {
  if (is_long_row(copy)) return (copy->extent + 2 * BLOCK - 1) / (2 * BLOCK);
  return copy->outer * (copy->inner == 1 ? 1 : num_pairs(copy));
}

void anas_bf16_copy_emit(struct anas_code *code, const struct anas_bf16_copy *copy, MlirValue source, MlirValue scratch,
                         MlirValue begin, MlirValue end) {
  struct anas_code_scope scope = anas_code_for(code, begin, end, 1, 0, NULL);
  if (is_long_row(copy)) {
    emit_block(code, copy, source, scratch, scope.iv);
  } else if (copy->inner == 1) {
    struct anas_address from = {{0}, copy->first}, to = {{0}, copy->at};
    emit_row(code, source, anas_address_step(code, from, scope.iv, copy->depth), scratch,
             anas_address_step(code, to, scope.iv, num_pairs(copy)), copy->extent);
  } else {
    emit_rows(code, copy, source, scratch, scope.iv);
  }
  anas_code_end(code, &scope, 0, NULL);
}

// ---- products

MlirValue anas_code_multiply_pairs(struct anas_code *code, MlirValue a, MlirValue b, MlirValue sum) {
  static const char name_256[] = "llvm.x86.avx512bf16.dpbf16ps.256", name_512[] = "llvm.x86.avx512bf16.dpbf16ps.512";
  int lanes = code->target->lanes;
  MlirType pairs = bf16_vector(code, 2 * lanes);
  int32_t segments[] = {3, 0};
  MlirNamedAttribute attributes[] = {
      anas_code_attribute(
          code, "intrin",
          mlirStringAttrGet(code->context, mlirStringRefCreateFromCString(lanes == 16 ? name_512 : name_256))),
      anas_code_attribute(code, "op_bundle_sizes", mlirDenseI32ArrayGet(code->context, 0, NULL)),
      anas_code_attribute(code, "operandSegmentSizes", mlirDenseI32ArrayGet(code->context, 2, segments)),
  };
  // The instruction broadcasts its last operand from memory.
  MlirValue operands[] = {sum, anas_code_unary(code, "vector.bitcast", b, pairs),
                          anas_code_unary(code, "vector.bitcast", a, pairs)};
  return anas_code_op(code, "llvm.call_intrinsic", 3, operands, anas_code_vector(lanes, code->f32), 3, attributes);
}
