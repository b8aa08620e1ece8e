// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Processors as the emitters see them: vector width and number of vector registers.
#include "passes/cpu/cpu.h"

#include "runtime/support/nearest.h"

#include <llvm-c/Core.h>
#include <llvm-c/IRReader.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void initialize_target(void) {
  LLVMInitializeNativeTarget();
  LLVMInitializeNativeAsmPrinter();
}

// Vector width: what LLVM makes of a 512-bit fused multiply-add. Processors without that instruction get 128-bit
// vectors and separate multiplications and additions.
// AMD's processors start as many products of pairs as of f32 (Zen 5: 446 and 222 GFLOP/s), Intel's one for four
// (Emerald Rapids: 91 and 179); they have tiles (AMX) for bf16 instead.
static double bf16_speed(const char *cpu) {
  return strncmp(cpu, "znver", 5) == 0 ? 2 : 0.5;
}

// Products of bf16 come with the rounding to it that has an EVEX prefix; some processors have only the VEX one.
static void classify(const char *assembly, struct anas_cpu_target *target) {
  bool fused = strstr(assembly, "vfmadd") != NULL;
  target->lanes = fused && strstr(assembly, "%zmm") ? 16 : fused && strstr(assembly, "%ymm") ? 8 : 4;
  target->registers = target->lanes == 16 ? 32 : 16;
  bool bf16 = strstr(assembly, "vcvtneps2bf16") && !strstr(assembly, "{vex}");
  target->bf16_speed = bf16 ? bf16_speed(target->cpu) : 0;
}

static anas_status probe(struct anas_cpu_target *target) {
  static const char text[] = "declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)\n"
                             "define <16 x float> @f(<16 x float> %a, <16 x float> %b, <16 x float> %c) {\n"
                             "  %r = call <16 x float> @llvm.fma.v16f32(<16 x float> %a, <16 x float> %b, "
                             "<16 x float> %c)\n"
                             "  ret <16 x float> %r\n}\n"
                             "define <16 x bfloat> @g(<16 x float> %a) {\n"
                             "  %r = fptrunc <16 x float> %a to <16 x bfloat>\n"
                             "  ret <16 x bfloat> %r\n}\n";
  char *triple = LLVMGetDefaultTargetTriple(), *message = NULL;
  LLVMTargetRef llvm_target;
  LLVMTargetMachineRef machine = NULL;
  if (LLVMGetTargetFromTriple(triple, &llvm_target, &message) == 0)
    machine = LLVMCreateTargetMachine(llvm_target, triple, target->cpu, target->features, LLVMCodeGenLevelDefault,
                                      LLVMRelocPIC, LLVMCodeModelDefault);
  LLVMDisposeMessage(message);
  LLVMDisposeMessage(triple);
  if (!machine)
    return anas_fail(ANAS_UNSUPPORTED, "LLVM has no code generator for processor '%s' of this machine's architecture",
                     target->cpu);
  LLVMContextRef context = LLVMContextCreate();
  LLVMModuleRef module = NULL;
  LLVMMemoryBufferRef input = LLVMCreateMemoryBufferWithMemoryRange(text, sizeof text - 1, "probe", 1), output = NULL;
  anas_status status = anas_fail(ANAS_INTERNAL, "probing processor '%s' failed", target->cpu);
  message = NULL;
  if (LLVMParseIRInContext(context, input, &module, &message) == 0 &&
      LLVMTargetMachineEmitToMemoryBuffer(machine, module, LLVMAssemblyFile, &message, &output) == 0) {
    char *assembly = strndup(LLVMGetBufferStart(output), LLVMGetBufferSize(output));
    classify(assembly ? assembly : "", target);
    free(assembly);
    LLVMDisposeMemoryBuffer(output);
    status = ANAS_OK;
  }
  LLVMDisposeMessage(message);
  if (module) LLVMDisposeModule(module);
  LLVMContextDispose(context);
  LLVMDisposeTargetMachine(machine);
  return status;
}

