// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// IR builder of the CPU emitters: constants hoisted to the function's start, addresses as value plus constant, loops.
#include "passes/cpu/nest.h"
#include "runtime/support/memory.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <stdlib.h>
#include <string.h>

static MlirStringRef ref(const char *text) {
  return mlirStringRefCreateFromCString(text);
}

void anas_code_init(struct anas_code *code, MlirBlock entry, const struct anas_cpu_target *target) {
  memset(code, 0, sizeof *code);
  MlirOperation parent = mlirBlockGetParentOperation(entry);
  code->context = mlirOperationGetContext(parent);
  code->location = mlirOperationGetLocation(parent);
  code->entry = code->block = entry;
  code->target = target;
  code->index = mlirIndexTypeGet(code->context);
  code->i1 = mlirIntegerTypeGet(code->context, 1);
  code->i32 = mlirIntegerTypeGet(code->context, 32);
  code->f32 = mlirF32TypeGet(code->context);
}

MlirNamedAttribute anas_code_attribute(struct anas_code *code, const char *name, MlirAttribute value) {
  return mlirNamedAttributeGet(mlirIdentifierGet(code->context, ref(name)), value);
}

static MlirOperation create(struct anas_code *code, const char *name, int num_operands, const MlirValue *operands,
                            MlirType result, int num_attributes, const MlirNamedAttribute *attributes) {
  MlirOperationState state = mlirOperationStateGet(ref(name), code->location);
  mlirOperationStateAddOperands(&state, num_operands, operands);
  if (!mlirTypeIsNull(result)) mlirOperationStateAddResults(&state, 1, &result);
  mlirOperationStateAddAttributes(&state, num_attributes, attributes);
  return mlirOperationCreate(&state);
}

MlirValue anas_code_op(struct anas_code *code, const char *name, int num_operands, const MlirValue *operands,
                       MlirType result, int num_attributes, const MlirNamedAttribute *attributes) {
  MlirOperation op = create(code, name, num_operands, operands, result, num_attributes, attributes);
  mlirBlockAppendOwnedOperation(code->block, op);
  return mlirTypeIsNull(result) ? (MlirValue){0} : mlirOperationGetResult(op, 0);
}

MlirValue anas_code_unary(struct anas_code *code, const char *name, MlirValue a, MlirType result) {
  return anas_code_op(code, name, 1, &a, result, 0, NULL);
}

MlirValue anas_code_binary(struct anas_code *code, const char *name, MlirValue a, MlirValue b) {
  return anas_code_op(code, name, 2, (MlirValue[]){a, b}, mlirValueGetType(a), 0, NULL);
}

MlirValue anas_code_compare(struct anas_code *code, bool is_float, int predicate, MlirValue a, MlirValue b) {
  MlirType type = mlirValueGetType(a);
  MlirType result =
      mlirTypeIsAVector(type) ? anas_code_vector((int)mlirShapedTypeGetDimSize(type, 0), code->i1) : code->i1;
  MlirNamedAttribute attribute =
      anas_code_attribute(code, "predicate", mlirIntegerAttrGet(mlirIntegerTypeGet(code->context, 64), predicate));
  return anas_code_op(code, is_float ? "arith.cmpf" : "arith.cmpi", 2, (MlirValue[]){a, b}, result, 1, &attribute);
}

MlirValue anas_code_select(struct anas_code *code, MlirValue condition, MlirValue a, MlirValue b) {
  return anas_code_op(code, "arith.select", 3, (MlirValue[]){condition, a, b}, mlirValueGetType(a), 0, NULL);
}

MlirType anas_code_vector(int lanes, MlirType element) {
  int64_t shape = lanes;
  return mlirVectorTypeGet(1, &shape, element);
}

// ---- constants
// -------------------------------------------------------------------------------------------------------

MlirValue anas_code_constant(struct anas_code *code, MlirType type, MlirAttribute value) {
  for (int i = 0; i < code->num_constants; i++)
    if (mlirAttributeEqual(code->constant[i].attribute, value)) return code->constant[i].value;
  MlirNamedAttribute attribute = anas_code_attribute(code, "value", value);
  MlirOperation op = create(code, "arith.constant", 0, NULL, type, 1, &attribute);
  mlirBlockInsertOwnedOperation(code->entry, 0, op);
  MlirValue result = mlirOperationGetResult(op, 0);
  if (code->num_constants < ANAS_CODE_CONSTANTS) {
    code->constant[code->num_constants].attribute = value;
    code->constant[code->num_constants++].value = result;
  }
  return result;
}

