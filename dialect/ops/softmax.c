// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Softmax along one axis.
#include "dialect/op_support.h"
#include "dialect/train.h"

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

static anas_status softmax_forward(struct anas_train *train, struct anas_train_op *op) {
  ANAS_RETURN_IF_ERROR(anas_train_emit(train, "softmax_fwd", op->operand, 1, op->op->attr, &op->result));
  op->saved[0] = op->result;
  return ANAS_OK;
}

static anas_status softmax_backward(struct anas_train *train, struct anas_train_op *op) {
  MlirValue in[] = {op->saved[0], op->grad_result};
  return anas_train_emit(train, "softmax_bwd", in, 2, op->op->attr, &op->grad_operand[0]);
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
    .forward = softmax_forward,
    .backward = softmax_backward,
};

// One number for every row along the axis: the extent of the axis becomes 1.
static struct anas_shape row_shape(const struct anas_op *op, int axis) {
  struct anas_shape shape = op->operand[0];
  shape.dim[axis] = 1;
  return shape;
}

// A nest over the operand that reduces the axis into rows; the caller adds inputs.
static struct anas_nest *row_nest(const struct anas_op *op, struct anas_lowering *l, const char *kind, int axis,
                                  int rows, enum anas_fill fill) {
  const struct anas_shape *x = &op->operand[0];
  struct anas_nest *nest = anas_lower_nest(l, kind);
  for (int d = 0; d < x->rank; d++)
    anas_nest_loop(nest, x->dim[d], d == axis);
  struct anas_access *out = anas_nest_out(nest, rows, fill);
  for (int d = 0; d < x->rank; d++)
    if (d != axis) anas_access_add(out, d, d, 1);
  return nest;
}

static void row_in(struct anas_nest *nest, int buffer, int rank, int axis) {
  struct anas_access *in = anas_nest_in(nest, buffer);
  for (int d = 0; d < rank; d++)
    if (d != axis) anas_access_add(in, d, d, 1);
}

static anas_status softmax_fwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  int axis, rank = op->operand[0].rank, x = anas_lower_operand(l, 0);
  ANAS_RETURN_IF_ERROR(softmax_axis(op, &axis));
  struct anas_shape rows = row_shape(op, axis);
  int largest = anas_lower_scratch(l, &rows), sum = anas_lower_scratch(l, &rows);

  struct anas_nest *nest = row_nest(op, l, "softmax_max", axis, largest, ANAS_FILL_NEGATIVE_INFINITY);
  anas_access_whole(anas_nest_in(nest, x), rank);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.maxnumf %%o0, %%i0 : f32"));

  nest = row_nest(op, l, "softmax_sum", axis, sum, ANAS_FILL_ZERO);
  anas_access_whole(anas_nest_in(nest, x), rank);
  row_in(nest, largest, rank, axis);
  int exponent = anas_nest_value(nest, "arith.subf %%i0, %%i1 : f32");
  int term = anas_nest_value(nest, "math.exp %%v%d : f32", exponent);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%v%d : f32", term));

  int in[] = {x, largest, sum};
  nest = anas_lower_map(l, "softmax_fwd", in, 3, anas_lower_result(l, 0));
  exponent = anas_nest_value(nest, "arith.subf %%i0, %%i1 : f32");
  term = anas_nest_value(nest, "math.exp %%v%d : f32", exponent);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.divf %%v%d, %%i2 : f32", term));
  return ANAS_OK;
}

static const struct anas_op_def softmax_fwd = {
    .name = "softmax_fwd",
    .level = ANAS_TRAINING,
    .summary = "exp(x - max) / sum of exp(x - max), along the axis",
    .num_operands = 1,
    .attrs = softmax_attrs,
    .num_attrs = NUM_ATTRS,
    .shape = softmax_shape,
    .lower = softmax_fwd_lower,
};

static anas_status softmax_bwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  int axis, rank = op->operand[0].rank, y = anas_lower_operand(l, 0), dy = anas_lower_operand(l, 1);
  ANAS_RETURN_IF_ERROR(softmax_axis(op, &axis));
  struct anas_shape rows = row_shape(op, axis);
  int dot = anas_lower_scratch(l, &rows);

  struct anas_nest *nest = row_nest(op, l, "softmax_dot", axis, dot, ANAS_FILL_ZERO);
  anas_access_whole(anas_nest_in(nest, y), rank);
  anas_access_whole(anas_nest_in(nest, dy), rank);
  int product = anas_nest_value(nest, "arith.mulf %%i0, %%i1 " ANAS_CONTRACT " : f32");
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%v%d " ANAS_CONTRACT " : f32", product));

  int in[] = {y, dy, dot};
  nest = anas_lower_map(l, "softmax_bwd", in, 3, anas_lower_result(l, 0));
  int rest = anas_nest_value(nest, "arith.subf %%i1, %%i2 : f32");
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.mulf %%i0, %%v%d : f32", rest));
  return ANAS_OK;
}

static const struct anas_op_def softmax_bwd = {
    .name = "softmax_bwd",
    .level = ANAS_TRAINING,
    .summary = "dx = y * (dy - sum of y * dy along the axis), from the result y and dy",
    .num_operands = 2,
    .attrs = softmax_attrs,
    .num_attrs = NUM_ATTRS,
    .shape = softmax_shape,
    .lower = softmax_bwd_lower,
};

ANAS_OP_FAMILY(softmax, &softmax, &softmax_fwd, &softmax_bwd);