static const char *const processors[] = {
    "x86-64",        "x86-64-v2",  "x86-64-v3",      "x86-64-v4",      "nehalem",        "westmere",
    "sandybridge",   "ivybridge",  "haswell",        "broadwell",      "skylake",        "skylake-avx512",
    "cascadelake",   "cooperlake", "icelake-client", "icelake-server", "rocketlake",     "tigerlake",
    "alderlake",     "raptorlake", "meteorlake",     "arrowlake",      "sapphirerapids", "emeraldrapids",
    "graniterapids", "znver1",     "znver2",         "znver3",         "znver4",         "znver5",
};
#define NUM_PROCESSORS (sizeof processors / sizeof *processors)

// LLVM only warns on stderr about a processor it does not know, so the name is looked up first.
static anas_status check_processor(const char *cpu) {
  struct anas_nearest nearest = anas_nearest_make(cpu, strlen(cpu));
  anas_nearest_offer(&nearest, "native");
  for (size_t i = 0; i < NUM_PROCESSORS; i++) {
    if (strcmp(cpu, processors[i]) == 0) return ANAS_OK;
    anas_nearest_offer(&nearest, processors[i]);
  }
  char hint[128];
  return anas_fail(ANAS_INVALID, "unknown processor '%s'%s", cpu,
                   nearest.best ? anas_nearest_hint(&nearest, hint)
                                : "; use native or an LLVM name such as x86-64-v3, x86-64-v4, haswell or znver5");
}

anas_status anas_cpu_parse(const char *option, const char *text, bool runs, const char **out) {
  if (strcmp(text, "native") == 0) {
    *out = NULL;
    return ANAS_OK;
  }
  struct anas_cpu_target host, target;
  anas_status status = anas_cpu_target_init(text, &target);
  if (status != ANAS_OK) return anas_fail_context(status, "%s: ", option);
  int lanes = target.lanes;
  anas_cpu_target_deinit(&target);
  if (runs) {
    ANAS_RETURN_IF_ERROR(anas_cpu_target_init(NULL, &host));
    if (host.lanes < lanes)
      status = anas_fail(ANAS_UNSUPPORTED, "%s: code for '%s' has %d-bit vectors, which this processor (%s) has not",
                         option, text, 32 * lanes, host.cpu);
    anas_cpu_target_deinit(&host);
  }
  if (status == ANAS_OK) *out = text;
  return status;
}

anas_status anas_cpu_target_init(const char *cpu, struct anas_cpu_target *out) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, initialize_target);
  struct anas_cpu_target target = {.winograd = ANAS_WINOGRAD_AUTO};
  if (cpu) {
    ANAS_RETURN_IF_ERROR(check_processor(cpu));
    target.cpu = anas_strdup(cpu);
    target.features = anas_strdup("");
  } else {
    char *name = LLVMGetHostCPUName(), *features = LLVMGetHostCPUFeatures();
    target.cpu = anas_strdup(name);
    target.features = anas_strdup(features);
    LLVMDisposeMessage(name);
    LLVMDisposeMessage(features);
  }
  anas_status status = probe(&target);
  if (status != ANAS_OK) {
    anas_cpu_target_deinit(&target);
    return status;
  }
  *out = target;
  return ANAS_OK;
}

anas_status anas_cpu_target_set_precision(struct anas_cpu_target *target, const char *precision) {
  static const char *const names[] = {
      [ANAS_BF16_OFF] = "f32", [ANAS_BF16_AUTO] = "bf16", [ANAS_BF16_ALWAYS] = "bf16-always"};
  int found = precision ? -1 : ANAS_BF16_OFF;
  for (int i = 0; i < 3 && found < 0; i++)
    if (!strcmp(precision, names[i])) found = i;
  if (found < 0)
    return anas_fail(ANAS_INVALID, "unknown precision '%s'; f32, bf16 and bf16-always are known for processors",
                     precision);
  if (found != ANAS_BF16_OFF && target->bf16_speed == 0)
    return anas_fail(ANAS_UNSUPPORTED,
                     "%s needs a processor with the feature avx512bf16 (vdpbf16ps), which '%s' has not", precision,
                     target->cpu);
  target->bf16 = (enum anas_bf16)found;
  return ANAS_OK;
}

void anas_cpu_target_deinit(struct anas_cpu_target *target) {
  free((char *)target->cpu);
  free((char *)target->features);
  *target = (struct anas_cpu_target){0};
}
