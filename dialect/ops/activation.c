// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Elementwise non-linearities: relu, gelu, swish and sigmoid, and their gradients.
#include "dialect/kernel.h"
#include "dialect/op_support.h"
#include "dialect/train.h"

// ---- relu
// ------------------------------------------------------------------------------------------------------------

static anas_status relu_forward(struct anas_train *train, struct anas_train_op *op) {
  ANAS_RETURN_IF_ERROR(anas_train_emit(train, "relu_fwd", op->operand, 1, NULL, &op->result));
  op->saved[0] = op->result; // the sign of the result is the sign of the operand: the operand need not be kept
  return ANAS_OK;
}

static anas_status relu_backward(struct anas_train *train, struct anas_train_op *op) {
  MlirValue in[] = {op->saved[0], op->grad_result};
  return anas_train_emit(train, "relu_bwd", in, 2, NULL, &op->grad_operand[0]);
}

static const struct anas_sample relu_samples[] = {
    {{"2x5x5x3xf32"}, "{}", "2x5x5x3xf32"},
    {{"3x17xf32"}, "{}", "3x17xf32"},
};

static const struct anas_op_def relu = {
    .name = "relu",
    .summary = "rectified linear unit, max(x, 0)",
    .order = 12,
    .num_operands = 1,
    .linearity = ANAS_NONLINEAR,
    .synthesizable = true,
    .onnx = "Relu",
    .samples = relu_samples,
    .num_samples = 2,
    .shape = anas_shape_same,
    .forward = relu_forward,
    .backward = relu_backward,
};

static anas_status relu_fwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  (void)op;
  int in[] = {anas_lower_operand(l, 0)};
  struct anas_nest *nest = anas_lower_map(l, "relu_fwd", in, 1, anas_lower_result(l, 0));
  int zero = anas_nest_value(nest, "arith.constant 0.0 : f32");
  // maxnumf, not maximumf: the NaN rule of the latter costs two more instructions.
  int max = anas_nest_value(nest, "arith.maxnumf %%i0, %%v%d : f32", zero);
  anas_nest_yield(nest, 0, "%%v%d", max);
  return ANAS_OK;
}

static const struct anas_op_def relu_fwd = {
    .name = "relu_fwd",
    .level = ANAS_TRAINING,
    .summary = "y = max(x, 0)",
    .num_operands = 1,
    .shape = anas_shape_same,
    .lower = relu_fwd_lower,
};

static anas_status relu_bwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  (void)op;
  int in[] = {anas_lower_operand(l, 0), anas_lower_operand(l, 1)};
  struct anas_nest *nest = anas_lower_map(l, "relu_bwd", in, 2, anas_lower_result(l, 0));
  int zero = anas_nest_value(nest, "arith.constant 0.0 : f32");
  int positive = anas_nest_value(nest, "arith.cmpf ogt, %%i0, %%v%d : f32", zero);
  int grad = anas_nest_value(nest, "arith.select %%v%d, %%i1, %%v%d : f32", positive, zero);
  anas_nest_yield(nest, 0, "%%v%d", grad);
  return ANAS_OK;
}

static const struct anas_op_def relu_bwd = {
    .name = "relu_bwd",
    .level = ANAS_TRAINING,
    .summary = "dx = y > 0 ? dy : 0, from the result y",
    .num_operands = 2,
    .shape = anas_shape_same,
    .lower = relu_bwd_lower,
};

// ---- gelu, swish, sigmoid

static const struct anas_sample smooth_samples[] = {
    {{"2x5x5x3xf32"}, "{}", "2x5x5x3xf32"},
    {{"3x17xf32"}, "{}", "3x17xf32"},
};

static const struct anas_op_def gelu = {
    .name = "gelu",
    .summary = "Gaussian error linear unit, tanh approximation",
    .description = "`y = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`",
    .order = 13,
    .num_operands = 1,
    .linearity = ANAS_NONLINEAR,
    .synthesizable = true,
    .onnx = "Gelu",
    .samples = smooth_samples,
    .num_samples = ANAS_COUNT(smooth_samples),
    .shape = anas_shape_same,
};

static const struct anas_op_def swish = {
    .name = "swish",
    .summary = "x * sigmoid(x)",
    .order = 14,
    .num_operands = 1,
    .linearity = ANAS_NONLINEAR,
    .synthesizable = true,
    .samples = smooth_samples,
    .num_samples = ANAS_COUNT(smooth_samples),
    .shape = anas_shape_same,
};

static const struct anas_op_def sigmoid = {
    .name = "sigmoid",
    .summary = "1 / (1 + exp(-x))",
    .order = 15,
    .num_operands = 1,
    .linearity = ANAS_NONLINEAR,
    .synthesizable = true,
    .onnx = "Sigmoid",
    .samples = smooth_samples,
    .num_samples = ANAS_COUNT(smooth_samples),
    .shape = anas_shape_same,
};

ANAS_OP_FAMILY(activation, &relu, &gelu, &swish, &sigmoid, &relu_fwd, &relu_bwd);
