// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// For reading: a kernel-stage module with each kernel function replaced by a declaration, which lists its launches, and
// its gpu.module @SYMBOL_gpu, in the gpu dialect, in nvvm, or as PTX.
#include "dialect/context.h"
#include "passes/gpu/gpu.h"
#include "runtime/support/memory.h"

#include <inttypes.h>
#include <mlir-c/BuiltinAttributes.h>
#include <stdlib.h>
#include <string.h>

static MlirAttribute get(MlirOperation op, const char *name) {
  return mlirOperationGetAttributeByName(op, anas_ref_text(name));
}

static void launch_text(const struct anas_gpu_launch *launch, struct anas_strbuf *text) {
  if (launch->fill) {
    anas_strbuf_addf(text, "\"fill argument %d: %" PRId64 " words of 0x%08x\"", launch->fill_argument,
                     launch->fill_count, launch->fill_value);
    return;
  }
  anas_strbuf_addf(text, "\"%s<<<%" PRId64 "x%" PRId64 "x%" PRId64 ", %" PRId64 ">>>(", launch->symbol, launch->grid[0],
                   launch->grid[1], launch->grid[2], launch->block);
  for (int i = 0; i < launch->num_arguments; i++) {
    const char *comma = i ? ", " : "";
    if (launch->argument[i] < 0)
      anas_strbuf_addf(text, "%sworkspace", comma);
    else
      anas_strbuf_addf(text, "%s%d", comma, launch->argument[i]);
  }
  anas_strbuf_adds(text, ")\"");
}

static void declaration_text(MlirOperation function, const struct anas_gpu_code *code, struct anas_strbuf *text) {
  MlirBlock entry = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  anas_strbuf_addf(text, "func.func private @%s(", code->symbol);
  for (intptr_t i = 0; i < mlirBlockGetNumArguments(entry); i++) {
    if (i) anas_strbuf_adds(text, ", ");
    mlirTypePrint(mlirValueGetType(mlirBlockGetArgument(entry, i)), anas_print_to_strbuf, text);
  }
  anas_strbuf_addf(text, ") attributes {anas.form = \"%s\", anas.workspace = %" PRId64 " : i64, anas.launches = [",
                   code->form, code->workspace);
  for (int i = 0; i < code->num_launches; i++) {
    if (i) anas_strbuf_adds(text, ", ");
    launch_text(&code->launch[i], text);
  }
  anas_strbuf_adds(text, "], anas.kernel = ");
  mlirAttributePrint(get(function, "anas.kernel"), anas_print_to_strbuf, text);
  anas_strbuf_adds(text, "}\n");
}

static MlirOperation take_first(MlirModule module) {
  MlirOperation op = mlirBlockGetFirstOperation(mlirModuleGetBody(module));
  mlirOperationRemoveFromParent(op);
  return op;
}

static anas_status lower(struct anas_gpu_code *code, const struct anas_gpu_target *target, enum anas_gpu_stage stage) {
  if (stage == ANAS_GPU_STAGE_GPU) return ANAS_OK;
  ANAS_RETURN_IF_ERROR(anas_gpu_to_nvvm(code->module));
  if (stage == ANAS_GPU_STAGE_NVVM) return ANAS_OK;
  char *ptx;
  ANAS_RETURN_IF_ERROR(anas_gpu_emit_ptx(code->module, target, &ptx));
  MlirOperation gpu_module = mlirBlockGetFirstOperation(mlirModuleGetBody(code->module));
  MlirContext context = mlirModuleGetContext(code->module);
  mlirOperationSetAttributeByName(gpu_module, anas_ref_text("anas.ptx"),
                                  mlirStringAttrGet(context, anas_ref_text(ptx)));
  free(ptx);
  return ANAS_OK;
}

static anas_status replace(MlirModule module, MlirOperation function, const struct anas_gpu_target *target,
                           enum anas_gpu_stage stage) {
  MlirContext context = mlirModuleGetContext(module);
  struct anas_gpu_code code;
  ANAS_RETURN_IF_ERROR(anas_gpu_codegen(function, target, &code));
  anas_status status = lower(&code, target, stage);
  struct anas_strbuf text = {0};
  declaration_text(function, &code, &text);
  MlirModule parsed;
  if (status == ANAS_OK) status = anas_parse(context, text.data, text.size, "GPU launches", &parsed);
  anas_strbuf_deinit(&text);
  if (status == ANAS_OK) {
    MlirBlock body = mlirModuleGetBody(module);
    MlirOperation gpu_module = take_first(code.module);
    anas_strbuf_addf(&text, "%s_gpu", code.symbol);
    mlirOperationSetAttributeByName(gpu_module, anas_ref_text("sym_name"),
                                    mlirStringAttrGet(context, anas_ref_text(text.data)));
    anas_strbuf_deinit(&text);
    mlirBlockInsertOwnedOperationAfter(body, function, gpu_module);
    mlirBlockInsertOwnedOperationAfter(body, function, take_first(parsed));
    mlirModuleDestroy(parsed);
    mlirOperationDestroy(function);
  }
  anas_gpu_code_deinit(&code);
  return status;
}

anas_status anas_gpu_replace_kernels(MlirModule module, const struct anas_gpu_target *target,
                                     enum anas_gpu_stage stage) {
  MlirOperation next = mlirBlockGetFirstOperation(mlirModuleGetBody(module));
  while (!mlirOperationIsNull(next)) {
    MlirOperation op = next;
    next = mlirOperationGetNextInBlock(op);
    MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
    bool defined = mlirStringRefEqual(name, anas_ref_text("func.func")) &&
                   !mlirAttributeIsNull(get(op, "anas.kernel")) &&
                   !mlirBlockIsNull(mlirRegionGetFirstBlock(mlirOperationGetRegion(op, 0)));
    if (defined) ANAS_RETURN_IF_ERROR(replace(module, op, target, stage));
  }
  MlirAttribute unit = mlirUnitAttrGet(mlirModuleGetContext(module));
  mlirOperationSetAttributeByName(mlirModuleGetOperation(module), anas_ref_text("gpu.container_module"), unit);
  return ANAS_OK;
}
