// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Loading and running a compiled training program: code, one arena, one parameter buffer.
#include "runtime/program.h"

#include "runtime/jit.h"
#include "runtime/team.h"

#include <errno.h>
#include <ffi.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)

struct buffer { // anonymous mapping
  void *data;
  size_t mapped;
};

struct anas_program {
  struct anas_program_image image;
  struct anas_jit *jit;
  struct buffer arena, params;
  ffi_cif cif;
  ffi_type *argument_types[2];
  void *train_step, *infer;
  anas_kernel_range *ranges; // of image.kernels; looked up when profiling is first enabled
};

void anas_program_image_deinit(struct anas_program_image *image) {
  for (int i = 0; i < image->num_objects; i++)
    free(image->objects[i].data);
  anas_arena_deinit(&image->memory);
  memset(image, 0, sizeof *image);
}

// Large buffers start on a huge page boundary so that all of them can be backed by huge pages.
static bool map_buffer(size_t bytes, struct buffer *out) {
  size_t size = bytes ? (bytes + 4095) & ~(size_t)4095 : 4096;
  size_t slack = size >= HUGE_PAGE ? HUGE_PAGE : 0;
  if (size < bytes || size + slack < size) return false;
  char *base = mmap(NULL, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return false;
  if (slack) {
    size_t head = (HUGE_PAGE - (uintptr_t)base % HUGE_PAGE) % HUGE_PAGE;
    if (head) munmap(base, head);
    if (slack - head) munmap(base + head + size, slack - head);
    base += head;
    madvise(base, size, MADV_HUGEPAGE); // advice only: kernels without huge pages refuse it
  }
  *out = (struct buffer){base, size};
  return true;
}

static void unmap_buffer(struct buffer *buffer) {
  if (buffer->data) munmap(buffer->data, buffer->mapped);
}

static anas_status check_region(const char *what, struct anas_region region, size_t arena_bytes) {
  if (region.offset > arena_bytes || region.bytes > arena_bytes - region.offset)
    return anas_fail(ANAS_INVALID, "program image: %s at [%zu, +%zu) is outside the arena of %zu bytes", what,
                     region.offset, region.bytes, arena_bytes);
  return ANAS_OK;
}

static anas_status check_image(const struct anas_program_image *image) {
  const struct {
    const char *name;
    struct anas_region region;
  } regions[] = {
      {"image", image->image},   {"label", image->label}, {"learning rate", image->learning_rate},
      {"seed", image->seed},     {"loss", image->loss},   {"correct", image->correct},
      {"logits", image->logits},
  };
  for (size_t i = 0; i < sizeof regions / sizeof *regions; i++)
    ANAS_RETURN_IF_ERROR(check_region(regions[i].name, regions[i].region, image->arena_bytes));
  for (int i = 0; i < image->num_tensors; i++) {
    const struct anas_tensor *tensor = &image->tensors[i];
    if (tensor->offset > image->params_bytes || tensor->count > (image->params_bytes - tensor->offset) / sizeof(float))
      return anas_fail(ANAS_INVALID,
                       "program image: tensor '%s' (%zu elements at byte %zu) is outside the parameter "
                       "buffer of %zu bytes",
                       tensor->name, tensor->count, tensor->offset, image->params_bytes);
  }
  return ANAS_OK;
}

static anas_status load(struct anas_program *program) {
  struct anas_program_image *image = &program->image;
  ANAS_RETURN_IF_ERROR(check_image(image));
  if (!map_buffer(image->arena_bytes, &program->arena) || !map_buffer(image->params_bytes, &program->params))
    return anas_fail(ANAS_NO_MEMORY,
                     "cannot allocate the arena (%zu bytes) and the parameters (%zu bytes): %s; a "
                     "smaller batch needs less",
                     image->arena_bytes, image->params_bytes, strerror(errno));
  ANAS_RETURN_IF_ERROR(anas_jit_create(image->objects, image->num_objects, &program->jit));
  ANAS_RETURN_IF_ERROR(anas_jit_lookup(program->jit, "train_step", &program->train_step));
  ANAS_RETURN_IF_ERROR(anas_jit_lookup(program->jit, "infer", &program->infer));
  program->argument_types[0] = program->argument_types[1] = &ffi_type_pointer;
  if (ffi_prep_cif(&program->cif, FFI_DEFAULT_ABI, 2, &ffi_type_void, program->argument_types) != FFI_OK)
    return anas_fail(ANAS_INTERNAL, "libffi refuses the signature of the entry functions");
  return ANAS_OK;
}

anas_status anas_program_load(struct anas_program_image *image, struct anas_program **out) {
  struct anas_program *program = anas_alloc(sizeof *program);
  program->image = *image;
  memset(image, 0, sizeof *image);
  anas_status status = load(program);
  if (status != ANAS_OK) {
    anas_program_destroy(program);
    return anas_fail_context(status, "loading the program: ");
  }
  *out = program;
  return ANAS_OK;
}

void anas_program_destroy(struct anas_program *program) {
  if (!program) return;
  anas_jit_destroy(program->jit); // before the objects it was made from
  unmap_buffer(&program->arena);
  unmap_buffer(&program->params);
  free(program->ranges);
  anas_program_image_deinit(&program->image);
  free(program);
}

const struct anas_program_image *anas_program_info(const struct anas_program *program) {
  return &program->image;
}

void *anas_program_arena(struct anas_program *program) {
  return program->arena.data;
}

void *anas_program_params(struct anas_program *program) {
  return program->params.data;
}

static void call(struct anas_program *program, void *entry) {
  void *values[2] = {&program->arena.data, &program->params.data};
  ffi_call(&program->cif, FFI_FN(entry), NULL, values);
}

void anas_program_train_step(struct anas_program *program) {
  call(program, program->train_step);
}

void anas_program_infer(struct anas_program *program) {
  call(program, program->infer);
}

void anas_program_profile(struct anas_program *program, bool enable) {
  if (enable && !program->ranges) {
    int count = program->image.num_kernels;
    program->ranges = anas_calloc((size_t)count, sizeof *program->ranges);
    for (int i = 0; i < count; i++) {
      char *symbol = anas_format("%s_range", program->image.kernels[i].symbol);
      void *address = NULL;
      // A kernel listed but not linked was never called and stays at zero.
      if (anas_jit_lookup(program->jit, symbol, &address) == ANAS_OK)
        program->ranges[i] = (anas_kernel_range)(uintptr_t)address;
      free(symbol);
    }
  }
  anas_team_profile(enable);
}

void anas_program_profile_get(const struct anas_program *program, int kernel, double *out_seconds, int64_t *out_calls) {
  *out_seconds = 0;
  *out_calls = 0;
  if (program->ranges && program->ranges[kernel])
    anas_team_profile_get(program->ranges[kernel], out_seconds, out_calls);
}
