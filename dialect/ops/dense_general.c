// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Dense layer over any dimensions of the operand, to any number of feature dimensions.
#include "dialect/op_support.h"
#include "dialect/ops/contract.h"
#include "dialect/ops/contraction.h"

enum { FEATURES, AXIS, BATCH_DIMS, USE_BIAS, KERNEL_INIT, BIAS_INIT, NUM_ATTRS };

static const struct anas_attr_def general_attrs[NUM_ATTRS] = {
    [FEATURES] = {.name = "features",
                  .kind = ANAS_ATTR_DIMS,
                  .required = true,
                  .doc = "extents that take the place of the contracted dimensions, at the end"},
    [AXIS] = {.name = "axis",
              .kind = ANAS_ATTR_INTS,
              .list = true,
              .fallback = ANAS_INTS1(-1),
              .doc = "dimensions to contract; negative values count from the end"},
    [BATCH_DIMS] = {.name = "batch_dims",
                    .kind = ANAS_ATTR_INTS,
                    .list = true,
                    .doc = "dimensions with a kernel of their own for every position"},
    [USE_BIAS] = ANAS_USE_BIAS_ATTR("every feature"),
    [KERNEL_INIT] = ANAS_KERNEL_INIT_ATTR("kernel"),
    [BIAS_INIT] = ANAS_BIAS_INIT_ATTR("bias"),
};

// Dimensions of the operand by role, and the shapes of the parameters.
struct layout {
  int num_axes, axis[ANAS_MAX_RANK], num_batch, batch[ANAS_MAX_RANK];
  bool contracted[ANAS_MAX_RANK], parallel[ANAS_MAX_RANK];
  struct anas_shape kernel, bias; // (batch..., axes..., features...), (batch..., features...)
  struct anas_shape wide_bias;    // the bias as it broadcasts to the result: extents of 1 for the other dimensions
  int64_t inputs, outputs;        // products of the contracted extents and of the features
};

static anas_status read_axes(const struct anas_op *op, int attr, const bool *taken, bool *out_used, int *out,
                             int *out_num) {
  const struct anas_ints *list = &op->attr[attr].value.ints;
  const char *name = op->def->attrs[attr].name;
  int num = op->attr[attr].present ? list->count : 0;
  for (int i = 0; i < num; i++) {
    ANAS_RETURN_IF_ERROR(anas_check_axis(op, name, list->value[i], &out[i]));
    if (out[i] == 0)
      return anas_fail(ANAS_INVALID, "attribute '%s' of 'anas.%s' names dimension 0, the batch", name, op->def->name);
    if (taken[out[i]] || out_used[out[i]])
      return anas_fail(ANAS_INVALID, "attribute '%s' of 'anas.%s' names dimension %d, which is named before", name,
                       op->def->name, out[i]);
    out_used[out[i]] = true;
  }
  *out_num = num;
  return ANAS_OK;
}

static anas_status append(const struct anas_op *op, struct anas_shape *shape, int64_t extent) {
  if (shape->rank == ANAS_MAX_RANK)
    return anas_fail(ANAS_INVALID, "the kernel or the result of 'anas.%s' would have more than %d dimensions",
                     op->def->name, ANAS_MAX_RANK);
  shape->element = ANAS_F32;
  shape->dim[shape->rank++] = extent;
  return ANAS_OK;
}

