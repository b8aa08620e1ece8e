// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-infer-shapes: refines every result type from the types of the arguments.
#include "dialect/model.h"
#include "passes/pass.h"

static anas_status run(MlirModule module, const struct anas_pass_options *options) {
  (void)options;
  struct anas_model *model;
  ANAS_RETURN_IF_ERROR(anas_model_import(module, &model));
  anas_status status = anas_model_infer_shapes(model);
  if (status == ANAS_OK) status = anas_model_write_back(model, module);
  anas_model_destroy(model);
  return status;
}

const struct anas_pass_def anas_pass_infer_shapes = {
    .argument = "anas-infer-shapes",
    .summary = "infer the type of every value from the argument types, across calls",
    .run = run,
};
