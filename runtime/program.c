// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A loaded training program: one arena, one parameter buffer on this machine, and a backend that runs it.
#include "runtime/backend.h"

#include "runtime/support/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)
#define PAGE ((size_t)4096)

void anas_program_image_deinit(struct anas_program_image *image) {
  for (int i = 0; i < image->num_objects; i++)
    free(image->objects[i].data);
  anas_arena_deinit(&image->memory);
  memset(image, 0, sizeof *image);
}

// Large buffers start on a huge page boundary so that all of them can be backed by huge pages. Behind every buffer is a
// page that nobody may touch: code that runs over the end stops there.
static bool map_buffer(size_t bytes, struct anas_program_buffer *out) {
  size_t size = bytes ? (bytes + PAGE - 1) & ~(PAGE - 1) : PAGE, whole = size + PAGE;
  size_t slack = size >= HUGE_PAGE ? HUGE_PAGE : 0;
  if (size < bytes || whole + slack < size) return false;
  char *base = mmap(NULL, whole + slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return false;
  size_t head = slack ? (HUGE_PAGE - (uintptr_t)base % HUGE_PAGE) % HUGE_PAGE : 0;
  if (head) munmap(base, head);
  if (slack - head) munmap(base + head + whole, slack - head);
  base += head;
  if (mprotect(base, size, PROT_READ | PROT_WRITE)) {
    int code = errno;
    munmap(base, whole);
    errno = code;
    return false;
  }
  if (slack) madvise(base, size, MADV_HUGEPAGE); // advice only: kernels without huge pages refuse it
  *out = (struct anas_program_buffer){base, whole};
  return true;
}

static void unmap_buffer(struct anas_program_buffer *buffer) {
  if (buffer->data) munmap(buffer->data, buffer->mapped);
}

static anas_status check_region(const char *what, struct anas_region region, size_t arena_bytes) {
  if (region.offset > arena_bytes || region.bytes > arena_bytes - region.offset)
    return anas_fail(ANAS_INVALID, "program image: %s at [%zu, +%zu) is outside the arena of %zu bytes", what,
                     region.offset, region.bytes, arena_bytes);
  return ANAS_OK;
}

static anas_status check_calls(const char *entry, const struct anas_call_list *list,
                               const struct anas_program_image *image) {
  for (int c = 0; c < list->num_calls; c++) {
    const struct anas_call *call = &list->calls[c];
    bool inside = call->kernel >= 0 && call->kernel < image->num_kernels && call->num_arguments >= 0 &&
                  call->first_argument >= 0 && call->first_argument <= list->num_arguments - call->num_arguments;
    for (int i = 0; inside && i < call->num_arguments; i++) {
      const struct anas_call_argument *argument = &list->arguments[call->first_argument + i];
      inside = argument->offset < (argument->in_params ? image->params_bytes : image->arena_bytes);
    }
    if (!inside) return anas_fail(ANAS_INVALID, "program image: call %d of %s is outside its lists", c, entry);
  }
  return ANAS_OK;
}

anas_status anas_program_image_check(const struct anas_program_image *image) {
  const struct {
    const char *name;
    struct anas_region region;
  } regions[] = {
      {"image", image->image},   {"label", image->label},     {"learning rate", image->learning_rate},
      {"seed", image->seed},     {"loss", image->loss},       {"correct", image->correct},
      {"logits", image->logits}, {"scratch", image->scratch},
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
  ANAS_RETURN_IF_ERROR(check_calls("train_step", &image->train_step, image));
  return check_calls("infer", &image->infer, image);
}

anas_status anas_program_create(struct anas_program_image *image, const struct anas_program_ops *ops, void *state,
                                struct anas_program **out) {
  struct anas_program *program = anas_alloc(sizeof *program);
  program->image = *image;
  memset(image, 0, sizeof *image);
  program->ops = ops;
  program->state = state;
  anas_status status = anas_program_image_check(&program->image);
  const struct anas_program_image *info = &program->image;
  if (status == ANAS_OK &&
      (!map_buffer(info->arena_bytes, &program->arena) || !map_buffer(info->params_bytes, &program->params)))
    status = anas_fail(ANAS_NO_MEMORY,
                       "cannot allocate the arena (%zu bytes) and the parameters (%zu bytes): %s; a "
                       "smaller batch needs less",
                       info->arena_bytes, info->params_bytes, strerror(errno));
  if (status == ANAS_OK) status = ops->load(program);
  if (status != ANAS_OK) {
    anas_program_destroy(program);
    return anas_fail_context(status, "loading the program: ");
  }
  *out = program;
  return ANAS_OK;
}

void anas_program_destroy(struct anas_program *program) {
  if (!program) return;
  program->ops->destroy(program->state); // before the objects it was made from
  unmap_buffer(&program->arena);
  unmap_buffer(&program->params);
  anas_program_image_deinit(&program->image);
  free(program);
}

const struct anas_program_image *anas_program_info(const struct anas_program *program) {
  return &program->image;
}

void *anas_program_arena(struct anas_program *program) {
  return program->arena.data;
}

static void note(struct anas_program *program, anas_status status) {
  if (status == ANAS_OK || program->status != ANAS_OK) return;
  program->status = status;
  program->message = anas_arena_strdup(&program->image.memory, anas_error_message());
}

void *anas_program_params(struct anas_program *program) {
  if (program->ops->params) note(program, program->ops->params(program));
  return program->params.data;
}

void anas_program_train_step(struct anas_program *program) {
  if (program->status == ANAS_OK) note(program, program->ops->run(program, true));
}

void anas_program_infer(struct anas_program *program) {
  if (program->status == ANAS_OK) note(program, program->ops->run(program, false));
}

anas_status anas_program_status(const struct anas_program *program) {
  return program->status == ANAS_OK ? ANAS_OK : anas_fail(program->status, "%s", program->message);
}

void anas_program_profile(struct anas_program *program, bool enable) {
  if (program->ops->profile) program->ops->profile(program, enable);
}

void anas_program_profile_get(const struct anas_program *program, int kernel, double *out_seconds, int64_t *out_calls) {
  *out_seconds = 0;
  *out_calls = 0;
  if (program->ops->profile_get) program->ops->profile_get(program, kernel, out_seconds, out_calls);
}
