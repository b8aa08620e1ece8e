// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From an MLIR module to a model. Whatever the model cannot hold is an error at the operation, never dropped silently.
#include "dialect/attributes.h"
#include "dialect/context.h"
#include "dialect/model.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <stdlib.h>
#include <string.h>

// Functions and operations are visited in order; order maps an operation handle to its node.
struct import {
  struct anas_model *model;
  struct anas_function *function; // being read
  MlirBlock body;
  MlirOperation *operations; // of the nodes of function
  size_t capacity_operations;
};

static anas_status fail_at(MlirOperation operation, anas_status status) {
  anas_emit_error(mlirOperationGetLocation(operation), "%s", anas_error_message());
  return status;
}

static bool name_is(MlirStringRef name, const char *text) {
  return mlirStringRefEqual(name, anas_ref_text(text));
}

static const char *copy_string(struct import *import, MlirStringRef text) {
  return anas_arena_strndup(&import->model->arena, text.data, text.length);
}

static char *attribute_text(MlirAttribute attribute) {
  struct anas_strbuf text = {0};
  mlirAttributePrint(attribute, anas_print_to_strbuf, &text);
  return anas_strbuf_detach(&text);
}

// ---- values

static bool find_value(const struct import *import, MlirValue value, struct anas_ref *out) {
  if (mlirValueIsABlockArgument(value)) {
    if (mlirBlockArgumentGetOwner(value).ptr != import->body.ptr) return false;
    *out = (struct anas_ref){ANAS_ARGUMENT, (int)mlirBlockArgumentGetArgNumber(value)};
    return true;
  }
  // Backwards: networks are chains, the producer is nearly always among the last few.
  MlirOperation owner = mlirOpResultGetOwner(value);
  for (int n = import->function->num_nodes - 1; n >= 0; n--)
    if (import->operations[n].ptr == owner.ptr) {
      *out = (struct anas_ref){n, (int)mlirOpResultGetResultNumber(value)};
      return true;
    }
  return false;
}

static anas_status read_operands(struct import *import, MlirOperation operation, struct anas_node *node) {
  intptr_t count = mlirOperationGetNumOperands(operation);
  if (count > ANAS_MAX_OPERANDS)
    return anas_fail(ANAS_UNSUPPORTED, "%d operands; at most %d are supported", (int)count, ANAS_MAX_OPERANDS);
  node->num_operands = (int)count;
  for (int i = 0; i < node->num_operands; i++)
    if (!find_value(import, mlirOperationGetOperand(operation, i), &node->operand[i]))
      return anas_fail(ANAS_INVALID, "operand %d is not a value of this function that is defined before", i);
  return ANAS_OK;
}

static anas_status read_results(MlirOperation operation, struct anas_node *node) {
  intptr_t count = mlirOperationGetNumResults(operation);
  if (count < 1 || count > ANAS_MAX_RESULTS)
    return anas_fail(ANAS_UNSUPPORTED, "%d results; 1 to %d are supported", (int)count, ANAS_MAX_RESULTS);
  node->num_results = (int)count;
  for (int i = 0; i < node->num_results; i++)
    ANAS_RETURN_IF_ERROR(
        anas_shape_from_type(mlirValueGetType(mlirOperationGetResult(operation, i)), &node->result[i]));
  return ANAS_OK;
}

// ---- operations

