// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Time per kernel function of a program's training steps.
#include "runtime/profile.h"

#include "runtime/support/memory.h"
#include "runtime/team.h"

#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double anas_median(double *values, size_t count) {
  if (!count) return 0;
  qsort(values, count, sizeof *values, by_value);
  return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static int slower_first(const void *a, const void *b) {
  double x = ((const struct anas_profile_row *)a)->seconds, y = ((const struct anas_profile_row *)b)->seconds;
  return (x < y) - (x > y);
}

static bool starts_with(const char *text, const char *start) {
  return !strncmp(text, start, strlen(start));
}

int anas_profile_steps(struct anas_program *program, int steps, int threads, struct anas_profile_row **out_rows) {
  const struct anas_program_image *info = anas_program_info(program);
  int kernels = info->num_kernels, old_threads = anas_team_size(), count = 0;
  double *seconds = anas_calloc((size_t)kernels * (size_t)steps, sizeof *seconds); // [kernel][step]
  int64_t *calls = anas_calloc((size_t)kernels, sizeof *calls);
  struct anas_profile_row *rows = anas_calloc((size_t)kernels, sizeof *rows);
  anas_team_set_size(threads);
  anas_program_train_step(program);
  for (int s = 0; s < steps; s++) {
    anas_program_profile(program, true); // starts from zero
    anas_program_train_step(program);
    for (int k = 0; k < kernels; k++)
      anas_program_profile_get(program, k, &seconds[k * steps + s], &calls[k]);
  }
  anas_program_profile(program, false);
  anas_team_set_size(old_threads);
  for (int k = 0; k < kernels; k++) {
    if (!calls[k]) continue;
    const struct anas_kernel *kernel = &info->kernels[k];
    double median = anas_median(&seconds[k * steps], (size_t)steps);
    double rate = median > 0 ? (double)calls[k] / median / 1e9 : 0;
    bool convolution = starts_with(kernel->kind, "conv_") || starts_with(kernel->kind, "depthwise") ||
                       starts_with(kernel->kind, "winograd");
    rows[count++] = (struct anas_profile_row){
        .kernel = kernel,
        .seconds = median,
        .gflops = kernel->flops * rate,
        .gbytes = kernel->bytes * rate,
        .convolution = convolution,
        .contraction = convolution || starts_with(kernel->kind, "dense") || starts_with(kernel->kind, "contraction"),
    };
  }
  qsort(rows, (size_t)count, sizeof *rows, slower_first);
  free(seconds);
  free(calls);
  *out_rows = rows;
  return count;
}
