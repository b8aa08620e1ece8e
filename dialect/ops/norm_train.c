// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Training ops of layer and group normalisation. Statistics have the rank of x: (batch, positions..., 1) where every
// position is normalised by itself, (batch, 1..., channels) where an example's positions and a group of its channels
// are; the channels of a group then hold the same values. Gradients of means likewise.
#include "dialect/column_sums.h"
#include "dialect/op_support.h"

enum { GROUPS, EPSILON };

static const struct anas_attr_def norm_attrs[] = {
    [GROUPS] = {.name = "groups",
                .kind = ANAS_ATTR_INT,
                .required = true,
                .doc = "groups of channels; 0: every position by itself"},
    [EPSILON] = {.name = "epsilon",
                 .kind = ANAS_ATTR_FLOAT,
                 .fallback = ANAS_FLOAT(1e-6),
                 .doc = "added to the variance"},
};

static struct anas_shape stats_type(const struct anas_shape *x, int64_t groups) {
  struct anas_shape stats = *x;
  for (int d = 1; d < x->rank - 1 && groups; d++)
    stats.dim[d] = 1;
  if (!groups) stats.dim[x->rank - 1] = 1;
  return stats;
}

static struct anas_shape channel_type(const struct anas_shape *x) {
  return (struct anas_shape){.rank = 1, .element = ANAS_F32, .dim = {x->dim[x->rank - 1]}};
}

static int64_t num_positions(const struct anas_shape *x) {
  return anas_example_elements(x) / x->dim[x->rank - 1];
}

// Access of a tensor of the type of statistics, in a nest with a loop a dimension of x.
static void by_stats(struct anas_access *access, const struct anas_shape *stats) {
  for (int d = 0; d < stats->rank; d++)
    if (stats->dim[d] > 1) anas_access_add(access, d, d, 1);
}

static anas_status check_operand(const struct anas_op *op, int which, const struct anas_shape *expected) {
  char a[128], b[128];
  if (!anas_shape_equal(&op->operand[which], expected))
    return anas_fail(ANAS_INVALID, "operand %d of 'anas.%s' must be tensor<%s>, got tensor<%s>", which, op->def->name,
                     anas_shape_text(expected, a), anas_shape_text(&op->operand[which], b));
  return ANAS_OK;
}

static anas_status check_groups(const struct anas_op *op, const struct anas_shape *x) {
  int64_t groups = op->attr[GROUPS].value.i, channels = x->dim[x->rank - 1];
  if (x->rank < 2 || x->element != ANAS_F32 || groups < 0 || (groups && channels % groups))
    return anas_fail(ANAS_INVALID, "'anas.%s' cannot cut the channels of its operand into %lld groups", op->def->name,
                     (long long)groups);
  return ANAS_OK;
}

// x is operand `x`; then come `stats` operands of the type of statistics, the rest has one element a channel.
static anas_status check(const struct anas_op *op, int x, int stats) {
  ANAS_RETURN_IF_ERROR(check_groups(op, &op->operand[x]));
  struct anas_shape stats_shape = stats_type(&op->operand[x], op->attr[GROUPS].value.i);
  struct anas_shape channels = channel_type(&op->operand[x]);
  for (int i = 0; i < op->num_operands; i++)
    ANAS_RETURN_IF_ERROR(check_operand(op, i, i <= x ? &op->operand[x] : i <= x + stats ? &stats_shape : &channels));
  return ANAS_OK;
}

// ---- norm_stats

static anas_status stats_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(check(op, 0, 0));
  out[0] = out[1] = stats_type(&op->operand[0], op->attr[GROUPS].value.i);
  return ANAS_OK;
}

// %o0 and %o1: sums of the differences of input 0 from input 1, and of their squares. An element of the row is what
// they are differences from, so that a mean that is large against the deviation costs no digits of the variance.
static void sum_differences(struct anas_nest *nest) {
  int d = anas_nest_value(nest, "arith.subf %%i0, %%i1 : f32");
  int dd = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d " ANAS_CONTRACT " : f32", d, d);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%v%d : f32", d));
  anas_nest_yield(nest, 1, "%%v%d", anas_nest_value(nest, "arith.addf %%o1, %%v%d " ANAS_CONTRACT " : f32", dd));
}

