// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Shape inference over a model: resolution of attributes per node, the shape rules of the op table, and block functions
// whose argument types come from their calls.
#include "dialect/attributes.h"
#include "dialect/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- one node

// One entry per spatial dimension of operand 0 (all but the first and the last).
static anas_status spread_ints(struct anas_op *op, int index) {
  const struct anas_attr_def *def = &op->def->attrs[index];
  struct anas_ints *ints = &op->attr[index].value.ints;
  if (def->list || !ints->count || !op->num_operands) return ANAS_OK;
  int spatial = op->operand[0].rank > 2 ? op->operand[0].rank - 2 : 0;
  if (ints->count == 1) {
    for (int i = 1; i < spatial; i++)
      ints->value[i] = ints->value[0];
    ints->count = spatial;
  }
  if (ints->count != spatial) {
    char text[128];
    return anas_fail(ANAS_INVALID,
                     "attribute '%s' of 'anas.%s' has %d entries, but operand 0 is tensor<%s> with %d spatial "
                     "dimension%s; give one entry for each, or one integer for all",
                     def->name, op->def->name, ints->count, anas_shape_text(&op->operand[0], text), spatial,
                     spatial == 1 ? "" : "s");
  }
  return ANAS_OK;
}

anas_status anas_node_resolve(const struct anas_node *node, const struct anas_shape *operands, struct anas_op *out_op) {
  const struct anas_op_def *def = node->def;
  struct anas_op op = {.def = def, .num_operands = node->num_operands};
  memcpy(op.operand, operands, (size_t)node->num_operands * sizeof *operands);
  for (int i = 0; i < def->num_attrs; i++) {
    const struct anas_attr_def *attr = &def->attrs[i];
    if (!node->attr[i].present && attr->required)
      return anas_fail(ANAS_INVALID, "'anas.%s' needs attribute '%s'", def->name, attr->name);
    op.attr[i] = node->attr[i].present ? node->attr[i] : attr->fallback;
    if (!op.attr[i].present) continue;
    if (attr->kind == ANAS_ATTR_INTS) ANAS_RETURN_IF_ERROR(spread_ints(&op, i));
    for (int k = 0; attr->kind == ANAS_ATTR_DIMS && k < op.attr[i].value.ints.count; k++) {
      int64_t *entry = &op.attr[i].value.ints.value[k];
      if (!anas_dims_is_packed(*entry)) continue;
      struct anas_dim_expr dim = anas_dims_unpack(*entry);
      anas_status status = anas_dim_resolve(&dim, operands, node->num_operands, entry);
      if (status) return anas_fail_context(status, "attribute '%s' of 'anas.%s': ", attr->name, def->name);
    }
    if (attr->kind == ANAS_ATTR_DIM) {
      int64_t value;
      anas_status status = anas_dim_resolve(&op.attr[i].value.dim, operands, node->num_operands, &value);
      if (status) return anas_fail_context(status, "attribute '%s' of 'anas.%s': ", attr->name, def->name);
      op.attr[i].value.dim = (struct anas_dim_expr){.constant = value};
    }
  }
  *out_op = op;
  return ANAS_OK;
}

// ---- functions

enum progress { UNSEEN = 0, ACTIVE, DONE };

struct inference {
  struct anas_model *model;
  enum progress *progress; // per function
  int64_t *num_ops;        // per function: operations after its calls are expanded
  int depth;               // of calls
};

static anas_status report(const struct inference *in, const struct anas_node *node, anas_status status) {
  if (!in->model->quiet && !mlirLocationIsNull(node->location)) anas_node_error(node, status);
  return status;
}

// A declared type may leave extents open; what it states must be so.
static bool declared_type_fits(const struct anas_shape *declared, const struct anas_shape *inferred) {
  if (!declared->rank) return declared->element == inferred->element;
  if (declared->rank != inferred->rank || declared->element != inferred->element) return false;
  for (int i = 0; i < declared->rank; i++)
    if (declared->dim[i] != ANAS_DYNAMIC && declared->dim[i] != inferred->dim[i]) return false;
  return true;
}

static anas_status store_results(struct anas_node *node, const char *what, const struct anas_shape *inferred) {
  for (int r = 0; r < node->num_results; r++) {
    if (!declared_type_fits(&node->result[r], &inferred[r])) {
      char declared[128], actual[128];
      return anas_fail(ANAS_INVALID,
                       "result %d of '%s' is declared as tensor<%s%s> but has type tensor<%s>; correct the declared "
                       "type, or write tensor<*xf32> to have it inferred",
                       r, what, node->result[r].rank ? "" : "*x", anas_shape_text(&node->result[r], declared),
                       anas_shape_text(&inferred[r], actual));
    }
  }
  memcpy(node->result, inferred, (size_t)node->num_results * sizeof *inferred);
  return ANAS_OK;
}

static anas_status check_sizes(const struct anas_op *op, const char *name, const struct anas_shape *results,
                               int num_results) {
  struct anas_param params[ANAS_MAX_PARAMS];
  for (int r = 0; r < num_results; r++) {
    anas_status status = anas_shape_check(&results[r], false);
    if (status) return anas_fail_context(status, "result %d of '%s': ", r, name);
  }
  int count = op->def->params ? op->def->params(op, params) : 0;
  for (int p = 0; p < count; p++) {
    anas_status status = anas_shape_check_weights(&params[p].shape);
    if (status) return anas_fail_context(status, "parameter '%s' of '%s': ", params[p].name, name);
  }
  return ANAS_OK;
}

