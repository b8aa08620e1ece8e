// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-synthesize: replaces the body of every function that carries targets. Functions of one block kind (anas.block)
// are contexts of one synthesis: they get the same ops.
// What was found is recorded in anas.synthesis and, if it satisfies the targets, certified in anas.certificate.
#include "passes/pass.h"
#include "passes/synthesis/certificate.h"

#include "runtime/support/memory.h"

#include <mlir-c/Diagnostics.h>
#include <stdlib.h>
#include <string.h>

extern const struct anas_pass_def anas_pass_synthesize;

// ---- replacement

static void replace_body(struct anas_model *model, int index, const struct anas_target *target,
                         enum anas_synthesis_method method, const struct anas_synthesis_result *result) {
  struct anas_function *function = &model->functions[index];
  function->num_nodes = 0;
  function->result_type[0] = target->output;
  for (int i = 0; i < result->num_nodes; i++) {
    struct anas_node *node = anas_function_add_node(function, result->chain[i].def);
    memcpy(node->attr, result->chain[i].attr, sizeof node->attr);
    node->operand[0] = (struct anas_ref){i - 1, 0}; // -1 is the argument
    node->location = function->location;
    if (node->def->params) node->name = anas_arena_format(&model->arena, "%d/%s", i, node->def->name);
  }
  function->result[0] = (struct anas_ref){result->num_nodes - 1, 0};
  struct anas_strbuf text = {0};
  anas_strbuf_addf(&text, "{method = \"%s\", distance = %.16e : f64, candidates = %lld : i64, length = %d : i64",
                   anas_synthesis_method_name((int)method), result->distance, (long long)result->candidates,
                   result->num_nodes);
  for (int i = 0; i < result->num_nodes && result->distance != 0; i++) // else the certificate has it
    anas_strbuf_addf(&text, "%s%.16e", i ? ", " : ", trace = array<f64: ", result->trace[i]);
  anas_strbuf_adds(&text, result->distance != 0 && result->num_nodes ? ">}" : "}");
  anas_function_set_extra(model, function, "anas.synthesis", anas_strbuf_text(&text));
  anas_strbuf_deinit(&text);
  anas_function_set_extra(model, function, "anas.certificate", NULL);
  anas_function_set_extra(model, function, "anas.depth", NULL); // of the old body
  anas_function_set_extra(model, function, "anas.mixing", NULL);
}

// Values that occur in the old body extend the alphabet; only ops with one operand matter.
static int collect_reference(const struct anas_function *function, struct anas_node **out) {
  *out = anas_calloc((size_t)function->num_nodes + 1, sizeof **out);
  int size = 0;
  for (int n = 0; n < function->num_nodes; n++)
    if (function->nodes[n].def && function->nodes[n].num_operands == 1) (*out)[size++] = function->nodes[n];
  return size;
}

// The baselines edit the old body, which must be a chain then.
static anas_status check_chain(const struct anas_function *function) {
  bool chain = function->num_nodes > 0 && function->result[0].node == function->num_nodes - 1;
  for (int n = 0; n < function->num_nodes && chain; n++)
    chain =
        function->nodes[n].def && function->nodes[n].num_operands == 1 && function->nodes[n].operand[0].node == n - 1;
  if (chain) return ANAS_OK;
  return anas_fail(ANAS_INFEASIBLE, "the body is not a chain of ops that each read the one before, which the baselines "
                                    "'primer' and 'automl-zero' edit");
}

