// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Block instances: copies, duplication and deletion in the entry function.
#include "passes/mutate/internal.h"

#include "runtime/support/memory.h"

#include <stdlib.h>
#include <string.h>

bool anas_functions_isomorphic(const struct anas_function *a, const struct anas_function *b) {
  if (a->num_args != b->num_args || a->num_results != b->num_results || a->num_nodes != b->num_nodes) return false;
  for (int n = 0; n < a->num_nodes; n++) {
    const struct anas_node *x = &a->nodes[n], *y = &b->nodes[n];
    if (x->def != y->def || x->num_operands != y->num_operands || x->num_results != y->num_results) return false;
    for (int q = 0; q < x->num_operands; q++)
      if (x->operand[q].node != y->operand[q].node || x->operand[q].index != y->operand[q].index) return false;
  }
  for (int r = 0; r < a->num_results; r++)
    if (a->result[r].node != b->result[r].node || a->result[r].index != b->result[r].index) return false;
  return true;
}

int anas_block_calls(const struct anas_model *model, const struct anas_function *entry, int *out_nodes) {
  int count = 0;
  for (int n = 0; n < entry->num_nodes; n++)
    if (!entry->nodes[n].def && model->functions[entry->nodes[n].callee].block) out_nodes[count++] = n;
  return count;
}

int anas_copy_function(struct anas_model *model, int index, int64_t generation) {
  const char *base = model->functions[index].name;
  char *name = NULL;
  for (int i = 0; !name; i++) {
    name = i ? anas_arena_format(&model->arena, "%s_g%lld_%d", base, (long long)generation, i)
             : anas_arena_format(&model->arena, "%s_g%lld", base, (long long)generation);
    if (anas_model_find(model, name) >= 0) name = NULL;
  }
  struct anas_function *copy = anas_model_add_function(model, name);
  const struct anas_function *from = &model->functions[index];
  const char *own_name = copy->name;
  *copy = *from;
  copy->name = own_name;
  copy->nodes = anas_calloc((size_t)from->num_nodes, sizeof *copy->nodes);
  copy->capacity_nodes = (size_t)from->num_nodes;
  if (from->num_nodes) memcpy(copy->nodes, from->nodes, (size_t)from->num_nodes * sizeof *copy->nodes);
  copy->extras = anas_calloc((size_t)from->num_extras, sizeof *copy->extras);
  copy->capacity_extras = (size_t)from->num_extras;
  if (from->num_extras) memcpy(copy->extras, from->extras, (size_t)from->num_extras * sizeof *copy->extras);
  return model->num_functions - 1;
}

static void redirect(struct anas_function *function, struct anas_ref from, struct anas_ref to, int except) {
  for (int n = 0; n < function->num_nodes; n++)
    for (int q = 0; q < function->nodes[n].num_operands; q++) {
      struct anas_ref *operand = &function->nodes[n].operand[q];
      if (n != except && operand->node == from.node && operand->index == from.index) *operand = to;
    }
  for (int r = 0; r < function->num_results; r++)
    if (function->result[r].node == from.node && function->result[r].index == from.index) function->result[r] = to;
}

// Makes room for one node behind node n.
static void insert_behind(struct anas_function *function, int n, const struct anas_node *node) {
  for (int i = 0; i < function->num_nodes; i++)
    for (int q = 0; q < function->nodes[i].num_operands; q++)
      if (function->nodes[i].operand[q].node > n) function->nodes[i].operand[q].node++;
  for (int r = 0; r < function->num_results; r++)
    if (function->result[r].node > n) function->result[r].node++;
  anas_function_add_node(function, node->def);
  memmove(function->nodes + n + 2, function->nodes + n + 1,
          (size_t)(function->num_nodes - n - 2) * sizeof *function->nodes);
  function->nodes[n + 1] = *node;
}

static anas_status check_passage(const struct anas_node *call, const char *verb, const char *callee) {
  if (call->num_results == 1 && call->num_operands >= 1) return ANAS_OK;
  return anas_fail(ANAS_INFEASIBLE,
                   "block '%s' cannot be %s: it has %d operands and %d results, not one value in and out", callee, verb,
                   call->num_operands, call->num_results);
}

// The copy reads the block's result in place of its first operand; everything behind reads the copy.
anas_status anas_duplicate_block(struct anas_model *child, int call, int64_t generation) {
  int entry = anas_model_entry(child);
  struct anas_node copy = child->functions[entry].nodes[call];
  ANAS_RETURN_IF_ERROR(check_passage(&copy, "duplicated", child->functions[copy.callee].name));
  copy.callee = anas_copy_function(child, copy.callee, generation);
  struct anas_function *function = &child->functions[entry];
  insert_behind(function, call, &copy);
  redirect(function, (struct anas_ref){call, 0}, (struct anas_ref){call + 1, 0}, -1);
  function->nodes[call + 1].operand[0] = (struct anas_ref){call, 0};
  anas_model_clear_types(child);
  return ANAS_OK;
}

anas_status anas_delete_block(struct anas_model *child, int call) {
  struct anas_function *function = &child->functions[anas_model_entry(child)];
  const struct anas_node *node = &function->nodes[call];
  ANAS_RETURN_IF_ERROR(check_passage(node, "deleted", child->functions[node->callee].name));
  redirect(function, (struct anas_ref){call, 0}, node->operand[0], call);
  anas_model_remove_dead(child);
  anas_model_clear_types(child);
  return ANAS_OK;
}
