// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tuning. One part of the choice is varied at a time, the best value kept before the next part: register tile,
// reduction blocks, chunks, loop order, streaming. An alternative has to be faster by more than noise, so that two
// machines of one kind, or two runs, end with the same plan unless there is something to gain.
#include "passes/lower/tune.h"

#include "dialect/context.h"
#include "runtime/support/file.h"
#include "runtime/team.h"

#include <math.h>
#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORD "tuned plan 1" // part of the key of a record: raise it when the choices change their meaning
#define MIN_FLOPS 1e6
#define KERNEL_SECONDS 1.0 // for all alternatives of a kernel
#define RUN_SECONDS 0.03   // for one alternative
#define MIN_RUNS 3
#define MAX_RUNS 50
#define WORTH 0.97 // of the time so far: less is noise
#define HOPELESS 1.3
#define MAX_ELEMENT_BYTES 8

// ---- records

void anas_choice_print(const struct anas_cpu_choice *choice, char out[96]) {
  snprintf(out, 96, "vectors=%d panel=%g chunk=%g columns=%d stream=%d direct=%d", choice->vectors,
           choice->panel > 0 ? choice->panel : 1, choice->chunk > 0 ? choice->chunk : 1, choice->columns,
           !choice->no_stream, choice->direct);
}

bool anas_choice_parse(const char *text, size_t size, struct anas_cpu_choice *out) {
  char copy[96], again[96];
  if (size >= sizeof copy) return false;
  memcpy(copy, text, size);
  copy[size] = 0;
  struct anas_cpu_choice choice = {0};
  int stream, direct;
  if (sscanf(copy, "vectors=%d panel=%lf chunk=%lf columns=%d stream=%d direct=%d", &choice.vectors, &choice.panel,
             &choice.chunk, &choice.columns, &stream, &direct) != 6)
    return false;
  choice.no_stream = !stream;
  choice.direct = direct != 0;
  anas_choice_print(&choice, again);
  if (strcmp(copy, again) != 0 || !isfinite(choice.panel) || !isfinite(choice.chunk)) return false;
  if (choice.panel == 1) choice.panel = 0;
  if (choice.chunk == 1) choice.chunk = 0;
  *out = choice;
  return true;
}

static bool is_default(const struct anas_cpu_choice *c) {
  return !c->vectors && !(c->panel > 0) && !(c->chunk > 0) && !c->columns && !c->no_stream && !c->direct;
}

static void make_key(const char *first, const char *second, char out[33]) {
  const char *parts[] = {first, second};
  const size_t sizes[] = {strlen(first), strlen(second)};
  anas_cache_key(parts, sizes, 2, out);
}

static void apply(struct anas_unit *unit, const struct anas_cpu_choice *choice) {
  unit->choice = *choice;
  if (is_default(choice)) return;
  char text[96], key[33];
  anas_choice_print(choice, text);
  make_key(unit->key, text, key);
  memcpy(unit->key, key, sizeof key);
}

bool anas_tune_find(struct anas_cache *cache, struct anas_unit *unit) {
  char key[33];
  struct anas_object record;
  struct anas_cpu_choice choice;
  make_key(RECORD, unit->key, key);
  if (!anas_cache_get(cache, key, &record)) return false;
  bool known = anas_choice_parse(record.data, record.size, &choice);
  free(record.data);
  if (known) apply(unit, &choice);
  return known;
}

static void keep(struct anas_cache *cache, struct anas_unit *unit, const struct anas_cpu_choice *choice) {
  char key[33], text[96];
  make_key(RECORD, unit->key, key);
  anas_choice_print(choice, text);
  struct anas_object record = {.data = text, .size = strlen(text)};
  (void)anas_cache_put(cache, key, &record); // a cache that cannot be written costs another measurement
  apply(unit, choice);
}

// ---- one measurement

struct tuner {
  MlirContext context;
  struct anas_cpu_compiler *compiler;
  const struct anas_unit *unit;
  const struct anas_kernel *kernel;
  double deadline, best;
  struct anas_cpu_choice choice; // the best one
  size_t num_tried, capacity_tried;
  uint64_t *tried; // hashes of objects: different choices are often one plan
};

