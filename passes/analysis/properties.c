// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Depth and mixing of every function of a model, in one forward sweep a function. A called function is summarised once:
// its depth by kind of producer and kind of last op (a max-plus matrix), its mixing by the positions of its arguments
// that its results read (reads.h). Where such a summary is not enough to compose exactly, the callee's ops are
// evaluated behind the caller's values instead. Deviation from the reference, on purpose: neutral ops are transparent,
// and a value that is a result does not hide longer paths through it; reference.c has its rules.
#include "passes/analysis/summary.h"

#include <stdlib.h>
#include <string.h>

#define MAX_EXPANDED_OPS (1 << 16) // ops of callees evaluated in place in one inference; beyond, mixing is less exact

static const struct anas_paths no_paths = {{{ANAS_NO_PATH, ANAS_NO_PATH}, {ANAS_NO_PATH, ANAS_NO_PATH}}};

static void raise(int64_t *into, int64_t value) {
  if (value > *into) *into = value;
}

static void append_op(const struct anas_paths *before, enum anas_linearity kind, struct anas_paths *into) {
  for (int p = 0; p < ANAS_DEPTH_KINDS; p++)
    for (int k = 0; k < ANAS_DEPTH_KINDS; k++) {
      if (before->depth[p][k] == ANAS_NO_PATH) continue;
      struct anas_depth_state state =
          anas_depth_append((struct anas_depth_state){before->depth[p][k], (enum anas_linearity)k}, kind);
      raise(&into->depth[p][state.last], state.depth);
    }
}

static void append_call(const struct anas_paths *before, const struct anas_paths *callee, struct anas_paths *into) {
  for (int p = 0; p < ANAS_DEPTH_KINDS; p++)
    for (int m = 0; m < ANAS_DEPTH_KINDS; m++)
      for (int k = 0; k < ANAS_DEPTH_KINDS; k++)
        if (before->depth[p][m] != ANAS_NO_PATH && callee->depth[m][k] != ANAS_NO_PATH)
          raise(&into->depth[p][k], before->depth[p][m] + callee->depth[m][k]);
}

static void join(struct anas_dependence *into, const struct anas_reads *reads, struct anas_arena *arena) {
  struct anas_reads both;
  if (!into->reads) {
    into->reads = anas_reads_save(reads, arena);
    return;
  }
  anas_reads_copy(into->reads, &both);
  anas_reads_join(&both, reads, arena);
  into->reads = anas_reads_save(&both, arena);
}

// One evaluation of a function's ops. Values are numbered: arguments, then every result of every node; each has one
// relation for each source, whose positions and paths the arguments carry.
struct sweep {
  struct anas_property_inference *inference;
  const struct anas_function *function;
  int sources;
  int *first_result;              // by node
  struct anas_dependence *values; // [value][source]
  struct anas_arena *arena;
  bool from_body;
};

static struct anas_dependence *relations_of(const struct sweep *s, struct anas_ref ref) {
  int value = ref.node == ANAS_ARGUMENT ? ref.index : s->function->num_args + s->first_result[ref.node] + ref.index;
  return s->values + (size_t)value * (size_t)s->sources;
}

// Does the op pass on what it gets, position by position?
static bool is_elementwise(const struct anas_op *op, int which, const struct anas_shape *result) {
  return !op->def->deps && anas_shape_equal(&op->operand[which], result);
}

static void transfer_op(struct sweep *s, const struct anas_node *node, const struct anas_op *op,
                        struct anas_dependence *results) {
  for (int r = 0; r < node->num_results; r++)
    for (int q = 0; q < node->num_operands; q++) {
      const struct anas_dependence *operand = relations_of(s, node->operand[q]);
      for (int a = 0; a < s->sources; a++) {
        struct anas_dependence *into = &results[r * s->sources + a];
        struct anas_reads reads;
        if (!operand[a].reads) continue;
        if (!into->reads && is_elementwise(op, q, &node->result[r])) {
          into->reads = operand[a].reads;
        } else {
          if (!anas_reads_append(operand[a].reads, op, q, &node->result[r], s->arena, &reads)) continue;
          join(into, &reads, s->arena);
        }
        append_op(&operand[a].paths, op->def->linearity, &into->paths);
      }
    }
}

// False if a summary is not enough; nothing is left out if lossy.
static bool transfer_summary(struct sweep *s, const struct anas_node *node, const struct anas_summary *callee,
                             bool lossy, struct anas_dependence *results) {
  for (int r = 0; r < node->num_results; r++)
    for (int q = 0; q < node->num_operands; q++) {
      const struct anas_dependence *through = &callee->relations[r * callee->num_args + q];
      const struct anas_dependence *operand = relations_of(s, node->operand[q]);
      for (int a = 0; through->reads && a < s->sources; a++) {
        struct anas_dependence *into = &results[r * s->sources + a];
        struct anas_reads reads;
        if (!operand[a].reads) continue;
        if (!anas_reads_append_call(operand[a].reads, through->reads, lossy, s->arena, &reads)) return false;
        join(into, &reads, s->arena);
        append_call(&operand[a].paths, &through->paths, &into->paths);
      }
    }
  return true;
}

