// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Gradient descent scaled by the root of the running mean square of the gradient (RMSProp: Tieleman and Hinton, 2012),
// with decoupled weight decay.
#include "dialect/optimizer.h"

enum { BETA2, EPSILON, WEIGHT_DECAY, NUM_ATTRS };
enum { PARAM, SECOND, GRADIENT, RATE, NUM_OPERANDS };

static const struct anas_attr_def rmsprop_attrs[NUM_ATTRS] = {
    [BETA2] = {.name = "beta2",
               .kind = ANAS_ATTR_FLOAT,
               .fallback = ANAS_FLOAT(0.9),
               .doc = "share of the old mean of the gradient's square"},
    [EPSILON] = {.name = "epsilon",
                 .kind = ANAS_ATTR_FLOAT,
                 .fallback = ANAS_FLOAT(1e-3),
                 .doc = "added to the mean square, under the root"},
    [WEIGHT_DECAY] = {.name = "weight_decay",
                      .kind = ANAS_ATTR_FLOAT,
                      .fallback = ANAS_FLOAT(0),
                      .doc = "share of the parameter that goes in a step, times the learning rate"},
};

static anas_status rmsprop_shape(const struct anas_op *op, struct anas_shape *out) {
  return anas_optimizer_shape(op, 1, out);
}

static anas_status rmsprop_lower(const struct anas_op *op, struct anas_lowering *l) {
  char g[16];
  struct anas_nest *nest = anas_optimizer_nest(op, l, 1, g);
  double beta2 = op->attr[BETA2].value.f;
  int keep = anas_nest_f32(nest, beta2), take = anas_nest_f32(nest, 1 - beta2);
  int square = anas_nest_value(nest, "arith.mulf %s, %s : f32", g, g);
  int old = anas_nest_value(nest, "arith.mulf %%o1, %%v%d " ANAS_CONTRACT " : f32", keep);
  int new = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d " ANAS_CONTRACT " : f32", square, take);
  int second = anas_nest_value(nest, "arith.addf %%v%d, %%v%d " ANAS_CONTRACT " : f32", old, new);
  int epsilon = anas_nest_f32(nest, op->attr[EPSILON].value.f);
  int safe = anas_nest_value(nest, "arith.addf %%v%d, %%v%d : f32", second, epsilon);
  int root = anas_nest_value(nest, "math.sqrt %%v%d : f32", safe);
  int scaled = anas_nest_value(nest, "arith.divf %s, %%v%d : f32", g, root);
  int decay = anas_nest_f32(nest, op->attr[WEIGHT_DECAY].value.f);
  int lost = anas_nest_value(nest, "arith.mulf %%o0, %%v%d " ANAS_CONTRACT " : f32", decay);
  int direction = anas_nest_value(nest, "arith.addf %%v%d, %%v%d " ANAS_CONTRACT " : f32", scaled, lost);
  int step = anas_nest_value(nest, "arith.mulf %%i1, %%v%d " ANAS_CONTRACT " : f32", direction);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.subf %%o0, %%v%d " ANAS_CONTRACT " : f32", step));
  anas_nest_yield(nest, 1, "%%v%d", second);
  return ANAS_OK;
}

static const struct anas_sample rmsprop_samples[] = {
    {{"3x5xf32", "3x5xf32", "3x5xf32", "1xf32"}, "{weight_decay = 0.1 : f32}", "3x5xf32"},
    {{"17xf32", "17xf32", "17xf32", "1xf32", "1xf32"}, "{}", "17xf32"},
};

static const struct anas_op_def rmsprop = {
    .name = "rmsprop",
    .level = ANAS_TRAINING,
    .summary = "gradient descent scaled by the root of the mean square, in place",
    .description =
        "Operands: parameter, mean of the gradient's square, gradient, learning rate, optionally a factor "
        "of the gradient; results: parameter and mean. `second' = beta2 * second + (1 - beta2) * "
        "gradient^2`, `param' = param - rate * (gradient / sqrt(second' + epsilon) + weight_decay * param)`.",
    .num_operands = NUM_OPERANDS,
    .variadic = true,
    .num_results = 2,
    .attrs = rmsprop_attrs,
    .num_attrs = NUM_ATTRS,
    .samples = rmsprop_samples,
    .num_samples = ANAS_COUNT(rmsprop_samples),
    .shape = rmsprop_shape,
    .lower = rmsprop_lower,
    .horizontal = true,
};

ANAS_OP_FAMILY(rmsprop, &rmsprop);
