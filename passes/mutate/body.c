// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Mutation of a block's body (spec 2.6, 3.9): select a subgraph, split it into chains between the ops that stay, and
// for each chain infer its properties in every instance of the block, mutate them, and synthesise a chain that has
// them. Shapes are kept in all instances, so what is synthesised once fits wherever the block is used.
#include "passes/mutate/internal.h"

#include "runtime/support/memory.h"

#include <stdlib.h>
#include <string.h>

struct body_mutation {
  const struct anas_model *parent;
  struct anas_model *child;
  const struct anas_mutation_options *options;
  int64_t generation;
  struct anas_rng *rng;
  int chosen;     // function
  int *instances; // functions of the kind, chosen first
  int num_instances;
  enum anas_linearity *kinds; // of the producer of every value of the new body, by node of the old one
};

// Kind of the op that produces a value, as the depth property sees it; calls and arguments count as non-linear.
static enum anas_linearity producer_kind(const struct body_mutation *m, struct anas_ref ref) {
  const struct anas_function *function = &m->parent->functions[m->chosen];
  if (ref.node == ANAS_ARGUMENT) return function->arg_linear[ref.index] ? ANAS_LINEAR : ANAS_NONLINEAR;
  return m->kinds[ref.node];
}

static void init_kinds(struct body_mutation *m) {
  const struct anas_function *function = &m->parent->functions[m->chosen];
  m->kinds = anas_calloc((size_t)function->num_nodes + 1, sizeof *m->kinds);
  for (int n = 0; n < function->num_nodes; n++) {
    const struct anas_node *node = &function->nodes[n];
    m->kinds[n] = !node->def                                                       ? ANAS_NONLINEAR
                  : node->def->linearity == ANAS_NEUTRAL && node->num_operands > 0 ? producer_kind(m, node->operand[0])
                                                                                   : node->def->linearity;
  }
}

static void find_instances(struct body_mutation *m) {
  const struct anas_function *chosen = &m->parent->functions[m->chosen];
  m->instances = anas_calloc((size_t)m->parent->num_functions + 1, sizeof *m->instances);
  m->instances[m->num_instances++] = m->chosen;
  for (int f = 0; f < m->parent->num_functions; f++) {
    const struct anas_function *function = &m->parent->functions[f];
    if (f != m->chosen && function->block && !strcmp(function->block, chosen->block) &&
        anas_functions_isomorphic(function, chosen))
      m->instances[m->num_instances++] = f;
  }
}

// Depth and mixing of a chain where it stands in the chosen instance.
static anas_status infer_chain(const struct body_mutation *m, const struct anas_chain *chain, int64_t *out_depth,
                               struct anas_mixing *out_mixing) {
  const struct anas_function *function = &m->parent->functions[m->chosen];
  const struct anas_node *first = &function->nodes[chain->nodes[0]];
  struct anas_depth_state depth = {0, producer_kind(m, first->operand[0])};
  struct anas_mixing mixing;
  anas_mixing_of_input(anas_value_type(function, first->operand[0]), &mixing);
  for (int i = 0; i < chain->length; i++) {
    const struct anas_node *node = &function->nodes[chain->nodes[i]];
    struct anas_op op;
    struct anas_mixing pairing;
    ANAS_RETURN_IF_ERROR(anas_node_resolve(node, anas_value_type(function, node->operand[0]), &op));
    anas_mixing_of_op(&op, 0, &node->result[0], &pairing);
    anas_mixing_compose(&mixing, &pairing, &mixing);
    depth = anas_depth_append(depth, node->def->linearity);
  }
  *out_depth = depth.depth;
  *out_mixing = mixing;
  return ANAS_OK;
}

// One target per distinct pair of types; only the first, the chosen instance's, has more demands.
static int shape_targets(const struct body_mutation *m, const struct anas_chain *chain, struct anas_target *targets) {
  int count = 0;
  for (int i = 0; i < m->num_instances; i++) {
    const struct anas_function *function = &m->parent->functions[m->instances[i]];
    const struct anas_node *first = &function->nodes[chain->nodes[0]];
    struct anas_target target = {.input = *anas_value_type(function, first->operand[0]),
                                 .output = function->nodes[chain->nodes[chain->length - 1]].result[0]};
    bool known = false;
    for (int t = 0; t < count; t++)
      known = known || (anas_shape_equal(&targets[t].input, &target.input) &&
                        anas_shape_equal(&targets[t].output, &target.output));
    if (!known) targets[count++] = target;
  }
  return count;
}

static void mutate_properties(const struct body_mutation *m, struct anas_target *target) {
  int delta = 0;
  while (delta < m->options->depth_delta_max && anas_rng_double(m->rng) < m->options->depth_probability)
    delta++;
  if (anas_rng_double(m->rng) < 0.5) delta = -delta;
  target->depth += delta;
  if (target->depth < 0) target->depth = 0;
  target->require_depth = true;
  target->require_mixing = anas_rng_double(m->rng) >= m->options->mixing_probability;
}

static void describe_nodes(const struct anas_node *nodes, const int *order, int count, struct anas_strbuf *out) {
  for (int i = 0; i < count; i++) {
    anas_strbuf_adds(out, i ? ", " : "");
    anas_describe_op(&nodes[order ? order[i] : i], out);
  }
}

