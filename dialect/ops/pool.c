// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Average and maximum pooling over the spatial dimensions, architecture level.
#include "dialect/ops/pool.h"

#include "dialect/op_support.h"
#include "dialect/ops/conv.h"
#include "dialect/train.h"

anas_status anas_pool_init(const struct anas_op *op, const struct anas_shape *input, const struct anas_ints *window,
                           const struct anas_ints *strides, bool same, struct anas_pool *out) {
  char text[128];
  struct anas_pool pool = {.spatial = input->rank - 2};
  if (input->element != ANAS_F32 || pool.spatial < 1 || pool.spatial > ANAS_POOL_MAX_SPATIAL)
    return anas_fail(ANAS_INVALID,
                     "'anas.%s' needs an f32 tensor (batch, spatial dimensions..., feature) with at least one spatial "
                     "dimension and at most %d, got tensor<%s>",
                     op->def->name, ANAS_POOL_MAX_SPATIAL, anas_shape_text(input, text));
  ANAS_RETURN_IF_ERROR(anas_check_extents(op, input));
  ANAS_RETURN_IF_ERROR(anas_check_ints(op, "window", window, 0, pool.spatial));
  ANAS_RETURN_IF_ERROR(anas_check_ints(op, "strides", strides, 1, pool.spatial));
  struct anas_shape extents = {.rank = pool.spatial, .element = ANAS_F32};
  for (int d = 0; d < pool.spatial; d++) {
    struct anas_pool_dim *dim = &pool.dim[d];
    dim->in = input->dim[1 + d];
    dim->window = anas_ints_at(window, d);
    if (!dim->window) dim->window = dim->in;
    dim->stride = anas_ints_at(strides, d);
    ANAS_RETURN_IF_ERROR(
        anas_window_extent(op, 1 + d, dim->in, dim->window, 1, dim->stride, same, &dim->out, &dim->pad));
    extents.dim[d] = dim->window;
  }
  anas_status status = anas_shape_check_weights(&extents);
  if (status) return anas_fail_context(status, "window of 'anas.%s': ", op->def->name);
  *out = pool;
  return ANAS_OK;
}

struct anas_shape anas_pool_result(const struct anas_pool *pool, const struct anas_shape *input) {
  struct anas_shape shape = *input;
  for (int d = 0; d < pool->spatial; d++)
    shape.dim[1 + d] = pool->dim[d].out;
  return shape;
}

int64_t anas_pool_positions(const struct anas_pool *pool) {
  int64_t count = 1;
  for (int d = 0; d < pool->spatial; d++)
    count *= pool->dim[d].window;
  return count;
}

// ---- the ops

enum { WINDOW, STRIDES, PADDING, NUM_ATTRS };

static const struct anas_attr window_values[] = {ANAS_INTS1(0), ANAS_INTS1(2), ANAS_INTS1(3), ANAS_INTS1(4),
                                                 ANAS_INTS1(8)};
static const struct anas_attr stride_values[] = {ANAS_INTS1(1), ANAS_INTS1(2), ANAS_INTS1(3)};
static const struct anas_attr padding_values[] = {ANAS_INT(ANAS_PADDING_SAME)};

static const struct anas_attr_def pool_attrs[NUM_ATTRS] = {
    [WINDOW] = {.name = "window",
                .kind = ANAS_ATTR_INTS,
                .required = true,
                .test_set = window_values,
                .num_test = 3,
                .full_set = window_values,
                .num_full = 5,
                .doc = "window extents; 0 is the full extent of the dimension"},
    [STRIDES] = {.name = "strides",
                 .kind = ANAS_ATTR_INTS,
                 .fallback = ANAS_INTS1(1),
                 .test_set = stride_values,
                 .num_test = 1,
                 .full_set = stride_values,
                 .num_full = 3,
                 .doc = "distance of neighbouring windows"},
    [PADDING] = {.name = "padding",
                 .kind = ANAS_ATTR_ENUM,
                 .fallback = ANAS_INT(ANAS_PADDING_VALID),
                 .choices = anas_padding_choices,
                 .test_set = padding_values,
                 .num_test = 1,
                 .full_set = padding_values,
                 .num_full = 1,
                 .doc = "VALID: windows inside the input; SAME: padded input, extent ceil(input / stride)"},
};

static anas_status pool_geometry(const struct anas_op *op, struct anas_pool *out) {
  return anas_pool_init(op, &op->operand[0], &op->attr[WINDOW].value.ints, &op->attr[STRIDES].value.ints,
                        op->attr[PADDING].value.i == ANAS_PADDING_SAME, out);
}

static anas_status pool_shape(const struct anas_op *op, struct anas_shape *out) {
  struct anas_pool pool;
  ANAS_RETURN_IF_ERROR(pool_geometry(op, &pool));
  out[0] = anas_pool_result(&pool, &op->operand[0]);
  return ANAS_OK;
}

static void pool_deps(const struct anas_op *op, int which, const struct anas_shape *result, struct anas_dep *out) {
  (void)which;
  struct anas_pool pool;
  if (pool_geometry(op, &pool) != ANAS_OK) return; // callers pass well-typed instances
  out[0] = anas_dep_same(0);
  out[result->rank - 1] = anas_dep_same(result->rank - 1);
  for (int d = 0; d < pool.spatial; d++)
    out[1 + d] = (struct anas_dep){.kind = ANAS_DEP_WINDOW,
                                   .out_dim = 1 + d,
                                   .window = pool.dim[d].window,
                                   .stride = pool.dim[d].stride,
                                   .pad = pool.dim[d].pad,
                                   .dilation = 1};
}

