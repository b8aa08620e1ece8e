// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Dense (fully connected) layer over the feature dimension; the other dimensions are rows.
#include "dialect/ops/contract.h"
#include "dialect/train.h"

#include <stdio.h>

#define MIN_ROWS_TO_PACK 128

enum { FEATURES, USE_BIAS, KERNEL_INIT, BIAS_INIT, NUM_ATTRS };

static const struct anas_attr_def dense_attrs[NUM_ATTRS] = {
    [FEATURES] = {.name = "features",
                  .kind = ANAS_ATTR_DIM,
                  .required = true,
                  .doc = "extent of the result's last dimension"},
    [USE_BIAS] = ANAS_USE_BIAS_ATTR("every feature"),
    [KERNEL_INIT] = ANAS_KERNEL_INIT_ATTR("kernel"),
    [BIAS_INIT] = ANAS_BIAS_INIT_ATTR("bias"),
};

static anas_status check_operand(const struct anas_op *op) {
  const struct anas_shape *x = &op->operand[0];
  char text[128];
  if (x->element != ANAS_F32 || x->rank < 2 || x->dim[x->rank - 1] < 1)
    return anas_fail(ANAS_INVALID,
                     "'anas.%s' needs an f32 tensor of rank 2 or more with a static last dimension, got tensor<%s>",
                     op->def->name, anas_shape_text(x, text));
  return ANAS_OK;
}

static anas_status dense_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(check_operand(op));
  int64_t features = op->attr[FEATURES].value.dim.constant;
  if (features < 1 || features > ANAS_MAX_FEATURES)
    return anas_fail(ANAS_INVALID, "'anas.%s' needs between 1 and %d output features, got %lld", op->def->name,
                     ANAS_MAX_FEATURES, (long long)features);
  out[0] = op->operand[0];
  out[0].dim[out[0].rank - 1] = features;
  return ANAS_OK;
}

static void dense_deps(const struct anas_op *op, int which, const struct anas_shape *result, struct anas_dep *out) {
  (void)which;
  int last = op->operand[0].rank - 1;
  for (int i = 0; i < last; i++)
    out[i] = (struct anas_dep){.kind = ANAS_DEP_WINDOW, .out_dim = i, .window = 1, .stride = 1, .dilation = 1};
  out[last] = (struct anas_dep){.kind = ANAS_DEP_ALL, .out_dim = result->rank - 1};
}

static int dense_params(const struct anas_op *op, struct anas_param *out) {
  int64_t channels = op->operand[0].dim[op->operand[0].rank - 1], features = op->attr[FEATURES].value.dim.constant;
  out[0] = (struct anas_param){.name = "kernel",
                               .shape = {.rank = 2, .element = ANAS_F32, .dim = {channels, features}},
                               .init = op->attr[KERNEL_INIT].value.init,
                               .fan_in = channels,
                               .fan_out = features};
  if (!op->attr[USE_BIAS].value.b) return 1;
  out[1] = (struct anas_param){.name = "bias",
                               .shape = {.rank = 1, .element = ANAS_F32, .dim = {features}},
                               .init = op->attr[BIAS_INIT].value.init,
                               .fan_in = channels,
                               .fan_out = features};
  return 2;
}

static void dense_cost(const struct anas_op *op, const struct anas_shape *result, struct anas_cost *out) {
  int64_t outputs = 1;
  for (int i = 1; i < result->rank; i++)
    outputs *= result->dim[i];
  out->macs = outputs * op->operand[0].dim[op->operand[0].rank - 1];
  out->flops = 2 * out->macs + (op->attr[USE_BIAS].value.b ? outputs : 0);
}

static anas_status dense_forward(struct anas_train *train, struct anas_train_op *op) {
  MlirValue in[] = {op->operand[0], op->param[0], op->param[1]};
  return anas_train_emit(train, "dense_fwd", in, op->op->attr[USE_BIAS].value.b ? 3 : 2, NULL, &op->result);
}

static anas_status dense_backward(struct anas_train *train, struct anas_train_op *op) {
  if (op->need_operand[0]) {
    MlirValue in[] = {op->grad_result, op->param[0]};
    ANAS_RETURN_IF_ERROR(anas_train_emit(train, "dense_bwd_data", in, 2, NULL, &op->grad_operand[0]));
  }
  MlirValue in[] = {op->operand[0], op->grad_result};
  ANAS_RETURN_IF_ERROR(anas_train_emit(train, "dense_bwd_filter", in, 2, NULL, &op->grad_param[0]));
  if (!op->op->attr[USE_BIAS].value.b) return ANAS_OK;
  return anas_train_emit(train, "bias_bwd", &op->grad_result, 1, NULL, &op->grad_param[1]);
}

