// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Chains: runs of unary ops that the synthesisers can replace, and their random selection (spec 1.9, sequential).
#include "passes/mutate/internal.h"

#include <stdlib.h>
#include <string.h>

int *anas_count_uses(const struct anas_function *function) {
  int *uses = anas_calloc((size_t)function->num_nodes + 1, sizeof *uses);
  for (int n = 0; n < function->num_nodes; n++)
    for (int q = 0; q < function->nodes[n].num_operands; q++)
      if (function->nodes[n].operand[q].node != ANAS_ARGUMENT) uses[function->nodes[n].operand[q].node]++;
  for (int r = 0; r < function->num_results; r++)
    if (function->result[r].node != ANAS_ARGUMENT) uses[function->result[r].node]++;
  return uses;
}

static bool is_replaceable(const struct anas_node *node) {
  return node->def && node->def->synthesizable && node->num_operands == 1 && node->num_results == 1;
}

static bool is_link(const struct anas_function *function, const bool *selected, int n) {
  return selected[n] && is_replaceable(&function->nodes[n]);
}

int anas_find_chains(const struct anas_function *function, const bool *selected, int *storage,
                     struct anas_chain *chains) {
  int *uses = anas_count_uses(function);
  int count = 0;
  for (int n = 0; n < function->num_nodes; n++) {
    if (!is_link(function, selected, n)) continue;
    int producer = function->nodes[n].operand[0].node;
    if (producer != ANAS_ARGUMENT && is_link(function, selected, producer) && uses[producer] == 1) continue; // inner
    struct anas_chain *chain = &chains[count++];
    *chain = (struct anas_chain){.nodes = storage};
    for (int link = n, end = 0; !end;) {
      *storage++ = link;
      chain->length++;
      end = 1;
      for (int next = link + 1; next < function->num_nodes && uses[link] == 1 && end; next++)
        if (is_link(function, selected, next) && function->nodes[next].operand[0].node == link) {
          link = next;
          end = 0;
        }
    }
  }
  free(uses);
  return count;
}

// ---- sequential selection

// The only reader of a value, if it may continue the chain; -1: there is none.
static int next_of(const struct anas_function *function, const int *uses, int n) {
  for (int i = n + 1; i < function->num_nodes && uses[n] == 1; i++)
    if (is_replaceable(&function->nodes[i]) && function->nodes[i].operand[0].node == n) return i;
  return -1;
}

static int previous_of(const struct anas_function *function, const int *uses, int n) {
  int p = function->nodes[n].operand[0].node;
  return p != ANAS_ARGUMENT && is_replaceable(&function->nodes[p]) && uses[p] == 1 ? p : -1;
}

// Starts anywhere and grows at either end, to the limit or until a draw says stop; without a probability of growing,
// the length is drawn instead. Candidates are the ops that can be synthesised, so that the chain is replaced as one.
void anas_select_sequence(const struct anas_function *function, const struct anas_mutation_options *options,
                          struct anas_rng *rng, bool *out_selected) {
  memset(out_selected, 0, (size_t)function->num_nodes * sizeof *out_selected);
  int *candidates = anas_calloc((size_t)function->num_nodes + 1, sizeof *candidates), count = 0;
  int *uses = anas_count_uses(function);
  for (int n = 0; n < function->num_nodes; n++)
    if (is_replaceable(&function->nodes[n])) candidates[count++] = n;
  int limit = anas_selection_limit(function, options);
  bool certain = options->grow_probability == 0;
  if (certain) limit = 1 + (int)anas_rng_below(rng, (uint64_t)limit);
  int first = count ? candidates[anas_rng_below(rng, (uint64_t)count)] : -1, last = first;
  if (count) out_selected[first] = true;
  for (int length = 1; count && length < limit; length++) {
    int back = next_of(function, uses, last), front = previous_of(function, uses, first);
    if (back < 0 && front < 0) break;
    if (!certain && anas_rng_double(rng) >= options->grow_probability) break;
    bool at_back = front < 0 || (back >= 0 && anas_rng_double(rng) < 0.5);
    out_selected[at_back ? back : front] = true;
    if (at_back)
      last = back;
    else
      first = front;
  }
  free(uses);
  free(candidates);
}