static anas_status evaluate(struct anas_property_inference *inference, int index, int sources,
                            const struct anas_dependence *args, struct anas_arena *arena,
                            struct anas_dependence *out_results, bool *out_from_body);

static void forget(struct anas_dependence *relations, int count) {
  for (int i = 0; i < count; i++)
    relations[i] = (struct anas_dependence){.paths = no_paths};
}

static anas_status transfer_call(struct sweep *s, const struct anas_node *node, struct anas_dependence *results) {
  struct anas_property_inference *inference = s->inference;
  const struct anas_function *callee = &inference->model->functions[node->callee];
  ANAS_RETURN_IF_ERROR(anas_property_summarise(inference, node->callee));
  const struct anas_summary *summary = inference->summaries[node->callee];
  if (transfer_summary(s, node, summary, false, results)) return ANAS_OK;
  forget(results, node->num_results * s->sources);
  if (inference->expanded + callee->num_nodes > MAX_EXPANDED_OPS) {
    transfer_summary(s, node, summary, true, results);
    return ANAS_OK;
  }
  inference->expanded += callee->num_nodes;
  s->from_body = true;
  struct anas_dependence *args = anas_calloc((size_t)(node->num_operands * s->sources) + 1, sizeof *args);
  for (int q = 0; q < node->num_operands; q++)
    memcpy(args + q * s->sources, relations_of(s, node->operand[q]), (size_t)s->sources * sizeof *args);
  bool ignored;
  anas_status status = evaluate(inference, node->callee, s->sources, args, s->arena, results, &ignored);
  free(args);
  return status;
}

static anas_status run_sweep(struct sweep *s) {
  const struct anas_function *function = s->function;
  for (int n = 0; n < function->num_nodes; n++) {
    const struct anas_node *node = &function->nodes[n];
    struct anas_dependence *results = relations_of(s, (struct anas_ref){n, 0});
    if (!node->def) {
      ANAS_RETURN_IF_ERROR(transfer_call(s, node, results));
      continue;
    }
    struct anas_shape operands[ANAS_MAX_OPERANDS];
    for (int q = 0; q < node->num_operands; q++)
      operands[q] = *anas_value_type(function, node->operand[q]);
    struct anas_op op;
    ANAS_RETURN_IF_ERROR(anas_node_resolve(node, operands, &op));
    transfer_op(s, node, &op, results);
  }
  anas_property_cache_count(s->inference->cache, function->num_nodes);
  return ANAS_OK;
}

static anas_status evaluate(struct anas_property_inference *inference, int index, int sources,
                            const struct anas_dependence *args, struct anas_arena *arena,
                            struct anas_dependence *out_results, bool *out_from_body) {
  const struct anas_function *function = &inference->model->functions[index];
  struct sweep s = {.inference = inference, .function = function, .sources = sources, .arena = arena};
  s.first_result = anas_calloc((size_t)function->num_nodes + 1, sizeof *s.first_result);
  for (int n = 0; n < function->num_nodes; n++)
    s.first_result[n + 1] = s.first_result[n] + function->nodes[n].num_results;
  int num_values = function->num_args + s.first_result[function->num_nodes];
  s.values = anas_calloc((size_t)(num_values * sources) + 1, sizeof *s.values);
  if (function->num_args) memcpy(s.values, args, (size_t)(function->num_args * sources) * sizeof *args);
  forget(s.values + function->num_args * sources, (num_values - function->num_args) * sources);

  anas_status status = run_sweep(&s);
  for (int r = 0; r < function->num_results && status == ANAS_OK; r++)
    memcpy(out_results + r * sources, relations_of(&s, function->result[r]), (size_t)sources * sizeof *out_results);
  *out_from_body = s.from_body;
  free(s.values);
  free(s.first_result);
  return status;
}

// Evaluates a function behind its own arguments.
static anas_status make_summary(struct anas_property_inference *inference, int index, struct anas_summary *summary) {
  const struct anas_function *function = &inference->model->functions[index];
  int sources = function->num_args;
  struct anas_dependence *args = anas_calloc((size_t)(sources * sources) + 1, sizeof *args);
  forget(args, sources * sources);
  for (int a = 0; a < sources; a++) {
    struct anas_dependence *self = &args[a * sources + a];
    struct anas_reads reads;
    self->paths.depth[ANAS_LINEAR][ANAS_LINEAR] = 0;
    self->paths.depth[ANAS_NONLINEAR][ANAS_NONLINEAR] = 0;
    anas_reads_of_input(&function->arg[a], &reads);
    self->reads = anas_reads_save(&reads, &summary->arena);
  }
  summary->num_results = function->num_results;
  summary->num_args = sources;
  summary->relations =
      anas_arena_alloc(&summary->arena, (size_t)(function->num_results * sources + 1) * sizeof *summary->relations);
  anas_status status =
      evaluate(inference, index, sources, args, &summary->arena, summary->relations, &summary->from_body);
  free(args);
  return status;
}

