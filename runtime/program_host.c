// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Training programs on this machine's processors: objects linked by ORC, entry functions called through libffi.
#include "runtime/backend.h"
#include "runtime/jit.h"
#include "runtime/support/memory.h"
#include "runtime/team.h"

#include <ffi.h>
#include <stdlib.h>

struct host {
  struct anas_jit *jit;
  ffi_cif cif;
  ffi_type *argument_types[2];
  void *train_step, *infer;
  // Of the parts of image.kernels, null behind the last one; looked up when profiling is first enabled.
  anas_kernel_range (*ranges)[ANAS_KERNEL_PARTS];
};

static anas_status host_load(struct anas_program *program) {
  const struct anas_program_image *image = &program->image;
  struct host *host = program->state;
  void *scratch = (char *)program->arena.data + image->scratch.offset;
  ANAS_RETURN_IF_ERROR(anas_jit_create(image->objects, image->num_objects, scratch, &host->jit));
  ANAS_RETURN_IF_ERROR(anas_jit_lookup(host->jit, "train_step", &host->train_step));
  ANAS_RETURN_IF_ERROR(anas_jit_lookup(host->jit, "infer", &host->infer));
  host->argument_types[0] = host->argument_types[1] = &ffi_type_pointer;
  if (ffi_prep_cif(&host->cif, FFI_DEFAULT_ABI, 2, &ffi_type_void, host->argument_types) != FFI_OK)
    return anas_fail(ANAS_INTERNAL, "libffi refuses the signature of the entry functions");
  return ANAS_OK;
}

static void host_destroy(void *state) {
  struct host *host = state;
  anas_jit_destroy(host->jit);
  free(host->ranges);
  free(host);
}

static anas_status host_run(struct anas_program *program, bool train) {
  struct host *host = program->state;
  void *values[2] = {&program->arena.data, &program->params.data};
  ffi_call(&host->cif, FFI_FN(train ? host->train_step : host->infer), NULL, values);
  return ANAS_OK;
}

static anas_kernel_range find_range(struct host *host, const char *kernel, int part) {
  char *symbol = part ? anas_format("%s_range%d", kernel, part) : anas_format("%s_range", kernel);
  void *address = NULL;
  // A kernel listed but not linked was never called and stays at zero.
  if (anas_jit_lookup(host->jit, symbol, &address) != ANAS_OK) address = NULL;
  free(symbol);
  return (anas_kernel_range)(uintptr_t)address;
}

static void host_profile(struct anas_program *program, bool enable) {
  struct host *host = program->state;
  if (enable && !host->ranges) {
    int count = program->image.num_kernels;
    host->ranges = anas_calloc((size_t)count, sizeof *host->ranges);
    for (int i = 0; i < count; i++)
      for (int part = 0; part < ANAS_KERNEL_PARTS; part++) {
        host->ranges[i][part] = find_range(host, program->image.kernels[i].symbol, part);
        if (!host->ranges[i][part]) break;
      }
  }
  anas_team_profile(enable);
}

static void host_profile_get(const struct anas_program *program, int kernel, double *out_seconds, int64_t *out_calls) {
  const struct host *host = program->state;
  if (!host->ranges) return;
  for (int part = 0; part < ANAS_KERNEL_PARTS && host->ranges[kernel][part]; part++) {
    double seconds;
    int64_t calls;
    anas_team_profile_get(host->ranges[kernel][part], &seconds, &calls);
    *out_seconds += seconds;
    if (!part) *out_calls = calls;
  }
}

static const struct anas_program_ops host_ops = {
    .load = host_load,
    .destroy = host_destroy,
    .run = host_run,
    .profile = host_profile,
    .profile_get = host_profile_get,
};

anas_status anas_program_load(struct anas_program_image *image, struct anas_program **out) {
  return anas_program_create(image, &host_ops, anas_alloc(sizeof(struct host)), out);
}
