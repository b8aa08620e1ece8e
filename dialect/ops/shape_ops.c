// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ops that only give the same elements another shape: flatten and reshape.
#include "dialect/op_support.h"
#include "dialect/train.h"

static anas_status flatten_shape(const struct anas_op *op, struct anas_shape *out) {
  const struct anas_shape *x = &op->operand[0];
  ANAS_RETURN_IF_ERROR(anas_check_tensor(op, 1));
  out[0] = (struct anas_shape){
      .rank = 2, .element = x->element, .dim = {x->dim[0], anas_example_elements(x)}}; // row-major: an alias
  return ANAS_OK;
}

// Dimensions of operand and result fall into groups with the same number of elements. Inside one, the coordinates of
// the operand are the digits, in the mixed radix of its extents, of the row-major index over the result's dimensions.
static void view_deps(const struct anas_op *op, int which, const struct anas_shape *result, struct anas_dep *out) {
  (void)which;
  const struct anas_shape *x = &op->operand[0];
  for (int i = 0, j = 0; i < x->rank;) {
    int first = i, column = j;
    if (j == result->rank) { // nothing but extents of 1 is left
      out[i++] = (struct anas_dep){.kind = ANAS_DEP_FIRST};
      continue;
    }
    int64_t here = x->dim[i++], there = result->dim[j++]; // a batch of unknown extent meets itself
    while (here != there) {
      if (here < there)
        here *= x->dim[i++];
      else
        there *= result->dim[j++];
    }
    if (i == first + 1 && j == column + 1) {
      out[first] = anas_dep_same(column);
      continue;
    }
    int64_t div = 1;
    for (int d = i - 1; d >= first; d--) {
      out[d] = j == column + 1
                   ? (struct anas_dep){.kind = ANAS_DEP_DIVMOD, .out_dim = column, .div = div}
                   : (struct anas_dep){.kind = ANAS_DEP_LINEAR, .out_dim = column, .out_last = j - 1, .div = div};
      div *= x->dim[d];
    }
  }
}

static void view_cost(const struct anas_op *op, const struct anas_shape *result, struct anas_cost *out) {
  (void)op;
  (void)result;
  out->flops = 0;
}

static anas_status view_forward(struct anas_train *train, struct anas_train_op *op) {
  struct anas_attr attrs[] = {anas_attr_extents(&op->result_type)};
  return anas_train_emit(train, "view", op->operand, 1, attrs, &op->result);
}

static anas_status view_backward(struct anas_train *train, struct anas_train_op *op) {
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
    .deps = view_deps,
    .cost = view_cost,
    .forward = view_forward,
    .backward = view_backward,
};

// ---- reshape

enum { NEW_SHAPE, NUM_RESHAPE_ATTRS };

static const struct anas_attr_def reshape_attrs[NUM_RESHAPE_ATTRS] = {
    [NEW_SHAPE] = {.name = "new_shape",
                   .kind = ANAS_ATTR_DIMS,
                   .required = true,
                   .doc = "extents of the result: numbers, extents of the operand like \"S:-1%3\", \"B\" in front for "
                          "the batch, and at most one -1 for what is left"},
};

// The product of the entries but "B" and -1. *out_rest: position of the -1, or -1.
static anas_status known_extents(const struct anas_op *op, int64_t *out_known, int *out_rest) {
  const struct anas_ints *entries = &op->attr[NEW_SHAPE].value.ints;
  int64_t known = 1;
  int rest = -1;
  for (int i = 0; i < entries->count; i++) {
    int64_t entry = entries->value[i];
    if (entry == ANAS_DIMS_BATCH) continue;
    if (entry == ANAS_DIMS_REST) {
      if (rest >= 0)
        return anas_fail(ANAS_INVALID, "attribute 'new_shape' of 'anas.%s' has two entries -1", op->def->name);
      rest = i;
    } else if (__builtin_mul_overflow(known, entry, &known) || known > ANAS_MAX_ELEMENTS) {
      return anas_fail(ANAS_INVALID, "attribute 'new_shape' of 'anas.%s' has too many elements", op->def->name);
    }
  }
  *out_known = known;
  *out_rest = rest;
  return ANAS_OK;
}

static anas_status reshape_shape(const struct anas_op *op, struct anas_shape *out) {
  const struct anas_ints *entries = &op->attr[NEW_SHAPE].value.ints;
  const struct anas_shape *x = &op->operand[0];
  struct anas_shape result = {.rank = entries->count, .element = x->element};
  int64_t known = 1;
  int rest = -1;
  char text[128], shape[128];
  ANAS_RETURN_IF_ERROR(anas_check_tensor(op, 1));
  ANAS_RETURN_IF_ERROR(known_extents(op, &known, &rest));
  bool batch = entries->value[0] == ANAS_DIMS_BATCH, open = x->dim[0] == ANAS_DYNAMIC;
  int64_t elements = batch || open ? anas_example_elements(x) : anas_shape_elements(x);
  if (open && !batch && rest != 0)
    return anas_fail(ANAS_INVALID,
                     "'anas.%s' of tensor<%s>, whose batch is not known, must keep it in front: start new_shape with "
                     "\"B\"",
                     op->def->name, anas_shape_text(x, text));
  for (int i = 0; i < result.rank; i++)
    result.dim[i] = entries->value[i];
  if (batch) result.dim[0] = x->dim[0];
  bool exact = rest < 0 || (open && rest == 0); // nothing is left to be chosen
  if (exact ? known != elements : elements % known != 0)
    return anas_fail(ANAS_INVALID, "'anas.%s' cannot give the %lld elements %sof tensor<%s> the shape %s%s",
                     op->def->name, (long long)elements, batch || open ? "of an example " : "",
                     anas_shape_text(x, text), anas_shape_text(&result, shape),
                     exact ? "" : ": the other extents do not divide them");
  if (!exact) result.dim[rest] = elements / known;
  out[0] = result;
  return ANAS_OK;
}

static const struct anas_sample reshape_samples[] = {
    {{"2x5x3x7xf32"}, "{new_shape = [\"B\", -1, \"S:-1\"]}", "2x15x7xf32"},
    {{"2x3x8xf32"}, "{new_shape = [\"B\", -1, 2, \"S:-1%2\"]}", "2x3x2x4xf32"},
    {{"2x12xf32"}, "{new_shape = [\"B\", \"S:1%4\", 1, -1]}", "2x3x1x4xf32"},
    {{"2x3x4x5xf32"}, "{new_shape = [-1, 10]}", "12x10xf32"},
    {{"3x1x4xf32"}, "{new_shape = array<i64: 3, 4>}", "3x4xf32"},
};

static const struct anas_op_def reshape = {
    .name = "reshape",
    .summary = "the same elements, in row-major order, under another shape",
    .description = "A batch of unknown extent stays in front: `new_shape` then starts with `\"B\"`.",
    .order = 20,
    .num_operands = 1,
    .attrs = reshape_attrs,
    .num_attrs = NUM_RESHAPE_ATTRS,
    .linearity = ANAS_LINEAR,
    .onnx = "Reshape",
    .samples = reshape_samples,
    .num_samples = ANAS_COUNT(reshape_samples),
    .shape = reshape_shape,
    .deps = view_deps,
    .cost = view_cost,
    .forward = view_forward,
    .backward = view_backward,
};

// ---- the training op

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

ANAS_OP_FAMILY(shape_ops, &flatten, &reshape, &view);