// From the sums in inputs 0 and 1 and the pivot in input 2: mean and 1 / deviation of `count` elements.
static void finish_stats(struct anas_nest *nest, double count, double epsilon) {
  int share = anas_nest_f32(nest, 1 / count), zero = anas_nest_f32(nest, 0), one = anas_nest_f32(nest, 1);
  int shift = anas_nest_value(nest, "arith.mulf %%i0, %%v%d : f32", share);
  int moment = anas_nest_value(nest, "arith.mulf %%i1, %%v%d : f32", share);
  int square = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d : f32", shift, shift);
  int raw = anas_nest_value(nest, "arith.subf %%v%d, %%v%d : f32", moment, square);
  int variance = anas_nest_value(nest, "arith.maxnumf %%v%d, %%v%d : f32", raw, zero);
  int safe = anas_nest_value(nest, "arith.addf %%v%d, %%v%d : f32", variance, anas_nest_f32(nest, epsilon));
  int deviation = anas_nest_value(nest, "math.sqrt %%v%d : f32", safe);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%i2, %%v%d : f32", shift));
  anas_nest_yield(nest, 1, "%%v%d", anas_nest_value(nest, "arith.divf %%v%d, %%v%d : f32", one, deviation));
}

static void layer_stats(const struct anas_op *op, struct anas_lowering *l) {
  const struct anas_shape *shape = &op->operand[0];
  struct anas_shape rows = stats_type(shape, 0);
  int x = anas_lower_operand(l, 0), sums[] = {anas_lower_scratch(l, &rows), anas_lower_scratch(l, &rows)};
  struct anas_nest *nest = anas_lower_nest(l, "norm_sums");
  for (int d = 0; d < shape->rank; d++)
    anas_nest_loop(nest, shape->dim[d], d == shape->rank - 1);
  anas_access_whole(anas_nest_in(nest, x), shape->rank);
  by_stats(anas_nest_in(nest, x), &rows);
  for (int k = 0; k < 2; k++)
    by_stats(anas_nest_out(nest, sums[k], ANAS_FILL_ZERO), &rows);
  sum_differences(nest);

  nest = anas_lower_nest(l, "norm_stats");
  anas_nest_loops(nest, &rows);
  for (int k = 0; k < 2; k++)
    by_stats(anas_nest_in(nest, sums[k]), &rows);
  by_stats(anas_nest_in(nest, x), &rows);
  for (int k = 0; k < 2; k++)
    by_stats(anas_nest_out(nest, anas_lower_result(l, k), ANAS_NO_FILL), &rows);
  finish_stats(nest, (double)shape->dim[shape->rank - 1], op->attr[EPSILON].value.f);
}

// A nest over (batch, groups, channels of a group) of buffers (batch, 1..., channels), or (batch, groups).
static struct anas_nest *group_nest(const struct anas_shape *x, int64_t groups, struct anas_lowering *l,
                                    const char *kind, bool sum) {
  struct anas_nest *nest = anas_lower_nest(l, kind);
  anas_nest_loop(nest, x->dim[0], false);
  anas_nest_loop(nest, groups, false);
  anas_nest_loop(nest, x->dim[x->rank - 1] / groups, sum);
  return nest;
}

// Channel of the group, or its first one, in dimension dim of the buffer.
static void by_channel(const struct anas_shape *x, int64_t groups, struct anas_access *access, int dim, bool first) {
  anas_access_add(access, 0, 0, 1);
  anas_access_add(access, dim, 1, x->dim[x->rank - 1] / groups);
  if (!first) anas_access_add(access, dim, 2, 1);
}

static void by_group(struct anas_access *access) {
  anas_access_add(access, 0, 0, 1);
  anas_access_add(access, 1, 1, 1);
}

