// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The properties as the reference implementation infers them (spec 2.3, 2.4), calls expanded: mixing composed on the
// four-point lattice, and a depth in which neutral ops mask alternations and a result hides the longer paths through
// it. Pairings of single ops follow the structural rule here too: what the reference computes from gradients and keeps
// under too short a key is not reproduced.
#include "passes/analysis/summary.h"

#include <stdlib.h>
#include <string.h>

enum { KINDS = 3 }; // enum anas_linearity

struct flat_op {
  const struct anas_function *function; // the function it stands in
  const struct anas_node *node;
  int operand[ANAS_MAX_OPERANDS]; // values
  int result;                     // the first one
};

// A function with everything it calls, as one list of ops. Values are numbered: arguments, then results in order.
struct flat {
  const struct anas_model *model;
  const struct anas_function *function;
  struct flat_op *ops;
  int num_ops, num_values, num_calls;
  size_t capacity;
  int result[ANAS_MAX_RESULTS];
};

static anas_status expand(struct flat *flat, const struct anas_function *function, const int *args, int depth,
                          int *out_results) {
  if (depth > ANAS_MAX_CALL_DEPTH)
    return anas_fail(ANAS_INVALID, "function '@%s' calls itself; properties need a module without recursion",
                     function->name);
  int(*called)[ANAS_MAX_RESULTS] = anas_calloc((size_t)function->num_nodes + 1, sizeof *called);
  anas_status status = ANAS_OK;
  for (int n = 0; n <= function->num_nodes && status == ANAS_OK; n++) {
    bool end = n == function->num_nodes;
    const struct anas_node *node = end ? NULL : &function->nodes[n];
    int refs[ANAS_MAX_OPERANDS], count = end ? function->num_results : node->num_operands;
    for (int i = 0; i < count; i++) {
      struct anas_ref ref = end ? function->result[i] : node->operand[i];
      refs[i] = ref.node == ANAS_ARGUMENT ? args[ref.index] : called[ref.node][ref.index];
    }
    if (end) {
      memcpy(out_results, refs, (size_t)count * sizeof *refs);
    } else if (!node->def && flat->num_calls++ < ANAS_MAX_OPS) {
      status = expand(flat, &flat->model->functions[node->callee], refs, depth + 1, called[n]);
    } else if (!node->def || flat->num_ops == ANAS_MAX_OPS) {
      status = anas_fail(ANAS_INVALID, "function '@%s' is more than %d ops or calls with everything it calls",
                         flat->function->name, ANAS_MAX_OPS);
    } else {
      flat->ops = anas_grow(flat->ops, (size_t)flat->num_ops, &flat->capacity, sizeof *flat->ops);
      struct flat_op *op = &flat->ops[flat->num_ops++];
      *op = (struct flat_op){.function = function, .node = node, .result = flat->num_values};
      memcpy(op->operand, refs, (size_t)count * sizeof *refs);
      flat->num_values += node->num_results;
      for (int r = 0; r < node->num_results; r++)
        called[n][r] = op->result + r;
    }
  }
  free(called);
  return status;
}

static bool is_blocked(const struct anas_op *op, int which, const struct anas_shape *result) {
  struct anas_dep deps[ANAS_MAX_RANK] = {0};
  if (!op->def->deps) return false;
  op->def->deps(op, which, result, deps);
  for (int i = 0; i < op->operand[which].rank; i++)
    if (deps[i].kind == ANAS_DEP_NONE) return true;
  return false;
}

// ---- mixing: forwards

static bool is_transparent(const struct anas_op_def *def) {
  return def->linearity == ANAS_NEUTRAL && def->num_operands == 1 && !def->variadic && !def->deps;
}

static anas_status infer_mixing(const struct flat *flat, bool *blocked, struct anas_properties *out) {
  int sources = flat->function->num_args;
  struct anas_mixing *values = anas_calloc((size_t)(flat->num_values * sources) + 1, sizeof *values);
  anas_status status = ANAS_OK;
  for (int a = 0; a < sources; a++)
    anas_mixing_identity(flat->function->arg[a].rank, &values[a * sources + a]);
  for (int n = 0; n < flat->num_ops && status == ANAS_OK; n++) {
    const struct flat_op *flat_op = &flat->ops[n];
    const struct anas_node *node = flat_op->node;
    struct anas_shape operands[ANAS_MAX_OPERANDS];
    struct anas_op op;
    for (int q = 0; q < node->num_operands; q++)
      operands[q] = *anas_value_type(flat_op->function, node->operand[q]);
    status = anas_node_resolve(node, operands, &op);
    for (int r = 0; r < node->num_results && status == ANAS_OK; r++)
      for (int q = 0; q < node->num_operands; q++) {
        struct anas_mixing pairing, composed;
        bool blocks = is_blocked(&op, q, &node->result[r]);
        blocked[n] = blocked[n] || blocks;
        anas_mixing_of_op(&op, q, &node->result[r], &pairing);
        for (int a = 0; a < sources; a++) {
          const struct anas_mixing *operand = &values[flat_op->operand[q] * sources + a];
          struct anas_mixing *into = &values[(flat_op->result + r) * sources + a];
          if (!operand->rows) continue;
          if (is_transparent(op.def))
            composed = *operand;
          else
            anas_mixing_compose(operand, &pairing, &composed);
          if (blocks) memset(composed.pair, 0, sizeof composed.pair);
          if (into->rows)
            anas_mixing_join(into, &composed);
          else
            *into = composed;
        }
      }
  }
  for (int r = 0; r < flat->function->num_results; r++)
    for (int a = 0; a < sources; a++) {
      out->mixing[r][a] = values[flat->result[r] * sources + a];
      out->mixing[r][a].rows = flat->function->arg[a].rank;
      out->mixing[r][a].columns = flat->function->result_type[r].rank;
    }
  free(values);
  return status;
}

