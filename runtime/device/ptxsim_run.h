// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to the running part of the PTX interpreter: state of a launch, its blocks and warps.
#ifndef ANAS_RUNTIME_PTXSIM_RUN_H
#define ANAS_RUNTIME_PTXSIM_RUN_H

#include "runtime/device/ptxsim.h"

#include <pthread.h>
#include <stdatomic.h>

#define EVERYONE UINT32_MAX
#define MANY UINT16_MAX

typedef uint32_t __attribute__((may_alias)) word;
typedef int32_t __attribute__((may_alias)) sword;
typedef uint64_t __attribute__((may_alias)) quad;
typedef float __attribute__((may_alias)) real;

struct launch {
  const struct ptx_function *function;
  const struct ptx_memory *memory;
  uint32_t grid[3], block;
  void **arguments;
  atomic_bool failed;
  pthread_mutex_t lock; // guards message
  char *message;
};

struct cell { // what is known of a word of shared memory
  uint32_t write_epoch, read_epoch;
  uint16_t writer, reader; // thread + 1
  bool awaited;            // a copy is under way
};

struct block {
  struct launch *launch;
  int64_t number; // in the grid
  char *shared;
  struct cell *cells;
  uint32_t epoch;                    // barriers passed, from 1
  const struct ptx_allocation *last; // that an access hit
};

struct copy { // cp.async
  int lane;
  uint32_t group; // of the lane
  uint32_t to, bytes;
  char data[16];
};

struct warp {
  word *file; // registers
  int first;  // thread
  uint32_t alive;
  int pc[PTX_LANES];
  bool waits;
  struct copy *copies; // under way
  size_t num_copies, capacity;
  uint32_t groups[PTX_LANES]; // committed by each lane
};

// Keeps the first fault; the launch ends soon after.
void ptx_fault(struct block *block, const struct ptx_instruction *instruction, int thread, const char *what);

// ld and st of the lanes in `mask`; ldmatrix of all.
void ptx_access(struct block *block, struct warp *warp, const struct ptx_instruction *in, uint32_t mask);
void ptx_load_matrices(struct block *block, struct warp *warp, const struct ptx_instruction *in);

// cp.async: the data are there when the lane has waited for the group, for other threads behind a barrier after that.
// Nobody may touch the words in between.
void ptx_copy_start(struct block *block, struct warp *warp, const struct ptx_instruction *in, uint32_t mask);
void ptx_copy_commit(struct warp *warp, uint32_t mask);
void ptx_copy_wait(struct block *block, struct warp *warp, const struct ptx_instruction *in, uint32_t mask);

#endif
