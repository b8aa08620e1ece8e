// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Batch normalisation over every dimension but the last (Ioffe and Szegedy, 2015).
#include "dialect/column_sums.h"
#include "dialect/op_support.h"
#include "dialect/train.h"

enum { MOMENTUM, EPSILON, SCALE_INIT, NUM_ATTRS };

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
                    .kind = ANAS_ATTR_INIT,
                    .fallback = ANAS_INIT_OF(ANAS_ONES),
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
  out[0] = (struct anas_param){"scale", channels, op->attr[SCALE_INIT].value.init, fan, fan, ANAS_TRAINABLE};
  out[1] = (struct anas_param){"offset", channels, ANAS_ZEROS, fan, fan, ANAS_TRAINABLE};
  out[2] = (struct anas_param){"mean", channels, ANAS_ZEROS, fan, fan, ANAS_STATE};
  out[3] = (struct anas_param){"variance", channels, ANAS_ONES, fan, fan, ANAS_STATE};
  return 4;
}

// At inference: one multiplication and one addition an element.
static void batch_norm_cost(const struct anas_op *op, const struct anas_shape *result, struct anas_cost *out) {
  (void)op;
  out->flops = 2 * anas_example_elements(result);
}

enum { SCALE, OFFSET, MEAN, VARIANCE };

static anas_status batch_norm_forward(struct anas_train *train, struct anas_train_op *op) {
  const MlirValue *param = op->param;
  if (!op->training) {
    MlirValue in[] = {op->operand[0], param[SCALE], param[OFFSET], param[MEAN], param[VARIANCE]};
    return anas_train_emit(train, "batch_norm_infer", in, 5, &op->op->attr[EPSILON], &op->result);
  }
  MlirValue in[] = {op->operand[0], param[MEAN], param[VARIANCE]}, stats[4];
  ANAS_RETURN_IF_ERROR(anas_train_emit(train, "batch_norm_stats", in, 3, op->op->attr, stats));
  op->new_state[MEAN] = stats[2];
  op->new_state[VARIANCE] = stats[3];
  op->saved[0] = op->operand[0];
  op->saved[1] = stats[0];
  op->saved[2] = stats[1];
  MlirValue apply[] = {op->operand[0], stats[0], stats[1], param[SCALE], param[OFFSET]};
  return anas_train_emit(train, "batch_norm_fwd", apply, 5, NULL, &op->result);
}

static anas_status batch_norm_backward(struct anas_train *train, struct anas_train_op *op) {
  MlirValue in[] = {op->grad_result, op->saved[0], op->saved[1], op->saved[2]}, sums[2];
  ANAS_RETURN_IF_ERROR(anas_train_emit(train, "batch_norm_bwd_params", in, 4, NULL, sums));
  op->grad_param[SCALE] = sums[0];
  op->grad_param[OFFSET] = sums[1];
  if (!op->need_operand[0]) return ANAS_OK;
  MlirValue apply[] = {op->grad_result, op->saved[0], op->saved[1], op->saved[2], op->param[SCALE], sums[0], sums[1]};
  return anas_train_emit(train, "batch_norm_bwd", apply, 7, NULL, &op->grad_operand[0]);
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
    .forward = batch_norm_forward,
    .backward = batch_norm_backward,
};

// ---- training ops

// The other operands of the training ops have one element a channel of operand 0.
static anas_status check_channels(const struct anas_op *op, int first) {
  ANAS_RETURN_IF_ERROR(anas_check_tensor(op, 2));
  int64_t channels = op->operand[0].dim[op->operand[0].rank - 1];
  char text[128];
  for (int i = first; i < op->num_operands; i++) {
    const struct anas_shape *vector = &op->operand[i];
    if (vector->rank != 1 || vector->dim[0] != channels || vector->element != ANAS_F32)
      return anas_fail(ANAS_INVALID, "operand %d of 'anas.%s' must be tensor<%lldxf32>, got tensor<%s>", i,
                       op->def->name, (long long)channels, anas_shape_text(vector, text));
  }
  return ANAS_OK;
}

static struct anas_shape channel_shape(const struct anas_op *op) {
  const struct anas_shape *x = &op->operand[0];
  return (struct anas_shape){.rank = 1, .element = ANAS_F32, .dim = {x->dim[x->rank - 1]}};
}

