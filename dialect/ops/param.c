// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A trained tensor as a value of the network, e.g. the position embedding of a vision transformer.
#include "dialect/op_support.h"
#include "dialect/train.h"

enum { SHAPE, INIT, NUM_ATTRS };

static const struct anas_attr_def param_attrs[NUM_ATTRS] = {
    [SHAPE] = {.name = "shape",
               .kind = ANAS_ATTR_INTS,
               .required = true,
               .list = true,
               .doc = "extents, 1 in front for what all examples share"},
    [INIT] = {.name = "init",
              .kind = ANAS_ATTR_INIT,
              .fallback = ANAS_INIT_OF(ANAS_ZEROS),
              .doc = "initialiser, e.g. normal(0.02)"},
};

static anas_status param_shape(const struct anas_op *op, struct anas_shape *out) {
  struct anas_shape shape = anas_extents_shape(&op->attr[SHAPE]);
  if (op->num_operands)
    return anas_fail(ANAS_INVALID, "'anas.%s' takes no operands, got %d", op->def->name, op->num_operands);
  anas_status status = anas_shape_check_weights(&shape);
  if (status) return anas_fail_context(status, "attribute 'shape' of 'anas.%s': ", op->def->name);
  out[0] = shape;
  return ANAS_OK;
}

// The last two dimensions count as inputs and outputs, the others as positions.
static int param_params(const struct anas_op *op, struct anas_param *out) {
  struct anas_shape shape = anas_extents_shape(&op->attr[SHAPE]);
  int64_t elements = anas_shape_elements(&shape), last = shape.dim[shape.rank - 1];
  int64_t before = shape.rank > 1 ? shape.dim[shape.rank - 2] : last;
  out[0] = (struct anas_param){
      .name = "value",
      .shape = shape,
      .init = op->attr[INIT].value.init,
      .fan_in = elements / last > 1 ? elements / last : before,
      .fan_out = shape.rank > 1 ? elements / before : last,
  };
  return 1;
}

static void param_cost(const struct anas_op *op, const struct anas_shape *result, struct anas_cost *out) {
  (void)op;
  (void)result;
  out->flops = 0;
}

static anas_status param_forward(struct anas_train *train, struct anas_train_op *op) {
  (void)train;
  op->result = op->param[0];
  return ANAS_OK;
}

static anas_status param_backward(struct anas_train *train, struct anas_train_op *op) {
  (void)train;
  op->grad_param[0] = op->grad_result;
  return ANAS_OK;
}

static const struct anas_sample param_samples[] = {
    {{NULL}, "{shape = array<i64: 1, 5, 7>, init = \"normal(0.02)\"}", "1x5x7xf32"},
    {{NULL}, "{shape = array<i64: 11>}", "11xf32"},
};

static const struct anas_op_def param = {
    .name = "param",
    .summary = "a trained tensor",
    .description = "Takes no operands; the same value for every example. Parameter: `value`, of the given shape.",
    .order = 28,
    .num_operands = 0,
    .attrs = param_attrs,
    .num_attrs = NUM_ATTRS,
    .linearity = ANAS_LINEAR,
    .samples = param_samples,
    .num_samples = ANAS_COUNT(param_samples),
    .shape = param_shape,
    .params = param_params,
    .cost = param_cost,
    .forward = param_forward,
    .backward = param_backward,
};

ANAS_OP_FAMILY(param, &param);
