// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compilation of kernel functions one after the other: emitters, passes to the LLVM dialect, LLVM.
#include "passes/cpu/compiler.h"

#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <stdlib.h>

struct anas_cpu_compiler {
  const struct anas_cpu_target *target;
  bool reference;
  struct anas_pipeline *pipeline;
  LLVMTargetMachineRef machine;
};

anas_status anas_cpu_compiler_create(MlirContext context, const struct anas_cpu_target *target, bool reference,
                                     struct anas_cpu_compiler **out) {
  struct anas_cpu_compiler *compiler = anas_alloc(sizeof *compiler);
  *compiler = (struct anas_cpu_compiler){.target = target, .reference = reference};
  anas_status status = anas_pipeline_create(context, anas_cpu_lowering_text(reference), &compiler->pipeline);
  if (status == ANAS_OK) status = anas_cpu_create_machine(target, &compiler->machine);
  if (status != ANAS_OK) {
    anas_cpu_compiler_destroy(compiler);
    return status;
  }
  *out = compiler;
  return ANAS_OK;
}

void anas_cpu_compiler_destroy(struct anas_cpu_compiler *compiler) {
  if (!compiler) return;
  anas_pipeline_destroy(compiler->pipeline);
  if (compiler->machine) LLVMDisposeTargetMachine(compiler->machine);
  free(compiler);
}

anas_status anas_cpu_compile(struct anas_cpu_compiler *compiler, MlirModule kernel,
                             const struct anas_cpu_choice *choice, struct anas_object *out_object,
                             struct anas_cpu_seconds *out_seconds) {
  struct anas_cpu_target target = *compiler->target;
  target.choice = *choice;
  if (choice->direct) target.winograd = ANAS_WINOGRAD_OFF;
  double start = anas_thread_time();
  if (!compiler->reference) ANAS_RETURN_IF_ERROR(anas_cpu_codegen(kernel, &target));
  double generated = anas_thread_time();
  ANAS_RETURN_IF_ERROR(anas_cpu_lower(kernel, compiler->reference, compiler->pipeline));
  double lowered = anas_thread_time();
  ANAS_RETURN_IF_ERROR(anas_cpu_emit(kernel, compiler->machine, out_object));
  *out_seconds = (struct anas_cpu_seconds){generated - start, lowered - generated, anas_thread_time() - lowered};
  return ANAS_OK;
}