MlirValue anas_code_index(struct anas_code *code, int64_t value) {
  return anas_code_constant(code, code->index, mlirIntegerAttrGet(code->index, value));
}

MlirValue anas_code_splat(struct anas_code *code, MlirType vector, MlirAttribute element) {
  return anas_code_constant(code, vector, mlirDenseElementsAttrSplatGet(vector, element));
}

MlirValue anas_code_splat_f32(struct anas_code *code, int lanes, double value) {
  return anas_code_splat(code, anas_code_vector(lanes, code->f32),
                         mlirFloatAttrDoubleGet(code->context, code->f32, value));
}

MlirValue anas_code_splat_i32(struct anas_code *code, int lanes, int64_t value) {
  return anas_code_splat(code, anas_code_vector(lanes, code->i32), mlirIntegerAttrGet(code->i32, value));
}

MlirValue anas_code_mask(struct anas_code *code, int lanes, int active) {
  int bits[64] = {0};
  for (int i = 0; i < active; i++)
    bits[i] = 1;
  MlirType type = anas_code_vector(lanes, code->i1);
  return anas_code_constant(code, type, mlirDenseElementsAttrBoolGet(type, lanes, bits));
}

// ---- index arithmetic
// -------------------------------------------------------------------------------------------

MlirValue anas_code_add(struct anas_code *code, MlirValue a, MlirValue b) {
  if (mlirValueIsNull(a)) return b;
  if (mlirValueIsNull(b)) return a;
  return anas_code_binary(code, "arith.addi", a, b);
}

MlirValue anas_code_add_const(struct anas_code *code, MlirValue a, int64_t b) {
  if (mlirValueIsNull(a)) return anas_code_index(code, b);
  return b == 0 ? a : anas_code_binary(code, "arith.addi", a, anas_code_index(code, b));
}

MlirValue anas_code_mul_const(struct anas_code *code, MlirValue a, int64_t b) {
  if (mlirValueIsNull(a) || b == 0) return (MlirValue){0};
  return b == 1 ? a : anas_code_binary(code, "arith.muli", a, anas_code_index(code, b));
}

MlirValue anas_code_min(struct anas_code *code, MlirValue a, MlirValue b) {
  return anas_code_binary(code, "arith.minsi", a, b);
}

MlirValue anas_code_max(struct anas_code *code, MlirValue a, MlirValue b) {
  return anas_code_binary(code, "arith.maxsi", a, b);
}

struct anas_address anas_address_step(struct anas_code *code, struct anas_address a, MlirValue iv, int64_t stride) {
  a.value = anas_code_add(code, a.value, anas_code_mul_const(code, iv, stride));
  return a;
}

struct anas_address anas_address_offset(struct anas_address a, int64_t offset) {
  a.offset += offset;
  return a;
}

MlirValue anas_address_value(struct anas_code *code, struct anas_address a) {
  return anas_code_add_const(code, a.value, a.offset);
}

// ---- memory
// ----------------------------------------------------------------------------------------------------------

MlirValue anas_code_flatten(struct anas_code *code, MlirValue memref, int64_t elements, MlirType element) {
  MlirType old = mlirValueGetType(memref);
  if (mlirShapedTypeGetRank(old) == 1) return memref;
  MlirType type = mlirMemRefTypeContiguousGet(element, 1, &elements, mlirAttributeGetNull());
  int64_t zero = 0, one = 1;
  int32_t segments[] = {1, 0, 0, 0};
  MlirNamedAttribute attributes[] = {
      anas_code_attribute(code, "static_offsets", mlirDenseI64ArrayGet(code->context, 1, &zero)),
      anas_code_attribute(code, "static_sizes", mlirDenseI64ArrayGet(code->context, 1, &elements)),
      anas_code_attribute(code, "static_strides", mlirDenseI64ArrayGet(code->context, 1, &one)),
      anas_code_attribute(code, "operandSegmentSizes", mlirDenseI32ArrayGet(code->context, 4, segments)),
  };
  return anas_code_op(code, "memref.reinterpret_cast", 1, &memref, type, 4, attributes);
}

