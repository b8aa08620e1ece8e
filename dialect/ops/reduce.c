// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reductions over whole dimensions: mean.
#include "dialect/op_support.h"
#include "dialect/train.h"

enum { AXES, KEEPDIMS, NUM_ATTRS };

static const struct anas_attr_def mean_attrs[NUM_ATTRS] = {
    [AXES] = {.name = "axes",
              .kind = ANAS_ATTR_INTS,
              .required = true,
              .list = true,
              .doc = "dimensions to average over, not the batch; negative values count from the end"},
    [KEEPDIMS] = {.name = "keepdims",
                  .kind = ANAS_ATTR_BOOL,
                  .fallback = ANAS_BOOL(false),
                  .doc = "leave the dimensions in place with extent 1"},
};

// out_reduced[i] says whether dimension i of operand 0 is averaged.
static anas_status mean_axes(const struct anas_op *op, bool out_reduced[ANAS_MAX_RANK]) {
  bool reduced[ANAS_MAX_RANK] = {false};
  const struct anas_ints *axes = &op->attr[AXES].value.ints;
  for (int i = 0; i < axes->count; i++) {
    int axis;
    ANAS_RETURN_IF_ERROR(anas_check_axis(op, "axes", axes->value[i], &axis));
    if (axis == 0) return anas_fail(ANAS_INVALID, "'anas.%s' cannot average over axis 0, the batch", op->def->name);
    reduced[axis] = true;
  }
  for (int i = 0; i < ANAS_MAX_RANK; i++)
    out_reduced[i] = reduced[i];
  return ANAS_OK;
}

static anas_status mean_shape(const struct anas_op *op, struct anas_shape *out) {
  const struct anas_shape *x = &op->operand[0];
  bool reduced[ANAS_MAX_RANK], keep = op->attr[KEEPDIMS].value.b;
  ANAS_RETURN_IF_ERROR(anas_check_tensor(op, 2));
  ANAS_RETURN_IF_ERROR(mean_axes(op, reduced));
  struct anas_shape result = {.element = x->element};
  for (int i = 0; i < x->rank; i++)
    if (!reduced[i] || keep) result.dim[result.rank++] = reduced[i] ? 1 : x->dim[i];
  out[0] = result;
  return ANAS_OK;
}

static void mean_deps(const struct anas_op *op, int which, const struct anas_shape *result, struct anas_dep *out) {
  (void)which;
  (void)result;
  bool reduced[ANAS_MAX_RANK];
  if (mean_axes(op, reduced) != ANAS_OK) return; // callers pass well-typed instances
  int position = 0;
  for (int i = 0; i < op->operand[0].rank; i++) {
    out[i] = reduced[i] ? (struct anas_dep){.kind = ANAS_DEP_ALL} : anas_dep_same(position);
    if (!reduced[i] || op->attr[KEEPDIMS].value.b) position++;
  }
}

static void mean_cost(const struct anas_op *op, const struct anas_shape *result, struct anas_cost *out) {
  (void)result;
  out->flops = anas_example_elements(&op->operand[0]);
}

static anas_status mean_forward(struct anas_train *train, struct anas_train_op *op) {
  return anas_train_emit(train, "mean_fwd", op->operand, 1, op->op->attr, &op->result);
}

static anas_status mean_backward(struct anas_train *train, struct anas_train_op *op) {
  struct anas_attr attrs[] = {op->op->attr[AXES], op->op->attr[KEEPDIMS], anas_attr_extents(&op->op->operand[0])};
  return anas_train_emit(train, "mean_bwd", &op->grad_result, 1, attrs, &op->grad_operand[0]);
}

static const struct anas_sample mean_samples[] = {
    {{"2x5x3x7xf32"}, "{axes = array<i64: 1, 2>}", "2x7xf32"},
    {{"2x5x3x7xf32"}, "{axes = array<i64: -2>, keepdims = true}", "2x5x1x7xf32"},
    {{"3x5x9xf32"}, "{axes = array<i64: 2>}", "3x5xf32"},
};

static const struct anas_op_def mean = {
    .name = "mean",
    .summary = "mean over whole dimensions",
    .order = 27,
    .num_operands = 1,
    .attrs = mean_attrs,
    .num_attrs = NUM_ATTRS,
    .linearity = ANAS_LINEAR,
    .onnx = "ReduceMean",
    .samples = mean_samples,
    .num_samples = ANAS_COUNT(mean_samples),
    .shape = mean_shape,
    .deps = mean_deps,
    .cost = mean_cost,
    .forward = mean_forward,
    .backward = mean_backward,
};

// ---- training ops

