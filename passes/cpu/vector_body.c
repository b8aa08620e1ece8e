// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The scalar body of a nest, re-emitted on vectors: one lane an iteration of the lane loop.
#include "passes/cpu/nest.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_VALUES 512
#define MAX_OPERANDS 8
#define MAX_ATTRIBUTES 16

struct mapping {
  int count;
  MlirValue from[MAX_VALUES], to[MAX_VALUES];
};

static const char *name_of(MlirOperation op) {
  return mlirIdentifierStr(mlirOperationGetName(op)).data;
}

static MlirAttribute attribute_of(MlirOperation op, const char *name) {
  return mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString(name));
}

// The value of every lane's index in a loop, as vector<lanes x index>.
static MlirValue lane_indices(const struct anas_cpu_body *body, int loop) {
  struct anas_code *code = body->code;
  MlirValue base = loop < 0 ? (MlirValue){0} : body->iv[loop];
  if (mlirValueIsNull(base)) base = anas_code_index(code, 0);
  MlirValue vector = anas_code_broadcast(code, base, body->lanes);
  if (loop < 0 || loop != body->lane_loop) return vector;
  MlirAttribute element[64];
  for (int i = 0; i < body->lanes; i++)
    element[i] = mlirIntegerAttrGet(code->index, i);
  MlirType type = anas_code_vector(body->lanes, code->index);
  MlirValue iota = anas_code_constant(code, type, mlirDenseElementsAttrGet(type, body->lanes, element));
  return anas_code_binary(code, "arith.addi", vector, iota);
}

static anas_status lookup(const struct anas_cpu_body *body, const struct mapping *map, MlirValue value,
                          MlirValue *out) {
  for (int i = map->count - 1; i >= 0; i--)
    if (mlirValueEqual(map->from[i], value)) {
      *out = map->to[i];
      return ANAS_OK;
    }
  // A constant defined outside the body.
  if (mlirValueIsAOpResult(value) && strcmp(name_of(mlirOpResultGetOwner(value)), "arith.constant") == 0) {
    MlirAttribute element = attribute_of(mlirOpResultGetOwner(value), "value");
    *out = anas_code_splat(body->code, anas_code_vector(body->lanes, mlirValueGetType(value)), element);
    return ANAS_OK;
  }
  return anas_fail(ANAS_UNSUPPORTED, "kernel function: the body uses a value that is neither local nor a constant");
}

static anas_status emit_op(const struct anas_cpu_body *body, struct mapping *map, MlirOperation op) {
  struct anas_code *code = body->code;
  const char *name = name_of(op);
  int num_operands = (int)mlirOperationGetNumOperands(op);
  int num_attributes = (int)mlirOperationGetNumAttributes(op);
  if (num_operands > MAX_OPERANDS || num_attributes > MAX_ATTRIBUTES || mlirOperationGetNumResults(op) != 1 ||
      mlirOperationGetNumRegions(op) != 0)
    return anas_fail(ANAS_UNSUPPORTED, "kernel function: '%s' in the body cannot be vectorised", name);
  if (map->count == MAX_VALUES)
    return anas_fail(ANAS_UNSUPPORTED, "kernel function: the body has more than %d values", MAX_VALUES);
  MlirType scalar = mlirValueGetType(mlirOperationGetResult(op, 0));
  MlirType type = anas_code_vector(body->lanes, scalar);
  MlirValue operands[MAX_OPERANDS], result;
  for (int i = 0; i < num_operands; i++)
    ANAS_RETURN_IF_ERROR(lookup(body, map, mlirOperationGetOperand(op, i), &operands[i]));
  if (strcmp(name, "arith.constant") == 0) {
    result = anas_code_splat(code, type, attribute_of(op, "value"));
  } else if (strcmp(name, "linalg.index") == 0) {
    int64_t dim = mlirIntegerAttrGetValueInt(attribute_of(op, "dim"));
    result = lane_indices(body, body->nest->loop_of_dim[dim]);
  } else {
    result = strncmp(name, "math.", 5) == 0 ? anas_cpu_math(code, name, num_operands, operands, body->lanes)
                                            : (MlirValue){0};
    if (mlirValueIsNull(result)) {
      MlirNamedAttribute attributes[MAX_ATTRIBUTES];
      for (int i = 0; i < num_attributes; i++)
        attributes[i] = mlirOperationGetAttribute(op, i);
      result = anas_code_op(code, name, num_operands, operands, type, num_attributes, attributes);
    }
  }
  map->from[map->count] = mlirOperationGetResult(op, 0);
  map->to[map->count++] = result;
  return ANAS_OK;
}

anas_status anas_cpu_body_emit(const struct anas_cpu_body *body, MlirValue *out_yield) {
  struct mapping *map = malloc(sizeof *map);
  if (!map) return anas_fail(ANAS_NO_MEMORY, "kernel function: no memory for the body");
  map->count = body->nest->num_operands;
  for (int o = 0; o < body->nest->num_operands; o++) {
    map->from[o] = mlirBlockGetArgument(body->nest->body, body->nest->operand[o].argument);
    map->to[o] = body->arg[o];
  }
  anas_status status = ANAS_OK;
  for (MlirOperation op = mlirBlockGetFirstOperation(body->nest->body); !mlirOperationIsNull(op) && status == ANAS_OK;
       op = mlirOperationGetNextInBlock(op)) {
    if (strcmp(name_of(op), "linalg.yield") != 0) {
      status = emit_op(body, map, op);
      continue;
    }
    int num = body->nest->num_operands - body->nest->num_in;
    for (int i = 0; i < num && status == ANAS_OK; i++)
      status = lookup(body, map, mlirOperationGetOperand(op, i), &out_yield[i]);
  }
  free(map);
  return status;
}
