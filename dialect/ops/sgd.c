// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Stochastic gradient descent with momentum (Polyak, 1964).
#include "dialect/optimizer.h"

enum { MOMENTUM, WEIGHT_DECAY, NUM_ATTRS };
enum { PARAM, VELOCITY, GRADIENT, RATE, NUM_OPERANDS };

static const struct anas_attr_def sgd_attrs[NUM_ATTRS] = {
    [MOMENTUM] = {.name = "momentum",
                  .kind = ANAS_ATTR_FLOAT,
                  .fallback = ANAS_FLOAT(0.9),
                  .doc = "share of the old velocity"},
    [WEIGHT_DECAY] = {.name = "weight_decay",
                      .kind = ANAS_ATTR_FLOAT,
                      .fallback = ANAS_FLOAT(0),
                      .doc = "multiple of the parameter added to its gradient"},
};

static anas_status sgd_shape(const struct anas_op *op, struct anas_shape *out) {
  return anas_optimizer_shape(op, 1, out);
}

// velocity = momentum * velocity + gradient + weight_decay * param;  param -= rate * velocity
static anas_status sgd_lower(const struct anas_op *op, struct anas_lowering *l) {
  char g[16];
  struct anas_nest *nest = anas_optimizer_nest(op, l, 1, g);
  int keep = anas_nest_f32(nest, op->attr[MOMENTUM].value.f),
      decay = anas_nest_f32(nest, op->attr[WEIGHT_DECAY].value.f);
  int shrink = anas_nest_value(nest, "arith.mulf %%o0, %%v%d " ANAS_CONTRACT " : f32", decay);
  int gradient = anas_nest_value(nest, "arith.addf %s, %%v%d " ANAS_CONTRACT " : f32", g, shrink);
  int old = anas_nest_value(nest, "arith.mulf %%o1, %%v%d " ANAS_CONTRACT " : f32", keep);
  int velocity = anas_nest_value(nest, "arith.addf %%v%d, %%v%d " ANAS_CONTRACT " : f32", old, gradient);
  int step = anas_nest_value(nest, "arith.mulf %%i1, %%v%d " ANAS_CONTRACT " : f32", velocity);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.subf %%o0, %%v%d " ANAS_CONTRACT " : f32", step));
  anas_nest_yield(nest, 1, "%%v%d", velocity);
  return ANAS_OK;
}

static const struct anas_sample sgd_samples[] = {
    {{"3x5xf32", "3x5xf32", "3x5xf32", "1xf32"}, "{momentum = 0.9 : f32, weight_decay = 1.0e-2 : f32}", "3x5xf32"},
    {{"17xf32", "17xf32", "17xf32", "1xf32"}, "{momentum = 0.0 : f32}", "17xf32"},
    {{"17xf32", "17xf32", "17xf32", "1xf32", "1xf32"}, "{}", "17xf32"},
};

static const struct anas_op_def sgd = {
    .name = "sgd",
    .level = ANAS_TRAINING,
    .summary = "gradient descent with momentum, in place",
    .description = "Operands: parameter, velocity, gradient, learning rate (one element), optionally a factor of the "
                   "gradient; results: parameter and velocity. `velocity' = momentum * velocity + (gradient + "
                   "weight_decay * param)`, `param' = param - rate * velocity'`.",
    .num_operands = NUM_OPERANDS,
    .variadic = true,
    .num_results = 2,
    .attrs = sgd_attrs,
    .num_attrs = NUM_ATTRS,
    .samples = sgd_samples,
    .num_samples = ANAS_COUNT(sgd_samples),
    .shape = sgd_shape,
    .lower = sgd_lower,
    .horizontal = true,
};

ANAS_OP_FAMILY(sgd, &sgd);
