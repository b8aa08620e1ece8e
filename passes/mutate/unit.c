// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The unit of a block: its call with the residual connection around it, which duplication and deletion take along, as
// the reference rebuilds a network from its list of blocks. The unit starts at the value that the connection branches
// off and ends where everything has come together again, with the elementwise op behind it: all of
// relu(bn(block(x)) + project(x)), or x + block(layer_norm(x)). Without a connection it is the call.
#include "passes/mutate/internal.h"

#include <stdlib.h>
#include <string.h>

static bool same_value(struct anas_ref a, struct anas_ref b) {
  return a.node == b.node && a.index == b.index;
}

static int count_value_uses(const struct anas_function *function, struct anas_ref value) {
  int uses = 0;
  for (int n = 0; n < function->num_nodes; n++)
    for (int q = 0; q < function->nodes[n].num_operands; q++)
      uses += same_value(function->nodes[n].operand[q], value);
  for (int r = 0; r < function->num_results; r++)
    uses += same_value(function->result[r], value);
  return uses;
}

// The value a connection around the call would start from: up through unary ops with one reader each.
static bool find_branch(const struct anas_function *function, int call, struct anas_ref *out) {
  struct anas_ref value = function->nodes[call].operand[0];
  while (count_value_uses(function, value) == 1) {
    if (value.node == ANAS_ARGUMENT) return false;
    const struct anas_node *node = &function->nodes[value.node];
    if (!node->def || node->num_operands != 1 || node->num_results != 1) return false;
    value = node->operand[0];
  }
  *out = value;
  return true;
}

// Sweeps on from the entry until nothing but one node's result is still to be read. False if the region would have
// another entry or another block, or never closes.
static bool find_region(const struct anas_function *function, int call, struct anas_ref entry, bool *inside,
                        int *out_exit) {
  int open = count_value_uses(function, entry);
  for (int n = entry.node == ANAS_ARGUMENT ? 0 : entry.node + 1; n < function->num_nodes; n++) {
    const struct anas_node *node = &function->nodes[n];
    int from_region = 0;
    for (int q = 0; q < node->num_operands; q++) {
      struct anas_ref operand = node->operand[q];
      from_region += same_value(operand, entry) || (operand.node != ANAS_ARGUMENT && inside[operand.node]);
    }
    if (from_region == 0) continue;
    if (from_region < node->num_operands || node->num_results != 1 || (!node->def && n != call)) return false;
    inside[n] = true;
    int uses = count_value_uses(function, (struct anas_ref){n, 0});
    open += uses - from_region;
    if (open != uses || !inside[call]) continue;
    *out_exit = n;
    return n != call; // the call alone is no region
  }
  return false;
}

static bool is_elementwise(const struct anas_function *function, int n) {
  const struct anas_node *node = &function->nodes[n];
  return node->def && node->num_operands == 1 && node->num_results == 1 && !node->def->params && !node->def->deps &&
         anas_shape_equal(&node->result[0], anas_value_type(function, node->operand[0]));
}

static int only_reader(const struct anas_function *function, int node) {
  if (count_value_uses(function, (struct anas_ref){node, 0}) != 1) return -1;
  for (int n = node + 1; n < function->num_nodes; n++)
    for (int q = 0; q < function->nodes[n].num_operands; q++)
      if (same_value(function->nodes[n].operand[q], (struct anas_ref){node, 0})) return n;
  return -1;
}

void anas_find_unit(const struct anas_function *function, int call, struct anas_unit *out) {
  *out = (struct anas_unit){.entry = function->nodes[call].operand[0], .exit = call};
  out->inside = anas_calloc((size_t)function->num_nodes + 1, sizeof *out->inside);
  struct anas_ref branch;
  int exit;
  if (find_branch(function, call, &branch) && find_region(function, call, branch, out->inside, &exit)) {
    out->entry = branch;
    out->exit = exit;
    for (int next = only_reader(function, exit); next >= 0 && is_elementwise(function, next);
         next = only_reader(function, next)) {
      out->inside[next] = true;
      out->exit = next;
    }
    return;
  }
  memset(out->inside, 0, (size_t)function->num_nodes * sizeof *out->inside);
  out->inside[call] = true;
}

void anas_unit_deinit(struct anas_unit *unit) {
  free(unit->inside);
  *unit = (struct anas_unit){0};
}
