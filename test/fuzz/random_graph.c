// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Random modules: values are collected, an op is drawn with operands among them, and kept if it is well-typed.
#include "test/fuzz/random_graph.h"

#include "dialect/attributes.h"
#include "dialect/context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_VALUES 64
#define MAX_TRIES 400 // draws of an op for one graph

struct template { // a sample of an op
  const struct anas_op_def *def;
  struct anas_attr attr[ANAS_MAX_ATTRS];
  int num_operands;
  struct anas_shape operand[ANAS_MAX_OPERANDS];
};

struct family { // templates of one op
  int first, count;
};

struct graph_source {
  struct template *templates;
  struct family *families;
  int num_templates, num_families;
  size_t capacity_templates, capacity_families;
};

struct builder {
  const struct graph_source *source;
  struct anas_rng *rng;
  struct anas_model *model;
  int function;
  struct anas_ref value[MAX_VALUES];
  int num_values, max_args, max_elements;
};

static int below(struct anas_rng *rng, int bound) {
  return (int)anas_rng_below(rng, (uint64_t)bound);
}

static bool chance(struct anas_rng *rng, int percent) {
  return below(rng, 100) < percent;
}

// ---- samples

static bool parse_sample(MlirContext context, const struct anas_op_def *def, const struct anas_sample *sample,
                         struct template *out) {
  memset(out, 0, sizeof *out);
  out->def = def;
  MlirAttribute dictionary = mlirAttributeParseGet(
      context, mlirStringRefCreateFromCString(sample->attrs && *sample->attrs ? sample->attrs : "{}"));
  if (mlirAttributeIsNull(dictionary)) return false;
  for (int q = 0; q < ANAS_MAX_OPERANDS && sample->operand[q]; q++)
    if (anas_shape_parse(sample->operand[q], &out->operand[out->num_operands++]) != ANAS_OK) return false;
  return anas_attrs_from_dictionary(def, dictionary, out->num_operands ? out->operand[0].rank : 0, out->attr) ==
         ANAS_OK;
}

struct graph_source *graph_source_create(MlirContext context) {
  struct graph_source *source = anas_alloc(sizeof *source);
  int num_defs;
  const struct anas_op_def *const *defs = anas_op_table(&num_defs);
  for (int d = 0; d < num_defs; d++) {
    if (defs[d]->level != ANAS_ARCHITECTURE) continue;
    struct family family = {.first = source->num_templates};
    for (int s = 0; s < defs[d]->num_samples; s++) {
      source->templates = anas_grow(source->templates, (size_t)source->num_templates, &source->capacity_templates,
                                    sizeof *source->templates);
      if (parse_sample(context, defs[d], &defs[d]->samples[s], &source->templates[source->num_templates]))
        source->num_templates++;
    }
    family.count = source->num_templates - family.first;
    if (!family.count) continue;
    source->families =
        anas_grow(source->families, (size_t)source->num_families, &source->capacity_families, sizeof *source->families);
    source->families[source->num_families++] = family;
  }
  return source;
}

void graph_source_destroy(struct graph_source *source) {
  free(source->templates);
  free(source->families);
  free(source);
}

// ---- attributes

static void random_axes(struct anas_rng *rng, int rank, struct anas_ints *out) {
  uint32_t order[ANAS_MAX_RANK];
  for (int i = 0; i < rank; i++)
    order[i] = (uint32_t)i;
  anas_rng_shuffle(rng, order, (uint64_t)rank);
  out->count = chance(rng, 60) ? rank : 1 + below(rng, rank);
  if (out->count == rank && order[0] != 0 && chance(rng, 70)) // mostly leave the batch in front
    for (int i = 0; i < rank; i++)
      if (order[i] == 0) {
        order[i] = order[0];
        order[0] = 0;
      }
  for (int i = 0; i < out->count; i++)
    out->value[i] = order[i];
}

