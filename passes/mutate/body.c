// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Mutation of a block's body (spec 2.6): the instances of the block are the contexts, one of them is chosen; select a
// subgraph, synthesise another one, put it into the chosen instance and some of the others, and check the finished
// function against what was required.
#include "passes/mutate/internal.h"

#include "dialect/attributes.h"

#include <stdlib.h>
#include <string.h>

struct body_mutation {
  const struct anas_model *parent;
  struct anas_model *child;
  const struct anas_mutation_options *options;
  int64_t generation;
  struct anas_rng *rng;
  int *instances; // functions of the kind, the chosen one first
  int num_instances;
  int *contexts; // those of them that differ
  int num_contexts;
};

static bool same_context(const struct anas_function *a, const struct anas_function *b) {
  for (int i = 0; i < a->num_args; i++)
    if (!anas_shape_equal(&a->arg[i], &b->arg[i]) || a->arg_linear[i] != b->arg_linear[i]) return false;
  for (int n = 0; n < a->num_nodes; n++) {
    if (!a->nodes[n].def) return false;
    for (int i = 0; i < a->nodes[n].def->num_attrs; i++)
      if (!anas_attr_equal(&a->nodes[n].def->attrs[i], &a->nodes[n].attr[i], &b->nodes[n].attr[i])) return false;
  }
  return true;
}

static void find_instances(struct body_mutation *m, int function) {
  const struct anas_function *chosen = &m->parent->functions[function];
  m->instances = anas_calloc((size_t)m->parent->num_functions + 1, sizeof *m->instances);
  m->contexts = anas_calloc((size_t)m->parent->num_functions + 1, sizeof *m->contexts);
  m->instances[m->num_instances++] = function;
  for (int f = 0; f < m->parent->num_functions && chosen->block; f++) {
    const struct anas_function *other = &m->parent->functions[f];
    if (f != function && other->block && !strcmp(other->block, chosen->block) &&
        anas_functions_isomorphic(other, chosen))
      m->instances[m->num_instances++] = f;
  }
  for (int i = 0; i < m->num_instances; i++) {
    bool known = false;
    for (int c = 0; c < m->num_contexts && !known; c++)
      known = same_context(&m->parent->functions[m->contexts[c]], &m->parent->functions[m->instances[i]]);
    if (!known) m->contexts[m->num_contexts++] = m->instances[i];
  }
}

// "down/t3" of generation 5 becomes "down/t5".
static const char *derived_kind(struct anas_model *child, const char *kind, int64_t generation) {
  if (!kind) return NULL;
  size_t length = strlen(kind);
  const char *slash = strrchr(kind, '/');
  if (slash && slash[1] == 't' && slash[2] >= '0' && slash[2] <= '9' &&
      strspn(slash + 2, "0123456789") == strlen(slash + 2))
    length = (size_t)(slash - kind);
  return anas_arena_format(&child->arena, "%.*s/t%lld", (int)length, kind, (long long)generation);
}

// Adds what the draft's results are required to have in the context of an instance, if that context is checked.
static void add_claim(const struct body_mutation *m, struct anas_draft *draft, int instance, struct anas_claim *claim) {
  const struct anas_function *function = &m->parent->functions[instance];
  int context = 0;
  while (context < draft->num_checked && !same_context(anas_draft_old(draft, context), function))
    context++;
  if (context == draft->num_checked || (draft->num_checked == 1 && instance != m->instances[0])) return;
  struct anas_relation *required = claim->required + (size_t)claim->num_functions * ANAS_MAX_RESULTS * ANAS_MAX_ARGS;
  claim->functions[claim->num_functions++] = instance;
  for (int r = 0; r < function->num_results; r++)
    for (int a = 0; a < function->num_args; a++)
      required[r * ANAS_MAX_ARGS + a] =
          anas_draft_value(draft, draft->results[r])->relation[context * draft->num_args + a];
}

// What was required of the old body and how it came about.
static void drop_attributes(struct anas_model *model, struct anas_function *function) {
  static const char *const names[] = {"anas.certificate", "anas.synthesis", "anas.target_shape", "anas.target_depth",
                                      "anas.target_mixing"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    anas_function_set_extra(model, function, names[i], NULL);
}

static anas_status put_in(struct body_mutation *m, struct anas_draft *draft, int *out_changed,
                          struct anas_claim *claim) {
  const char *kind = derived_kind(m->child, m->parent->functions[m->instances[0]].block, m->generation);
  int changed = 0;
  for (int i = 0; i < m->num_instances; i++) {
    if (i > 0 && anas_rng_double(m->rng) >= m->options->propagate_probability) continue;
    struct anas_function *function = &m->child->functions[m->instances[i]];
    ANAS_RETURN_IF_ERROR(
        anas_splice(m->child, function, draft->nodes, draft->num_nodes, draft->results, m->generation));
    function->block = kind;
    drop_attributes(m->child, function);
    changed++;
    add_claim(m, draft, m->instances[i], claim);
  }
  *out_changed = changed;
  return ANAS_OK;
}

anas_status anas_mutate_body(const struct anas_model *parent, struct anas_model *child, int function,
                             const struct anas_mutation_options *options, int64_t generation, struct anas_rng *rng,
                             struct anas_mutation_report *report, struct anas_strbuf *description,
                             struct anas_claim *out_claim) {
  struct body_mutation m = {.parent = parent, .child = child, .options = options, .generation = generation, .rng = rng};
  const struct anas_function *chosen = &parent->functions[function];
  bool *selected = anas_calloc((size_t)chosen->num_nodes + 1, sizeof *selected);
  find_instances(&m, function);
  if (options->selection == ANAS_SELECT_SEQUENTIAL)
    anas_select_sequence(chosen, options, rng, selected);
  else
    anas_select_subgraph(chosen, options, rng, selected);

  struct anas_draft draft;
  struct anas_strbuf parts = {0};
  anas_draft_init(&draft, parent, m.contexts, m.num_contexts, options->contexts == ANAS_CONTEXTS_ALL);
  report->chains = report->dropped = report->residuals = 0;
  struct anas_rewrite rewrite = {
      .options = options, .rng = rng, .selected = selected, .draft = &draft, .report = report, .description = &parts};
  struct anas_claim claim = {0};
  claim.functions = anas_calloc((size_t)m.num_instances, sizeof *claim.functions);
  claim.required = anas_calloc((size_t)m.num_instances * ANAS_MAX_RESULTS * ANAS_MAX_ARGS, sizeof *claim.required);
  int changed = 0;
  anas_status status = anas_rewrite_body(&rewrite);
  if (status == ANAS_OK) status = put_in(&m, &draft, &changed, &claim);
  if (status == ANAS_OK)
    *out_claim = claim;
  else
    anas_claim_deinit(&claim);
  if (status == ANAS_OK)
    anas_strbuf_addf(description, "%d of %d instances: %s", changed, m.num_instances, anas_strbuf_text(&parts));
  anas_strbuf_deinit(&parts);
  anas_draft_deinit(&draft);
  free(m.contexts);
  free(m.instances);
  free(selected);
  return status;
}
