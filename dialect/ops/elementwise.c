// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Elementwise arithmetic with numpy broadcasting: identity, none, add, mul, scalar_add and scalar_mul.
#include "dialect/op_support.h"
#include "dialect/ops/dropout.h"

#include <math.h>

// ---- identity

static void free_of_charge(const struct anas_op *op, const struct anas_shape *result, struct anas_cost *out) {
  (void)op;
  (void)result;
  out->flops = 0;
}

static anas_status identity_forward(struct anas_train *train, struct anas_train_op *op) {
  (void)train;
  op->result = op->operand[0];
  return ANAS_OK;
}

static anas_status identity_backward(struct anas_train *train, struct anas_train_op *op) {
  (void)train;
  op->grad_operand[0] = op->grad_result;
  return ANAS_OK;
}

static const struct anas_sample identity_samples[] = {
    {{"2x3x5x2xf32"}, "{}", "2x3x5x2xf32"},
    {{"3x7xf32"}, "{}", "3x7xf32"},
};

static const struct anas_op_def identity = {
    .name = "identity",
    .summary = "the operand itself",
    .order = 1,
    .num_operands = 1,
    .linearity = ANAS_NEUTRAL,
    .onnx = "Identity",
    .samples = identity_samples,
    .num_samples = ANAS_COUNT(identity_samples),
    .shape = anas_shape_same,
    .cost = free_of_charge,
    .forward = identity_forward,
    .backward = identity_backward,
};

// ---- none

static void no_deps(const struct anas_op *op, int which, const struct anas_shape *result, struct anas_dep *out) {
  (void)result;
  for (int i = 0; i < op->operand[which].rank; i++)
    out[i] = (struct anas_dep){.kind = ANAS_DEP_NONE};
}

static const struct anas_op_def none = {
    .name = "none",
    .summary = "the value of the operand, without gradient and dependency",
    .description = "Stops the gradient: nothing before it learns through it. For the properties its result depends on "
                   "nothing; no path leads through it.",
    .order = 0,
    .num_operands = 1,
    .linearity = ANAS_NEUTRAL,
    .onnx = "Identity",
    .samples = identity_samples,
    .num_samples = ANAS_COUNT(identity_samples),
    .shape = anas_shape_same,
    .deps = no_deps,
    .cost = free_of_charge,
    .forward = identity_forward,
};

// ---- add, mul

enum { LAYER_DROP_RATE, NUM_ADD_ATTRS };

static const struct anas_attr_def add_attrs[NUM_ADD_ATTRS] = {
    [LAYER_DROP_RATE] = {.name = "layer_drop_rate",
                         .kind = ANAS_ATTR_FLOAT,
                         .fallback = ANAS_FLOAT(0),
                         .doc = "stochastic depth: probability that operand 0 of an example is dropped in training"},
};

static anas_status binary_shape(const struct anas_op *op, struct anas_shape *out) {
  char a[128], b[128];
  if (op->operand[0].element != op->operand[1].element)
    return anas_fail(ANAS_INVALID, "operands of 'anas.%s' have different element types: tensor<%s> and tensor<%s>",
                     op->def->name, anas_shape_text(&op->operand[0], a), anas_shape_text(&op->operand[1], b));
  return anas_shape_broadcast(op, out);
}

static anas_status add_shape(const struct anas_op *op, struct anas_shape *out) {
  const struct anas_shape *first = &op->operand[0];
  double rate = op->attr[LAYER_DROP_RATE].value.f;
  struct anas_shape result = {0};
  char a[128], b[128];
  ANAS_RETURN_IF_ERROR(binary_shape(op, &result));
  ANAS_RETURN_IF_ERROR(anas_check_rate(op, "layer_drop_rate", rate));
  if (rate > 0 && (first->rank != result.rank || first->dim[0] != result.dim[0]))
    return anas_fail(ANAS_INVALID,
                     "operand 0 of 'anas.%s', tensor<%s>, must have the batch of the result, tensor<%s>, to be dropped "
                     "by examples",
                     op->def->name, anas_shape_text(first, a), anas_shape_text(&result, b));
  out[0] = result;
  return ANAS_OK;
}