static anas_status summarise_callees(struct anas_property_inference *inference, int index) {
  const struct anas_function *function = &inference->model->functions[index];
  for (int n = 0; n < function->num_nodes; n++)
    if (!function->nodes[n].def) ANAS_RETURN_IF_ERROR(anas_property_summarise(inference, function->nodes[n].callee));
  return ANAS_OK;
}

anas_status anas_property_summarise(struct anas_property_inference *inference, int index) {
  const struct anas_function *function = &inference->model->functions[index];
  if (inference->summaries[index]) return ANAS_OK;
  if (inference->open[index])
    return anas_fail(ANAS_INVALID, "function '@%s' calls itself; properties need a module without recursion",
                     function->name);
  inference->open[index] = true;
  anas_status callees = summarise_callees(inference, index);
  inference->open[index] = false;
  ANAS_RETURN_IF_ERROR(callees);
  XXH128_hash_t key, body;
  anas_summary_keys(function, inference->summaries, &inference->scratch, &key, &body);
  inference->summaries[index] = anas_property_cache_find(inference->cache, key, body);
  if (inference->summaries[index]) return ANAS_OK;

  struct anas_summary *summary = anas_alloc(sizeof *summary);
  summary->key = key;
  summary->body = body;
  anas_status status = make_summary(inference, index, summary);
  if (status != ANAS_OK) {
    anas_arena_deinit(&summary->arena);
    free(summary);
    return status;
  }
  anas_summary_digest(summary, &inference->scratch);
  anas_property_cache_add(inference->cache, summary);
  inference->summaries[index] = summary;
  return ANAS_OK;
}

void anas_property_report(const struct anas_function *function, const struct anas_summary *summary,
                          struct anas_properties *out) {
  memset(out, 0, sizeof *out);
  out->num_results = function->num_results;
  out->num_args = function->num_args;
  out->exact = true;
  for (int r = 0; r < function->num_results; r++)
    for (int a = 0; a < function->num_args; a++) {
      const struct anas_dependence *relation = &summary->relations[r * function->num_args + a];
      const int64_t *depth = relation->paths.depth[function->arg_linear[a] ? ANAS_LINEAR : ANAS_NONLINEAR];
      out->depth[r][a] = ANAS_NO_PATH;
      for (int k = 0; k < ANAS_DEPTH_KINDS; k++)
        raise(&out->depth[r][a], depth[k]);
      if (relation->reads) {
        anas_reads_mixing(relation->reads, &out->mixing[r][a]);
        out->exact = out->exact && relation->reads->exact;
      }
      out->mixing[r][a].rows = function->arg[a].rank;
      out->mixing[r][a].columns = function->result_type[r].rank;
    }
}

void anas_property_inference_init(const struct anas_model *model, struct anas_property_cache *cache,
                                  struct anas_property_inference *out) {
  *out = (struct anas_property_inference){.model = model, .cache = cache};
  out->summaries = anas_calloc((size_t)model->num_functions + 1, sizeof *out->summaries);
  out->open = anas_calloc((size_t)model->num_functions + 1, sizeof *out->open);
}

void anas_property_inference_deinit(struct anas_property_inference *inference) {
  anas_strbuf_deinit(&inference->scratch);
  free(inference->open);
  free(inference->summaries);
}

static void show_reads(const struct anas_property_options *options, int function, const struct anas_summary *summary) {
  for (int r = 0; r < summary->num_results; r++)
    for (int a = 0; a < summary->num_args; a++)
      options->on_reads(options->context, function, r, a, summary->relations[r * summary->num_args + a].reads);
}

anas_status anas_infer_properties_with(const struct anas_model *model, const struct anas_property_options *options,
                                       struct anas_properties *out) {
  if (options && options->strict_reference) return anas_infer_properties_strictly(model, out);
  bool own = !options || !options->cache;
  struct anas_property_inference inference;
  anas_property_inference_init(model, own ? anas_property_cache_create() : options->cache, &inference);
  anas_property_cache_trim(inference.cache);
  anas_status status = ANAS_OK;
  for (int f = 0; f < model->num_functions && status == ANAS_OK; f++)
    status = anas_property_summarise(&inference, f);
  for (int f = 0; f < model->num_functions && status == ANAS_OK; f++) {
    anas_property_report(&model->functions[f], inference.summaries[f], &out[f]);
    if (options && options->on_reads) show_reads(options, f, inference.summaries[f]);
  }
  anas_property_inference_deinit(&inference);
  if (own) anas_property_cache_destroy(inference.cache);
  return status;
}

anas_status anas_infer_properties(const struct anas_model *model, struct anas_properties *out) {
  return anas_infer_properties_with(model, NULL, out);
}
