// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Verification of models: structure, then shapes (on a copy), then what only makes sense for a whole network.
#include "dialect/attributes.h"
#include "dialect/context.h"
#include "dialect/model.h"

#include <stdlib.h>
#include <string.h>

static anas_status report(const struct anas_model *model, const struct anas_node *node, anas_status status) {
  return model->quiet ? status : anas_node_error(node, status);
}

static anas_status report_function(const struct anas_model *model, const struct anas_function *function,
                                   anas_status status) {
  if (!model->quiet && !mlirLocationIsNull(function->location))
    anas_emit_error(function->location, "%s", anas_error_message());
  return status;
}

// ---- structure: what import guarantees and code that edits models may have broken

static bool defined_before(const struct anas_function *function, struct anas_ref ref, int node) {
  if (ref.node == ANAS_ARGUMENT) return ref.index >= 0 && ref.index < function->num_args;
  if (ref.node < 0 || ref.node >= node) return false;
  return ref.index >= 0 && ref.index < function->nodes[ref.node].num_results;
}

static anas_status check_attributes(const struct anas_node *node) {
  const struct anas_op_def *def = node->def;
  for (int i = 0; i < def->num_attrs; i++) {
    const struct anas_attr_def *attr = &def->attrs[i];
    if (!node->attr[i].present) {
      if (attr->required) return anas_fail(ANAS_INVALID, "'anas.%s' needs attribute '%s'", def->name, attr->name);
      continue;
    }
    if (attr->kind != ANAS_ATTR_ENUM) continue;
    int choices = 0;
    while (attr->choices[choices])
      choices++;
    if (node->attr[i].value.i < 0 || node->attr[i].value.i >= choices)
      return anas_fail(ANAS_INTERNAL, "attribute '%s' of 'anas.%s' has no choice number %lld", attr->name, def->name,
                       (long long)node->attr[i].value.i);
  }
  return ANAS_OK;
}

static anas_status check_node(const struct anas_model *model, const struct anas_function *function, int index) {
  const struct anas_node *node = &function->nodes[index];
  const char *what = node->def ? node->def->name : "call";
  for (int i = 0; i < node->num_operands; i++)
    if (!defined_before(function, node->operand[i], index))
      return anas_fail(ANAS_INVALID, "operand %d of '%s' in function '%s' is not defined before its use", i, what,
                       function->name);
  if (!node->def) {
    if (node->callee < 0 || node->callee >= model->num_functions)
      return anas_fail(ANAS_INVALID, "a call in function '%s' has no callee", function->name);
    return ANAS_OK;
  }
  if (node->num_operands < node->def->num_operands ||
      (node->num_operands > node->def->num_operands && !node->def->variadic))
    return anas_fail(ANAS_INVALID, "'anas.%s' takes %s%d operands, got %d", what,
                     node->def->variadic ? "at least " : "", node->def->num_operands, node->num_operands);
  return check_attributes(node);
}

static anas_status check_structure(const struct anas_model *model) {
  for (int f = 0; f < model->num_functions; f++) {
    const struct anas_function *function = &model->functions[f];
    if (anas_model_find(model, function->name) != f)
      return report_function(model, function, anas_fail(ANAS_INVALID, "two functions are named '%s'", function->name));
    for (int n = 0; n < function->num_nodes; n++) {
      anas_status status = check_node(model, function, n);
      if (status) return report(model, &function->nodes[n], status);
    }
    for (int r = 0; r < function->num_results; r++)
      if (!defined_before(function, function->result[r], function->num_nodes))
        return report_function(model, function,
                               anas_fail(ANAS_INVALID, "result %d of function '%s' is not defined", r, function->name));
  }
  return ANAS_OK;
}

// ---- names: the parameter path is function name, then op name

static bool has_parameters(const struct anas_function *function, const struct anas_node *node) {
  if (!node->def || !node->def->params) return false;
  struct anas_shape operands[ANAS_MAX_OPERANDS];
  for (int i = 0; i < node->num_operands; i++)
    operands[i] = *anas_value_type(function, node->operand[i]);
  struct anas_op op;
  struct anas_param params[ANAS_MAX_PARAMS];
  return anas_node_resolve(node, operands, &op) == ANAS_OK && node->def->params(&op, params) > 0;
}

static int compare_names(const void *a, const void *b) {
  const struct anas_node *x = *(const struct anas_node *const *)a, *y = *(const struct anas_node *const *)b;
  int order = strcmp(x->name, y->name);
  return order ? order : (x > y) - (x < y);
}

static anas_status check_names(const struct anas_model *model, const struct anas_function *function) {
  const struct anas_node **named = anas_calloc((size_t)function->num_nodes, sizeof *named);
  anas_status status = ANAS_OK;
  int count = 0;
  for (int n = 0; n < function->num_nodes && !status; n++) {
    const struct anas_node *node = &function->nodes[n];
    if (node->name)
      named[count++] = node;
    else if (has_parameters(function, node))
      status = report(model, node,
                      anas_fail(ANAS_INVALID,
                                "'anas.%s' has parameters and needs a name for them, unique in function '%s': "
                                "anas.name = \"%s%d\"",
                                node->def->name, function->name, node->def->name, n));
  }
  qsort(named, (size_t)count, sizeof *named, compare_names);
  for (int i = 1; i < count && !status; i++)
    if (!strcmp(named[i - 1]->name, named[i]->name))
      status = report(model, named[i],
                      anas_fail(ANAS_INVALID,
                                "anas.name = \"%s\" is used twice in function '%s'; names are the paths of parameters "
                                "and must be unique",
                                named[i]->name, function->name));
  free(named);
  return status;
}

anas_status anas_model_verify(const struct anas_model *model) {
  ANAS_RETURN_IF_ERROR(check_structure(model));
  struct anas_model *copy = anas_model_clone(model);
  copy->quiet = model->quiet;
  anas_status status = anas_model_infer_shapes(copy);
  for (int f = 0; f < copy->num_functions && !status; f++)
    status = check_names(copy, &copy->functions[f]);
  anas_model_destroy(copy);
  return status;
}