static anas_status replace_chain(struct body_mutation *m, const struct anas_chain *chain, struct anas_target *targets,
                                 struct anas_synthesis_result *out, struct anas_mutation_report *report,
                                 struct anas_strbuf *description) {
  const struct anas_function *function = &m->parent->functions[m->chosen];
  int num_targets = shape_targets(m, chain, targets);
  int64_t depth;
  ANAS_RETURN_IF_ERROR(infer_chain(m, chain, &depth, &targets[0].mixing));
  targets[0].depth = depth;
  targets[0].input_linear = producer_kind(m, function->nodes[chain->nodes[0]].operand[0]) == ANAS_LINEAR;
  mutate_properties(m, &targets[0]);

  struct anas_synthesis_options options = m->options->synthesis;
  const int longest = sizeof out->trace / sizeof *out->trace;
  options.max_length = chain->length + m->options->max_delta;
  if (options.max_length > longest) options.max_length = longest;
  options.min_length = chain->length - m->options->min_delta;
  options.min_length = options.min_length < 0 ? 1 : options.min_length + 1; // strictly above, spec 3.7
  if (options.min_length > options.max_length) options.min_length = options.max_length;
  struct anas_node *reference = anas_calloc((size_t)chain->length, sizeof *reference);
  for (int i = 0; i < chain->length; i++)
    reference[i] = function->nodes[chain->nodes[i]];
  anas_status status = anas_synthesize_chain(targets, num_targets, reference, chain->length, &options, m->rng, out);
  free(reference);
  ANAS_RETURN_IF_ERROR(status);

  report->candidates += out->candidates;
  enum anas_linearity input = producer_kind(m, function->nodes[chain->nodes[0]].operand[0]);
  struct anas_depth_state state = {0, input};
  for (int i = 0; i < out->num_nodes; i++)
    state = anas_depth_append(state, out->chain[i].def->linearity);
  m->kinds[chain->nodes[chain->length - 1]] = state.last; // what follows sees the new producer
  anas_strbuf_adds(description, description->size ? "; [" : "[");
  describe_nodes(function->nodes, chain->nodes, chain->length, description);
  anas_strbuf_adds(description, "] -> [");
  describe_nodes(out->chain, NULL, out->num_nodes, description);
  anas_strbuf_addf(description, "] (depth %lld, wanted %lld, got %lld; mixing %s)", (long long)depth,
                   (long long)targets[0].depth, (long long)state.depth, targets[0].require_mixing ? "kept" : "free");
  return ANAS_OK;
}

// "down/t3" of generation 5 becomes "down/t5".
static const char *derived_kind(struct anas_model *child, const char *kind, int64_t generation) {
  size_t length = strlen(kind);
  const char *slash = strrchr(kind, '/');
  if (slash && slash[1] == 't' && slash[2] >= '0' && slash[2] <= '9' &&
      strspn(slash + 2, "0123456789") == strlen(slash + 2))
    length = (size_t)(slash - kind);
  return anas_arena_format(&child->arena, "%.*s/t%lld", (int)length, kind, (long long)generation);
}

static anas_status run(struct body_mutation *m, const struct anas_chain *chains, int num_chains,
                       struct anas_mutation_report *report, struct anas_strbuf *description) {
  struct anas_target *targets = anas_calloc((size_t)m->num_instances, sizeof *targets);
  struct anas_synthesis_result *results = anas_calloc((size_t)num_chains, sizeof *results);
  struct anas_replacement *replacements = anas_calloc((size_t)num_chains, sizeof *replacements);
  struct anas_strbuf chains_text = {0};
  anas_status status = ANAS_OK;
  for (int c = 0; c < num_chains && status == ANAS_OK; c++) {
    status = replace_chain(m, &chains[c], targets, &results[c], report, &chains_text);
    replacements[c] = (struct anas_replacement){chains[c], results[c].chain, results[c].num_nodes};
  }
  if (status == ANAS_OK) {
    const char *kind = derived_kind(m->child, m->parent->functions[m->chosen].block, m->generation);
    int changed = 0;
    for (int i = 0; i < m->num_instances; i++) {
      if (i > 0 && anas_rng_double(m->rng) >= m->options->propagate_probability) continue;
      struct anas_function *function = &m->child->functions[m->instances[i]];
      anas_splice(m->child, function, replacements, num_chains, m->generation);
      function->block = kind;
      changed++;
    }
    anas_strbuf_addf(description, "%d of %d instances: %s", changed, m->num_instances, anas_strbuf_text(&chains_text));
  }
  for (int c = 0; c < num_chains; c++)
    anas_synthesis_result_deinit(&results[c]);
  anas_strbuf_deinit(&chains_text);
  free(replacements);
  free(results);
  free(targets);
  return status;
}

anas_status anas_mutate_block(const struct anas_model *parent, struct anas_model *child, int call,
                              const struct anas_mutation_options *options, int64_t generation, struct anas_rng *rng,
                              struct anas_mutation_report *report, struct anas_strbuf *description) {
  struct body_mutation m = {.parent = parent, .child = child, .options = options, .generation = generation, .rng = rng};
  m.chosen = parent->functions[anas_model_entry(parent)].nodes[call].callee;
  const struct anas_function *function = &parent->functions[m.chosen];
  size_t count = (size_t)function->num_nodes + 1;
  bool *selected = anas_calloc(count, sizeof *selected);
  int *storage = anas_calloc(count, sizeof *storage);
  struct anas_chain *chains = anas_calloc(count, sizeof *chains);
  init_kinds(&m);
  find_instances(&m);
  anas_select_subgraph(function, options, rng, selected);
  int num_chains = anas_find_chains(function, selected, storage, chains);
  anas_status status =
      num_chains > 0 ? run(&m, chains, num_chains, report, description)
                     : anas_fail(ANAS_INFEASIBLE, "the selected part of block '%s' has no op that could be synthesised",
                                 function->block);
  free(chains);
  free(storage);
  free(selected);
  free(m.kinds);
  free(m.instances);
  return status;
}
