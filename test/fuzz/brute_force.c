// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Dependency sets element by element, and depth path by path.
#include "test/fuzz/brute_force.h"

#include "test/unit/pairing.h"

#include <stdlib.h>
#include <string.h>

#define GRAPH_EXTENT 1024 // above any extent of a value of GRAPH_LARGEST elements
#define MAX_PATHS 2000000
#define MAX_STEPS 64 // ops of a path

static void split(const struct anas_shape *shape, int64_t element, int64_t *out) {
  for (int d = shape->rank - 1; d >= 0; d--) {
    out[d] = element % shape->dim[d];
    element /= shape->dim[d];
  }
}

void brute_deps(const struct anas_op *op, int which, const struct anas_shape *result, struct anas_dep *out) {
  memset(out, 0, ANAS_MAX_RANK * sizeof *out);
  if (op->def->deps) {
    op->def->deps(op, which, result, out);
    return;
  }
  const struct anas_shape *operand = &op->operand[which];
  for (int i = 0; i < operand->rank; i++) {
    int j = result->rank - operand->rank + i;
    out[i] = (struct anas_dep){.kind = ANAS_DEP_WINDOW, .out_dim = j, .window = 1, .stride = 1, .dilation = 1};
    if (operand->dim[i] == 1) out[i] = (struct anas_dep){.kind = ANAS_DEP_FIRST};
  }
}

static void resolve(const struct anas_function *function, const struct anas_node *node, struct anas_op *out) {
  struct anas_shape operands[ANAS_MAX_OPERANDS];
  for (int q = 0; q < node->num_operands; q++)
    operands[q] = *anas_value_type(function, node->operand[q]);
  if (anas_node_resolve(node, operands, out) != ANAS_OK) abort(); // it was well-typed before
}

// ---- dependency sets

static void unite(struct brute_set *into, int64_t element, const struct brute_set *from, int64_t source) {
  for (int w = 0; w < from->words; w++)
    into->bits[element * into->words + w] |= from->bits[source * from->words + w];
}

static void allocate(struct brute_set *set, const struct anas_shape *shape, int words) {
  if (set->bits) return;
  set->elements = anas_shape_elements(shape);
  set->words = words;
  set->bits = anas_calloc((size_t)(set->elements * words), sizeof *set->bits);
}

// Adds to every element of the result what the operand elements it reads depend on.
static void through_op(const struct anas_op *op, int which, const struct anas_shape *result,
                       const struct brute_set *operand, struct brute_set *into) {
  const struct anas_shape *shape = &op->operand[which];
  struct anas_dep deps[ANAS_MAX_RANK];
  brute_deps(op, which, result, deps);
  for (int k = 0; k < shape->rank; k++)
    if (deps[k].kind == ANAS_DEP_NONE) return;
  allocate(into, result, operand->words);
  int *list = anas_calloc((size_t)(shape->rank * GRAPH_EXTENT), sizeof *list);
  for (int64_t e = 0; e < into->elements; e++) {
    int64_t y[ANAS_MAX_RANK] = {0};
    int count[ANAS_MAX_RANK] = {0}, at[ANAS_MAX_RANK] = {0};
    bool empty = false;
    split(result, e, y);
    for (int k = 0; k < shape->rank; k++) {
      for (int64_t p = 0; p < shape->dim[k]; p++)
        if (test_reads(&deps[k], shape->dim[k], result, y, p)) list[k * GRAPH_EXTENT + count[k]++] = (int)p;
      empty = empty || !count[k];
    }
    for (bool more = !empty; more;) {
      int64_t source = 0;
      for (int k = 0; k < shape->rank; k++)
        source = source * shape->dim[k] + list[k * GRAPH_EXTENT + at[k]];
      unite(into, e, operand, source);
      more = false;
      for (int k = shape->rank - 1; k >= 0 && !more; k--) {
        more = ++at[k] < count[k];
        if (!more) at[k] = 0;
      }
    }
  }
  free(list);
}

