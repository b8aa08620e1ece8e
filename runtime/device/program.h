// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A training program for a GPU: PTX modules, a memory layout, and for each entry function the list of its launches. It
// is self-contained: written to a file (a bundle), it runs on a machine that has only a driver.
#ifndef ANAS_RUNTIME_DEVICE_PROGRAM_H
#define ANAS_RUNTIME_DEVICE_PROGRAM_H

#include "runtime/device/device.h"
#include "runtime/program.h"

enum anas_device_base { ANAS_BASE_ARENA, ANAS_BASE_PARAMS, ANAS_BASE_WORKSPACE };
struct anas_device_pointer {
  enum anas_device_base base;
  uint64_t offset; // bytes
};

enum { ANAS_DEVICE_MAX_ARGUMENTS = 24 };
struct anas_device_launch {
  int function; // of the program; -1: a fill of count 32-bit elements at argument[0] with value
  uint32_t grid[3], block;
  uint32_t value;
  uint64_t count;
  int num_arguments;
  struct anas_device_pointer argument[ANAS_DEVICE_MAX_ARGUMENTS];
};

struct anas_device_module {
  char *ptx;   // malloc'ed, ends in a null byte
  size_t size; // without it
};

struct anas_device_function {
  const char *symbol, *kind; // kind: of the kernel function it belongs to
  int module;
};

enum anas_entry { ANAS_ENTRY_TRAIN_STEP, ANAS_ENTRY_INFER, ANAS_NUM_ENTRIES };

struct anas_device_program {
  struct anas_program_image image; // without objects; owns the strings
  char chip[16];
  size_t workspace_bytes;
  struct anas_device_module *modules;
  int num_modules;
  struct anas_device_function *functions;
  int num_functions;
  struct anas_device_launch *launches[ANAS_NUM_ENTRIES]; // malloc'ed
  size_t num_launches[ANAS_NUM_ENTRIES];
};
void anas_device_program_deinit(struct anas_device_program *program);
// Every index and address inside its bounds; ANAS_CORRUPT says what is not.
anas_status anas_device_program_check(const struct anas_device_program *program);

// Bundle files: format described in bundle.c. Writing replaces the file as a whole. ANAS_CORRUPT for a damaged one.
anas_status anas_bundle_write(const char *path, const struct anas_device_program *program);
anas_status anas_bundle_read(const char *path, struct anas_device_program *out);

// Loads a program (taken over) on an open device (borrowed): anas_program_train_step and anas_program_infer each are
// one launch of a graph recorded here. The arena and the parameters of the anas_program are copies on the host:
// regions written by the runtime go to the device before a step, results come back after it, parameters travel when
// somebody asked for their address.
anas_status anas_device_program_load(struct anas_device_program *program, struct anas_device *device,
                                     struct anas_program **out);
// Seconds of one training step on the device, by device clocks: mean over `steps` launches of the graph with nothing
// copied between them.
anas_status anas_device_program_time(struct anas_program *program, int steps, double *out_seconds);
// Seconds of each function of one training step, launched one by one: seconds[num_functions], summed over its launches.
anas_status anas_device_program_profile(struct anas_program *program, int steps, double *seconds);
const struct anas_device_program *anas_device_program_of(const struct anas_program *program);

#endif
