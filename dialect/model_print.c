// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Models as MLIR text, and from there as modules. Attributes come in the order in which MLIR prints them.
#include "dialect/attributes.h"
#include "dialect/context.h"
#include "dialect/model.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static bool is_bare_name(const char *name) {
  if (!isalpha((unsigned char)name[0]) && name[0] != '_') return false;
  for (const char *c = name; *c; c++)
    if (!isalnum((unsigned char)*c) && !strchr("_$.", *c)) return false;
  return true;
}

static void print_name(const char *name, struct anas_strbuf *out) {
  if (is_bare_name(name))
    anas_strbuf_adds(out, name);
  else
    anas_print_quoted(name, out);
}

static void print_type(const struct anas_shape *shape, struct anas_strbuf *out) {
  char text[128];
  anas_shape_text(shape, text);
  anas_strbuf_addf(out, shape->rank ? "tensor<%s>" : "tensor<*x%s>", text);
}

static void print_types(const struct anas_shape *shapes, int count, bool parentheses, struct anas_strbuf *out) {
  if (parentheses) anas_strbuf_adds(out, "(");
  for (int i = 0; i < count; i++) {
    if (i) anas_strbuf_adds(out, ", ");
    print_type(&shapes[i], out);
  }
  if (parentheses) anas_strbuf_adds(out, ")");
}

// Values are numbered as MLIR does: nodes in order, whatever they produce.
static void print_ref(const struct anas_function *function, struct anas_ref ref, struct anas_strbuf *out) {
  if (ref.node == ANAS_ARGUMENT)
    anas_strbuf_addf(out, "%%arg%d", ref.index);
  else if (function->nodes[ref.node].num_results > 1)
    anas_strbuf_addf(out, "%%%d#%d", ref.node, ref.index);
  else
    anas_strbuf_addf(out, "%%%d", ref.node);
}

// ---- dictionaries

struct entry {
  const char *name;
  char *value; // malloc'ed
};

