// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Convolution, training level: forward and filter gradient.
#include "dialect/ops/conv.h"

// ---- geometry

anas_status anas_conv_of_train(const struct anas_op *op, const struct anas_shape *input, int64_t features,
                               const struct anas_ints *window, struct anas_conv *out) {
  return anas_conv_init(
      op, input, features, window, &op->attr[ANAS_CONV_STRIDES].value.ints, &op->attr[ANAS_CONV_DILATION].value.ints,
      op->attr[ANAS_CONV_PADDING].value.i == ANAS_PADDING_SAME, op->attr[ANAS_CONV_GROUPS].value.i, out);
}

anas_status anas_conv_check(const struct anas_op *op, int which, const struct anas_shape *expected) {
  if (anas_shape_equal(&op->operand[which], expected)) return ANAS_OK;
  char have[128], want[128];
  return anas_fail(ANAS_INVALID,
                   "operand %d of 'anas.%s' is tensor<%s> but the other operands and the attributes ask "
                   "for tensor<%s>",
                   which, op->def->name, anas_shape_text(&op->operand[which], have), anas_shape_text(expected, want));
}

// ---- conv_fwd

static const struct anas_attr_def fwd_attrs[] = {ANAS_CONV_TRAIN_ATTRS};

// Extents of the windows, from the type of the kernel.
static anas_status kernel_window(const struct anas_op *op, struct anas_ints *out) {
  const struct anas_shape *x = &op->operand[0], *kernel = &op->operand[1];
  char tx[128], tk[128];
  if (kernel->rank != x->rank || kernel->rank < 3)
    return anas_fail(ANAS_INVALID,
                     "'anas.%s' needs an operand (batch, spatial..., channels) and a kernel (window..., channels, "
                     "features) of the same rank, got tensor<%s> and tensor<%s>",
                     op->def->name, anas_shape_text(x, tx), anas_shape_text(kernel, tk));
  out->count = kernel->rank - 2;
  for (int d = 0; d < out->count; d++)
    out->value[d] = kernel->dim[d];
  return ANAS_OK;
}

static anas_status fwd_geometry(const struct anas_op *op, struct anas_conv *out) {
  struct anas_ints window = {0};
  struct anas_conv conv;
  ANAS_RETURN_IF_ERROR(kernel_window(op, &window));
  const struct anas_shape *kernel = &op->operand[1];
  ANAS_RETURN_IF_ERROR(anas_conv_of_train(op, &op->operand[0], kernel->dim[kernel->rank - 1], &window, &conv));
  struct anas_shape expected = anas_conv_kernel(&conv);
  ANAS_RETURN_IF_ERROR(anas_conv_check(op, 1, &expected));
  *out = conv;
  return ANAS_OK;
}

static anas_status fwd_shape(const struct anas_op *op, struct anas_shape *out) {
  struct anas_conv conv;
  ANAS_RETURN_IF_ERROR(fwd_geometry(op, &conv));
  struct anas_shape bias = {.rank = 1, .element = ANAS_F32, .dim = {conv.features}};
  if (op->num_operands > 3)
    return anas_fail(ANAS_INVALID, "'anas.conv_fwd' takes an operand, a kernel and at most one bias, got %d operands",
                     op->num_operands);
  if (op->num_operands == 3) ANAS_RETURN_IF_ERROR(anas_conv_check(op, 2, &bias));
  out[0] = anas_conv_result(&conv);
  return ANAS_OK;
}

