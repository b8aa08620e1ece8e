// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The table of passes: a new pass adds one line here.
#include "passes/pass.h"

#include <string.h>

// In the order of --help: checking, analyses, rewrites, lowering.
#define PASSES(X)                                                                                                      \
  X(verify)                                                                                                            \
  X(infer_shapes)                                                                                                      \
  X(infer_properties)                                                                                                  \
  X(cost)                                                                                                              \
  X(synthesize)                                                                                                        \
  X(check_certificate)                                                                                                 \
  X(mutate)                                                                                                            \
  X(remove_dead)                                                                                                       \
  X(train_step)                                                                                                        \
  X(to_kernels)                                                                                                        \
  X(to_llvm)

#define DECLARE(name) extern const struct anas_pass_def anas_pass_##name;
#define ENTRY(name) &anas_pass_##name,
PASSES(DECLARE)
static const struct anas_pass_def *const table[] = {PASSES(ENTRY)};

const struct anas_pass_def *const *anas_pass_table(int *out_count) {
  *out_count = (int)(sizeof table / sizeof *table);
  return table;
}

const struct anas_pass_def *anas_pass_find(const char *argument, size_t length) {
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (strlen(table[i]->argument) == length && !memcmp(table[i]->argument, argument, length)) return table[i];
  return NULL;
}