// Channels are summed each for itself, as differences from their own first element, then the channels of a group
// together: with p the first element of the group and q that of a channel, sum (x - p) = sum (x - q) + n (q - p) and
// sum (x - p)^2 = sum (x - q)^2 + 2 (q - p) sum (x - q) + n (q - p)^2.
static void group_stats(const struct anas_op *op, struct anas_lowering *l) {
  const struct anas_shape *shape = &op->operand[0];
  int64_t groups = op->attr[GROUPS].value.i;
  int last = shape->rank - 1;
  struct anas_shape channels = {.rank = 2, .element = ANAS_F32, .dim = {shape->dim[0], shape->dim[last]}};
  struct anas_shape by_groups = {.rank = 2, .element = ANAS_F32, .dim = {shape->dim[0], groups}};
  int x = anas_lower_operand(l, 0), sums[] = {anas_lower_scratch(l, &channels), anas_lower_scratch(l, &channels)};
  int totals[] = {anas_lower_scratch(l, &by_groups), anas_lower_scratch(l, &by_groups)};
  struct anas_column_sums columns;
  anas_column_sums_init(&columns, shape, 1);
  struct anas_nest *nest = anas_column_sums_begin(&columns, l, "norm_sums", sums, 2);
  anas_column_sums_whole(&columns, anas_nest_in(nest, x));
  struct anas_access *first = anas_nest_in(nest, x);
  anas_column_sums_kept(&columns, first);
  anas_column_sums_channel(&columns, first, last);
  sum_differences(nest);
  anas_column_sums_end(&columns, l, sums, 2);

  nest = group_nest(shape, groups, l, "norm_groups", true);
  for (int k = 0; k < 2; k++)
    by_channel(shape, groups, anas_nest_in(nest, sums[k]), 1, false);
  by_channel(shape, groups, anas_nest_in(nest, x), last, false);
  by_channel(shape, groups, anas_nest_in(nest, x), last, true);
  for (int k = 0; k < 2; k++)
    by_group(anas_nest_out(nest, totals[k], ANAS_FILL_ZERO));
  int count = anas_nest_f32(nest, (double)num_positions(shape)), two = anas_nest_f32(nest, 2);
  int apart = anas_nest_value(nest, "arith.subf %%i2, %%i3 : f32");
  int moved = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d : f32", apart, count);
  int plain = anas_nest_value(nest, "arith.addf %%i0, %%v%d : f32", moved);
  int twice = anas_nest_value(nest, "arith.mulf %%i0, %%v%d : f32", two);
  int inner = anas_nest_value(nest, "arith.addf %%v%d, %%v%d : f32", twice, moved);
  int product = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d " ANAS_CONTRACT " : f32", inner, apart);
  int square = anas_nest_value(nest, "arith.addf %%i1, %%v%d " ANAS_CONTRACT " : f32", product);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%v%d : f32", plain));
  anas_nest_yield(nest, 1, "%%v%d", anas_nest_value(nest, "arith.addf %%o1, %%v%d : f32", square));

  nest = group_nest(shape, groups, l, "norm_stats", false);
  for (int k = 0; k < 2; k++)
    by_group(anas_nest_in(nest, totals[k]));
  by_channel(shape, groups, anas_nest_in(nest, x), last, true);
  for (int k = 0; k < 2; k++)
    by_channel(shape, groups, anas_nest_out(nest, anas_lower_result(l, k), ANAS_NO_FILL), last, false);
  finish_stats(nest, (double)(num_positions(shape) * shape->dim[last] / groups), op->attr[EPSILON].value.f);
}

static anas_status stats_lower(const struct anas_op *op, struct anas_lowering *l) {
  (op->attr[GROUPS].value.i ? group_stats : layer_stats)(op, l);
  return ANAS_OK;
}

static const struct anas_op_def norm_stats = {
    .name = "norm_stats",
    .level = ANAS_TRAINING,
    .summary = "mean and 1 / sqrt(variance + epsilon) of what is normalised together",
    .num_operands = 1,
    .num_results = 2,
    .attrs = norm_attrs,
    .num_attrs = ANAS_COUNT(norm_attrs),
    .shape = stats_shape,
    .lower = stats_lower,
};

