// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A device program on a device: memory, modules, one recorded graph per entry function.
#include "runtime/backend.h"
#include "runtime/device/program.h"
#include "runtime/support/memory.h"

#include <stdlib.h>
#include <string.h>

#define NUM_BASES 3

struct run {
  struct anas_device *device;
  struct anas_device_program program; // its image has moved to the anas_program
  uint64_t base[NUM_BASES];
  void **modules, **functions;
  void *graphs[ANAS_NUM_ENTRIES];
  bool device_newer; // parameters changed on the device since the host last saw them
  bool host_shown;   // the caller has the address of the host's parameters and may have written there
};

static anas_status launch(struct run *run, const struct anas_device_launch *launch) {
  const struct anas_device *device = run->device;
  uint64_t value[ANAS_DEVICE_MAX_ARGUMENTS];
  void *arguments[ANAS_DEVICE_MAX_ARGUMENTS];
  for (int i = 0; i < launch->num_arguments; i++) {
    value[i] = run->base[launch->argument[i].base] + launch->argument[i].offset;
    arguments[i] = &value[i];
  }
  if (launch->function < 0) return device->ops->fill(device->state, value[0], launch->value, launch->count);
  return device->ops->launch(device->state, run->functions[launch->function], launch->grid, launch->block, arguments);
}

static anas_status launch_all(struct run *run, int entry) {
  for (size_t i = 0; i < run->program.num_launches[entry]; i++)
    ANAS_RETURN_IF_ERROR(launch(run, &run->program.launches[entry][i]));
  return ANAS_OK;
}

static anas_status record(struct run *run, int entry) {
  const struct anas_device *device = run->device;
  ANAS_RETURN_IF_ERROR(device->ops->record_begin(device->state));
  anas_status status = launch_all(run, entry);
  void *graph = NULL;
  if (status != ANAS_OK) {
    // The failure of the launch is the one to report.
    char *message = anas_strdup(anas_error_message());
    if (device->ops->record_end(device->state, &graph) == ANAS_OK) device->ops->graph_destroy(device->state, graph);
    status = anas_fail(status, "%s", message);
    free(message);
    return status;
  }
  return device->ops->record_end(device->state, &run->graphs[entry]);
}

static anas_status load_modules(struct run *run) {
  const struct anas_device *device = run->device;
  const struct anas_device_program *program = &run->program;
  run->modules = anas_calloc((size_t)program->num_modules, sizeof *run->modules);
  run->functions = anas_calloc((size_t)program->num_functions, sizeof *run->functions);
  for (int i = 0; i < program->num_modules; i++)
    ANAS_RETURN_IF_ERROR(device->ops->load(device->state, program->modules[i].ptx, &run->modules[i]));
  for (int i = 0; i < program->num_functions; i++)
    ANAS_RETURN_IF_ERROR(device->ops->find(device->state, run->modules[program->functions[i].module],
                                           program->functions[i].symbol, &run->functions[i]));
  return ANAS_OK;
}

static anas_status run_load(struct anas_program *program) {
  struct run *run = program->state;
  const struct anas_device *device = run->device;
  const size_t bytes[NUM_BASES] = {program->image.arena_bytes, program->image.params_bytes,
                                   run->program.workspace_bytes};
  for (int b = 0; b < NUM_BASES; b++) {
    ANAS_RETURN_IF_ERROR(device->ops->allocate(device->state, bytes[b], &run->base[b]));
    ANAS_RETURN_IF_ERROR(device->ops->fill(device->state, run->base[b], 0, bytes[b] / 4));
  }
  ANAS_RETURN_IF_ERROR(load_modules(run));
  for (int entry = 0; entry < ANAS_NUM_ENTRIES; entry++)
    ANAS_RETURN_IF_ERROR(record(run, entry));
  return device->ops->synchronize(device->state);
}

static void run_destroy(void *state) {
  struct run *run = state;
  const struct anas_device *device = run->device;
  for (int entry = 0; entry < ANAS_NUM_ENTRIES; entry++)
    device->ops->graph_destroy(device->state, run->graphs[entry]);
  for (int i = 0; run->modules && i < run->program.num_modules; i++)
    if (run->modules[i]) device->ops->unload(device->state, run->modules[i]);
  for (int b = 0; b < NUM_BASES; b++)
    device->ops->release(device->state, run->base[b]);
  free(run->modules);
  free(run->functions);
  anas_device_program_deinit(&run->program);
  free(run);
}

static anas_status copy_in(struct anas_program *program, struct anas_region region) {
  struct run *run = program->state;
  return run->device->ops->copy_in(run->device->state, run->base[ANAS_BASE_ARENA] + region.offset,
                                   (char *)program->arena.data + region.offset, region.bytes);
}

static anas_status copy_out(struct anas_program *program, struct anas_region region) {
  struct run *run = program->state;
  return run->device->ops->copy_out(run->device->state, (char *)program->arena.data + region.offset,
                                    run->base[ANAS_BASE_ARENA] + region.offset, region.bytes);
}

