// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From an architecture module to a compiled training program.
#ifndef ANAS_PASSES_COMPILE_H
#define ANAS_PASSES_COMPILE_H

#include "passes/lower/lower.h"
#include "runtime/program.h"

#include <mlir-c/IR.h>

struct anas_compiled_kernel { // one kernel function of a compilation
  const char *symbol, *kind;
  const char *plan; // algorithm and tile; "" for stock code
  bool cached;
  double codegen_seconds, lowering_seconds, llvm_seconds; // of processor time; 0 if cached
  size_t object_bytes;
  double flops, bytes; // a call
  int calls;           // a training step
};

// Where the time of a compilation went. Zero it before, anas_compile_report_deinit it after.
struct anas_compile_report {
  struct anas_arena memory;
  struct anas_compiled_kernel *kernels;
  int num_kernels, cache_hits, cache_misses, threads;
  char cpu[32];
  int lanes;
  // Wall clock of the stages, one after the other; train_step and to_kernels only of anas_compile.
  double train_step_seconds, to_kernels_seconds, read_seconds, look_up_seconds, tune_seconds, build_seconds, seconds;
};
void anas_compile_report_deinit(struct anas_compile_report *report);
// One JSON object to a file, null: standard output. model: a name to print, may be null.
anas_status anas_compile_report_write(const struct anas_compile_report *report, const char *model, const char *path);

// What a process needs beside the arena, the parameters and the data set: libraries, heap, loaded code.
#define ANAS_PROCESS_BYTES ((int64_t)80000000)

struct anas_compile_options {
  int64_t batch;
  struct anas_optimizer optimizer;
  enum anas_program_kind program;
  const char *cpu;       // LLVM processor name, null: the host
  const char *precision; // of the operands of contractions: "f32", "bf16", "bf16-always"; null: f32
  bool no_winograd;      // 3x3 convolutions by direct sums everywhere
  bool reference;        // stock loop lowering instead of our kernels (slow, for tests)
  const char *cache;     // object cache directory; null: the default place
  bool no_cache;
  int threads; // compile threads; 0: all processors
  bool tune;   // measure alternative plans of contractions and keep the fastest in the cache; see passes/lower/tune.h
  struct anas_compile_report *report; // null: none
  // Most bytes of arena and parameters (anas_memory_budget), 0: no limit. Values are computed again instead of kept
  // until the step fits; ANAS_NO_MEMORY if it does not.
  int64_t memory_limit;
};

// What a limit on the memory of the process leaves for arena and parameters beside so many bytes of data.
// ANAS_NO_MEMORY if that is nothing.
anas_status anas_memory_budget(int64_t limit, size_t data_bytes, int64_t *out_budget);

// The module is not modified. The context of the module must not be in use elsewhere meanwhile.
anas_status anas_compile(MlirModule architecture, const struct anas_compile_options *options,
                         struct anas_program_image *out_image);

// The second half of anas_compile, for a module that is already at the kernel stage (passes/lower/lower.h); batch and
// optimizer options are not used.
anas_status anas_compile_kernels(MlirModule kernels, const struct anas_compile_options *options,
                                 struct anas_program_image *out_image);

// How many times as fast as one thread so many threads make a training step, as its plan promises (speedup.c): a
// machine that does nothing else, with memory as fast for each thread as for one.
double anas_predict_speedup(const struct anas_program_image *image, int threads);

#endif
