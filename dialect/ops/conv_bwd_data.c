// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Data gradient of convolution. With stride s the input positions fall into s classes modulo s (phases) in each
// dimension; within one, the gradient is a stride-1 convolution of dy with a regular subset of the kernel's taps. So
// each combination of phases is one contraction, and positions that no window reaches keep the zero of the fill.
#include "dialect/ops/conv.h"

// Loops t < count and j < taps of one phase: dx at first + step * t + dx_tap * j gets dy at base + t - dy_tap * j times
// the kernel at tap + tap_step * j. dy outside its extent is zero.
struct phase {
  int64_t first, step, count, dx_tap;
  int64_t taps, tap, tap_step;
  int64_t base, dy_tap;
  bool overlap; // several taps reach one position: j is a reduction
};

static int64_t gcd(int64_t a, int64_t b) {
  while (b) {
    int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

static int64_t num_phases(const struct anas_conv_dim *dim) {
  if (anas_conv_dim_disjoint(dim)) return 1;
  return dim->stride < dim->in ? dim->stride : dim->in;
}

// False if no tap reaches the positions of the phase.
static bool phase_init(const struct anas_conv_dim *dim, int64_t p, struct phase *out) {
  if (anas_conv_dim_disjoint(dim)) { // one phase; every tap writes positions of its own
    *out = (struct phase){
        .step = dim->stride, .count = dim->out, .dx_tap = dim->dilation, .taps = dim->window, .tap_step = 1};
    return true;
  }
  // Input i = p + stride * t is read by output o at tap k iff o * stride = i + pad - k * dilation.
  int64_t common = gcd(dim->stride, dim->dilation), k = 0;
  struct phase phase = {.first = p,
                        .step = dim->stride,
                        .count = (dim->in - p + dim->stride - 1) / dim->stride,
                        .tap_step = dim->stride / common,
                        .dy_tap = dim->dilation / common,
                        .overlap = true};
  while (k < dim->window && (p + dim->pad - k * dim->dilation) % dim->stride)
    k++;
  if (k == dim->window) return false;
  phase.tap = k;
  phase.base = (p + dim->pad - k * dim->dilation) / dim->stride;
  phase.taps = (dim->window - k + phase.tap_step - 1) / phase.tap_step;
  // Taps that read nothing but the halo, on either side.
  for (; phase.taps > 0 && phase.base >= dim->out; phase.taps--) {
    phase.tap += phase.tap_step;
    phase.base -= phase.dy_tap;
  }
  while (phase.taps > 0 && phase.base + phase.count - 1 - (phase.taps - 1) * phase.dy_tap < 0)
    phase.taps--;
  if (!phase.taps) return false;
  *out = phase;
  return true;
}

struct anas_conv_view anas_conv_view_gradient(struct anas_lowering *l, const struct anas_conv *conv, int source) {
  int64_t low[ANAS_CONV_MAX_SPATIAL] = {0}, high[ANAS_CONV_MAX_SPATIAL] = {0};
  for (int d = 0; d < conv->spatial; d++) {
    const struct anas_conv_dim *dim = &conv->dim[d];
    struct phase phase;
    for (int64_t p = 0; p < num_phases(dim); p++) {
      if (!phase_init(dim, p, &phase)) continue;
      int64_t below = (phase.taps - 1) * phase.dy_tap - phase.base;
      int64_t above = phase.base + phase.count - dim->out;
      if (below > low[d]) low[d] = below;
      if (above > high[d]) high[d] = above;
    }
  }
  return anas_conv_view_of(l, conv, source, low, high);
}

// ---- nests

// One combination of phases. Lanes are input channels: 'lanes' of a packed kernel, or groups in the narrow case, where
// kernel is the unpacked tensor and lanes the channels of a group.
static void data_nest(struct anas_lowering *l, const struct anas_conv *conv, const struct anas_conv_view *dy,
                      const struct phase *phase, int kernel, const struct anas_stretch *lanes, int dx,
                      enum anas_fill fill) {
  bool narrow = anas_conv_narrow(conv);
  int spatial = conv->spatial, position[ANAS_CONV_MAX_SPATIAL], tap[ANAS_CONV_MAX_SPATIAL], group = -1, tile = -1;
  struct anas_nest *nest = anas_lower_nest(l, narrow ? "depthwise_bwd_data" : "conv_bwd_data");
  struct anas_stretch blocks = anas_conv_view_all(dy);
  if (!narrow) group = anas_contract_loop(nest, conv->groups, false);
  if (!narrow) tile = anas_contract_loop(nest, lanes->blocks, false);
  for (int d = 0; d < spatial; d++)
    if (!phase[d].overlap) tap[d] = anas_contract_loop(nest, phase[d].taps, false);
  int example = anas_contract_loop(nest, conv->batch, false);
  for (int d = 0; d < spatial; d++)
    position[d] = anas_contract_loop(nest, phase[d].count, false);
  int lane = narrow ? anas_contract_loop(nest, lanes->width, false) : anas_nest_loop(nest, lanes->width, false);
  if (narrow) group = anas_nest_loop(nest, conv->groups, false);
  int block = anas_contract_loop(nest, blocks.blocks, true);
  for (int d = 0; d < spatial; d++)
    if (phase[d].overlap) tap[d] = anas_contract_loop(nest, phase[d].taps, true);
  int feature = anas_contract_loop(nest, dy->block, true);

  struct anas_access *in = anas_conv_view_in(nest, dy, &blocks, example, group, block, feature);
  struct anas_access *weight = anas_nest_in(nest, kernel), *out = anas_nest_out(nest, dx, fill);
  int first_window = narrow ? 0 : 3;
  anas_contract_index(out, 0, example, 1);
  for (int d = 0; d < spatial; d++) {
    anas_conv_view_move(in, dy, d, phase[d].base, position[d], 1);
    anas_conv_view_move(in, dy, d, 0, tap[d], -phase[d].dy_tap);
    weight->index[first_window + d].constant = phase[d].tap + (narrow ? conv->dim[d].first : 0);
    anas_contract_index(weight, first_window + d, tap[d], phase[d].tap_step);
    anas_conv_move(out, d, phase[d].first, position[d], phase[d].step);
    anas_conv_move(out, d, 0, tap[d], phase[d].dx_tap);
  }
  if (narrow) {
    anas_contract_index(weight, spatial, lane, 1);
    anas_conv_channel(weight, spatial + 1, dy->per_group, &blocks, group, -1, feature);
  } else {
    anas_contract_index(weight, 0, group, 1);
    anas_contract_index(weight, 1, tile, 1);
    anas_contract_index(weight, 2, block, 1);
    anas_contract_index(weight, 3 + spatial, feature, 1);
    anas_contract_index(weight, 4 + spatial, lane, 1);
  }
  anas_conv_channel(out, spatial + 1, conv->channels / conv->groups, lanes, group, tile, lane);
  anas_contract_body(nest);
}

// No window reaches any position.
static void zero_nest(struct anas_lowering *l, int dx) {
  struct anas_shape shape = *anas_lower_shape(l, dx);
  struct anas_nest *nest = anas_lower_nest(l, "zero");
  struct anas_access *out = anas_nest_out(nest, dx, ANAS_NO_FILL);
  for (int i = 0; i < shape.rank; i++)
    anas_access_add(out, i, anas_nest_loop(nest, shape.dim[i], false), 1);
  int zero = anas_nest_value(nest, "arith.constant 0.0 : f32");
  anas_nest_yield(nest, 0, "%%v%d", zero);
}

// ---- the op

static const struct anas_attr_def data_attrs[ANAS_CONV_NUM_ATTRS] = {
    ANAS_CONV_TRAIN_ATTRS,
    [ANAS_CONV_EXTENTS] = {.name = "input", .kind = ANAS_ATTR_INTS, .required = true},
};

static anas_status data_geometry(const struct anas_op *op, struct anas_conv *out, struct anas_shape *out_input) {
  const struct anas_shape *dy = &op->operand[0], *kernel = &op->operand[1];
  const struct anas_ints *extents = &op->attr[ANAS_CONV_EXTENTS].value.ints;
  int64_t groups = op->attr[ANAS_CONV_GROUPS].value.i;
  int rank = kernel->rank;
  char ty[128], tk[128];
  if (rank != dy->rank || rank < 3 || (extents->count != 1 && extents->count != rank - 2) || groups < 1 ||
      groups > ANAS_MAX_FEATURES)
    return anas_fail(ANAS_INVALID,
                     "'anas.conv_bwd_data' needs a gradient (batch, spatial..., features) and a kernel (window..., "
                     "channels, features) of the same rank, one 'input' extent for each spatial dimension and a "
                     "positive number of groups; got tensor<%s>, tensor<%s>, %d extents and %lld groups",
                     anas_shape_text(dy, ty), anas_shape_text(kernel, tk), extents->count, (long long)groups);
  struct anas_ints window = {.count = rank - 2};
  struct anas_shape input = {.rank = rank, .element = ANAS_F32, .dim = {dy->dim[0]}};
  for (int d = 0; d < rank - 2; d++) {
    window.value[d] = kernel->dim[d];
    input.dim[1 + d] = anas_ints_at(extents, d);
  }
  input.dim[rank - 1] = kernel->dim[rank - 2] * groups;
  struct anas_conv conv;
  ANAS_RETURN_IF_ERROR(anas_conv_of_train(op, &input, kernel->dim[rank - 1], &window, &conv));
  struct anas_shape result = anas_conv_result(&conv);
  ANAS_RETURN_IF_ERROR(anas_conv_check(op, 0, &result));
  *out = conv;
  *out_input = input;
  return ANAS_OK;
}

static anas_status data_shape(const struct anas_op *op, struct anas_shape *out) {
  struct anas_conv conv;
  return data_geometry(op, &conv, out);
}

static anas_status data_lower(const struct anas_op *op, struct anas_lowering *l) {
  struct anas_conv conv;
  struct anas_shape input;
  ANAS_RETURN_IF_ERROR(data_geometry(op, &conv, &input));
  anas_conv_trim(&conv);
  int kernel = anas_lower_operand(l, 1), dx = anas_lower_result(l, 0);
  bool narrow = anas_conv_narrow(&conv);
  if (anas_conv_depthwise(&conv) && !anas_conv_disjoint(&conv)) {
    anas_conv_narrow_data(l, &conv, anas_lower_operand(l, 0), kernel, dx);
    return ANAS_OK;
  }
  struct anas_conv_view dy = anas_conv_view_gradient(l, &conv, anas_lower_operand(l, 0));
  int64_t channels = conv.channels / conv.groups, phases = 1;
  for (int d = 0; d < conv.spatial; d++)
    phases *= num_phases(&conv.dim[d]);
  enum anas_fill fill = ANAS_FILL_ZERO;
  struct anas_stretch lanes = {0};
  while (anas_stretch_next(&lanes, channels, narrow ? channels : ANAS_LANE_TILE)) {
    int weights = narrow ? kernel : anas_conv_pack_weights(l, &conv, kernel, true, &lanes, dy.block);
    for (int64_t p = 0; p < phases; p++) {
      struct phase phase[ANAS_CONV_MAX_SPATIAL];
      int64_t rest = p;
      bool reached = true;
      for (int d = conv.spatial - 1; d >= 0; d--) {
        int64_t count = num_phases(&conv.dim[d]);
        reached = phase_init(&conv.dim[d], rest % count, &phase[d]) && reached;
        rest /= count;
      }
      if (!reached) continue;
      data_nest(l, &conv, &dy, phase, weights, &lanes, dx, fill);
      fill = ANAS_NO_FILL;
    }
  }
  if (fill == ANAS_FILL_ZERO) zero_nest(l, dx);
  return ANAS_OK;
}

static const struct anas_sample data_samples[] = {
    {{"2x5x5x4xf32", "3x3x3x4xf32"}, "{input = array<i64: 5, 5>}", "2x5x5x3xf32"},
    {{"1x4x3x18xf32", "3x3x40x18xf32"}, "{input = array<i64: 7, 6>, strides = array<i64: 2, 2>}", "1x7x6x40xf32"},
    {{"2x2x3x13xf32", "1x1x33x13xf32"}, "{input = array<i64: 4, 5>, strides = array<i64: 2, 2>}", "2x4x5x33xf32"},
    {{"1x3x2x5xf32", "3x3x4x5xf32"},
     "{input = array<i64: 9, 6>, strides = array<i64: 3, 3>, dilation = array<i64: 2, 2>}",
     "1x9x6x4xf32"},
    {{"2x5x4x6xf32", "3x3x1x6xf32"}, "{input = array<i64: 5, 4>, groups = 6 : i64}", "2x5x4x6xf32"},
    {{"2x5x4x20xf32", "3x3x8x20xf32"}, "{input = array<i64: 5, 4>, groups = 2 : i64}", "2x5x4x16xf32"},
    {{"2x2x2x8xf32", "4x4x3x8xf32"},
     "{input = array<i64: 8, 9>, strides = array<i64: 4, 4>, padding = \"VALID\"}",
     "2x8x9x3xf32"},
    {{"2x5x4xf32", "3x5x4xf32"}, "{input = array<i64: 9>, strides = array<i64: 2>}", "2x9x5xf32"},
};

static const struct anas_op_def conv_bwd_data = {
    .name = "conv_bwd_data",
    .level = ANAS_TRAINING,
    .summary = "gradient of a convolution's operand, from the gradient of its result and the kernel",
    .num_operands = 2,
    .attrs = data_attrs,
    .num_attrs = ANAS_CONV_NUM_ATTRS,
    .samples = data_samples,
    .num_samples = sizeof data_samples / sizeof *data_samples,
    .shape = data_shape,
    .lower = data_lower,
};

ANAS_OP_FAMILY(conv_bwd_data, &conv_bwd_data);
