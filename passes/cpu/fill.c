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

// Stores value to flat[lower, upper).
static void store_range(struct anas_code *code, MlirValue flat, MlirAttribute value, MlirValue lower, MlirValue upper) {
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

void anas_cpu_fill(struct anas_code *code, const struct anas_cpu_nest *nest, const MlirValue *flat, int loop,
                   MlirValue lower, MlirValue upper) {
  for (int o = nest->num_in; o < nest->num_operands; o++) {
    const struct anas_cpu_operand *operand = &nest->operand[o];
    if (!needs(operand)) continue;
    MlirValue zero = anas_code_index(code, 0), all = anas_code_index(code, operand->elements);
    MlirValue first = zero, last = all;
    if (loop >= 0) {
      // The first iteration also takes what lies before its slab, the last one what lies behind.
      MlirValue is_first = anas_code_compare(code, false, ANAS_CMPI_EQ, lower, zero);
      MlirValue is_last =
          anas_code_compare(code, false, ANAS_CMPI_SGE, upper, anas_code_index(code, nest->extent[loop]));
      first = anas_code_add_const(code, anas_code_mul_const(code, lower, operand->stride[loop]), operand->slab_offset);
      last = anas_code_add_const(code, anas_code_mul_const(code, upper, operand->stride[loop]), operand->slab_offset);
      first = anas_code_select(code, is_first, zero, first);
      last = anas_code_select(code, is_last, all, last);
    }
    store_range(code, flat[o], operand->fill, first, last);
  }
}
