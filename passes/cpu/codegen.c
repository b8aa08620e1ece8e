// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rewrites kernel functions from linalg to vector code: reads the nest, lets an emitter write the new body behind the
// old one, and removes the old one.
#include "dialect/context.h"
#include "passes/cpu/nest.h"
#include "runtime/team.h"

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

static anas_status emit_nest(struct anas_code *code, const struct anas_cpu_nest *nest, const struct anas_cpu_part *part,
                             struct anas_cpu_range *out) {
  if (anas_cpu_contraction(code, nest, part->begin, part->end, out) ||
      anas_cpu_depthwise(code, nest, part->begin, part->end, out) ||
      anas_cpu_transpose(code, nest, part->begin, part->end, out))
    return ANAS_OK;
  return anas_cpu_vector(code, nest, part->begin, part->end, out);
}

static struct anas_cpu_algorithm choose_algorithm(const struct anas_cpu_nest *nest,
                                                  const struct anas_cpu_target *target) {
  struct anas_cpu_algorithm algorithm = {.num_parts = 1, .emit = emit_nest};
  if (target->bf16 == ANAS_BF16_ALWAYS && anas_cpu_bf16(nest, target, &algorithm)) return algorithm;
  bool winograd = target->winograd != ANAS_WINOGRAD_OFF &&
                  (anas_cpu_winograd(nest, target, &algorithm) || anas_cpu_winograd_filter(nest, target, &algorithm));
  if (!winograd) anas_cpu_bf16(nest, target, &algorithm);
  return algorithm;
}

static MlirValue add_index(MlirBlock entry, MlirLocation location) {
  return mlirBlockAddArgument(entry, mlirIndexTypeGet(mlirLocationGetContext(location)), location);
}

static MlirValue add_scratch(MlirBlock entry, MlirLocation location, int64_t bytes) {
  int64_t elements = (bytes + 3) / 4;
  MlirType type = mlirMemRefTypeContiguousGet(mlirF32TypeGet(mlirLocationGetContext(location)), 1, &elements,
                                              mlirAttributeGetNull());
  return mlirBlockAddArgument(entry, type, location);
}

// On the module, for the compile report: "plan of part 0; plan of part 1".
static void note_plan(MlirOperation function, const char *plan, int part) {
  MlirOperation module = mlirOperationGetParentOperation(function);
  char *text = NULL;
  if (part) {
    MlirStringRef before = mlirStringAttrGetValue(mlirOperationGetAttributeByName(module, anas_ref_text("anas.plan")));
    text = anas_format("%.*s; %s", (int)before.length, before.data, plan);
  }
  mlirOperationSetAttributeByName(
      module, anas_ref_text("anas.plan"),
      mlirStringAttrGet(mlirOperationGetContext(module), anas_ref_text(text ? text : plan)));
  free(text);
}

static anas_status rewrite_part(MlirOperation function, const struct anas_cpu_target *target,
                                const struct anas_cpu_algorithm *algorithm, int index) {
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
  struct anas_cpu_part part = {.index = index};
  if (algorithm->scratch_bytes > 0) part.scratch = add_scratch(entry, location, algorithm->scratch_bytes);
  part.begin = add_index(entry, location);
  part.end = add_index(entry, location);
  struct anas_code *code = anas_alloc(sizeof *code);
  anas_code_init(code, entry, target);
  struct anas_cpu_range range = {0};
  anas_status status = algorithm->emit(code, &nest, &part, &range);
  if (status == ANAS_OK) {
    code->block = entry;
    anas_code_op(code, "func.return", 0, NULL, (MlirType){0}, 0, NULL);
    erase_range(old, (int)num_old);
    set_type(function, entry);
    MlirAttribute iterations = mlirIntegerAttrGet(mlirIntegerTypeGet(context, 64), range.iterations);
    mlirOperationSetAttributeByName(function, anas_ref_text("anas.range"), iterations);
    MlirAttribute leading = mlirIntegerAttrGet(mlirIntegerTypeGet(context, 64), range.leading);
    if (range.leading > 0) mlirOperationSetAttributeByName(function, anas_ref_text("anas.leading"), leading);
    mlirOperationSetAttributeByName(function, anas_ref_text("anas.parallel"), mlirBoolAttrGet(context, range.parallel));
    if (algorithm->name && !index) note_plan(function, algorithm->name, 0);
    if (!algorithm->name) note_plan(function, range.plan[0] ? range.plan : "vector loops", index);
  }
  free(code);
  free(old);
  return status;
}

// Copies a kernel function that is not yet rewritten to stand for a further part, behind the function `last`.
static MlirOperation add_part(MlirOperation kernel, MlirOperation last, MlirBlock module, int index) {
  MlirContext context = mlirOperationGetContext(kernel);
  MlirOperation part = mlirOperationClone(kernel);
  MlirStringRef name = mlirStringAttrGetValue(mlirOperationGetAttributeByName(kernel, anas_ref_text("sym_name")));
  char *symbol = anas_format("%.*s_part%d", (int)name.length, name.data, index);
  mlirOperationSetAttributeByName(part, anas_ref_text("sym_name"), mlirStringAttrGet(context, anas_ref_text(symbol)));
  free(symbol);
  mlirOperationRemoveAttributeByName(part, anas_ref_text("anas.kernel"));
  mlirOperationSetAttributeByName(part, anas_ref_text("anas.part"),
                                  mlirIntegerAttrGet(mlirIntegerTypeGet(context, 64), index));
  mlirBlockInsertOwnedOperationAfter(module, last, part);
  return part;
}

static anas_status rewrite(MlirOperation function, MlirBlock module, const struct anas_cpu_target *target) {
  struct anas_cpu_nest nest;
  ANAS_RETURN_IF_ERROR(anas_cpu_nest_read(function, &nest));
  struct anas_cpu_algorithm algorithm = choose_algorithm(&nest, target);
  MlirOperation part[ANAS_KERNEL_PARTS] = {function};
  for (int i = 1; i < algorithm.num_parts; i++)
    part[i] = add_part(function, part[i - 1], module, i);
  for (int i = 0; i < algorithm.num_parts; i++)
    ANAS_RETURN_IF_ERROR(rewrite_part(part[i], target, &algorithm, i));
  if (algorithm.scratch_bytes > 0) {
    MlirType i64 = mlirIntegerTypeGet(mlirOperationGetContext(function), 64);
    mlirOperationSetAttributeByName(function, anas_ref_text("anas.scratch"),
                                    mlirIntegerAttrGet(i64, algorithm.scratch_bytes));
  }
  return ANAS_OK;
}

anas_status anas_cpu_codegen(MlirModule module, const struct anas_cpu_target *target) {
  for (MlirOperation op = mlirBlockGetFirstOperation(mlirModuleGetBody(module)); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op)) {
    if (!is_kernel(op)) continue;
    anas_status status = rewrite(op, mlirModuleGetBody(module), target);
    if (status == ANAS_OK) continue;
    MlirStringRef name = mlirStringAttrGetValue(mlirOperationGetAttributeByName(op, anas_ref_text("sym_name")));
    return anas_fail_context(status, "kernel '%.*s': ", (int)name.length, name.data);
  }
  return ANAS_OK;
}