static const struct anas_sample dense_samples[] = {
    {{"3x17xf32"}, "{features = 10 : i64}", "3x10xf32"},
    {{"5x16xf32"}, "{features = 33 : i64, use_bias = false}", "5x33xf32"},
    {{"2x3x5xf32"}, "{features = 40 : i64}", "2x3x40xf32"},
    {{"2x3x4x6xf32"}, "{features = affine_map<(n, h, w, c) -> (c * 2)>}", "2x3x4x12xf32"},
};

static const struct anas_op_def dense = {
    .name = "dense",
    .summary = "matrix product with the feature dimension",
    .description = "`y[..., f] = sum over c of x[..., c] * kernel[c, f]`, plus `bias[f]`. Parameters: `kernel` "
                   "(channels, features) and, unless `use_bias = false`, `bias` (features).",
    .order = 2,
    .num_operands = 1,
    .attrs = dense_attrs,
    .num_attrs = NUM_ATTRS,
    .linearity = ANAS_LINEAR,
    .synthesizable = true,
    .onnx = "Gemm",
    .samples = dense_samples,
    .num_samples = sizeof dense_samples / sizeof *dense_samples,
    .shape = dense_shape,
    .deps = dense_deps,
    .params = dense_params,
    .cost = dense_cost,
    .forward = dense_forward,
    .backward = dense_backward,
};

// ---- training level: matrices of rows (all dimensions but the last) times features

// Accesses of an operand (rows..., channels): row loops, then a channel loop.
static void row_loops(struct anas_nest *nest, const struct anas_shape *shape, bool reduction, int *out) {
  for (int i = 0; i < shape->rank - 1; i++)
    out[i] = anas_contract_loop(nest, shape->dim[i], reduction);
}

static void row_index(struct anas_access *access, int rank, const int *rows, int channel) {
  for (int i = 0; i < rank - 1; i++)
    anas_contract_index(access, i, rows[i], 1);
  anas_contract_index(access, rank - 1, channel, 1);
}

// kernel is (channels, features); side 0: its channels, side 1: its features must equal the last extent of the operand.
static anas_status check_kernel(const struct anas_op *op, int side) {
  ANAS_RETURN_IF_ERROR(check_operand(op));
  const struct anas_shape *x = &op->operand[0], *kernel = &op->operand[1];
  char tx[128], tk[128];
  if (kernel->rank == 2 && kernel->element == ANAS_F32 && kernel->dim[side] == x->dim[x->rank - 1]) return ANAS_OK;
  return anas_fail(ANAS_INVALID,
                   "'anas.%s' needs a kernel (channels, features) whose dimension %d is the last extent of operand 0, "
                   "got tensor<%s> and tensor<%s>",
                   op->def->name, side, anas_shape_text(x, tx), anas_shape_text(kernel, tk));
}

// A stretch of the kernel's dimension `side`, cut into tiles of lanes: [tile][the other dimension][lane].
static int pack_lanes(struct anas_lowering *l, const struct anas_shape *kernel, int side,
                      const struct anas_stretch *lanes) {
  struct anas_shape packed = {
      .rank = 3, .element = ANAS_F32, .dim = {lanes->blocks, kernel->dim[1 - side], lanes->width}};
  char key[96];
  snprintf(key, sizeof key, "dense lanes of %d: %lld + %lld x %lld", side, (long long)lanes->start,
           (long long)lanes->blocks, (long long)lanes->width);
  bool fresh;
  int source = anas_lower_operand(l, 1), buffer = anas_lower_packed(l, source, key, &packed, &fresh);
  if (!fresh) return buffer;
  struct anas_nest *nest = anas_lower_nest(l, "pack_weights");
  int tile = anas_contract_loop(nest, lanes->blocks, false);
  int other = anas_contract_loop(nest, kernel->dim[1 - side], false);
  int lane = anas_nest_loop(nest, lanes->width, false);
  struct anas_access *in = anas_nest_in(nest, source), *out = anas_nest_out(nest, buffer, ANAS_NO_FILL);
  in->index[side].constant = lanes->start;
  anas_contract_index(in, side, tile, lanes->width);
  anas_contract_index(in, side, lane, 1);
  anas_contract_index(in, 1 - side, other, 1);
  anas_contract_index(out, 0, tile, 1);
  anas_contract_index(out, 1, other, 1);
  anas_contract_index(out, 2, lane, 1);
  anas_nest_yield(nest, 0, "%%i0");
  return buffer;
}

// ---- dense_fwd

