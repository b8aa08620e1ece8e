// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A device for machines without a GPU: interprets the PTX that would go to the driver, and reports faults a GPU would
// not: races, uninitialised shared memory, accesses outside of an allocation. Slow; for tests and for finding bugs.
#include "runtime/device/ptxsim.h"
#include "runtime/device/device.h"
#include "runtime/support/file.h"

#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 256
#define MAX_ARGUMENTS 32

struct recorded {
  const struct ptx_function *function; // null: a fill
  uint32_t grid[3], block, value;
  uint64_t to, argument[MAX_ARGUMENTS];
  size_t count;
};

struct graph {
  struct recorded *items;
  size_t count, capacity;
};

struct simulator {
  struct ptx_memory memory;
  struct graph *recording;
  double mark[2];
};

static anas_status sim_open(int ordinal, void **out_state) {
  if (ordinal != 0) return anas_fail(ANAS_NOT_FOUND, "ptxsim: there is no device %d", ordinal);
  *out_state = anas_alloc(sizeof(struct simulator));
  return ANAS_OK;
}

static void sim_close(void *state) {
  struct simulator *sim = state;
  for (size_t i = 0; i < sim->memory.count; i++)
    free(sim->memory.items[i].data);
  free(sim->memory.items);
  free(sim);
}

static const char *sim_describe(void *state) {
  (void)state;
  return "PTX interpreter";
}

static anas_status sim_allocate(void *state, size_t bytes, uint64_t *out_address) {
  struct simulator *sim = state;
  size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  struct ptx_allocation item = {aligned_alloc(ALIGNMENT, rounded ? rounded : ALIGNMENT), bytes};
  if (!item.data) return anas_fail(ANAS_NO_MEMORY, "ptxsim: cannot allocate %zu bytes", bytes);
  memset(item.data, 0xcd, rounded);
  sim->memory.items = anas_grow(sim->memory.items, sim->memory.count, &sim->memory.capacity, sizeof *sim->memory.items);
  sim->memory.items[sim->memory.count++] = item;
  *out_address = (uint64_t)(uintptr_t)item.data;
  return ANAS_OK;
}

static void sim_release(void *state, uint64_t address) {
  struct simulator *sim = state;
  for (size_t i = 0; i < sim->memory.count; i++) {
    if ((uint64_t)(uintptr_t)sim->memory.items[i].data != address) continue;
    free(sim->memory.items[i].data);
    sim->memory.items[i] = sim->memory.items[--sim->memory.count];
    return;
  }
}

static anas_status check_range(const struct simulator *sim, uint64_t address, size_t bytes) {
  for (size_t i = 0; i < sim->memory.count; i++) {
    uint64_t base = (uint64_t)(uintptr_t)sim->memory.items[i].data;
    if (address >= base && address - base <= sim->memory.items[i].bytes &&
        bytes <= sim->memory.items[i].bytes - (address - base))
      return ANAS_OK;
  }
  return anas_fail(ANAS_INTERNAL, "ptxsim: a copy or fill of %zu bytes outside of every allocation", bytes);
}

static anas_status sim_copy_in(void *state, uint64_t to, const void *from, size_t bytes) {
  ANAS_RETURN_IF_ERROR(check_range(state, to, bytes));
  memcpy((void *)(uintptr_t)to, from, bytes);
  return ANAS_OK;
}

static anas_status sim_copy_out(void *state, void *to, uint64_t from, size_t bytes) {
  ANAS_RETURN_IF_ERROR(check_range(state, from, bytes));
  memcpy(to, (const void *)(uintptr_t)from, bytes);
  return ANAS_OK;
}

static anas_status sim_load(void *state, const char *text, void **out_module) {
  (void)state;
  struct ptx_module module;
  ANAS_RETURN_IF_ERROR(ptx_parse(text, &module));
  struct ptx_module *kept = anas_alloc(sizeof *kept);
  *kept = module;
  *out_module = kept;
  return ANAS_OK;
}

static void sim_unload(void *state, void *module) {
  (void)state;
  ptx_module_deinit(module);
  free(module);
}

