// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Speed of the kernel functions of a kernel-stage module (anas-opt --anas-train-step --anas-to-kernels) on one thread,
// one line each: kind, name, best and median milliseconds, GFLOP/s and fraction of the multiply-add peak (or GB/s of
// all operands), milliseconds to compile. Operands are put out of the caches before every run, as a whole step does.
// Arguments: MODULE [substring of kinds or names]
#include "passes/cpu/peak.h"
#include "test/unit/cpu_kernels.h"

#include <time.h>

#define RUNS 15
#define EVICT_BYTES (96 << 20)
#define HUGE_PAGE ((size_t)2 << 20)

static double thread_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static void evict(char *memory) {
  for (size_t i = 0; i < EVICT_BYTES; i += 64)
    memory[i]++;
}

// On huge pages, like the memory of a step.
static void *allocate(size_t bytes) {
  size_t page = bytes < HUGE_PAGE ? 4096 : HUGE_PAGE, size = (bytes + page - 1) / page * page;
  void *memory = aligned_alloc(page, size);
  if (!memory) abort();
  if (page == HUGE_PAGE) madvise(memory, size, MADV_HUGEPAGE);
  return memory;
}

static MlirAttribute attribute(MlirOperation op, const char *name) {
  return mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString(name));
}

static double number(MlirOperation op, const char *name) {
  MlirAttribute value = attribute(op, name);
  return mlirAttributeIsNull(value) ? 0 : mlirFloatAttrGetValueDouble(value);
}

static char *string(MlirOperation op, const char *name) {
  MlirStringRef value = mlirStringAttrGetValue(attribute(op, name));
  return strndup(value.data, value.length);
}

static void bench(MlirContext context, const struct anas_cpu_target *target, MlirOperation function, const char *kind,
                  const char *name, double peak, char *memory) {
  struct anas_strbuf text = {0};
  MlirOperation copy = mlirOperationClone(function);
  mlirOperationSetAttributeByName(copy, mlirStringRefCreateFromCString("sym_name"),
                                  mlirStringAttrGet(context, mlirStringRefCreateFromCString("k")));
  anas_operation_text(copy, &text);
  mlirOperationDestroy(copy);
  struct kernel_operand operand[KERNEL_MAX_OPERANDS];
  struct kernel_code code;
  int num;
  double start = thread_seconds();
  if (!kernel_compile(context, anas_strbuf_text(&text), target, &code, operand, &num)) exit(1);
  double compile = thread_seconds() - start, bytes = 0, seconds[RUNS];
  if (getenv("ANAS_BENCH_IR")) fputs(code.ir, stderr);
  void *pointer[KERNEL_MAX_OPERANDS];
  for (int i = 0; i < num; i++) {
    size_t size = (size_t)(operand[i].elements * operand[i].bytes);
    pointer[i] = allocate(size);
    memset(pointer[i], 0, size);
    for (int64_t j = 0; j < operand[i].elements && operand[i].is_float; j++)
      ((float *)pointer[i])[j] = 0.01f * (float)(j % 13);
    bytes += (double)size;
  }
  for (int run = 0; run < RUNS; run++) {
    evict(memory);
    start = thread_seconds();
    kernel_run(&code, pointer, num, 1);
    seconds[run] = thread_seconds() - start;
  }
  qsort(seconds, RUNS, sizeof *seconds, by_value);
  printf("%-20.20s %.10s %8.3f %8.3f ms ", kind, name, seconds[0] * 1e3, seconds[RUNS / 2] * 1e3);
  double flops = number(function, "anas.flops");
  if (strncmp(kind, "con", 3) == 0 || strncmp(kind, "dense", 5) == 0) // convolutions, contractions
    printf("%6.1f GF %5.1f %%", flops / seconds[0] / 1e9, flops / seconds[0] / 1e9 / peak * 100);
  else
    printf("%6.1f GB/s    ", bytes / seconds[0] / 1e9);
  printf(" compile %5.1f ms range %lld\n", compile * 1e3, (long long)code.iterations[0]);
  fflush(stdout);
  for (int i = 0; i < num; i++)
    free(pointer[i]);
  kernel_release(&code);
  anas_strbuf_deinit(&text);
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: %s MODULE [SUBSTRING]\n", argv[0]);
    return 1;
  }
  MlirContext context = anas_context_create(false);
  struct anas_cpu_target target;
  MlirModule module;
  if (anas_cpu_target_init(NULL, &target) != ANAS_OK || anas_parse_file(context, argv[1], &module) != ANAS_OK) {
    fprintf(stderr, "%s\n", anas_error_message());
    return 1;
  }
  double peak = anas_fma_peak(&target);
  char *memory = calloc(1, EVICT_BYTES);
  printf("peak %.1f GFLOP/s\n", peak);
  for (MlirOperation op = mlirBlockGetFirstOperation(mlirModuleGetBody(module)); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op)) {
    if (mlirAttributeIsNull(attribute(op, "anas.kernel"))) continue;
    char *kind = string(op, "anas.kernel"), *name = string(op, "sym_name");
    if (argc < 3 || strstr(kind, argv[2]) || strstr(name, argv[2]))
      bench(context, &target, op, kind, name, peak, memory);
    free(kind);
    free(name);
  }
  free(memory);
  mlirModuleDestroy(module);
  anas_cpu_target_deinit(&target);
  mlirContextDestroy(context);
  return 0;
}
