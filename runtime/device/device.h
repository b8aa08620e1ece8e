// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Accelerators: memory, modules, launches, recorded graphs, time. One stream; calls of one device come from one thread.
#ifndef ANAS_RUNTIME_DEVICE_H
#define ANAS_RUNTIME_DEVICE_H

#include "runtime/support/status.h"

#include <stdint.h>

// What a backend implements. Handles are opaque; every function returns ANAS_OK or a message that names the call.
struct anas_device_ops {
  const char *name;
  anas_status (*open)(int ordinal, void **out_state);
  void (*close)(void *state);
  const char *(*describe)(void *state); // "NVIDIA H100 80GB HBM3, compute capability 9.0"
  anas_status (*allocate)(void *state, size_t bytes, uint64_t *out_address); // at least 256-byte aligned, not cleared
  void (*release)(void *state, uint64_t address);
  anas_status (*copy_in)(void *state, uint64_t to, const void *from, size_t bytes);
  anas_status (*copy_out)(void *state, void *to, uint64_t from, size_t bytes); // after everything launched before
  anas_status (*load)(void *state, const char *text, void **out_module);       // text of PTX, null-terminated
  void (*unload)(void *state, void *module);
  anas_status (*find)(void *state, void *module, const char *symbol, void **out_function);
  // arguments: addresses of the parameters' values, each 8 bytes
  anas_status (*launch)(void *state, void *function, const uint32_t grid[3], uint32_t block, void **arguments);
  anas_status (*fill)(void *state, uint64_t to, uint32_t value, size_t count); // count elements of 4 bytes
  anas_status (*record_begin)(void *state); // launches and fills until record_end go into a graph
  anas_status (*record_end)(void *state, void **out_graph);
  anas_status (*replay)(void *state, void *graph);
  void (*graph_destroy)(void *state, void *graph);
  anas_status (*synchronize)(void *state);
  anas_status (*mark)(void *state, int which);              // 0, 1: a point in the stream
  anas_status (*elapsed)(void *state, double *out_seconds); // between the marks; waits for the second
};

struct anas_device {
  const struct anas_device_ops *ops;
  void *state;
};

// name: "cuda" or "ptxsim". ANAS_NOT_FOUND says what is missing (driver library, device).
anas_status anas_device_open(const char *name, int ordinal, struct anas_device **out);
void anas_device_close(struct anas_device *device);

extern const struct anas_device_ops anas_device_cuda, anas_device_ptxsim;

#endif
