// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Adam (Kingma and Ba, 2015) with decoupled weight decay (AdamW: Loshchilov and Hutter, 2019).
#include "dialect/optimizer.h"

#include <stdio.h>

enum { BETA1, BETA2, EPSILON, WEIGHT_DECAY, NUM_ATTRS };
enum { PARAM, FIRST, SECOND, GRADIENT, RATE, FIRST_WEIGHT, SECOND_WEIGHT, NUM_OPERANDS };

static const struct anas_attr_def adam_attrs[NUM_ATTRS] = {
    [BETA1] = {.name = "beta1",
               .kind = ANAS_ATTR_FLOAT,
               .fallback = ANAS_FLOAT(0.9),
               .doc = "share of the old mean of the gradient"},
    [BETA2] = {.name = "beta2",
               .kind = ANAS_ATTR_FLOAT,
               .fallback = ANAS_FLOAT(0.999),
               .doc = "share of the old mean of its square"},
    [EPSILON] = {.name = "epsilon",
                 .kind = ANAS_ATTR_FLOAT,
                 .fallback = ANAS_FLOAT(1e-8),
                 .doc = "added to the root of the mean square"},
    [WEIGHT_DECAY] = {.name = "weight_decay",
                      .kind = ANAS_ATTR_FLOAT,
                      .fallback = ANAS_FLOAT(0),
                      .doc = "share of the parameter that goes in a step, times the learning rate"},
};

static anas_status adam_shape(const struct anas_op *op, struct anas_shape *out) {
  return anas_optimizer_shape(op, 2, out);
}

// value = beta * value + (1 - beta) * next
static int running_mean(struct anas_nest *nest, int output, double beta, const char *next) {
  int keep = anas_nest_f32(nest, beta), take = anas_nest_f32(nest, 1 - beta);
  int old = anas_nest_value(nest, "arith.mulf %%o%d, %%v%d " ANAS_CONTRACT " : f32", output, keep);
  int new = anas_nest_value(nest, "arith.mulf %s, %%v%d " ANAS_CONTRACT " : f32", next, take);
  int mean = anas_nest_value(nest, "arith.addf %%v%d, %%v%d " ANAS_CONTRACT " : f32", old, new);
  anas_nest_yield(nest, output, "%%v%d", mean);
  return mean;
}

static anas_status adam_lower(const struct anas_op *op, struct anas_lowering *l) {
  char g[16], square[16];
  struct anas_nest *nest = anas_optimizer_nest(op, l, 2, g);
  snprintf(square, sizeof square, "%%v%d", anas_nest_value(nest, "arith.mulf %s, %s : f32", g, g));
  int first = running_mean(nest, 1, op->attr[BETA1].value.f, g);
  int second = running_mean(nest, 2, op->attr[BETA2].value.f, square);
  int mean_square = anas_nest_value(nest, "arith.divf %%v%d, %%i3 : f32", second);
  int root = anas_nest_value(nest, "math.sqrt %%v%d : f32", mean_square);
  int epsilon = anas_nest_f32(nest, op->attr[EPSILON].value.f);
  int size = anas_nest_value(nest, "arith.addf %%v%d, %%v%d : f32", root, epsilon);
  int rate = anas_nest_value(nest, "arith.divf %%i1, %%i2 : f32");
  int step = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d : f32", rate, first);
  int part = anas_nest_value(nest, "arith.divf %%v%d, %%v%d : f32", step, size);
  int decay = anas_nest_f32(nest, op->attr[WEIGHT_DECAY].value.f);
  int share = anas_nest_value(nest, "arith.mulf %%i1, %%v%d : f32", decay);
  int lost = anas_nest_value(nest, "arith.mulf %%o0, %%v%d " ANAS_CONTRACT " : f32", share);
  int shrunk = anas_nest_value(nest, "arith.subf %%o0, %%v%d " ANAS_CONTRACT " : f32", lost);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.subf %%v%d, %%v%d : f32", shrunk, part));
  return ANAS_OK;
}

static const struct anas_sample adam_samples[] = {
    {{"3x5xf32", "3x5xf32", "3x5xf32", "3x5xf32", "1xf32", "1xf32", "1xf32"}, "{weight_decay = 0.1 : f32}", "3x5xf32"},
    {{"17xf32", "17xf32", "17xf32", "17xf32", "1xf32", "1xf32", "1xf32", "1xf32"}, "{}", "17xf32"},
};

static const struct anas_op_def adam = {
    .name = "adam",
    .level = ANAS_TRAINING,
    .summary = "Adam with decoupled weight decay, in place",
    .description =
        "Operands: parameter, means of the gradient and of its square, gradient, learning rate, weights of both means "
        "(mean_weight), optionally a factor of the gradient; results: parameter and means. `first' = beta1 * first + "
        "(1 - beta1) * gradient`, `second' = beta2 * second + (1 - beta2) * gradient^2`, `param' = param - rate * "
        "((first' / first_weight) / (sqrt(second' / second_weight) + epsilon) + weight_decay * param)`.",
    .num_operands = NUM_OPERANDS,
    .variadic = true,
    .num_results = 3,
    .attrs = adam_attrs,
    .num_attrs = NUM_ATTRS,
    .samples = adam_samples,
    .num_samples = ANAS_COUNT(adam_samples),
    .shape = adam_shape,
    .lower = adam_lower,
    .horizontal = true,
};

// ---- the weight of a running mean

static const struct anas_attr_def weight_attrs[] = {
    {.name = "beta", .kind = ANAS_ATTR_FLOAT, .required = true, .doc = "share of the old mean"},
};

static anas_status weight_shape(const struct anas_op *op, struct anas_shape *out) {
  char text[128];
  const struct anas_shape *x = &op->operand[0];
  if (x->rank != 1 || x->dim[0] != 1 || x->element != ANAS_F32)
    return anas_fail(ANAS_INVALID, "'anas.%s' needs tensor<1xf32>, got tensor<%s>", op->def->name,
                     anas_shape_text(x, text));
  out[0] = *x;
  return ANAS_OK;
}

static anas_status weight_lower(const struct anas_op *op, struct anas_lowering *l) {
  anas_lower_alias(l, 0, 0);
  struct anas_nest *nest = anas_lower_nest(l, "mean_weight");
  anas_nest_loops(nest, &op->operand[0]);
  anas_access_whole(anas_nest_out(nest, anas_lower_result(l, 0), ANAS_NO_FILL), 1);
  double beta = op->attr[0].value.f;
  int keep = anas_nest_f32(nest, beta), take = anas_nest_f32(nest, 1 - beta);
  int old = anas_nest_value(nest, "arith.mulf %%o0, %%v%d : f32", keep);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%v%d, %%v%d : f32", old, take));
  return ANAS_OK;
}

static const struct anas_sample weight_samples[] = {{{"1xf32"}, "{beta = 0.9 : f32}", "1xf32"}};

static const struct anas_op_def mean_weight = {
    .name = "mean_weight",
    .level = ANAS_TRAINING,
    .summary = "how much of a running mean that began with zero is data: 1 - beta^steps, in place",
    .description = "`weight' = beta * weight + (1 - beta)`, from 0 before the first step. The recurrence has no "
                   "cancellation for beta near 1, unlike the power.",
    .num_operands = 1,
    .attrs = weight_attrs,
    .num_attrs = ANAS_COUNT(weight_attrs),
    .samples = weight_samples,
    .num_samples = ANAS_COUNT(weight_samples),
    .shape = weight_shape,
    .lower = weight_lower,
};

ANAS_OP_FAMILY(adam, &adam, &mean_weight);