// Lanes are groups: y[n, o, g] += x[n, o * s + k, g] * kernel[k, g] in the depthwise case.
static void narrow_fwd(struct anas_lowering *l, const struct anas_conv *conv, int x, int kernel, int y) {
  struct anas_conv_view view = anas_conv_view_input(l, conv, x);
  int64_t outputs = conv->features / conv->groups, inputs = view.per_group;
  struct anas_nest *nest = anas_lower_nest(l, "depthwise_fwd");
  int position[ANAS_CONV_MAX_SPATIAL], window[ANAS_CONV_MAX_SPATIAL];
  int example = anas_contract_loop(nest, conv->batch, false);
  for (int d = 0; d < conv->spatial; d++)
    position[d] = anas_contract_loop(nest, conv->dim[d].out, false);
  int feature = anas_contract_loop(nest, outputs, false);
  int group = anas_nest_loop(nest, conv->groups, false);
  for (int d = 0; d < conv->spatial; d++)
    window[d] = anas_contract_loop(nest, conv->dim[d].window, true);
  int channel = anas_contract_loop(nest, inputs, true);

  struct anas_stretch in_group = {0, 1, inputs}, out_group = {0, 1, outputs};
  struct anas_access *in = anas_conv_view_in(nest, &view, &in_group, example, group, -1, channel);
  struct anas_access *weight = anas_nest_in(nest, kernel), *out = anas_nest_out(nest, y, ANAS_FILL_ZERO);
  anas_contract_index(out, 0, example, 1);
  for (int d = 0; d < conv->spatial; d++) {
    anas_conv_view_move(in, &view, d, -conv->dim[d].pad, position[d], conv->dim[d].stride / view.every[d]);
    anas_conv_view_move(in, &view, d, 0, window[d], conv->dim[d].dilation);
    anas_conv_view_border(in, nest, l, 1, d);
    weight->index[d].constant = conv->dim[d].first;
    anas_contract_index(weight, d, window[d], 1);
    anas_conv_move(out, d, 0, position[d], 1);
  }
  anas_contract_index(weight, conv->spatial, channel, 1);
  anas_conv_channel(weight, conv->spatial + 1, outputs, &out_group, group, -1, feature);
  anas_conv_channel(out, conv->spatial + 1, outputs, &out_group, group, -1, feature);
  anas_contract_body(nest);
}

static void wide_fwd(struct anas_lowering *l, const struct anas_conv *conv, int x, int kernel, int y) {
  struct anas_conv_view view = anas_conv_view_input(l, conv, x);
  struct anas_stretch blocks = anas_conv_view_all(&view), lanes = {0};
  int64_t outputs = conv->features / conv->groups;
  enum anas_fill fill = ANAS_FILL_ZERO;
  while (anas_stretch_next(&lanes, outputs, ANAS_LANE_TILE)) {
    int weights = anas_conv_pack_weights(l, conv, kernel, false, &lanes, view.block);
    struct anas_nest *nest = anas_lower_nest(l, "conv_fwd");
    int position[ANAS_CONV_MAX_SPATIAL], window[ANAS_CONV_MAX_SPATIAL];
    int group = anas_contract_loop(nest, conv->groups, false);
    int tile = anas_contract_loop(nest, lanes.blocks, false);
    int example = anas_contract_loop(nest, conv->batch, false);
    for (int d = 0; d < conv->spatial; d++)
      position[d] = anas_contract_loop(nest, conv->dim[d].out, false);
    int lane = anas_nest_loop(nest, lanes.width, false);
    int block = anas_contract_loop(nest, blocks.blocks, true);
    for (int d = 0; d < conv->spatial; d++)
      window[d] = anas_contract_loop(nest, conv->dim[d].window, true);
    int channel = anas_contract_loop(nest, view.block, true);

    struct anas_access *in = anas_conv_view_in(nest, &view, &blocks, example, group, block, channel);
    struct anas_access *weight = anas_nest_in(nest, weights), *out = anas_nest_out(nest, y, fill);
    anas_contract_index(weight, 0, group, 1);
    anas_contract_index(weight, 1, tile, 1);
    anas_contract_index(weight, 2, block, 1);
    anas_contract_index(out, 0, example, 1);
    for (int d = 0; d < conv->spatial; d++) {
      anas_conv_view_move(in, &view, d, -conv->dim[d].pad, position[d], conv->dim[d].stride / view.every[d]);
      anas_conv_view_move(in, &view, d, 0, window[d], conv->dim[d].dilation);
      anas_contract_index(weight, 3 + d, window[d], 1);
      anas_conv_move(out, d, 0, position[d], 1);
    }
    anas_contract_index(weight, 3 + conv->spatial, channel, 1);
    anas_contract_index(weight, 4 + conv->spatial, lane, 1);
    anas_conv_channel(out, conv->spatial + 1, outputs, &lanes, group, tile, lane);
    anas_contract_body(nest);
    fill = ANAS_NO_FILL;
  }
}

