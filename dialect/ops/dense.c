// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Dense (fully connected) layer over the feature dimension; the other dimensions are rows.
#include "dialect/kernel.h"
#include "dialect/ops/conv.h"
#include "dialect/train.h"

enum { FEATURES, USE_BIAS, KERNEL_INIT, NUM_ATTRS };

static const char *const init_choices[] = {"lecun_normal", "he_normal", "xavier_uniform", "zeros", NULL};

static const struct anas_attr_def dense_attrs[NUM_ATTRS] = {
    [FEATURES] = {.name = "features",
                  .kind = ANAS_ATTR_DIM,
                  .required = true,
                  .doc = "extent of the result's last dimension"},
    [USE_BIAS] = {.name = "use_bias",
                  .kind = ANAS_ATTR_BOOL,
                  .fallback = ANAS_BOOL(true),
                  .doc = "add a trained offset to every feature"},
    [KERNEL_INIT] = {.name = "kernel_init",
                     .kind = ANAS_ATTR_ENUM,
                     .fallback = ANAS_INT(0),
                     .choices = init_choices,
                     .doc = "initialiser of the kernel"},
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
                               .init = init_choices[op->attr[KERNEL_INIT].value.i],
                               .fan_in = channels,
                               .fan_out = features};
  if (!op->attr[USE_BIAS].value.b) return 1;
  out[1] = (struct anas_param){.name = "bias",
                               .shape = {.rank = 1, .element = ANAS_F32, .dim = {features}},
                               .init = "zeros",
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
};

ANAS_OP_FAMILY(dense, &dense);