// ---- norm_fwd

static anas_status fwd_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(check(op, 0, 2));
  return anas_shape_same(op, out);
}

static struct anas_nest *map_of_operands(const struct anas_op *op, struct anas_lowering *l, const char *kind) {
  int in[ANAS_MAX_OPERANDS];
  for (int i = 0; i < op->num_operands; i++)
    in[i] = anas_lower_operand(l, i);
  return anas_lower_map(l, kind, in, op->num_operands, anas_lower_result(l, 0));
}

// (x - mean) * rdev * scale + offset
static anas_status fwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  struct anas_nest *nest = map_of_operands(op, l, "norm_fwd");
  int centred = anas_nest_value(nest, "arith.subf %%i0, %%i1 : f32");
  int slope = anas_nest_value(nest, "arith.mulf %%i2, %%i3 : f32");
  int scaled = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d " ANAS_CONTRACT " : f32", centred, slope);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%v%d, %%i4 " ANAS_CONTRACT " : f32", scaled));
  return ANAS_OK;
}

static const struct anas_op_def norm_fwd = {
    .name = "norm_fwd",
    .level = ANAS_TRAINING,
    .summary = "(x - mean) * rdev * scale + offset, scale and offset by channel",
    .num_operands = 5,
    .attrs = norm_attrs,
    .num_attrs = 1,
    .shape = fwd_shape,
    .lower = fwd_lower,
};

// ---- norm_bwd_params

static anas_status bwd_params_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(check(op, 1, 2));
  int64_t groups = op->attr[GROUPS].value.i;
  out[0] = out[1] = groups ? stats_type(&op->operand[1], groups) : channel_type(&op->operand[1]);
  return ANAS_OK;
}

static anas_status bwd_params_lower(const struct anas_op *op, struct anas_lowering *l) {
  const struct anas_shape *x = &op->operand[1];
  int64_t groups = op->attr[GROUPS].value.i;
  const int columns[] = {anas_lower_result(l, 0), anas_lower_result(l, 1)};
  struct anas_column_sums sums;
  anas_column_sums_init(&sums, x, groups ? 1 : 0);
  struct anas_nest *nest = anas_column_sums_begin(&sums, l, "norm_bwd_params", columns, 2);
  anas_column_sums_whole(&sums, anas_nest_in(nest, anas_lower_operand(l, 0)));
  anas_column_sums_whole(&sums, anas_nest_in(nest, anas_lower_operand(l, 1)));
  for (int i = 2; i < 4; i++) {
    struct anas_access *access = anas_nest_in(nest, anas_lower_operand(l, i));
    if (groups) {
      anas_column_sums_kept(&sums, access);
      anas_column_sums_channel(&sums, access, x->rank - 1);
    } else {
      anas_column_sums_position(&sums, access);
    }
  }
  int centred = anas_nest_value(nest, "arith.subf %%i1, %%i2 : f32");
  int normal = anas_nest_value(nest, "arith.mulf %%v%d, %%i3 : f32", centred);
  int product = anas_nest_value(nest, "arith.mulf %%v%d, %%i0 " ANAS_CONTRACT " : f32", normal);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%v%d " ANAS_CONTRACT " : f32", product));
  anas_nest_yield(nest, 1, "%%v%d", anas_nest_value(nest, "arith.addf %%o1, %%i0 : f32"));
  anas_column_sums_end(&sums, l, columns, 2);
  return ANAS_OK;
}

static const struct anas_op_def norm_bwd_params = {
    .name = "norm_bwd_params",
    .level = ANAS_TRAINING,
    .summary =
        "sums of dy * (x - mean) * rdev and of dy, from dy, x, mean, rdev: by channel if groups = 0, otherwise by "
        "example and channel",
    .num_operands = 4,
    .num_results = 2,
    .attrs = norm_attrs,
    .num_attrs = 1,
    .shape = bwd_params_shape,
    .lower = bwd_params_lower,
};