static size_t buffer_bytes(MlirType type) {
  size_t elements = 1;
  for (int d = 0; d < mlirShapedTypeGetRank(type); d++)
    elements *= (size_t)mlirShapedTypeGetDimSize(type, d);
  return (elements * MAX_ELEMENT_BYTES + 127) / 64 * 64;
}

// A program of one call, every operand a buffer of its own in the arena.
static anas_status make_program(const struct tuner *tuner, MlirModule module, struct anas_object *object,
                                struct anas_program **out) {
  struct anas_program_image image = {0};
  MlirOperation function = mlirBlockGetFirstOperation(mlirModuleGetBody(module));
  MlirBlock entry = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  int operands = (int)mlirBlockGetNumArguments(entry);
  struct anas_call_list *list = &image.train_step;
  list->calls = anas_arena_alloc(&image.memory, sizeof *list->calls);
  list->arguments = anas_arena_alloc(&image.memory, (size_t)operands * sizeof *list->arguments);
  for (int i = 0; i < operands; i++) {
    list->arguments[list->num_arguments++].offset = image.arena_bytes;
    image.arena_bytes += buffer_bytes(mlirValueGetType(mlirBlockGetArgument(entry, i)));
  }
  list->calls[list->num_calls++] = (struct anas_call){.num_arguments = operands};
  image.kernels = anas_arena_alloc(&image.memory, sizeof *image.kernels);
  image.kernels[image.num_kernels++] = *tuner->kernel;
  image.kernels[0].symbol = anas_arena_strdup(&image.memory, tuner->unit->symbol);
  image.objects = anas_arena_alloc(&image.memory, sizeof *image.objects);
  image.objects[image.num_objects++] = *object;
  size_t scratch = (image.arena_bytes + 4095) / 4096 * 4096;
  image.scratch = (struct anas_region){scratch, object->scratch_bytes};
  image.arena_bytes = scratch + object->scratch_bytes + 64;
  *object = (struct anas_object){0};
  return anas_program_load(&image, out);
}

// Least processor time of a few runs; operands are zero, on which arithmetic takes as long as on anything else.
static double least_time(const struct tuner *tuner, struct anas_program *program) {
  double least = INFINITY, total = 0;
  anas_program_train_step(program);
  for (int i = 0; i < MAX_RUNS && (i < MIN_RUNS || total < RUN_SECONDS); i++) {
    double start = anas_thread_time();
    anas_program_train_step(program);
    double seconds = anas_thread_time() - start;
    total += seconds;
    if (seconds < least) least = seconds;
    if (i >= 1 && least > tuner->best * HOPELESS) break;
  }
  return least;
}

static bool seen(struct tuner *tuner, const struct anas_object *object) {
  uint64_t hash = anas_hash64(object->data, object->size, 0);
  for (size_t i = 0; i < tuner->num_tried; i++)
    if (tuner->tried[i] == hash) return true;
  tuner->tried = anas_grow(tuner->tried, tuner->num_tried, &tuner->capacity_tried, sizeof *tuner->tried);
  tuner->tried[tuner->num_tried++] = hash;
  return false;
}

static anas_status measure(struct tuner *tuner, const struct anas_cpu_choice *choice, double *out_seconds) {
  MlirModule module, original;
  ANAS_RETURN_IF_ERROR(
      anas_parse(tuner->context, tuner->unit->text, tuner->unit->size, tuner->unit->symbol, &original));
  module = mlirModuleFromOperation(mlirOperationClone(mlirModuleGetOperation(original)));
  struct anas_object object = {0};
  struct anas_cpu_seconds seconds;
  struct anas_program *program = NULL;
  anas_status status = anas_cpu_compile(tuner->compiler, module, choice, &object, &seconds);
  *out_seconds = INFINITY;
  if (status == ANAS_OK && !seen(tuner, &object)) status = make_program(tuner, original, &object, &program);
  if (program) {
    *out_seconds = least_time(tuner, program);
    anas_program_destroy(program);
  }
  free(object.data);
  mlirModuleDestroy(module);
  mlirModuleDestroy(original);
  return status;
}