// values: [argument or result of a node][source]; sets of the arguments are given.
static void evaluate(const struct anas_model *model, int index, int sources, const struct brute_set *args,
                     struct brute_set *out_results) {
  const struct anas_function *function = &model->functions[index];
  int *first = anas_calloc((size_t)function->num_nodes + 2, sizeof *first);
  for (int n = 0; n < function->num_nodes; n++)
    first[n + 1] = first[n] + function->nodes[n].num_results;
  int total = first[function->num_nodes];
  struct brute_set *values = anas_calloc((size_t)(total * sources) + 1, sizeof *values);
  for (int n = 0; n < function->num_nodes; n++) {
    const struct anas_node *node = &function->nodes[n];
    struct brute_set *results = values + first[n] * sources, *operands[ANAS_MAX_OPERANDS];
    for (int q = 0; q < node->num_operands; q++) {
      struct anas_ref ref = node->operand[q];
      operands[q] = ref.node == ANAS_ARGUMENT ? (struct brute_set *)args + ref.index * sources
                                              : values + (first[ref.node] + ref.index) * sources;
    }
    if (!node->def) {
      struct brute_set *inner = anas_calloc((size_t)(node->num_operands * sources) + 1, sizeof *inner);
      for (int q = 0; q < node->num_operands; q++)
        memcpy(inner + q * sources, operands[q], (size_t)sources * sizeof *inner);
      evaluate(model, node->callee, sources, inner, results);
      free(inner);
      continue;
    }
    struct anas_op op;
    resolve(function, node, &op);
    for (int r = 0; r < node->num_results; r++)
      for (int q = 0; q < node->num_operands; q++)
        for (int s = 0; s < sources; s++)
          if (operands[q][s].bits) through_op(&op, q, &node->result[r], &operands[q][s], &results[r * sources + s]);
  }
  for (int r = 0; r < function->num_results; r++)
    for (int s = 0; s < sources; s++) {
      struct anas_ref ref = function->result[r];
      const struct brute_set *from = ref.node == ANAS_ARGUMENT ? &args[ref.index * sources + s]
                                                               : &values[(first[ref.node] + ref.index) * sources + s];
      struct brute_set *to = &out_results[r * sources + s];
      *to = *from;
      if (!from->bits) continue;
      size_t size = (size_t)(from->elements * from->words) * sizeof *from->bits;
      to->bits = memcpy(anas_alloc(size), from->bits, size);
    }
  for (int v = 0; v < total * sources; v++)
    free(values[v].bits);
  free(values);
  free(first);
}

// ---- mixing, by its definition (spec 2.4)

static int project(const struct brute_set *set, int64_t element, const struct anas_shape *input, int i, bool *mark) {
  bool here[GRAPH_EXTENT] = {false};
  int count = 0;
  for (int64_t x = 0; x < anas_shape_elements(input); x++) {
    if (!(set->bits[element * set->words + x / 64] >> (x % 64) & 1)) continue;
    int64_t position[ANAS_MAX_RANK];
    split(input, x, position);
    count += !here[position[i]];
    here[position[i]] = mark[position[i]] = true;
  }
  return count;
}

static void mixing_of(const struct brute_set *set, const struct anas_shape *input, const struct anas_shape *result,
                      struct anas_mixing *out) {
  *out = (struct anas_mixing){.rows = input->rank, .columns = result->rank};
  if (!set->bits) return;
  int64_t stride[ANAS_MAX_RANK], centre = 0, size = 1;
  for (int j = result->rank - 1; j >= 0; j--) {
    stride[j] = size;
    centre += result->dim[j] / 2 * size;
    size *= result->dim[j];
  }
  for (int i = 0; i < input->rank; i++) {
    bool unused[GRAPH_EXTENT] = {false};
    int at_centre = project(set, centre, input, i, unused);
    for (int j = 0; j < result->rank; j++) {
      bool mark[GRAPH_EXTENT] = {false}, covered = true;
      for (int64_t v = 0; v < result->dim[j]; v++)
        project(set, centre + (v - result->dim[j] / 2) * stride[j], input, i, mark);
      for (int64_t p = 0; p < input->dim[i]; p++)
        covered = covered && mark[p];
      if (covered)
        out->pair[i][j] = at_centre == input->dim[i] ? ANAS_PAIR_ALL : at_centre > 1 ? ANAS_PAIR_MANY : ANAS_PAIR_ONE;
    }
  }
}

