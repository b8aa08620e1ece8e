// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Kernel-stage module to objects, one per distinct function. Objects come from the cache by content; what is missing is
// compiled by a few threads, each with a context of its own.
#include "passes/lower/compile.h"

#include "dialect/context.h"
#include "passes/cpu/cpu.h"
#include "passes/lower/cache.h"
#include "passes/lower/image.h"
#include "passes/lower/tune.h"
#include "runtime/support/file.h"

#include <llvm-c/Core.h>
#include <mlir-c/Diagnostics.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Part of every cache key: raise it whenever the code generated for the same kernel text changes.
#define CODEGEN_VERSION "anas-cpu-34"

#define PAGE ((size_t)4096)

#define TUNE_SECONDS 600.0 // of a program

struct job {
  const struct anas_cpu_target *target;
  bool reference;
  struct anas_cache *cache; // null: none
  struct anas_unit *units;
  int *missing; // indices of units to compile
  int num_missing;
  atomic_int next;
  atomic_bool failed;
  pthread_mutex_t lock; // guards what follows
  int failed_unit;      // the lowest one, so that the report does not depend on timing
  anas_status status;
  char *message;
};

struct capture { // first error of a worker's context
  struct anas_strbuf text;
};

static MlirLogicalResult capture_error(MlirDiagnostic diagnostic, void *data) {
  struct capture *capture = data;
  if (mlirDiagnosticGetSeverity(diagnostic) == MlirDiagnosticError && !capture->text.size)
    mlirDiagnosticPrint(diagnostic, anas_print_to_strbuf, &capture->text);
  return mlirLogicalResultSuccess();
}

static anas_status compile_unit(MlirContext context, struct anas_cpu_compiler *compiler, struct anas_unit *unit) {
  struct capture capture = {0};
  MlirDiagnosticHandlerID handler = mlirContextAttachDiagnosticHandler(context, capture_error, &capture, NULL);
  MlirModule module;
  anas_status status = anas_parse(context, unit->text, unit->size, unit->symbol, &module);
  if (status == ANAS_OK) {
    status = anas_cpu_compile(compiler, module, &unit->choice, &unit->object, &unit->seconds);
    mlirModuleDestroy(module);
  }
  mlirContextDetachDiagnosticHandler(context, handler);
  if (status != ANAS_OK) {
    if (capture.text.size && !strstr(anas_error_message(), capture.text.data))
      anas_fail_context(status, "%s: ", capture.text.data);
    anas_fail_context(status, "compiling %s (%s): ", unit->symbol, unit->kind);
  }
  anas_strbuf_deinit(&capture.text);
  return status;
}

static void record_failure(struct job *job, int unit, anas_status status) {
  pthread_mutex_lock(&job->lock);
  if (!job->message || unit < job->failed_unit) {
    free(job->message);
    job->message = anas_strdup(anas_error_message());
    job->failed_unit = unit;
    job->status = status;
  }
  pthread_mutex_unlock(&job->lock);
  atomic_store(&job->failed, true);
}

static void *compile_thread(void *data) {
  struct job *job = data;
  MlirContext context = anas_context_create(false);
  struct anas_cpu_compiler *compiler = NULL;
  anas_status created = anas_cpu_compiler_create(context, job->target, job->reference, &compiler);
  while (!atomic_load(&job->failed)) {
    int i = atomic_fetch_add(&job->next, 1);
    if (i >= job->num_missing) break;
    struct anas_unit *unit = &job->units[job->missing[i]];
    anas_status status = created == ANAS_OK ? compile_unit(context, compiler, unit) : created;
    if (status != ANAS_OK) {
      record_failure(job, job->missing[i], status);
      break;
    }
    // A cache that cannot be written costs time later, not this compilation.
    if (job->cache) (void)anas_cache_put(job->cache, unit->key, &unit->object);
  }
  anas_cpu_compiler_destroy(compiler);
  mlirContextDestroy(context);
  return NULL;
}