// Synthesises for function first and the later functions of its kind; marks them done.
static anas_status synthesize_group(struct anas_model *model, MlirContext context, int first, bool *done,
                                    const struct anas_synthesis_options *options, struct anas_rng *rng) {
  int *members = anas_calloc((size_t)model->num_functions, sizeof *members), count = 0;
  struct anas_target *targets = anas_calloc((size_t)model->num_functions, sizeof *targets);
  const char *kind = model->functions[first].block;
  anas_status status = ANAS_OK;
  for (int f = first; f < model->num_functions && status == ANAS_OK; f++) {
    const struct anas_function *function = &model->functions[f];
    bool member = f == first || (kind && function->block && !strcmp(kind, function->block));
    if (!member || done[f] || !anas_function_has_targets(function)) continue;
    done[f] = true;
    members[count] = f;
    status = anas_target_read(context, function, &targets[count++]);
  }
  struct anas_node *reference = NULL;
  struct anas_synthesis_result result = {0};
  if (status == ANAS_OK) {
    int num_reference = collect_reference(&model->functions[first], &reference);
    if (options->method == ANAS_PRIMER || options->method == ANAS_AUTOML_ZERO)
      status = check_chain(&model->functions[first]);
    if (status == ANAS_OK)
      status = anas_synthesize_chain(targets, count, reference, num_reference, options, rng, &result);
    if (status != ANAS_OK) anas_fail_context(status, "synthesis of '@%s': ", model->functions[first].name);
  }
  for (int i = 0; i < count && status == ANAS_OK; i++)
    replace_body(model, members[i], &targets[i], options->method, &result);
  anas_synthesis_result_deinit(&result);
  free(reference);
  free(targets);
  free(members);
  return status;
}

static anas_status synthesize_all(struct anas_model *model, MlirContext context,
                                  const struct anas_synthesis_options *options, struct anas_rng *rng) {
  bool *done = anas_calloc((size_t)model->num_functions + 1, sizeof *done);
  anas_status status = ANAS_OK;
  for (int f = 0; f < model->num_functions && status == ANAS_OK; f++) {
    if (done[f] || !anas_function_has_targets(&model->functions[f])) continue;
    status = synthesize_group(model, context, f, done, options, rng);
    if (status != ANAS_OK) mlirEmitError(model->functions[f].location, anas_error_message());
  }
  free(done);
  return status;
}

// Certifies what was synthesised, from the properties of the new model. The baselines are certified where they happen
// to satisfy their targets.
static anas_status certify(struct anas_model *model, MlirContext context,
                           const struct anas_synthesis_options *options) {
  bool blind = options->method == ANAS_PRIMER || options->method == ANAS_AUTOML_ZERO;
  struct anas_properties *properties = anas_calloc((size_t)model->num_functions + 1, sizeof *properties);
  anas_status status = anas_infer_properties(model, properties);
  for (int f = 0; f < model->num_functions && status == ANAS_OK; f++) {
    struct anas_target target;
    if (!anas_function_has_targets(&model->functions[f])) continue;
    status = anas_target_read(context, &model->functions[f], &target);
    if (status == ANAS_OK) status = anas_certificate_attach(model, f, &target, options->feature_distance, properties);
    if (status == ANAS_INFEASIBLE && blind) status = ANAS_OK;
  }
  free(properties);
  return status;
}

// ---- the pass

static anas_status read_choice(const struct anas_pass_options *options, const char *option, const char *const *names,
                               int *out) {
  const char *value = anas_option_string(options, option);
  struct anas_strbuf known = {0};
  for (int i = 0; names[i]; i++) {
    if (!strcmp(value, names[i])) {
      *out = i;
      anas_strbuf_deinit(&known);
      return ANAS_OK;
    }
    anas_strbuf_addf(&known, "%s'%s'", i == 0 ? "" : names[i + 1] ? ", " : " and ", names[i]);
  }
  anas_fail(ANAS_INVALID, "synthesis %s '%s' does not exist; there are %s", option, value, anas_strbuf_text(&known));
  anas_strbuf_deinit(&known);
  return ANAS_INVALID;
}

