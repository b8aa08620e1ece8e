// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Graph synthesis (spec 3.9): goes through the old body in order. Ops outside the selection stay; of the selected ones,
// junctions stay or lose a branch, and maximal chains of unary ops between them are synthesised anew, each with the
// properties it has behind what has been put before it.
#include "passes/mutate/internal.h"

#include <stdlib.h>
#include <string.h>

// Is the result of node n read outside the selection?
static bool is_output(const struct anas_function *function, const bool *selected, int n) {
  for (int r = 0; r < function->num_results; r++)
    if (function->result[r].node == n) return true;
  for (int i = n + 1; i < function->num_nodes; i++)
    for (int q = 0; !selected[i] && q < function->nodes[i].num_operands; q++)
      if (function->nodes[i].operand[q].node == n) return true;
  return false;
}

static anas_status keep(struct anas_rewrite *rewrite, int n) {
  const struct anas_node *node = &anas_draft_old(rewrite->draft, 0)->nodes[n];
  struct anas_ref operands[ANAS_MAX_OPERANDS];
  int kept;
  for (int q = 0; q < node->num_operands; q++)
    operands[q] = node->operand[q].node == ANAS_ARGUMENT
                      ? node->operand[q]
                      : rewrite->moved[node->operand[q].node][node->operand[q].index];
  ANAS_RETURN_IF_ERROR(anas_draft_keep(rewrite->draft, n, operands, &kept));
  for (int r = 0; r < node->num_results; r++)
    rewrite->moved[n][r] = (struct anas_ref){kept, r};
  return ANAS_OK;
}

static anas_status rewrite_nodes(struct anas_rewrite *rewrite, const struct anas_chain *chains, const int *chain_of) {
  const struct anas_function *function = anas_draft_old(rewrite->draft, 0);
  for (int n = 0; n < function->num_nodes; n++) {
    if (chain_of[n]) {
      const struct anas_chain *chain = &chains[chain_of[n] - 1];
      int last = chain->nodes[chain->length - 1];
      if (n == chain->nodes[0])
        ANAS_RETURN_IF_ERROR(anas_rewrite_chain(rewrite, chain, is_output(function, rewrite->selected, last)));
      continue;
    }
    ANAS_RETURN_IF_ERROR(keep(rewrite, n));
    if (rewrite->selected[n]) anas_drop_branch(rewrite, n);
  }
  for (int r = 0; r < function->num_results; r++) {
    struct anas_ref old = function->result[r];
    rewrite->draft->results[r] = old.node == ANAS_ARGUMENT ? old : rewrite->moved[old.node][old.index];
  }
  return ANAS_OK;
}

anas_status anas_rewrite_body(struct anas_rewrite *rewrite) {
  const struct anas_function *function = anas_draft_old(rewrite->draft, 0);
  size_t count = (size_t)function->num_nodes + 1;
  int *storage = anas_calloc(count, sizeof *storage), *chain_of = anas_calloc(count, sizeof *chain_of);
  struct anas_chain *chains = anas_calloc(count, sizeof *chains);
  rewrite->moved = anas_calloc(count, sizeof *rewrite->moved);
  int num_chains = anas_find_chains(function, rewrite->selected, storage, chains);
  for (int c = 0; c < num_chains; c++)
    for (int i = 0; i < chains[c].length; i++)
      chain_of[chains[c].nodes[i]] = c + 1;
  anas_status status = rewrite_nodes(rewrite, chains, chain_of);
  if (status == ANAS_OK && rewrite->report->chains + rewrite->report->dropped == 0)
    status = anas_fail(ANAS_INFEASIBLE, "the selected part of '%s' has no op that could be replaced", function->name);
  free(rewrite->moved);
  free(chains);
  free(chain_of);
  free(storage);
  return status;
}
