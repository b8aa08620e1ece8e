// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Dead code: nodes that no result depends on, and functions that nobody calls.
#include "dialect/model.h"

#include <stdlib.h>
#include <string.h>

bool *anas_live_nodes(const struct anas_function *function) {
  bool *live = anas_calloc((size_t)function->num_nodes, sizeof *live);
  for (int r = 0; r < function->num_results; r++)
    if (function->result[r].node != ANAS_ARGUMENT) live[function->result[r].node] = true;
  for (int n = function->num_nodes - 1; n >= 0; n--)
    for (int i = 0; live[n] && i < function->nodes[n].num_operands; i++)
      if (function->nodes[n].operand[i].node != ANAS_ARGUMENT) live[function->nodes[n].operand[i].node] = true;
  return live;
}

static void renumber(struct anas_ref *ref, const int *new_index) {
  if (ref->node != ANAS_ARGUMENT) ref->node = new_index[ref->node];
}

static void remove_dead_nodes(struct anas_function *function) {
  bool *live = anas_live_nodes(function);
  int *new_index = anas_calloc((size_t)function->num_nodes, sizeof *new_index);
  int kept = 0;
  for (int n = 0; n < function->num_nodes; n++) {
    if (!live[n]) continue;
    struct anas_node *node = &function->nodes[kept];
    if (kept != n) *node = function->nodes[n];
    for (int i = 0; i < node->num_operands; i++)
      renumber(&node->operand[i], new_index);
    new_index[n] = kept++;
  }
  function->num_nodes = kept;
  for (int r = 0; r < function->num_results; r++)
    renumber(&function->result[r], new_index);
  free(new_index);
  free(live);
}

// Everything the public functions call, directly or not. malloc'ed.
static bool *reachable_functions(const struct anas_model *model) {
  bool *reachable = anas_calloc((size_t)model->num_functions, sizeof *reachable);
  int *pending = anas_calloc((size_t)model->num_functions, sizeof *pending), count = 0;
  for (int f = 0; f < model->num_functions; f++)
    if (!model->functions[f].is_private) reachable[pending[count++] = f] = true;
  while (count) {
    const struct anas_function *function = &model->functions[pending[--count]];
    for (int n = 0; n < function->num_nodes; n++) {
      int callee = function->nodes[n].callee;
      if (!function->nodes[n].def && !reachable[callee]) reachable[pending[count++] = callee] = true;
    }
  }
  free(pending);
  return reachable;
}

static void remove_dead_functions(struct anas_model *model) {
  bool *reachable = reachable_functions(model);
  int *new_index = anas_calloc((size_t)model->num_functions, sizeof *new_index);
  int kept = 0;
  for (int f = 0; f < model->num_functions; f++) {
    struct anas_function *function = &model->functions[f];
    if (!reachable[f]) {
      free(function->nodes);
      free(function->extras);
      continue;
    }
    if (kept != f) model->functions[kept] = *function;
    new_index[f] = kept++;
  }
  // The tail holds copies of pointers that now belong to the functions in front.
  memset(model->functions + kept, 0, (size_t)(model->num_functions - kept) * sizeof *model->functions);
  model->num_functions = kept;
  for (int f = 0; f < kept; f++)
    for (int n = 0; n < model->functions[f].num_nodes; n++)
      if (!model->functions[f].nodes[n].def)
        model->functions[f].nodes[n].callee = new_index[model->functions[f].nodes[n].callee];
  free(new_index);
  free(reachable);
}

void anas_model_remove_dead(struct anas_model *model) {
  for (int f = 0; f < model->num_functions; f++)
    remove_dead_nodes(&model->functions[f]);
  // A module without a public function is a collection of blocks: every one of them is a root.
  if (anas_model_entry(model) >= 0) remove_dead_functions(model);
}