static anas_status read_anas_op(struct import *import, MlirOperation operation, MlirStringRef name,
                                struct anas_node *node) {
  const struct anas_op_def *def = anas_op_find(name.data + 5, name.length - 5);
  if (!def) {
    const struct anas_op_def *nearest = anas_op_nearest(name.data + 5, name.length - 5);
    return anas_fail(ANAS_INVALID, "unknown operation '%.*s'; did you mean 'anas.%s'?", (int)name.length, name.data,
                     nearest ? nearest->name : "conv");
  }
  if (def->level == ANAS_TRAINING)
    return anas_fail(ANAS_UNSUPPORTED,
                     "'anas.%s' is a training operation: a module after anas-train-step is no longer an architecture",
                     def->name);
  node->def = def;
  node->callee = -1;
  ANAS_RETURN_IF_ERROR(read_operands(import, operation, node));
  if (node->num_operands < def->num_operands || (node->num_operands > def->num_operands && !def->variadic))
    return anas_fail(ANAS_INVALID, "'anas.%s' takes %s%d operand%s, got %d", def->name,
                     def->variadic ? "at least " : "", def->num_operands, def->num_operands == 1 ? "" : "s",
                     node->num_operands);
  ANAS_RETURN_IF_ERROR(read_results(operation, node));
  int expected = def->num_results ? def->num_results : 1;
  if (node->num_results != expected)
    return anas_fail(ANAS_INVALID, "'anas.%s' has %d result%s, got %d", def->name, expected, expected == 1 ? "" : "s",
                     node->num_results);
  int rank = node->num_operands ? anas_value_type(import->function, node->operand[0])->rank : 0;
  ANAS_RETURN_IF_ERROR(anas_attrs_from_operation(def, operation, rank, node->attr));
  MlirAttribute label = mlirOperationGetAttributeByName(operation, anas_ref_text("anas.name"));
  if (mlirAttributeIsNull(label)) return ANAS_OK;
  if (!mlirAttributeIsAString(label)) return anas_fail(ANAS_INVALID, "anas.name must be a string");
  MlirStringRef text = mlirStringAttrGetValue(label);
  if (!text.length || memchr(text.data, '\0', text.length))
    return anas_fail(ANAS_INVALID, "anas.name must not be empty");
  node->name = copy_string(import, text);
  return ANAS_OK;
}

static anas_status read_call(struct import *import, MlirOperation operation, struct anas_node *node) {
  MlirAttribute callee = mlirOperationGetAttributeByName(operation, anas_ref_text("callee"));
  char *name =
      attribute_text(mlirAttributeIsNull(callee) ? mlirUnitAttrGet(mlirOperationGetContext(operation)) : callee);
  node->def = NULL;
  node->callee = -1;
  if (mlirAttributeIsAFlatSymbolRef(callee)) {
    MlirStringRef symbol = mlirFlatSymbolRefAttrGetValue(callee);
    for (int f = 0; f < import->model->num_functions; f++)
      if (name_is(symbol, import->model->functions[f].name)) node->callee = f;
  }
  anas_status status = ANAS_OK;
  if (node->callee < 0) status = anas_fail(ANAS_INVALID, "call of %s, which is not a function of this module", name);
  free(name);
  if (!status && mlirOperationGetNumDiscardableAttributes(operation))
    status =
        anas_fail(ANAS_UNSUPPORTED, "a call of a block carries no attributes of its own; put them on the function");
  if (!status) status = read_operands(import, operation, node);
  if (!status) status = read_results(operation, node);
  return status;
}

static anas_status read_return(struct import *import, MlirOperation operation) {
  struct anas_function *function = import->function;
  for (int i = 0; i < function->num_results; i++)
    if (!find_value(import, mlirOperationGetOperand(operation, i), &function->result[i]))
      return anas_fail(ANAS_INVALID, "returned value %d is not a value of this function", i);
  return ANAS_OK;
}

static anas_status read_body_operation(struct import *import, MlirOperation operation) {
  MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(operation));
  if (name_is(name, "func.return")) return read_return(import, operation);
  struct anas_node node = {.location = mlirOperationGetLocation(operation)};
  if (name.length > 5 && !memcmp(name.data, "anas.", 5))
    ANAS_RETURN_IF_ERROR(read_anas_op(import, operation, name, &node));
  else if (name_is(name, "func.call"))
    ANAS_RETURN_IF_ERROR(read_call(import, operation, &node));
  else
    return anas_fail(ANAS_UNSUPPORTED,
                     "'%.*s' cannot be part of a model, which consists of anas operations and calls of its functions",
                     (int)name.length, name.data);
  struct anas_function *function = import->function;
  import->operations = anas_grow(import->operations, (size_t)function->num_nodes, &import->capacity_operations,
                                 sizeof *import->operations);
  import->operations[function->num_nodes] = operation;
  *anas_function_add_node(function, NULL) = node;
  return ANAS_OK;
}