static anas_status add_forward(struct anas_train *train, struct anas_train_op *op) {
  double rate = op->op->attr[LAYER_DROP_RATE].value.f;
  MlirValue in[] = {op->operand[0], op->operand[1]};
  if (op->training && rate > 0) {
    ANAS_RETURN_IF_ERROR(anas_emit_drop_examples(train, rate, in[0], &op->saved[0]));
    in[0] = op->saved[0];
  }
  return anas_train_emit(train, "add_fwd", in, 2, NULL, &op->result);
}

// A broadcast operand receives the sum over the elements it was broadcast to.
static anas_status add_backward(struct anas_train *train, struct anas_train_op *op) {
  for (int k = 0; k < 2; k++) {
    const struct anas_shape *operand = &op->op->operand[k];
    MlirValue gradient = op->grad_result;
    double rate = op->op->attr[LAYER_DROP_RATE].value.f;
    if (!op->need_operand[k]) continue;
    if (k == 0 && rate > 0)
      ANAS_RETURN_IF_ERROR(anas_emit_dropout_gradient(train, rate, op->saved[0], op->grad_result, &gradient));
    if (anas_shape_equal(operand, &op->result_type)) {
      op->grad_operand[k] = gradient;
      continue;
    }
    struct anas_attr attrs[] = {anas_attr_extents(operand)};
    ANAS_RETURN_IF_ERROR(anas_train_emit(train, "sum_to", &gradient, 1, attrs, &op->grad_operand[k]));
  }
  return ANAS_OK;
}

static anas_status mul_forward(struct anas_train *train, struct anas_train_op *op) {
  op->saved[0] = op->operand[0];
  op->saved[1] = op->operand[1];
  return anas_train_emit(train, "mul_fwd", op->operand, 2, NULL, &op->result);
}

static anas_status mul_backward(struct anas_train *train, struct anas_train_op *op) {
  for (int k = 0; k < 2; k++) {
    const struct anas_shape *operand = &op->op->operand[k];
    if (!op->need_operand[k]) continue;
    MlirValue in[] = {op->grad_result, op->saved[1 - k]};
    struct anas_attr attrs[] = {anas_attr_extents(operand)};
    bool whole = anas_shape_equal(operand, &op->result_type);
    ANAS_RETURN_IF_ERROR(
        anas_train_emit(train, whole ? "mul_fwd" : "mul_sum_to", in, 2, whole ? NULL : attrs, &op->grad_operand[k]));
  }
  return ANAS_OK;
}

static const struct anas_sample mul_samples[] = {
    {{"2x3x5x7xf32", "2x3x5x7xf32"}, "{}", "2x3x5x7xf32"},
    {{"2x5x3x7xf32", "2x1x1x7xf32"}, "{}", "2x5x3x7xf32"},
    {{"3x11xf32", "11xf32"}, "{}", "3x11xf32"},
    {{"2x1x5xf32", "1x3x1xf32"}, "{}", "2x3x5xf32"},
};

static const struct anas_sample add_samples[] = {
    {{"2x3x5x7xf32", "2x3x5x7xf32"}, "{}", "2x3x5x7xf32"},
    {{"2x5x3x7xf32", "2x1x1x7xf32"}, "{}", "2x5x3x7xf32"},
    {{"3x11xf32", "11xf32"}, "{}", "3x11xf32"},
    {{"2x1x5xf32", "1x3x1xf32"}, "{}", "2x3x5xf32"},
    {{"9x3x5xf32", "9x3x5xf32"}, "{layer_drop_rate = 0.4 : f32}", "9x3x5xf32"},
    {{"9x1x5xf32", "3x5xf32"}, "{layer_drop_rate = 0.4 : f32}", "9x3x5xf32"},
};

