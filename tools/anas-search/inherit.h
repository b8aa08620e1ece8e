// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// --inherit-weights: a child starts from what its parent has learnt.
#ifndef ANAS_TOOLS_ANAS_SEARCH_INHERIT_H
#define ANAS_TOOLS_ANAS_SEARCH_INHERIT_H

#include "dialect/model.h"
#include "runtime/program.h"

struct inherit_report {
  int tensors, all_tensors; // that came from the file; without optimizer state
  int64_t scalars, all_scalars;
  int identities; // residual additions that start as the identity
};

// Overwrites initialised parameters and statistics with those of the file that have the same path and shape. With
// 'identity', residual branches that are all new get a last normalisation, or linear op, of zeros: the addition then
// returns its other operand, as if the branch were not there.
anas_status inherit_weights(const char *path, const struct anas_model *model, const struct anas_program_image *image,
                            void *params, bool identity, struct inherit_report *out);

#endif
