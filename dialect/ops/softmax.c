// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Softmax along one axis.
#include "dialect/op_support.h"

enum { AXIS, NUM_ATTRS };

static const struct anas_attr_def softmax_attrs[NUM_ATTRS] = {
    [AXIS] = {.name = "axis",
              .kind = ANAS_ATTR_INT,
              .fallback = ANAS_INT(-1),
              .doc = "the dimension whose entries sum to one; negative values count from the end"},
};

static anas_status softmax_axis(const struct anas_op *op, int *out_axis) {
  int axis;
  ANAS_RETURN_IF_ERROR(anas_check_axis(op, "axis", op->attr[AXIS].value.i, &axis));
  if (axis == 0) return anas_fail(ANAS_INVALID, "'anas.%s' cannot normalise over axis 0, the batch", op->def->name);
  *out_axis = axis;
  return ANAS_OK;
}

static anas_status softmax_shape(const struct anas_op *op, struct anas_shape *out) {
  int axis;
  ANAS_RETURN_IF_ERROR(anas_check_tensor(op, 2));
  ANAS_RETURN_IF_ERROR(softmax_axis(op, &axis));
  return anas_shape_same(op, out);
}

static void softmax_deps(const struct anas_op *op, int which, const struct anas_shape *result, struct anas_dep *out) {
  (void)which;
  int axis;
  if (softmax_axis(op, &axis) != ANAS_OK) return; // callers pass well-typed instances
  for (int i = 0; i < result->rank; i++)
    out[i] = i == axis ? (struct anas_dep){.kind = ANAS_DEP_ALL, .out_dim = i} : anas_dep_same(i);
}

// Per element: subtract the maximum, exponential, sum, divide.
static void softmax_cost(const struct anas_op *op, const struct anas_shape *result, struct anas_cost *out) {
  (void)op;
  out->flops = 4 * anas_example_elements(result);
}

static const struct anas_sample softmax_samples[] = {
    {{"3x17xf32"}, "{}", "3x17xf32"},
    {{"2x3x5xf32"}, "{axis = 1 : i64}", "2x3x5xf32"},
    {{"2x3x5x4xf32"}, "{axis = -2 : i64}", "2x3x5x4xf32"},
};

static const struct anas_op_def softmax = {
    .name = "softmax",
    .summary = "exponentials along an axis, divided by their sum",
    .order = 16,
    .num_operands = 1,
    .attrs = softmax_attrs,
    .num_attrs = NUM_ATTRS,
    .linearity = ANAS_NONLINEAR,
    .synthesizable = true,
    .onnx = "Softmax",
    .samples = softmax_samples,
    .num_samples = ANAS_COUNT(softmax_samples),
    .shape = softmax_shape,
    .deps = softmax_deps,
    .cost = softmax_cost,
};

ANAS_OP_FAMILY(softmax, &softmax);