static anas_status fwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  struct anas_conv conv;
  ANAS_RETURN_IF_ERROR(fwd_geometry(op, &conv));
  anas_conv_trim(&conv);
  int y = anas_lower_result(l, 0);
  (anas_conv_narrow(&conv) ? narrow_fwd : wide_fwd)(l, &conv, anas_lower_operand(l, 0), anas_lower_operand(l, 1), y);
  if (op->num_operands == 3) anas_contract_bias(l, anas_lower_operand(l, 2), y);
  return ANAS_OK;
}

static const struct anas_sample fwd_samples[] = {
    {{"2x5x5x3xf32", "3x3x3x4xf32", "4xf32"}, "{}", "2x5x5x4xf32"},
    {{"1x7x6x18xf32", "3x3x18x40xf32"}, "{strides = array<i64: 2, 2>}", "1x4x3x40xf32"},
    {{"2x4x5x33xf32", "1x1x33x13xf32", "13xf32"}, "{strides = array<i64: 2, 2>}", "2x2x3x13xf32"},
    {{"1x9x8x4xf32", "5x2x4x3xf32"}, "{padding = \"VALID\", strides = array<i64: 3, 1>}", "1x2x7x3xf32"},
    {{"1x9x7x4xf32", "3x3x4x3xf32"}, "{dilation = array<i64: 2, 2>}", "1x9x7x3xf32"},
    {{"2x5x4x6xf32", "3x3x1x6xf32", "6xf32"}, "{groups = 6 : i64}", "2x5x4x6xf32"},
    {{"2x5x4x16xf32", "3x3x8x20xf32"}, "{groups = 2 : i64}", "2x5x4x20xf32"},
    {{"2x9x5xf32", "3x5x4xf32"}, "{strides = array<i64: 2>}", "2x5x4xf32"},
};

static const struct anas_op_def conv_fwd = {
    .name = "conv_fwd",
    .level = ANAS_TRAINING,
    .summary = "convolution of an operand with a kernel, plus a bias if there is one",
    .num_operands = 2,
    .variadic = true,
    .attrs = fwd_attrs,
    .num_attrs = sizeof fwd_attrs / sizeof *fwd_attrs,
    .samples = fwd_samples,
    .num_samples = sizeof fwd_samples / sizeof *fwd_samples,
    .shape = fwd_shape,
    .lower = fwd_lower,
};

// ---- conv_bwd_filter

static const struct anas_attr_def filter_attrs[ANAS_CONV_NUM_ATTRS] = {
    ANAS_CONV_TRAIN_ATTRS,
    [ANAS_CONV_EXTENTS] = {.name = "kernel", .kind = ANAS_ATTR_INTS, .required = true},
};

static anas_status filter_geometry(const struct anas_op *op, struct anas_conv *out) {
  const struct anas_shape *dy = &op->operand[1];
  struct anas_conv conv;
  ANAS_RETURN_IF_ERROR(anas_conv_of_train(op, &op->operand[0], dy->rank > 0 ? dy->dim[dy->rank - 1] : 0,
                                          &op->attr[ANAS_CONV_EXTENTS].value.ints, &conv));
  struct anas_shape expected = anas_conv_result(&conv);
  ANAS_RETURN_IF_ERROR(anas_conv_check(op, 1, &expected));
  *out = conv;
  return ANAS_OK;
}

static anas_status filter_shape(const struct anas_op *op, struct anas_shape *out) {
  struct anas_conv conv;
  ANAS_RETURN_IF_ERROR(filter_geometry(op, &conv));
  out[0] = anas_conv_kernel(&conv);
  return ANAS_OK;
}

