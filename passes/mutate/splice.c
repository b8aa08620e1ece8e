// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Splicing (spec 1.8): a function gets a new body, made of its own nodes and new ones. What is wrong with a body is
// found before anything is changed.
#include "passes/mutate/internal.h"

#include <stdlib.h>
#include <string.h>

static const char *const delimiters = ":*%"; // of symbolic extents and parameter paths

static bool name_taken(const struct anas_node *nodes, int num_nodes, const char *name) {
  for (int n = 0; n < num_nodes; n++)
    if (nodes[n].name && !strcmp(nodes[n].name, name)) return true;
  return false;
}

// New names keep clear of the old body's too, dropped or not: a name then means one set of parameters in a lineage.
static const char *new_name(struct anas_model *model, const struct anas_function *function,
                            const struct anas_node *nodes, int num_nodes, const char *op, int64_t generation) {
  for (int i = 0;; i++) {
    const char *name = i ? anas_arena_format(&model->arena, "gen%lld/%s_%d", (long long)generation, op, i)
                         : anas_arena_format(&model->arena, "gen%lld/%s", (long long)generation, op);
    if (!name_taken(nodes, num_nodes, name) && !name_taken(function->nodes, function->num_nodes, name)) return name;
  }
}

static anas_status check_ref(const struct anas_function *function, const struct anas_draft_node *nodes, int num_nodes,
                             struct anas_ref ref, int before, const char *reader) {
  bool argument = ref.node == ANAS_ARGUMENT && ref.index >= 0 && ref.index < function->num_args;
  bool exists = ref.node >= 0 && ref.node < num_nodes && ref.index >= 0 && ref.index < nodes[ref.node].op.num_results;
  if (!argument && !exists)
    return anas_fail(ANAS_INVALID, "no node of the new body of '%s' produces what '%s' reads", function->name, reader);
  if (!argument && ref.node >= before)
    return anas_fail(ANAS_INVALID, "the new body of '%s' is not topologically sorted: '%s' reads a later node",
                     function->name, reader);
  return ANAS_OK;
}

static anas_status check_body(const struct anas_function *function, const struct anas_draft_node *nodes, int num_nodes,
                              const struct anas_ref *results) {
  for (int n = 0; n < num_nodes; n++) {
    const struct anas_draft_node *node = &nodes[n];
    const char *reader = node->op.def ? node->op.def->name : "call";
    if (node->old < -1 || node->old >= function->num_nodes)
      return anas_fail(ANAS_INVALID, "'%s' has no node %d to keep", function->name, node->old);
    for (int q = 0; q < node->op.num_operands; q++)
      ANAS_RETURN_IF_ERROR(check_ref(function, nodes, num_nodes, node->op.operand[q], n, reader));
    if (node->old < 0 && node->op.name && strpbrk(node->op.name, delimiters))
      return anas_fail(ANAS_INVALID, "the name '%s' of a new op contains one of the delimiters %s", node->op.name,
                       delimiters);
  }
  for (int r = 0; r < function->num_results; r++)
    ANAS_RETURN_IF_ERROR(check_ref(function, nodes, num_nodes, results[r], num_nodes, "return"));
  return ANAS_OK;
}

// index[n]: place of node n in the body without dead nodes; -1: dead. Returns how many are alive.
static int number_live(const struct anas_function *function, const struct anas_draft_node *nodes, int num_nodes,
                       const struct anas_ref *results, int *index) {
  int count = 0;
  for (int r = 0; r < function->num_results; r++)
    if (results[r].node != ANAS_ARGUMENT) index[results[r].node] = 1;
  for (int n = num_nodes - 1; n >= 0; n--)
    for (int q = 0; index[n] && q < nodes[n].op.num_operands; q++)
      if (nodes[n].op.operand[q].node != ANAS_ARGUMENT) index[nodes[n].op.operand[q].node] = 1;
  for (int n = 0; n < num_nodes; n++)
    index[n] = index[n] ? count++ : -1;
  return count;
}

static struct anas_ref renumber(struct anas_ref ref, const int *index) {
  return ref.node == ANAS_ARGUMENT ? ref : (struct anas_ref){index[ref.node], ref.index};
}

static anas_status fill_body(struct anas_model *model, const struct anas_function *function,
                             const struct anas_draft_node *nodes, int num_nodes, const int *index, int64_t generation,
                             struct anas_node *body) {
  for (int n = 0; n < num_nodes; n++) {
    const struct anas_draft_node *from = &nodes[n];
    if (index[n] < 0) continue;
    struct anas_node *node = &body[index[n]];
    *node = from->old >= 0 ? function->nodes[from->old] : from->op;
    for (int q = 0; q < node->num_operands; q++)
      node->operand[q] = renumber(from->op.operand[q], index);
    if (from->old < 0) {
      node->callee = -1;
      node->location = (MlirLocation){NULL};
      node->name = anas_model_strdup(model, from->op.name);
      if (!node->name && node->def->params)
        node->name = new_name(model, function, body, index[n], node->def->name, generation);
    }
    memset(node->result, 0, sizeof node->result);
    if (node->name && name_taken(body, index[n], node->name))
      return anas_fail(ANAS_INVALID, "the name '%s' is not unique in the new body of '%s'", node->name, function->name);
  }
  return ANAS_OK;
}

anas_status anas_splice(struct anas_model *model, struct anas_function *function, const struct anas_draft_node *nodes,
                        int num_nodes, const struct anas_ref *results, int64_t generation) {
  ANAS_RETURN_IF_ERROR(check_body(function, nodes, num_nodes, results));
  int *index = anas_calloc((size_t)num_nodes + 1, sizeof *index);
  int count = number_live(function, nodes, num_nodes, results, index);
  struct anas_node *body = anas_calloc((size_t)count + 1, sizeof *body);
  anas_status status = fill_body(model, function, nodes, num_nodes, index, generation, body);
  if (status == ANAS_OK) {
    free(function->nodes);
    function->nodes = body;
    function->num_nodes = count;
    function->capacity_nodes = (size_t)count + 1;
    for (int r = 0; r < function->num_results; r++)
      function->result[r] = renumber(results[r], index);
  } else {
    free(body);
  }
  free(index);
  return status;
}