// ---- norm_bwd_rows, norm_bwd_groups: means of g and of g * h, with g = dy * scale and h = (x - mean) * rdev

static anas_status bwd_rows_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(check(op, 1, 2));
  out[0] = out[1] = stats_type(&op->operand[1], op->attr[GROUPS].value.i);
  return ANAS_OK;
}

static anas_status bwd_rows_lower(const struct anas_op *op, struct anas_lowering *l) {
  const struct anas_shape *x = &op->operand[1];
  struct anas_shape rows = stats_type(x, 0);
  int last = x->rank - 1;
  struct anas_nest *nest = anas_lower_nest(l, "norm_bwd_rows");
  for (int d = 0; d < x->rank; d++)
    anas_nest_loop(nest, x->dim[d], d == last);
  for (int i = 0; i < 2; i++)
    anas_access_whole(anas_nest_in(nest, anas_lower_operand(l, i)), x->rank);
  for (int i = 2; i < 4; i++)
    by_stats(anas_nest_in(nest, anas_lower_operand(l, i)), &rows);
  anas_access_add(anas_nest_in(nest, anas_lower_operand(l, 4)), 0, last, 1);
  for (int k = 0; k < 2; k++)
    by_stats(anas_nest_out(nest, anas_lower_result(l, k), ANAS_FILL_ZERO), &rows);
  int share = anas_nest_f32(nest, 1 / (double)x->dim[last]);
  int part = anas_nest_value(nest, "arith.mulf %%i4, %%v%d : f32", share);
  int weighted = anas_nest_value(nest, "arith.mulf %%i0, %%v%d : f32", part);
  int centred = anas_nest_value(nest, "arith.subf %%i1, %%i2 : f32");
  int normal = anas_nest_value(nest, "arith.mulf %%v%d, %%i3 : f32", centred);
  int product = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d " ANAS_CONTRACT " : f32", weighted, normal);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%v%d : f32", weighted));
  anas_nest_yield(nest, 1, "%%v%d", anas_nest_value(nest, "arith.addf %%o1, %%v%d " ANAS_CONTRACT " : f32", product));
  return ANAS_OK;
}

static const struct anas_op_def norm_bwd_rows = {
    .name = "norm_bwd_rows",
    .level = ANAS_TRAINING,
    .summary =
        "means of dy * scale, alone and times (x - mean) * rdev, over the channels of every position, from dy, x, "
        "mean, rdev and scale",
    .num_operands = 5,
    .num_results = 2,
    .attrs = norm_attrs,
    .num_attrs = 1,
    .shape = bwd_rows_shape,
    .lower = bwd_rows_lower,
};

static const struct anas_attr_def group_attrs[] = {
    {.name = "groups", .kind = ANAS_ATTR_INT, .required = true, .doc = "groups of channels"},
    {.name = "positions", .kind = ANAS_ATTR_INT, .required = true, .doc = "of an example"},
};

static anas_status bwd_groups_shape(const struct anas_op *op, struct anas_shape *out) {
  const struct anas_shape *sums = &op->operand[0];
  struct anas_shape channels = channel_type(sums);
  ANAS_RETURN_IF_ERROR(check_groups(op, sums));
  ANAS_RETURN_IF_ERROR(check_operand(op, 1, sums));
  ANAS_RETURN_IF_ERROR(check_operand(op, 2, &channels));
  if (anas_example_elements(sums) != channels.dim[0] || op->attr[GROUPS].value.i < 1)
    return anas_fail(ANAS_INVALID, "'anas.%s' needs sums by example and channel, and at least one group",
                     op->def->name);
  out[0] = out[1] = *sums;
  return ANAS_OK;
}

