// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// For tests of GPU code: one kernel function to PTX, and run by the interpreter. Everything that fails ends the test.
#ifndef ANAS_TEST_GPU_FIXTURE_H
#define ANAS_TEST_GPU_FIXTURE_H

#include "passes/gpu/gpu.h"
#include "runtime/support/rng.h"
#include "runtime/support/strbuf.h"

struct gpu_kernel {
  struct anas_gpu_code code; // without the module
  char *ptx;                 // malloc'ed
};
// text: a module whose first operation is the kernel function.
void gpu_compile(const char *text, const char *precision, struct gpu_kernel *out);
// What the interpreter says about the launches of a kernel function on buffers of the device.
anas_status gpu_run(const struct gpu_kernel *kernel, const uint64_t *operands, struct anas_device *device);
uint64_t gpu_upload(struct anas_device *device, const float *values, size_t count);
float *gpu_random_values(size_t count, struct anas_rng *rng); // malloc'ed

// A contraction C (+)= A * B summed over the loops that C does not name.
struct gpu_contraction {
  const char *loops;  // a letter each
  int extent[8];      // of each
  const char *map[3]; // of A, B and C: the index of every dimension, "n, y*2+i, x*2+j, c"
  bool fill;          // C starts from zero
};
void gpu_contraction_text(const struct gpu_contraction *contraction, struct anas_strbuf *text);
size_t gpu_contraction_elements(const struct gpu_contraction *contraction, int operand);
int64_t gpu_contraction_stride(const struct gpu_contraction *contraction, int operand, int loop);

#endif
