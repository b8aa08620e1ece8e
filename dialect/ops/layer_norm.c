// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Layer normalisation (Ba, Kiros and Hinton, 2016) and group normalisation (Wu and He, 2018), architecture level. Their
// training ops are those of norm_train.c.
#include "dialect/op_support.h"
#include "dialect/train.h"

enum { SCALE, OFFSET }; // parameters

static anas_status check_epsilon(const struct anas_op *op, int attr) {
  double epsilon = op->attr[attr].value.f;
  if (!(epsilon > 0 && epsilon < 1))
    return anas_fail(ANAS_INVALID, "attribute 'epsilon' of 'anas.%s' must lie in (0, 1), got %g", op->def->name,
                     epsilon);
  return ANAS_OK;
}

static int norm_params(const struct anas_op *op, struct anas_param *out) {
  const struct anas_shape *x = &op->operand[0];
  struct anas_shape channels = {.rank = 1, .element = ANAS_F32, .dim = {x->dim[x->rank - 1]}};
  int64_t fan = channels.dim[0];
  out[SCALE] = (struct anas_param){"scale", channels, ANAS_ONES, fan, fan, ANAS_TRAINABLE};
  out[OFFSET] = (struct anas_param){"offset", channels, ANAS_ZEROS, fan, fan, ANAS_TRAINABLE};
  return 2;
}

// Per element: one operation for the mean, two for the variance, four to centre, divide, scale and shift.
static void norm_cost(const struct anas_op *op, const struct anas_shape *result, struct anas_cost *out) {
  (void)op;
  out->flops = 7 * anas_example_elements(result);
}

// groups: 0 normalises every position over its channels (norm_train.c).
static anas_status norm_forward(struct anas_train *train, struct anas_train_op *op, int64_t groups, double epsilon) {
  struct anas_attr attrs[] = {ANAS_INT(groups), ANAS_FLOAT(epsilon)};
  MlirValue stats[2];
  ANAS_RETURN_IF_ERROR(anas_train_emit(train, "norm_stats", op->operand, 1, attrs, stats));
  op->saved[0] = op->operand[0];
  op->saved[1] = stats[0];
  op->saved[2] = stats[1];
  MlirValue in[] = {op->operand[0], stats[0], stats[1], op->param[SCALE], op->param[OFFSET]};
  return anas_train_emit(train, "norm_fwd", in, 5, attrs, &op->result);
}

static anas_status norm_backward(struct anas_train *train, struct anas_train_op *op, int64_t groups) {
  const struct anas_shape *x = &op->op->operand[0];
  int64_t channels = x->dim[x->rank - 1];
  struct anas_attr attrs[] = {ANAS_INT(groups), ANAS_INT(anas_example_elements(x) / channels)};
  MlirValue in[] = {op->grad_result, op->saved[0], op->saved[1], op->saved[2], op->param[SCALE]}, sums[2], means[2];
  ANAS_RETURN_IF_ERROR(anas_train_emit(train, "norm_bwd_params", in, 4, attrs, sums));
  op->grad_param[SCALE] = sums[0];
  op->grad_param[OFFSET] = sums[1];
  if (groups) { // they are sums by example so far
    struct anas_shape vector = {.rank = 1, .dim = {channels}};
    struct anas_attr shape[] = {anas_attr_extents(&vector)};
    ANAS_RETURN_IF_ERROR(anas_train_emit(train, "sum_to", &sums[0], 1, shape, &op->grad_param[SCALE]));
    ANAS_RETURN_IF_ERROR(anas_train_emit(train, "sum_to", &sums[1], 1, shape, &op->grad_param[OFFSET]));
  }
  if (!op->need_operand[0]) return ANAS_OK;
  MlirValue by_group[] = {sums[0], sums[1], op->param[SCALE]};
  ANAS_RETURN_IF_ERROR(groups ? anas_train_emit(train, "norm_bwd_groups", by_group, 3, attrs, means)
                              : anas_train_emit(train, "norm_bwd_rows", in, 5, attrs, means));
  MlirValue all[] = {in[0], in[1], in[2], in[3], means[0], means[1], op->param[SCALE]};
  return anas_train_emit(train, "norm_bwd", all, 7, attrs, &op->grad_operand[0]);
}

// A single value is its own mean: the result would be the offset, whatever comes in.
static anas_status check_normalised(const struct anas_op *op, int64_t values) {
  char text[128];
  if (values == 1)
    return anas_fail(ANAS_INVALID,
                     "'anas.%s' would normalise every value of tensor<%s> by itself, which leaves nothing of it; "
                     "normalise over more channels",
                     op->def->name, anas_shape_text(&op->operand[0], text));
  return ANAS_OK;
}