static anas_status bwd_groups_lower(const struct anas_op *op, struct anas_lowering *l) {
  const struct anas_shape *x = &op->operand[0];
  int64_t groups = op->attr[GROUPS].value.i;
  int last = x->rank - 1;
  struct anas_shape by_groups = {.rank = 2, .element = ANAS_F32, .dim = {x->dim[0], groups}};
  int means[] = {anas_lower_scratch(l, &by_groups), anas_lower_scratch(l, &by_groups)};
  struct anas_nest *nest = group_nest(x, groups, l, "norm_bwd_groups", true);
  for (int k = 0; k < 2; k++)
    by_channel(x, groups, anas_nest_in(nest, anas_lower_operand(l, k)), last, false);
  struct anas_access *scale = anas_nest_in(nest, anas_lower_operand(l, 2));
  anas_access_add(scale, 0, 1, x->dim[last] / groups);
  anas_access_add(scale, 0, 2, 1);
  for (int k = 0; k < 2; k++)
    by_group(anas_nest_out(nest, means[k], ANAS_FILL_ZERO));
  double count = (double)op->attr[1].value.i * (double)(x->dim[last] / groups);
  int part = anas_nest_value(nest, "arith.mulf %%i2, %%v%d : f32", anas_nest_f32(nest, 1 / count));
  for (int k = 0; k < 2; k++) {
    int product = anas_nest_value(nest, "arith.mulf %%i%d, %%v%d " ANAS_CONTRACT " : f32", 1 - k, part);
    anas_nest_yield(nest, k, "%%v%d",
                    anas_nest_value(nest, "arith.addf %%o%d, %%v%d " ANAS_CONTRACT " : f32", k, product));
  }
  nest = group_nest(x, groups, l, "norm_bwd_spread", false);
  for (int k = 0; k < 2; k++)
    by_group(anas_nest_in(nest, means[k]));
  for (int k = 0; k < 2; k++) {
    by_channel(x, groups, anas_nest_out(nest, anas_lower_result(l, k), ANAS_NO_FILL), last, false);
    anas_nest_yield(nest, k, "%%i%d", k);
  }
  return ANAS_OK;
}

static const struct anas_op_def norm_bwd_groups = {
    .name = "norm_bwd_groups",
    .level = ANAS_TRAINING,
    .summary = "the means of norm_bwd_rows by example and group, from the sums of norm_bwd_params and scale",
    .num_operands = 3,
    .num_results = 2,
    .attrs = group_attrs,
    .num_attrs = ANAS_COUNT(group_attrs),
    .shape = bwd_groups_shape,
    .lower = bwd_groups_lower,
};

// ---- norm_bwd

static anas_status bwd_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(check(op, 1, 4));
  return anas_shape_same(op, out);
}

// rdev * (dy * scale - mean of g - (x - mean) * rdev * mean of g * h)
static anas_status bwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  struct anas_nest *nest = map_of_operands(op, l, "norm_bwd");
  int centred = anas_nest_value(nest, "arith.subf %%i1, %%i2 : f32");
  int pull = anas_nest_value(nest, "arith.mulf %%i3, %%i5 : f32");
  int along = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d " ANAS_CONTRACT " : f32", centred, pull);
  int average = anas_nest_value(nest, "arith.addf %%v%d, %%i4 " ANAS_CONTRACT " : f32", along);
  int weighted = anas_nest_value(nest, "arith.mulf %%i0, %%i6 " ANAS_CONTRACT " : f32");
  int rest = anas_nest_value(nest, "arith.subf %%v%d, %%v%d " ANAS_CONTRACT " : f32", weighted, average);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.mulf %%v%d, %%i3 : f32", rest));
  return ANAS_OK;
}

static const struct anas_op_def norm_bwd = {
    .name = "norm_bwd",
    .level = ANAS_TRAINING,
    .summary = "gradient of x, from dy, x, mean, rdev, the means of norm_bwd_rows or norm_bwd_groups, and scale",
    .num_operands = 7,
    .attrs = norm_attrs,
    .num_attrs = 1,
    .shape = bwd_shape,
    .lower = bwd_lower,
};

ANAS_OP_FAMILY(norm_train, &norm_stats, &norm_fwd, &norm_bwd_params, &norm_bwd_rows, &norm_bwd_groups, &norm_bwd);