MlirValue anas_code_load(struct anas_code *code, MlirValue flat, struct anas_address a) {
  MlirValue operands[] = {flat, anas_address_value(code, a)};
  return anas_code_op(code, "memref.load", 2, operands, mlirShapedTypeGetElementType(mlirValueGetType(flat)), 0, NULL);
}

void anas_code_store(struct anas_code *code, MlirValue value, MlirValue flat, struct anas_address a) {
  MlirValue operands[] = {value, flat, anas_address_value(code, a)};
  anas_code_op(code, "memref.store", 3, operands, (MlirType){0}, 0, NULL);
}

MlirValue anas_code_vector_load(struct anas_code *code, MlirValue flat, struct anas_address a, MlirType vector,
                                int active) {
  int lanes = (int)mlirShapedTypeGetDimSize(vector, 0);
  MlirValue index = anas_address_value(code, a);
  if (active >= lanes) return anas_code_op(code, "vector.load", 2, (MlirValue[]){flat, index}, vector, 0, NULL);
  // Integers read 1 in inactive lanes: a body may divide by them.
  MlirType element = mlirShapedTypeGetElementType(vector);
  MlirAttribute pass =
      mlirTypeIsAF32(element) ? mlirFloatAttrDoubleGet(code->context, element, 0.0) : mlirIntegerAttrGet(element, 1);
  MlirValue operands[] = {flat, index, anas_code_mask(code, lanes, active), anas_code_splat(code, vector, pass)};
  return anas_code_op(code, "vector.maskedload", 4, operands, vector, 0, NULL);
}

void anas_code_vector_store(struct anas_code *code, MlirValue value, MlirValue flat, struct anas_address a,
                            int active) {
  int lanes = (int)mlirShapedTypeGetDimSize(mlirValueGetType(value), 0);
  MlirValue index = anas_address_value(code, a);
  if (active >= lanes) {
    anas_code_op(code, "vector.store", 3, (MlirValue[]){value, flat, index}, (MlirType){0}, 0, NULL);
    return;
  }
  MlirValue operands[] = {flat, index, anas_code_mask(code, lanes, active), value};
  anas_code_op(code, "vector.maskedstore", 4, operands, (MlirType){0}, 0, NULL);
}

static void prefetch(struct anas_code *code, MlirValue flat, struct anas_address a, bool write, int locality) {
  MlirValue operands[] = {flat, anas_address_value(code, a)};
  MlirNamedAttribute attributes[] = {
      anas_code_attribute(code, "isWrite", mlirBoolAttrGet(code->context, write)),
      anas_code_attribute(code, "localityHint", mlirIntegerAttrGet(code->i32, locality)),
      anas_code_attribute(code, "isDataCache", mlirBoolAttrGet(code->context, true)),
  };
  anas_code_op(code, "memref.prefetch", 2, operands, (MlirType){0}, 3, attributes);
}

void anas_code_prefetch(struct anas_code *code, MlirValue flat, struct anas_address a, bool write) {
  prefetch(code, flat, a, write, write ? 3 : 2);
}

void anas_code_prefetch_near(struct anas_code *code, MlirValue flat, struct anas_address a) {
  prefetch(code, flat, a, false, 3);
}

MlirValue anas_code_broadcast(struct anas_code *code, MlirValue scalar, int lanes) {
  return anas_code_unary(code, "vector.broadcast", scalar, anas_code_vector(lanes, mlirValueGetType(scalar)));
}

MlirValue anas_code_fma(struct anas_code *code, MlirValue a, MlirValue b, MlirValue c) {
  // Narrow processors have no fused multiply-add; math.fma would become a library call.
  if (code->target->lanes == 4)
    return anas_code_binary(code, "arith.addf", anas_code_binary(code, "arith.mulf", a, b), c);
  return anas_code_op(code, "vector.fma", 3, (MlirValue[]){a, b, c}, mlirValueGetType(a), 0, NULL);
}

// ---- control flow
// ----------------------------------------------------------------------------------------------------