// ---- layer_norm

enum { LAYER_EPSILON, NUM_LAYER_ATTRS };

static const struct anas_attr_def layer_norm_attrs[NUM_LAYER_ATTRS] = {
    [LAYER_EPSILON] = {.name = "epsilon",
                       .kind = ANAS_ATTR_FLOAT,
                       .fallback = ANAS_FLOAT(1e-6),
                       .doc = "added to the variance"},
};

static anas_status layer_norm_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(anas_check_tensor(op, 2));
  ANAS_RETURN_IF_ERROR(check_epsilon(op, LAYER_EPSILON));
  ANAS_RETURN_IF_ERROR(check_normalised(op, op->operand[0].dim[op->operand[0].rank - 1]));
  return anas_shape_same(op, out);
}

static void layer_norm_deps(const struct anas_op *op, int which, const struct anas_shape *result,
                            struct anas_dep *out) {
  (void)which;
  (void)op;
  int last = result->rank - 1;
  for (int i = 0; i < last; i++)
    out[i] = anas_dep_same(i);
  out[last] = (struct anas_dep){.kind = ANAS_DEP_ALL, .out_dim = last};
}

static anas_status layer_norm_forward(struct anas_train *train, struct anas_train_op *op) {
  return norm_forward(train, op, 0, op->op->attr[LAYER_EPSILON].value.f);
}

static anas_status layer_norm_backward(struct anas_train *train, struct anas_train_op *op) {
  return norm_backward(train, op, 0);
}

static const struct anas_sample layer_norm_samples[] = {
    {{"3x17xf32"}, "{}", "3x17xf32"},
    {{"2x5x6xf32"}, "{epsilon = 1.0e-3 : f32}", "2x5x6xf32"},
    {{"2x3x2x7xf32"}, "{}", "2x3x2x7xf32"},
};

static const struct anas_op_def layer_norm = {
    .name = "layer_norm",
    .summary = "normalisation of every position over its features",
    .description =
        "`y = (x - mean) / sqrt(variance + epsilon) * scale + offset`, mean and variance taken over the last "
        "dimension, which has two values at least, separately for every example and position. Parameters: `scale`, "
        "`offset` (channels each).",
    .order = 18,
    .num_operands = 1,
    .attrs = layer_norm_attrs,
    .num_attrs = NUM_LAYER_ATTRS,
    .linearity = ANAS_LINEAR,
    .synthesizable = true,
    .onnx = "LayerNormalization",
    .samples = layer_norm_samples,
    .num_samples = ANAS_COUNT(layer_norm_samples),
    .shape = layer_norm_shape,
    .deps = layer_norm_deps,
    .params = norm_params,
    .cost = norm_cost,
    .forward = layer_norm_forward,
    .backward = layer_norm_backward,
};

// ---- group_norm

enum { NUM_GROUPS, GROUP_SIZE, GROUP_EPSILON, NUM_GROUP_ATTRS };

#define COUNT(n)                                                                                                       \
  {                                                                                                                    \
    .present = true, .value.dim = {.constant = (n) }                                                                   \
  }
#define CHANNELS_BY(n)                                                                                                 \
  {                                                                                                                    \
    .present = true, .value.dim = {.relative = true, .axis = -1, .div = (n), .mul = 1 }                                \
  }
static const struct anas_attr group_values[] = {COUNT(1),  COUNT(2),       COUNT(4),       COUNT(16),
                                                COUNT(64), CHANNELS_BY(4), CHANNELS_BY(2), CHANNELS_BY(1)};

static const struct anas_attr_def group_norm_attrs[NUM_GROUP_ATTRS] = {
    [NUM_GROUPS] = {.name = "num_groups",
                    .kind = ANAS_ATTR_DIM,
                    .test_set = group_values,
                    .num_test = 1,
                    .full_set = group_values,
                    .num_full = ANAS_COUNT(group_values),
                    .doc = "groups of channels; absent: what group_size says, or 32"},
    [GROUP_SIZE] = {.name = "group_size", .kind = ANAS_ATTR_DIM, .doc = "channels of a group, instead of num_groups"},
    [GROUP_EPSILON] = {.name = "epsilon",
                       .kind = ANAS_ATTR_FLOAT,
                       .fallback = ANAS_FLOAT(1e-6),
                       .doc = "added to the variance"},
};

