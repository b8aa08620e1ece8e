// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Training ops of layer and group normalisation. Elements that share a mean form a row: with groups = 0 the channels of
// one position, otherwise all positions of an example times the channels of one of its groups.
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

// Loops 0 .. rank-2 are the dimensions before the channels; then the group, if there are several, and the channel in
// it.
struct norm {
  const struct anas_shape *x;
  int64_t groups, size; // size: channels of a group, or all
  int rank, group, channel;
};

static struct norm norm_of(const struct anas_op *op, int operand) {
  struct norm n = {.x = &op->operand[operand], .groups = op->attr[GROUPS].value.i};
  int64_t cut = n.groups > 1 ? n.groups : 1;
  n.rank = n.x->rank;
  n.size = n.x->dim[n.rank - 1] / cut;
  n.group = n.groups > 1 ? n.rank - 1 : -1;
  n.channel = n.groups > 1 ? n.rank : n.rank - 1;
  return n;
}

static struct anas_shape row_shape(const struct norm *n) {
  struct anas_shape rows = *n->x;
  if (n->groups)
    rows = (struct anas_shape){.rank = 2, .element = ANAS_F32, .dim = {n->x->dim[0], n->groups}};
  else
    rows.rank--;
  return rows;
}

static double population(const struct norm *n) {
  struct anas_shape rows = row_shape(n);
  return (double)anas_shape_elements(n->x) / (double)anas_shape_elements(&rows);
}

static struct anas_shape channel_shape(const struct norm *n) {
  return (struct anas_shape){.rank = 1, .element = ANAS_F32, .dim = {n->x->dim[n->rank - 1]}};
}

enum reduce { NOTHING, INTO_ROWS, INTO_CHANNELS };

static struct anas_nest *norm_nest(const struct norm *n, struct anas_lowering *l, const char *kind,
                                   enum reduce reduce) {
  struct anas_nest *nest = anas_lower_nest(l, kind);
  for (int d = 0; d < n->rank - 1; d++)
    anas_nest_loop(nest, n->x->dim[d], reduce == INTO_CHANNELS || (reduce == INTO_ROWS && n->groups && d > 0));
  if (n->group >= 0) anas_nest_loop(nest, n->groups, false);
  anas_nest_loop(nest, n->size, reduce == INTO_ROWS);
  return nest;
}

static void whole(const struct norm *n, struct anas_access *access) {
  for (int d = 0; d < n->rank - 1; d++)
    anas_access_add(access, d, d, 1);
  if (n->group >= 0) anas_access_add(access, n->rank - 1, n->group, n->size);
  anas_access_add(access, n->rank - 1, n->channel, 1);
}

static void row(const struct norm *n, struct anas_access *access) {
  for (int d = 0; d < (n->groups ? 1 : n->rank - 1); d++)
    anas_access_add(access, d, d, 1);
  if (n->group >= 0) anas_access_add(access, 1, n->group, 1);
}

static void channel(const struct norm *n, struct anas_access *access) {
  if (n->group >= 0) anas_access_add(access, 0, n->group, n->size);
  anas_access_add(access, 0, n->channel, 1);
}

// The first element of every row: sums are taken of differences from it, so that a mean that is large against the
// deviation costs no digits of the variance.
static void pivot(const struct norm *n, struct anas_access *access) {
  for (int d = 0; d < (n->groups ? 1 : n->rank - 1); d++)
    anas_access_add(access, d, d, 1);
  if (n->group >= 0) anas_access_add(access, n->rank - 1, n->group, n->size);
}

static anas_status check_operand(const struct anas_op *op, int which, const struct anas_shape *expected) {
  char a[128], b[128];
  if (!anas_shape_equal(&op->operand[which], expected))
    return anas_fail(ANAS_INVALID, "operand %d of 'anas.%s' must be tensor<%s>, got tensor<%s>", which, op->def->name,
                     anas_shape_text(expected, a), anas_shape_text(&op->operand[which], b));
  return ANAS_OK;
}