static const struct anas_op_def add = {
    .name = "add",
    .summary = "sum of two tensors, numpy broadcasting",
    .description = "With `layer_drop_rate` = r, operand 0 is first dropped as by stoch_depth: in training, all of an "
                   "example becomes zero with probability r, and grows by 1 / (1 - r) otherwise.",
    .order = 5,
    .num_operands = 2,
    .attrs = add_attrs,
    .num_attrs = NUM_ADD_ATTRS,
    .linearity = ANAS_LINEAR,
    .commutative = true,
    .onnx = "Add",
    .samples = add_samples,
    .num_samples = ANAS_COUNT(add_samples),
    .shape = add_shape,
    .forward = add_forward,
    .backward = add_backward,
};

static const struct anas_op_def mul = {
    .name = "mul",
    .summary = "elementwise product of two tensors, numpy broadcasting",
    .description = "Counts as linear in the depth property, as in the paper's reference implementation.",
    .order = 7,
    .num_operands = 2,
    .linearity = ANAS_LINEAR,
    .commutative = true,
    .onnx = "Mul",
    .samples = mul_samples,
    .num_samples = ANAS_COUNT(mul_samples),
    .shape = binary_shape,
    .forward = mul_forward,
    .backward = mul_backward,
};

static anas_status binary_lower(struct anas_lowering *l, const char *kind, const char *operation) {
  int in[] = {anas_lower_operand(l, 0), anas_lower_operand(l, 1)};
  struct anas_nest *nest = anas_lower_map(l, kind, in, 2, anas_lower_result(l, 0));
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "%s %%i0, %%i1 " ANAS_CONTRACT " : f32", operation));
  return ANAS_OK;
}

static anas_status add_fwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  (void)op;
  return binary_lower(l, "add_fwd", "arith.addf");
}

static anas_status mul_fwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  (void)op;
  return binary_lower(l, "mul_fwd", "arith.mulf");
}

static const struct anas_op_def add_fwd = {
    .name = "add_fwd",
    .level = ANAS_TRAINING,
    .summary = "y = a + b, numpy broadcasting",
    .num_operands = 2,
    .shape = binary_shape,
    .lower = add_fwd_lower,
};

static const struct anas_op_def mul_fwd = {
    .name = "mul_fwd",
    .level = ANAS_TRAINING,
    .summary = "y = a * b, numpy broadcasting",
    .num_operands = 2,
    .shape = binary_shape,
    .lower = mul_fwd_lower,
};

// ---- sums over broadcast dimensions

static const struct anas_attr_def sum_to_attrs[] = {
    {.name = "shape", .kind = ANAS_ATTR_INTS, .required = true, .list = true, .doc = "extents of the result"},
};

static anas_status sum_to_shape(const struct anas_op *op, struct anas_shape *out) {
  const struct anas_shape *x = &op->operand[0];
  struct anas_shape result = anas_extents_shape(&op->attr[0]);
  bool fits = result.rank <= x->rank;
  for (int i = 1; fits && i <= result.rank; i++)
    fits = result.dim[result.rank - i] == x->dim[x->rank - i] || result.dim[result.rank - i] == 1;
  char a[128], b[128];
  if (!fits)
    return anas_fail(ANAS_INVALID, "'anas.%s' cannot sum tensor<%s> to tensor<%s>, which does not broadcast to it",
                     op->def->name, anas_shape_text(x, a), anas_shape_text(&result, b));
  out[0] = result;
  return ANAS_OK;
}

// Loops over operand 0; dimensions that the result lacks, or has with extent 1, are summed.
static struct anas_nest *sum_to_nest(const struct anas_op *op, struct anas_lowering *l, const char *kind) {
  const struct anas_shape *x = &op->operand[0];
  struct anas_shape result = anas_extents_shape(&op->attr[0]);
  struct anas_nest *nest = anas_lower_nest(l, kind);
  int missing = x->rank - result.rank;
  for (int i = 0; i < x->rank; i++)
    anas_nest_loop(nest, x->dim[i], i < missing || result.dim[i - missing] != x->dim[i]);
  anas_access_whole(anas_nest_in(nest, anas_lower_operand(l, 0)), x->rank);
  struct anas_access *access = anas_nest_out(nest, anas_lower_result(l, 0), ANAS_FILL_ZERO);
  for (int i = missing; i < x->rank; i++)
    if (result.dim[i - missing] == x->dim[i]) anas_access_add(access, i - missing, i, 1);
  return nest;
}