// Elements a channel.
static double population(const struct anas_op *op) {
  const struct anas_shape *x = &op->operand[0];
  return (double)anas_shape_elements(x) / (double)x->dim[x->rank - 1];
}

static void channel_in(struct anas_nest *nest, int buffer) {
  anas_access_add(anas_nest_in(nest, buffer), 0, nest->num_loops - 1, 1);
}

static void channel_out(struct anas_nest *nest, int buffer, enum anas_fill fill) {
  anas_access_add(anas_nest_out(nest, buffer, fill), 0, nest->num_loops - 1, 1);
}

// The first element of every channel of operand 0: sums are taken of differences from it, so that a mean that is large
// against the deviation costs no digits of the variance. The channel is the last loop.
static void pivot_in(const struct anas_op *op, struct anas_lowering *l, struct anas_nest *nest) {
  anas_access_add(anas_nest_in(nest, anas_lower_operand(l, 0)), op->operand[0].rank - 1, nest->num_loops - 1, 1);
}

static const struct anas_attr_def stats_attrs[] = {
    {.name = "momentum", .kind = ANAS_ATTR_FLOAT, .fallback = ANAS_FLOAT(0.99), .doc = "of the running averages"},
    {.name = "epsilon", .kind = ANAS_ATTR_FLOAT, .fallback = ANAS_FLOAT(1e-5), .doc = "added to the variance"},
};

static anas_status stats_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(check_channels(op, 1));
  for (int i = 0; i < 4; i++)
    out[i] = channel_shape(op);
  return ANAS_OK;
}

static anas_status stats_lower(const struct anas_op *op, struct anas_lowering *l) {
  struct anas_shape channels = channel_shape(op);
  int sum = anas_lower_scratch(l, &channels), squares = anas_lower_scratch(l, &channels);
  const int columns[] = {sum, squares};
  struct anas_column_sums sums;
  anas_column_sums_init(&sums, &op->operand[0], 0);
  struct anas_nest *nest = anas_column_sums_begin(&sums, l, "batch_norm_sums", columns, 2);
  anas_column_sums_whole(&sums, anas_nest_in(nest, anas_lower_operand(l, 0)));
  pivot_in(op, l, nest);
  int d = anas_nest_value(nest, "arith.subf %%i0, %%i1 : f32");
  int dd = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d " ANAS_CONTRACT " : f32", d, d);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%v%d : f32", d));
  anas_nest_yield(nest, 1, "%%v%d", anas_nest_value(nest, "arith.addf %%o1, %%v%d " ANAS_CONTRACT " : f32", dd));
  anas_column_sums_end(&sums, l, columns, 2);

  anas_lower_alias(l, 2, 1);
  anas_lower_alias(l, 3, 2);
  nest = anas_lower_nest(l, "batch_norm_stats");
  anas_nest_loops(nest, &channels);
  channel_in(nest, sum);
  channel_in(nest, squares);
  pivot_in(op, l, nest);
  for (int i = 0; i < 4; i++)
    channel_out(nest, anas_lower_result(l, i), ANAS_NO_FILL);
  double momentum = op->attr[0].value.f;
  int share = anas_nest_f32(nest, 1 / population(op)), zero = anas_nest_f32(nest, 0), one = anas_nest_f32(nest, 1);
  int epsilon = anas_nest_f32(nest, op->attr[1].value.f);
  int keep = anas_nest_f32(nest, momentum), take = anas_nest_f32(nest, 1 - momentum);
  int shift = anas_nest_value(nest, "arith.mulf %%i0, %%v%d : f32", share);
  int mean = anas_nest_value(nest, "arith.addf %%i2, %%v%d : f32", shift);
  int moment = anas_nest_value(nest, "arith.mulf %%i1, %%v%d : f32", share);
  int square = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d : f32", shift, shift);
  int raw = anas_nest_value(nest, "arith.subf %%v%d, %%v%d : f32", moment, square);
  int variance = anas_nest_value(nest, "arith.maxnumf %%v%d, %%v%d : f32", raw, zero);
  int safe = anas_nest_value(nest, "arith.addf %%v%d, %%v%d : f32", variance, epsilon);
  int deviation = anas_nest_value(nest, "math.sqrt %%v%d : f32", safe);
  anas_nest_yield(nest, 0, "%%v%d", mean);
  anas_nest_yield(nest, 1, "%%v%d", anas_nest_value(nest, "arith.divf %%v%d, %%v%d : f32", one, deviation));
  for (int i = 0; i < 2; i++) { // the running averages
    int old = anas_nest_value(nest, "arith.mulf %%o%d, %%v%d : f32", 2 + i, keep);
    int now = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d : f32", i ? variance : mean, take);
    anas_nest_yield(nest, 2 + i, "%%v%d", anas_nest_value(nest, "arith.addf %%v%d, %%v%d : f32", old, now));
  }
  return ANAS_OK;
}