// ---- depth, path by path

struct frame { // a call that is being looked into
  const struct frame *outer;
  int function;
  const struct anas_node *call; // in outer's function
};

struct walk {
  const struct anas_model *model;
  enum anas_linearity step[MAX_STEPS]; // from the result backwards
  int64_t paths, *depth;               // by argument of the outermost function
};

static void finish(struct walk *walk, int steps, int argument) {
  int64_t depth = 0;
  enum anas_linearity last = walk->step[steps];
  for (int i = steps - 1; i >= 0; i--) {
    if (walk->step[i] == ANAS_NEUTRAL) continue;
    depth += walk->step[i] != last;
    last = walk->step[i];
  }
  if (depth > walk->depth[argument]) walk->depth[argument] = depth;
}

static void walk_back(struct walk *walk, const struct frame *frame, struct anas_ref ref, int steps) {
  const struct anas_function *function = &walk->model->functions[frame->function];
  if (++walk->paths > MAX_PATHS || steps >= MAX_STEPS - 1) {
    walk->paths = MAX_PATHS + 1;
    return;
  }
  if (ref.node == ANAS_ARGUMENT && frame->outer) {
    walk_back(walk, frame->outer, frame->call->operand[ref.index], steps);
    return;
  }
  if (ref.node == ANAS_ARGUMENT) {
    walk->step[steps] = function->arg_linear[ref.index] ? ANAS_LINEAR : ANAS_NONLINEAR;
    finish(walk, steps, ref.index);
    return;
  }
  const struct anas_node *node = &function->nodes[ref.node];
  if (!node->def) {
    struct frame inner = {frame, node->callee, node};
    walk_back(walk, &inner, walk->model->functions[node->callee].result[ref.index], steps);
    return;
  }
  struct anas_op op;
  resolve(function, node, &op);
  for (int q = 0; q < node->num_operands; q++) {
    struct anas_dep deps[ANAS_MAX_RANK];
    bool blocked = false;
    brute_deps(&op, q, &node->result[ref.index], deps);
    for (int k = 0; k < op.operand[q].rank; k++)
      blocked = blocked || deps[k].kind == ANAS_DEP_NONE;
    if (blocked) continue;
    walk->step[steps] = node->def->linearity;
    walk_back(walk, frame, node->operand[q], steps + 1);
  }
}

void brute_init(const struct anas_model *model, int index, struct brute *out) {
  const struct anas_function *function = &model->functions[index];
  int sources = function->num_args;
  memset(out, 0, sizeof *out);
  out->num_results = function->num_results;
  out->num_args = sources;
  struct brute_set *args = anas_calloc((size_t)(sources * sources) + 1, sizeof *args);
  struct brute_set *results = anas_calloc((size_t)(function->num_results * sources) + 1, sizeof *results);
  for (int a = 0; a < sources; a++) {
    struct brute_set *self = &args[a * sources + a];
    allocate(self, &function->arg[a], (int)((anas_shape_elements(&function->arg[a]) + 63) / 64));
    for (int64_t e = 0; e < self->elements; e++)
      self->bits[e * self->words + e / 64] |= UINT64_C(1) << (e % 64);
  }
  evaluate(model, index, sources, args, results);
  for (int r = 0; r < function->num_results; r++) {
    struct walk walk = {.model = model, .depth = out->depth[r]};
    struct frame frame = {.function = index};
    for (int a = 0; a < sources; a++) {
      out->dependency[r][a] = results[r * sources + a];
      mixing_of(&results[r * sources + a], &function->arg[a], &function->result_type[r], &out->mixing[r][a]);
      out->depth[r][a] = -1;
    }
    walk_back(&walk, &frame, function->result[r], 0);
    for (int a = 0; a < sources && walk.paths > MAX_PATHS; a++)
      out->depth[r][a] = -2;
  }
  for (int a = 0; a < sources * sources; a++)
    free(args[a].bits);
  free(args);
  free(results);
}

void brute_deinit(struct brute *brute) {
  for (int r = 0; r < brute->num_results; r++)
    for (int a = 0; a < brute->num_args; a++)
      free(brute->dependency[r][a].bits);
}
