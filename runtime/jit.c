// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One LLJIT instance per program; the session's error reports are kept for messages instead of being printed.
#include "runtime/jit.h"

#include "runtime/group.h"
#include "runtime/support/strbuf.h"

#include <llvm-c/Core.h>
#include <llvm-c/Error.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <llvm-c/Target.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct anas_jit {
  LLVMOrcLLJITRef lljit;
  struct anas_strbuf reports; // what the session reported since the last look-up
};

static void add_error(struct anas_strbuf *buf, LLVMErrorRef error) {
  char *text = LLVMGetErrorMessage(error);
  anas_strbuf_addf(buf, "%s%s", buf->size ? "; " : "", text);
  LLVMDisposeErrorMessage(text);
}

static void report(void *data, LLVMErrorRef error) {
  struct anas_jit *jit = data;
  add_error(&jit->reports, error);
}

// Consumes the error.
static anas_status fail(struct anas_jit *jit, anas_status status, const char *what, LLVMErrorRef error) {
  add_error(&jit->reports, error);
  return anas_fail(status, "%s: %s", what, anas_strbuf_text(&jit->reports));
}

static void initialize_target(void) {
  LLVMInitializeNativeTarget();
  LLVMInitializeNativeAsmPrinter();
}

static LLVMErrorRef define_runtime(struct anas_jit *jit, LLVMOrcJITDylibRef dylib, void *scratch) {
  LLVMOrcDefinitionGeneratorRef process = NULL;
  LLVMErrorRef error = LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(
      &process, LLVMOrcLLJITGetGlobalPrefix(jit->lljit), NULL, NULL);
  if (error) return error;
  LLVMOrcJITDylibAddGenerator(dylib, process);
  // The process need not export its symbols, so ours are defined by address.
  LLVMOrcCSymbolMapPair symbols[] = {
      {.Name = LLVMOrcLLJITMangleAndIntern(jit->lljit, "anas_launch"),
       .Sym = {.Address = (LLVMOrcExecutorAddress)(uintptr_t)anas_launch,
               .Flags = {.GenericFlags = LLVMJITSymbolGenericFlagsExported | LLVMJITSymbolGenericFlagsCallable}}},
      {.Name = LLVMOrcLLJITMangleAndIntern(jit->lljit, "anas_scratch"),
       .Sym = {.Address = (LLVMOrcExecutorAddress)(uintptr_t)scratch,
               .Flags = {.GenericFlags = LLVMJITSymbolGenericFlagsExported}}},
  };
  LLVMOrcMaterializationUnitRef unit = LLVMOrcAbsoluteSymbols(symbols, sizeof symbols / sizeof *symbols);
  error = LLVMOrcJITDylibDefine(dylib, unit);
  if (error) LLVMOrcDisposeMaterializationUnit(unit);
  return error;
}

anas_status anas_jit_create(const struct anas_object *objects, int num_objects, void *scratch, struct anas_jit **out) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, initialize_target);
  struct anas_jit *jit = anas_alloc(sizeof *jit);
  LLVMErrorRef error = LLVMOrcCreateLLJIT(&jit->lljit, NULL);
  if (error) {
    jit->lljit = NULL;
    anas_status status = fail(jit, ANAS_INTERNAL, "cannot create the code loader", error);
    anas_jit_destroy(jit);
    return status;
  }
  LLVMOrcExecutionSessionSetErrorReporter(LLVMOrcLLJITGetExecutionSession(jit->lljit), report, jit);
  LLVMOrcJITDylibRef dylib = LLVMOrcLLJITGetMainJITDylib(jit->lljit);
  error = define_runtime(jit, dylib, scratch);
  for (int i = 0; !error && i < num_objects; i++) {
    char name[32];
    snprintf(name, sizeof name, "object %d", i);
    LLVMMemoryBufferRef buffer =
        LLVMCreateMemoryBufferWithMemoryRange(objects[i].data, objects[i].size, name, /*RequiresNullTerminator=*/0);
    error = LLVMOrcLLJITAddObjectFile(jit->lljit, dylib, buffer); // takes the buffer, not the bytes
  }
  if (error) {
    anas_status status = fail(jit, ANAS_CORRUPT, "cannot load compiled code", error);
    anas_jit_destroy(jit);
    return status;
  }
  *out = jit;
  return ANAS_OK;
}

void anas_jit_destroy(struct anas_jit *jit) {
  if (!jit) return;
  if (jit->lljit) {
    LLVMErrorRef error = LLVMOrcDisposeLLJIT(jit->lljit);
    if (error) LLVMConsumeError(error);
  }
  anas_strbuf_deinit(&jit->reports);
  free(jit);
}

anas_status anas_jit_lookup(struct anas_jit *jit, const char *symbol, void **out_address) {
  LLVMOrcExecutorAddress address = 0;
  anas_strbuf_clear(&jit->reports);
  LLVMErrorRef error = LLVMOrcLLJITLookup(jit->lljit, &address, symbol);
  if (error) {
    anas_status status = fail(jit, ANAS_NOT_FOUND, "cannot link", error);
    return anas_fail_context(status, "symbol '%s': ", symbol);
  }
  *out_address = (void *)(uintptr_t)address;
  return ANAS_OK;
}