static const struct anas_op_def batch_norm_stats = {
    .name = "batch_norm_stats",
    .level = ANAS_TRAINING,
    .summary =
        "mean and 1 / sqrt(variance + epsilon) of every channel of x; running mean and variance, updated in place",
    .num_operands = 3,
    .num_results = 4,
    .attrs = stats_attrs,
    .num_attrs = ANAS_COUNT(stats_attrs),
    .shape = stats_shape,
    .lower = stats_lower,
};

static anas_status fwd_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(check_channels(op, 1));
  return anas_shape_same(op, out);
}

// (x - mean) * rdev * scale + offset
static anas_status fwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  int in[5];
  for (int i = 0; i < op->num_operands; i++)
    in[i] = anas_lower_operand(l, i);
  struct anas_nest *nest = anas_lower_map(l, "batch_norm_fwd", in, op->num_operands, anas_lower_result(l, 0));
  int centred = anas_nest_value(nest, "arith.subf %%i0, %%i1 : f32");
  int slope = anas_nest_value(nest, "arith.mulf %%i2, %%i3 : f32");
  int scaled = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d " ANAS_CONTRACT " : f32", centred, slope);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%v%d, %%i4 " ANAS_CONTRACT " : f32", scaled));
  return ANAS_OK;
}

static const struct anas_op_def batch_norm_fwd = {
    .name = "batch_norm_fwd",
    .level = ANAS_TRAINING,
    .summary = "(x - mean) * rdev * scale + offset",
    .num_operands = 5,
    .shape = fwd_shape,
    .lower = fwd_lower,
};

static const struct anas_attr_def infer_attrs[] = {
    {.name = "epsilon", .kind = ANAS_ATTR_FLOAT, .fallback = ANAS_FLOAT(1e-5), .doc = "added to the variance"},
};

static anas_status infer_lower(const struct anas_op *op, struct anas_lowering *l) {
  struct anas_shape channels = channel_shape(op);
  int slope = anas_lower_scratch(l, &channels);
  int in_slope[] = {anas_lower_operand(l, 1), anas_lower_operand(l, 4)};
  struct anas_nest *nest = anas_lower_map(l, "batch_norm_slope", in_slope, 2, slope);
  int safe = anas_nest_value(nest, "arith.addf %%i1, %%v%d : f32", anas_nest_f32(nest, op->attr[0].value.f));
  int deviation = anas_nest_value(nest, "math.sqrt %%v%d : f32", safe);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.divf %%i0, %%v%d : f32", deviation));

  int in[] = {anas_lower_operand(l, 0), anas_lower_operand(l, 3), slope, anas_lower_operand(l, 2)};
  nest = anas_lower_map(l, "batch_norm_infer", in, 4, anas_lower_result(l, 0));
  int centred = anas_nest_value(nest, "arith.subf %%i0, %%i1 : f32");
  int scaled = anas_nest_value(nest, "arith.mulf %%v%d, %%i2 " ANAS_CONTRACT " : f32", centred);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%v%d, %%i3 " ANAS_CONTRACT " : f32", scaled));
  return ANAS_OK;
}

static const struct anas_op_def batch_norm_infer = {
    .name = "batch_norm_infer",
    .level = ANAS_TRAINING,
    .summary = "(x - mean) / sqrt(variance + epsilon) * scale + offset, from x, scale, offset, mean, variance",
    .num_operands = 5,
    .attrs = infer_attrs,
    .num_attrs = ANAS_COUNT(infer_attrs),
    .shape = fwd_shape,
    .lower = infer_lower,
};

