// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Dropout (Srivastava et al., 2014): in training, elements vanish with probability `rate` and the others grow by
// 1 / (1 - rate). Stochastic depth (Huang et al., 2016) does the same with whole examples; so does add to its first
// operand (elementwise.c).
#include "dialect/ops/dropout.h"

#include "dialect/op_support.h"

#include <mlir-c/BuiltinAttributes.h>

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

anas_status anas_check_rate(const struct anas_op *op, const char *name, double rate) {
  if (!(rate >= 0 && rate < 1))
    return anas_fail(ANAS_INVALID, "attribute '%s' of 'anas.%s' must lie in [0, 1), got %g", name, op->def->name, rate);
  return ANAS_OK;
}

static anas_status dropout_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(anas_check_tensor(op, 1));
  ANAS_RETURN_IF_ERROR(anas_check_rate(op, "rate", op->attr[RATE].value.f));
  return anas_shape_same(op, out);
}

// Nothing happens at inference.
static void dropout_cost(const struct anas_op *op, const struct anas_shape *result, struct anas_cost *out) {
  (void)op;
  (void)result;
  out->flops = 0;
}

static anas_status emit_mask(struct anas_train *train, MlirValue x, double rate, bool by_example, int64_t stream,
                             MlirValue *out) {
  MlirValue in[] = {x, anas_train_seed(train)};
  struct anas_attr attrs[] = {ANAS_FLOAT(rate), ANAS_INT(stream), ANAS_BOOL(by_example)};
  return anas_train_emit(train, "dropout_mask", in, 2, attrs, out);
}

anas_status anas_emit_dropout(struct anas_train *train, double rate, MlirValue x, MlirValue *out) {
  return emit_mask(train, x, rate, false, anas_train_stream(train), out);
}

anas_status anas_emit_drop_examples(struct anas_train *train, double rate, MlirValue x, MlirValue *out) {
  return emit_mask(train, x, rate, true, anas_train_stream(train), out);
}

anas_status anas_emit_dropout_gradient(struct anas_train *train, double rate, MlirValue dropped, MlirValue gradient,
                                       MlirValue *out) {
  MlirOperation forward = mlirOpResultGetOwner(dropped);
  MlirAttribute stream = mlirOperationGetAttributeByName(forward, mlirStringRefCreateFromCString("stream"));
  MlirAttribute wide = mlirOperationGetAttributeByName(forward, mlirStringRefCreateFromCString("by_example"));
  if (mlirAttributeIsNull(stream) || !mlirAttributeIsAInteger(stream) || mlirAttributeIsNull(wide))
    return anas_fail(ANAS_INTERNAL, "the result of a dropout does not come from 'anas.dropout_mask'");
  return emit_mask(train, gradient, rate, mlirBoolAttrGetValue(wide), mlirIntegerAttrGetValueInt(stream), out);
}

static anas_status drop_forward(struct anas_train *train, struct anas_train_op *op, bool by_example) {
  double rate = op->op->attr[RATE].value.f;
  if (op->training && rate > 0)
    return (by_example ? anas_emit_drop_examples : anas_emit_dropout)(train, rate, op->operand[0], &op->result);
  op->result = op->operand[0];
  return ANAS_OK;
}

static anas_status drop_backward(struct anas_train *train, struct anas_train_op *op) {
  double rate = op->op->attr[RATE].value.f;
  if (rate > 0) return anas_emit_dropout_gradient(train, rate, op->result, op->grad_result, &op->grad_operand[0]);
  op->grad_operand[0] = op->grad_result;
  return ANAS_OK;
}

static anas_status dropout_forward(struct anas_train *train, struct anas_train_op *op) {
  return drop_forward(train, op, false);
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
    .forward = dropout_forward,
    .backward = drop_backward,
};

// ---- stoch_depth

static const struct anas_attr_def stoch_depth_attrs[NUM_ATTRS] = {
    [RATE] = {.name = "rate",
              .kind = ANAS_ATTR_FLOAT,
              .required = true,
              .doc = "probability that an example is dropped"},
};

static anas_status stoch_depth_forward(struct anas_train *train, struct anas_train_op *op) {
  return drop_forward(train, op, true);
}

static const struct anas_sample stoch_depth_samples[] = {
    {{"9x2x3x5xf32"}, "{rate = 0.2 : f32}", "9x2x3x5xf32"},
    {{"5x7xf32"}, "{rate = 0.5 : f32}", "5x7xf32"},
    {{"3x4xf32"}, "{rate = 0.0 : f32}", "3x4xf32"},
};

static const struct anas_op_def stoch_depth = {
    .name = "stoch_depth",
    .summary = "in training, all of an example becomes zero, or grows by 1 / (1 - rate); the identity at inference",
    .description = "In front of the addition of a residual branch it makes networks of random depth (Huang et al., "
                   "2016).",
    .order = 24,
    .num_operands = 1,
    .attrs = stoch_depth_attrs,
    .num_attrs = NUM_ATTRS,
    .linearity = ANAS_LINEAR,
    .samples = stoch_depth_samples,
    .num_samples = ANAS_COUNT(stoch_depth_samples),
    .shape = dropout_shape,
    .cost = dropout_cost,
    .forward = stoch_depth_forward,
    .backward = drop_backward,
};

// ---- the mask

enum { MASK_RATE, MASK_STREAM, MASK_BY_EXAMPLE, NUM_MASK_ATTRS };

