// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Convolution, architecture level. Any number of groups, so depthwise too; one or two spatial dimensions.
#include "dialect/ops/conv.h"

#include "dialect/op_support.h"

#include "dialect/train.h"

#include <string.h>

const char *const anas_padding_choices[] = {"SAME", "VALID", NULL};

// ---- geometry

int64_t anas_ints_at(const struct anas_ints *ints, int dim) {
  return ints->value[ints->count == 1 ? 0 : dim];
}

anas_status anas_conv_init(const struct anas_op *op, const struct anas_shape *input, int64_t features,
                           const struct anas_ints *window, const struct anas_ints *strides,
                           const struct anas_ints *dilation, bool same, int64_t groups, struct anas_conv *out) {
  char text[128];
  const char *name = op->def->name;
  int spatial = input->rank - 2;
  if (input->element != ANAS_F32 || spatial < 1 || spatial > ANAS_CONV_MAX_SPATIAL)
    return anas_fail(ANAS_INVALID,
                     "'anas.%s' needs an f32 tensor (batch, 1 to %d spatial dimensions, feature), got tensor<%s>", name,
                     ANAS_CONV_MAX_SPATIAL, anas_shape_text(input, text));
  ANAS_RETURN_IF_ERROR(anas_check_extents(op, input));
  ANAS_RETURN_IF_ERROR(anas_check_ints(op, "kernel", window, 1, spatial));
  ANAS_RETURN_IF_ERROR(anas_check_ints(op, "strides", strides, 1, spatial));
  ANAS_RETURN_IF_ERROR(anas_check_ints(op, "dilation", dilation, 1, spatial));
  int64_t channels = input->dim[input->rank - 1];
  if (features < 1 || features > ANAS_MAX_FEATURES)
    return anas_fail(ANAS_INVALID, "'anas.%s' needs between 1 and %d output features, got %lld", name,
                     ANAS_MAX_FEATURES, (long long)features);
  if (groups < 1 || channels % groups || features % groups)
    return anas_fail(ANAS_INVALID,
                     "'anas.%s' cannot split %lld input channels (operand tensor<%s>) and %lld features into %lld "
                     "groups; the number of groups must divide both",
                     name, (long long)channels, anas_shape_text(input, text), (long long)features, (long long)groups);
  struct anas_conv conv = {
      .spatial = spatial, .batch = input->dim[0], .channels = channels, .features = features, .groups = groups};
  for (int d = 0; d < spatial; d++) {
    struct anas_conv_dim *dim = &conv.dim[d];
    dim->in = input->dim[1 + d];
    dim->window = anas_ints_at(window, d);
    dim->stride = anas_ints_at(strides, d);
    dim->dilation = anas_ints_at(dilation, d);
    ANAS_RETURN_IF_ERROR(
        anas_window_extent(op, 1 + d, dim->in, dim->window, dim->dilation, dim->stride, same, &dim->out, &dim->pad));
  }
  struct anas_shape kernel = anas_conv_kernel(&conv);
  anas_status status = anas_shape_check_weights(&kernel);
  if (status) return anas_fail_context(status, "kernel of 'anas.%s': ", name);
  *out = conv;
  return ANAS_OK;
}

struct anas_shape anas_conv_result(const struct anas_conv *conv) {
  struct anas_shape shape = {.rank = conv->spatial + 2, .element = ANAS_F32};
  shape.dim[0] = conv->batch;
  for (int d = 0; d < conv->spatial; d++)
    shape.dim[1 + d] = conv->dim[d].out;
  shape.dim[1 + conv->spatial] = conv->features;
  return shape;
}

struct anas_shape anas_conv_kernel(const struct anas_conv *conv) {
  struct anas_shape shape = {.rank = conv->spatial + 2, .element = ANAS_F32};
  for (int d = 0; d < conv->spatial; d++)
    shape.dim[d] = conv->dim[d].window;
  shape.dim[conv->spatial] = conv->channels / conv->groups;
  shape.dim[conv->spatial + 1] = conv->features;
  return shape;
}

