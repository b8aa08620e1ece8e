// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Depth and mixing of every function of a model, in one forward sweep a function. A called function is summarised once:
// its depth by kind of producer and kind of last op (a max-plus matrix), its mixing by one matrix per result and
// argument. Deviation from the reference, on purpose: neutral ops are transparent, and a value that is a result does
// not hide longer paths through it.
#include "passes/analysis/analysis.h"

#include "runtime/support/memory.h"

#include <stdlib.h>
#include <string.h>

#define NO_PATH (-1)
enum { KINDS = 2 }; // ANAS_LINEAR, ANAS_NONLINEAR

// Longest paths from one argument to one value: depth[p][k] with a producer of kind p and a last op of kind k.
struct paths {
  int64_t depth[KINDS][KINDS];
};

// What one value says about one argument. mixing.rows == 0: the value does not depend on it.
struct relation {
  struct paths paths;
  struct anas_mixing mixing;
};

struct summary {
  enum { UNSEEN = 0, OPEN, DONE } state;
  struct relation (*results)[ANAS_MAX_ARGS]; // [result][argument]
};

struct inference {
  const struct anas_model *model;
  struct summary *summaries;
};

static const struct paths no_paths = {{{NO_PATH, NO_PATH}, {NO_PATH, NO_PATH}}};

static void raise(int64_t *into, int64_t value) {
  if (value > *into) *into = value;
}

static bool reachable(const struct paths *paths) {
  for (int p = 0; p < KINDS; p++)
    for (int k = 0; k < KINDS; k++)
      if (paths->depth[p][k] != NO_PATH) return true;
  return false;
}

static void append_op(const struct paths *before, enum anas_linearity kind, struct paths *into) {
  for (int p = 0; p < KINDS; p++)
    for (int k = 0; k < KINDS; k++) {
      if (before->depth[p][k] == NO_PATH) continue;
      struct anas_depth_state state =
          anas_depth_append((struct anas_depth_state){before->depth[p][k], (enum anas_linearity)k}, kind);
      raise(&into->depth[p][state.last], state.depth);
    }
}

static void append_call(const struct paths *before, const struct paths *callee, struct paths *into) {
  for (int p = 0; p < KINDS; p++)
    for (int m = 0; m < KINDS; m++)
      for (int k = 0; k < KINDS; k++)
        if (before->depth[p][m] != NO_PATH && callee->depth[m][k] != NO_PATH)
          raise(&into->depth[p][k], before->depth[p][m] + callee->depth[m][k]);
}

static void join(struct relation *into, const struct anas_mixing *mixing) {
  if (into->mixing.rows)
    anas_mixing_join(&into->mixing, mixing);
  else
    into->mixing = *mixing;
}

static anas_status summarise(struct inference *inference, int index);

// Values are numbered: arguments, then every result of every node.
static int value_index(const struct anas_function *function, const int *first_result, struct anas_ref ref) {
  return ref.node == ANAS_ARGUMENT ? ref.index : function->num_args + first_result[ref.node] + ref.index;
}

static void transfer_op(const struct anas_function *function, const struct anas_node *node, const struct anas_op *op,
                        const int *first_result, const struct relation (*values)[ANAS_MAX_ARGS],
                        struct relation (*results)[ANAS_MAX_ARGS]) {
  for (int r = 0; r < node->num_results; r++)
    for (int q = 0; q < node->num_operands; q++) {
      const struct relation *operand = values[value_index(function, first_result, node->operand[q])];
      struct anas_mixing pairing;
      anas_mixing_of_op(op, q, &node->result[r], &pairing);
      bool blocked = true;
      for (int i = 0; i < pairing.rows; i++)
        for (int j = 0; j < pairing.columns; j++)
          blocked = blocked && pairing.pair[i][j] == ANAS_PAIR_NONE;
      for (int a = 0; a < function->num_args; a++) {
        if (!operand[a].mixing.rows) continue;
        struct anas_mixing composed;
        anas_mixing_compose(&operand[a].mixing, &pairing, &composed);
        if (blocked) memset(composed.pair, 0, sizeof composed.pair);
        join(&results[r][a], &composed);
        append_op(&operand[a].paths, op->def->linearity, &results[r][a].paths);
      }
    }
}

static void transfer_call(const struct anas_function *function, const struct anas_node *node,
                          const struct summary *callee, const int *first_result,
                          const struct relation (*values)[ANAS_MAX_ARGS], struct relation (*results)[ANAS_MAX_ARGS]) {
  for (int r = 0; r < node->num_results; r++)
    for (int q = 0; q < node->num_operands; q++) {
      const struct relation *through = &callee->results[r][q];
      if (!through->mixing.rows) continue;
      const struct relation *operand = values[value_index(function, first_result, node->operand[q])];
      for (int a = 0; a < function->num_args; a++) {
        if (!operand[a].mixing.rows) continue;
        struct anas_mixing composed;
        anas_mixing_compose(&operand[a].mixing, &through->mixing, &composed);
        join(&results[r][a], &composed);
        append_call(&operand[a].paths, &through->paths, &results[r][a].paths);
      }
    }
}

