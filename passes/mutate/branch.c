// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Dropping a branch of an add or mul (spec 3.9, 8.3 item 10). The mixing of the junction is the join of its operands',
// its depth the larger one. The junction is a part like a chain is: its properties are inferred and mutated, and the
// simplest graph that may have them is one operand alone, of the same type.
#include "passes/mutate/internal.h"

#include <stdlib.h>
#include <string.h>

static bool is_binary(const struct anas_node *node) {
  return node->def && node->num_operands == 2 && node->num_results == 1 && !node->def->params &&
         (!strcmp(node->def->name, "add") || !strcmp(node->def->name, "mul"));
}

static bool same_shapes(const struct anas_draft *draft, const struct anas_draft_value *a,
                        const struct anas_draft_value *b) {
  for (int c = 0; c < draft->num_contexts; c++)
    if (!anas_shape_equal(&a->shapes[c], &b->shapes[c])) return false;
  return true;
}

// The mutated requirement of the junction, per checked context and argument. malloc'ed.
static struct anas_relation *requirement(struct anas_rewrite *rewrite, const struct anas_draft_value *junction) {
  int count = rewrite->draft->num_checked * rewrite->draft->num_args;
  struct anas_relation *required = anas_calloc((size_t)count, sizeof *required);
  struct anas_property_change change;
  anas_draw_change(rewrite->options, false, rewrite->rng, &change);
  for (int i = 0; i < count; i++) {
    required[i].required_depth = junction->relation[i].depth;
    required[i].required_mixing = junction->relation[i].mixing;
    if (required[i].required_depth > 0) anas_change_depth(&change, &required[i].required_depth);
    if (!rewrite->options->use_depth && required[i].required_depth > 0) required[i].required_depth = 0;
    anas_change_mixing(&change, &required[i].required_mixing);
  }
  return required;
}

bool anas_drop_branch(struct anas_rewrite *rewrite, int node) {
  struct anas_draft *draft = rewrite->draft;
  const struct anas_node *old = &anas_draft_old(draft, 0)->nodes[node];
  if (!is_binary(old) || anas_rng_double(rewrite->rng) >= rewrite->options->drop_probability) return false;
  struct anas_ref junction = rewrite->moved[node][0];
  const struct anas_draft_value *value = anas_draft_value(draft, junction);
  if (!value->exact) return false; // what lies behind a call is not known well enough
  struct anas_relation *required = requirement(rewrite, value);
  int first = (int)anas_rng_below(rewrite->rng, 2);
  bool dropped = false;
  for (int i = 0; i < 2 && !dropped; i++) {
    int kept = (first + i) % 2;
    struct anas_ref operand = draft->nodes[junction.node].op.operand[kept];
    struct anas_draft_value *remaining = anas_draft_value(draft, operand);
    if (!same_shapes(draft, remaining, value) || !anas_draft_satisfies(draft, remaining, required)) continue;
    for (int r = 0; r < draft->num_checked * draft->num_args; r++) { // the value now owes what the junction owed
      remaining->relation[r].required_depth = required[r].required_depth;
      remaining->relation[r].required_mixing = required[r].required_mixing;
    }
    rewrite->moved[node][0] = operand;
    rewrite->report->dropped++;
    anas_strbuf_addf(rewrite->description, "%s%s: operand %d dropped", rewrite->description->size ? "; " : "",
                     old->def->name, 1 - kept);
    dropped = true;
  }
  free(required);
  return dropped;
}