// Loops over x; the other side of the mean is addressed by the dimensions that stay. Returns 1 / elements averaged.
static double mean_nest(const struct anas_shape *x, const bool *reduced, bool keep, struct anas_access *whole,
                        struct anas_access *part) {
  double count = 1;
  anas_access_whole(whole, x->rank);
  for (int i = 0, position = 0; i < x->rank; i++) {
    if (reduced[i])
      count *= (double)x->dim[i];
    else
      anas_access_add(part, position, i, 1);
    if (!reduced[i] || keep) position++;
  }
  return 1 / count;
}

static anas_status mean_fwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  const struct anas_shape *x = &op->operand[0];
  bool reduced[ANAS_MAX_RANK];
  ANAS_RETURN_IF_ERROR(mean_axes(op, reduced));
  struct anas_nest *nest = anas_lower_nest(l, "mean_fwd");
  for (int i = 0; i < x->rank; i++)
    anas_nest_loop(nest, x->dim[i], reduced[i]);
  struct anas_access *in = anas_nest_in(nest, anas_lower_operand(l, 0));
  double share = mean_nest(x, reduced, op->attr[KEEPDIMS].value.b, in,
                           anas_nest_out(nest, anas_lower_result(l, 0), ANAS_FILL_ZERO));
  int factor = anas_nest_f32(nest, share);
  int part = anas_nest_value(nest, "arith.mulf %%i0, %%v%d " ANAS_CONTRACT " : f32", factor);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%v%d " ANAS_CONTRACT " : f32", part));
  return ANAS_OK;
}

static const struct anas_op_def mean_fwd = {
    .name = "mean_fwd",
    .level = ANAS_TRAINING,
    .summary = "mean over the axes",
    .num_operands = 1,
    .attrs = mean_attrs,
    .num_attrs = NUM_ATTRS,
    .shape = mean_shape,
    .lower = mean_fwd_lower,
};

enum { SHAPE = NUM_ATTRS, NUM_BWD_ATTRS };

static const struct anas_attr_def mean_bwd_attrs[NUM_BWD_ATTRS] = {
    [AXES] = {.name = "axes",
              .kind = ANAS_ATTR_INTS,
              .required = true,
              .list = true,
              .doc = "dimensions that were averaged"},
    [KEEPDIMS] = {.name = "keepdims",
                  .kind = ANAS_ATTR_BOOL,
                  .fallback = ANAS_BOOL(false),
                  .doc = "whether the operand has them with extent 1"},
    [SHAPE] = {.name = "shape", .kind = ANAS_ATTR_INTS, .required = true, .list = true, .doc = "extents of the result"},
};

// The forward op seen from the gradient: its operand has the type of our result.
static struct anas_op mean_of_gradient(const struct anas_op *op) {
  struct anas_op forward = {.def = &mean_fwd, .num_operands = 1, .operand = {anas_extents_shape(&op->attr[SHAPE])}};
  forward.attr[AXES] = op->attr[AXES];
  forward.attr[KEEPDIMS] = op->attr[KEEPDIMS];
  return forward;
}

static anas_status mean_bwd_shape(const struct anas_op *op, struct anas_shape *out) {
  struct anas_op forward = mean_of_gradient(op);
  struct anas_shape result = {0};
  char a[128], b[128];
  ANAS_RETURN_IF_ERROR(mean_shape(&forward, &result));
  if (!anas_shape_equal(&result, &op->operand[0]))
    return anas_fail(ANAS_INVALID, "the operand of 'anas.%s' must be tensor<%s>, got tensor<%s>", op->def->name,
                     anas_shape_text(&result, a), anas_shape_text(&op->operand[0], b));
  out[0] = forward.operand[0];
  return ANAS_OK;
}

static anas_status mean_bwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  struct anas_op forward = mean_of_gradient(op);
  bool reduced[ANAS_MAX_RANK];
  ANAS_RETURN_IF_ERROR(mean_axes(&forward, reduced));
  struct anas_nest *nest = anas_lower_nest(l, "mean_bwd");
  anas_nest_loops(nest, &forward.operand[0]);
  struct anas_access *in = anas_nest_in(nest, anas_lower_operand(l, 0));
  struct anas_access *out = anas_nest_out(nest, anas_lower_result(l, 0), ANAS_NO_FILL);
  double share = mean_nest(&forward.operand[0], reduced, op->attr[KEEPDIMS].value.b, out, in);
  int factor = anas_nest_f32(nest, share);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.mulf %%i0, %%v%d : f32", factor));
  return ANAS_OK;
}

static const struct anas_op_def mean_bwd = {
    .name = "mean_bwd",
    .level = ANAS_TRAINING,
    .summary = "dy / elements averaged, repeated along the axes",
    .num_operands = 1,
    .attrs = mean_bwd_attrs,
    .num_attrs = NUM_BWD_ATTRS,
    .shape = mean_bwd_shape,
    .lower = mean_bwd_lower,
};

ANAS_OP_FAMILY(reduce, &mean, &mean_fwd, &mean_bwd);