static anas_status read_layout(const struct anas_op *op, struct layout *out) {
  struct layout layout = {.inputs = 1, .outputs = 1};
  const struct anas_shape *x = &op->operand[0];
  const struct anas_ints *features = &op->attr[FEATURES].value.ints;
  static const bool none[ANAS_MAX_RANK];
  ANAS_RETURN_IF_ERROR(anas_check_tensor(op, 2));
  ANAS_RETURN_IF_ERROR(read_axes(op, AXIS, none, layout.contracted, layout.axis, &layout.num_axes));
  ANAS_RETURN_IF_ERROR(read_axes(op, BATCH_DIMS, layout.contracted, layout.parallel, layout.batch, &layout.num_batch));
  for (int i = 0; i < layout.num_batch; i++) {
    ANAS_RETURN_IF_ERROR(append(op, &layout.kernel, x->dim[layout.batch[i]]));
    ANAS_RETURN_IF_ERROR(append(op, &layout.bias, x->dim[layout.batch[i]]));
    if (i && layout.batch[i] < layout.batch[i - 1])
      return anas_fail(ANAS_INVALID, "the entries of attribute 'batch_dims' of 'anas.%s' must rise", op->def->name);
  }
  for (int i = 0; i < layout.num_axes; i++) {
    ANAS_RETURN_IF_ERROR(append(op, &layout.kernel, x->dim[layout.axis[i]]));
    layout.inputs *= x->dim[layout.axis[i]];
  }
  for (int d = 0; d < x->rank; d++)
    if (!layout.contracted[d] && (layout.wide_bias.rank || layout.parallel[d]))
      ANAS_RETURN_IF_ERROR(append(op, &layout.wide_bias, layout.parallel[d] ? x->dim[d] : 1));
  for (int i = 0; i < features->count; i++) {
    int64_t extent = features->value[i];
    if (extent < 1 || extent > ANAS_MAX_FEATURES || extent > ANAS_MAX_EXAMPLE_ELEMENTS / layout.outputs)
      return anas_fail(ANAS_INVALID,
                       "entry %d of attribute 'features' of 'anas.%s' must be an extent between 1 and %d, and all "
                       "features together fewer than 2^31, got %lld",
                       i, op->def->name, ANAS_MAX_FEATURES, (long long)extent);
    layout.outputs *= extent;
    ANAS_RETURN_IF_ERROR(append(op, &layout.kernel, extent));
    ANAS_RETURN_IF_ERROR(append(op, &layout.bias, extent));
    ANAS_RETURN_IF_ERROR(append(op, &layout.wide_bias, extent));
  }
  *out = layout;
  return ANAS_OK;
}

// operand, kernel -> result: what is not contracted keeps its place, features come last. *out_op has the kernel as
// operand 1.
static anas_status bind(const struct anas_op *op, const struct layout *layout, struct anas_equation *out) {
  struct anas_op pair = *op;
  char text[ANAS_MAX_TEXT];
  int rank = op->operand[0].rank, features = op->attr[FEATURES].value.ints.count, length = 0;
  pair.num_operands = 2;
  pair.operand[1] = layout->kernel;
  for (int d = 0; d < rank; d++)
    text[length++] = (char)('a' + d);
  text[length++] = ',';
  for (int i = 0; i < layout->num_batch; i++)
    text[length++] = (char)('a' + layout->batch[i]);
  for (int i = 0; i < layout->num_axes; i++)
    text[length++] = (char)('a' + layout->axis[i]);
  for (int i = 0; i < features; i++)
    text[length++] = (char)('A' + i);
  text[length++] = '-';
  text[length++] = '>';
  for (int d = 0; d < rank; d++)
    if (!layout->contracted[d]) text[length++] = (char)('a' + d);
  for (int i = 0; i < features; i++)
    text[length++] = (char)('A' + i);
  text[length] = 0;
  return anas_equation_bind(&pair, text, NULL, out);
}

static anas_status analyse(const struct anas_op *op, struct layout *out_layout, struct anas_equation *out) {
  ANAS_RETURN_IF_ERROR(read_layout(op, out_layout));
  return bind(op, out_layout, out);
}

static anas_status general_shape(const struct anas_op *op, struct anas_shape *out) {
  struct layout layout;
  struct anas_equation equation;
  ANAS_RETURN_IF_ERROR(analyse(op, &layout, &equation));
  out[0] = anas_equation_result(&equation);
  return ANAS_OK;
}

static void general_deps(const struct anas_op *op, int which, const struct anas_shape *result, struct anas_dep *out) {
  struct layout layout;
  struct anas_equation equation;
  (void)result;
  if (analyse(op, &layout, &equation) == ANAS_OK) anas_equation_deps(&equation, which, out);
}

static int general_params(const struct anas_op *op, struct anas_param *out) {
  struct layout layout;
  if (read_layout(op, &layout) != ANAS_OK) return 0; // callers pass well-typed instances
  out[0] = (struct anas_param){.name = "kernel",
                               .shape = layout.kernel,
                               .init = op->attr[KERNEL_INIT].value.init,
                               .fan_in = layout.inputs,
                               .fan_out = layout.outputs};
  if (!op->attr[USE_BIAS].value.b) return 1;
  out[1] = (struct anas_param){.name = "bias",
                               .shape = layout.bias,
                               .init = op->attr[BIAS_INIT].value.init,
                               .fan_in = layout.inputs,
                               .fan_out = layout.outputs};
  return 2;
}

