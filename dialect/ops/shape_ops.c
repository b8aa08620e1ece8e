// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ops that only give the same elements another shape: flatten.
#include "dialect/op_support.h"
#include "dialect/train.h"

static anas_status flatten_shape(const struct anas_op *op, struct anas_shape *out) {
  const struct anas_shape *x = &op->operand[0];
  ANAS_RETURN_IF_ERROR(anas_check_tensor(op, 1));
  out[0] = (struct anas_shape){
      .rank = 2, .element = x->element, .dim = {x->dim[0], anas_example_elements(x)}}; // row-major: an alias
  return ANAS_OK;
}

// Result column y holds the element whose coordinates are the digits of y in the mixed radix of the extents.
static void flatten_deps(const struct anas_op *op, int which, const struct anas_shape *result, struct anas_dep *out) {
  (void)which;
  (void)result;
  int64_t div = 1;
  for (int i = op->operand[0].rank - 1; i >= 1; i--) {
    out[i] = (struct anas_dep){.kind = ANAS_DEP_DIVMOD, .out_dim = 1, .div = div};
    div *= op->operand[0].dim[i];
  }
  out[0] = anas_dep_same(0);
}

static void flatten_cost(const struct anas_op *op, const struct anas_shape *result, struct anas_cost *out) {
  (void)op;
  (void)result;
  out->flops = 0;
}

static anas_status flatten_forward(struct anas_train *train, struct anas_train_op *op) {
  struct anas_attr attrs[] = {anas_attr_extents(&op->result_type)};
  return anas_train_emit(train, "view", op->operand, 1, attrs, &op->result);
}

static anas_status flatten_backward(struct anas_train *train, struct anas_train_op *op) {
  struct anas_attr attrs[] = {anas_attr_extents(&op->op->operand[0])};
  return anas_train_emit(train, "view", &op->grad_result, 1, attrs, &op->grad_operand[0]);
}

static const struct anas_sample flatten_samples[] = {
    {{"2x5x3x7xf32"}, "{}", "2x105xf32"},
    {{"3x11xf32"}, "{}", "3x11xf32"},
    {{"2x3x5xf32"}, "{}", "2x15xf32"},
};

static const struct anas_op_def flatten = {
    .name = "flatten",
    .summary = "(batch, everything else)",
    .order = 21,
    .num_operands = 1,
    .linearity = ANAS_LINEAR,
    .onnx = "Flatten",
    .samples = flatten_samples,
    .num_samples = ANAS_COUNT(flatten_samples),
    .shape = flatten_shape,
    .deps = flatten_deps,
    .cost = flatten_cost,
    .forward = flatten_forward,
    .backward = flatten_backward,
};

static const struct anas_attr_def view_attrs[] = {
    {.name = "shape", .kind = ANAS_ATTR_INTS, .required = true, .list = true, .doc = "extents of the result"},
};

static anas_status view_shape(const struct anas_op *op, struct anas_shape *out) {
  struct anas_shape result = anas_extents_shape(&op->attr[0]);
  char a[128], b[128];
  result.element = op->operand[0].element;
  ANAS_RETURN_IF_ERROR(anas_shape_check(&result, false));
  if (anas_shape_elements(&result) != anas_shape_elements(&op->operand[0]))
    return anas_fail(ANAS_INVALID, "'anas.%s' cannot see tensor<%s> as tensor<%s>: the numbers of elements differ",
                     op->def->name, anas_shape_text(&op->operand[0], a), anas_shape_text(&result, b));
  out[0] = result;
  return ANAS_OK;
}

static anas_status view_lower(const struct anas_op *op, struct anas_lowering *l) {
  (void)op;
  anas_lower_alias(l, 0, 0);
  return ANAS_OK;
}

static const struct anas_op_def view = {
    .name = "view",
    .level = ANAS_TRAINING,
    .summary = "the same storage under another shape",
    .num_operands = 1,
    .attrs = view_attrs,
    .num_attrs = 1,
    .shape = view_shape,
    .lower = view_lower,
};

ANAS_OP_FAMILY(shape_ops, &flatten, &view);