// x: the operand that is normalised; rows and channels: the first operands of those types, -1: none.
static anas_status check(const struct anas_op *op, int x, int rows, int channels) {
  struct anas_op view = *op; // the helpers look at operand 0
  view.operand[0] = op->operand[x];
  ANAS_RETURN_IF_ERROR(anas_check_tensor(&view, 2));
  int64_t groups = op->attr[GROUPS].value.i, last = op->operand[x].dim[op->operand[x].rank - 1];
  if (groups < 0 || (groups && last % groups))
    return anas_fail(ANAS_INVALID, "'anas.%s' cannot cut %lld channels into %lld groups", op->def->name,
                     (long long)last, (long long)groups);
  struct norm n = norm_of(op, x);
  struct anas_shape row_type = row_shape(&n), channel_type = channel_shape(&n);
  for (int i = rows; rows >= 0 && i < rows + 2; i++)
    ANAS_RETURN_IF_ERROR(check_operand(op, i, &row_type));
  for (int i = channels; channels >= 0 && i < op->num_operands; i++)
    ANAS_RETURN_IF_ERROR(check_operand(op, i, &channel_type));
  return ANAS_OK;
}

// ---- norm_stats

static anas_status stats_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(check(op, 0, -1, -1));
  struct norm n = norm_of(op, 0);
  out[0] = out[1] = row_shape(&n);
  return ANAS_OK;
}

static anas_status stats_lower(const struct anas_op *op, struct anas_lowering *l) {
  struct norm n = norm_of(op, 0);
  struct anas_shape rows = row_shape(&n);
  int x = anas_lower_operand(l, 0), sum = anas_lower_scratch(l, &rows), squares = anas_lower_scratch(l, &rows);
  struct anas_nest *nest = norm_nest(&n, l, "norm_sums", INTO_ROWS);
  whole(&n, anas_nest_in(nest, x));
  pivot(&n, anas_nest_in(nest, x));
  row(&n, anas_nest_out(nest, sum, ANAS_FILL_ZERO));
  row(&n, anas_nest_out(nest, squares, ANAS_FILL_ZERO));
  int d = anas_nest_value(nest, "arith.subf %%i0, %%i1 : f32");
  int dd = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d " ANAS_CONTRACT " : f32", d, d);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%v%d : f32", d));
  anas_nest_yield(nest, 1, "%%v%d", anas_nest_value(nest, "arith.addf %%o1, %%v%d " ANAS_CONTRACT " : f32", dd));

  nest = anas_lower_nest(l, "norm_stats");
  anas_nest_loops(nest, &rows);
  anas_access_whole(anas_nest_in(nest, sum), rows.rank);
  anas_access_whole(anas_nest_in(nest, squares), rows.rank);
  struct anas_access *first = anas_nest_in(nest, x);
  for (int i = 0; i < rows.rank; i++) // rows of groups: (example, group)
    anas_access_add(first, n.groups && i == 1 ? n.rank - 1 : i, i, n.groups && i == 1 ? n.size : 1);
  for (int i = 0; i < 2; i++)
    anas_access_whole(anas_nest_out(nest, anas_lower_result(l, i), ANAS_NO_FILL), rows.rank);
  int share = anas_nest_f32(nest, 1 / population(&n)), zero = anas_nest_f32(nest, 0), one = anas_nest_f32(nest, 1);
  int epsilon = anas_nest_f32(nest, op->attr[EPSILON].value.f);
  int shift = anas_nest_value(nest, "arith.mulf %%i0, %%v%d : f32", share);
  int moment = anas_nest_value(nest, "arith.mulf %%i1, %%v%d : f32", share);
  int square = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d : f32", shift, shift);
  int raw = anas_nest_value(nest, "arith.subf %%v%d, %%v%d : f32", moment, square);
  int variance = anas_nest_value(nest, "arith.maxnumf %%v%d, %%v%d : f32", raw, zero);
  int safe = anas_nest_value(nest, "arith.addf %%v%d, %%v%d : f32", variance, epsilon);
  int deviation = anas_nest_value(nest, "math.sqrt %%v%d : f32", safe);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%i2, %%v%d : f32", shift));
  anas_nest_yield(nest, 1, "%%v%d", anas_nest_value(nest, "arith.divf %%v%d, %%v%d : f32", one, deviation));
  return ANAS_OK;
}

