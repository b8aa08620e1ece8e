// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Elementwise arithmetic with numpy broadcasting: identity, add, mul and scalar_mul.
#include "dialect/op_support.h"

#include <math.h>

// ---- identity

static void free_of_charge(const struct anas_op *op, const struct anas_shape *result, struct anas_cost *out) {
  (void)op;
  (void)result;
  out->flops = 0;
}

static const struct anas_sample identity_samples[] = {
    {{"2x3x5x2xf32"}, "{}", "2x3x5x2xf32"},
    {{"3x7xf32"}, "{}", "3x7xf32"},
};

static const struct anas_op_def identity = {
    .name = "identity",
    .summary = "the operand itself",
    .order = 1,
    .num_operands = 1,
    .linearity = ANAS_NEUTRAL,
    .onnx = "Identity",
    .samples = identity_samples,
    .num_samples = ANAS_COUNT(identity_samples),
    .shape = anas_shape_same,
    .cost = free_of_charge,
};

// ---- add, mul

static anas_status binary_shape(const struct anas_op *op, struct anas_shape *out) {
  char a[128], b[128];
  if (op->operand[0].element != op->operand[1].element)
    return anas_fail(ANAS_INVALID, "operands of 'anas.%s' have different element types: tensor<%s> and tensor<%s>",
                     op->def->name, anas_shape_text(&op->operand[0], a), anas_shape_text(&op->operand[1], b));
  return anas_shape_broadcast(op, out);
}

static const struct anas_sample binary_samples[] = {
    {{"2x3x5x7xf32", "2x3x5x7xf32"}, "{}", "2x3x5x7xf32"},
    {{"2x5x3x7xf32", "2x1x1x7xf32"}, "{}", "2x5x3x7xf32"},
    {{"3x11xf32", "11xf32"}, "{}", "3x11xf32"},
    {{"2x1x5xf32", "1x3x1xf32"}, "{}", "2x3x5xf32"},
};

static const struct anas_op_def add = {
    .name = "add",
    .summary = "sum of two tensors, numpy broadcasting",
    .order = 5,
    .num_operands = 2,
    .linearity = ANAS_LINEAR,
    .commutative = true,
    .onnx = "Add",
    .samples = binary_samples,
    .num_samples = ANAS_COUNT(binary_samples),
    .shape = binary_shape,
};

static const struct anas_op_def mul = {
    .name = "mul",
    .summary = "elementwise product of two tensors, numpy broadcasting",
    .description = "Counts as linear in the depth property, as in the paper's reference implementation.",
    .order = 7,
    .num_operands = 2,
    .linearity = ANAS_LINEAR,
    .commutative = true,
    .onnx = "Mul",
    .samples = binary_samples,
    .num_samples = ANAS_COUNT(binary_samples),
    .shape = binary_shape,
};

// ---- scalar_mul

enum { CONSTANT, NUM_SCALAR_ATTRS };

static const struct anas_attr_def scalar_attrs[NUM_SCALAR_ATTRS] = {
    [CONSTANT] = {.name = "constant",
                  .kind = ANAS_ATTR_FLOAT,
                  .doc = "the factor; absent: 1 / sqrt(extent of the last dimension)"},
};

static anas_status scalar_mul_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(anas_check_tensor(op, 1));
  if (op->attr[CONSTANT].present && !isfinite(op->attr[CONSTANT].value.f))
    return anas_fail(ANAS_INVALID, "attribute 'constant' of 'anas.%s' must be finite, got %g", op->def->name,
                     op->attr[CONSTANT].value.f);
  return anas_shape_same(op, out);
}

static const struct anas_sample scalar_mul_samples[] = {
    {{"2x3x5x7xf32"}, "{}", "2x3x5x7xf32"},
    {{"3x11xf32"}, "{constant = -2.5 : f32}", "3x11xf32"},
};

static const struct anas_op_def scalar_mul = {
    .name = "scalar_mul",
    .summary = "product with a constant",
    .order = 8,
    .num_operands = 1,
    .attrs = scalar_attrs,
    .num_attrs = NUM_SCALAR_ATTRS,
    .linearity = ANAS_LINEAR,
    .synthesizable = true,
    .samples = scalar_mul_samples,
    .num_samples = ANAS_COUNT(scalar_mul_samples),
    .shape = scalar_mul_shape,
};

ANAS_OP_FAMILY(elementwise, &identity, &add, &mul, &scalar_mul);