// The elements of the operand behind the batch as one to three factors.
static void random_extents(struct anas_rng *rng, const struct anas_shape *operand, struct anas_ints *out) {
  int64_t rest = 1;
  int factors = 1 + below(rng, 3);
  for (int i = 1; i < operand->rank; i++)
    rest *= operand->dim[i];
  *out = (struct anas_ints){.count = 1 + factors, .value = {chance(rng, 50) ? ANAS_DIMS_BATCH : operand->dim[0]}};
  for (int i = 1; i <= factors; i++) {
    int64_t factor = rest;
    while (i < factors && factor > 1 && (rest % factor || (factor == rest && chance(rng, 80)) || chance(rng, 30)))
      factor--;
    out->value[i] = factor;
    rest /= factor;
  }
  if (chance(rng, 30)) out->value[1 + below(rng, factors)] = ANAS_DIMS_REST;
}

static void random_attr(struct anas_rng *rng, const struct anas_attr_def *def, const struct anas_shape *operand,
                        struct anas_attr *attr) {
  int sets = def->num_full + def->num_test;
  int rank = operand ? operand->rank : 1;
  if (!def->required && chance(rng, 25)) {
    attr->present = false;
    return;
  }
  if (sets && chance(rng, 70)) {
    int pick = below(rng, sets);
    *attr = pick < def->num_full ? def->full_set[pick] : def->test_set[pick - def->num_full];
    return;
  }
  struct anas_attr drawn = {.present = true};
  switch (def->kind) {
  case ANAS_ATTR_INT: drawn.value.i = chance(rng, 50) ? 1 + below(rng, 4) : below(rng, 2 * rank) - rank; break;
  case ANAS_ATTR_BOOL: drawn.value.b = chance(rng, 50); break;
  case ANAS_ATTR_ENUM: {
    int count = 0;
    while (def->choices[count])
      count++;
    drawn.value.i = below(rng, count);
    break;
  }
  case ANAS_ATTR_INTS:
    if (def->list)
      random_axes(rng, rank, &drawn.value.ints);
    else
      drawn.value.ints = (struct anas_ints){.count = 1, .value = {1 + below(rng, 3)}};
    for (int i = 1; !def->list && rank > 3 && chance(rng, 40) && i < rank - 2; i++) {
      drawn.value.ints.count = rank - 2;
      drawn.value.ints.value[i] = 1 + below(rng, 3);
    }
    for (int i = 0; i < drawn.value.ints.count; i++)
      if (!def->list && drawn.value.ints.value[i] < 1) drawn.value.ints.value[i] = 1;
    break;
  case ANAS_ATTR_DIM:
    drawn.value.dim =
        chance(rng, 50)
            ? (struct anas_dim_expr){.constant = 1 + below(rng, 8), .div = 1, .mul = 1}
            : (struct anas_dim_expr){.relative = true, .axis = -1, .div = 1 + below(rng, 2), .mul = 1 + below(rng, 3)};
    break;
  case ANAS_ATTR_DIMS:
    if (!operand) return;
    random_extents(rng, operand, &drawn.value.ints);
    break;
  case ANAS_ATTR_FLOAT:
  case ANAS_ATTR_TEXT:
  case ANAS_ATTR_INIT: return; // as in the sample
  }
  *attr = drawn;
}

// ---- operands

static struct anas_function *function_of(const struct builder *b) {
  return &b->model->functions[b->function];
}

static const struct anas_shape *type_of(const struct builder *b, int value) {
  return anas_value_type(function_of(b), b->value[value]);
}

static void add_value(struct builder *b, struct anas_ref ref) {
  if (b->num_values < MAX_VALUES) b->value[b->num_values++] = ref;
}