static anas_status sum_to_lower(const struct anas_op *op, struct anas_lowering *l) {
  struct anas_nest *nest = sum_to_nest(op, l, "sum_to");
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%i0 : f32"));
  return ANAS_OK;
}

static anas_status mul_sum_to_lower(const struct anas_op *op, struct anas_lowering *l) {
  struct anas_nest *nest = sum_to_nest(op, l, "mul_sum_to");
  const struct anas_shape *x = &op->operand[0], *b = &op->operand[1];
  struct anas_access *access = anas_nest_in(nest, anas_lower_operand(l, 1));
  for (int i = 0; i < b->rank; i++) {
    int loop = x->rank - b->rank + i;
    if (b->dim[i] == x->dim[loop]) anas_access_add(access, i, loop, 1);
  }
  int product = anas_nest_value(nest, "arith.mulf %%i0, %%i1 " ANAS_CONTRACT " : f32");
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%v%d " ANAS_CONTRACT " : f32", product));
  return ANAS_OK;
}

static const struct anas_op_def sum_to = {
    .name = "sum_to",
    .level = ANAS_TRAINING,
    .summary = "sum over the dimensions in which the result was broadcast to the operand",
    .num_operands = 1,
    .attrs = sum_to_attrs,
    .num_attrs = 1,
    .shape = sum_to_shape,
    .lower = sum_to_lower,
};

static const struct anas_op_def mul_sum_to = {
    .name = "mul_sum_to",
    .level = ANAS_TRAINING,
    .summary = "sum_to of the product with a second operand, which broadcasts to the first",
    .num_operands = 2,
    .attrs = sum_to_attrs,
    .num_attrs = 1,
    .shape = sum_to_shape,
    .lower = mul_sum_to_lower,
};

// ---- scalar_add

enum { SUMMAND, NUM_SCALAR_ADD_ATTRS };

static const struct anas_attr_def scalar_add_attrs[NUM_SCALAR_ADD_ATTRS] = {
    [SUMMAND] = {.name = "constant", .kind = ANAS_ATTR_FLOAT, .required = true, .doc = "the summand"},
};

static anas_status scalar_add_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(anas_check_tensor(op, 1));
  if (!isfinite(op->attr[SUMMAND].value.f))
    return anas_fail(ANAS_INVALID, "attribute 'constant' of 'anas.%s' must be finite, got %g", op->def->name,
                     op->attr[SUMMAND].value.f);
  return anas_shape_same(op, out);
}

static anas_status scalar_add_forward(struct anas_train *train, struct anas_train_op *op) {
  return anas_train_emit(train, "shift", op->operand, 1, op->op->attr, &op->result);
}

static const struct anas_sample scalar_add_samples[] = {
    {{"2x3x5x7xf32"}, "{constant = 0.5 : f32}", "2x3x5x7xf32"},
    {{"3x11xf32"}, "{constant = -2 : i64}", "3x11xf32"},
};

static const struct anas_op_def scalar_add = {
    .name = "scalar_add",
    .summary = "sum with a constant",
    .order = 6,
    .num_operands = 1,
    .attrs = scalar_add_attrs,
    .num_attrs = NUM_SCALAR_ADD_ATTRS,
    .linearity = ANAS_LINEAR,
    .samples = scalar_add_samples,
    .num_samples = ANAS_COUNT(scalar_add_samples),
    .shape = scalar_add_shape,
    .forward = scalar_add_forward,
    .backward = identity_backward,
};

static anas_status shift_lower(const struct anas_op *op, struct anas_lowering *l) {
  int in[] = {anas_lower_operand(l, 0)};
  struct anas_nest *nest = anas_lower_map(l, "shift", in, 1, anas_lower_result(l, 0));
  int summand = anas_nest_f32(nest, op->attr[SUMMAND].value.f);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%i0, %%v%d : f32", summand));
  return ANAS_OK;
}

