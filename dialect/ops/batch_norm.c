// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Batch normalisation over every dimension but the last (Ioffe and Szegedy, 2015).
#include "dialect/op_support.h"

enum { MOMENTUM, EPSILON, SCALE_INIT, NUM_ATTRS };

static const char *const init_choices[] = {"ones", "zeros", NULL};

static const struct anas_attr_def batch_norm_attrs[NUM_ATTRS] = {
    [MOMENTUM] = {.name = "momentum",
                  .kind = ANAS_ATTR_FLOAT,
                  .fallback = ANAS_FLOAT(0.99),
                  .doc = "share of the old value in the running averages, per step"},
    [EPSILON] = {.name = "epsilon",
                 .kind = ANAS_ATTR_FLOAT,
                 .fallback = ANAS_FLOAT(1e-5),
                 .doc = "added to the variance"},
    [SCALE_INIT] = {.name = "scale_init",
                    .kind = ANAS_ATTR_ENUM,
                    .fallback = ANAS_INT(0),
                    .choices = init_choices,
                    .doc = "initialiser of the scale; zeros makes a residual branch start as nothing"},
};

static anas_status batch_norm_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(anas_check_tensor(op, 2));
  double momentum = op->attr[MOMENTUM].value.f, epsilon = op->attr[EPSILON].value.f;
  if (!(momentum >= 0 && momentum <= 1))
    return anas_fail(ANAS_INVALID, "attribute 'momentum' of 'anas.%s' must lie in [0, 1], got %g", op->def->name,
                     momentum);
  if (!(epsilon > 0 && epsilon < 1))
    return anas_fail(ANAS_INVALID, "attribute 'epsilon' of 'anas.%s' must lie in (0, 1), got %g", op->def->name,
                     epsilon);
  return anas_shape_same(op, out);
}

static int batch_norm_params(const struct anas_op *op, struct anas_param *out) {
  const struct anas_shape *x = &op->operand[0];
  struct anas_shape channels = {.rank = 1, .element = ANAS_F32, .dim = {x->dim[x->rank - 1]}};
  int64_t fan = channels.dim[0];
  out[0] = (struct anas_param){"scale", channels, init_choices[op->attr[SCALE_INIT].value.i], fan, fan, ANAS_TRAINABLE};
  out[1] = (struct anas_param){"offset", channels, "zeros", fan, fan, ANAS_TRAINABLE};
  out[2] = (struct anas_param){"mean", channels, "zeros", fan, fan, ANAS_STATE};
  out[3] = (struct anas_param){"variance", channels, "ones", fan, fan, ANAS_STATE};
  return 4;
}

// At inference: one multiplication and one addition an element.
static void batch_norm_cost(const struct anas_op *op, const struct anas_shape *result, struct anas_cost *out) {
  (void)op;
  out->flops = 2 * anas_example_elements(result);
}

static const struct anas_sample batch_norm_samples[] = {
    {{"2x5x3x7xf32"}, "{}", "2x5x3x7xf32"},
    {{"9x5xf32"}, "{momentum = 0.9 : f32, epsilon = 1.0e-3 : f32}", "9x5xf32"},
    {{"3x4x6xf32"}, "{scale_init = \"zeros\"}", "3x4x6xf32"},
};

static const struct anas_op_def batch_norm = {
    .name = "batch_norm",
    .summary = "normalisation of every channel over the batch and the spatial dimensions",
    .description =
        "`y = (x - mean) / sqrt(variance + epsilon) * scale + offset`. In training, mean and variance are those of the "
        "batch, and the running averages become `momentum * old + (1 - momentum) * batch`; at inference the running "
        "averages are used. Parameters: `scale`, `offset`; state: `mean`, `variance` (channels each).",
    .order = 17,
    .num_operands = 1,
    .attrs = batch_norm_attrs,
    .num_attrs = NUM_ATTRS,
    .linearity = ANAS_LINEAR,
    .synthesizable = true,
    .batch_coupled = true,
    .onnx = "BatchNormalization",
    .samples = batch_norm_samples,
    .num_samples = ANAS_COUNT(batch_norm_samples),
    .shape = batch_norm_shape,
    .params = batch_norm_params,
    .cost = batch_norm_cost,
};

ANAS_OP_FAMILY(batch_norm, &batch_norm);
