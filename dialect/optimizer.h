// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the optimizers share. One updates a parameter and what it remembers of it, its states, in place. Operands: the
// parameter, the states, the gradient, scalars (tensors of one element, the learning rate first) and, as an optional
// last one, a factor for the gradient. Results: the parameter, the states.
#ifndef ANAS_DIALECT_OPTIMIZER_H
#define ANAS_DIALECT_OPTIMIZER_H

#include "dialect/op_support.h"

anas_status anas_optimizer_shape(const struct anas_op *op, int num_states, struct anas_shape *out);
// A nest over all elements: %o0 is the parameter, %o1... are the states, %i1... the scalars. What stands for the
// gradient in the body is written to gradient.
struct anas_nest *anas_optimizer_nest(const struct anas_op *op, struct anas_lowering *l, int num_states,
                                      char gradient[16]);

#endif
