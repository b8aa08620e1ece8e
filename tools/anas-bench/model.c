// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-bench model: what a network costs: compile time with an empty and with a full cache, training steps with and
// without data loading, memory. Each compilation runs in a process of its own, as a training run does.
#include "tools/anas-bench/bench.h"

#include "dialect/context.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/team.h"
#include "runtime/trainer.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

// What the process that compiles with an empty cache hands over.
struct cold {
  double compile_seconds, runnable_seconds;
};

// From a name to a program that can run. *out_seconds: the whole way.
static anas_status prepare(const struct options *options, const char *model, const char *cache,
                           struct anas_program **out, double *out_seconds) {
  double start = anas_now();
  MlirContext context = anas_context_create(false);
  MlirModule module;
  struct anas_program_image image;
  struct anas_compile_options compile = options_compile(options);
  compile.cache = cache;
  compile.no_cache = false;
  anas_status status = load_model(options, model, context, &module);
  if (status == ANAS_OK) {
    status = anas_compile(module, &compile, &image);
    mlirModuleDestroy(module);
  }
  mlirContextDestroy(context);
  if (status == ANAS_OK) status = anas_program_load(&image, out);
  *out_seconds = anas_now() - start;
  return status;
}

// ---- processes

// Runs body in a child; ANAS_INTERNAL if it ended otherwise than by returning. The child's own failure is printed
// there.
static anas_status in_child(anas_status (*body)(void *data), void *data) {
  fflush(NULL);
  anas_team_shutdown();
  pid_t child = fork();
  if (child < 0) return anas_fail(ANAS_IO, "cannot start a process: %s", strerror(errno));
  if (child == 0) {
    anas_status status = body(data);
    if (status != ANAS_OK) fprintf(stderr, "anas-bench: error: %s\n", anas_error_message());
    fflush(NULL);
    _exit(status == ANAS_OK ? 0 : 1);
  }
  int result;
  while (waitpid(child, &result, 0) < 0)
    if (errno != EINTR) return anas_fail(ANAS_IO, "waiting for a process: %s", strerror(errno));
  if (WIFEXITED(result) && WEXITSTATUS(result) == 0) return ANAS_OK;
  return WIFEXITED(result) ? anas_fail(ANAS_INVALID, "the measurement failed")
                           : anas_fail(ANAS_INTERNAL, "the measurement was ended by signal %d", WTERMSIG(result));
}

// The resident peak since the last reset, which a forked process needs: it starts with what its parent had.
static void reset_peak(void) {
  malloc_trim(0);
  FILE *file = fopen("/proc/self/clear_refs", "w");
  if (!file) return;
  fputs("5", file);
  fclose(file);
}

static int64_t peak_bytes(void) {
  char line[256];
  long long kilobytes = -1;
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file))
    if (sscanf(line, "VmHWM: %lld kB", &kilobytes) == 1) break;
  if (file) fclose(file);
  return kilobytes * 1024;
}

// ---- measurements

// Bytes up to the last one that a step writes: fills the arena with a pattern and looks where it has survived. With two
// patterns no value can pass for one.
static anas_status touched_bytes(struct anas_program *program, size_t *out) {
  size_t bytes = anas_program_info(program)->arena_bytes, touched = 0;
  unsigned char *arena = anas_program_arena(program);
  for (int pattern = 0x5a; pattern <= 0x5b; pattern++) {
    memset(arena, pattern, bytes);
    ANAS_RETURN_IF_ERROR(start_program(program));
    anas_program_train_step(program);
    size_t end = bytes;
    while (end > touched && arena[end - 1] == pattern)
      end--;
    touched = end;
  }
  *out = touched;
  return ANAS_OK;
}

static double step_seconds(struct anas_program *program, int64_t steps) {
  struct samples seconds = {0};
  for (int64_t i = -2; i < steps; i++) {
    double start = anas_now();
    anas_program_train_step(program);
    if (i >= 0) samples_add(&seconds, anas_now() - start);
  }
  double median = samples_median(&seconds);
  samples_deinit(&seconds);
  return median;
}

static anas_status with_data(const struct options *options, struct anas_program *program, double *out_rate) {
  const struct anas_program_image *info = anas_program_info(program);
  struct anas_dataset_options dataset_options = {
      .directory = options->data, .validation_count = info->batch, .height = info->height, .width = info->width};
  struct anas_train_options train = {
      .epochs = 1000, .max_steps = options->steps + 1, .learning_rate = 1e-3, .augment = true};
  struct anas_dataset *dataset;
  struct anas_train_result result = {0};
  ANAS_RETURN_IF_ERROR(anas_dataset_open(options->dataset, &dataset_options, &dataset));
  anas_status status = anas_train(program, dataset, &train, NULL, NULL, &result);
  anas_dataset_close(dataset);
  *out_rate = result.images_per_second;
  return status;
}

