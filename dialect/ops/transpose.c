// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Permutation of the dimensions.
#include "dialect/op_support.h"
#include "dialect/train.h"

enum { AXES, NUM_ATTRS };

static const struct anas_attr_def transpose_attrs[NUM_ATTRS] = {
    [AXES] = {.name = "axes",
              .kind = ANAS_ATTR_INTS,
              .required = true,
              .list = true,
              .doc = "dimension of the operand that becomes dimension 0, 1, ... of the result; negative values count "
                     "from the end"},
};

static anas_status read_axes(const struct anas_op *op, int out_axes[ANAS_MAX_RANK]) {
  const struct anas_ints *axes = &op->attr[AXES].value.ints;
  const struct anas_shape *x = &op->operand[0];
  bool taken[ANAS_MAX_RANK] = {false};
  char text[128];
  if (axes->count != x->rank)
    return anas_fail(ANAS_INVALID, "attribute 'axes' of 'anas.%s' has %d entries, but the operand is tensor<%s>",
                     op->def->name, axes->count, anas_shape_text(x, text));
  for (int i = 0; i < axes->count; i++) {
    ANAS_RETURN_IF_ERROR(anas_check_axis(op, "axes", axes->value[i], &out_axes[i]));
    if (taken[out_axes[i]])
      return anas_fail(ANAS_INVALID, "attribute 'axes' of 'anas.%s' names axis %d twice", op->def->name, out_axes[i]);
    taken[out_axes[i]] = true;
  }
  return ANAS_OK;
}

static anas_status transpose_shape(const struct anas_op *op, struct anas_shape *out) {
  int axes[ANAS_MAX_RANK];
  ANAS_RETURN_IF_ERROR(anas_check_tensor(op, 1));
  ANAS_RETURN_IF_ERROR(read_axes(op, axes));
  struct anas_shape result = op->operand[0];
  if (result.dim[0] == ANAS_DYNAMIC && axes[0] != 0)
    return anas_fail(ANAS_INVALID, "'anas.%s' cannot move the batch, axis 0, whose extent is not known", op->def->name);
  for (int i = 0; i < result.rank; i++)
    result.dim[i] = op->operand[0].dim[axes[i]];
  out[0] = result;
  return ANAS_OK;
}

static void transpose_deps(const struct anas_op *op, int which, const struct anas_shape *result, struct anas_dep *out) {
  (void)which;
  int axes[ANAS_MAX_RANK];
  if (read_axes(op, axes) != ANAS_OK) return; // callers pass well-typed instances
  for (int i = 0; i < result->rank; i++)
    out[axes[i]] = anas_dep_same(i);
}

static void transpose_cost(const struct anas_op *op, const struct anas_shape *result, struct anas_cost *out) {
  (void)op;
  (void)result;
  out->flops = 0;
}

static anas_status transpose_forward(struct anas_train *train, struct anas_train_op *op) {
  return anas_train_emit(train, "permute", op->operand, 1, op->op->attr, &op->result);
}

static anas_status transpose_backward(struct anas_train *train, struct anas_train_op *op) {
  int axes[ANAS_MAX_RANK];
  ANAS_RETURN_IF_ERROR(read_axes(op->op, axes));
  struct anas_attr inverse = {.present = true, .value.ints.count = op->result_type.rank};
  for (int i = 0; i < op->result_type.rank; i++)
    inverse.value.ints.value[axes[i]] = i;
  return anas_train_emit(train, "permute", &op->grad_result, 1, &inverse, &op->grad_operand[0]);
}

static const struct anas_sample transpose_samples[] = {
    {{"2x5x3x7xf32"}, "{axes = array<i64: 0, 3, 1, 2>}", "2x7x5x3xf32"},
    {{"3x4x5xf32"}, "{axes = array<i64: 0, -1, 1>}", "3x5x4xf32"},
    {{"3x7xf32"}, "{axes = array<i64: 1, 0>}", "7x3xf32"},
};

static const struct anas_op_def transpose = {
    .name = "transpose",
    .summary = "permutation of the dimensions",
    .order = 22,
    .num_operands = 1,
    .attrs = transpose_attrs,
    .num_attrs = NUM_ATTRS,
    .linearity = ANAS_LINEAR,
    .onnx = "Transpose",
    .samples = transpose_samples,
    .num_samples = ANAS_COUNT(transpose_samples),
    .shape = transpose_shape,
    .deps = transpose_deps,
    .cost = transpose_cost,
    .forward = transpose_forward,
    .backward = transpose_backward,
};

static anas_status permute_lower(const struct anas_op *op, struct anas_lowering *l) {
  int axes[ANAS_MAX_RANK];
  ANAS_RETURN_IF_ERROR(read_axes(op, axes));
  const struct anas_shape *result = anas_lower_shape(l, anas_lower_result(l, 0));
  struct anas_nest *nest = anas_lower_nest(l, "permute");
  anas_nest_loops(nest, result);
  struct anas_access *in = anas_nest_in(nest, anas_lower_operand(l, 0));
  for (int i = 0; i < result->rank; i++)
    anas_access_add(in, axes[i], i, 1);
  anas_access_whole(anas_nest_out(nest, anas_lower_result(l, 0), ANAS_NO_FILL), result->rank);
  anas_nest_yield(nest, 0, "%%i0");
  return ANAS_OK;
}

static const struct anas_op_def permute = {
    .name = "permute",
    .level = ANAS_TRAINING,
    .summary = "a copy with permuted dimensions",
    .num_operands = 1,
    .attrs = transpose_attrs,
    .num_attrs = NUM_ATTRS,
    .shape = transpose_shape,
    .lower = permute_lower,
};

ANAS_OP_FAMILY(transpose, &transpose, &permute);
