// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Measures the multiply-add peak with a kernel function of independent accumulators, through the same lowering and
// loader as every other kernel function.
#include "passes/cpu/peak.h"

#include "dialect/context.h"
#include "runtime/jit.h"
#include "runtime/team.h"

#include <stdlib.h>
#include <time.h>

// Enough to cover the latency of two 5-cycle units, and no more than 16 registers hold.
#define ACCUMULATORS 12
#define MIN_SECONDS 1e-3
#define ROUNDS 7

static void write_loop(struct anas_strbuf *text, int lanes) {
  anas_strbuf_addf(text,
                   "func.func private @k_fma_peak(%%m: memref<%dx%dxf32>, %%begin: index, %%end: index) attributes "
                   "{anas.kernel = \"fma_peak\", anas.range = 1 : i64, anas.parallel = false} {\n"
                   "%%c0 = arith.constant 0 : index\n%%c1 = arith.constant 1 : index\n",
                   ACCUMULATORS, lanes);
  for (int i = 0; i < ACCUMULATORS; i++)
    anas_strbuf_addf(text,
                     "%%r%d = arith.constant %d : index\n"
                     "%%x%d = vector.load %%m[%%r%d, %%c0] : memref<%dx%dxf32>, vector<%dxf32>\n",
                     i, i, i, i, ACCUMULATORS, lanes, lanes);
  anas_strbuf_addf(text, "%%l:%d = scf.for %%i = %%begin to %%end step %%c1 iter_args(", ACCUMULATORS);
  for (int i = 0; i < ACCUMULATORS; i++)
    anas_strbuf_addf(text, "%s%%a%d = %%x%d", i ? ", " : "", i, i);
  anas_strbuf_adds(text, ") -> (");
  for (int i = 0; i < ACCUMULATORS; i++)
    anas_strbuf_addf(text, "%svector<%dxf32>", i ? ", " : "", lanes);
  anas_strbuf_adds(text, ") {\n");
  for (int i = 0; i < ACCUMULATORS; i++)
    anas_strbuf_addf(text, "%%f%d = vector.fma %%a%d, %%x0, %%x1 : vector<%dxf32>\n", i, i, lanes);
  anas_strbuf_adds(text, "scf.yield ");
  for (int i = 0; i < ACCUMULATORS; i++)
    anas_strbuf_addf(text, "%s%%f%d", i ? ", " : "", i);
  anas_strbuf_adds(text, " : ");
  for (int i = 0; i < ACCUMULATORS; i++)
    anas_strbuf_addf(text, "%svector<%dxf32>", i ? ", " : "", lanes);
  anas_strbuf_adds(text, "\n}\n");
  for (int i = 0; i < ACCUMULATORS; i++)
    anas_strbuf_addf(text, "vector.store %%l#%d, %%m[%%r%d, %%c0] : memref<%dx%dxf32>, vector<%dxf32>\n", i, i,
                     ACCUMULATORS, lanes, lanes);
  anas_strbuf_adds(text, "return\n}\n");
}

static anas_status compile_loop(const struct anas_cpu_target *target, struct anas_object *out_object) {
  MlirContext context = anas_context_create(false);
  struct anas_strbuf text = {0};
  write_loop(&text, target->lanes);
  MlirModule module;
  anas_status status = anas_parse(context, text.data, text.size, "fma_peak", &module);
  if (status == ANAS_OK) {
    status = anas_cpu_to_llvm(module);
    if (status == ANAS_OK) status = anas_cpu_emit_object(module, target, out_object);
    mlirModuleDestroy(module);
  }
  anas_strbuf_deinit(&text);
  mlirContextDestroy(context);
  return status;
}

// Time of this thread, not of the clock on the wall: other programs should not lower the peak.
static double thread_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double run_loop(anas_kernel_range loop, int lanes, int64_t iterations) {
  _Alignas(64) float accumulators[ACCUMULATORS * 64];
  for (int i = 0; i < ACCUMULATORS * lanes; i++)
    accumulators[i] = 0.5f; // x -> x/2 + 1/2 stays in [1/2, 1]
  void *operands[] = {accumulators};
  double start = thread_seconds();
  loop(operands, 0, iterations);
  return thread_seconds() - start;
}

double anas_fma_peak(const struct anas_cpu_target *target) {
  if (target->lanes < 1 || target->lanes > 64) {
    anas_fail(ANAS_INVALID, "peak: %d lanes a vector, expected 1 to 64", target->lanes);
    return 0;
  }
  struct anas_object object = {0};
  struct anas_jit *jit = NULL;
  void *address = NULL;
  double rate = 0;
  anas_status status = compile_loop(target, &object);
  if (status == ANAS_OK) status = anas_jit_create(&object, 1, NULL, &jit);
  if (status == ANAS_OK) status = anas_jit_lookup(jit, "k_fma_peak_range", &address);
  if (status == ANAS_OK) {
    anas_kernel_range loop = (anas_kernel_range)(uintptr_t)address;
    int64_t iterations = 1024;
    while (run_loop(loop, target->lanes, iterations) < MIN_SECONDS && iterations < INT64_C(1) << 40)
      iterations *= 2;
    double best = run_loop(loop, target->lanes, iterations);
    for (int i = 1; i < ROUNDS; i++) {
      double seconds = run_loop(loop, target->lanes, iterations);
      if (seconds < best) best = seconds;
    }
    rate = 2e-9 * ACCUMULATORS * target->lanes * (double)iterations / best;
  }
  anas_jit_destroy(jit);
  free(object.data);
  return rate;
}