// ---- the op

enum { FEATURES, KERNEL, STRIDES, PADDING, DILATION, GROUPS, USE_BIAS, KERNEL_INIT, BIAS_INIT, NUM_ATTRS };

#define FEATURE_PART(divisor)                                                                                          \
  {                                                                                                                    \
    .present = true, .value.dim = {.relative = true, .axis = -1, .div = (divisor), .mul = 1 }                          \
  }
#define DIM_CONSTANT(x)                                                                                                \
  {                                                                                                                    \
    .present = true, .value.dim = {.constant = (x), .div = 1, .mul = 1 }                                               \
  }

static const struct anas_attr kernel_values[] = {ANAS_INTS1(1), ANAS_INTS1(3), ANAS_INTS1(5)};
static const struct anas_attr stride_values[] = {ANAS_INTS1(1), ANAS_INTS1(2), ANAS_INTS1(3)};
static const struct anas_attr padding_values[] = {ANAS_INT(ANAS_PADDING_SAME)};
static const struct anas_attr dilation_values[] = {ANAS_INTS1(1), ANAS_INTS1(2), ANAS_INTS1(3)};
// The last three are the feature expressions that can divide the channels; c alone is depthwise.
static const struct anas_attr group_values[] = {DIM_CONSTANT(1),  DIM_CONSTANT(2), DIM_CONSTANT(4), DIM_CONSTANT(16),
                                                DIM_CONSTANT(64), FEATURE_PART(4), FEATURE_PART(2), FEATURE_PART(1)};

static const struct anas_attr_def conv_attrs[NUM_ATTRS] = {
    [FEATURES] = {.name = "features", .kind = ANAS_ATTR_DIM, .required = true, .doc = "output channels"},
    [KERNEL] = {.name = "kernel",
                .kind = ANAS_ATTR_INTS,
                .required = true,
                .test_set = kernel_values,
                .num_test = 2,
                .full_set = kernel_values,
                .num_full = 3,
                .doc = "window extents"},
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
                 .fallback = ANAS_INT(ANAS_PADDING_SAME),
                 .choices = anas_padding_choices,
                 .test_set = padding_values,
                 .num_test = 1,
                 .full_set = padding_values,
                 .num_full = 1,
                 .doc = "SAME: zeros around the input, extent ceil(input / stride); VALID: windows inside the input"},
    [DILATION] = {.name = "dilation",
                  .kind = ANAS_ATTR_INTS,
                  .fallback = ANAS_INTS1(1),
                  .test_set = dilation_values,
                  .num_test = 1,
                  .full_set = dilation_values,
                  .num_full = 3,
                  .doc = "distance of neighbouring window positions in the input"},
    [GROUPS] = {.name = "groups",
                .kind = ANAS_ATTR_DIM,
                .fallback = DIM_CONSTANT(1),
                .test_set = group_values,
                .num_test = 1,
                .full_set = group_values,
                .num_full = sizeof group_values / sizeof *group_values,
                .doc = "independent groups of channels; affine_map<(n, h, w, c) -> (c)> is a depthwise convolution"},
    [USE_BIAS] = ANAS_USE_BIAS_ATTR("every feature"),
    [KERNEL_INIT] = ANAS_KERNEL_INIT_ATTR("kernel"),
    [BIAS_INIT] = ANAS_BIAS_INIT_ATTR("bias"),
};

static anas_status conv_geometry(const struct anas_op *op, struct anas_conv *out) {
  return anas_conv_init(op, &op->operand[0], op->attr[FEATURES].value.dim.constant, &op->attr[KERNEL].value.ints,
                        &op->attr[STRIDES].value.ints, &op->attr[DILATION].value.ints,
                        op->attr[PADDING].value.i == ANAS_PADDING_SAME, op->attr[GROUPS].value.dim.constant, out);
}

static anas_status conv_shape(const struct anas_op *op, struct anas_shape *out) {
  struct anas_conv conv;
  ANAS_RETURN_IF_ERROR(conv_geometry(op, &conv));
  out[0] = anas_conv_result(&conv);
  return ANAS_OK;
}

