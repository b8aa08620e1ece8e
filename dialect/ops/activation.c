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

// ---- codes: which elements are positive

static anas_status code_kernel_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(anas_check_tensor(op, 2));
  int64_t batch = op->operand[0].dim[0];
  *out = (struct anas_shape){.rank = 2, .element = ANAS_F32, .dim = {batch, batch}};
  return ANAS_OK;
}

// s = y > 0 ? 1 : -1; K = s s^T. Two copies of s: operands of a kernel function are distinct.
static anas_status code_kernel_lower(const struct anas_op *op, struct anas_lowering *l) {
  const struct anas_shape *y = &op->operand[0];
  int in[] = {anas_lower_operand(l, 0)}, codes[2];
  for (int side = 0; side < 2; side++) {
    codes[side] = anas_lower_scratch(l, y);
    struct anas_nest *nest = anas_lower_map(l, "relu_codes", in, 1, codes[side]);
    int zero = anas_nest_f32(nest, 0), one = anas_nest_f32(nest, 1), minus = anas_nest_f32(nest, -1);
    int positive = anas_nest_value(nest, "arith.cmpf ogt, %%i0, %%v%d : f32", zero);
    anas_nest_yield(nest, 0, "%%v%d",
                    anas_nest_value(nest, "arith.select %%v%d, %%v%d, %%v%d : f32", positive, one, minus));
  }
  struct anas_nest *nest = anas_lower_nest(l, "relu_code_kernel");
  for (int side = 0; side < 2; side++)
    anas_nest_loop(nest, y->dim[0], false);
  for (int d = 1; d < y->rank; d++)
    anas_nest_loop(nest, y->dim[d], true);
  struct anas_access *out = anas_nest_out(nest, anas_lower_result(l, 0), ANAS_FILL_ZERO);
  for (int side = 0; side < 2; side++) {
    struct anas_access *access = anas_nest_in(nest, codes[side]);
    anas_access_add(access, 0, side, 1);
    for (int d = 1; d < y->rank; d++)
      anas_access_add(access, d, d + 1, 1);
    anas_access_add(out, side, side, 1);
  }
  int product = anas_nest_value(nest, "arith.mulf %%i0, %%i1 " ANAS_CONTRACT " : f32");
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%v%d " ANAS_CONTRACT " : f32", product));
  return ANAS_OK;
}

static const struct anas_sample code_kernel_samples[] = {
    {{"3x17xf32"}, "{}", "3x3xf32"},
    {{"5x3x2x7xf32"}, "{}", "5x5xf32"},
};

static const struct anas_op_def relu_code_kernel = {
    .name = "relu_code_kernel",
    .level = ANAS_TRAINING,
    .summary = "K[i][j]: in how many elements the signs of examples i and j agree, minus in how many they differ",
    .description = "The kernel of Mellor et al. (2021), a measure of untrained networks, of the results of a relu.",
    .num_operands = 1,
    .samples = code_kernel_samples,
    .num_samples = ANAS_COUNT(code_kernel_samples),
    .shape = code_kernel_shape,
    .lower = code_kernel_lower,
};

// ---- gelu, swish, sigmoid

static const struct anas_sample smooth_samples[] = {
    {{"2x5x5x3xf32"}, "{}", "2x5x5x3xf32"},
    {{"3x17xf32"}, "{}", "3x17xf32"},
};

// The gradients of gelu and swish need the operand; that of sigmoid is a function of the result.
static anas_status gelu_forward(struct anas_train *train, struct anas_train_op *op) {
  op->saved[0] = op->operand[0];
  return anas_train_emit(train, "gelu_fwd", op->operand, 1, NULL, &op->result);
}

static anas_status gelu_backward(struct anas_train *train, struct anas_train_op *op) {
  MlirValue in[] = {op->saved[0], op->grad_result};
  return anas_train_emit(train, "gelu_bwd", in, 2, NULL, &op->grad_operand[0]);
}

static anas_status swish_forward(struct anas_train *train, struct anas_train_op *op) {
  op->saved[0] = op->operand[0];
  return anas_train_emit(train, "swish_fwd", op->operand, 1, NULL, &op->result);
}

