// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// gpu.module to PTX: MLIR's gpu and nvvm lowering, then LLVM's NVPTX code generator. No device library is linked: what
// the kernels need of one is defined here.
#include "dialect/context.h"
#include "passes/gpu/gpu.h"
#include "passes/pass.h"
#include "runtime/support/memory.h"

#include <llvm-c/Core.h>
#include <llvm-c/Support.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <mlir-c/Target/LLVMIR.h>
#include <pthread.h>
#include <string.h>

#define TRIPLE "nvptx64-nvidia-cuda"

// Vectors before gpu: otherwise 128-bit accesses are lost.
static const char pipeline[] =
    "gpu.module(canonicalize,cse,loop-invariant-code-motion,expand-strided-metadata,fold-memref-alias-ops,lower-affine,"
    "convert-scf-to-cf,convert-vector-to-llvm{use-vector-alignment=1},"
    "convert-gpu-to-nvvm{use-bare-ptr-memref-call-conv=1},convert-ub-to-llvm,convert-index-to-llvm,convert-nvvm-to-"
    "llvm,"
    "canonicalize,cse,reconcile-unrealized-casts)";

anas_status anas_gpu_to_nvvm(MlirModule module) {
  return anas_pipeline_run(module, pipeline);
}

static void initialize_target(void) {
  LLVMInitializeNVPTXTargetInfo();
  LLVMInitializeNVPTXTarget();
  LLVMInitializeNVPTXTargetMC();
  LLVMInitializeNVPTXAsmPrinter();
  // Addresses of shared memory in 32 bits: contractions have no registers to spare.
  const char *const arguments[] = {"anas", "-nvptx-short-ptr"};
  LLVMParseCommandLineOptions(2, arguments, NULL);
}

static anas_status create_machine(const struct anas_gpu_target *target, LLVMTargetMachineRef *out) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, initialize_target);
  char *message = NULL;
  LLVMTargetRef llvm_target = NULL;
  LLVMTargetMachineRef machine = NULL;
  if (LLVMGetTargetFromTriple(TRIPLE, &llvm_target, &message) == 0)
    machine = LLVMCreateTargetMachine(llvm_target, TRIPLE, target->chip, target->features, LLVMCodeGenLevelAggressive,
                                      LLVMRelocDefault, LLVMCodeModelDefault);
  LLVMDisposeMessage(message);
  if (!machine) return anas_fail(ANAS_UNSUPPORTED, "this LLVM has no code generator for " TRIPLE);
  *out = machine;
  return ANAS_OK;
}

// Functions convert-gpu-to-nvvm calls by the names of a device library, as the intrinsics that are instructions of PTX.
static const char *intrinsic_of(const char *name) {
  static const char *const table[][2] = {
      {"__nv_sqrtf", "llvm.sqrt"}, {"__nv_fabsf", "llvm.fabs"},   {"__nv_floorf", "llvm.floor"},
      {"__nv_ceilf", "llvm.ceil"}, {"__nv_rintf", "llvm.rint"},   {"__nv_truncf", "llvm.trunc"},
      {"__nv_fmaf", "llvm.fma"},   {"__nv_fmaxf", "llvm.maxnum"}, {"__nv_fminf", "llvm.minnum"},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (!strcmp(name, table[i][0])) return table[i][1];
  return NULL;
}

static anas_status define_functions(LLVMModuleRef module) {
  LLVMContextRef context = LLVMGetModuleContext(module);
  LLVMTypeRef f32 = LLVMFloatTypeInContext(context);
  for (LLVMValueRef function = LLVMGetFirstFunction(module); function; function = LLVMGetNextFunction(function)) {
    size_t length;
    const char *name = LLVMGetValueName2(function, &length);
    if (!LLVMIsDeclaration(function) || !strncmp(name, "llvm.", 5)) continue;
    const char *intrinsic = intrinsic_of(name);
    if (!intrinsic) return anas_fail(ANAS_UNSUPPORTED, "the kernel calls '%s', which has no expansion for GPUs", name);
    unsigned id = LLVMLookupIntrinsicID(intrinsic, strlen(intrinsic)), count = LLVMCountParams(function);
    LLVMValueRef callee = LLVMGetIntrinsicDeclaration(module, id, &f32, 1), arguments[3];
    for (unsigned i = 0; i < count && i < 3; i++)
      arguments[i] = LLVMGetParam(function, i);
    LLVMBuilderRef builder = LLVMCreateBuilderInContext(context);
    LLVMPositionBuilderAtEnd(builder, LLVMAppendBasicBlockInContext(context, function, "entry"));
    LLVMTypeRef type = LLVMIntrinsicGetType(context, id, &f32, 1);
    LLVMBuildRet(builder, LLVMBuildCall2(builder, type, callee, arguments, count, ""));
    LLVMDisposeBuilder(builder);
    LLVMSetLinkage(function, LLVMInternalLinkage);
  }
  return ANAS_OK;
}

static anas_status emit(LLVMModuleRef module, LLVMTargetMachineRef machine, char **out_ptx) {
  LLVMSetTarget(module, TRIPLE);
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
  LLVMSetModuleDataLayout(module, layout);
  LLVMDisposeTargetData(layout);
  ANAS_RETURN_IF_ERROR(define_functions(module));
  LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
  LLVMErrorRef error = LLVMRunPasses(module, "default<O3>", machine, options);
  LLVMDisposePassBuilderOptions(options);
  if (error) {
    char *text = LLVMGetErrorMessage(error);
    anas_status status = anas_fail(ANAS_INTERNAL, "LLVM cannot optimise a GPU kernel: %s", text);
    LLVMDisposeErrorMessage(text);
    return status;
  }
  char *message = NULL;
  LLVMMemoryBufferRef buffer = NULL;
  if (LLVMTargetMachineEmitToMemoryBuffer(machine, module, LLVMAssemblyFile, &message, &buffer)) {
    anas_status status = anas_fail(ANAS_INTERNAL, "LLVM cannot emit PTX: %s", message ? message : "");
    LLVMDisposeMessage(message);
    return status;
  }
  size_t size = LLVMGetBufferSize(buffer);
  char *ptx = anas_alloc(size + 1);
  memcpy(ptx, LLVMGetBufferStart(buffer), size);
  LLVMDisposeMemoryBuffer(buffer);
  *out_ptx = ptx;
  return ANAS_OK;
}

anas_status anas_gpu_emit_ptx(MlirModule nvvm_module, const struct anas_gpu_target *target, char **out_ptx) {
  LLVMTargetMachineRef machine = NULL;
  ANAS_RETURN_IF_ERROR(create_machine(target, &machine));
  LLVMContextRef context = LLVMContextCreate();
  MlirOperation op = mlirBlockGetFirstOperation(mlirModuleGetBody(nvvm_module));
  LLVMModuleRef module = mlirTranslateModuleToLLVMIR(op, context);
  anas_status status;
  if (module) {
    status = emit(module, machine, out_ptx);
    LLVMDisposeModule(module);
  } else {
    status = anas_fail(ANAS_INTERNAL, "the GPU module cannot be translated to LLVM IR");
  }
  LLVMContextDispose(context);
  LLVMDisposeTargetMachine(machine);
  return status;
}
