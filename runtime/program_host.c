// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Training programs on this machine's processors: objects linked by ORC, kernel functions called
// through libffi in the order of the call lists.
#include "runtime/backend.h"
#include "runtime/group.h"
#include "runtime/jit.h"
#include "runtime/support/memory.h"
#include "runtime/support/resident.h"
#include "runtime/team.h"

#include <ffi.h>
#include <stdlib.h>

struct entry { // a call list with addresses
  const struct anas_call_list *list;
  void **pointers; // of the list's arguments
  void **values;   // addresses of those, as libffi wants them
};

struct host {
  struct anas_jit *jit;
  void **kernels; // address of each kernel function; null: never called
  struct entry train_step, infer;
  ffi_cif *signatures; // by number of arguments
  ffi_type **types;
  // Of the parts of image.kernels, null behind the last one; looked up when profiling is first enabled.
  anas_kernel_range (*ranges)[ANAS_KERNEL_PARTS];
};

static int most_arguments(const struct anas_call_list *list) {
  int most = 0;
  for (int i = 0; i < list->num_calls; i++)
    if (list->calls[i].num_arguments > most) most = list->calls[i].num_arguments;
  return most;
}

static anas_status prepare_signatures(struct host *host, int most) {
  host->signatures = anas_calloc((size_t)most + 1, sizeof *host->signatures);
  host->types = anas_calloc((size_t)most + 1, sizeof(ffi_type *));
  for (int i = 0; i <= most; i++)
    host->types[i] = &ffi_type_pointer;
  for (int i = 0; i <= most; i++)
    if (ffi_prep_cif(&host->signatures[i], FFI_DEFAULT_ABI, (unsigned)i, &ffi_type_void, host->types) != FFI_OK)
      return anas_fail(ANAS_INTERNAL, "libffi refuses the signature of a kernel function");
  return ANAS_OK;
}

static void place_arguments(struct anas_program *program, const struct anas_call_list *list, struct entry *entry) {
  size_t count = (size_t)list->num_arguments;
  *entry = (struct entry){
      .list = list, .pointers = anas_calloc(count, sizeof(void *)), .values = anas_calloc(count, sizeof(void *))};
  for (size_t i = 0; i < count; i++) {
    const struct anas_call_argument *argument = &list->arguments[i];
    entry->pointers[i] = (char *)(argument->in_params ? program->params.data : program->arena.data) + argument->offset;
    entry->values[i] = &entry->pointers[i];
  }
}

static anas_status find_kernels(struct host *host, const struct anas_program_image *image) {
  size_t count = (size_t)image->num_kernels;
  const char **symbols = anas_calloc(count, sizeof *symbols);
  host->kernels = anas_calloc(count, sizeof *host->kernels);
  const struct anas_call_list *lists[] = {&image->train_step, &image->infer};
  for (int l = 0; l < 2; l++)
    for (int i = 0; i < lists[l]->num_calls; i++)
      symbols[lists[l]->calls[i].kernel] = image->kernels[lists[l]->calls[i].kernel].symbol;
  anas_status status = ANAS_OK;
  for (size_t k = 0; status == ANAS_OK && k < count; k++)
    if (symbols[k]) status = anas_jit_lookup(host->jit, symbols[k], &host->kernels[k]);
  free(symbols);
  return status;
}

static anas_status host_load(struct anas_program *program) {
  const struct anas_program_image *image = &program->image;
  struct host *host = program->state;
  void *scratch = (char *)program->arena.data + image->scratch.offset;
  ANAS_RETURN_IF_ERROR(anas_jit_create(image->objects, image->num_objects, scratch, &host->jit));
  ANAS_RETURN_IF_ERROR(find_kernels(host, image));
  anas_resident_drop(); // the compiler and the linker are done, the arena is not touched yet
  place_arguments(program, &image->train_step, &host->train_step);
  place_arguments(program, &image->infer, &host->infer);
  int train = most_arguments(&image->train_step), infer = most_arguments(&image->infer);
  return prepare_signatures(host, train > infer ? train : infer);
}

static void entry_deinit(struct entry *entry) {
  free(entry->pointers);
  free(entry->values);
}

static void host_destroy(void *state) {
  struct host *host = state;
  anas_jit_destroy(host->jit);
  entry_deinit(&host->train_step);
  entry_deinit(&host->infer);
  free(host->kernels);
  free(host->signatures);
  free(host->types);
  free(host->ranges);
  free(host);
}

static anas_status host_run(struct anas_program *program, bool train) {
  struct host *host = program->state;
  const struct entry *entry = train ? &host->train_step : &host->infer;
  int group = 0;
  for (int i = 0; i < entry->list->num_calls; i++) {
    const struct anas_call *call = &entry->list->calls[i];
    if (call->group != group) {
      if (group) anas_group_end();
      if (call->group) anas_group_begin(call->slabs);
      group = call->group;
    }
    ffi_call(&host->signatures[call->num_arguments], FFI_FN(host->kernels[call->kernel]), NULL,
             entry->values + call->first_argument);
  }
  if (group) anas_group_end();
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
