// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Differentiation: how architecture ops turn themselves into training ops. passes/train walks the inlined network
// forwards calling def->forward, then backwards calling def->backward.
#ifndef ANAS_DIALECT_TRAIN_H
#define ANAS_DIALECT_TRAIN_H

#include "dialect/op.h"

#include <mlir-c/IR.h>

#define ANAS_MAX_SAVED 8

struct anas_train; // builder state of the pass

// One architecture op in the network being differentiated.
struct anas_train_op {
  const struct anas_op *op; // resolved, with the static batch
  struct anas_shape result_type;
  const char *path; // "main/stem/conv"
  MlirValue operand[ANAS_MAX_OPERANDS];
  MlirValue param[ANAS_MAX_PARAMS]; // in the order of def->params; states included
  bool training;                    // false while the inference function is built

  // Set by forward.
  MlirValue result;
  MlirValue saved[ANAS_MAX_SAVED];      // whatever backward wants to keep
  MlirValue new_state[ANAS_MAX_PARAMS]; // new value of a state parameter (training only); null: unchanged

  // For backward: gradient of the loss with respect to the result; which gradients are wanted. Outputs null where not.
  MlirValue grad_result;
  bool need_operand[ANAS_MAX_OPERANDS];
  MlirValue grad_operand[ANAS_MAX_OPERANDS];
  MlirValue grad_param[ANAS_MAX_PARAMS];
};

// Creates training op "anas.<name>" at the end of the function being built. attrs (in the order of the op's attrs) may
// be null; absent ones take their default. The result types come from the op's shape rule; a failure there is a bug of
// the caller and reported as ANAS_INTERNAL. out_results may be null if there is one result that nobody wants.
anas_status anas_train_emit(struct anas_train *train, const char *name, const MlirValue *operands, int num_operands,
                            const struct anas_attr *attrs, MlirValue *out_results);
// The step's random seed (i64 tensor of one element), different every step; stream distinguishes ops (dropout).
MlirValue anas_train_seed(struct anas_train *train);
int64_t anas_train_stream(struct anas_train *train); // a fresh stream number
struct anas_shape anas_train_type(MlirValue value);

#endif