static const struct anas_op_def norm_stats = {
    .name = "norm_stats",
    .level = ANAS_TRAINING,
    .summary = "mean and 1 / sqrt(variance + epsilon) of every row",
    .num_operands = 1,
    .num_results = 2,
    .attrs = norm_attrs,
    .num_attrs = ANAS_COUNT(norm_attrs),
    .shape = stats_shape,
    .lower = stats_lower,
};

// ---- norm_fwd

static anas_status fwd_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(check(op, 0, 1, 3));
  return anas_shape_same(op, out);
}

// (x - mean) * rdev * scale + offset
static anas_status fwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  struct norm n = norm_of(op, 0);
  struct anas_nest *nest = norm_nest(&n, l, "norm_fwd", NOTHING);
  whole(&n, anas_nest_in(nest, anas_lower_operand(l, 0)));
  row(&n, anas_nest_in(nest, anas_lower_operand(l, 1)));
  row(&n, anas_nest_in(nest, anas_lower_operand(l, 2)));
  channel(&n, anas_nest_in(nest, anas_lower_operand(l, 3)));
  channel(&n, anas_nest_in(nest, anas_lower_operand(l, 4)));
  whole(&n, anas_nest_out(nest, anas_lower_result(l, 0), ANAS_NO_FILL));
  int centred = anas_nest_value(nest, "arith.subf %%i0, %%i1 : f32");
  int slope = anas_nest_value(nest, "arith.mulf %%i2, %%i3 : f32");
  int scaled = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d " ANAS_CONTRACT " : f32", centred, slope);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%v%d, %%i4 " ANAS_CONTRACT " : f32", scaled));
  return ANAS_OK;
}

static const struct anas_op_def norm_fwd = {
    .name = "norm_fwd",
    .level = ANAS_TRAINING,
    .summary = "(x - mean) * rdev * scale + offset, mean and rdev by row, scale and offset by channel",
    .num_operands = 5,
    .attrs = norm_attrs,
    .num_attrs = ANAS_COUNT(norm_attrs),
    .shape = fwd_shape,
    .lower = fwd_lower,
};

// ---- norm_bwd_params

static anas_status bwd_params_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(check(op, 1, 2, -1));
  ANAS_RETURN_IF_ERROR(check_operand(op, 0, &op->operand[1]));
  struct norm n = norm_of(op, 1);
  out[0] = out[1] = channel_shape(&n);
  return ANAS_OK;
}

static anas_status bwd_params_lower(const struct anas_op *op, struct anas_lowering *l) {
  struct norm n = norm_of(op, 1);
  struct anas_nest *nest = norm_nest(&n, l, "norm_bwd_params", INTO_CHANNELS);
  whole(&n, anas_nest_in(nest, anas_lower_operand(l, 0)));
  whole(&n, anas_nest_in(nest, anas_lower_operand(l, 1)));
  row(&n, anas_nest_in(nest, anas_lower_operand(l, 2)));
  row(&n, anas_nest_in(nest, anas_lower_operand(l, 3)));
  channel(&n, anas_nest_out(nest, anas_lower_result(l, 0), ANAS_FILL_ZERO));
  channel(&n, anas_nest_out(nest, anas_lower_result(l, 1), ANAS_FILL_ZERO));
  int centred = anas_nest_value(nest, "arith.subf %%i1, %%i2 : f32");
  int normal = anas_nest_value(nest, "arith.mulf %%v%d, %%i3 : f32", centred);
  int product = anas_nest_value(nest, "arith.mulf %%v%d, %%i0 " ANAS_CONTRACT " : f32", normal);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%v%d " ANAS_CONTRACT " : f32", product));
  anas_nest_yield(nest, 1, "%%v%d", anas_nest_value(nest, "arith.addf %%o1, %%i0 : f32"));
  return ANAS_OK;
}

