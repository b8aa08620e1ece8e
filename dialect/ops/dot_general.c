// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// General dot product: numbered dimensions of both operands are contracted, others run in parallel (batch).
#include "dialect/op_support.h"
#include "dialect/ops/contraction.h"

enum { LHS_CONTRACTING, RHS_CONTRACTING, LHS_BATCH, RHS_BATCH, NUM_ATTRS };

static const struct anas_attr_def dot_attrs[NUM_ATTRS] = {
    [LHS_CONTRACTING] = {.name = "lhs_contracting",
                         .kind = ANAS_ATTR_INTS,
                         .list = true,
                         .doc = "dimensions of operand 0 to sum over; negative values count from the end"},
    [RHS_CONTRACTING] = {.name = "rhs_contracting",
                         .kind = ANAS_ATTR_INTS,
                         .list = true,
                         .doc = "the dimension of operand 1 that each of them meets"},
    [LHS_BATCH] = {.name = "lhs_batch",
                   .kind = ANAS_ATTR_INTS,
                   .list = true,
                   .doc = "dimensions of operand 0 that run in parallel"},
    [RHS_BATCH] = {.name = "rhs_batch",
                   .kind = ANAS_ATTR_INTS,
                   .list = true,
                   .doc = "the dimension of operand 1 that each of them meets"},
};

// What a dimension of operand k is for: -1 free, otherwise its position in the contracting or batch list.
struct roles {
  int contracting[2][ANAS_MAX_RANK], batch[2][ANAS_MAX_RANK]; // dimension numbers, resolved
  int num_contracting, num_batch;
  bool used[2][ANAS_MAX_RANK];
};

static anas_status read_list(const struct anas_op *op, int attr, int k, struct roles *roles, int *out) {
  const struct anas_ints *list = &op->attr[attr].value.ints;
  const char *name = op->def->attrs[attr].name;
  int rank = op->operand[k].rank;
  char text[128];
  for (int i = 0; i < list->count; i++) {
    int64_t axis = list->value[i];
    if (axis < -rank || axis >= rank)
      return anas_fail(ANAS_INVALID,
                       "attribute '%s' of 'anas.%s' names dimension %lld, but operand %d is tensor<%s> with dimensions "
                       "%d to %d",
                       name, op->def->name, (long long)axis, k, anas_shape_text(&op->operand[k], text), -rank,
                       rank - 1);
    if (axis < 0) axis += rank;
    if (roles->used[k][axis])
      return anas_fail(ANAS_INVALID,
                       "attribute '%s' of 'anas.%s' names dimension %lld of operand %d, which is in a list before",
                       name, op->def->name, (long long)axis, k);
    roles->used[k][axis] = true;
    out[i] = (int)axis;
  }
  return ANAS_OK;
}

static anas_status check_pairs(const struct anas_op *op, int lhs, int rhs, const int *a, const int *b) {
  char ta[128], tb[128];
  const struct anas_ints *left = &op->attr[lhs].value.ints, *right = &op->attr[rhs].value.ints;
  if (left->count != right->count)
    return anas_fail(ANAS_INVALID, "'%s' of 'anas.%s' has %d entries, but '%s' has %d", op->def->attrs[lhs].name,
                     op->def->name, left->count, op->def->attrs[rhs].name, right->count);
  for (int i = 0; i < left->count; i++)
    if (op->operand[0].dim[a[i]] != op->operand[1].dim[b[i]])
      return anas_fail(ANAS_INVALID,
                       "entry %d of '%s' and '%s' of 'anas.%s' pairs dimension %d of tensor<%s> with dimension %d of "
                       "tensor<%s>, which differ",
                       i, op->def->attrs[lhs].name, op->def->attrs[rhs].name, op->def->name, a[i],
                       anas_shape_text(&op->operand[0], ta), b[i], anas_shape_text(&op->operand[1], tb));
  return ANAS_OK;
}

static anas_status read_roles(const struct anas_op *op, struct roles *out) {
  struct roles roles = {.num_contracting = op->attr[LHS_CONTRACTING].value.ints.count,
                        .num_batch = op->attr[LHS_BATCH].value.ints.count};
  for (int k = 0; k < 2; k++) {
    ANAS_RETURN_IF_ERROR(read_list(op, k ? RHS_CONTRACTING : LHS_CONTRACTING, k, &roles, roles.contracting[k]));
    ANAS_RETURN_IF_ERROR(read_list(op, k ? RHS_BATCH : LHS_BATCH, k, &roles, roles.batch[k]));
  }
  ANAS_RETURN_IF_ERROR(check_pairs(op, LHS_CONTRACTING, RHS_CONTRACTING, roles.contracting[0], roles.contracting[1]));
  ANAS_RETURN_IF_ERROR(check_pairs(op, LHS_BATCH, RHS_BATCH, roles.batch[0], roles.batch[1]));
  *out = roles;
  return ANAS_OK;
}

