// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One chain of a body: infer its properties where it now stands, in every context, mutate them, synthesise a chain that
// has them. Its shape holds in all contexts, so what is synthesised once fits wherever the block is used; depth and
// mixing hold in the contexts that are checked.
#include "passes/mutate/internal.h"

#include <stdlib.h>
#include <string.h>

struct chain_synthesis {
  struct anas_rewrite *rewrite;
  const struct anas_chain *chain;
  struct anas_ref input;       // in the draft
  struct anas_target *targets; // one for each context; then without repetitions
  struct anas_target *distinct;
  int num_distinct;
  int64_t old_depth;
  struct anas_property_change change;
  struct anas_synthesis_result result;
};

// The target that the old chain itself satisfies behind its new input, in one context.
static anas_status infer_target(const struct chain_synthesis *s, int context, struct anas_target *out) {
  struct anas_draft *draft = s->rewrite->draft;
  const struct anas_draft_value *input = anas_draft_value(draft, s->input);
  const struct anas_function *function = anas_draft_old(draft, context);
  struct anas_target target = {.input = input->shapes[context], .input_linear = input->kind == ANAS_LINEAR};
  struct anas_depth_state depth = {0, input->kind};
  struct anas_shape shape = target.input;
  bool checked = context < draft->num_checked;
  target.require_depth = checked && s->rewrite->options->use_depth;
  target.require_mixing = checked && !s->change.drop_mixing;
  anas_mixing_of_input(&shape, &target.mixing);
  for (int i = 0; i < s->chain->length; i++) {
    const struct anas_node *node = &function->nodes[s->chain->nodes[i]];
    struct anas_op op;
    struct anas_shape results[ANAS_MAX_RESULTS];
    struct anas_mixing pairing;
    anas_status status = anas_node_resolve(node, &shape, &op);
    if (status == ANAS_OK) status = op.def->shape(&op, results);
    if (status == ANAS_OK) status = anas_shape_check(&results[0], false);
    if (status != ANAS_OK) return anas_fail_context(ANAS_INFEASIBLE, "'anas.%s' would not fit: ", node->def->name);
    shape = results[0];
    depth = anas_depth_append(depth, node->def->linearity);
    if (!target.require_mixing) continue;
    anas_mixing_of_op(&op, 0, &shape, &pairing);
    anas_mixing_compose(&target.mixing, &pairing, &target.mixing);
  }
  target.output = shape;
  target.depth = depth.depth;
  if (!target.require_mixing) target.mixing = (struct anas_mixing){.rows = shape.rank, .columns = shape.rank};
  *out = target;
  return ANAS_OK;
}

static bool same_target(const struct anas_target *a, const struct anas_target *b) {
  return anas_shape_equal(&a->input, &b->input) && anas_shape_equal(&a->output, &b->output) &&
         a->require_depth == b->require_depth && a->require_mixing == b->require_mixing &&
         !memcmp(&a->mixing, &b->mixing, sizeof a->mixing);
}

static anas_status set_targets(struct chain_synthesis *s) {
  for (int c = 0; c < s->rewrite->draft->num_contexts; c++) {
    struct anas_target *target = &s->targets[c];
    ANAS_RETURN_IF_ERROR(infer_target(s, c, target));
    s->old_depth = target->depth; // the same in every context
    anas_change_depth(&s->change, &target->depth);
    anas_change_mixing(&s->change, &target->mixing);
    target->any_shape = s->change.any_shape;
    bool known = false;
    for (int t = 0; t < s->num_distinct && !known; t++)
      known = same_target(&s->distinct[t], target);
    if (!known) s->distinct[s->num_distinct++] = *target;
  }
  return ANAS_OK;
}

static anas_status synthesize(struct chain_synthesis *s) {
  const struct anas_mutation_options *options = s->rewrite->options;
  const struct anas_function *function = anas_draft_old(s->rewrite->draft, 0);
  int length = s->chain->length;
  struct anas_synthesis_options synthesis = options->synthesis;
  synthesis.max_candidates = options->max_candidates;
  synthesis.max_length = length + options->max_delta;
  if (synthesis.max_length > ANAS_MAX_CHAIN) synthesis.max_length = ANAS_MAX_CHAIN;
  synthesis.min_length = length - options->min_delta;
  synthesis.min_length = synthesis.min_length < 0 ? 1 : synthesis.min_length + 1; // strictly above, spec 3.7
  if (synthesis.min_length > synthesis.max_length) synthesis.min_length = synthesis.max_length;
  struct anas_node *reference = anas_calloc((size_t)length, sizeof *reference);
  for (int i = 0; i < length; i++)
    reference[i] = function->nodes[s->chain->nodes[i]];
  anas_status status =
      anas_synthesize_chain(s->distinct, s->num_distinct, reference, length, &synthesis, s->rewrite->rng, &s->result);
  free(reference);
  return status;
}

