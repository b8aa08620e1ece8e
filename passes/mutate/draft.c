// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A new body while it grows. Every value carries its type in each context and its depth and mixing to the arguments,
// advanced by one transfer function an op; so the parts of a graph are synthesised and dropped in the knowledge of what
// has become of the parts before them.
#include "passes/mutate/internal.h"

#include <stdlib.h>
#include <string.h>

const struct anas_function *anas_draft_old(const struct anas_draft *draft, int context) {
  return &draft->model->functions[draft->contexts[context]];
}

static void init_value(struct anas_draft *draft, struct anas_draft_value *value) {
  size_t relations = (size_t)(draft->num_checked * draft->num_args);
  value->exact = true;
  value->shapes = anas_arena_alloc(&draft->arena, (size_t)draft->num_contexts * sizeof *value->shapes);
  value->relation = anas_arena_alloc(&draft->arena, relations * sizeof *value->relation);
  for (size_t i = 0; i < relations; i++)
    value->relation[i].depth = value->relation[i].required_depth = -1;
}

void anas_draft_init(struct anas_draft *draft, const struct anas_model *model, const int *contexts, int num_contexts,
                     bool check_all) {
  *draft = (struct anas_draft){.model = model, .contexts = contexts, .num_contexts = num_contexts};
  draft->num_checked = check_all ? num_contexts : 1;
  const struct anas_function *function = anas_draft_old(draft, 0);
  draft->num_args = function->num_args;
  for (int a = 0; a < draft->num_args; a++) {
    struct anas_draft_value *value = &draft->args[a];
    init_value(draft, value);
    value->kind = function->arg_linear[a] ? ANAS_LINEAR : ANAS_NONLINEAR;
    for (int c = 0; c < num_contexts; c++)
      value->shapes[c] = anas_draft_old(draft, c)->arg[a];
    for (int c = 0; c < draft->num_checked; c++) {
      struct anas_relation *relation = &value->relation[c * draft->num_args + a];
      relation->depth = relation->required_depth = 0;
      anas_mixing_of_input(&value->shapes[c], &relation->mixing);
      relation->required_mixing = relation->mixing;
    }
  }
}

void anas_draft_deinit(struct anas_draft *draft) {
  free(draft->nodes);
  anas_arena_deinit(&draft->arena);
  *draft = (struct anas_draft){0};
}

struct anas_draft_value *anas_draft_value(struct anas_draft *draft, struct anas_ref ref) {
  return ref.node == ANAS_ARGUMENT ? &draft->args[ref.index] : &draft->nodes[ref.node].result[ref.index];
}

// ---- transfer

static void raise_depth(int64_t *into, int64_t before, enum anas_linearity producer, enum anas_linearity kind) {
  if (before < 0) return;
  int64_t depth = anas_depth_append((struct anas_depth_state){before, producer}, kind).depth;
  if (depth > *into) *into = depth;
}

static bool blocks(const struct anas_mixing *pairing) { // a stop-gradient op
  for (int i = 0; i < pairing->rows; i++)
    for (int j = 0; j < pairing->columns; j++)
      if (pairing->pair[i][j] != ANAS_PAIR_NONE) return false;
  return true;
}

static void join_through(struct anas_mixing *into, const struct anas_mixing *before, const struct anas_mixing *pairing,
                         bool blocked) {
  struct anas_mixing composed;
  if (!before->rows) return;
  anas_mixing_compose(before, pairing, &composed);
  if (blocked) memset(composed.pair, 0, sizeof composed.pair);
  if (into->rows)
    anas_mixing_join(into, &composed);
  else
    *into = composed;
}

// The relations of one result in one context through one operand.
static void transfer(const struct anas_draft *draft, int context, const struct anas_mixing *pairing,
                     const struct anas_draft_value *operand, enum anas_linearity kind,
                     struct anas_draft_value *result) {
  bool blocked = blocks(pairing);
  for (int a = 0; a < draft->num_args; a++) {
    const struct anas_relation *before = &operand->relation[context * draft->num_args + a];
    struct anas_relation *after = &result->relation[context * draft->num_args + a];
    raise_depth(&after->depth, before->depth, operand->kind, kind);
    raise_depth(&after->required_depth, before->required_depth, operand->kind, kind);
    join_through(&after->mixing, &before->mixing, pairing, blocked);
    join_through(&after->required_mixing, &before->required_mixing, pairing, blocked);
  }
}

static void transfer_op(struct anas_draft *draft, int context, const struct anas_op *op, struct anas_draft_node *node) {
  for (int r = 0; r < node->op.num_results; r++)
    for (int q = 0; q < node->op.num_operands; q++) {
      struct anas_mixing pairing;
      anas_mixing_of_op(op, q, &node->result[r].shapes[context], &pairing);
      transfer(draft, context, &pairing, anas_draft_value(draft, node->op.operand[q]), op->def->linearity,
               &node->result[r]);
    }
}

