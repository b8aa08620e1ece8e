// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// For tests of passes/lower: runs kernel function text through MLIR's stock loop lowering and its execution engine.
#ifndef ANAS_TEST_KERNEL_RUNNER_H
#define ANAS_TEST_KERNEL_RUNNER_H

#include "runtime/support/memory.h"

#include <mlir-c/ExecutionEngine.h>
#include <mlir-c/IR.h>
#include <mlir-c/Pass.h>
#include <mlir-c/RegisterEverything.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kernel_runner {
  MlirContext context;
  MlirModule module;
  MlirExecutionEngine engine;
};

static MlirStringRef runner_ref(const char *text) {
  return mlirStringRefCreateFromCString(text);
}

static inline MlirContext runner_context(void) {
  MlirDialectRegistry registry = mlirDialectRegistryCreate();
  mlirRegisterAllDialects(registry);
  mlirRegisterAllPasses();
  MlirContext context = mlirContextCreateWithRegistry(registry, false);
  mlirRegisterAllLLVMTranslations(context);
  mlirDialectRegistryDestroy(registry);
  return context;
}

// Parses, verifies and compiles; kernels must be public and are called with bare pointers. False with MLIR's message on
// stderr. The text is a whole module.
static inline bool runner_init(struct kernel_runner *runner, const char *text) {
  static const char pipeline[] =
      "builtin.module(func.func(convert-linalg-to-loops),convert-scf-to-cf,expand-strided-metadata,lower-affine,"
      "convert-math-to-llvm,convert-arith-to-llvm,convert-index-to-llvm,finalize-memref-to-llvm,"
      "convert-func-to-llvm{use-bare-ptr-memref-call-conv=1},convert-cf-to-llvm,reconcile-unrealized-casts)";
  runner->context = runner_context();
  runner->module = mlirModuleCreateParse(runner->context, runner_ref(text));
  if (mlirModuleIsNull(runner->module)) {
    fprintf(stderr, "%s\n", text);
    mlirContextDestroy(runner->context);
    return false;
  }
  MlirPassManager manager = mlirPassManagerCreateOnOperation(runner->context, runner_ref("builtin.module"));
  MlirOpPassManager nested = mlirPassManagerGetAsOpPassManager(manager);
  bool ok = mlirLogicalResultIsSuccess(mlirParsePassPipeline(nested, runner_ref(pipeline), NULL, NULL)) &&
            mlirLogicalResultIsSuccess(mlirPassManagerRunOnOp(manager, mlirModuleGetOperation(runner->module)));
  mlirPassManagerDestroy(manager);
  if (ok) runner->engine = mlirExecutionEngineCreate(runner->module, 2, 0, NULL, false, false);
  if (ok && !mlirExecutionEngineIsNull(runner->engine)) return true;
  mlirModuleDestroy(runner->module);
  mlirContextDestroy(runner->context);
  return false;
}

static inline void *runner_symbol(struct kernel_runner *runner, const char *name) {
  return mlirExecutionEngineLookup(runner->engine, runner_ref(name));
}

static inline void runner_deinit(struct kernel_runner *runner) {
  mlirExecutionEngineDestroy(runner->engine);
  mlirModuleDestroy(runner->module);
  mlirContextDestroy(runner->context);
}

#endif
