// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to the runtime: what a loaded program is made of, for the backends that run it.
#ifndef ANAS_RUNTIME_BACKEND_H
#define ANAS_RUNTIME_BACKEND_H

#include "runtime/program.h"

struct anas_program_buffer { // anonymous mapping
  void *data;
  size_t mapped;
};

struct anas_program_ops {
  anas_status (*load)(struct anas_program *program); // image, buffers and state are set
  void (*destroy)(void *state);                      // also of a program whose load failed
  anas_status (*run)(struct anas_program *program, bool train);
  // May be null. params: the caller is about to read or write the parameter buffer.
  anas_status (*params)(struct anas_program *program);
  void (*profile)(struct anas_program *program, bool enable);
  void (*profile_get)(const struct anas_program *program, int kernel, double *out_seconds, int64_t *out_calls);
};

struct anas_program {
  struct anas_program_image image;
  struct anas_program_buffer arena, params;
  const struct anas_program_ops *ops;
  void *state;
  anas_status status; // first failure of a run
  const char *message;
};

// Takes over image and state, whatever happens.
anas_status anas_program_create(struct anas_program_image *image, const struct anas_program_ops *ops, void *state,
                                struct anas_program **out);
// ANAS_INVALID if a region or tensor lies outside its buffer.
anas_status anas_program_image_check(const struct anas_program_image *image);

#endif
