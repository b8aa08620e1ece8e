// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Training ops as MLIR operations (training_op.h), and their builder (dialect/train.h).
#include "passes/train/training_op.h"

#include "dialect/attributes.h"
#include "dialect/context.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <string.h>

struct anas_shape anas_train_type(MlirValue value) {
  struct anas_shape shape = {0};
  (void)anas_shape_from_type(mlirValueGetType(value), &shape); // every value of the builder has such a type
  return shape;
}

// ---- attributes

static MlirAttribute attribute_write(MlirContext context, const struct anas_attr_def *def, const struct anas_attr *a) {
  MlirType i64 = mlirIntegerTypeGet(context, 64);
  switch (def->kind) {
  case ANAS_ATTR_INT: return mlirIntegerAttrGet(i64, a->value.i);
  case ANAS_ATTR_FLOAT: return mlirFloatAttrDoubleGet(context, mlirF64TypeGet(context), a->value.f);
  case ANAS_ATTR_BOOL: return mlirBoolAttrGet(context, a->value.b);
  case ANAS_ATTR_INTS: return mlirDenseI64ArrayGet(context, a->value.ints.count, a->value.ints.value);
  case ANAS_ATTR_ENUM: return mlirStringAttrGet(context, anas_ref_text(def->choices[a->value.i]));
  case ANAS_ATTR_TEXT: return mlirStringAttrGet(context, anas_ref_text(a->value.text));
  case ANAS_ATTR_DIMS:
  case ANAS_ATTR_INIT: break; // architecture level only
  case ANAS_ATTR_DIM: return mlirIntegerAttrGet(i64, a->value.dim.constant);
  }
  return mlirAttributeGetNull();
}

anas_status anas_training_op_read(MlirOperation operation, struct anas_op *out) {
  MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(operation));
  struct anas_op op = {0};
  if (name.length > 5 && !memcmp(name.data, "anas.", 5)) op.def = anas_op_find(name.data + 5, name.length - 5);
  if (!op.def || op.def->level != ANAS_TRAINING)
    return anas_fail(ANAS_INVALID, "'%.*s' is no training op; run anas-train-step first", (int)name.length, name.data);
  intptr_t operands = mlirOperationGetNumOperands(operation);
  if (operands > ANAS_MAX_OPERANDS || operands < op.def->num_operands ||
      (operands > op.def->num_operands && !op.def->variadic))
    return anas_fail(ANAS_INVALID, "'anas.%s' takes %d operands, got %d", op.def->name, op.def->num_operands,
                     (int)operands);
  op.num_operands = (int)operands;
  for (int i = 0; i < op.num_operands; i++)
    if (anas_shape_from_type(mlirValueGetType(mlirOperationGetOperand(operation, i)), &op.operand[i]) != ANAS_OK)
      return anas_fail_context(ANAS_INVALID, "operand %d of 'anas.%s': ", i, op.def->name);
  ANAS_RETURN_IF_ERROR(anas_attrs_from_operation(op.def, operation, 0, op.attr));
  for (int i = 0; i < op.def->num_attrs; i++)
    if (!op.attr[i].present) op.attr[i] = op.def->attrs[i].fallback;
  *out = op;
  return ANAS_OK;
}

// ---- builder

anas_status anas_train_emit(struct anas_train *train, const char *name, const MlirValue *operands, int num_operands,
                            const struct anas_attr *attrs, MlirValue *out_results) {
  struct anas_op op = {.def = anas_op_find(name, strlen(name)), .num_operands = num_operands};
  if (!op.def || op.def->level != ANAS_TRAINING)
    return anas_fail(ANAS_INTERNAL, "there is no training op 'anas.%s'", name);
  if (num_operands > ANAS_MAX_OPERANDS || num_operands < op.def->num_operands)
    return anas_fail(ANAS_INTERNAL, "training op 'anas.%s' takes %d operands, got %d", name, op.def->num_operands,
                     num_operands);
  for (int i = 0; i < num_operands; i++) {
    if (mlirValueIsNull(operands[i])) return anas_fail(ANAS_INTERNAL, "operand %d of 'anas.%s' is missing", i, name);
    op.operand[i] = anas_train_type(operands[i]);
  }
  MlirNamedAttribute written[ANAS_MAX_ATTRS];
  int num_written = 0;
  for (int i = 0; i < op.def->num_attrs; i++) {
    const struct anas_attr_def *def = &op.def->attrs[i];
    bool given = attrs && attrs[i].present;
    if (!given && def->required) return anas_fail(ANAS_INTERNAL, "'anas.%s' needs attribute '%s'", name, def->name);
    op.attr[i] = given ? attrs[i] : def->fallback;
    if (given)
      written[num_written++] = mlirNamedAttributeGet(mlirIdentifierGet(train->context, anas_ref_text(def->name)),
                                                     attribute_write(train->context, def, &attrs[i]));
  }
  struct anas_shape shapes[ANAS_MAX_RESULTS] = {0};
  if (op.def->shape(&op, shapes) != ANAS_OK) return anas_fail_context(ANAS_INTERNAL, "emitting 'anas.%s': ", name);
  int results = op.def->num_results ? op.def->num_results : 1;
  MlirType types[ANAS_MAX_RESULTS];
  for (int i = 0; i < results; i++)
    types[i] = anas_shape_to_type(train->context, &shapes[i]);

  char full_name[64] = "anas.";
  strncat(full_name, name, sizeof full_name - 6);
  MlirOperationState state = mlirOperationStateGet(anas_ref_text(full_name), train->location);
  mlirOperationStateAddOperands(&state, num_operands, operands);
  mlirOperationStateAddAttributes(&state, num_written, written);
  mlirOperationStateAddResults(&state, results, types);
  MlirOperation operation = mlirOperationCreate(&state);
  mlirBlockAppendOwnedOperation(train->block, operation);
  if (out_results)
    for (int i = 0; i < results; i++)
      out_results[i] = mlirOperationGetResult(operation, i);
  return ANAS_OK;
}

MlirValue anas_train_seed(struct anas_train *train) {
  return train->seed;
}

int64_t anas_train_stream(struct anas_train *train) {
  return train->next_stream++;
}
