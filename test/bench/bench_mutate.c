// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Speed of complete block mutations on one core: select, infer, mutate properties, synthesise, splice, verify, hash.
// Every mutation starts from the same model in memory, with another seed. One JSON line: mutations a second of
// processor time, percentiles in microseconds, failures, candidates of the synthesis, and instructions a mutation where
// the kernel lets us count them (else null: run under `valgrind --tool=callgrind`, which counts them exactly).
// Arguments: [MODEL [COUNT [SEED [PRESET]]]]; default resnet34 2000 1 cifar10.
#include "dialect/zoo.h"
#include "passes/mutate/mutate.h"
#include "runtime/support/memory.h"

#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double thread_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

// Counts user-space instructions of this thread; -1 if that is not permitted or not possible here.
static int open_counter(void) {
  struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE,
                                 .size = sizeof attr,
                                 .config = PERF_COUNT_HW_INSTRUCTIONS,
                                 .exclude_kernel = 1,
                                 .exclude_hv = 1};
  return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

int main(int argc, char **argv) {
  const char *name = argc > 1 ? argv[1] : "resnet34";
  int count = argc > 2 ? atoi(argv[2]) : 2000;
  uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
  struct anas_model *parent;
  if (count < 1 || anas_zoo_build(name, 32, 32, 3, 10, &parent) != ANAS_OK) {
    fprintf(stderr, "%s\n", count < 1 ? "the count must be positive" : anas_error_message());
    return 1;
  }
  struct anas_mutation_options options = anas_mutation_defaults();
  options.duplicate_probability = options.delete_probability = 0;
  double *seconds = anas_calloc((size_t)count, sizeof *seconds), total = 0;
  int64_t candidates = 0, attempts = 0, failed = 0;
  int counter = open_counter();
  long long instructions = 0;
  for (int i = 0; i < count; i++) {
    struct anas_rng rng = anas_rng_make(seed + (uint64_t)i);
    struct anas_mutation_report report;
    struct anas_model *child;
    double start = thread_seconds();
    anas_status status = anas_mutate(parent, &options, &rng, &child, &report);
    if (status == ANAS_OK) anas_model_destroy(child);
    seconds[i] = thread_seconds() - start;
    total += seconds[i];
    failed += status != ANAS_OK;
    candidates += status == ANAS_OK ? report.candidates : 0;
    attempts += status == ANAS_OK ? report.attempts : options.retries;
  }
  if (counter >= 0 && read(counter, &instructions, sizeof instructions) != sizeof instructions) instructions = 0;
  qsort(seconds, (size_t)count, sizeof *seconds, by_value);
  printf("{\"bench\":\"mutate\",\"model\":\"%s\",\"seed\":%llu,\"mutations\":%d,\"failed\":%lld,\"attempts\":%lld,"
         "\"candidates\":%lld,\"per_second\":%.0f,\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,"
         "\"instructions_per_mutation\":",
         name, (unsigned long long)seed, count, (long long)failed, (long long)attempts, (long long)candidates,
         count / total, seconds[count / 2] * 1e6, seconds[(int)(count * 0.9)] * 1e6, seconds[(int)(count * 0.99)] * 1e6,
         seconds[count - 1] * 1e6);
  if (instructions > 0)
    printf("%lld}\n", instructions / count);
  else
    printf("null}\n");
  free(seconds);
  anas_model_destroy(parent);
  return 0;
}