// A value of the type, or a new argument; -1 if there is neither.
static int value_of_type(struct builder *b, const struct anas_shape *type) {
  int start = b->num_values ? below(b->rng, b->num_values) : 0;
  for (int i = 0; i < b->num_values; i++) {
    int value = (start + i) % b->num_values;
    if (anas_shape_equal(type_of(b, value), type)) return value;
  }
  struct anas_function *function = function_of(b);
  if (function->num_args >= b->max_args || b->num_values == MAX_VALUES) return -1;
  if (anas_shape_elements(type) > b->max_elements) return -1;
  function->arg[function->num_args] = *type;
  function->arg_linear[function->num_args] = chance(b->rng, 40);
  add_value(b, (struct anas_ref){ANAS_ARGUMENT, function->num_args++});
  return b->num_values - 1;
}

// An image, sequence or row of random extents: what samples are too small for.
static struct anas_shape random_input(struct anas_rng *rng, int max_elements) {
  bool large = max_elements > 400;
  for (;;) {
    struct anas_shape shape = {.rank = 2 + below(rng, 3), .dim = {2 + below(rng, 2)}};
    for (int d = 1; d < shape.rank - 1; d++)
      shape.dim[d] = 1 + below(rng, (shape.rank == 3 ? 32 : 10) * (1 + large));
    shape.dim[shape.rank - 1] = 1 + below(rng, shape.rank == 2 ? 24 : 6);
    if (anas_shape_elements(&shape) <= max_elements) return shape;
  }
}

static bool choose_operands(struct builder *b, const struct template *template, bool as_sampled,
                            struct anas_node *node) {
  node->num_operands = template->num_operands;
  if (template->def->variadic && node->num_operands < ANAS_MAX_OPERANDS && chance(b->rng, 30)) node->num_operands++;
  int first = -1;
  for (int q = 0; q < node->num_operands; q++) {
    int value;
    if (as_sampled || !b->num_values)
      value = q < template->num_operands ? value_of_type(b, &template->operand[q]) : first;
    else if (q && chance(b->rng, 60))
      value = value_of_type(b, type_of(b, first));
    else // late values more often, so that graphs are deep
      value = chance(b->rng, 50) ? b->num_values - 1 : below(b->rng, b->num_values);
    if (value < 0) return false;
    if (!q) first = value;
    node->operand[q] = b->value[value];
  }
  return true;
}

// ---- ops

static bool infer_results(const struct builder *b, struct anas_node *node) {
  struct anas_shape operands[ANAS_MAX_OPERANDS];
  struct anas_op op;
  for (int q = 0; q < node->num_operands; q++)
    operands[q] = *anas_value_type(function_of(b), node->operand[q]);
  node->num_results = node->def->num_results ? node->def->num_results : 1;
  if (anas_node_resolve(node, operands, &op) != ANAS_OK || node->def->shape(&op, node->result) != ANAS_OK) return false;
  for (int r = 0; r < node->num_results; r++)
    if (anas_shape_check(&node->result[r], false) != ANAS_OK || anas_shape_elements(&node->result[r]) > b->max_elements)
      return false;
  return true;
}

static void append(struct builder *b, const struct anas_node *node) {
  struct anas_function *function = function_of(b);
  int index = function->num_nodes;
  *anas_function_add_node(function, node->def) = *node;
  for (int r = 0; r < node->num_results; r++)
    add_value(b, (struct anas_ref){index, r});
}

static bool try_op_of(struct builder *b, const struct family *family) {
  const struct template *template = &b->source->templates[family->first + below(b->rng, family->count)];
  struct anas_node node = {.def = template->def};
  bool as_sampled = chance(b->rng, 30);
  int args = function_of(b)->num_args, values = b->num_values;
  memcpy(node.attr, template->attr, sizeof node.attr);
  bool fits = choose_operands(b, template, as_sampled, &node);
  if (fits && (!as_sampled || chance(b->rng, 50))) {
    const struct anas_shape *operand = node.num_operands ? anas_value_type(function_of(b), node.operand[0]) : NULL;
    for (int i = 0; i < node.def->num_attrs; i++)
      if (chance(b->rng, 60)) random_attr(b->rng, &node.def->attrs[i], operand, &node.attr[i]);
  }
  if (!fits || !infer_results(b, &node)) { // take back arguments made for it
    function_of(b)->num_args = args;
    b->num_values = values;
    return false;
  }
  char name[32];
  snprintf(name, sizeof name, "op%d", function_of(b)->num_nodes);
  if (node.def->params) node.name = anas_model_strdup(b->model, name);
  append(b, &node);
  return true;
}