static void pool_cost(const struct anas_op *op, const struct anas_shape *result, struct anas_cost *out) {
  struct anas_pool pool;
  if (pool_geometry(op, &pool) != ANAS_OK) return;
  out->flops = anas_example_elements(result) * anas_pool_positions(&pool);
}

// Attributes of the training ops: one entry a dimension; backward also has the extents of the operand.
static anas_status training_attrs(const struct anas_op *op, struct anas_attr out[ANAS_POOL_ATTRS]) {
  struct anas_pool pool;
  ANAS_RETURN_IF_ERROR(pool_geometry(op, &pool));
  struct anas_attr window = {.present = true}, strides = {.present = true};
  window.value.ints.count = strides.value.ints.count = pool.spatial;
  for (int d = 0; d < pool.spatial; d++) {
    window.value.ints.value[d] = pool.dim[d].window;
    strides.value.ints.value[d] = pool.dim[d].stride;
  }
  out[ANAS_POOL_WINDOW] = window;
  out[ANAS_POOL_STRIDES] = strides;
  out[ANAS_POOL_PADDING] = (struct anas_attr)ANAS_INT(op->attr[PADDING].value.i);
  out[ANAS_POOL_SHAPE] = anas_attr_extents(&op->operand[0]);
  return ANAS_OK;
}

static anas_status avg_pool_forward(struct anas_train *train, struct anas_train_op *op) {
  struct anas_attr attrs[ANAS_POOL_ATTRS];
  ANAS_RETURN_IF_ERROR(training_attrs(op->op, attrs));
  return anas_train_emit(train, "avg_pool_fwd", op->operand, 1, attrs, &op->result);
}

static anas_status avg_pool_backward(struct anas_train *train, struct anas_train_op *op) {
  struct anas_attr attrs[ANAS_POOL_ATTRS];
  ANAS_RETURN_IF_ERROR(training_attrs(op->op, attrs));
  return anas_train_emit(train, "avg_pool_bwd", &op->grad_result, 1, attrs, &op->grad_operand[0]);
}

static anas_status max_pool_forward(struct anas_train *train, struct anas_train_op *op) {
  struct anas_attr attrs[ANAS_POOL_ATTRS];
  MlirValue results[2];
  ANAS_RETURN_IF_ERROR(training_attrs(op->op, attrs));
  ANAS_RETURN_IF_ERROR(anas_train_emit(train, "max_pool_fwd", op->operand, 1, attrs, results));
  op->result = results[0];
  op->saved[0] = results[1];
  return ANAS_OK;
}

static anas_status max_pool_backward(struct anas_train *train, struct anas_train_op *op) {
  struct anas_attr attrs[ANAS_POOL_ATTRS];
  MlirValue in[] = {op->grad_result, op->saved[0]};
  ANAS_RETURN_IF_ERROR(training_attrs(op->op, attrs));
  return anas_train_emit(train, "max_pool_bwd", in, 2, attrs, &op->grad_operand[0]);
}

static const struct anas_sample pool_samples[] = {
    {{"2x4x6x5xf32"}, "{window = 2 : i64, strides = 2 : i64}", "2x2x3x5xf32"},
    {{"2x5x7x3xf32"}, "{window = array<i64: 3, 2>, strides = array<i64: 2, 3>, padding = \"SAME\"}", "2x3x3x3xf32"},
    {{"2x5x3x7xf32"}, "{window = 0 : i64}", "2x1x1x7xf32"},
    {{"2x5x6x3xf32"}, "{window = 3 : i64}", "2x3x4x3xf32"},
    {{"3x9x5xf32"}, "{window = 2 : i64, strides = 3 : i64, padding = \"SAME\"}", "3x3x5xf32"},
};

static const struct anas_op_def avg_pool = {
    .name = "avg_pool",
    .summary = "mean of each window; padding counts as zeros",
    .order = 25,
    .num_operands = 1,
    .attrs = pool_attrs,
    .num_attrs = NUM_ATTRS,
    .linearity = ANAS_LINEAR,
    .synthesizable = true,
    .onnx = "AveragePool",
    .samples = pool_samples,
    .num_samples = ANAS_COUNT(pool_samples),
    .shape = pool_shape,
    .deps = pool_deps,
    .cost = pool_cost,
    .forward = avg_pool_forward,
    .backward = avg_pool_backward,
};

static const struct anas_op_def max_pool = {
    .name = "max_pool",
    .summary = "maximum of each window; padding never wins",
    .description =
        "Counts as linear in the depth property, as in the paper's reference implementation. The gradient of "
        "a window goes to the first of its largest elements.",
    .order = 26,
    .num_operands = 1,
    .attrs = pool_attrs,
    .num_attrs = NUM_ATTRS,
    .linearity = ANAS_LINEAR,
    .synthesizable = true,
    .onnx = "MaxPool",
    .samples = pool_samples,
    .num_samples = ANAS_COUNT(pool_samples),
    .shape = pool_shape,
    .deps = pool_deps,
    .cost = pool_cost,
    .forward = max_pool_forward,
    .backward = max_pool_backward,
};

ANAS_OP_FAMILY(pool, &avg_pool, &max_pool);