static anas_status read_options(const struct anas_pass_options *options, struct anas_synthesis_options *out) {
  static const char *const modes[] = {"greedy", "uniform", "weighted", NULL}; // enum anas_synthesis_mode
  static const char *const features[] = {"match", "prime", NULL};             // enum anas_feature_distance
  const char *methods[ANAS_SYNTHESIS_METHODS + 1];
  for (int i = 0; i <= ANAS_SYNTHESIS_METHODS; i++)
    methods[i] = anas_synthesis_method_name(i);
  int method, mode, feature;
  ANAS_RETURN_IF_ERROR(read_choice(options, "method", methods, &method));
  ANAS_RETURN_IF_ERROR(read_choice(options, "mode", modes, &mode));
  ANAS_RETURN_IF_ERROR(read_choice(options, "feature-distance", features, &feature));
  *out = (struct anas_synthesis_options){
      .method = (enum anas_synthesis_method)method,
      .mode = (enum anas_synthesis_mode)mode,
      .min_length = (int)anas_option_int(options, "min-length"),
      .max_length = (int)anas_option_int(options, "max-length"),
      .epsilon = anas_option_float(options, "epsilon"),
      .exponent = anas_option_float(options, "exponent"),
      .grow_probability = anas_option_float(options, "grow"),
      .filter_progress = anas_option_bool(options, "filter-progress"),
      .randomize_attributes = anas_option_bool(options, "randomize"),
      .attempts = (int)anas_option_int(options, "attempts"),
      .max_candidates = anas_option_int(options, "max-candidates"),
      .feature_distance = (enum anas_feature_distance)feature,
      .regular_sizes = !anas_option_bool(options, "adjust-features"),
      .prune = anas_option_bool(options, "prune"),
      .strict_reference = anas_option_bool(options, "strict-reference"),
  };
  return ANAS_OK;
}

static anas_status run(MlirModule module, const struct anas_pass_options *options) {
  struct anas_synthesis_options synthesis;
  ANAS_RETURN_IF_ERROR(read_options(options, &synthesis));
  struct anas_model *model;
  ANAS_RETURN_IF_ERROR(anas_model_import(module, &model));
  struct anas_rng rng = anas_rng_make((uint64_t)anas_option_int(options, "seed"));
  anas_status status = synthesize_all(model, mlirModuleGetContext(module), &synthesis, &rng);
  if (status == ANAS_OK) status = anas_model_infer_shapes(model);
  if (status == ANAS_OK) status = certify(model, mlirModuleGetContext(module), &synthesis);
  if (status == ANAS_OK) status = anas_model_write_back(model, module);
  anas_model_destroy(model);
  return status;
}

static const struct anas_pass_option synthesize_options[] = {
    {"method", ANAS_OPTION_STRING, "progressive",
     "how to search: progressive, enumerative, random-enum, random, primer or automl-zero"},
    {"mode", ANAS_OPTION_STRING, "greedy", "progressive: choice among candidates: greedy, uniform or weighted"},
    {"min-length", ANAS_OPTION_INT, "1", "fewest ops of a chain"},
    {"max-length", ANAS_OPTION_INT, "8", "most ops of a chain"},
    {"max-candidates", ANAS_OPTION_INT, "1000000", "give up after this many transfer functions; 0: no limit"},
    {"attempts", ANAS_OPTION_INT, "1", "tries of a method that may miss: progressive, primer, automl-zero"},
    {"epsilon", ANAS_OPTION_FLOAT, "0.1", "weighted: weight is 1 / (distance + epsilon) ^ exponent"},
    {"exponent", ANAS_OPTION_FLOAT, "2", "weighted: see epsilon"},
    {"grow", ANAS_OPTION_FLOAT, "0", "progressive: probability of going on although the targets are met"},
    {"filter-progress", ANAS_OPTION_BOOL, "true", "progressive: only ops that come closer"},
    {"feature-distance", ANAS_OPTION_STRING, "match",
     "a wrong feature count is as far as any other (match), or by its missing prime factors (prime)"},
    {"adjust-features", ANAS_OPTION_BOOL, "true", "offer ops with the exact feature count the target needs"},
    {"prune", ANAS_OPTION_BOOL, "false", "enumerative: skip prefixes that repeat a state or can no longer succeed"},
    {"strict-reference", ANAS_OPTION_BOOL, "false", "the published alphabet: windows and strides share their values"},
    {"randomize", ANAS_OPTION_BOOL, "false", "diversify attribute values afterwards"},
    {"seed", ANAS_OPTION_INT, "0", "seed of all random decisions"},
    {0},
};

const struct anas_pass_def anas_pass_synthesize = {
    .argument = "anas-synthesize",
    .summary = "replace the body of functions that carry anas.target_* by a chain of ops that satisfies them",
    .options = synthesize_options,
    .run = run,
};