// ---- one network

struct job {
  const struct options *options;
  const char *model, *cache;
  int pipe[2]; // from the cold process
};

static anas_status cold_process(void *data) {
  const struct job *job = data;
  struct anas_program *program;
  struct cold cold;
  ANAS_RETURN_IF_ERROR(prepare(job->options, job->model, job->cache, &program, &cold.runnable_seconds));
  cold.compile_seconds = anas_program_info(program)->compile_seconds;
  anas_program_destroy(program);
  if (write(job->pipe[1], &cold, sizeof cold) != sizeof cold)
    return anas_fail(ANAS_IO, "a pipe between processes broke");
  return ANAS_OK;
}

static anas_status warm_process(void *data) {
  const struct job *job = data;
  struct anas_program *program;
  struct cold cold;
  double runnable, rate = 0;
  if (read(job->pipe[0], &cold, sizeof cold) != sizeof cold)
    return anas_fail(ANAS_IO, "a pipe between processes broke");
  reset_peak();
  ANAS_RETURN_IF_ERROR(prepare(job->options, job->model, job->cache, &program, &runnable));
  const struct anas_program_image *info = anas_program_info(program);
  anas_status status = start_program(program);
  double step = status == ANAS_OK ? step_seconds(program, job->options->steps) : 0;
  int64_t peak = peak_bytes(); // data sets are not part of the plan
  if (status == ANAS_OK && job->options->dataset) status = with_data(job->options, program, &rate);
  size_t touched = 0;
  if (status == ANAS_OK) status = touched_bytes(program, &touched);
  if (status == ANAS_OK) {
    char *name = model_name(job->model);
    json_t *line =
        json_pack("{s:s, s:s, s:I, s:i, s:f, s:f}", "bench", "model", "model", name, "batch", (json_int_t)info->batch,
                  "threads", anas_team_size(), "images_per_second", (double)info->batch / step, "step_ms", step * 1e3);
    json_object_set_new(line, "images_per_second_with_data", json_rate(rate));
    json_object_set_new(line, "compile_seconds_cold", json_real(cold.compile_seconds));
    json_object_set_new(line, "compile_seconds_warm", json_real(info->compile_seconds));
    json_object_set_new(line, "runnable_seconds_cold", json_real(cold.runnable_seconds));
    json_object_set_new(line, "runnable_seconds_warm", json_real(runnable));
    json_object_set_new(line, "functions", json_integer(info->num_objects));
    json_object_set_new(line, "cache_hits", json_integer(info->cache_hits));
    json_object_set_new(line, "params_bytes", json_integer((json_int_t)info->params_bytes));
    json_object_set_new(line, "arena_bytes", json_integer((json_int_t)info->arena_bytes));
    json_object_set_new(line, "arena_bytes_touched", json_integer((json_int_t)touched));
    json_object_set_new(line, "planned_bytes", json_integer((json_int_t)(info->arena_bytes + info->params_bytes)));
    json_object_set_new(line, "process_peak_bytes", json_integer(peak));
    json_object_set_new(line, "load", json_real(load_average()));
    print_json(line);
    free(name);
  }
  anas_program_destroy(program);
  anas_team_shutdown();
  return status;
}

static anas_status bench_model(const struct options *options, const char *model) {
  struct job job = {.options = options, .model = model};
  char *cache;
  ANAS_RETURN_IF_ERROR(scratch_create(&cache));
  job.cache = cache;
  anas_status status = pipe(job.pipe) ? anas_fail(ANAS_IO, "cannot create a pipe: %s", strerror(errno)) : ANAS_OK;
  if (status == ANAS_OK) {
    status = in_child(cold_process, &job);
    if (status == ANAS_OK) status = in_child(warm_process, &job);
    close(job.pipe[0]);
    close(job.pipe[1]);
  }
  scratch_remove(cache);
  return status;
}

static anas_status run(const struct options *options) {
  for (int i = 0; i < options->num_models; i++)
    if (!strcmp(options->models[i], "-"))
      return anas_fail(ANAS_INVALID, "anas-bench model reads a network twice; give a file instead of standard input");
  ANAS_RETURN_IF_ERROR(print_machine(options, NULL));
  for (int i = 0; i < options->num_models; i++)
    ANAS_RETURN_IF_ERROR(bench_model(options, options->models[i]));
  return ANAS_OK;
}

const struct command command_model = {
    .name = "model",
    .summary = "training steps, compile time and memory of networks",
    .needs_model = true,
    .run = run,
};