static anas_status swish_backward(struct anas_train *train, struct anas_train_op *op) {
  MlirValue in[] = {op->saved[0], op->grad_result};
  return anas_train_emit(train, "swish_bwd", in, 2, NULL, &op->grad_operand[0]);
}

static anas_status sigmoid_forward(struct anas_train *train, struct anas_train_op *op) {
  ANAS_RETURN_IF_ERROR(anas_train_emit(train, "sigmoid_fwd", op->operand, 1, NULL, &op->result));
  op->saved[0] = op->result;
  return ANAS_OK;
}

static anas_status sigmoid_backward(struct anas_train *train, struct anas_train_op *op) {
  MlirValue in[] = {op->saved[0], op->grad_result};
  return anas_train_emit(train, "sigmoid_bwd", in, 2, NULL, &op->grad_operand[0]);
}

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
    .forward = gelu_forward,
    .backward = gelu_backward,
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
    .forward = swish_forward,
    .backward = swish_backward,
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
    .forward = sigmoid_forward,
    .backward = sigmoid_backward,
};

static struct anas_nest *map1(struct anas_lowering *l, const char *kind) {
  int in[] = {anas_lower_operand(l, 0)};
  return anas_lower_map(l, kind, in, 1, anas_lower_result(l, 0));
}

static struct anas_nest *map2(struct anas_lowering *l, const char *kind) {
  int in[] = {anas_lower_operand(l, 0), anas_lower_operand(l, 1)};
  return anas_lower_map(l, kind, in, 2, anas_lower_result(l, 0));
}

// 1 / (1 + exp(-2u)) of %i0, with u = GELU_SCALE * (x + GELU_CUBE * x^3): (1 + tanh u) / 2, but cheaper, and without
// the cancellation at negative arguments. *out_square is x^2.
#define GELU_SCALE 0.79788456080286535588 // sqrt(2 / pi)
#define GELU_CUBE 0.044715
#define LOG2_E 1.44269504088896340736
static int gelu_weight(struct anas_nest *nest, int one, int *out_square) {
  int square = anas_nest_value(nest, "arith.mulf %%i0, %%i0 : f32");
  int line = anas_nest_f32(nest, -2 * LOG2_E * GELU_SCALE);
  int curve = anas_nest_f32(nest, -2 * LOG2_E * GELU_SCALE * GELU_CUBE);
  int a = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d " ANAS_CONTRACT " : f32", square, curve);
  int b = anas_nest_value(nest, "arith.addf %%v%d, %%v%d " ANAS_CONTRACT " : f32", a, line);
  int exponent = anas_nest_value(nest, "arith.mulf %%i0, %%v%d : f32", b);
  int power = anas_nest_value(nest, "math.exp2 %%v%d : f32", exponent);
  int sum = anas_nest_value(nest, "arith.addf %%v%d, %%v%d : f32", power, one);
  *out_square = square;
  return anas_nest_value(nest, "arith.divf %%v%d, %%v%d : f32", one, sum);
}

static anas_status gelu_fwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  (void)op;
  struct anas_nest *nest = map1(l, "gelu_fwd");
  int square, weight = gelu_weight(nest, anas_nest_f32(nest, 1), &square);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.mulf %%i0, %%v%d : f32", weight));
  return ANAS_OK;
}

// dy * (s + (s - s^2) * x * 2 GELU_SCALE (1 + 3 GELU_CUBE x^2)), s the weight of the forward pass.
static anas_status gelu_bwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  (void)op;
  struct anas_nest *nest = map2(l, "gelu_bwd");
  int square, s = gelu_weight(nest, anas_nest_f32(nest, 1), &square);
  int slope = anas_nest_f32(nest, 2 * GELU_SCALE), curve = anas_nest_f32(nest, 6 * GELU_SCALE * GELU_CUBE);
  int a = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d " ANAS_CONTRACT " : f32", square, curve);
  int b = anas_nest_value(nest, "arith.addf %%v%d, %%v%d " ANAS_CONTRACT " : f32", a, slope);
  int inner = anas_nest_value(nest, "arith.mulf %%i0, %%v%d : f32", b);
  int ss = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d " ANAS_CONTRACT " : f32", s, s);
  int bend = anas_nest_value(nest, "arith.subf %%v%d, %%v%d " ANAS_CONTRACT " : f32", s, ss);
  int right = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d " ANAS_CONTRACT " : f32", inner, bend);
  int sum = anas_nest_value(nest, "arith.addf %%v%d, %%v%d " ANAS_CONTRACT " : f32", s, right);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.mulf %%i1, %%v%d : f32", sum));
  return ANAS_OK;
}