static const struct anas_op_def shift = {
    .name = "shift",
    .level = ANAS_TRAINING,
    .summary = "y = x + constant",
    .num_operands = 1,
    .attrs = scalar_add_attrs,
    .num_attrs = NUM_SCALAR_ADD_ATTRS,
    .shape = anas_shape_same,
    .lower = shift_lower,
};

// ---- scalar_mul

enum { CONSTANT, NUM_SCALAR_ATTRS };

static const struct anas_attr_def scalar_attrs[NUM_SCALAR_ATTRS] = {
    [CONSTANT] = {.name = "constant",
                  .kind = ANAS_ATTR_FLOAT,
                  .doc = "the factor; absent: 1 / sqrt(extent of the last dimension)"},
};

static anas_status scalar_mul_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(anas_check_tensor(op, 1));
  if (op->attr[CONSTANT].present && !isfinite(op->attr[CONSTANT].value.f))
    return anas_fail(ANAS_INVALID, "attribute 'constant' of 'anas.%s' must be finite, got %g", op->def->name,
                     op->attr[CONSTANT].value.f);
  return anas_shape_same(op, out);
}

static double scalar_factor(const struct anas_op *op) {
  const struct anas_shape *x = &op->operand[0];
  return op->attr[CONSTANT].present ? op->attr[CONSTANT].value.f : 1 / sqrt((double)x->dim[x->rank - 1]);
}

static anas_status scalar_mul_forward(struct anas_train *train, struct anas_train_op *op) {
  struct anas_attr attrs[] = {ANAS_FLOAT(scalar_factor(op->op))};
  return anas_train_emit(train, "scale", op->operand, 1, attrs, &op->result);
}

static anas_status scalar_mul_backward(struct anas_train *train, struct anas_train_op *op) {
  struct anas_attr attrs[] = {ANAS_FLOAT(scalar_factor(op->op))};
  return anas_train_emit(train, "scale", &op->grad_result, 1, attrs, &op->grad_operand[0]);
}

static const struct anas_sample scalar_mul_samples[] = {
    {{"2x3x5x7xf32"}, "{}", "2x3x5x7xf32"},
    {{"3x11xf32"}, "{constant = -2.5 : f32}", "3x11xf32"},
};

static const struct anas_op_def scalar_mul = {
    .name = "scalar_mul",
    .summary = "product with a constant",
    .order = 8,
    .num_operands = 1,
    .attrs = scalar_attrs,
    .num_attrs = NUM_SCALAR_ATTRS,
    .linearity = ANAS_LINEAR,
    .synthesizable = true,
    .samples = scalar_mul_samples,
    .num_samples = ANAS_COUNT(scalar_mul_samples),
    .shape = scalar_mul_shape,
    .forward = scalar_mul_forward,
    .backward = scalar_mul_backward,
};

static const struct anas_attr_def scale_attrs[] = {
    {.name = "factor", .kind = ANAS_ATTR_FLOAT, .required = true, .doc = "what to multiply with"},
};

static anas_status scale_lower(const struct anas_op *op, struct anas_lowering *l) {
  int in[] = {anas_lower_operand(l, 0)};
  struct anas_nest *nest = anas_lower_map(l, "scale", in, 1, anas_lower_result(l, 0));
  int factor = anas_nest_f32(nest, op->attr[0].value.f);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.mulf %%i0, %%v%d " ANAS_CONTRACT " : f32", factor));
  return ANAS_OK;
}

static const struct anas_op_def scale = {
    .name = "scale",
    .level = ANAS_TRAINING,
    .summary = "y = factor * x",
    .num_operands = 1,
    .attrs = scale_attrs,
    .num_attrs = 1,
    .shape = anas_shape_same,
    .lower = scale_lower,
};

ANAS_OP_FAMILY(elementwise, &identity, &none, &add, &mul, &scalar_add, &scalar_mul, &shift, &add_fwd, &mul_fwd, &sum_to,
               &mul_sum_to, &scale);