// What a call does is not looked into: it keeps depth, and pairs nothing for certain. Both are lower bounds.
static void transfer_call(struct anas_draft *draft, int context, struct anas_draft_node *node) {
  for (int r = 0; r < node->op.num_results; r++)
    for (int q = 0; q < node->op.num_operands; q++) {
      const struct anas_draft_value *operand = anas_draft_value(draft, node->op.operand[q]);
      struct anas_mixing nothing = {.rows = operand->shapes[context].rank,
                                    .columns = node->result[r].shapes[context].rank};
      node->result[r].exact = false;
      for (int a = 0; a < draft->num_args; a++) {
        const struct anas_relation *before = &operand->relation[context * draft->num_args + a];
        struct anas_relation *after = &node->result[r].relation[context * draft->num_args + a];
        if (before->depth > after->depth) after->depth = before->depth;
        if (before->required_depth > after->required_depth) after->required_depth = before->required_depth;
        join_through(&after->mixing, &before->mixing, &nothing, false);
        join_through(&after->required_mixing, &before->required_mixing, &nothing, false);
      }
    }
}

// ---- nodes

static struct anas_draft_node *add_node(struct anas_draft *draft, int old, const struct anas_node *op,
                                        const struct anas_ref *operands, int num_operands) {
  draft->nodes = anas_grow(draft->nodes, (size_t)draft->num_nodes, &draft->capacity, sizeof *draft->nodes);
  struct anas_draft_node *node = &draft->nodes[draft->num_nodes++];
  memset(node, 0, sizeof *node);
  node->old = old;
  node->op = *op;
  node->op.num_operands = num_operands;
  memcpy(node->op.operand, operands, (size_t)num_operands * sizeof *operands);
  enum anas_linearity kind = op->def ? op->def->linearity : ANAS_NONLINEAR;
  if (kind == ANAS_NEUTRAL && num_operands > 0) kind = anas_draft_value(draft, operands[0])->kind;
  for (int r = 0; r < op->num_results; r++) {
    init_value(draft, &node->result[r]);
    node->result[r].kind = kind;
    for (int q = 0; q < num_operands; q++)
      node->result[r].exact = node->result[r].exact && anas_draft_value(draft, operands[q])->exact;
  }
  return node;
}

static anas_status infer(struct anas_draft *draft, int context, const struct anas_node *op,
                         struct anas_draft_node *node) {
  struct anas_shape operands[ANAS_MAX_OPERANDS], results[ANAS_MAX_RESULTS] = {0};
  struct anas_op resolved;
  for (int q = 0; q < node->op.num_operands; q++)
    operands[q] = anas_draft_value(draft, node->op.operand[q])->shapes[context];
  if (!op->def) { // the callee was typed for these arguments
    const struct anas_function *callee = &draft->model->functions[op->callee];
    for (int q = 0; q < node->op.num_operands; q++)
      if (!anas_shape_equal(&operands[q], &callee->arg[q]))
        return anas_fail(ANAS_INFEASIBLE, "operand %d of the call of '%s' would change its type", q, callee->name);
    for (int r = 0; r < op->num_results; r++)
      node->result[r].shapes[context] = callee->result_type[r];
    if (context < draft->num_checked) transfer_call(draft, context, node);
    return ANAS_OK;
  }
  anas_status status = anas_node_resolve(op, operands, &resolved);
  if (status == ANAS_OK) status = op->def->shape(&resolved, results);
  for (int r = 0; r < op->num_results && status == ANAS_OK; r++)
    status = anas_shape_check(&results[r], false);
  if (status != ANAS_OK) return anas_fail_context(ANAS_INFEASIBLE, "'anas.%s' would not fit: ", op->def->name);
  for (int r = 0; r < op->num_results; r++)
    node->result[r].shapes[context] = results[r];
  if (context < draft->num_checked) transfer_op(draft, context, &resolved, node);
  return ANAS_OK;
}

anas_status anas_draft_keep(struct anas_draft *draft, int old, const struct anas_ref *operands, int *out_node) {
  const struct anas_node *chosen = &anas_draft_old(draft, 0)->nodes[old];
  struct anas_draft_node *node = add_node(draft, old, chosen, operands, chosen->num_operands);
  for (int c = 0; c < draft->num_contexts; c++) {
    anas_status status = infer(draft, c, &anas_draft_old(draft, c)->nodes[old], node);
    if (status != ANAS_OK) {
      draft->num_nodes--;
      return ANAS_INFEASIBLE;
    }
  }
  *out_node = draft->num_nodes - 1;
  return ANAS_OK;
}

anas_status anas_draft_append(struct anas_draft *draft, const struct anas_node *op, const struct anas_ref *operands,
                              int num_operands, int *out_node) {
  struct anas_draft_node *node = add_node(draft, -1, op, operands, num_operands);
  for (int c = 0; c < draft->num_contexts; c++) {
    anas_status status = infer(draft, c, op, node);
    if (status != ANAS_OK) {
      draft->num_nodes--;
      return ANAS_INFEASIBLE;
    }
  }
  *out_node = draft->num_nodes - 1;
  return ANAS_OK;
}

bool anas_draft_satisfies(const struct anas_draft *draft, const struct anas_draft_value *value,
                          const struct anas_relation *required) {
  for (int i = 0; i < draft->num_checked * draft->num_args; i++) {
    const struct anas_relation *actual = &value->relation[i];
    if (actual->depth < required[i].required_depth) return false;
    const struct anas_mixing *need = &required[i].required_mixing, *have = &actual->mixing;
    if (!need->rows) continue;
    for (int r = 0; r < need->rows; r++)
      for (int c = 0; c < need->columns; c++)
        if (need->pair[r][c] > (have->rows ? have->pair[r][c] : 0)) return false;
  }
  return true;
}