// ---- functions

static anas_status read_argument_attributes(struct anas_function *function, MlirOperation operation) {
  MlirAttribute all = mlirOperationGetAttributeByName(operation, anas_ref_text("arg_attrs"));
  for (int a = 0; a < function->num_args && !mlirAttributeIsNull(all); a++) {
    MlirAttribute dictionary = mlirArrayAttrGetElement(all, a);
    for (intptr_t i = 0; i < mlirDictionaryAttrGetNumElements(dictionary); i++) {
      MlirNamedAttribute named = mlirDictionaryAttrGetElement(dictionary, i);
      MlirStringRef name = mlirIdentifierStr(named.name);
      if (!name_is(name, "anas.producer"))
        return anas_fail(ANAS_UNSUPPORTED, "argument %d carries '%.*s'; arguments take only anas.producer", a,
                         (int)name.length, name.data);
      bool is_string = mlirAttributeIsAString(named.attribute);
      MlirStringRef value = is_string ? mlirStringAttrGetValue(named.attribute) : anas_ref_text("");
      if (!name_is(value, "linear") && !name_is(value, "nonlinear"))
        return anas_fail(ANAS_INVALID, "anas.producer of argument %d must be \"linear\" or \"nonlinear\"", a);
      function->arg_linear[a] = name_is(value, "linear");
    }
  }
  MlirAttribute results = mlirOperationGetAttributeByName(operation, anas_ref_text("res_attrs"));
  for (int r = 0; r < function->num_results && !mlirAttributeIsNull(results); r++)
    if (mlirDictionaryAttrGetNumElements(mlirArrayAttrGetElement(results, r)))
      return anas_fail(ANAS_UNSUPPORTED, "results of a function carry no attributes");
  return ANAS_OK;
}

static anas_status read_signature(struct anas_function *function, MlirOperation operation) {
  MlirAttribute attribute = mlirOperationGetAttributeByName(operation, anas_ref_text("function_type"));
  MlirType type = mlirTypeAttrGetValue(attribute);
  intptr_t args = mlirFunctionTypeGetNumInputs(type), results = mlirFunctionTypeGetNumResults(type);
  if (args > ANAS_MAX_ARGS || results < 1 || results > ANAS_MAX_RESULTS)
    return anas_fail(ANAS_UNSUPPORTED,
                     "function '%s' has %d arguments and %d results; at most %d arguments and 1 to %d results are "
                     "supported",
                     function->name, (int)args, (int)results, ANAS_MAX_ARGS, ANAS_MAX_RESULTS);
  function->num_args = (int)args;
  function->num_results = (int)results;
  for (int i = 0; i < function->num_args; i++)
    if (anas_shape_from_type(mlirFunctionTypeGetInput(type, i), &function->arg[i]))
      return anas_fail_context(ANAS_UNSUPPORTED, "argument %d of function '%s': ", i, function->name);
  for (int i = 0; i < function->num_results; i++)
    if (anas_shape_from_type(mlirFunctionTypeGetResult(type, i), &function->result_type[i]))
      return anas_fail_context(ANAS_UNSUPPORTED, "result %d of function '%s': ", i, function->name);
  return ANAS_OK;
}

static anas_status read_function_attributes(struct import *import, MlirOperation operation) {
  struct anas_function *function = import->function;
  for (intptr_t i = 0; i < mlirOperationGetNumDiscardableAttributes(operation); i++) {
    MlirNamedAttribute named = mlirOperationGetDiscardableAttribute(operation, i);
    MlirStringRef name = mlirIdentifierStr(named.name);
    if (name_is(name, "anas.block")) {
      if (!mlirAttributeIsAString(named.attribute) || !function->is_private)
        return anas_fail(ANAS_INVALID, "anas.block must be a string and marks private functions");
      function->block = copy_string(import, mlirStringAttrGetValue(named.attribute));
      continue;
    }
    char *value = attribute_text(named.attribute);
    anas_function_set_extra(import->model, function, copy_string(import, name), value);
    free(value);
  }
  return ANAS_OK;
}

