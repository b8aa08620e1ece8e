// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Fills of outputs that the nest itself does not overwrite completely (halos, scatters).
#include "passes/cpu/nest.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

static bool needs(const struct anas_cpu_operand *operand) {
  return operand->output && operand->filled && !operand->covered;
}

bool anas_cpu_needs_fill(const struct anas_cpu_nest *nest) {
  for (int o = nest->num_in; o < nest->num_operands; o++)
    if (needs(&nest->operand[o])) return true;
  return false;
}

void anas_cpu_fill_range(struct anas_code *code, MlirValue flat, MlirAttribute value, MlirValue lower,
                         MlirValue upper) {
  int lanes = code->target->lanes;
  MlirType element = mlirShapedTypeGetElementType(mlirValueGetType(flat));
  MlirValue vector = anas_code_splat(code, anas_code_vector(lanes, element), value);
  MlirValue scalar = anas_code_constant(code, element, value);
  // Upper end of the whole vectors: lower + (upper - lower) / lanes * lanes.
  MlirValue length = anas_code_binary(code, "arith.subi", upper, lower);
  MlirValue rest = anas_code_binary(code, "arith.remui", length, anas_code_index(code, lanes));
  MlirValue middle = anas_code_binary(code, "arith.subi", upper, rest);
  struct anas_code_scope loop = anas_code_for(code, lower, middle, lanes, 0, NULL);
  anas_code_vector_store(code, vector, flat, (struct anas_address){loop.iv, 0}, lanes);
  anas_code_end(code, &loop, 0, NULL);
  loop = anas_code_for(code, middle, upper, 1, 0, NULL);
  anas_code_store(code, scalar, flat, (struct anas_address){loop.iv, 0});
  anas_code_end(code, &loop, 0, NULL);
}

void anas_cpu_fill_bounds(struct anas_code *code, const struct anas_cpu_nest *nest, int o, int loop, MlirValue lower,
                          MlirValue upper, MlirValue *out_first, MlirValue *out_last) {
  const struct anas_cpu_operand *operand = &nest->operand[o];
  MlirValue zero = anas_code_index(code, 0), all = anas_code_index(code, operand->elements);
  *out_first = zero;
  *out_last = all;
  if (loop < 0) return;
  // The first iteration also takes what lies before its slab, the last one what lies behind.
  MlirValue is_first = anas_code_compare(code, false, ANAS_CMPI_EQ, lower, zero);
  MlirValue is_last = anas_code_compare(code, false, ANAS_CMPI_SGE, upper, anas_code_index(code, nest->extent[loop]));
  int64_t stride = operand->stride[loop], offset = operand->slab_offset;
  MlirValue first = anas_code_add_const(code, anas_code_mul_const(code, lower, stride), offset);
  MlirValue last = anas_code_add_const(code, anas_code_mul_const(code, upper, stride), offset);
  *out_first = anas_code_select(code, is_first, zero, first);
  *out_last = anas_code_select(code, is_last, all, last);
}

void anas_cpu_fill(struct anas_code *code, const struct anas_cpu_nest *nest, const MlirValue *flat, int loop,
                   MlirValue lower, MlirValue upper) {
  for (int o = nest->num_in; o < nest->num_operands; o++) {
    if (!needs(&nest->operand[o])) continue;
    MlirValue first, last;
    anas_cpu_fill_bounds(code, nest, o, loop, lower, upper, &first, &last);
    anas_cpu_fill_range(code, flat[o], nest->operand[o].fill, first, last);
  }
}