static const struct anas_op_def norm_bwd_params = {
    .name = "norm_bwd_params",
    .level = ANAS_TRAINING,
    .summary = "gradients of scale and offset, from dy, x, mean, rdev",
    .num_operands = 4,
    .num_results = 2,
    .attrs = norm_attrs,
    .num_attrs = 1,
    .shape = bwd_params_shape,
    .lower = bwd_params_lower,
};

// ---- norm_bwd

static anas_status bwd_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(check(op, 1, 2, 4));
  ANAS_RETURN_IF_ERROR(check_operand(op, 0, &op->operand[1]));
  return anas_shape_same(op, out);
}

// dy * scale and (x - mean) * rdev of a nest whose inputs are those of the op.
static void weighted_and_normal(struct anas_nest *nest, int *out_weighted, int *out_normal) {
  *out_weighted = anas_nest_value(nest, "arith.mulf %%i0, %%i4 : f32");
  int centred = anas_nest_value(nest, "arith.subf %%i1, %%i2 : f32");
  *out_normal = anas_nest_value(nest, "arith.mulf %%v%d, %%i3 : f32", centred);
}

static struct anas_nest *bwd_nest(const struct norm *n, struct anas_lowering *l, const char *kind, enum reduce reduce) {
  struct anas_nest *nest = norm_nest(n, l, kind, reduce);
  for (int i = 0; i < 2; i++)
    whole(n, anas_nest_in(nest, anas_lower_operand(l, i)));
  for (int i = 2; i < 4; i++)
    row(n, anas_nest_in(nest, anas_lower_operand(l, i)));
  channel(n, anas_nest_in(nest, anas_lower_operand(l, 4)));
  return nest;
}

// With g = dy * scale and h = (x - mean) * rdev: rdev * (g - mean of g - h * mean of g * h), means over the row.
static anas_status bwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  struct norm n = norm_of(op, 1);
  struct anas_shape rows = row_shape(&n);
  int plain = anas_lower_scratch(l, &rows), along = anas_lower_scratch(l, &rows), weighted, normal;
  struct anas_nest *nest = bwd_nest(&n, l, "norm_bwd_sums", INTO_ROWS);
  row(&n, anas_nest_out(nest, plain, ANAS_FILL_ZERO));
  row(&n, anas_nest_out(nest, along, ANAS_FILL_ZERO));
  weighted_and_normal(nest, &weighted, &normal);
  int product = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d " ANAS_CONTRACT " : f32", weighted, normal);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%v%d : f32", weighted));
  anas_nest_yield(nest, 1, "%%v%d", anas_nest_value(nest, "arith.addf %%o1, %%v%d " ANAS_CONTRACT " : f32", product));

  nest = bwd_nest(&n, l, "norm_bwd", NOTHING);
  row(&n, anas_nest_in(nest, plain));
  row(&n, anas_nest_in(nest, along));
  whole(&n, anas_nest_out(nest, anas_lower_result(l, 0), ANAS_NO_FILL));
  weighted_and_normal(nest, &weighted, &normal);
  int share = anas_nest_f32(nest, 1 / population(&n));
  int pull = anas_nest_value(nest, "arith.mulf %%v%d, %%i6 " ANAS_CONTRACT " : f32", normal);
  int sum = anas_nest_value(nest, "arith.addf %%v%d, %%i5 " ANAS_CONTRACT " : f32", pull);
  int average = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d " ANAS_CONTRACT " : f32", sum, share);
  int rest = anas_nest_value(nest, "arith.subf %%v%d, %%v%d " ANAS_CONTRACT " : f32", weighted, average);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.mulf %%v%d, %%i3 : f32", rest));
  return ANAS_OK;
}

static const struct anas_op_def norm_bwd = {
    .name = "norm_bwd",
    .level = ANAS_TRAINING,
    .summary = "gradient of x, from dy, x, mean, rdev and scale",
    .num_operands = 5,
    .attrs = norm_attrs,
    .num_attrs = 1,
    .shape = bwd_shape,
    .lower = bwd_lower,
};

ANAS_OP_FAMILY(norm_train, &norm_stats, &norm_fwd, &norm_bwd_params, &norm_bwd);
