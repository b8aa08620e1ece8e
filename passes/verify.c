// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-verify: checks of anas ops that IRDL cannot express, with messages that name op, shapes and a hint.
#include "passes/verify.h"

#include "dialect/model.h"

#include <string.h>

struct census {
  int architecture, training;
};

static MlirWalkResult count_levels(MlirOperation operation, void *data) {
  struct census *census = data;
  MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(operation));
  if (name.length <= 5 || memcmp(name.data, "anas.", 5)) return MlirWalkResultAdvance;
  const struct anas_op_def *def = anas_op_find(name.data + 5, name.length - 5);
  if (def && def->level == ANAS_TRAINING)
    census->training++;
  else
    census->architecture++; // unknown ones too: the import reports them
  return MlirWalkResultAdvance;
}

bool anas_is_architecture(MlirModule module) {
  struct census census = {0};
  mlirOperationWalk(mlirModuleGetOperation(module), count_levels, &census, MlirWalkPreOrder);
  return census.architecture > 0;
}

anas_status anas_verify_module(MlirModule module) {
  if (!anas_is_architecture(module)) return ANAS_OK;
  struct anas_model *model;
  ANAS_RETURN_IF_ERROR(anas_model_import(module, &model));
  anas_status status = anas_model_verify(model);
  anas_model_destroy(model);
  return status;
}

static anas_status run(MlirModule module, const struct anas_pass_options *options) {
  (void)options;
  return anas_verify_module(module);
}

const struct anas_pass_def anas_pass_verify = {
    .argument = "anas-verify",
    .summary = "check anas ops: attributes, shapes, names, calls (runs after every parse)",
    .run = run,
};
