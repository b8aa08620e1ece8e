// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Training ops as MLIR operations (training_op.h), and their builder (dialect/train.h).
#include "passes/train/training_op.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <string.h>

static MlirStringRef text_ref(const char *text) {
  return mlirStringRefCreateFromCString(text);
}

// ---- types

MlirType anas_tensor_type(MlirContext context, const struct anas_shape *shape) {
  MlirType element = shape->element == ANAS_F32 ? mlirF32TypeGet(context)
                                                : mlirIntegerTypeGet(context, shape->element == ANAS_I32 ? 32 : 64);
  return mlirRankedTensorTypeGet(shape->rank, shape->dim, element, mlirAttributeGetNull());
}

anas_status anas_tensor_shape(MlirType type, struct anas_shape *out) {
  struct anas_shape shape = {0};
  if (!mlirTypeIsARankedTensor(type) || !mlirShapedTypeHasStaticShape(type) ||
      mlirShapedTypeGetRank(type) > ANAS_MAX_RANK)
    return anas_fail(ANAS_INVALID, "training ops work on static ranked tensors of at most %d dimensions",
                     ANAS_MAX_RANK);
  MlirType element = mlirShapedTypeGetElementType(type);
  if (mlirTypeIsAF32(element))
    shape.element = ANAS_F32;
  else if (mlirTypeIsAInteger(element) && mlirIntegerTypeGetWidth(element) == 32)
    shape.element = ANAS_I32;
  else if (mlirTypeIsAInteger(element) && mlirIntegerTypeGetWidth(element) == 64)
    shape.element = ANAS_I64;
  else
    return anas_fail(ANAS_INVALID, "the elements of a tensor must be f32, i32 or i64");
  shape.rank = (int)mlirShapedTypeGetRank(type);
  for (int d = 0; d < shape.rank; d++)
    shape.dim[d] = mlirShapedTypeGetDimSize(type, d);
  *out = shape;
  return ANAS_OK;
}

struct anas_shape anas_train_type(MlirValue value) {
  struct anas_shape shape = {0};
  (void)anas_tensor_shape(mlirValueGetType(value), &shape); // every value of the builder has such a type
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
  case ANAS_ATTR_ENUM: return mlirStringAttrGet(context, text_ref(def->choices[a->value.i]));
  case ANAS_ATTR_DIM: return mlirIntegerAttrGet(i64, a->value.dim.constant);
  }
  return mlirAttributeGetNull();
}

// False if the attribute does not have the form its definition asks for.
static bool attribute_read(MlirAttribute attribute, const struct anas_attr_def *def, struct anas_attr *out) {
  struct anas_attr a = {.present = true};
  switch (def->kind) {
  case ANAS_ATTR_INT:
    if (!mlirAttributeIsAInteger(attribute)) return false;
    a.value.i = mlirIntegerAttrGetValueInt(attribute);
    break;
  case ANAS_ATTR_FLOAT:
    if (!mlirAttributeIsAFloat(attribute)) return false;
    a.value.f = mlirFloatAttrGetValueDouble(attribute);
    break;
  case ANAS_ATTR_BOOL:
    if (!mlirAttributeIsABool(attribute)) return false;
    a.value.b = mlirBoolAttrGetValue(attribute);
    break;
  case ANAS_ATTR_INTS:
    if (mlirAttributeIsAInteger(attribute)) {
      a.value.ints = (struct anas_ints){.count = 1, .value = {mlirIntegerAttrGetValueInt(attribute)}};
      break;
    }
    if (!mlirAttributeIsADenseI64Array(attribute) || mlirDenseArrayGetNumElements(attribute) > ANAS_MAX_RANK)
      return false;
    a.value.ints.count = (int)mlirDenseArrayGetNumElements(attribute);
    for (int i = 0; i < a.value.ints.count; i++)
      a.value.ints.value[i] = mlirDenseI64ArrayGetElement(attribute, i);
    break;
  case ANAS_ATTR_ENUM: {
    if (!mlirAttributeIsAString(attribute)) return false;
    int choice = 0;
    while (def->choices[choice] &&
           !mlirStringRefEqual(mlirStringAttrGetValue(attribute), text_ref(def->choices[choice])))
      choice++;
    if (!def->choices[choice]) return false;
    a.value.i = choice;
    break;
  }
  case ANAS_ATTR_DIM:
    if (!mlirAttributeIsAInteger(attribute)) return false;
    a.value.dim = (struct anas_dim_expr){.constant = mlirIntegerAttrGetValueInt(attribute), .div = 1, .mul = 1};
    break;
  }
  *out = a;
  return true;
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
    if (anas_tensor_shape(mlirValueGetType(mlirOperationGetOperand(operation, i)), &op.operand[i]) != ANAS_OK)
      return anas_fail_context(ANAS_INVALID, "operand %d of 'anas.%s': ", i, op.def->name);
  for (int i = 0; i < op.def->num_attrs; i++) {
    const struct anas_attr_def *def = &op.def->attrs[i];
    MlirAttribute attribute = mlirOperationGetAttributeByName(operation, text_ref(def->name));
    op.attr[i] = def->fallback;
    if (mlirAttributeIsNull(attribute)) {
      if (def->required) return anas_fail(ANAS_INVALID, "'anas.%s' needs attribute '%s'", op.def->name, def->name);
    } else if (!attribute_read(attribute, def, &op.attr[i])) {
      return anas_fail(ANAS_INVALID, "attribute '%s' of 'anas.%s' has the wrong kind", def->name, op.def->name);
    }
  }
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
      written[num_written++] = mlirNamedAttributeGet(mlirIdentifierGet(train->context, text_ref(def->name)),
                                                     attribute_write(train->context, def, &attrs[i]));
  }
  struct anas_shape shapes[ANAS_MAX_RESULTS] = {0};
  if (op.def->shape(&op, shapes) != ANAS_OK) return anas_fail_context(ANAS_INTERNAL, "emitting 'anas.%s': ", name);
  int results = op.def->num_results ? op.def->num_results : 1;
  MlirType types[ANAS_MAX_RESULTS];
  for (int i = 0; i < results; i++)
    types[i] = anas_tensor_type(train->context, &shapes[i]);

  char full_name[64] = "anas.";
  strncat(full_name, name, sizeof full_name - 6);
  MlirOperationState state = mlirOperationStateGet(text_ref(full_name), train->location);
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