static anas_status sim_find(void *state, void *module, const char *symbol, void **out_function) {
  (void)state;
  struct ptx_module *in = module;
  for (size_t i = 0; i < in->num_functions; i++)
    if (!strcmp(in->functions[i].name, symbol)) {
      *out_function = &in->functions[i];
      return ANAS_OK;
    }
  return anas_fail(ANAS_NOT_FOUND, "ptxsim: no function '%s' in the module", symbol);
}

static void record(struct simulator *sim, const struct recorded *item) {
  struct graph *graph = sim->recording;
  graph->items = anas_grow(graph->items, graph->count, &graph->capacity, sizeof *graph->items);
  graph->items[graph->count++] = *item;
}

static anas_status run(struct simulator *sim, struct recorded *item) {
  if (!item->function) {
    ANAS_RETURN_IF_ERROR(check_range(sim, item->to, item->count * 4));
    for (size_t i = 0; i < item->count; i++)
      memcpy((char *)(uintptr_t)item->to + 4 * i, &item->value, 4);
    return ANAS_OK;
  }
  void *arguments[MAX_ARGUMENTS];
  for (int i = 0; i < MAX_ARGUMENTS; i++)
    arguments[i] = &item->argument[i];
  return ptx_launch(item->function, &sim->memory, item->grid, item->block, arguments);
}

static anas_status submit(struct simulator *sim, struct recorded *item) {
  if (!sim->recording) return run(sim, item);
  record(sim, item);
  return ANAS_OK;
}

static anas_status sim_launch(void *state, void *function, const uint32_t grid[3], uint32_t block, void **arguments) {
  const struct ptx_function *f = function;
  struct recorded item = {.function = f, .block = block};
  memcpy(item.grid, grid, sizeof item.grid);
  for (int i = 0; i < f->num_parameters; i++)
    memcpy(&item.argument[i], arguments[i], sizeof item.argument[i]);
  return submit(state, &item);
}

static anas_status sim_fill(void *state, uint64_t to, uint32_t value, size_t count) {
  struct recorded item = {.to = to, .value = value, .count = count};
  return submit(state, &item);
}

static anas_status sim_record_begin(void *state) {
  struct simulator *sim = state;
  if (sim->recording) return anas_fail(ANAS_INVALID, "ptxsim: already recording");
  sim->recording = anas_alloc(sizeof *sim->recording);
  return ANAS_OK;
}

static anas_status sim_record_end(void *state, void **out_graph) {
  struct simulator *sim = state;
  *out_graph = sim->recording;
  sim->recording = NULL;
  return ANAS_OK;
}

static anas_status sim_replay(void *state, void *graph) {
  struct graph *recorded = graph;
  for (size_t i = 0; i < recorded->count; i++)
    ANAS_RETURN_IF_ERROR(run(state, &recorded->items[i]));
  return ANAS_OK;
}

static void sim_graph_destroy(void *state, void *graph) {
  (void)state;
  struct graph *recorded = graph;
  if (!recorded) return;
  free(recorded->items);
  free(recorded);
}

static anas_status sim_synchronize(void *state) {
  (void)state;
  return ANAS_OK;
}

static anas_status sim_mark(void *state, int which) {
  struct simulator *sim = state;
  sim->mark[which] = anas_now();
  return ANAS_OK;
}

static anas_status sim_elapsed(void *state, double *out_seconds) {
  struct simulator *sim = state;
  *out_seconds = sim->mark[1] - sim->mark[0];
  return ANAS_OK;
}

const struct anas_device_ops anas_device_ptxsim = {
    .name = "ptxsim",
    .open = sim_open,
    .close = sim_close,
    .describe = sim_describe,
    .allocate = sim_allocate,
    .release = sim_release,
    .copy_in = sim_copy_in,
    .copy_out = sim_copy_out,
    .load = sim_load,
    .unload = sim_unload,
    .find = sim_find,
    .launch = sim_launch,
    .fill = sim_fill,
    .record_begin = sim_record_begin,
    .record_end = sim_record_end,
    .replay = sim_replay,
    .graph_destroy = sim_graph_destroy,
    .synchronize = sim_synchronize,
    .mark = sim_mark,
    .elapsed = sim_elapsed,
};
