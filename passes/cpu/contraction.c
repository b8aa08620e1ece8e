// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "passes/cpu/nest.h"
bool anas_cpu_contraction(struct anas_code *code, const struct anas_cpu_nest *nest, MlirValue begin, MlirValue end,
                          struct anas_cpu_range *out) {
  (void)code;
  (void)nest;
  (void)begin;
  (void)end;
  (void)out;
  return false;
}