static bool is_private(MlirOperation operation) {
  MlirAttribute visibility = mlirOperationGetAttributeByName(operation, anas_ref_text("sym_visibility"));
  return !mlirAttributeIsNull(visibility) && mlirAttributeIsAString(visibility) &&
         name_is(mlirStringAttrGetValue(visibility), "private");
}

// First pass: names and signatures, so that calls may precede their callees.
static anas_status declare_function(struct import *import, MlirOperation operation) {
  MlirStringRef kind = mlirIdentifierStr(mlirOperationGetName(operation));
  if (!name_is(kind, "func.func"))
    return anas_fail(ANAS_UNSUPPORTED, "'%.*s' cannot be part of a model, which is a module of func.func",
                     (int)kind.length, kind.data);
  MlirAttribute symbol = mlirOperationGetAttributeByName(operation, anas_ref_text("sym_name"));
  const char *name = copy_string(import, mlirStringAttrGetValue(symbol));
  import->function = anas_model_add_function(import->model, name);
  import->function->is_private = is_private(operation);
  import->function->location = mlirOperationGetLocation(operation);
  MlirBlock body = mlirRegionGetFirstBlock(mlirOperationGetRegion(operation, 0));
  if (mlirBlockIsNull(body)) return anas_fail(ANAS_UNSUPPORTED, "function '%s' has no body", name);
  if (!mlirBlockIsNull(mlirBlockGetNextInRegion(body)))
    return anas_fail(ANAS_UNSUPPORTED, "function '%s' has several blocks; networks have no control flow", name);
  ANAS_RETURN_IF_ERROR(read_signature(import->function, operation));
  ANAS_RETURN_IF_ERROR(read_argument_attributes(import->function, operation));
  return read_function_attributes(import, operation);
}

static anas_status read_body(struct import *import, int index, MlirOperation operation) {
  import->function = &import->model->functions[index];
  import->body = mlirRegionGetFirstBlock(mlirOperationGetRegion(operation, 0));
  for (MlirOperation inner = mlirBlockGetFirstOperation(import->body); !mlirOperationIsNull(inner);
       inner = mlirOperationGetNextInBlock(inner)) {
    anas_status status = read_body_operation(import, inner);
    if (status) return fail_at(inner, status);
  }
  return ANAS_OK;
}

static anas_status read_module(struct import *import, MlirModule module) {
  MlirOperation top = mlirModuleGetOperation(module);
  MlirAttribute symbol = mlirOperationGetAttributeByName(top, anas_ref_text("sym_name"));
  if (!mlirAttributeIsNull(symbol)) {
    char *name = attribute_text(symbol);
    anas_model_set_extra(import->model, "sym_name", name);
    free(name);
  }
  for (intptr_t i = 0; i < mlirOperationGetNumDiscardableAttributes(top); i++) {
    MlirNamedAttribute named = mlirOperationGetDiscardableAttribute(top, i);
    char *value = attribute_text(named.attribute);
    anas_model_set_extra(import->model, copy_string(import, mlirIdentifierStr(named.name)), value);
    free(value);
  }
  MlirOperation first = mlirBlockGetFirstOperation(mlirModuleGetBody(module));
  for (MlirOperation op = first; !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    anas_status status = declare_function(import, op);
    if (status) return fail_at(op, status);
  }
  int index = 0;
  for (MlirOperation op = first; !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
    ANAS_RETURN_IF_ERROR(read_body(import, index++, op));
  return ANAS_OK;
}

anas_status anas_model_import(MlirModule module, struct anas_model **out_model) {
  struct import import = {.model = anas_model_create()};
  anas_status status = read_module(&import, module);
  free(import.operations);
  if (status) {
    anas_model_destroy(import.model);
    return status;
  }
  *out_model = import.model;
  return ANAS_OK;
}
