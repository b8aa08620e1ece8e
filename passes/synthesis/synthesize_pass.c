// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-synthesize: replaces the body of every function that carries targets. Functions of one block kind (anas.block)
// are contexts of one synthesis: they get the same ops.
//   anas.target_shape  = array<i64: -1, 8, 8, 64>     result type, -1 for the batch '?'; default: the declared one
//   anas.target_depth  = 2 : i64                      or dense<2> : tensor<1x1xi64>
//   anas.target_mixing = dense<...> : tensor<4x4xi8>  or nested in arrays as anas-infer-properties writes it
#include "passes/pass.h"
#include "passes/synthesis/synthesis.h"

#include "dialect/context.h"
#include "runtime/support/memory.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct anas_pass_def anas_pass_synthesize;

// ---- targets from attributes

static anas_status bad_target(const struct anas_function *function, const char *name, const char *expected) {
  return anas_fail(ANAS_INVALID, "attribute '%s' of function '@%s' must be %s", name, function->name, expected);
}

static anas_status read_shape(const struct anas_function *function, MlirAttribute attr, struct anas_shape *out) {
  static const char *const expected = "array<i64: ...> with an extent for each dimension of the argument, -1 only for "
                                      "the batch";
  if (!mlirAttributeIsADenseI64Array(attr)) return bad_target(function, "anas.target_shape", expected);
  struct anas_shape shape = {.element = function->arg[0].element};
  intptr_t rank = mlirDenseArrayGetNumElements(attr);
  if (rank < 1 || rank > ANAS_MAX_RANK) return bad_target(function, "anas.target_shape", expected);
  shape.rank = (int)rank;
  for (int i = 0; i < shape.rank; i++) {
    shape.dim[i] = mlirDenseI64ArrayGetElement(attr, i);
    if (shape.dim[i] < 1 && !(i == 0 && shape.dim[i] == ANAS_DYNAMIC))
      return bad_target(function, "anas.target_shape", expected);
  }
  *out = shape;
  return ANAS_OK;
}

static anas_status read_depth(const struct anas_function *function, MlirAttribute attr, int64_t *out) {
  int64_t depth;
  if (mlirAttributeIsAInteger(attr)) {
    depth = mlirIntegerAttrGetValueInt(attr);
  } else if (mlirAttributeIsADenseElements(attr) && mlirElementsAttrGetNumElements(attr) == 1 &&
             mlirTypeIsAInteger(mlirShapedTypeGetElementType(mlirAttributeGetType(attr))) &&
             mlirIntegerTypeGetWidth(mlirShapedTypeGetElementType(mlirAttributeGetType(attr))) == 64) {
    depth = mlirDenseElementsAttrGetInt64Value(attr, 0);
  } else {
    return bad_target(function, "anas.target_depth", "an integer or dense<...> : tensor<1x1xi64>");
  }
  if (depth < 0) return bad_target(function, "anas.target_depth", "0 or more");
  *out = depth;
  return ANAS_OK;
}

static anas_status read_mixing(const struct anas_function *function, const struct anas_shape *output,
                               MlirAttribute attr, struct anas_mixing *out) {
  static const char *const expected =
      "dense<...> : tensor<RxCxi8> of values 0 to 3, R the rank of the argument and C that of the result";
  while (mlirAttributeIsAArray(attr) && mlirArrayAttrGetNumElements(attr) == 1)
    attr = mlirArrayAttrGetElement(attr, 0);
  struct anas_mixing mixing = {.rows = function->arg[0].rank, .columns = output->rank};
  if (!mlirAttributeIsADenseElements(attr)) return bad_target(function, "anas.target_mixing", expected);
  MlirType type = mlirAttributeGetType(attr), element = mlirShapedTypeGetElementType(type);
  if (!mlirTypeIsAInteger(element) || mlirIntegerTypeGetWidth(element) != 8 || mlirShapedTypeGetRank(type) != 2 ||
      mlirShapedTypeGetDimSize(type, 0) != mixing.rows || mlirShapedTypeGetDimSize(type, 1) != mixing.columns)
    return bad_target(function, "anas.target_mixing", expected);
  for (int i = 0; i < mixing.rows; i++)
    for (int j = 0; j < mixing.columns; j++) {
      int8_t value = mlirDenseElementsAttrGetInt8Value(attr, i * mixing.columns + j);
      if (value < ANAS_PAIR_NONE || value > ANAS_PAIR_ALL) return bad_target(function, "anas.target_mixing", expected);
      mixing.pair[i][j] = (uint8_t)value;
    }
  *out = mixing;
  return ANAS_OK;
}

static MlirAttribute parse_extra(MlirContext context, const struct anas_function *function, const char *name) {
  const char *text = anas_function_extra(function, name);
  return text ? mlirAttributeParseGet(context, anas_ref_text(text)) : mlirAttributeGetNull();
}

static bool has_targets(const struct anas_function *function) {
  return anas_function_extra(function, "anas.target_shape") || anas_function_extra(function, "anas.target_depth") ||
         anas_function_extra(function, "anas.target_mixing");
}

static anas_status read_target(MlirContext context, const struct anas_function *function, struct anas_target *out) {
  if (function->num_args != 1 || function->num_results != 1)
    return anas_fail(
        ANAS_INVALID,
        "function '@%s' carries synthesis targets but has %d arguments and %d results; a chain has exactly one "
        "input and exactly one output",
        function->name, function->num_args, function->num_results);
  struct anas_target target = {
      .input = function->arg[0], .output = function->result_type[0], .input_linear = function->arg_linear[0]};
  MlirAttribute shape = parse_extra(context, function, "anas.target_shape");
  if (!mlirAttributeIsNull(shape)) ANAS_RETURN_IF_ERROR(read_shape(function, shape, &target.output));
  MlirAttribute depth = parse_extra(context, function, "anas.target_depth");
  target.require_depth = !mlirAttributeIsNull(depth);
  if (target.require_depth) ANAS_RETURN_IF_ERROR(read_depth(function, depth, &target.depth));
  MlirAttribute mixing = parse_extra(context, function, "anas.target_mixing");
  target.require_mixing = !mlirAttributeIsNull(mixing);
  if (target.require_mixing) ANAS_RETURN_IF_ERROR(read_mixing(function, &target.output, mixing, &target.mixing));
  *out = target;
  return ANAS_OK;
}

// ---- replacement

static void replace_body(struct anas_model *model, int index, const struct anas_target *target,
                         const struct anas_synthesis_result *result) {
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
  char text[160];
  snprintf(text, sizeof text, "{distance = %.6e : f64, candidates = %lld : i64, length = %d : i64}", result->distance,
           (long long)result->candidates, result->num_nodes);
  anas_function_set_extra(model, function, "anas.synthesis", text);
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
    if (!member || done[f] || !has_targets(function)) continue;
    done[f] = true;
    members[count] = f;
    status = read_target(context, function, &targets[count++]);
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
    replace_body(model, members[i], &targets[i], &result);
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
  for (int f = 0; f < model->num_functions && status == ANAS_OK; f++)
    if (!done[f] && has_targets(&model->functions[f])) status = synthesize_group(model, context, f, done, options, rng);
  free(done);
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