// Rows are input channels, lanes output features; examples and positions are summed.
static void filter_nest(struct anas_lowering *l, const struct anas_conv *conv, const struct anas_conv_view *x,
                        const struct anas_conv_view *dy, const struct anas_stretch *channels,
                        const struct anas_stretch *features, int dk, enum anas_fill fill) {
  struct anas_nest *nest = anas_lower_nest(l, "conv_bwd_filter");
  int position[ANAS_CONV_MAX_SPATIAL], window[ANAS_CONV_MAX_SPATIAL];
  int group = anas_contract_loop(nest, conv->groups, false);
  int feature_block = anas_contract_loop(nest, features->blocks, false);
  for (int d = 0; d < conv->spatial; d++)
    window[d] = anas_contract_loop(nest, conv->dim[d].window, false);
  int channel_block = anas_contract_loop(nest, channels->blocks, false);
  int channel = anas_contract_loop(nest, channels->width, false);
  int feature = anas_nest_loop(nest, features->width, false);
  int example = anas_contract_loop(nest, conv->batch, true);
  for (int d = 0; d < conv->spatial; d++)
    position[d] = anas_contract_loop(nest, conv->dim[d].out, true);

  struct anas_access *in = anas_conv_view_in(nest, x, channels, example, group, channel_block, channel);
  struct anas_access *grad = anas_conv_view_in(nest, dy, features, example, group, feature_block, feature);
  struct anas_access *out = anas_nest_out(nest, dk, fill);
  for (int d = 0; d < conv->spatial; d++) {
    anas_conv_view_move(in, x, d, -conv->dim[d].pad, position[d], conv->dim[d].stride / x->every[d]);
    anas_conv_view_move(in, x, d, 0, window[d], conv->dim[d].dilation);
    anas_conv_view_move(grad, dy, d, 0, position[d], 1);
    out->index[d].constant = conv->dim[d].first;
    anas_contract_index(out, d, window[d], 1);
  }
  anas_conv_channel(out, conv->spatial, 0, channels, -1, channel_block, channel);
  anas_conv_channel(out, conv->spatial + 1, dy->per_group, features, group, feature_block, feature);
  anas_contract_body(nest);
}

static anas_status filter_lower(const struct anas_op *op, struct anas_lowering *l) {
  struct anas_conv conv;
  ANAS_RETURN_IF_ERROR(filter_geometry(op, &conv));
  anas_conv_trim(&conv);
  struct anas_conv_view x = anas_conv_view_input(l, &conv, anas_lower_operand(l, 0));
  struct anas_conv_view dy = anas_conv_view_gradient(l, &conv, anas_lower_operand(l, 1));
  int dk = anas_lower_result(l, 0);
  if (anas_conv_narrow(&conv)) {
    anas_conv_narrow_filter(l, &conv, &x, &dy, dk);
    return ANAS_OK;
  }
  enum anas_fill fill = ANAS_FILL_ZERO;
  struct anas_stretch channels = {0};
  while (anas_stretch_next(&channels, x.per_group, x.block)) {
    struct anas_stretch features = {0};
    while (anas_stretch_next(&features, dy.per_group, dy.block)) {
      filter_nest(l, &conv, &x, &dy, &channels, &features, dk, fill);
      fill = ANAS_NO_FILL;
    }
  }
  return ANAS_OK;
}

static const struct anas_sample filter_samples[] = {
    {{"2x5x5x3xf32", "2x5x5x4xf32"}, "{kernel = array<i64: 3, 3>}", "3x3x3x4xf32"},
    {{"1x7x6x18xf32", "1x4x3x40xf32"}, "{kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>}", "3x3x18x40xf32"},
    {{"2x4x5x33xf32", "2x2x3x13xf32"}, "{kernel = array<i64: 1, 1>, strides = array<i64: 2, 2>}", "1x1x33x13xf32"},
    {{"2x5x4x6xf32", "2x5x4x6xf32"}, "{kernel = array<i64: 3, 3>, groups = 6 : i64}", "3x3x1x6xf32"},
    {{"2x5x4x16xf32", "2x5x4x20xf32"}, "{kernel = array<i64: 3, 3>, groups = 2 : i64}", "3x3x8x20xf32"},
    {{"2x9x5xf32", "2x5x4xf32"}, "{kernel = array<i64: 3>, strides = array<i64: 2>}", "3x5x4xf32"},
};

static const struct anas_op_def conv_bwd_filter = {
    .name = "conv_bwd_filter",
    .level = ANAS_TRAINING,
    .summary = "gradient of a convolution's kernel, from its operand and the gradient of its result",
    .num_operands = 2,
    .attrs = filter_attrs,
    .num_attrs = ANAS_CONV_NUM_ATTRS,
    .samples = filter_samples,
    .num_samples = sizeof filter_samples / sizeof *filter_samples,
    .shape = filter_shape,
    .lower = filter_lower,
};

ANAS_OP_FAMILY(conv_train, &conv_fwd, &conv_bwd_filter);
