// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Life cycle and building of models.
#include "dialect/model.h"

#include "dialect/context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct anas_model *anas_model_create(void) {
  return anas_alloc(sizeof(struct anas_model));
}

void anas_model_destroy(struct anas_model *model) {
  if (!model) return;
  for (int i = 0; i < model->num_functions; i++) {
    free(model->functions[i].nodes);
    free(model->functions[i].extras);
  }
  free(model->functions);
  free(model->extras);
  anas_arena_deinit(&model->arena);
  free(model);
}

const char *anas_model_strdup(struct anas_model *model, const char *text) {
  return text ? anas_arena_strdup(&model->arena, text) : NULL;
}

static void clone_extras(struct anas_model *model, const struct anas_extra *from, int count, struct anas_extra **out,
                         size_t *out_capacity) {
  struct anas_extra *extras = anas_calloc((size_t)count, sizeof *extras);
  for (int i = 0; i < count; i++) {
    extras[i].name = anas_model_strdup(model, from[i].name);
    extras[i].value = anas_model_strdup(model, from[i].value);
  }
  *out = extras;
  *out_capacity = (size_t)count;
}

struct anas_model *anas_model_clone(const struct anas_model *model) {
  struct anas_model *copy = anas_model_create();
  copy->quiet = true;
  copy->functions = anas_calloc((size_t)model->num_functions, sizeof *copy->functions);
  copy->num_functions = model->num_functions;
  copy->capacity_functions = (size_t)model->num_functions;
  clone_extras(copy, model->extras, model->num_extras, &copy->extras, &copy->capacity_extras);
  copy->num_extras = model->num_extras;
  for (int f = 0; f < model->num_functions; f++) {
    const struct anas_function *from = &model->functions[f];
    struct anas_function *to = &copy->functions[f];
    *to = *from;
    to->name = anas_model_strdup(copy, from->name);
    to->block = anas_model_strdup(copy, from->block);
    clone_extras(copy, from->extras, from->num_extras, &to->extras, &to->capacity_extras);
    to->nodes = anas_calloc((size_t)from->num_nodes, sizeof *to->nodes);
    to->capacity_nodes = (size_t)from->num_nodes;
    if (from->num_nodes) memcpy(to->nodes, from->nodes, (size_t)from->num_nodes * sizeof *to->nodes);
    for (int n = 0; n < to->num_nodes; n++)
      to->nodes[n].name = anas_model_strdup(copy, from->nodes[n].name);
  }
  return copy;
}

int anas_model_entry(const struct anas_model *model) {
  for (int i = 0; i < model->num_functions; i++)
    if (!model->functions[i].is_private) return i;
  return -1;
}

int anas_model_find(const struct anas_model *model, const char *name) {
  for (int i = 0; i < model->num_functions; i++)
    if (!strcmp(model->functions[i].name, name)) return i;
  return -1;
}

struct anas_function *anas_model_add_function(struct anas_model *model, const char *name) {
  model->functions =
      anas_grow(model->functions, (size_t)model->num_functions, &model->capacity_functions, sizeof *model->functions);
  struct anas_function *function = &model->functions[model->num_functions++];
  *function = (struct anas_function){.name = anas_model_strdup(model, name)};
  return function;
}

struct anas_node *anas_function_add_node(struct anas_function *function, const struct anas_op_def *def) {
  function->nodes =
      anas_grow(function->nodes, (size_t)function->num_nodes, &function->capacity_nodes, sizeof *function->nodes);
  struct anas_node *node = &function->nodes[function->num_nodes++];
  *node = (struct anas_node){.def = def, .callee = -1, .num_results = 1};
  if (def && def->num_results) node->num_results = def->num_results;
  if (def) node->num_operands = def->num_operands;
  return node;
}

static void set_extra(struct anas_model *model, struct anas_extra **extras, int *count, size_t *capacity,
                      const char *name, const char *value) {
  int at = 0;
  while (at < *count && strcmp((*extras)[at].name, name) != 0)
    at++;
  if (!value) {
    if (at == *count) return;
    memmove(*extras + at, *extras + at + 1, (size_t)(*count - at - 1) * sizeof **extras);
    --*count;
    return;
  }
  if (at == *count) {
    *extras = anas_grow(*extras, (size_t)*count, capacity, sizeof **extras);
    (*extras)[at].name = anas_model_strdup(model, name);
    ++*count;
  }
  (*extras)[at].value = anas_model_strdup(model, value);
}

void anas_function_set_extra(struct anas_model *model, struct anas_function *function, const char *name,
                             const char *value) {
  set_extra(model, &function->extras, &function->num_extras, &function->capacity_extras, name, value);
}

void anas_model_set_extra(struct anas_model *model, const char *name, const char *value) {
  set_extra(model, &model->extras, &model->num_extras, &model->capacity_extras, name, value);
}

const char *anas_function_extra(const struct anas_function *function, const char *name) {
  for (int i = 0; i < function->num_extras; i++)
    if (!strcmp(function->extras[i].name, name)) return function->extras[i].value;
  return NULL;
}

void anas_model_clear_types(struct anas_model *model) {
  for (int f = 0; f < model->num_functions; f++) {
    struct anas_function *function = &model->functions[f];
    for (int r = 0; r < function->num_results; r++)
      function->result_type[r] = (struct anas_shape){0};
    for (int n = 0; n < function->num_nodes; n++) {
      struct anas_node *node = &function->nodes[n];
      memset(node->result, 0, sizeof node->result);
      if (node->def) continue;
      struct anas_function *callee = &model->functions[node->callee];
      if (!callee->is_private) continue;
      for (int a = 0; a < callee->num_args; a++)
        callee->arg[a] = (struct anas_shape){.element = callee->arg[a].element};
    }
  }
}

const struct anas_shape *anas_value_type(const struct anas_function *function, struct anas_ref ref) {
  return ref.node == ANAS_ARGUMENT ? &function->arg[ref.index] : &function->nodes[ref.node].result[ref.index];
}

anas_status anas_node_error(const struct anas_node *node, anas_status status) {
  if (mlirLocationIsNull(node->location))
    fprintf(stderr, "error: %s\n", anas_error_message());
  else
    anas_emit_error(node->location, "%s", anas_error_message());
  return status;
}
