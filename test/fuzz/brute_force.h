// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Properties by their definitions, calls expanded: mixing from sets of input elements that every element of every value
// depends on, depth from the enumeration of all paths. Slow and obvious; for values of a few hundred elements.
#ifndef ANAS_TEST_FUZZ_BRUTE_FORCE_H
#define ANAS_TEST_FUZZ_BRUTE_FORCE_H

#include "passes/analysis/analysis.h"

// Elements of an argument that the elements of a value depend on: bits[element][word].
struct brute_set {
  int64_t elements;
  int words;
  uint64_t *bits; // null: no dependency at all
};

struct brute {
  int num_results, num_args;
  struct brute_set dependency[ANAS_MAX_RESULTS][ANAS_MAX_ARGS];
  struct anas_mixing mixing[ANAS_MAX_RESULTS][ANAS_MAX_ARGS];
  int64_t depth[ANAS_MAX_RESULTS][ANAS_MAX_ARGS]; // -1: no path; -2: too many paths to enumerate
};

// Static extents only.
void brute_init(const struct anas_model *model, int function, struct brute *out);
void brute_deinit(struct brute *brute);

// Dependencies of an op's result on an operand; elementwise where the definition has none.
void brute_deps(const struct anas_op *op, int which, const struct anas_shape *result, struct anas_dep *out);

#endif