static void conv_deps(const struct anas_op *op, int which, const struct anas_shape *result, struct anas_dep *out) {
  (void)which;
  (void)result;
  struct anas_conv conv;
  if (conv_geometry(op, &conv) != ANAS_OK) return; // callers pass well-typed instances
  out[0] = (struct anas_dep){.kind = ANAS_DEP_WINDOW, .window = 1, .stride = 1, .dilation = 1};
  for (int d = 0; d < conv.spatial; d++)
    out[1 + d] = (struct anas_dep){.kind = ANAS_DEP_WINDOW,
                                   .out_dim = 1 + d,
                                   .window = conv.dim[d].window,
                                   .stride = conv.dim[d].stride,
                                   .pad = conv.dim[d].pad,
                                   .dilation = conv.dim[d].dilation};
  int feature = 1 + conv.spatial;
  out[feature] = conv.groups == 1 ? (struct anas_dep){.kind = ANAS_DEP_ALL, .out_dim = feature}
                                  : (struct anas_dep){.kind = ANAS_DEP_GROUP,
                                                      .out_dim = feature,
                                                      .out_group = conv.features / conv.groups,
                                                      .in_group = conv.channels / conv.groups};
}

static int conv_params(const struct anas_op *op, struct anas_param *out) {
  struct anas_conv conv;
  if (conv_geometry(op, &conv) != ANAS_OK) return 0;
  int64_t positions = 1;
  for (int d = 0; d < conv.spatial; d++)
    positions *= conv.dim[d].window;
  out[0] = (struct anas_param){.name = "kernel",
                               .shape = anas_conv_kernel(&conv),
                               .init = op->attr[KERNEL_INIT].value.init,
                               .fan_in = positions * conv.channels / conv.groups,
                               .fan_out = positions * conv.features};
  if (!op->attr[USE_BIAS].value.b) return 1;
  out[1] = (struct anas_param){.name = "bias",
                               .shape = {.rank = 1, .element = ANAS_F32, .dim = {conv.features}},
                               .init = op->attr[BIAS_INIT].value.init,
                               .fan_in = out[0].fan_in,
                               .fan_out = out[0].fan_out};
  return 2;
}

static void conv_cost(const struct anas_op *op, const struct anas_shape *result, struct anas_cost *out) {
  struct anas_conv conv;
  if (conv_geometry(op, &conv) != ANAS_OK) return;
  int64_t outputs = conv.features, taps = conv.channels / conv.groups;
  for (int d = 0; d < conv.spatial; d++) {
    outputs *= result->dim[1 + d];
    taps *= conv.dim[d].window;
  }
  out->macs = outputs * taps;
  out->flops = 2 * out->macs + (op->attr[USE_BIAS].value.b ? outputs : 0);
}

// Attributes of the training ops, without the last (ANAS_CONV_EXTENTS).
static void train_attrs(const struct anas_op *op, struct anas_attr *out) {
  memset(out, 0, ANAS_CONV_NUM_ATTRS * sizeof *out);
  out[ANAS_CONV_STRIDES] = op->attr[STRIDES];
  out[ANAS_CONV_PADDING] = op->attr[PADDING];
  out[ANAS_CONV_DILATION] = op->attr[DILATION];
  out[ANAS_CONV_GROUPS] = (struct anas_attr)ANAS_INT(op->attr[GROUPS].value.dim.constant);
}

static anas_status conv_forward(struct anas_train *train, struct anas_train_op *op) {
  struct anas_attr attrs[ANAS_CONV_NUM_ATTRS];
  train_attrs(op->op, attrs);
  MlirValue in[] = {op->operand[0], op->param[0], op->param[1]};
  return anas_train_emit(train, "conv_fwd", in, op->op->attr[USE_BIAS].value.b ? 3 : 2, attrs, &op->result);
}

