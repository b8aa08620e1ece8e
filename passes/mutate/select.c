// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which part of a block is replaced: a random connected set of ops, grown one neighbour at a time (spec 1.9). Unlike in
// the reference it is convex: no path leaves the set and comes back, so it can be replaced as one piece.
#include "passes/mutate/internal.h"

#include "runtime/support/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool adjacent(const struct anas_function *function, int a, int b) {
  int first = a < b ? a : b, second = a < b ? b : a; // nodes only read earlier ones
  for (int q = 0; q < function->nodes[second].num_operands; q++)
    if (function->nodes[second].operand[q].node == first) return true;
  return false;
}

// left[n]: node n is outside and depends on a selected node.
static bool is_convex(const struct anas_function *function, const bool *selected, bool *left) {
  for (int n = 0; n < function->num_nodes; n++) {
    const struct anas_node *node = &function->nodes[n];
    left[n] = false;
    for (int q = 0; q < node->num_operands; q++) {
      int producer = node->operand[q].node;
      if (producer == ANAS_ARGUMENT) continue;
      if (selected[n] && left[producer]) return false;
      if (!selected[n] && (selected[producer] || left[producer])) left[n] = true;
    }
  }
  return true;
}

static bool can_join(const struct anas_function *function, bool *selected, int size, int node, bool *left) {
  if (selected[node] || !function->nodes[node].def) return false;
  bool touches = size == 0;
  for (int n = 0; n < function->num_nodes && !touches; n++)
    touches = selected[n] && adjacent(function, n, node);
  if (!touches) return false;
  selected[node] = true;
  bool convex = is_convex(function, selected, left);
  selected[node] = false;
  return convex;
}

int anas_selection_limit(const struct anas_function *function, const struct anas_mutation_options *options) {
  if (options->max_ops > 0) return options->max_ops;
  int limit = (int)ceil(options->max_fraction * function->num_nodes);
  return limit < 1 ? 1 : limit;
}

void anas_select_subgraph(const struct anas_function *function, const struct anas_mutation_options *options,
                          struct anas_rng *rng, bool *out_selected) {
  size_t count = (size_t)function->num_nodes;
  bool *left = anas_calloc(count + 1, sizeof *left);
  int *candidates = anas_calloc(count + 1, sizeof *candidates);
  memset(out_selected, 0, count * sizeof *out_selected);
  int limit = anas_selection_limit(function, options);
  for (int size = 0; size < limit;) {
    int num_candidates = 0;
    for (int n = 0; n < function->num_nodes; n++)
      if (can_join(function, out_selected, size, n, left)) candidates[num_candidates++] = n;
    if (num_candidates == 0) break;
    out_selected[candidates[anas_rng_below(rng, (uint64_t)num_candidates)]] = true;
    size++;
    if (anas_rng_double(rng) >= options->grow_probability) break;
  }
  free(candidates);
  free(left);
}
