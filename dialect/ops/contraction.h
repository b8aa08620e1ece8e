// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The training op behind einsum, dot_general, dense_general and self_attention: a contraction by equation.
#ifndef ANAS_DIALECT_OPS_CONTRACTION_H
#define ANAS_DIALECT_OPS_CONTRACTION_H

#include "dialect/equation.h"
#include "dialect/train.h"

// y = the contraction of two values, whose terms of the equation are a and b, to the term 'result'; bias, which may be
// null, is added with numpy broadcasting. The gradient of operand 0 is terms 2, 1 to 0, that of operand 1 terms 2, 0
// to 1.
anas_status anas_emit_contraction(struct anas_train *train, const struct anas_equation *equation, int a, MlirValue lhs,
                                  int b, MlirValue rhs, MlirValue bias, int result, MlirValue *out);
// Gradients of an op that is the contraction of its two operands.
anas_status anas_emit_contraction_gradients(struct anas_train *train, const struct anas_equation *equation,
                                            struct anas_train_op *op);
// The contraction by an equation whose result has no labels of its own; bias may be null.
anas_status anas_emit_product(struct anas_train *train, const char *equation, MlirValue lhs, MlirValue rhs,
                              MlirValue bias, MlirValue *out);
// ANAS_INVALID unless operands 0 and 1 are f32 tensors.
anas_status anas_check_factors(const struct anas_op *op);

#endif
