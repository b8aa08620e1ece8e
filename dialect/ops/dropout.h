// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The training form of dropout, for ops that contain one.
#ifndef ANAS_DIALECT_OPS_DROPOUT_H
#define ANAS_DIALECT_OPS_DROPOUT_H

#include "dialect/train.h"

// x with random zeros; rate > 0, in training.
anas_status anas_emit_dropout(struct anas_train *train, double rate, MlirValue x, MlirValue *out);
// The gradient passes through the same mask, drawn again from the same stream: nothing is stored. dropped is what
// anas_emit_dropout gave.
anas_status anas_emit_dropout_gradient(struct anas_train *train, double rate, MlirValue dropped, MlirValue gradient,
                                       MlirValue *out);

#endif
