// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Einsum of two operands. Its gradients are einsums of the result's gradient and the other operand.
#include "dialect/op_support.h"
#include "dialect/ops/contraction.h"

enum { EQUATION, NUM_ATTRS };

static const struct anas_attr_def einsum_attrs[NUM_ATTRS] = {
    [EQUATION] = {.name = "equation",
                  .kind = ANAS_ATTR_TEXT,
                  .required = true,
                  .doc = "labels of both operands and of the result, e.g. ...qhd,...khd->...hqk"},
};

static anas_status bind(const struct anas_op *op, struct anas_equation *out) {
  return anas_equation_bind(op, op->attr[EQUATION].value.text, NULL, out);
}

static anas_status einsum_shape(const struct anas_op *op, struct anas_shape *out) {
  struct anas_equation equation;
  ANAS_RETURN_IF_ERROR(anas_check_factors(op));
  ANAS_RETURN_IF_ERROR(bind(op, &equation));
  out[0] = anas_equation_result(&equation);
  return ANAS_OK;
}

static void einsum_deps(const struct anas_op *op, int which, const struct anas_shape *result, struct anas_dep *out) {
  struct anas_equation equation;
  (void)result;
  if (bind(op, &equation) == ANAS_OK) anas_equation_deps(&equation, which, out); // callers pass well-typed instances
}

static void einsum_cost(const struct anas_op *op, const struct anas_shape *result, struct anas_cost *out) {
  struct anas_equation equation;
  (void)result;
  if (bind(op, &equation) != ANAS_OK) return;
  out->macs = anas_equation_macs(&equation);
  out->flops = 2 * out->macs;
}

static anas_status einsum_forward(struct anas_train *train, struct anas_train_op *op) {
  struct anas_equation equation;
  ANAS_RETURN_IF_ERROR(bind(op->op, &equation));
  return anas_emit_contraction(train, &equation, 0, op->operand[0], 1, op->operand[1], (MlirValue){0},
                               ANAS_EQUATION_RESULT, &op->result);
}

static anas_status einsum_backward(struct anas_train *train, struct anas_train_op *op) {
  struct anas_equation equation;
  ANAS_RETURN_IF_ERROR(bind(op->op, &equation));
  return anas_emit_contraction_gradients(train, &equation, op);
}

static const struct anas_sample einsum_samples[] = {
    {{"2x5x3x7xf32", "2x4x3x7xf32"}, "{equation = \"...qhd,...khd->...hqk\"}", "2x3x5x4xf32"}, // query * keys
    {{"2x3x5x4xf32", "2x4x3x7xf32"}, "{equation = \"...hqk,...khd->...qhd\"}", "2x5x3x7xf32"}, // attention * values
    {{"2x3x5xf32", "5x17xf32"}, "{equation = \"btc,cd->btd\"}", "2x3x17xf32"},
    {{"2x5x3xf32", "1x3x4xf32"}, "{equation = \"...ij, ...jk -> ...ik\"}", "2x5x4xf32"}, // broadcast batch
    {{"2x1x3x4xf32", "5x2x4xf32"}, "{equation = \"...ij,...kj->...ki\"}", "2x5x2x3xf32"},
    {{"3x4x2xf32", "3x2x5xf32"}, "{equation = \"bij,bjk->bki\"}", "3x5x4xf32"}, // transposed result
    {{"2x3x4xf32", "2x3x4xf32"}, "{equation = \"bij,bij->b\"}", "2xf32"},
    {{"2x3x4xf32", "2x4xf32"}, "{equation = \"bij,bj->bij\"}", "2x3x4xf32"}, // nothing summed
    {{"3x4xf32", "3x5xf32"}, "{equation = \"bi,bj->bij\"}", "3x4x5xf32"},
    {{"2x3xf32", "4x5xf32"}, "{equation = \"bi,jk->bk\"}", "2x5xf32"}, // labels of one operand summed
    {{"2x1x3xf32", "3x1xf32"}, "{equation = \"...c,cd->...d\"}", "2x1x1xf32"},
};

static const struct anas_op_def einsum = {
    .name = "einsum",
    .summary = "sum of products of two tensors by an equation",
    .description = "The labels of each operand, then `->` and those of the result: `...qhd,...khd->...hqk`. Labels are "
                   "letters; labels that the result lacks are summed. `...` stands for any dimensions, aligned from "
                   "the last and broadcast like numpy's; if an operand has it, so must the result. A label occurs once "
                   "in a term, and the batch `?` comes first in the result. Counts as linear in the depth property.",
    .order = 11,
    .num_operands = 2,
    .attrs = einsum_attrs,
    .num_attrs = NUM_ATTRS,
    .linearity = ANAS_LINEAR,
    .onnx = "Einsum",
    .samples = einsum_samples,
    .num_samples = ANAS_COUNT(einsum_samples),
    .shape = einsum_shape,
    .deps = einsum_deps,
    .cost = einsum_cost,
    .forward = einsum_forward,
    .backward = einsum_backward,
};

ANAS_OP_FAMILY(einsum, &einsum);
