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

anas_status anas_splice(struct anas_model *model, struct anas_function *function, const struct anas_draft_node *nodes,
                        int num_nodes, const struct anas_ref *results, int64_t generation) {
  ANAS_RETURN_IF_ERROR(check_body(function, nodes, num_nodes, results));
  struct anas_node *body = anas_calloc((size_t)num_nodes + 1, sizeof *body);
  anas_status status = ANAS_OK;
  for (int n = 0; n < num_nodes && status == ANAS_OK; n++) {
    const struct anas_draft_node *from = &nodes[n];
    if (from->old >= 0) {
      body[n] = function->nodes[from->old];
      memcpy(body[n].operand, from->op.operand, sizeof body[n].operand);
    } else {
      body[n] = from->op;
      body[n].callee = -1;
      body[n].location = (MlirLocation){NULL};
      if (from->op.name)
        body[n].name = anas_model_strdup(model, from->op.name);
      else if (from->op.def->params)
        body[n].name = new_name(model, function, body, n, from->op.def->name, generation);
    }
    memset(body[n].result, 0, sizeof body[n].result);
    if (body[n].name && name_taken(body, n, body[n].name))
      status =
          anas_fail(ANAS_INVALID, "the name '%s' is not unique in the new body of '%s'", body[n].name, function->name);
  }
  if (status != ANAS_OK) {
    free(body);
    return status;
  }
  free(function->nodes);
  function->nodes = body;
  function->num_nodes = num_nodes;
  function->capacity_nodes = (size_t)num_nodes + 1;
  memcpy(function->result, results, (size_t)function->num_results * sizeof *results);
  return ANAS_OK;
}
