// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rewrites kernel functions from linalg to vector code: reads the nest, lets an emitter write the new body behind the
// old one, and removes the old one.
#include "dialect/context.h"
#include "passes/cpu/nest.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <stdlib.h>
#include <string.h>

static bool has_name(MlirOperation op, const char *name) {
  MlirStringRef actual = mlirIdentifierStr(mlirOperationGetName(op));
  return actual.length == strlen(name) && memcmp(actual.data, name, actual.length) == 0;
}

static bool is_kernel(MlirOperation op) {
  return has_name(op, "func.func") &&
         !mlirAttributeIsNull(mlirOperationGetAttributeByName(op, anas_ref_text("anas.kernel"))) &&
         !mlirBlockIsNull(mlirRegionGetFirstBlock(mlirOperationGetRegion(op, 0)));
}

static void set_type(MlirOperation function, MlirBlock entry) {
  intptr_t num = mlirBlockGetNumArguments(entry);
  MlirType *types = anas_calloc((size_t)num, sizeof *types);
  for (intptr_t i = 0; i < num; i++)
    types[i] = mlirValueGetType(mlirBlockGetArgument(entry, i));
  MlirType type = mlirFunctionTypeGet(mlirOperationGetContext(function), num, types, 0, NULL);
  mlirOperationSetAttributeByName(function, anas_ref_text("function_type"), mlirTypeAttrGet(type));
  free(types);
}

// Erases ops first..last of a block, users before what they use.
static void erase_range(MlirOperation *ops, int num) {
  for (int i = num - 1; i >= 0; i--)
    mlirOperationDestroy(ops[i]);
}

static anas_status rewrite(MlirOperation function, const struct anas_cpu_target *target) {
  struct anas_cpu_nest nest;
  ANAS_RETURN_IF_ERROR(anas_cpu_nest_read(function, &nest));
  MlirBlock entry = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  MlirContext context = mlirOperationGetContext(function);
  MlirOperation *old = NULL;
  size_t num_old = 0, capacity = 0;
  for (MlirOperation op = mlirBlockGetFirstOperation(entry); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op)) {
    old = anas_grow(old, num_old, &capacity, sizeof *old);
    old[num_old++] = op;
  }
  MlirLocation location = mlirOperationGetLocation(function);
  MlirValue begin = mlirBlockAddArgument(entry, mlirIndexTypeGet(context), location);
  MlirValue end = mlirBlockAddArgument(entry, mlirIndexTypeGet(context), location);
  struct anas_code *code = anas_alloc(sizeof *code);
  anas_code_init(code, entry, target);
  struct anas_cpu_range range;
  anas_status status = ANAS_OK;
  if (!anas_cpu_contraction(code, &nest, begin, end, &range)) status = anas_cpu_vector(code, &nest, begin, end, &range);
  if (status == ANAS_OK) {
    code->block = entry;
    anas_code_op(code, "func.return", 0, NULL, (MlirType){0}, 0, NULL);
    erase_range(old, (int)num_old);
    set_type(function, entry);
    MlirAttribute iterations = mlirIntegerAttrGet(mlirIntegerTypeGet(context, 64), range.iterations);
    mlirOperationSetAttributeByName(function, anas_ref_text("anas.range"), iterations);
    mlirOperationSetAttributeByName(function, anas_ref_text("anas.parallel"), mlirBoolAttrGet(context, range.parallel));
  }
  free(code);
  free(old);
  return status;
}

anas_status anas_cpu_codegen(MlirModule module, const struct anas_cpu_target *target) {
  for (MlirOperation op = mlirBlockGetFirstOperation(mlirModuleGetBody(module)); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op)) {
    if (!is_kernel(op)) continue;
    anas_status status = rewrite(op, target);
    if (status == ANAS_OK) continue;
    MlirStringRef name = mlirStringAttrGetValue(mlirOperationGetAttributeByName(op, anas_ref_text("sym_name")));
    return anas_fail_context(status, "kernel '%.*s': ", (int)name.length, name.data);
  }
  return ANAS_OK;
}
