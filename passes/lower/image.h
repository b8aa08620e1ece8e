// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading a module of the kernel stage (format in passes/lower/lower.h): the program image without its code, and the
// functions to compile.
#ifndef ANAS_PASSES_IMAGE_H
#define ANAS_PASSES_IMAGE_H

#include "passes/cpu/cpu.h"

#include <mlir-c/IR.h>

// One kernel function to compile to one object. Entry functions are not compiled: they become lists of calls, so that
// nothing but new kernel functions is new in a mutated network.
struct anas_unit {
  char *symbol, *kind; // kind: value of anas.kernel
  char *text;          // module text
  size_t size;
  char key[33];                  // of the object cache
  struct anas_cpu_choice choice; // of its plan; zero: what the cost model says
  struct anas_cpu_seconds seconds;
  struct anas_object object;
};

// Fills everything of the image but objects and compile figures. ANAS_INVALID names the missing or malformed attribute.
anas_status anas_image_from_module(MlirModule module, struct anas_program_image *out_image,
                                   struct anas_unit **out_units, int *out_num_units);
void anas_units_destroy(struct anas_unit *units, int num_units);

#endif
