// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the tests of the CPU emitters share: a context, the targets this machine can run, and the comparison of emitted
// code with the stock lowering.
#ifndef ANAS_TEST_CPU_FIXTURE_H
#define ANAS_TEST_CPU_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "test/unit/cpu_kernels.h"

struct cpu_fixture {
  MlirContext context;
  struct anas_cpu_target targets[3];
  int num_targets;
  bool bf16;      // contractions of operands rounded to bf16, see cpu_set_up_bf16
  int num_paired; // kernels computed like that
  int num_cut;    // kernels whose parts were run by kernel_check
};
extern struct cpu_fixture cpu;

// Set-up and tear-down of a group of tests.
int cpu_set_up(void **state);
// Contractions round their operands to bf16 wherever they can, with 8 and 16 lanes; kernels are compared with the
// stock lowering in double precision on rounded operands. No targets if this machine has not the instructions.
int cpu_set_up_bf16(void **state);
int cpu_tear_down(void **state);

// Emitted code for every target, whole, in pieces and part by part, against the stock lowering on random operands;
// tolerance is relative to 1 + |reference|. kernel: what the text was printed from; null: it was not.
void kernel_check_text(const char *text, const struct kernel_text *kernel, double tolerance);
void kernel_check(const struct kernel_text *kernel, double tolerance);

#define FORMAT(name, ...)                                                                                              \
  char name[256];                                                                                                      \
  snprintf(name, sizeof name, __VA_ARGS__)

#endif