static anas_status check_gradient(const struct anas_op *op) {
  ANAS_RETURN_IF_ERROR(check_channels(op, 2));
  char a[128], b[128];
  if (!anas_shape_equal(&op->operand[0], &op->operand[1]))
    return anas_fail(ANAS_INVALID, "operands 0 and 1 of 'anas.%s' must have one type, got tensor<%s> and tensor<%s>",
                     op->def->name, anas_shape_text(&op->operand[0], a), anas_shape_text(&op->operand[1], b));
  return ANAS_OK;
}

static anas_status bwd_params_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(check_gradient(op));
  out[0] = out[1] = channel_shape(op);
  return ANAS_OK;
}

static anas_status bwd_params_lower(const struct anas_op *op, struct anas_lowering *l) {
  const int columns[] = {anas_lower_result(l, 0), anas_lower_result(l, 1)};
  struct anas_column_sums sums;
  anas_column_sums_init(&sums, &op->operand[0], 0);
  struct anas_nest *nest = anas_column_sums_begin(&sums, l, "batch_norm_bwd_params", columns, 2);
  anas_column_sums_whole(&sums, anas_nest_in(nest, anas_lower_operand(l, 0)));
  anas_column_sums_whole(&sums, anas_nest_in(nest, anas_lower_operand(l, 1)));
  channel_in(nest, anas_lower_operand(l, 2));
  channel_in(nest, anas_lower_operand(l, 3));
  int centred = anas_nest_value(nest, "arith.subf %%i1, %%i2 : f32");
  int normal = anas_nest_value(nest, "arith.mulf %%v%d, %%i3 : f32", centred);
  int product = anas_nest_value(nest, "arith.mulf %%v%d, %%i0 " ANAS_CONTRACT " : f32", normal);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%v%d " ANAS_CONTRACT " : f32", product));
  anas_nest_yield(nest, 1, "%%v%d", anas_nest_value(nest, "arith.addf %%o1, %%i0 : f32"));
  anas_column_sums_end(&sums, l, columns, 2);
  return ANAS_OK;
}

static const struct anas_op_def batch_norm_bwd_params = {
    .name = "batch_norm_bwd_params",
    .level = ANAS_TRAINING,
    .summary = "gradients of scale and offset, from dy, x, mean, rdev",
    .num_operands = 4,
    .num_results = 2,
    .shape = bwd_params_shape,
    .lower = bwd_params_lower,
};

static anas_status bwd_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(check_gradient(op));
  return anas_shape_same(op, out);
}

// scale * rdev * (dy - (doffset + (x - mean) * rdev * dscale) / population)
static anas_status bwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  int in[7];
  for (int i = 0; i < op->num_operands; i++)
    in[i] = anas_lower_operand(l, i);
  struct anas_nest *nest = anas_lower_map(l, "batch_norm_bwd", in, op->num_operands, anas_lower_result(l, 0));
  int share = anas_nest_f32(nest, 1 / population(op));
  int centred = anas_nest_value(nest, "arith.subf %%i1, %%i2 : f32");
  int weight = anas_nest_value(nest, "arith.mulf %%i3, %%i5 : f32");
  int product = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d " ANAS_CONTRACT " : f32", centred, weight);
  int sum = anas_nest_value(nest, "arith.addf %%v%d, %%i6 " ANAS_CONTRACT " : f32", product);
  int average = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d " ANAS_CONTRACT " : f32", sum, share);
  int rest = anas_nest_value(nest, "arith.subf %%i0, %%v%d " ANAS_CONTRACT " : f32", average);
  int slope = anas_nest_value(nest, "arith.mulf %%i3, %%i4 : f32");
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.mulf %%v%d, %%v%d : f32", rest, slope));
  return ANAS_OK;
}

static const struct anas_op_def batch_norm_bwd = {
    .name = "batch_norm_bwd",
    .level = ANAS_TRAINING,
    .summary = "gradient of x, from dy, x, mean, rdev, scale and the gradients of scale and offset",
    .num_operands = 7,
    .shape = bwd_shape,
    .lower = bwd_lower,
};

ANAS_OP_FAMILY(batch_norm, &batch_norm, &batch_norm_stats, &batch_norm_fwd, &batch_norm_infer, &batch_norm_bwd_params,
               &batch_norm_bwd);
