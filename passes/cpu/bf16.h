// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to passes/cpu: contractions that multiply bf16 and sum up in f32.
//
// The instruction adds the products of two pairs to each lane, so one reduction loop is taken by twos. A first part of
// the kernel rounds A, a second one B, into scratch memory where the two values of a pair are one element of 32 bits;
// the third is the contraction of these elements over half as many steps, planned and emitted like any other.
#ifndef ANAS_PASSES_CPU_BF16_H
#define ANAS_PASSES_CPU_BF16_H

#include "passes/cpu/nest.h"

// The pairs of an operand, which is [outer][depth][inner]: of depth, `extent` iterations from `first` on are taken by
// twos. The copy is [outer][(extent + 1) / 2][inner], at `at` of the scratch memory; a pair that lacks its second value
// has zero there.
struct anas_bf16_copy {
  int operand;
  int64_t outer, depth, inner, first, extent, at;
};

struct anas_bf16_plan {
  int loop; // the reduction taken by twos
  struct anas_bf16_copy copy[2];
  int64_t scratch;           // elements
  struct anas_cpu_nest nest; // of pairs; its inputs are the scratch memory
  double cycles;             // expected
};

// False if the nest is no contraction, or cannot or (unless the target says always) should not be computed like this.
bool anas_bf16_plan(const struct anas_cpu_nest *nest, const struct anas_cpu_target *target, struct anas_bf16_plan *out);

// Work items of a copy, and code for those of a range.
int64_t anas_bf16_copy_items(const struct anas_bf16_copy *copy);
void anas_bf16_copy_emit(struct anas_code *code, const struct anas_bf16_copy *copy, MlirValue source, MlirValue scratch,
                         MlirValue begin, MlirValue end);

#endif