static anas_status conv_backward(struct anas_train *train, struct anas_train_op *op) {
  struct anas_conv conv;
  struct anas_attr attrs[ANAS_CONV_NUM_ATTRS];
  ANAS_RETURN_IF_ERROR(conv_geometry(op->op, &conv));
  train_attrs(op->op, attrs);
  struct anas_attr *extents = &attrs[ANAS_CONV_EXTENTS];
  extents->present = true;
  extents->value.ints = (struct anas_ints){.count = conv.spatial};
  if (op->need_operand[0]) {
    for (int d = 0; d < conv.spatial; d++)
      extents->value.ints.value[d] = conv.dim[d].in;
    MlirValue in[] = {op->grad_result, op->param[0]};
    ANAS_RETURN_IF_ERROR(anas_train_emit(train, "conv_bwd_data", in, 2, attrs, &op->grad_operand[0]));
  }
  for (int d = 0; d < conv.spatial; d++)
    extents->value.ints.value[d] = conv.dim[d].window;
  MlirValue in[] = {op->operand[0], op->grad_result};
  ANAS_RETURN_IF_ERROR(anas_train_emit(train, "conv_bwd_filter", in, 2, attrs, &op->grad_param[0]));
  if (!op->op->attr[USE_BIAS].value.b) return ANAS_OK;
  return anas_train_emit(train, "bias_bwd", &op->grad_result, 1, NULL, &op->grad_param[1]);
}

static const struct anas_sample conv_samples[] = {
    {{"2x5x5x3xf32"}, "{features = 4 : i64, kernel = array<i64: 3, 3>}", "2x5x5x4xf32"},
    {{"2x6x7x3xf32"}, "{features = 5 : i64, kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>}", "2x3x4x5xf32"},
    {{"2x4x5x16xf32"}, "{features = 33 : i64, kernel = array<i64: 1, 1>, use_bias = false}", "2x4x5x33xf32"},
    {{"1x9x8x18xf32"},
     "{features = 40 : i64, kernel = array<i64: 5, 2>, strides = array<i64: 3, 1>, padding = \"VALID\"}",
     "1x2x7x40xf32"},
    {{"1x9x9x4xf32"},
     "{features = 3 : i64, kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>, dilation = array<i64: 2, 2>}",
     "1x5x5x3xf32"},
    {{"2x5x5x6xf32"},
     "{features = 6 : i64, kernel = array<i64: 3, 3>, groups = affine_map<(n, h, w, c) -> (c)>, use_bias = false}",
     "2x5x5x6xf32"},
    {{"2x5x4x4xf32"},
     "{features = affine_map<(n, h, w, c) -> (c * 2)>, kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>, groups = "
     "2 : i64}",
     "2x3x2x8xf32"},
    {{"2x4x4x16xf32"}, "{features = 20 : i64, kernel = array<i64: 3, 3>, groups = 2 : i64}", "2x4x4x20xf32"},
    {{"2x9x5xf32"}, "{features = 4 : i64, kernel = array<i64: 3>, strides = array<i64: 2>}", "2x5x4xf32"},
};

static const struct anas_op_def conv = {
    .name = "conv",
    .summary = "convolution over the spatial dimensions",
    .description =
        "Output feature f at position o is the sum over window positions k and the input channels c of f's group of "
        "`x[o * stride - pad + k * dilation, c] * kernel[k, c, f]`, plus `bias[f]`; positions outside the input count "
        "as zero. Parameters: `kernel` (window, channels / groups, features) and, unless `use_bias = false`, `bias` "
        "(features).",
    .order = 4,
    .num_operands = 1,
    .attrs = conv_attrs,
    .num_attrs = NUM_ATTRS,
    .linearity = ANAS_LINEAR,
    .synthesizable = true,
    .onnx = "Conv",
    .samples = conv_samples,
    .num_samples = sizeof conv_samples / sizeof *conv_samples,
    .shape = conv_shape,
    .deps = conv_deps,
    .params = conv_params,
    .cost = conv_cost,
    .forward = conv_forward,
    .backward = conv_backward,
};

ANAS_OP_FAMILY(conv, &conv);