// ---- the search

static anas_status try_choice(struct tuner *tuner, struct anas_cpu_choice choice) {
  double seconds;
  if (anas_now() > tuner->deadline) return ANAS_OK;
  ANAS_RETURN_IF_ERROR(measure(tuner, &choice, &seconds));
  if (seconds >= tuner->best * WORTH) return ANAS_OK;
  tuner->best = seconds;
  tuner->choice = choice;
  return ANAS_OK;
}

// The model's plan and the winner once more, one after the other: a disturbance while the first was measured would make
// anything look faster.
static anas_status confirm(struct tuner *tuner) {
  const struct anas_cpu_choice model = {0};
  double first, second;
  if (is_default(&tuner->choice)) return ANAS_OK;
  tuner->num_tried = 0;
  tuner->best = INFINITY;
  ANAS_RETURN_IF_ERROR(measure(tuner, &model, &first));
  ANAS_RETURN_IF_ERROR(measure(tuner, &tuner->choice, &second));
  if (second >= first * WORTH) tuner->choice = model;
  return ANAS_OK;
}

static anas_status search(struct tuner *tuner) {
  static const double factors[] = {0.5, 2, 0.25};
  const struct anas_cpu_choice model = {0};
  ANAS_RETURN_IF_ERROR(measure(tuner, &model, &tuner->best));
  struct anas_cpu_choice direct = {.direct = true};
  ANAS_RETURN_IF_ERROR(try_choice(tuner, direct));
  for (int vectors = 1; vectors <= 4; vectors++) {
    struct anas_cpu_choice next = tuner->choice;
    next.vectors = vectors;
    ANAS_RETURN_IF_ERROR(try_choice(tuner, next));
  }
  for (int i = 0; i < 3; i++) {
    struct anas_cpu_choice next = tuner->choice;
    next.panel = factors[i];
    ANAS_RETURN_IF_ERROR(try_choice(tuner, next));
  }
  for (int i = 0; i < 3; i++) {
    struct anas_cpu_choice next = tuner->choice;
    next.chunk = factors[i];
    ANAS_RETURN_IF_ERROR(try_choice(tuner, next));
  }
  for (int columns = -1; columns <= 1; columns += 2) {
    struct anas_cpu_choice next = tuner->choice;
    next.columns = columns;
    ANAS_RETURN_IF_ERROR(try_choice(tuner, next));
  }
  struct anas_cpu_choice next = tuner->choice;
  next.no_stream = true;
  ANAS_RETURN_IF_ERROR(try_choice(tuner, next));
  return confirm(tuner);
}

static bool is_contraction(const char *kind) {
  return !strncmp(kind, "conv", 4) || !strncmp(kind, "dense", 5) || !strncmp(kind, "contraction", 11);
}

anas_status anas_tune(struct anas_unit *units, const struct anas_kernel *kernels, int num_units,
                      const struct anas_cpu_target *target, double limit_seconds, struct anas_cache *cache) {
  struct tuner tuner = {.context = anas_context_create(false)};
  int threads = anas_team_size();
  double end = anas_now() + limit_seconds;
  anas_status status = anas_cpu_compiler_create(tuner.context, target, false, &tuner.compiler);
  anas_team_set_size(1);
  for (int i = 0; status == ANAS_OK && i < num_units && anas_now() < end; i++) {
    if (!is_contraction(units[i].kind) || kernels[i].flops < MIN_FLOPS || anas_tune_find(cache, &units[i])) continue;
    tuner.unit = &units[i];
    tuner.kernel = &kernels[i];
    tuner.choice = (struct anas_cpu_choice){0};
    tuner.num_tried = 0;
    tuner.deadline = anas_now() + KERNEL_SECONDS;
    status = search(&tuner);
    if (status == ANAS_OK) keep(cache, &units[i], &tuner.choice);
    if (status != ANAS_OK) anas_fail_context(status, "tuning %s (%s): ", units[i].symbol, units[i].kind);
  }
  anas_team_set_size(threads);
  anas_cpu_compiler_destroy(tuner.compiler);
  free(tuner.tried);
  mlirContextDestroy(tuner.context);
  return status;
}