static const struct anas_attr_def mask_attrs[NUM_MASK_ATTRS] = {
    [MASK_RATE] = {.name = "rate", .kind = ANAS_ATTR_FLOAT, .required = true, .doc = "probability of a zero"},
    [MASK_STREAM] = {.name = "stream", .kind = ANAS_ATTR_INT, .required = true, .doc = "tells the ops of a step apart"},
    [MASK_BY_EXAMPLE] = {.name = "by_example",
                         .kind = ANAS_ATTR_BOOL,
                         .fallback = ANAS_BOOL(false),
                         .doc = "one draw for everything with the same index in dimension 0"},
};

static anas_status mask_shape(const struct anas_op *op, struct anas_shape *out) {
  const struct anas_shape *seed = &op->operand[1];
  char text[128];
  if (seed->rank != 1 || seed->dim[0] != 1 || seed->element != ANAS_I64)
    return anas_fail(ANAS_INVALID, "the seed of 'anas.%s' must be tensor<1xi64>, got tensor<%s>", op->def->name,
                     anas_shape_text(seed, text));
  return dropout_shape(op, out);
}

// A 32-bit integer hash: two rounds of multiply and xor-shift.
static int mix(struct anas_nest *nest, int x) {
  static const struct {
    int shift;
    uint32_t factor;
  } rounds[] = {{16, 0x7feb352d}, {15, 0x846ca68b}, {16, 1}};
  for (int i = 0; i < ANAS_COUNT(rounds); i++) {
    int shift = anas_nest_i32(nest, rounds[i].shift);
    int high = anas_nest_value(nest, "arith.shrui %%v%d, %%v%d : i32", x, shift);
    x = anas_nest_value(nest, "arith.xori %%v%d, %%v%d : i32", x, high);
    if (rounds[i].factor == 1) continue;
    int factor = anas_nest_i32(nest, (int32_t)rounds[i].factor);
    x = anas_nest_value(nest, "arith.muli %%v%d, %%v%d : i32", x, factor);
  }
  return x;
}

// An element is kept if mix(position ^ key) >= rate * 2^32, key = mix(mix(low(seed) ^ stream') ^ high(seed)): the key
// does not change inside the nest, and an element costs one hash.
static anas_status mask_lower(const struct anas_op *op, struct anas_lowering *l) {
  int in[] = {anas_lower_operand(l, 0), anas_lower_operand(l, 1)};
  struct anas_nest *nest = anas_lower_map(l, "dropout_mask", in, 2, anas_lower_result(l, 0));
  double rate = op->attr[MASK_RATE].value.f, scaled = rate * 4294967296.0;
  uint32_t threshold = scaled >= 4294967295.0 ? UINT32_MAX : (uint32_t)scaled;
  uint32_t stream = (uint32_t)op->attr[MASK_STREAM].value.i * UINT32_C(0x9e3779b9);

  int low = anas_nest_value(nest, "arith.trunci %%i1 : i64 to i32");
  int half = anas_nest_value(nest, "arith.constant 32 : i64");
  int shifted = anas_nest_value(nest, "arith.shrui %%i1, %%v%d : i64", half);
  int high = anas_nest_value(nest, "arith.trunci %%v%d : i64 to i32", shifted);
  int salt = anas_nest_i32(nest, (int32_t)stream);
  int key = mix(nest, anas_nest_value(nest, "arith.xori %%v%d, %%v%d : i32", low, salt));
  key = mix(nest, anas_nest_value(nest, "arith.xori %%v%d, %%v%d : i32", key, high));

  int position = -1;
  int digits = op->attr[MASK_BY_EXAMPLE].value.b ? 1 : op->operand[0].rank;
  for (int d = 0; d < digits; d++) {
    int index = anas_nest_value(nest, "linalg.index %d : index", d);
    int digit = anas_nest_value(nest, "arith.index_cast %%v%d : index to i32", index);
    if (d) {
      int extent = anas_nest_i32(nest, (int32_t)op->operand[0].dim[d]);
      int before = anas_nest_value(nest, "arith.muli %%v%d, %%v%d : i32", position, extent);
      digit = anas_nest_value(nest, "arith.addi %%v%d, %%v%d : i32", before, digit);
    }
    position = digit;
  }
  int hash = mix(nest, anas_nest_value(nest, "arith.xori %%v%d, %%v%d : i32", position, key));
  int kept = anas_nest_value(nest, "arith.cmpi uge, %%v%d, %%v%d : i32", hash, anas_nest_i32(nest, (int32_t)threshold));
  int grown = anas_nest_value(nest, "arith.mulf %%i0, %%v%d : f32", anas_nest_f32(nest, 1 / (1 - rate)));
  int zero = anas_nest_f32(nest, 0);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.select %%v%d, %%v%d, %%v%d : f32", kept, grown, zero));
  return ANAS_OK;
}

static const struct anas_op_def dropout_mask = {
    .name = "dropout_mask",
    .level = ANAS_TRAINING,
    .summary = "x / (1 - rate) or 0, by a hash of seed, stream and position; the same for x and its gradient",
    .num_operands = 2,
    .attrs = mask_attrs,
    .num_attrs = NUM_MASK_ATTRS,
    .shape = mask_shape,
    .lower = mask_lower,
};

ANAS_OP_FAMILY(dropout, &dropout, &stoch_depth, &dropout_mask);
