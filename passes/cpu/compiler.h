// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to passes/cpu: the steps of compilation with what they keep from one kernel function to the next.
#ifndef ANAS_PASSES_CPU_COMPILER_H
#define ANAS_PASSES_CPU_COMPILER_H

#include "passes/cpu/cpu.h"
#include "passes/pass.h"

#include <llvm-c/TargetMachine.h>

// Passes between codegen (or the kernel stage: reference) and the LLVM dialect; to_llvm.c.
const char *anas_cpu_lowering_text(bool reference);
anas_status anas_cpu_lower(MlirModule module, bool reference, struct anas_pipeline *pipeline);

// LLVM's code generator; object.c. The machine is LLVMDisposeTargetMachine'd by the caller.
anas_status anas_cpu_create_machine(const struct anas_cpu_target *target, LLVMTargetMachineRef *out);
anas_status anas_cpu_emit(MlirModule llvm_module, LLVMTargetMachineRef machine, struct anas_object *out_object);

#endif
