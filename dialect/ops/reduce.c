// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reductions over whole dimensions: mean.
#include "dialect/op_support.h"

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

// out_reduced[i] says whether dimension i goes away.
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
};

ANAS_OP_FAMILY(reduce, &mean);