static anas_status sweep(struct inference *inference, int index, const int *first_result,
                         struct relation (*values)[ANAS_MAX_ARGS]) {
  const struct anas_function *function = &inference->model->functions[index];
  for (int a = 0; a < function->num_args; a++) {
    values[a][a].paths.depth[ANAS_LINEAR][ANAS_LINEAR] = 0;
    values[a][a].paths.depth[ANAS_NONLINEAR][ANAS_NONLINEAR] = 0;
    anas_mixing_of_input(&function->arg[a], &values[a][a].mixing);
  }
  for (int n = 0; n < function->num_nodes; n++) {
    const struct anas_node *node = &function->nodes[n];
    struct relation(*results)[ANAS_MAX_ARGS] = values + function->num_args + first_result[n];
    if (!node->def) {
      ANAS_RETURN_IF_ERROR(summarise(inference, node->callee));
      transfer_call(function, node, &inference->summaries[node->callee], first_result,
                    (const struct relation(*)[ANAS_MAX_ARGS])values, results);
      continue;
    }
    struct anas_shape operands[ANAS_MAX_OPERANDS];
    for (int q = 0; q < node->num_operands; q++)
      operands[q] = *anas_value_type(function, node->operand[q]);
    struct anas_op op;
    ANAS_RETURN_IF_ERROR(anas_node_resolve(node, operands, &op));
    transfer_op(function, node, &op, first_result, (const struct relation(*)[ANAS_MAX_ARGS])values, results);
  }
  return ANAS_OK;
}

static anas_status summarise(struct inference *inference, int index) {
  struct summary *summary = &inference->summaries[index];
  const struct anas_function *function = &inference->model->functions[index];
  if (summary->state == DONE) return ANAS_OK;
  if (summary->state == OPEN)
    return anas_fail(ANAS_INVALID, "function '@%s' calls itself; properties need a module without recursion",
                     function->name);
  summary->state = OPEN;

  int *first_result = anas_calloc((size_t)function->num_nodes + 1, sizeof *first_result);
  for (int n = 0; n < function->num_nodes; n++)
    first_result[n + 1] = first_result[n] + function->nodes[n].num_results;
  size_t num_values = (size_t)(function->num_args + first_result[function->num_nodes]);
  struct relation(*values)[ANAS_MAX_ARGS] = anas_calloc(num_values + 1, sizeof *values);
  for (size_t v = 0; v < num_values; v++)
    for (int a = 0; a < ANAS_MAX_ARGS; a++)
      values[v][a].paths = no_paths;

  anas_status status = sweep(inference, index, first_result, values);
  if (status == ANAS_OK) {
    summary->results = anas_calloc((size_t)function->num_results + 1, sizeof *summary->results);
    for (int r = 0; r < function->num_results; r++)
      memcpy(summary->results[r], values[value_index(function, first_result, function->result[r])],
             sizeof summary->results[r]);
    summary->state = DONE;
  }
  free(values);
  free(first_result);
  return status;
}

static void report(const struct anas_function *function, const struct summary *summary, struct anas_properties *out) {
  memset(out, 0, sizeof *out);
  out->num_results = function->num_results;
  out->num_args = function->num_args;
  for (int r = 0; r < function->num_results; r++)
    for (int a = 0; a < function->num_args; a++) {
      const struct relation *relation = &summary->results[r][a];
      const int64_t *depth = relation->paths.depth[function->arg_linear[a] ? ANAS_LINEAR : ANAS_NONLINEAR];
      out->depth[r][a] = NO_PATH;
      if (reachable(&relation->paths))
        for (int k = 0; k < KINDS; k++)
          raise(&out->depth[r][a], depth[k]);
      out->mixing[r][a] = relation->mixing;
      out->mixing[r][a].rows = function->arg[a].rank;
      out->mixing[r][a].columns = function->result_type[r].rank;
    }
}

anas_status anas_infer_properties(const struct anas_model *model, struct anas_properties *out) {
  struct inference inference = {model, anas_calloc((size_t)model->num_functions + 1, sizeof(struct summary))};
  anas_status status = ANAS_OK;
  for (int f = 0; f < model->num_functions && status == ANAS_OK; f++)
    status = summarise(&inference, f);
  for (int f = 0; f < model->num_functions && status == ANAS_OK; f++)
    report(&model->functions[f], &inference.summaries[f], &out[f]);
  for (int f = 0; f < model->num_functions; f++)
    free(inference.summaries[f].results);
  free(inference.summaries);
  return status;
}