static int processors(void) {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}

static anas_status compile_missing(struct job *job, int threads) {
  if (!job->num_missing) return ANAS_OK;
  if (threads <= 0) threads = processors();
  if (threads > job->num_missing) threads = job->num_missing;
  pthread_t *extra = anas_calloc((size_t)threads, sizeof *extra);
  int started = 0;
  while (started < threads - 1 && !pthread_create(&extra[started], NULL, compile_thread, job))
    started++;
  compile_thread(job);
  for (int i = 0; i < started; i++)
    pthread_join(extra[i], NULL);
  free(extra);
  anas_status status = job->message ? anas_fail(job->status, "%s", job->message) : ANAS_OK;
  free(job->message);
  return status;
}

static void set_key(struct anas_unit *unit, const struct anas_cpu_target *target, bool reference) {
  unsigned major, minor, patch;
  LLVMGetVersion(&major, &minor, &patch);
  char setting[96];
  int length =
      snprintf(setting, sizeof setting, "%s llvm-%u.%u.%u %d/%d winograd %d bf16 %d%s", CODEGEN_VERSION, major, minor,
               patch, target->lanes, target->registers, target->winograd, target->bf16, reference ? " reference" : "");
  const char *parts[] = {unit->text, setting, target->cpu, target->features};
  const size_t sizes[] = {unit->size, (size_t)length, strlen(target->cpu), strlen(target->features)};
  anas_cache_key(parts, sizes, 4, unit->key);
}

// Kernels run one after the other, so one piece of memory behind the arena serves all.
static void reserve_scratch(struct anas_program_image *image, size_t bytes) {
  if (!bytes) return;
  size_t offset = (image->arena_bytes + PAGE - 1) / PAGE * PAGE;
  image->scratch = (struct anas_region){offset, bytes};
  image->arena_bytes = offset + bytes;
}

static void fill_report(struct anas_compile_report *report, const struct anas_program_image *image,
                        const struct job *job, int num_units) {
  struct anas_arena *memory = &report->memory;
  report->kernels = anas_arena_alloc(memory, (size_t)num_units * sizeof *report->kernels);
  report->num_kernels = num_units;
  report->cache_misses = job->num_missing;
  report->cache_hits = num_units - job->num_missing;
  snprintf(report->cpu, sizeof report->cpu, "%s", job->target->cpu);
  report->lanes = job->target->lanes;
  for (int i = 0; i < num_units; i++) {
    const struct anas_unit *unit = &job->units[i];
    const struct anas_kernel *kernel = &image->kernels[i];
    report->kernels[i] = (struct anas_compiled_kernel){.symbol = anas_arena_strdup(memory, unit->symbol),
                                                       .kind = anas_arena_strdup(memory, unit->kind),
                                                       .plan = anas_arena_strdup(memory, unit->object.plan),
                                                       .cached = true,
                                                       .codegen_seconds = unit->seconds.codegen,
                                                       .lowering_seconds = unit->seconds.lowering,
                                                       .llvm_seconds = unit->seconds.llvm,
                                                       .object_bytes = unit->object.size,
                                                       .flops = kernel->flops,
                                                       .bytes = kernel->bytes,
                                                       .calls = kernel->calls};
  }
  for (int i = 0; i < job->num_missing; i++)
    report->kernels[job->missing[i]].cached = false;
}

static void take_objects(struct anas_program_image *image, struct anas_unit *units, int num_units) {
  image->objects = anas_arena_alloc(&image->memory, (size_t)num_units * sizeof *image->objects);
  size_t scratch = 0;
  for (int i = 0; i < num_units; i++) {
    if (units[i].object.scratch_bytes > scratch) scratch = units[i].object.scratch_bytes;
    image->objects[i] = units[i].object;
    units[i].object = (struct anas_object){0};
  }
  image->num_objects = num_units;
  reserve_scratch(image, scratch);
}

