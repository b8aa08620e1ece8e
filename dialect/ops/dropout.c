// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Dropout (Srivastava et al., 2014): in training, elements vanish with probability `rate` and the others grow by
// 1 / (1 - rate).
#include "dialect/op_support.h"

enum { RATE, NUM_ATTRS };

static const struct anas_attr rate_values[] = {ANAS_FLOAT(0.2)};

static const struct anas_attr_def dropout_attrs[NUM_ATTRS] = {
    [RATE] = {.name = "rate",
              .kind = ANAS_ATTR_FLOAT,
              .required = true,
              .test_set = rate_values,
              .num_test = 1,
              .full_set = rate_values,
              .num_full = 1,
              .doc = "probability that an element is dropped"},
};

static anas_status dropout_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(anas_check_tensor(op, 1));
  double rate = op->attr[RATE].value.f;
  if (!(rate >= 0 && rate < 1))
    return anas_fail(ANAS_INVALID, "attribute 'rate' of 'anas.%s' must lie in [0, 1), got %g", op->def->name, rate);
  return anas_shape_same(op, out);
}

// Nothing happens at inference.
static void dropout_cost(const struct anas_op *op, const struct anas_shape *result, struct anas_cost *out) {
  (void)op;
  (void)result;
  out->flops = 0;
}

static const struct anas_sample dropout_samples[] = {
    {{"3x17xf32"}, "{rate = 0.2 : f32}", "3x17xf32"},
    {{"2x5x3x7xf32"}, "{rate = 0.5 : f32}", "2x5x3x7xf32"},
    {{"3x4xf32"}, "{rate = 0.0 : f32}", "3x4xf32"},
};

static const struct anas_op_def dropout = {
    .name = "dropout",
    .summary = "random zeros in training, the identity at inference",
    .order = 23,
    .num_operands = 1,
    .attrs = dropout_attrs,
    .num_attrs = NUM_ATTRS,
    .linearity = ANAS_LINEAR,
    .synthesizable = true,
    .onnx = "Dropout",
    .samples = dropout_samples,
    .num_samples = ANAS_COUNT(dropout_samples),
    .shape = dropout_shape,
    .cost = dropout_cost,
};

ANAS_OP_FAMILY(dropout, &dropout);
