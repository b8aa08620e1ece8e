// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The training form of dropout, for ops that contain one.
#ifndef ANAS_DIALECT_OPS_DROPOUT_H
#define ANAS_DIALECT_OPS_DROPOUT_H

#include "dialect/train.h"

// x with random zeros; rate > 0, in training.
anas_status anas_emit_dropout(struct anas_train *train, double rate, MlirValue x, MlirValue *out);
// The same with whole examples, the indices of dimension 0.
anas_status anas_emit_drop_examples(struct anas_train *train, double rate, MlirValue x, MlirValue *out);
// The gradient passes through the same mask, drawn again from the same stream: nothing is stored. dropped is what
// one of the others gave.
anas_status anas_emit_dropout_gradient(struct anas_train *train, double rate, MlirValue dropped, MlirValue gradient,
                                       MlirValue *out);
// ANAS_INVALID unless the value of the attribute lies in [0, 1).
anas_status anas_check_rate(const struct anas_op *op, const char *attr, double rate);

#endif
