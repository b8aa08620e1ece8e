// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Adding a residual connection: a synthesised value v becomes v + u for a value u of the same type, in every context,
// from which v is computed. The properties allow it always: depth of a sum is the larger one, its mixing the join.
#include "passes/mutate/internal.h"

#include <stdlib.h>
#include <string.h>

static bool same_shapes(const struct anas_draft *draft, const struct anas_draft_value *a,
                        const struct anas_draft_value *b) {
  for (int c = 0; c < draft->num_contexts; c++)
    if (!anas_shape_equal(&a->shapes[c], &b->shapes[c])) return false;
  return true;
}

// Values of the right type that v depends on, other than v; the operands of a sum that v already is are no news.
static int find_sources(struct anas_draft *draft, struct anas_ref v, struct anas_ref *out) {
  bool *needed = anas_calloc((size_t)draft->num_nodes + 1, sizeof *needed), argument[ANAS_MAX_ARGS] = {false};
  int count = 0;
  needed[v.node] = true;
  for (int n = v.node; n >= 0; n--)
    for (int q = 0; needed[n] && q < draft->nodes[n].op.num_operands; q++) {
      struct anas_ref operand = draft->nodes[n].op.operand[q];
      if (operand.node == ANAS_ARGUMENT)
        argument[operand.index] = true;
      else
        needed[operand.node] = true;
    }
  const struct anas_draft_value *value = anas_draft_value(draft, v);
  for (int a = 0; a < draft->num_args; a++)
    if (argument[a] && same_shapes(draft, &draft->args[a], value)) out[count++] = (struct anas_ref){ANAS_ARGUMENT, a};
  for (int n = 0; n < v.node; n++)
    for (int r = 0; needed[n] && r < draft->nodes[n].op.num_results; r++)
      if (same_shapes(draft, &draft->nodes[n].result[r], value)) out[count++] = (struct anas_ref){n, r};
  free(needed);
  return count;
}

anas_status anas_add_residual(struct anas_rewrite *rewrite, struct anas_ref *value) {
  struct anas_draft *draft = rewrite->draft;
  const struct anas_op_def *add = anas_op_find("add", 3);
  if (value->node == ANAS_ARGUMENT || !add || rewrite->options->residual_probability <= 0 ||
      anas_rng_double(rewrite->rng) >= rewrite->options->residual_probability)
    return ANAS_OK;
  size_t capacity = (size_t)draft->num_args + (size_t)draft->num_nodes * ANAS_MAX_RESULTS;
  struct anas_ref *sources = anas_calloc(capacity, sizeof *sources);
  int count = find_sources(draft, *value, sources), node;
  anas_status status = ANAS_OK;
  if (count > 0) {
    struct anas_ref operands[2] = {*value, sources[anas_rng_below(rewrite->rng, (uint64_t)count)]};
    struct anas_node op = {.def = add, .callee = -1, .num_results = 1};
    status = anas_draft_append(draft, &op, operands, 2, &node);
    if (status == ANAS_OK) {
      *value = (struct anas_ref){node, 0};
      rewrite->report->residuals++;
      anas_strbuf_adds(rewrite->description, " + residual");
    }
  }
  free(sources);
  return status;
}
