// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Optimizers: what they share.
#include "dialect/optimizer.h"

#include <stdio.h>
#include <string.h>

static bool is_scalar(const struct anas_shape *shape) {
  return shape->rank == 1 && shape->dim[0] == 1 && shape->element == ANAS_F32;
}

anas_status anas_optimizer_shape(const struct anas_op *op, int num_states, struct anas_shape *out) {
  const struct anas_shape *param = &op->operand[0];
  char a[128], b[128];
  if (op->num_operands > op->def->num_operands + 1)
    return anas_fail(ANAS_INVALID, "'anas.%s' needs %d operands, or one more, the factor of the gradient, got %d",
                     op->def->name, op->def->num_operands, op->num_operands);
  for (int i = 0; i < op->num_operands; i++) {
    const struct anas_shape *operand = &op->operand[i];
    if (i <= num_states + 1 && !anas_shape_equal(param, operand))
      return anas_fail(ANAS_INVALID,
                       "operand %d of 'anas.%s' must have the type of the parameter, tensor<%s>, got tensor<%s>", i,
                       op->def->name, anas_shape_text(param, a), anas_shape_text(operand, b));
    if (i > num_states + 1 && !is_scalar(operand))
      return anas_fail(ANAS_INVALID, "operand %d of 'anas.%s' (%s) must be tensor<1xf32>, got tensor<%s>", i,
                       op->def->name, i == num_states + 2 ? "the learning rate" : "a factor",
                       anas_shape_text(operand, a));
  }
  for (int i = 0; i <= num_states; i++)
    out[i] = *param;
  return ANAS_OK;
}

struct anas_nest *anas_optimizer_nest(const struct anas_op *op, struct anas_lowering *l, int num_states,
                                      char gradient[16]) {
  const struct anas_shape *param = &op->operand[0];
  for (int i = 0; i <= num_states; i++)
    anas_lower_alias(l, i, i);
  struct anas_nest *nest = anas_lower_nest(l, op->def->name);
  anas_nest_loops(nest, param);
  anas_access_whole(anas_nest_in(nest, anas_lower_operand(l, num_states + 1)), param->rank);
  for (int i = num_states + 2; i < op->num_operands; i++)
    anas_nest_in(nest, anas_lower_operand(l, i));
  for (int i = 0; i <= num_states; i++)
    anas_access_whole(anas_nest_out(nest, anas_lower_result(l, i), ANAS_NO_FILL), param->rank);
  strcpy(gradient, "%i0");
  if (op->num_operands > op->def->num_operands)
    snprintf(gradient, 16, "%%v%d",
             anas_nest_value(nest, "arith.mulf %%i0, %%i%d : f32", op->num_operands - num_states - 2));
  return nest;
}
