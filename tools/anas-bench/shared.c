// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the commands share: models, the machine, measurements, JSON.
#include "tools/anas-bench/bench.h"

#include "dialect/context.h"
#include "dialect/zoo.h"
#include "passes/cpu/peak.h"
#include "runtime/init.h"
#include "runtime/profile.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/team.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

// ---- JSON

void print_json(json_t *object) {
  char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(6));
  json_decref(object);
  puts(text ? text : "{}");
  fflush(stdout);
  free(text);
}

json_t *json_rate(double value) {
  return value > 0 ? json_real(value) : json_null();
}

// ---- measurements

void samples_add(struct samples *samples, double value) {
  samples->value = anas_grow(samples->value, samples->count, &samples->capacity, sizeof *samples->value);
  samples->value[samples->count++] = value;
}

double samples_median(struct samples *samples) {
  return anas_median(samples->value, samples->count);
}

void samples_deinit(struct samples *samples) {
  free(samples->value);
  *samples = (struct samples){0};
}

double load_average(void) {
  double load = -1;
  return getloadavg(&load, 1) == 1 ? load : -1;
}

int64_t peak_rss(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (int64_t)usage.ru_maxrss * 1024;
}

// ---- memory

#define HUGE_PAGE ((size_t)2 << 20)

static size_t mapped_size(size_t bytes) {
  return (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

void *huge_alloc(size_t bytes) {
  void *memory = aligned_alloc(HUGE_PAGE, mapped_size(bytes ? bytes : 1));
  if (!memory) return NULL;
  madvise(memory, mapped_size(bytes), MADV_HUGEPAGE);
  memset(memory, 0, bytes);
  return memory;
}

void huge_free(void *memory) {
  free(memory);
}

void fill_floats(void *data, size_t bytes) {
  float *values = data;
  for (size_t i = 0; i < bytes / sizeof *values; i++)
    values[i] = 0.01f * ((float)(i % 13) - 6);
}

// ---- models

char *model_name(const char *model) {
  bool file = access(model, F_OK) == 0;
  const char *slash = file ? strrchr(model, '/') : NULL;
  char *name = anas_strdup(slash ? slash + 1 : model), *dot = file ? strrchr(name, '.') : NULL;
  if (dot && dot > name) *dot = '\0';
  return name;
}

anas_status load_model(const struct options *options, const char *name, MlirContext context, MlirModule *out) {
  if (!strcmp(name, "-") || access(name, F_OK) == 0) {
    struct anas_diagnostics *diagnostics = anas_diagnostics_attach(context, name, NULL);
    anas_status status = anas_parse_file(context, name, out);
    anas_diagnostics_detach(diagnostics);
    return status;
  }
  const struct anas_zoo_entry *entry;
  if (anas_zoo_find(name, &entry) != ANAS_OK)
    return anas_fail_context(ANAS_NOT_FOUND, "there is no file '%s', nor a network of that name: ", name);
  struct anas_zoo_size size = entry->reference;
  if (options->height) size = (struct anas_zoo_size){options->height, options->width, options->channels, size.classes};
  if (options->classes) size.classes = options->classes;
  struct anas_model *model;
  ANAS_RETURN_IF_ERROR(anas_zoo_build(name, size.height, size.width, size.channels, size.classes, &model));
  anas_status status = anas_model_export(model, context, out);
  anas_model_destroy(model);
  return status;
}

anas_status start_program(struct anas_program *program) {
  const struct anas_program_image *info = anas_program_info(program);
  char *arena = anas_program_arena(program);
  ANAS_RETURN_IF_ERROR(anas_init_params(info, 0, anas_program_params(program)));
  fill_floats(arena + info->image.offset, info->image.bytes);
  for (int64_t i = 0; i < info->batch; i++)
    ((int32_t *)(arena + info->label.offset))[i] = (int32_t)(i % info->classes);
  *(float *)(arena + info->learning_rate.offset) = 1e-3f;
  *(uint64_t *)(arena + info->seed.offset) = 1;
  return ANAS_OK;
}

// ---- the machine

// Three arrays of this many floats: far beyond the last-level cache.
#define STREAM_FLOATS ((int64_t)16 << 20)
#define STREAM_CHUNKS 64
#define STREAM_ROUNDS 4

// The compiler's own vectors, whatever the target: memory is the limit.
typedef float vector __attribute__((vector_size(64)));

static void copy_range(void **operands, int64_t begin, int64_t end) {
  int64_t chunk = STREAM_FLOATS / STREAM_CHUNKS / 16;
  vector *a = operands[0];
  const vector *b = operands[1];
  for (int64_t i = begin * chunk; i < end * chunk; i++)
    a[i] = b[i];
}

static void triad_range(void **operands, int64_t begin, int64_t end) {
  int64_t chunk = STREAM_FLOATS / STREAM_CHUNKS / 16;
  vector *a = operands[0];
  const vector *b = operands[1], *c = operands[2];
  for (int64_t i = begin * chunk; i < end * chunk; i++)
    a[i] = b[i] + 3.0f * c[i];
}

// GB/s of the bytes the program asks for: a line that is written is not counted as read first.
static double stream(anas_kernel_range body, void **operands, int arrays, bool parallel) {
  double best = 0;
  for (int i = 0; i < STREAM_ROUNDS; i++) {
    double (*now)(void) = parallel ? anas_now : anas_thread_time;
    double start = now();
    anas_parallel_for(body, operands, STREAM_CHUNKS, parallel);
    double rate = arrays * 4e-9 * (double)STREAM_FLOATS / (now() - start);
    if (rate > best) best = rate;
  }
  return best;
}

static anas_status add_bandwidth(json_t *line) {
  size_t bytes = (size_t)STREAM_FLOATS * sizeof(float);
  void *arrays[3] = {huge_alloc(bytes), huge_alloc(bytes), huge_alloc(bytes)};
  bool ok = arrays[0] && arrays[1] && arrays[2];
  if (ok) {
    json_object_set_new(line, "copy_gbytes_1", json_real(stream(copy_range, arrays, 2, false)));
    json_object_set_new(line, "copy_gbytes", json_real(stream(copy_range, arrays, 2, true)));
    json_object_set_new(line, "triad_gbytes_1", json_real(stream(triad_range, arrays, 3, false)));
    json_object_set_new(line, "triad_gbytes", json_real(stream(triad_range, arrays, 3, true)));
  }
  for (int i = 0; i < 3; i++)
    huge_free(arrays[i]);
  return ok ? ANAS_OK
            : anas_fail(ANAS_NO_MEMORY, "cannot allocate %zu bytes to measure the memory bandwidth", 3 * bytes);
}

anas_status print_machine(const struct options *options, double *out_peak) {
  struct anas_cpu_target target;
  ANAS_RETURN_IF_ERROR(anas_cpu_target_init(options->cpu, &target));
  double peak = anas_fma_peak(&target);
  json_t *line =
      json_pack("{s:s, s:s, s:i, s:i, s:o, s:f}", "bench", "machine", "cpu", target.cpu, "lanes", target.lanes,
                "threads", anas_team_size(), "peak_gflops_1", json_rate(peak), "load", load_average());
  anas_cpu_target_deinit(&target);
  anas_status status = add_bandwidth(line);
  if (status == ANAS_OK && !(peak > 0)) status = anas_fail_context(ANAS_INTERNAL, "measuring the FMA peak: ");
  if (status != ANAS_OK) {
    json_decref(line);
    return status;
  }
  print_json(line);
  if (out_peak) *out_peak = peak;
  return ANAS_OK;
}