// ---- depth: backwards

// Largest number of alternations from a consumer of each kind of the value to each result; absent: no such path.
struct tails {
  int64_t depth[ANAS_MAX_RESULTS][KINDS];
};

static void raise(int64_t *into, int64_t value) {
  if (value > *into) *into = value;
}

static void tails_of_op(const struct flat *flat, const struct flat_op *op, const struct tails *tails,
                        int64_t *out_depth) {
  enum anas_linearity kind = op->node->def->linearity;
  for (int r = 0; r < op->node->num_results; r++) {
    bool is_result = false;
    for (int o = 0; o < flat->function->num_results; o++)
      if (flat->result[o] == op->result + r) {
        raise(&out_depth[o], 0);
        is_result = true;
      }
    for (int o = 0; o < flat->function->num_results && !is_result; o++) // a result hides what is behind it
      for (int k = 0; k < KINDS; k++) {
        int64_t depth = tails[op->result + r].depth[o][k];
        if (depth == ANAS_NO_PATH) continue;
        bool changes = (kind == ANAS_NONLINEAR && k != ANAS_NONLINEAR) || (kind == ANAS_LINEAR && k == ANAS_NONLINEAR);
        raise(&out_depth[o], depth + changes);
      }
  }
}

static void infer_depth(const struct flat *flat, const bool *blocked, struct anas_properties *out) {
  struct tails *tails = anas_calloc((size_t)flat->num_values + 1, sizeof *tails);
  for (int v = 0; v < flat->num_values; v++)
    for (int o = 0; o < ANAS_MAX_RESULTS; o++)
      for (int k = 0; k < KINDS; k++)
        tails[v].depth[o][k] = ANAS_NO_PATH;
  for (int n = flat->num_ops - 1; n >= 0; n--) {
    const struct flat_op *op = &flat->ops[n];
    int64_t depth[ANAS_MAX_RESULTS];
    if (blocked[n]) continue;
    for (int o = 0; o < ANAS_MAX_RESULTS; o++)
      depth[o] = ANAS_NO_PATH;
    tails_of_op(flat, op, tails, depth);
    for (int q = 0; q < op->node->num_operands; q++)
      for (int o = 0; o < flat->function->num_results; o++)
        raise(&tails[op->operand[q]].depth[o][op->node->def->linearity], depth[o]);
  }
  for (int r = 0; r < flat->function->num_results; r++)
    for (int a = 0; a < flat->function->num_args; a++) {
      const int64_t *depth = tails[a].depth[r];
      enum anas_linearity same = flat->function->arg_linear[a] ? ANAS_LINEAR : ANAS_NONLINEAR;
      enum anas_linearity other = same == ANAS_LINEAR ? ANAS_NONLINEAR : ANAS_LINEAR;
      out->depth[r][a] = flat->result[r] == a ? 0 : ANAS_NO_PATH;
      for (int k = 0; k < KINDS; k++)
        if (depth[k] != ANAS_NO_PATH) raise(&out->depth[r][a], 0); // also if all that consumes it is neutral
      if (depth[other] != ANAS_NO_PATH) raise(&out->depth[r][a], depth[other] + 1);
      raise(&out->depth[r][a], depth[same]);
    }
  free(tails);
}

anas_status anas_infer_properties_strictly(const struct anas_model *model, struct anas_properties *out) {
  anas_status status = ANAS_OK;
  for (int f = 0; f < model->num_functions && status == ANAS_OK; f++) {
    const struct anas_function *function = &model->functions[f];
    struct flat flat = {.model = model, .function = function, .num_values = function->num_args};
    int args[ANAS_MAX_ARGS];
    for (int a = 0; a < function->num_args; a++)
      args[a] = a;
    status = expand(&flat, function, args, 0, flat.result);
    bool *blocked = anas_calloc((size_t)flat.num_ops + 1, sizeof *blocked);
    memset(&out[f], 0, sizeof out[f]);
    out[f].num_results = function->num_results;
    out[f].num_args = function->num_args;
    if (status == ANAS_OK) status = infer_mixing(&flat, blocked, &out[f]);
    if (status == ANAS_OK) infer_depth(&flat, blocked, &out[f]);
    free(blocked);
    free(flat.ops);
  }
  return status;
}
