// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Depth along a chain (spec 2.3): the number of changes between linear and non-linear ops, the producer of the chain's
// input included. Neutral ops are transparent. The analysis of whole functions is in properties.c.
#include "passes/analysis/analysis.h"

struct anas_depth_state anas_depth_append(struct anas_depth_state state, enum anas_linearity kind) {
  if (kind == ANAS_NEUTRAL) return state;
  return (struct anas_depth_state){.depth = state.depth + (kind != state.last), .last = kind};
}