// Puts the synthesised ops into the draft. What the chain was required to have, not what it happens to have, counts for
// the requirement of the whole.
static anas_status append(struct chain_synthesis *s, struct anas_ref *out) {
  struct anas_draft *draft = s->rewrite->draft;
  struct anas_ref value = s->input;
  for (int i = 0; i < s->result.num_nodes; i++) {
    int node;
    ANAS_RETURN_IF_ERROR(anas_draft_append(draft, &s->result.chain[i], &value, 1, &node));
    value = (struct anas_ref){node, 0};
  }
  *out = value;
  if (s->result.num_nodes == 0) return ANAS_OK;
  const struct anas_draft_value *input = anas_draft_value(draft, s->input), *end = anas_draft_value(draft, value);
  for (int c = 0; c < draft->num_checked; c++)
    for (int a = 0; a < draft->num_args; a++) {
      const struct anas_relation *before = &input->relation[c * draft->num_args + a];
      struct anas_relation *after = &end->relation[c * draft->num_args + a];
      if (before->required_depth < 0) continue;
      after->required_depth = before->required_depth + (s->targets[c].require_depth ? s->targets[c].depth : 0);
      struct anas_mixing pairing = s->targets[c].mixing;
      pairing.columns = end->shapes[c].rank;
      anas_mixing_compose(&before->required_mixing, &pairing, &after->required_mixing);
    }
  return ANAS_OK;
}

static void describe(struct chain_synthesis *s) {
  struct anas_draft *draft = s->rewrite->draft;
  const struct anas_function *function = anas_draft_old(draft, 0);
  struct anas_strbuf *out = s->rewrite->description;
  struct anas_depth_state depth = {0, anas_draft_value(draft, s->input)->kind};
  anas_strbuf_adds(out, out->size ? "; [" : "[");
  for (int i = 0; i < s->chain->length; i++) {
    anas_strbuf_adds(out, i ? ", " : "");
    anas_describe_op(&function->nodes[s->chain->nodes[i]], out);
  }
  anas_strbuf_adds(out, "] -> [");
  for (int i = 0; i < s->result.num_nodes; i++) {
    anas_strbuf_adds(out, i ? ", " : "");
    anas_describe_op(&s->result.chain[i], out);
    depth = anas_depth_append(depth, s->result.chain[i].def->linearity);
  }
  bool weakened = false;
  for (int i = 0; i < ANAS_MAX_RANK * ANAS_MAX_RANK; i++)
    weakened = weakened || s->change.lower[i / ANAS_MAX_RANK][i % ANAS_MAX_RANK];
  anas_strbuf_addf(out, "] (depth %lld, ", (long long)s->old_depth);
  if (s->rewrite->options->use_depth) anas_strbuf_addf(out, "wanted %lld, ", (long long)s->targets[0].depth);
  anas_strbuf_addf(out, "got %lld; mixing %s", (long long)depth.depth,
                   s->change.drop_mixing ? "free"
                   : weakened            ? "weakened"
                                         : "kept");
  anas_strbuf_adds(out, s->change.any_shape ? "; shape free)" : ")");
}

anas_status anas_rewrite_chain(struct anas_rewrite *rewrite, const struct anas_chain *chain, bool output) {
  const struct anas_function *function = anas_draft_old(rewrite->draft, 0);
  struct chain_synthesis s = {.rewrite = rewrite, .chain = chain};
  size_t contexts = (size_t)rewrite->draft->num_contexts;
  struct anas_ref old = function->nodes[chain->nodes[0]].operand[0];
  s.input = old.node == ANAS_ARGUMENT ? old : rewrite->moved[old.node][old.index];
  s.targets = anas_calloc(contexts, sizeof *s.targets);
  s.distinct = anas_calloc(contexts, sizeof *s.distinct);
  anas_draw_change(rewrite->options, output, rewrite->rng, &s.change);
  struct anas_ref value;
  anas_status status = set_targets(&s);
  if (status == ANAS_OK) status = synthesize(&s);
  if (status == ANAS_OK) status = append(&s, &value);
  if (status == ANAS_OK) {
    rewrite->report->candidates += s.result.candidates;
    rewrite->report->chains++;
    describe(&s);
    status = anas_add_residual(rewrite, &value);
  }
  if (status == ANAS_OK) rewrite->moved[chain->nodes[chain->length - 1]][0] = value;
  anas_synthesis_result_deinit(&s.result);
  free(s.targets);
  free(s.distinct);
  return status;
}