static void general_cost(const struct anas_op *op, const struct anas_shape *result, struct anas_cost *out) {
  struct layout layout;
  struct anas_equation equation;
  if (analyse(op, &layout, &equation) != ANAS_OK) return;
  out->macs = anas_equation_macs(&equation);
  out->flops = 2 * out->macs + (op->attr[USE_BIAS].value.b ? anas_example_elements(result) : 0);
}

static anas_status emit_view(struct anas_train *train, const struct anas_shape *shape, MlirValue value,
                             MlirValue *out) {
  struct anas_attr attrs[] = {anas_attr_extents(shape)};
  return anas_train_emit(train, "view", &value, 1, attrs, out);
}

static anas_status general_forward(struct anas_train *train, struct anas_train_op *op) {
  struct layout layout;
  struct anas_equation equation;
  MlirValue bias = {0};
  ANAS_RETURN_IF_ERROR(analyse(op->op, &layout, &equation));
  if (op->op->attr[USE_BIAS].value.b) {
    bias = op->param[1];
    if (!anas_shape_equal(&layout.bias, &layout.wide_bias))
      ANAS_RETURN_IF_ERROR(emit_view(train, &layout.wide_bias, bias, &bias));
  }
  return anas_emit_contraction(train, &equation, 0, op->operand[0], 1, op->param[0], bias, ANAS_EQUATION_RESULT,
                               &op->result);
}

static anas_status general_backward(struct anas_train *train, struct anas_train_op *op) {
  struct layout layout;
  struct anas_equation equation;
  ANAS_RETURN_IF_ERROR(analyse(op->op, &layout, &equation));
  if (op->need_operand[0])
    ANAS_RETURN_IF_ERROR(anas_emit_contraction(train, &equation, ANAS_EQUATION_RESULT, op->grad_result, 1, op->param[0],
                                               (MlirValue){0}, 0, &op->grad_operand[0]));
  ANAS_RETURN_IF_ERROR(anas_emit_contraction(train, &equation, 0, op->operand[0], ANAS_EQUATION_RESULT, op->grad_result,
                                             (MlirValue){0}, 1, &op->grad_param[0]));
  if (!op->op->attr[USE_BIAS].value.b) return ANAS_OK;
  struct anas_attr attrs[] = {anas_attr_extents(&layout.wide_bias)};
  ANAS_RETURN_IF_ERROR(anas_train_emit(train, "sum_to", &op->grad_result, 1, attrs, &op->grad_param[1]));
  if (anas_shape_equal(&layout.bias, &layout.wide_bias)) return ANAS_OK;
  return emit_view(train, &layout.bias, op->grad_param[1], &op->grad_param[1]);
}

static const struct anas_sample general_samples[] = {
    {{"3x17xf32"}, "{features = [5]}", "3x5xf32"},
    {{"2x5x6xf32"}, "{features = [3, \"S:-1%3\"]}", "2x5x3x2xf32"},
    {{"2x5x3x4xf32"}, "{features = 7 : i64, axis = array<i64: -2, -1>}", "2x5x7xf32"},
    {{"2x5x3x4xf32"}, "{features = [2, 3], axis = array<i64: 1>, use_bias = false}", "2x3x4x2x3xf32"},
    {{"2x3x5x4xf32"}, "{features = [7], batch_dims = array<i64: 1>}", "2x3x5x7xf32"},
    {{"2x3x5x2xf32"}, "{features = [4], axis = array<i64: 2>, batch_dims = array<i64: 1, 3>}", "2x3x2x4xf32"},
};

static const struct anas_op_def dense_general = {
    .name = "dense_general",
    .summary = "matrix product over any dimensions, to any number of features",
    .description = "Sums over the dimensions in `axis`; the others keep their places and `features`, one or several "
                   "extents, follow. Dimensions in `batch_dims` stay and have a kernel for every position. Parameters: "
                   "`kernel` (batch dims, axes, features) and, unless `use_bias = false`, `bias` (batch dims, "
                   "features). Dimension 0, the batch, can be neither.",
    .order = 3,
    .num_operands = 1,
    .attrs = general_attrs,
    .num_attrs = NUM_ATTRS,
    .linearity = ANAS_LINEAR,
    .samples = general_samples,
    .num_samples = ANAS_COUNT(general_samples),
    .shape = general_shape,
    .deps = general_deps,
    .params = general_params,
    .cost = general_cost,
    .forward = general_forward,
    .backward = general_backward,
};

ANAS_OP_FAMILY(dense_general, &dense_general);
