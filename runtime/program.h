// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A compiled training program: machine code of the kernel functions, lists of their calls, a memory layout, and the
// list of its tensors. The runtime knows nothing about the dialect.
#ifndef ANAS_RUNTIME_PROGRAM_H
#define ANAS_RUNTIME_PROGRAM_H

#include "runtime/support/memory.h"
#include "runtime/support/status.h"

#include <stdbool.h>
#include <stdint.h>

enum anas_tensor_role { ANAS_TENSOR_PARAM, ANAS_TENSOR_STATE, ANAS_TENSOR_OPTIMIZER };

struct anas_tensor { // lives in the parameter buffer, f32, row-major
  const char *name;  // "main/stem/conv/kernel"; optimizer state: "main/stem/conv/kernel:momentum"
  enum anas_tensor_role role;
  const char *init; // see runtime/init.h
  int rank;
  int64_t dim[8];
  int64_t fan_in, fan_out;
  size_t offset, count; // bytes from the start of the parameter buffer; elements
};

struct anas_region { // a tensor of the step inside the arena
  size_t offset, bytes;
};

struct anas_kernel {  // one distinct kernel function
  const char *symbol; // "k_3f9c..."
  const char *kind;   // "conv_fwd"
  double flops;       // per call
  double bytes;       // per call, operands read and written once
  int calls;          // per training step
};

struct anas_call_argument { // a buffer: bytes from the start of the arena or the parameters
  bool in_params;
  size_t offset;
};

struct anas_call { // of a kernel function, with num_arguments arguments of the list
  int kernel, first_argument, num_arguments;
  int group; // calls of one group follow each other and may be carried out in step (runtime/group.h); 0: none
  int64_t slabs;
};

struct anas_call_list { // an entry function: calls in execution order
  struct anas_call *calls;
  struct anas_call_argument *arguments;
  int num_calls, num_arguments;
};

struct anas_object { // a relocatable object in memory
  void *data;
  size_t size;
  size_t scratch_bytes; // memory that its kernel functions find at the symbol anas_scratch
  int64_t items;        // of work, among which a launch is split over threads; 0 or 1: it is not
  char plan[120];       // how a kernel function computes, for people
};

// Everything the compiler hands over. All pointers live in arena or are owned by objects.
struct anas_program_image {
  struct anas_arena memory; // strings and arrays below
  int64_t batch, height, width, channels, classes;
  size_t arena_bytes, params_bytes;
  struct anas_tensor *tensors;
  int num_tensors;
  struct anas_region image, label, learning_rate, seed; // written by the runtime before a call
  struct anas_region loss, correct, logits;             // read after it: f32 mean loss over the batch (label -1
                                                        // contributes 0), i32 number correct, f32 logits
  struct anas_region scratch;                           // of the kernel functions, one after the other
  struct anas_kernel *kernels;
  int num_kernels;
  struct anas_call_list train_step, infer;
  struct anas_object *objects; // kernel functions
  int num_objects;
  int cache_hits, cache_misses;
  double compile_seconds;
};
void anas_program_image_deinit(struct anas_program_image *image);

// Loaded and ready to run: calls of kernel functions go through libffi, void k(void *operand, ...).
struct anas_program;
anas_status anas_program_load(struct anas_program_image *image /* taken over */, struct anas_program **out);
void anas_program_destroy(struct anas_program *program);
const struct anas_program_image *anas_program_info(const struct anas_program *program);

void *anas_program_arena(struct anas_program *program);     // arena_bytes, 64-byte aligned, zeroed at load
void *anas_program_params(struct anas_program *program);    // params_bytes
void anas_program_train_step(struct anas_program *program); // one optimizer step on the batch in the arena
void anas_program_infer(struct anas_program *program);      // forward only, running statistics
// The first failure of a step on a device; after it, steps do nothing. Programs of this machine's processors have none.
anas_status anas_program_status(const struct anas_program *program);

// Time spent in each kernel function, measured by the thread team while enabled.
void anas_program_profile(struct anas_program *program, bool enable);
// seconds and calls of kernel i since enabling.
void anas_program_profile_get(const struct anas_program *program, int kernel, double *out_seconds, int64_t *out_calls);

#endif