static double lap(double *since) {
  double now = anas_now(), passed = now - *since;
  *since = now;
  return passed;
}

static anas_status build_objects(struct anas_program_image *image, struct anas_unit *units, int num_units,
                                 const struct anas_compile_options *options, const struct anas_cpu_target *target,
                                 struct anas_cache *cache, struct anas_compile_report *report) {
  double at = anas_now();
  struct job job = {.target = target, .reference = options->reference, .cache = cache, .units = units};
  anas_status status = ANAS_OK;
  for (int i = 0; i < num_units; i++)
    set_key(&units[i], target, options->reference);
  if (cache && !options->reference) {
    if (options->tune) status = anas_tune(units, image->kernels, num_units, target, TUNE_SECONDS, cache);
    report->tune_seconds = lap(&at);
    for (int i = 0; i < num_units && !options->tune; i++)
      anas_tune_find(cache, &units[i]);
  }
  if (status != ANAS_OK) return status;
  job.missing = anas_calloc((size_t)num_units, sizeof *job.missing);
  for (int i = 0; i < num_units; i++)
    if (!cache || !anas_cache_get(cache, units[i].key, &units[i].object)) job.missing[job.num_missing++] = i;
  report->look_up_seconds = lap(&at);
  pthread_mutex_init(&job.lock, NULL);
  status = compile_missing(&job, options->threads);
  pthread_mutex_destroy(&job.lock);
  if (status == ANAS_OK && cache && job.num_missing) anas_cache_trim(cache);
  report->build_seconds = lap(&at);
  report->threads = options->threads > 0 ? options->threads : processors();
  if (status == ANAS_OK) {
    if (options->report) fill_report(report, image, &job, num_units);
    image->cache_misses = job.num_missing;
    image->cache_hits = num_units - job.num_missing;
    take_objects(image, units, num_units);
  }
  free(job.missing);
  return status;
}

anas_status anas_compile_kernels(MlirModule module, const struct anas_compile_options *options,
                                 struct anas_program_image *out_image) {
  double start = anas_now();
  struct anas_cpu_target target;
  ANAS_RETURN_IF_ERROR(anas_cpu_target_init(options->cpu, &target));
  if (options->no_winograd) target.winograd = ANAS_WINOGRAD_OFF;
  anas_status status = anas_cpu_target_set_precision(&target, options->precision);
  struct anas_program_image image = {0};
  struct anas_unit *units = NULL;
  int num_units = 0;
  struct anas_cache *cache = NULL;
  struct anas_compile_report report = {0};
  if (status == ANAS_OK && target.bf16 && options->reference)
    status = anas_fail(ANAS_INVALID, "precision bf16 is about our kernels, not about stock lowering");
  if (status != ANAS_OK) {
    anas_cpu_target_deinit(&target);
    return status;
  }
  if (!options->no_cache) status = anas_cache_open(options->cache, 0, &cache);
  // The default place may be out of reach (no home directory, read-only); only a directory asked for must work.
  if (status != ANAS_OK && !options->cache) status = ANAS_OK;
  if (status == ANAS_OK && options->tune && !cache)
    status = anas_fail(ANAS_INVALID, "tuning keeps its results in the object cache, and there is none");
  if (status == ANAS_OK) status = anas_image_from_module(module, &image, &units, &num_units);
  report.read_seconds = anas_now() - start;
  if (status == ANAS_OK) status = build_objects(&image, units, num_units, options, &target, cache, &report);
  anas_cache_close(cache);
  anas_units_destroy(units, num_units);
  anas_cpu_target_deinit(&target);
  if (status != ANAS_OK) {
    anas_compile_report_deinit(&report);
    anas_program_image_deinit(&image);
    return status;
  }
  image.compile_seconds = report.seconds = anas_now() - start;
  if (options->report) *options->report = report;
  *out_image = image;
  return ANAS_OK;
}