static anas_status fwd_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(check_kernel(op, 0));
  int64_t features = op->operand[1].dim[1];
  char text[128];
  if (op->num_operands > 3)
    return anas_fail(ANAS_INVALID, "'anas.dense_fwd' takes an operand, a kernel and at most one bias, got %d operands",
                     op->num_operands);
  if (op->num_operands == 3) {
    const struct anas_shape *bias = &op->operand[2];
    if (bias->rank != 1 || bias->element != ANAS_F32 || bias->dim[0] != features)
      return anas_fail(ANAS_INVALID, "the bias of 'anas.dense_fwd' must be tensor<%lldxf32>, got tensor<%s>",
                       (long long)features, anas_shape_text(bias, text));
  }
  out[0] = op->operand[0];
  out[0].dim[out[0].rank - 1] = features;
  return ANAS_OK;
}

// With many rows, tiles of features from a packed kernel.
static void tiled_fwd(const struct anas_op *op, struct anas_lowering *l) {
  const struct anas_shape *x = &op->operand[0], *kernel = &op->operand[1];
  int rows[ANAS_MAX_RANK], last = x->rank - 1;
  struct anas_stretch lanes = {0};
  anas_stretch_next(&lanes, kernel->dim[1], ANAS_LANE_TILE);
  int weights = pack_lanes(l, kernel, 1, &lanes);
  struct anas_nest *nest = anas_lower_nest(l, "dense_fwd");
  int tile = anas_contract_loop(nest, lanes.blocks, false);
  row_loops(nest, x, false, rows);
  int lane = anas_nest_loop(nest, lanes.width, false);
  int channel = anas_contract_loop(nest, kernel->dim[0], true);
  row_index(anas_nest_in(nest, anas_lower_operand(l, 0)), x->rank, rows, channel);
  struct anas_access *weight = anas_nest_in(nest, weights);
  anas_contract_index(weight, 0, tile, 1);
  anas_contract_index(weight, 1, channel, 1);
  anas_contract_index(weight, 2, lane, 1);
  struct anas_access *out = anas_nest_out(nest, anas_lower_result(l, 0), ANAS_FILL_ZERO);
  row_index(out, x->rank, rows, lane);
  anas_contract_index(out, last, tile, lanes.width);
  anas_contract_body(nest);
}

static anas_status fwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  const struct anas_shape *x = &op->operand[0], *kernel = &op->operand[1];
  int rows[ANAS_MAX_RANK], y = anas_lower_result(l, 0);
  if (kernel->dim[1] % ANAS_LANE_TILE == 0 && anas_shape_elements(x) / x->dim[x->rank - 1] >= MIN_ROWS_TO_PACK) {
    tiled_fwd(op, l);
    if (op->num_operands == 3) anas_contract_bias(l, anas_lower_operand(l, 2), y);
    return ANAS_OK;
  }
  struct anas_nest *nest = anas_lower_nest(l, "dense_fwd");
  row_loops(nest, x, false, rows);
  int feature = anas_nest_loop(nest, kernel->dim[1], false);
  int channel = anas_contract_loop(nest, kernel->dim[0], true);
  row_index(anas_nest_in(nest, anas_lower_operand(l, 0)), x->rank, rows, channel);
  struct anas_access *weight = anas_nest_in(nest, anas_lower_operand(l, 1));
  anas_contract_index(weight, 0, channel, 1);
  anas_contract_index(weight, 1, feature, 1);
  row_index(anas_nest_out(nest, y, ANAS_FILL_ZERO), x->rank, rows, feature);
  anas_contract_body(nest);
  if (op->num_operands == 3) anas_contract_bias(l, anas_lower_operand(l, 2), y);
  return ANAS_OK;
}

static const struct anas_sample fwd_samples[] = {
    {{"3x17xf32", "17x10xf32", "10xf32"}, "{}", "3x10xf32"},
    {{"5x16xf32", "16x33xf32"}, "{}", "5x33xf32"},
    {{"2x3x5xf32", "5x40xf32", "40xf32"}, "{}", "2x3x40xf32"},
    {{"1x1xf32", "1x1xf32"}, "{}", "1x1xf32"},
};

static const struct anas_op_def dense_fwd = {
    .name = "dense_fwd",
    .level = ANAS_TRAINING,
    .summary = "y = x * kernel over the last dimension, plus a bias if there is one",
    .num_operands = 2,
    .variadic = true,
    .samples = fwd_samples,
    .num_samples = sizeof fwd_samples / sizeof *fwd_samples,
    .shape = fwd_shape,
    .lower = fwd_lower,
};

// ---- dense_bwd_data

static anas_status data_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(check_kernel(op, 1));
  out[0] = op->operand[0];
  out[0].dim[out[0].rank - 1] = op->operand[1].dim[0];
  return ANAS_OK;
}

