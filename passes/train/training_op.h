// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Training ops as MLIR operations: types and attributes to and from the op table's form. Also the state behind
// dialect/train.h.
#ifndef ANAS_PASSES_TRAINING_OP_H
#define ANAS_PASSES_TRAINING_OP_H

#include "dialect/train.h"

#include <mlir-c/IR.h>

struct anas_train {
  MlirContext context;
  MlirBlock block;       // end of the function being built
  MlirLocation location; // of the architecture op whose training ops are emitted
  MlirValue seed;
  int64_t next_stream;
};

// Reads an operation "anas.<training op>": operand types, attributes with defaults filled in.
anas_status anas_training_op_read(MlirOperation operation, struct anas_op *out);

#endif