// 1 / (1 + exp(-x)) of %i0: exp overflows to infinity and the quotient is then 0, as it should.
static int logistic(struct anas_nest *nest, int one) {
  int negated = anas_nest_value(nest, "arith.negf %%i0 : f32");
  int exp = anas_nest_value(nest, "math.exp %%v%d : f32", negated);
  int sum = anas_nest_value(nest, "arith.addf %%v%d, %%v%d : f32", exp, one);
  return anas_nest_value(nest, "arith.divf %%v%d, %%v%d : f32", one, sum);
}

static anas_status swish_fwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  (void)op;
  struct anas_nest *nest = map1(l, "swish_fwd");
  int s = logistic(nest, anas_nest_f32(nest, 1));
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.mulf %%i0, %%v%d : f32", s));
  return ANAS_OK;
}

// dy * s * (1 + x * (1 - s)), s = sigmoid(x)
static anas_status swish_bwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  (void)op;
  struct anas_nest *nest = map2(l, "swish_bwd");
  int one = anas_nest_f32(nest, 1), s = logistic(nest, one);
  int rest = anas_nest_value(nest, "arith.subf %%v%d, %%v%d : f32", one, s);
  int product = anas_nest_value(nest, "arith.mulf %%i0, %%v%d " ANAS_CONTRACT " : f32", rest);
  int factor = anas_nest_value(nest, "arith.addf %%v%d, %%v%d " ANAS_CONTRACT " : f32", product, one);
  int slope = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d : f32", s, factor);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.mulf %%i1, %%v%d : f32", slope));
  return ANAS_OK;
}

static anas_status sigmoid_fwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  (void)op;
  struct anas_nest *nest = map1(l, "sigmoid_fwd");
  anas_nest_yield(nest, 0, "%%v%d", logistic(nest, anas_nest_f32(nest, 1)));
  return ANAS_OK;
}

static anas_status sigmoid_bwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  (void)op;
  struct anas_nest *nest = map2(l, "sigmoid_bwd");
  int rest = anas_nest_value(nest, "arith.subf %%v%d, %%i0 : f32", anas_nest_f32(nest, 1));
  int slope = anas_nest_value(nest, "arith.mulf %%i0, %%v%d : f32", rest);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.mulf %%i1, %%v%d : f32", slope));
  return ANAS_OK;
}

#define TRAINING_OP(op, operands, text)                                                                                \
  static const struct anas_op_def op = {.name = #op,                                                                   \
                                        .level = ANAS_TRAINING,                                                        \
                                        .summary = text,                                                               \
                                        .num_operands = operands,                                                      \
                                        .shape = anas_shape_same,                                                      \
                                        .lower = op##_lower}
TRAINING_OP(gelu_fwd, 1, "y = gelu(x)");
TRAINING_OP(gelu_bwd, 2, "dx = dy * gelu'(x), from x and dy");
TRAINING_OP(swish_fwd, 1, "y = x * sigmoid(x)");
TRAINING_OP(swish_bwd, 2, "dx = dy * swish'(x), from x and dy");
TRAINING_OP(sigmoid_fwd, 1, "y = sigmoid(x)");
TRAINING_OP(sigmoid_bwd, 2, "dx = dy * y * (1 - y), from the result y and dy");

ANAS_OP_FAMILY(activation, &relu, &gelu, &swish, &sigmoid, &relu_fwd, &relu_bwd, &relu_code_kernel, &gelu_fwd,
               &gelu_bwd, &swish_fwd, &swish_bwd, &sigmoid_fwd, &sigmoid_bwd);