static anas_status data_lower(const struct anas_op *op, struct anas_lowering *l) {
  const struct anas_shape *dy = &op->operand[0], *kernel = &op->operand[1];
  int rows[ANAS_MAX_RANK], last = dy->rank - 1;
  enum anas_fill fill = ANAS_FILL_ZERO;
  struct anas_stretch lanes = {0};
  while (anas_stretch_next(&lanes, kernel->dim[0], ANAS_LANE_TILE)) {
    int weights = pack_lanes(l, kernel, 0, &lanes);
    struct anas_nest *nest = anas_lower_nest(l, "dense_bwd_data");
    int tile = anas_contract_loop(nest, lanes.blocks, false);
    row_loops(nest, dy, false, rows);
    int lane = anas_nest_loop(nest, lanes.width, false);
    int feature = anas_contract_loop(nest, kernel->dim[1], true);
    row_index(anas_nest_in(nest, anas_lower_operand(l, 0)), dy->rank, rows, feature);
    struct anas_access *weight = anas_nest_in(nest, weights);
    anas_contract_index(weight, 0, tile, 1);
    anas_contract_index(weight, 1, feature, 1);
    anas_contract_index(weight, 2, lane, 1);
    struct anas_access *out = anas_nest_out(nest, anas_lower_result(l, 0), fill);
    row_index(out, dy->rank, rows, lane);
    out->index[last].constant = lanes.start;
    anas_contract_index(out, last, tile, lanes.width);
    anas_contract_body(nest);
    fill = ANAS_NO_FILL;
  }
  return ANAS_OK;
}

static const struct anas_sample data_samples[] = {
    {{"3x10xf32", "17x10xf32"}, "{}", "3x17xf32"},
    {{"5x16xf32", "40x16xf32"}, "{}", "5x40xf32"},
    {{"2x3x5xf32", "64x5xf32"}, "{}", "2x3x64xf32"},
};

static const struct anas_op_def dense_bwd_data = {
    .name = "dense_bwd_data",
    .level = ANAS_TRAINING,
    .summary = "gradient of a dense layer's operand, dy * transpose(kernel)",
    .num_operands = 2,
    .samples = data_samples,
    .num_samples = sizeof data_samples / sizeof *data_samples,
    .shape = data_shape,
    .lower = data_lower,
};

// ---- dense_bwd_filter

static anas_status filter_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(check_operand(op));
  const struct anas_shape *x = &op->operand[0], *dy = &op->operand[1];
  char tx[128], ty[128];
  struct anas_shape expected = *x;
  if (dy->rank == x->rank) expected.dim[x->rank - 1] = dy->dim[x->rank - 1];
  if (!anas_shape_equal(dy, &expected))
    return anas_fail(ANAS_INVALID,
                     "operands of 'anas.dense_bwd_filter' must agree in everything but the last dimension, got "
                     "tensor<%s> and tensor<%s>",
                     anas_shape_text(x, tx), anas_shape_text(dy, ty));
  out[0] = (struct anas_shape){.rank = 2, .element = ANAS_F32, .dim = {x->dim[x->rank - 1], dy->dim[dy->rank - 1]}};
  return ANAS_OK;
}

static anas_status filter_lower(const struct anas_op *op, struct anas_lowering *l) {
  const struct anas_shape *x = &op->operand[0], *dy = &op->operand[1];
  int rows[ANAS_MAX_RANK], last = x->rank - 1;
  struct anas_nest *nest = anas_lower_nest(l, "dense_bwd_filter");
  int channel = anas_contract_loop(nest, x->dim[last], false);
  int feature = anas_nest_loop(nest, dy->dim[last], false);
  row_loops(nest, x, true, rows);
  row_index(anas_nest_in(nest, anas_lower_operand(l, 0)), x->rank, rows, channel);
  row_index(anas_nest_in(nest, anas_lower_operand(l, 1)), dy->rank, rows, feature);
  struct anas_access *out = anas_nest_out(nest, anas_lower_result(l, 0), ANAS_FILL_ZERO);
  anas_contract_index(out, 0, channel, 1);
  anas_contract_index(out, 1, feature, 1);
  anas_contract_body(nest);
  return ANAS_OK;
}

static const struct anas_sample filter_samples[] = {
    {{"3x17xf32", "3x10xf32"}, "{}", "17x10xf32"},
    {{"5x40xf32", "5x33xf32"}, "{}", "40x33xf32"},
    {{"2x3x5xf32", "2x3x4xf32"}, "{}", "5x4xf32"},
};

static const struct anas_op_def dense_bwd_filter = {
    .name = "dense_bwd_filter",
    .level = ANAS_TRAINING,
    .summary = "gradient of a dense layer's kernel, transpose(x) * dy",
    .num_operands = 2,
    .samples = filter_samples,
    .num_samples = sizeof filter_samples / sizeof *filter_samples,
    .shape = filter_shape,
    .lower = filter_lower,
};

ANAS_OP_FAMILY(dense, &dense, &dense_fwd, &dense_bwd_data, &dense_bwd_filter);