static anas_status group_count(const struct anas_op *op, int64_t *out_groups) {
  const struct anas_shape *x = &op->operand[0];
  const struct anas_attr *number = &op->attr[NUM_GROUPS], *size = &op->attr[GROUP_SIZE];
  int64_t channels = x->dim[x->rank - 1];
  char text[128];
  if (number->present && size->present)
    return anas_fail(ANAS_INVALID, "'anas.%s' takes num_groups or group_size, not both", op->def->name);
  int64_t divisor = size->present ? size->value.dim.constant : number->present ? number->value.dim.constant : 32;
  if (divisor < 1 || channels % divisor)
    return anas_fail(ANAS_INVALID,
                     "'anas.%s' cannot cut the %lld channels of tensor<%s> into %s%lld%s; give a num_groups or "
                     "group_size that divides them",
                     op->def->name, (long long)channels, anas_shape_text(x, text), size->present ? "groups of " : "",
                     (long long)divisor, size->present ? "" : " groups");
  *out_groups = size->present ? channels / divisor : divisor;
  return ANAS_OK;
}

static anas_status group_norm_shape(const struct anas_op *op, struct anas_shape *out) {
  int64_t groups;
  ANAS_RETURN_IF_ERROR(anas_check_tensor(op, 2));
  ANAS_RETURN_IF_ERROR(group_count(op, &groups));
  ANAS_RETURN_IF_ERROR(check_epsilon(op, GROUP_EPSILON));
  const struct anas_shape *x = &op->operand[0];
  int64_t values = x->dim[x->rank - 1] / groups;
  for (int i = 1; i < x->rank - 1; i++)
    values *= x->dim[i];
  ANAS_RETURN_IF_ERROR(check_normalised(op, values));
  return anas_shape_same(op, out);
}

static void group_norm_deps(const struct anas_op *op, int which, const struct anas_shape *result,
                            struct anas_dep *out) {
  (void)which;
  int64_t groups;
  if (group_count(op, &groups) != ANAS_OK) return; // callers pass well-typed instances
  int last = result->rank - 1;
  int64_t size = result->dim[last] / groups;
  out[0] = anas_dep_same(0);
  for (int i = 1; i < last; i++)
    out[i] = (struct anas_dep){.kind = ANAS_DEP_ALL, .out_dim = i};
  out[last] = (struct anas_dep){.kind = ANAS_DEP_GROUP, .out_dim = last, .out_group = size, .in_group = size};
}

static anas_status group_norm_forward(struct anas_train *train, struct anas_train_op *op) {
  int64_t groups;
  ANAS_RETURN_IF_ERROR(group_count(op->op, &groups));
  return norm_forward(train, op, groups, op->op->attr[GROUP_EPSILON].value.f);
}

static anas_status group_norm_backward(struct anas_train *train, struct anas_train_op *op) {
  int64_t groups;
  ANAS_RETURN_IF_ERROR(group_count(op->op, &groups));
  return norm_backward(train, op, groups);
}

static const struct anas_sample group_norm_samples[] = {
    {{"2x3x4x6xf32"}, "{num_groups = 2 : i64}", "2x3x4x6xf32"},
    {{"2x3x3x5xf32"}, "{num_groups = 1 : i64, epsilon = 1.0e-3 : f32}", "2x3x3x5xf32"},
    {{"2x5x8xf32"}, "{group_size = affine_map<(n, w, c) -> (c floordiv 4)>}", "2x5x8xf32"},
    {{"2x64xf32"}, "{}", "2x64xf32"},
};

static const struct anas_op_def group_norm = {
    .name = "group_norm",
    .summary = "normalisation over the spatial dimensions and a group of channels",
    .description =
        "`y = (x - mean) / sqrt(variance + epsilon) * scale + offset`, mean and variance taken over all spatial "
        "dimensions and the channels of one group, separately for every example. The number of groups must divide the "
        "channels; two values at least are normalised together. Parameters: `scale`, `offset` (channels each).",
    .order = 19,
    .num_operands = 1,
    .attrs = group_norm_attrs,
    .num_attrs = NUM_GROUP_ATTRS,
    .linearity = ANAS_LINEAR,
    .synthesizable = true,
    .onnx = "GroupNormalization",
    .samples = group_norm_samples,
    .num_samples = ANAS_COUNT(group_norm_samples),
    .shape = group_norm_shape,
    .deps = group_norm_deps,
    .params = norm_params,
    .cost = norm_cost,
    .forward = group_norm_forward,
    .backward = group_norm_backward,
};

ANAS_OP_FAMILY(layer_norm, &layer_norm, &group_norm);