// The equation with letters in order of operand 0, then of operand 1. Result: batch, then what is free in operand 0,
// then in operand 1.
static anas_status bind(const struct anas_op *op, struct anas_equation *out) {
  struct roles roles;
  char term[2][ANAS_MAX_RANK], text[ANAS_MAX_TEXT], next = 'a';
  int length = 0;
  ANAS_RETURN_IF_ERROR(read_roles(op, &roles));
  for (int k = 0; k < 2; k++)
    for (int d = 0; d < op->operand[k].rank; d++)
      if (!k || !roles.used[1][d]) term[k][d] = next++;
  for (int i = 0; i < roles.num_contracting; i++)
    term[1][roles.contracting[1][i]] = term[0][roles.contracting[0][i]];
  for (int i = 0; i < roles.num_batch; i++)
    term[1][roles.batch[1][i]] = term[0][roles.batch[0][i]];
  for (int k = 0; k < 2; k++) {
    for (int d = 0; d < op->operand[k].rank; d++)
      text[length++] = term[k][d];
    text[length++] = k ? '-' : ',';
  }
  text[length++] = '>';
  for (int i = 0; i < roles.num_batch; i++)
    text[length++] = term[0][roles.batch[0][i]];
  for (int k = 0; k < 2; k++)
    for (int d = 0; d < op->operand[k].rank; d++)
      if (!roles.used[k][d]) text[length++] = term[k][d];
  text[length] = 0;
  return anas_equation_bind(op, text, NULL, out);
}

static anas_status dot_shape(const struct anas_op *op, struct anas_shape *out) {
  struct anas_equation equation;
  ANAS_RETURN_IF_ERROR(anas_check_factors(op));
  ANAS_RETURN_IF_ERROR(bind(op, &equation));
  out[0] = anas_equation_result(&equation);
  return ANAS_OK;
}

static void dot_deps(const struct anas_op *op, int which, const struct anas_shape *result, struct anas_dep *out) {
  struct anas_equation equation;
  (void)result;
  if (bind(op, &equation) == ANAS_OK) anas_equation_deps(&equation, which, out); // callers pass well-typed instances
}

static void dot_cost(const struct anas_op *op, const struct anas_shape *result, struct anas_cost *out) {
  struct anas_equation equation;
  (void)result;
  if (bind(op, &equation) != ANAS_OK) return;
  out->macs = anas_equation_macs(&equation);
  out->flops = 2 * out->macs;
}

static anas_status dot_forward(struct anas_train *train, struct anas_train_op *op) {
  struct anas_equation equation;
  ANAS_RETURN_IF_ERROR(bind(op->op, &equation));
  return anas_emit_contraction(train, &equation, 0, op->operand[0], 1, op->operand[1], (MlirValue){0},
                               ANAS_EQUATION_RESULT, &op->result);
}

static anas_status dot_backward(struct anas_train *train, struct anas_train_op *op) {
  struct anas_equation equation;
  ANAS_RETURN_IF_ERROR(bind(op->op, &equation));
  return anas_emit_contraction_gradients(train, &equation, op);
}

static const struct anas_sample dot_samples[] = {
    {{"3x5xf32", "5x17xf32"}, "{lhs_contracting = array<i64: 1>, rhs_contracting = array<i64: 0>}", "3x17xf32"},
    {{"2x3x5xf32", "2x4x5xf32"},
     "{lhs_contracting = array<i64: -1>, rhs_contracting = array<i64: -1>, lhs_batch = array<i64: 0>, rhs_batch = "
     "array<i64: 0>}",
     "2x3x4xf32"},
    {{"2x3x4x5xf32", "4x7x5x3xf32"},
     "{lhs_contracting = array<i64: 3, 1>, rhs_contracting = array<i64: 2, 3>}",
     "2x4x4x7xf32"},
    {{"2x3x4xf32", "4x3x5x2xf32"},
     "{lhs_contracting = array<i64: 1>, rhs_contracting = array<i64: 1>, lhs_batch = array<i64: 0, 2>, rhs_batch = "
     "array<i64: 3, 0>}",
     "2x4x5xf32"},
    {{"2x3xf32", "4xf32"}, "{}", "2x3x4xf32"}, // nothing summed
    {{"2x3xf32", "2x3xf32"},
     "{lhs_contracting = array<i64: 1>, rhs_contracting = array<i64: 1>, lhs_batch = array<i64: 0>, rhs_batch = "
     "array<i64: 0>}",
     "2xf32"},
};

static const struct anas_op_def dot_general = {
    .name = "dot_general",
    .summary = "product of two tensors summed over numbered dimensions",
    .description =
        "Dimension `lhs_contracting[i]` of operand 0 meets dimension `rhs_contracting[i]` of operand 1 and is "
        "summed; `lhs_batch[i]` meets `rhs_batch[i]` and stays. The result has the batch dimensions, then the "
        "others of operand 0, then those of operand 1. The four lists together are XLA's dimension numbers; "
        "absent ones are empty. Counts as linear in the depth property.",
    .order = 9,
    .num_operands = 2,
    .attrs = dot_attrs,
    .num_attrs = NUM_ATTRS,
    .linearity = ANAS_LINEAR,
    .onnx = "Einsum",
    .samples = dot_samples,
    .num_samples = ANAS_COUNT(dot_samples),
    .shape = dot_shape,
    .deps = dot_deps,
    .cost = dot_cost,
    .forward = dot_forward,
    .backward = dot_backward,
};

ANAS_OP_FAMILY(dot_general, &dot_general);
