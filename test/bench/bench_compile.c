// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Time from an architecture to a program that can run, as JSON lines, seconds (cpu: of processor time, all threads):
// with an empty object cache and with a full one. Arguments: model files.
#include "dialect/context.h"
#include "passes/lower/compile.h"
#include "passes/lower/lower.h"
#include "runtime/support/file.h"
#include "runtime/support/strbuf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REPEATS 5

struct times {
  double parse, train_step, to_kernels, compile, load, total, cpu;
  int hits, misses;
};

static void check(anas_status status) {
  if (status == ANAS_OK) return;
  fprintf(stderr, "bench_compile: %s\n", anas_error_message());
  exit(1);
}

static double processor_time(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double lap(double *since) {
  double now = anas_now(), passed = now - *since;
  *since = now;
  return passed;
}

// As a search does it: the context exists, everything else starts from the text.
static struct times run(MlirContext context, const char *text, size_t size, const char *cache) {
  struct anas_compile_options options = {.batch = 128, .momentum = 0.9, .weight_decay = 1e-4, .cache = cache};
  struct times t = {0};
  double start = anas_now(), at = start, cpu = processor_time();
  MlirModule module;
  check(anas_parse(context, text, size, "model", &module));
  t.parse = lap(&at);
  check(anas_build_train_step(module, options.batch, options.momentum, options.weight_decay));
  t.train_step = lap(&at);
  check(anas_lower_to_kernels(module));
  t.to_kernels = lap(&at);
  struct anas_program_image image;
  check(anas_compile_kernels(module, &options, &image));
  t.hits = image.cache_hits;
  t.misses = image.cache_misses;
  t.compile = lap(&at);
  struct anas_program *program;
  check(anas_program_load(&image, &program));
  t.load = lap(&at);
  t.total = at - start;
  t.cpu = processor_time() - cpu;
  anas_program_destroy(program);
  mlirModuleDestroy(module);
  return t;
}

static void print(const char *model, const char *what, const struct times *t) {
  printf("{\"model\":\"%s\",\"cache\":\"%s\",\"parse\":%.4f,\"train_step\":%.4f,\"to_kernels\":%.4f,\"compile\":%.4f,"
         "\"load\":%.4f,\"total\":%.4f,\"cpu\":%.4f,\"hits\":%d,\"misses\":%d}\n",
         model, what, t->parse, t->train_step, t->to_kernels, t->compile, t->load, t->total, t->cpu, t->hits,
         t->misses);
  fflush(stdout);
}

static void bench(MlirContext context, const char *path) {
  char *text, directory[] = "/tmp/anas-bench-compile-XXXXXX";
  size_t size;
  check(anas_file_read(path, &text, &size));
  if (!mkdtemp(directory)) exit(1);
  struct times t = run(context, text, size, directory), best = {.cpu = 1e9};
  print(path, "cold", &t);
  for (int i = 0; i < REPEATS; i++) {
    t = run(context, text, size, directory);
    if (t.cpu < best.cpu) best = t;
  }
  print(path, "warm", &best);
  char *command = anas_format("rm -r '%s'", directory);
  if (system(command)) exit(1);
  free(command);
  free(text);
}

int main(int argc, char **argv) {
  MlirContext context = anas_context_create(false);
  for (int i = 1; i < argc; i++)
    bench(context, argv[i]);
  mlirContextDestroy(context);
  return 0;
}