static int compare_entries(const void *a, const void *b) {
  return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static void print_entries(struct entry *entries, int count, struct anas_strbuf *out) {
  qsort(entries, (size_t)count, sizeof *entries, compare_entries);
  anas_strbuf_adds(out, "{");
  for (int i = 0; i < count; i++) {
    if (i) anas_strbuf_adds(out, ", ");
    print_name(entries[i].name, out);
    if (strcmp(entries[i].value, "unit") != 0) anas_strbuf_addf(out, " = %s", entries[i].value);
    free(entries[i].value);
  }
  anas_strbuf_adds(out, "}");
}

static char *quoted(const char *text) {
  struct anas_strbuf out = {0};
  anas_print_quoted(text, &out);
  return anas_strbuf_detach(&out);
}

static void print_node_attributes(const struct anas_node *node, int operand0_rank, struct anas_strbuf *out) {
  struct entry entries[ANAS_MAX_ATTRS + 1];
  int count = 0;
  if (node->name) entries[count++] = (struct entry){"anas.name", quoted(node->name)};
  for (int i = 0; i < node->def->num_attrs; i++) {
    if (!node->attr[i].present) continue;
    struct anas_strbuf value = {0};
    anas_attr_print(&node->def->attrs[i], &node->attr[i], operand0_rank, &value);
    entries[count++] = (struct entry){node->def->attrs[i].name, anas_strbuf_detach(&value)};
  }
  if (!count) return;
  anas_strbuf_adds(out, " ");
  print_entries(entries, count, out);
}

// ---- functions

static void print_node(const struct anas_model *model, const struct anas_function *function, int index,
                       struct anas_strbuf *out) {
  const struct anas_node *node = &function->nodes[index];
  anas_strbuf_addf(out, "    %%%d", index);
  if (node->num_results > 1) anas_strbuf_addf(out, ":%d", node->num_results);
  if (node->def) {
    anas_strbuf_addf(out, " = \"anas.%s\"(", node->def->name);
  } else {
    anas_strbuf_adds(out, " = call @");
    print_name(model->functions[node->callee].name, out);
    anas_strbuf_adds(out, "(");
  }
  struct anas_shape operands[ANAS_MAX_OPERANDS];
  for (int i = 0; i < node->num_operands; i++) {
    if (i) anas_strbuf_adds(out, ", ");
    print_ref(function, node->operand[i], out);
    operands[i] = *anas_value_type(function, node->operand[i]);
  }
  anas_strbuf_adds(out, ")");
  if (node->def) print_node_attributes(node, node->num_operands ? operands[0].rank : 0, out);
  anas_strbuf_adds(out, " : ");
  print_types(operands, node->num_operands, true, out);
  anas_strbuf_adds(out, " -> ");
  print_types(node->result, node->num_results, node->num_results != 1, out);
  anas_strbuf_adds(out, "\n");
}

static void print_function(const struct anas_model *model, const struct anas_function *function,
                           struct anas_strbuf *out) {
  anas_strbuf_addf(out, "  func.func %s@", function->is_private ? "private " : "");
  print_name(function->name, out);
  anas_strbuf_adds(out, "(");
  for (int i = 0; i < function->num_args; i++) {
    anas_strbuf_addf(out, "%s%%arg%d: ", i ? ", " : "", i);
    print_type(&function->arg[i], out);
    if (function->arg_linear[i]) anas_strbuf_adds(out, " {anas.producer = \"linear\"}");
  }
  anas_strbuf_adds(out, ")");
  if (function->num_results) {
    anas_strbuf_adds(out, " -> ");
    print_types(function->result_type, function->num_results, function->num_results != 1, out);
  }
  int count = 0;
  struct entry *entries = anas_calloc((size_t)function->num_extras + 1, sizeof *entries);
  if (function->block) entries[count++] = (struct entry){"anas.block", quoted(function->block)};
  for (int i = 0; i < function->num_extras; i++)
    entries[count++] = (struct entry){function->extras[i].name, anas_strdup(function->extras[i].value)};
  if (count) {
    anas_strbuf_adds(out, " attributes ");
    print_entries(entries, count, out);
  }
  free(entries);
  anas_strbuf_adds(out, " {\n");
  for (int i = 0; i < function->num_nodes; i++)
    print_node(model, function, i, out);
  anas_strbuf_adds(out, "    return");
  for (int i = 0; i < function->num_results; i++) {
    anas_strbuf_adds(out, i ? ", " : " ");
    print_ref(function, function->result[i], out);
  }
  if (function->num_results) {
    anas_strbuf_adds(out, " : ");
    print_types(function->result_type, function->num_results, false, out);
  }
  anas_strbuf_adds(out, "\n  }\n");
}

// The name of a module is kept as a string attribute, quotes included; symbols take the same escapes.
static void print_module_name(const char *quoted_name, struct anas_strbuf *out) {
  size_t length = strlen(quoted_name);
  char *bare = anas_strdup(quoted_name);
  if (length > 2) bare[length - 1] = '\0';
  anas_strbuf_addf(out, " @%s", length > 2 && is_bare_name(bare + 1) ? bare + 1 : quoted_name);
  free(bare);
}

void anas_model_print(const struct anas_model *model, struct anas_strbuf *out) {
  anas_strbuf_adds(out, "module");
  int count = 0;
  struct entry *entries = anas_calloc((size_t)model->num_extras, sizeof *entries);
  for (int i = 0; i < model->num_extras; i++) {
    if (!strcmp(model->extras[i].name, "sym_name"))
      print_module_name(model->extras[i].value, out);
    else
      entries[count++] = (struct entry){model->extras[i].name, anas_strdup(model->extras[i].value)};
  }
  if (count) {
    anas_strbuf_adds(out, " attributes ");
    print_entries(entries, count, out);
  }
  free(entries);
  anas_strbuf_adds(out, " {\n");
  for (int f = 0; f < model->num_functions; f++)
    print_function(model, &model->functions[f], out);
  anas_strbuf_adds(out, "}\n");
}

// ---- modules

static MlirWalkResult forget_location(MlirOperation operation, void *unknown) {
  mlirOperationSetLocation(operation, *(MlirLocation *)unknown);
  return MlirWalkResultAdvance;
}

anas_status anas_model_export(const struct anas_model *model, MlirContext context, MlirModule *out_module) {
  struct anas_strbuf text = {0};
  anas_model_print(model, &text);
  MlirModule module;
  anas_status status = anas_parse(context, text.data, text.size, "<model>", &module);
  anas_strbuf_deinit(&text);
  if (status) return anas_fail_context(ANAS_INTERNAL, "the printed model does not parse: ");
  MlirLocation unknown = mlirLocationUnknownGet(context);
  mlirOperationWalk(mlirModuleGetOperation(module), forget_location, &unknown, MlirWalkPreOrder);
  *out_module = module;
  return ANAS_OK;
}

static void set_location(MlirOperation operation, MlirLocation location) {
  if (!mlirLocationIsNull(location)) mlirOperationSetLocation(operation, location);
}

static void restore_locations(const struct anas_model *model, MlirModule module) {
  MlirOperation operation = mlirBlockGetFirstOperation(mlirModuleGetBody(module));
  for (int f = 0; f < model->num_functions; f++, operation = mlirOperationGetNextInBlock(operation)) {
    const struct anas_function *function = &model->functions[f];
    set_location(operation, function->location);
    MlirBlock body = mlirRegionGetFirstBlock(mlirOperationGetRegion(operation, 0));
    MlirOperation inner = mlirBlockGetFirstOperation(body);
    for (int n = 0; n < function->num_nodes; n++, inner = mlirOperationGetNextInBlock(inner))
      set_location(inner, function->nodes[n].location);
  }
}

static void replace_attributes(MlirOperation target, MlirOperation source) {
  while (mlirOperationGetNumDiscardableAttributes(target)) {
    MlirNamedAttribute named = mlirOperationGetDiscardableAttribute(target, 0);
    mlirOperationRemoveDiscardableAttributeByName(target, mlirIdentifierStr(named.name));
  }
  for (intptr_t i = 0; i < mlirOperationGetNumDiscardableAttributes(source); i++) {
    MlirNamedAttribute named = mlirOperationGetDiscardableAttribute(source, i);
    mlirOperationSetDiscardableAttributeByName(target, mlirIdentifierStr(named.name), named.attribute);
  }
}

anas_status anas_model_write_back(const struct anas_model *model, MlirModule module) {
  MlirModule fresh;
  ANAS_RETURN_IF_ERROR(anas_model_export(model, mlirModuleGetContext(module), &fresh));
  restore_locations(model, fresh);
  MlirBlock body = mlirModuleGetBody(module), from = mlirModuleGetBody(fresh);
  for (MlirOperation old; !mlirOperationIsNull(old = mlirBlockGetFirstOperation(body));)
    mlirOperationDestroy(old);
  for (MlirOperation made; !mlirOperationIsNull(made = mlirBlockGetFirstOperation(from));) {
    mlirOperationRemoveFromParent(made);
    mlirBlockAppendOwnedOperation(body, made);
  }
  replace_attributes(mlirModuleGetOperation(module), mlirModuleGetOperation(fresh));
  mlirModuleDestroy(fresh);
  return ANAS_OK;
}