struct anas_code_scope anas_code_for(struct anas_code *code, MlirValue lower, MlirValue upper, int64_t step, int num,
                                     const MlirValue *inits) {
  struct anas_code_scope scope = {.parent = code->block};
  MlirValue bounds[] = {mlirValueIsNull(lower) ? anas_code_index(code, 0) : lower, upper, anas_code_index(code, step)};
  MlirOperationState state = mlirOperationStateGet(ref("scf.for"), code->location);
  mlirOperationStateAddOperands(&state, 3, bounds);
  mlirOperationStateAddOperands(&state, num, inits);
  MlirType *types = calloc((size_t)num + 1, sizeof *types);
  MlirLocation *locations = calloc((size_t)num + 1, sizeof *locations);
  types[0] = code->index;
  locations[0] = code->location;
  for (int i = 0; i < num; i++) {
    types[i + 1] = mlirValueGetType(inits[i]);
    locations[i + 1] = code->location;
  }
  mlirOperationStateAddResults(&state, num, types + 1);
  scope.body = mlirBlockCreate(num + 1, types, locations);
  free(types);
  free(locations);
  MlirRegion region = mlirRegionCreate();
  mlirRegionAppendOwnedBlock(region, scope.body);
  mlirOperationStateAddOwnedRegions(&state, 1, &region);
  scope.op = mlirOperationCreate(&state);
  mlirBlockAppendOwnedOperation(code->block, scope.op);
  scope.iv = mlirBlockGetArgument(scope.body, 0);
  code->block = scope.body;
  return scope;
}

MlirValue anas_code_iter(const struct anas_code_scope *scope, int i) {
  return mlirBlockGetArgument(scope->body, i + 1);
}

void anas_code_end(struct anas_code *code, const struct anas_code_scope *scope, int num, const MlirValue *yields) {
  anas_code_op(code, "scf.yield", num, yields, (MlirType){0}, 0, NULL);
  code->block = scope->parent;
}

MlirValue anas_code_result(const struct anas_code_scope *scope, int i) {
  return mlirOperationGetResult(scope->op, i);
}

// With results: those of both branches; else_values are those of the second one.
static struct anas_code_scope open_if(struct anas_code *code, MlirValue condition, bool with_else, int num,
                                      const MlirValue *else_values) {
  struct anas_code_scope scope = {.parent = code->block};
  MlirOperationState state = mlirOperationStateGet(ref("scf.if"), code->location);
  mlirOperationStateAddOperands(&state, 1, &condition);
  for (int i = 0; i < num; i++) {
    MlirType type = mlirValueGetType(else_values[i]);
    mlirOperationStateAddResults(&state, 1, &type);
  }
  MlirRegion regions[] = {mlirRegionCreate(), mlirRegionCreate()};
  for (int i = 0; i < 1 + with_else; i++)
    mlirRegionAppendOwnedBlock(regions[i], mlirBlockCreate(0, NULL, NULL));
  mlirOperationStateAddOwnedRegions(&state, 2, regions);
  scope.op = mlirOperationCreate(&state);
  mlirBlockAppendOwnedOperation(code->block, scope.op);
  if (num > 0) {
    code->block = mlirRegionGetFirstBlock(mlirOperationGetRegion(scope.op, 1));
    anas_code_op(code, "scf.yield", num, else_values, (MlirType){0}, 0, NULL);
  }
  scope.body = mlirRegionGetFirstBlock(mlirOperationGetRegion(scope.op, 0));
  code->block = scope.body;
  return scope;
}

struct anas_code_scope anas_code_if(struct anas_code *code, MlirValue condition, bool with_else) {
  return open_if(code, condition, with_else, 0, NULL);
}

struct anas_code_scope anas_code_when(struct anas_code *code, MlirValue condition, int num, const MlirValue *values) {
  return open_if(code, condition, true, num, values);
}

void anas_code_else(struct anas_code *code, struct anas_code_scope *scope) {
  anas_code_op(code, "scf.yield", 0, NULL, (MlirType){0}, 0, NULL);
  scope->body = mlirRegionGetFirstBlock(mlirOperationGetRegion(scope->op, 1));
  code->block = scope->body;
}
