// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading a module of the kernel stage (format in passes/lower/lower.h): the program image without its code, and the
// functions to compile.
#ifndef ANAS_PASSES_IMAGE_H
#define ANAS_PASSES_IMAGE_H

#include "runtime/program.h"

#include <mlir-c/IR.h>

// One function to compile to one object: a kernel function, or an entry function with declarations of its kernels.
struct anas_unit {
  char *symbol, *kind; // kind: value of anas.kernel, or "entry"
  char *text;          // module text; names the kernel functions by content, so it identifies the code
  size_t size;
  char key[33]; // of the object cache
  struct anas_object object;
};

// Fills everything of the image but objects and compile figures. ANAS_INVALID names the missing or malformed attribute.
anas_status anas_image_from_module(MlirModule module, struct anas_program_image *out_image,
                                   struct anas_unit **out_units, int *out_num_units);
void anas_units_destroy(struct anas_unit *units, int num_units);

#endif