static anas_status upload_params(struct anas_program *program) {
  struct run *run = program->state;
  if (!run->host_shown) return ANAS_OK;
  run->host_shown = false;
  return run->device->ops->copy_in(run->device->state, run->base[ANAS_BASE_PARAMS], program->params.data,
                                   program->image.params_bytes);
}

static anas_status run_run(struct anas_program *program, bool train) {
  struct run *run = program->state;
  const struct anas_program_image *image = &program->image;
  ANAS_RETURN_IF_ERROR(upload_params(program));
  ANAS_RETURN_IF_ERROR(copy_in(program, image->image));
  ANAS_RETURN_IF_ERROR(copy_in(program, image->label));
  if (train) {
    ANAS_RETURN_IF_ERROR(copy_in(program, image->learning_rate));
    ANAS_RETURN_IF_ERROR(copy_in(program, image->seed));
    run->device_newer = true;
  }
  int entry = train ? ANAS_ENTRY_TRAIN_STEP : ANAS_ENTRY_INFER;
  ANAS_RETURN_IF_ERROR(run->device->ops->replay(run->device->state, run->graphs[entry]));
  ANAS_RETURN_IF_ERROR(copy_out(program, image->loss));
  ANAS_RETURN_IF_ERROR(copy_out(program, image->correct));
  return train ? ANAS_OK : copy_out(program, image->logits);
}

static anas_status run_params(struct anas_program *program) {
  struct run *run = program->state;
  if (run->device_newer)
    ANAS_RETURN_IF_ERROR(run->device->ops->copy_out(run->device->state, program->params.data,
                                                    run->base[ANAS_BASE_PARAMS], program->image.params_bytes));
  run->device_newer = false;
  run->host_shown = true;
  return ANAS_OK;
}

static const struct anas_program_ops device_ops = {
    .load = run_load,
    .destroy = run_destroy,
    .run = run_run,
    .params = run_params,
};

anas_status anas_device_program_load(struct anas_device_program *program, struct anas_device *device,
                                     struct anas_program **out) {
  struct run *run = anas_alloc(sizeof *run);
  run->device = device;
  run->program = *program;
  memset(program, 0, sizeof *program);
  struct anas_program_image image = run->program.image;
  memset(&run->program.image, 0, sizeof run->program.image);
  return anas_program_create(&image, &device_ops, run, out);
}

const struct anas_device_program *anas_device_program_of(const struct anas_program *program) {
  return program->ops == &device_ops ? &((const struct run *)program->state)->program : NULL;
}

static anas_status require_device(const struct anas_program *program) {
  return program->ops == &device_ops ? ANAS_OK : anas_fail(ANAS_INVALID, "the program does not run on a device");
}

anas_status anas_device_program_time(struct anas_program *program, int steps, double *out_seconds) {
  ANAS_RETURN_IF_ERROR(require_device(program));
  struct run *run = program->state;
  const struct anas_device *device = run->device;
  double seconds;
  ANAS_RETURN_IF_ERROR(upload_params(program));
  run->device_newer = true;
  ANAS_RETURN_IF_ERROR(device->ops->mark(device->state, 0));
  for (int i = 0; i < steps; i++)
    ANAS_RETURN_IF_ERROR(device->ops->replay(device->state, run->graphs[ANAS_ENTRY_TRAIN_STEP]));
  ANAS_RETURN_IF_ERROR(device->ops->mark(device->state, 1));
  ANAS_RETURN_IF_ERROR(device->ops->elapsed(device->state, &seconds));
  *out_seconds = seconds / steps;
  return ANAS_OK;
}

anas_status anas_device_program_profile(struct anas_program *program, int steps, double *seconds) {
  ANAS_RETURN_IF_ERROR(require_device(program));
  struct run *run = program->state;
  const struct anas_device *device = run->device;
  ANAS_RETURN_IF_ERROR(upload_params(program));
  run->device_newer = true;
  memset(seconds, 0, (size_t)run->program.num_functions * sizeof *seconds);
  for (int step = 0; step < steps; step++)
    for (size_t i = 0; i < run->program.num_launches[ANAS_ENTRY_TRAIN_STEP]; i++) {
      const struct anas_device_launch *one = &run->program.launches[ANAS_ENTRY_TRAIN_STEP][i];
      double elapsed;
      ANAS_RETURN_IF_ERROR(device->ops->mark(device->state, 0));
      ANAS_RETURN_IF_ERROR(launch(run, one));
      ANAS_RETURN_IF_ERROR(device->ops->mark(device->state, 1));
      ANAS_RETURN_IF_ERROR(device->ops->elapsed(device->state, &elapsed));
      if (one->function >= 0) seconds[one->function] += elapsed / steps;
    }
  return ANAS_OK;
}