// An op that fits few operands gets more than one chance, or graphs would hardly have any.
static bool try_op(struct builder *b) {
  const struct family *family = &b->source->families[below(b->rng, b->source->num_families)];
  if (!b->source->templates[family->first].def->deps && chance(b->rng, 60)) // elementwise ops are many
    family = &b->source->families[below(b->rng, b->source->num_families)];
  for (int tries = 0; tries < 5; tries++)
    if (try_op_of(b, family)) return true;
  return false;
}

static bool try_call(struct builder *b, int callee) {
  const struct anas_function *block = &b->model->functions[callee];
  struct anas_node node = {.callee = callee, .num_operands = block->num_args, .num_results = block->num_results};
  int args = function_of(b)->num_args, values = b->num_values;
  for (int a = 0; a < block->num_args; a++) {
    struct anas_shape type = block->arg[a];
    int value = value_of_type(b, &type);
    if (value < 0) {
      function_of(b)->num_args = args;
      b->num_values = values;
      return false;
    }
    node.operand[a] = b->value[value];
  }
  memcpy(node.result, block->result_type, sizeof node.result);
  append(b, &node);
  return true;
}

static void choose_results(struct builder *b) {
  struct anas_function *function = function_of(b);
  int count = 1 + (chance(b->rng, 35) ? below(b->rng, 3) : 0);
  for (int r = 0; r < count; r++) {
    int value = r ? below(b->rng, b->num_values) : b->num_values - 1;
    function->result[r] = b->value[value];
    function->result_type[r] = *type_of(b, value);
  }
  function->num_results = count;
}

static void build_function(struct builder *b, const char *name, int max_ops, int callee) {
  anas_model_add_function(b->model, name);
  b->function = b->model->num_functions - 1;
  b->num_values = 0;
  function_of(b)->is_private = callee < 0 && strcmp(name, "main") != 0;
  int ops = 1 + below(b->rng, max_ops);
  if (chance(b->rng, 60)) {
    struct anas_shape input = random_input(b->rng, b->max_elements);
    value_of_type(b, &input);
  }
  bool called = callee < 0;
  for (int tries = 0; (tries < MAX_TRIES && function_of(b)->num_nodes < ops) || !function_of(b)->num_nodes; tries++) {
    if (!called && chance(b->rng, 20))
      called = try_call(b, callee) && chance(b->rng, 60);
    else
      try_op(b);
  }
  choose_results(b);
}

struct anas_model *graph_random(const struct graph_source *source, struct anas_rng *rng, int max_ops,
                                int max_elements) {
  struct builder b = {
      .source = source, .rng = rng, .model = anas_model_create(), .max_args = 3, .max_elements = max_elements};
  bool block = max_ops >= 4 && chance(rng, 35);
  b.model->quiet = true;
  if (block) build_function(&b, "block", 3, -1);
  build_function(&b, "main", block ? max_ops - 3 : max_ops, block ? 0 : -1);
  return b.model;
}

struct anas_model *graph_with_dynamic_batch(const struct anas_model *model) {
  struct anas_model *clone = anas_model_clone(model);
  anas_model_clear_types(clone);
  bool fits = true;
  for (int f = 0; f < clone->num_functions; f++) {
    struct anas_function *function = &clone->functions[f];
    for (int a = 0; a < function->num_args; a++) {
      if (function->arg[a].rank && function->arg[a].dim[0] < 2) fits = false;
      if (function->arg[a].rank) function->arg[a].dim[0] = ANAS_DYNAMIC;
    }
    memset(function->result_type, 0, sizeof function->result_type);
  }
  if (fits && anas_model_infer_shapes(clone) == ANAS_OK) return clone;
  anas_model_destroy(clone);
  return NULL;
}
