// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// --profile: time per kernel function beside the bytes of its operands and the FMA peak, and time per kind.
#include "tools/anas-train/profile.h"

#include "passes/cpu/cpu.h"
#include "passes/cpu/peak.h"
#include "runtime/profile.h"
#include "runtime/support/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROFILED_STEPS 5

static int slower_first(const void *a, const void *b) {
  double x = ((const struct anas_profile_row *)a)->seconds, y = ((const struct anas_profile_row *)b)->seconds;
  return (x < y) - (x > y);
}

// Seconds of each kind of kernel function, the slowest first. Rows are at most a few hundred.
static void print_kinds(const struct anas_profile_row *rows, int count, double total) {
  struct anas_profile_row *kinds = anas_calloc((size_t)count, sizeof *kinds);
  int num_kinds = 0;
  for (int i = 0; i < count; i++) {
    int at = 0;
    while (at < num_kinds && strcmp(kinds[at].kernel->kind, rows[i].kernel->kind))
      at++;
    if (at == num_kinds) kinds[num_kinds++].kernel = rows[i].kernel;
    kinds[at].seconds += rows[i].seconds;
  }
  qsort(kinds, (size_t)num_kinds, sizeof *kinds, slower_first);
  printf("by kind:\n");
  for (int i = 0; i < num_kinds; i++)
    printf("%-44s %9.3f %6.1f%%\n", kinds[i].kernel->kind, kinds[i].seconds * 1e3, 100 * kinds[i].seconds / total);
  free(kinds);
}

static void print_rows(const struct anas_profile_row *rows, int count, double peak) {
  double total = 0;
  for (int i = 0; i < count; i++)
    total += rows[i].seconds;
  printf("one thread, FMA peak %.1f GFLOP/s, %.2f ms a step\n", peak, total * 1e3);
  printf("%-10s %-26s %6s %9s %7s %7s %9s %7s\n", "function", "kind", "calls", "ms/step", "time", "GB/s", "GFLOP/s",
         "peak");
  for (int i = 0; i < count; i++) {
    const struct anas_profile_row *row = &rows[i];
    printf("%-10.10s %-26s %6d %9.3f %6.1f%% %7.1f", row->kernel->symbol, row->kernel->kind, row->kernel->calls,
           row->seconds * 1e3, 100 * row->seconds / total, row->gbytes);
    if (row->contraction) printf(" %9.1f %6.1f%%", row->gflops, 100 * row->gflops / peak);
    putchar('\n');
  }
  print_kinds(rows, count, total);
}

static void print_json_rows(const struct anas_profile_row *rows, int count, double peak) {
  for (int i = 0; i < count; i++)
    printf("{\"event\":\"kernel\",\"function\":\"%s\",\"kind\":\"%s\",\"calls\":%d,\"seconds\":%.9f,\"gflops\":%.3f,"
           "\"gbytes\":%.3f,"
           "\"peak_gflops\":%.3f,\"contraction\":%s}\n",
           rows[i].kernel->symbol, rows[i].kernel->kind, rows[i].kernel->calls, rows[i].seconds, rows[i].gflops,
           rows[i].gbytes, peak, rows[i].contraction ? "true" : "false");
}

anas_status profile_kernels(struct anas_program *program, const char *cpu, bool json) {
  struct anas_cpu_target target;
  ANAS_RETURN_IF_ERROR(anas_cpu_target_init(cpu, &target));
  struct anas_profile_row *rows;
  int count = anas_profile_steps(program, PROFILED_STEPS, 1, &rows);
  double peak = anas_fma_peak(&target);
  (json ? print_json_rows : print_rows)(rows, count, peak);
  free(rows);
  anas_cpu_target_deinit(&target);
  return ANAS_OK;
}
