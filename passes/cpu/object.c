// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// LLVM dialect to machine code. No LLVM optimisation pipeline runs: kernel functions arrive with their loops, registers
// and addresses chosen, and LLVM's mid-level passes cost time without making them faster. Thread-safe for modules of
// different contexts.
#include "dialect/context.h"
#include "passes/cpu/compiler.h"

#include <llvm-c/Core.h>
#include <llvm-c/Support.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/RegisterEverything.h>
#include <mlir-c/Target/LLVMIR.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

// Loop strength reduction would keep a register, soon a stack slot, for every row of a register tile, although the rows
// are constant offsets from one address; the scheduler then spills accumulators. Only an option of the process turns it
// off.
static void initialize_target(void) {
  static const char *const options[] = {"anas", "-disable-lsr"};
  LLVMParseCommandLineOptions(sizeof options / sizeof *options, options, NULL);
  LLVMInitializeNativeTarget();
  LLVMInitializeNativeAsmPrinter();
}

anas_status anas_cpu_create_machine(const struct anas_cpu_target *target, LLVMTargetMachineRef *out) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, initialize_target);
  anas_status status = ANAS_OK;
  char *triple = LLVMGetDefaultTargetTriple(), *message = NULL;
  LLVMTargetRef llvm_target = NULL;
  LLVMTargetMachineRef machine = NULL;
  if (LLVMGetTargetFromTriple(triple, &llvm_target, &message)) {
    status = anas_fail(ANAS_UNSUPPORTED, "LLVM has no code generator for %s: %s", triple, message ? message : "");
    LLVMDisposeMessage(message);
  } else {
    LLVMTargetMachineOptionsRef options = LLVMCreateTargetMachineOptions();
    LLVMTargetMachineOptionsSetCPU(options, target->cpu);
    LLVMTargetMachineOptionsSetFeatures(options, target->features);
    LLVMTargetMachineOptionsSetCodeGenOptLevel(options, LLVMCodeGenLevelDefault);
    LLVMTargetMachineOptionsSetRelocMode(options, LLVMRelocPIC);
    LLVMTargetMachineOptionsSetCodeModel(options, LLVMCodeModelDefault);
    machine = LLVMCreateTargetMachineWithOptions(llvm_target, triple, options);
    LLVMDisposeTargetMachineOptions(options);
    if (!machine)
      status = anas_fail(ANAS_UNSUPPORTED, "LLVM cannot generate code for %s, processor '%s'", triple, target->cpu);
  }
  LLVMDisposeMessage(triple);
  if (status == ANAS_OK) *out = machine;
  return status;
}

static anas_status emit(LLVMModuleRef module, LLVMTargetMachineRef machine, struct anas_object *out_object) {
  char *triple = LLVMGetTargetMachineTriple(machine), *message = NULL;
  LLVMSetTarget(module, triple);
  LLVMDisposeMessage(triple);
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
  LLVMSetModuleDataLayout(module, layout);
  LLVMDisposeTargetData(layout);
  LLVMMemoryBufferRef buffer = NULL;
  if (LLVMTargetMachineEmitToMemoryBuffer(machine, module, LLVMObjectFile, &message, &buffer)) {
    anas_status status = anas_fail(ANAS_INTERNAL, "LLVM cannot emit an object: %s", message ? message : "");
    LLVMDisposeMessage(message);
    return status;
  }
  size_t size = LLVMGetBufferSize(buffer);
  struct anas_object object = {.data = anas_alloc(size), .size = size};
  memcpy(object.data, LLVMGetBufferStart(buffer), size);
  LLVMDisposeMemoryBuffer(buffer);
  *out_object = object;
  return ANAS_OK;
}

// What code generation noted on the module.
static void take_notes(MlirModule module, struct anas_object *object) {
  MlirOperation op = mlirModuleGetOperation(module);
  MlirAttribute scratch = mlirOperationGetAttributeByName(op, anas_ref_text("anas.scratch"));
  if (!mlirAttributeIsNull(scratch)) object->scratch_bytes = (size_t)mlirIntegerAttrGetValueInt(scratch);
  MlirAttribute items = mlirOperationGetAttributeByName(op, anas_ref_text("anas.items"));
  if (!mlirAttributeIsNull(items)) object->items = mlirIntegerAttrGetValueInt(items);
  MlirAttribute plan = mlirOperationGetAttributeByName(op, anas_ref_text("anas.plan"));
  if (mlirAttributeIsNull(plan)) return;
  MlirStringRef text = mlirStringAttrGetValue(plan);
  snprintf(object->plan, sizeof object->plan, "%.*s", (int)text.length, text.data);
}

anas_status anas_cpu_emit(MlirModule llvm_module, LLVMTargetMachineRef machine, struct anas_object *out_object) {
  LLVMContextRef context = LLVMContextCreate();
  LLVMModuleRef module = mlirTranslateModuleToLLVMIR(mlirModuleGetOperation(llvm_module), context);
  anas_status status;
  if (module) {
    status = emit(module, machine, out_object);
    LLVMDisposeModule(module);
  } else {
    status = anas_fail(ANAS_INTERNAL, "the module cannot be translated to LLVM IR: an operation outside the LLVM "
                                      "dialect is left");
  }
  LLVMContextDispose(context);
  if (status == ANAS_OK) take_notes(llvm_module, out_object);
  return status;
}

anas_status anas_cpu_emit_object(MlirModule llvm_module, const struct anas_cpu_target *target,
                                 struct anas_object *out_object) {
  LLVMTargetMachineRef machine;
  ANAS_RETURN_IF_ERROR(anas_cpu_create_machine(target, &machine));
  mlirRegisterAllLLVMTranslations(mlirModuleGetContext(llvm_module));
  anas_status status = anas_cpu_emit(llvm_module, machine, out_object);
  LLVMDisposeTargetMachine(machine);
  return status;
}
