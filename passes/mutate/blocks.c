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

static anas_status check_passage(const struct anas_node *call, const char *verb, const char *callee) {
  if (call->num_results == 1 && call->num_operands >= 1) return ANAS_OK;
  return anas_fail(ANAS_INFEASIBLE,
                   "block '%s' cannot be %s: it has %d operands and %d results, not one value in and out", callee, verb,
                   call->num_operands, call->num_results);
}

static bool name_exists(const struct anas_function *function, const char *name) {
  for (int n = 0; n < function->num_nodes; n++)
    if (function->nodes[n].name && !strcmp(function->nodes[n].name, name)) return true;
  return false;
}

static const char *copied_name(struct anas_model *model, const struct anas_function *function, const char *base,
                               int64_t generation) {
  for (int i = 0;; i++) {
    const char *name = i ? anas_arena_format(&model->arena, "%s_g%lld_%d", base, (long long)generation, i)
                         : anas_arena_format(&model->arena, "%s_g%lld", base, (long long)generation);
    if (!name_exists(function, name)) return name;
  }
}

static struct anas_ref shifted(struct anas_ref ref, int behind, int by) {
  if (ref.node != ANAS_ARGUMENT && ref.node > behind) ref.node += by;
  return ref;
}

// Copies the nodes of the unit behind its exit. The copy reads the exit in place of the entry, and what read the exit
// outside now reads the copy's.
static void copy_unit(struct anas_model *model, struct anas_function *function, const struct anas_unit *unit,
                      int64_t generation) {
  int size = 0;
  for (int n = 0; n <= unit->exit; n++)
    size += unit->inside[n];
  int num_nodes = function->num_nodes + size, exit = unit->exit;
  struct anas_node *nodes = anas_calloc((size_t)num_nodes, sizeof *nodes);
  int *copy = anas_calloc((size_t)function->num_nodes, sizeof *copy);
  memcpy(nodes, function->nodes, (size_t)(exit + 1) * sizeof *nodes);
  int at = exit + 1;
  for (int n = 0; n <= exit; n++) {
    if (!unit->inside[n]) continue;
    struct anas_node *node = &nodes[at];
    *node = function->nodes[n];
    for (int q = 0; q < node->num_operands; q++) {
      struct anas_ref *operand = &node->operand[q];
      if (operand->node == unit->entry.node && operand->index == unit->entry.index)
        *operand = (struct anas_ref){exit, 0};
      else if (operand->node != ANAS_ARGUMENT && unit->inside[operand->node])
        operand->node = copy[operand->node];
    }
    if (node->name) node->name = copied_name(model, function, node->name, generation);
    copy[n] = at++;
  }
  const struct anas_ref old_exit = {exit, 0}, new_exit = {copy[exit], 0};
  for (int n = exit + 1; n < function->num_nodes; n++) {
    nodes[n + size] = function->nodes[n];
    for (int q = 0; q < nodes[n + size].num_operands; q++) {
      struct anas_ref operand = function->nodes[n].operand[q];
      bool is_exit = operand.node == old_exit.node && operand.index == old_exit.index;
      nodes[n + size].operand[q] = is_exit ? new_exit : shifted(operand, exit, size);
    }
  }
  for (int r = 0; r < function->num_results; r++) {
    bool is_exit = function->result[r].node == old_exit.node && function->result[r].index == old_exit.index;
    function->result[r] = is_exit ? new_exit : shifted(function->result[r], exit, size);
  }
  free(copy);
  free(function->nodes);
  function->nodes = nodes;
  function->num_nodes = num_nodes;
  function->capacity_nodes = (size_t)num_nodes;
}

anas_status anas_duplicate_block(struct anas_model *child, int call, int64_t generation) {
  int entry = anas_model_entry(child);
  const struct anas_node *node = &child->functions[entry].nodes[call];
  int callee = node->callee;
  ANAS_RETURN_IF_ERROR(check_passage(node, "duplicated", child->functions[callee].name));
  int copied = anas_copy_function(child, callee, generation);
  struct anas_function *function = &child->functions[entry];
  struct anas_unit unit;
  anas_find_unit(function, call, &unit);
  copy_unit(child, function, &unit, generation);
  for (int n = unit.exit + 1; n < function->num_nodes; n++)
    if (!function->nodes[n].def && function->nodes[n].callee == callee) {
      function->nodes[n].callee = copied; // the first one behind the exit is the copy
      break;
    }
  anas_unit_deinit(&unit);
  anas_model_clear_types(child);
  return ANAS_OK;
}

anas_status anas_delete_block(struct anas_model *child, int call) {
  struct anas_function *function = &child->functions[anas_model_entry(child)];
  const struct anas_node *node = &function->nodes[call];
  ANAS_RETURN_IF_ERROR(check_passage(node, "deleted", child->functions[node->callee].name));
  struct anas_unit unit;
  anas_find_unit(function, call, &unit);
  redirect(function, (struct anas_ref){unit.exit, 0}, unit.entry, unit.exit);
  anas_unit_deinit(&unit);
  anas_model_remove_dead(child);
  anas_model_clear_types(child);
  return ANAS_OK;
}