static anas_status infer_op(struct anas_node *node, const struct anas_shape *operands) {
  struct anas_op op;
  struct anas_shape results[ANAS_MAX_RESULTS] = {0};
  char name[80];
  snprintf(name, sizeof name, "anas.%s", node->def->name);
  for (int i = 0; i < node->num_operands; i++) {
    anas_status status = anas_shape_check(&operands[i], false);
    if (status) return anas_fail_context(status, "operand %d of '%s': ", i, name);
  }
  ANAS_RETURN_IF_ERROR(anas_node_resolve(node, operands, &op));
  ANAS_RETURN_IF_ERROR(node->def->shape(&op, results));
  ANAS_RETURN_IF_ERROR(check_sizes(&op, name, results, node->num_results));
  return store_results(node, name, results);
}

static anas_status infer_function(struct inference *in, int index);

static anas_status infer_call(struct inference *in, struct anas_node *node, const struct anas_shape *operands) {
  struct anas_function *callee = &in->model->functions[node->callee];
  if (node->num_operands != callee->num_args || node->num_results != callee->num_results)
    return anas_fail(ANAS_INVALID, "call of '%s' with %d operands and %d results, which has %d and %d", callee->name,
                     node->num_operands, node->num_results, callee->num_args, callee->num_results);
  if (in->progress[node->callee] == ACTIVE)
    return anas_fail(ANAS_INVALID, "'%s' calls itself, directly or through others; networks are finite", callee->name);
  if (in->progress[node->callee] == UNSEEN) {
    if (in->depth == ANAS_MAX_CALL_DEPTH)
      return anas_fail(ANAS_UNSUPPORTED, "calls are nested more than %d deep here, at '%s'", ANAS_MAX_CALL_DEPTH,
                       callee->name);
    memcpy(callee->arg, operands, (size_t)callee->num_args * sizeof *operands);
    ANAS_RETURN_IF_ERROR(infer_function(in, node->callee));
  }
  for (int a = 0; a < callee->num_args; a++)
    if (!anas_shape_equal(&callee->arg[a], &operands[a])) {
      char first[128], second[128];
      return anas_fail(ANAS_INVALID,
                       "operand %d of the call of '%s' is tensor<%s>, but another call passes tensor<%s>; give each "
                       "size its own copy of the function, with the same anas.block",
                       a, callee->name, anas_shape_text(&operands[a], second), anas_shape_text(&callee->arg[a], first));
    }
  return store_results(node, callee->name, callee->result_type);
}

static anas_status infer_function(struct inference *in, int index) {
  struct anas_function *function = &in->model->functions[index];
  in->progress[index] = ACTIVE;
  in->depth++;
  for (int n = 0; n < function->num_nodes; n++) {
    struct anas_node *node = &function->nodes[n];
    struct anas_shape operands[ANAS_MAX_OPERANDS] = {0};
    for (int i = 0; i < node->num_operands; i++) {
      operands[i] = *anas_value_type(function, node->operand[i]);
      if (!operands[i].rank)
        return report(in, node,
                      anas_fail(ANAS_INVALID, "the type of operand %d is unknown; arguments of '%s' need ranked types",
                                i, function->name));
    }
    bool enters = !node->def && in->progress[node->callee] == UNSEEN;
    anas_status status = node->def ? infer_op(node, operands) : infer_call(in, node, operands);
    in->num_ops[index] += node->def || status ? 1 : in->num_ops[node->callee];
    if (!status && in->num_ops[index] > ANAS_MAX_OPS)
      return report(in, node,
                    anas_fail(ANAS_UNSUPPORTED, "'%s' has more than %d operations when its calls are expanded",
                              function->name, ANAS_MAX_OPS));
    // What fails inside a callee has been reported at its own operation and left the callee active.
    if (status) return enters && in->progress[node->callee] == ACTIVE ? status : report(in, node, status);
  }
  for (int r = 0; r < function->num_results; r++)
    function->result_type[r] = *anas_value_type(function, function->result[r]);
  in->progress[index] = DONE;
  in->depth--;
  return ANAS_OK;
}

// Functions nobody calls come first: they fix the argument types of the others.
static bool *called_functions(const struct anas_model *model) {
  bool *called = anas_calloc((size_t)model->num_functions, sizeof *called);
  for (int f = 0; f < model->num_functions; f++)
    for (int n = 0; n < model->functions[f].num_nodes; n++)
      if (!model->functions[f].nodes[n].def) called[model->functions[f].nodes[n].callee] = true;
  return called;
}

anas_status anas_model_infer_shapes(struct anas_model *model) {
  struct inference in = {.model = model};
  in.progress = anas_calloc((size_t)model->num_functions, sizeof *in.progress);
  in.num_ops = anas_calloc((size_t)model->num_functions, sizeof *in.num_ops);
  bool *called = called_functions(model);
  anas_status status = ANAS_OK;
  for (int pass = 0; pass < 2; pass++)
    for (int f = 0; f < model->num_functions && !status; f++)
      if (in.progress[f] == UNSEEN && (pass || !called[f])) status = infer_function(&in, f);
  free(called);
  free(in.progress);
  free(in.num_ops);
  return status;
}
