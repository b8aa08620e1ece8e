// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Architecture ops by definition, in double precision, written apart from the op files: what generated tests compare
// the forward passes with.
#ifndef ANAS_TEST_OP_REFERENCES_H
#define ANAS_TEST_OP_REFERENCES_H

#include "dialect/op.h"

// Computes the result y of a resolved op with static shapes from its operands and parameters (row-major; parameters in
// the order of def->params). Inference and training differ in batch_norm only.
typedef void (*op_reference)(const struct anas_op *op, const struct anas_shape *result, bool training,
                             const double *const *in, const double *const *param, double *y);

// A definition that comes with an op file of a test (test/extra_op); both are weak and null otherwise.
extern const char *const op_reference_extra_name __attribute__((weak));
extern const op_reference op_reference_extra __attribute__((weak));

// Null if there is none for the op.
op_reference op_reference_find(const char *name);

#endif
