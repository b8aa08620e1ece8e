// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-remove-dead: MLIR treats our ops as having unknown effects and keeps them; we know that they are pure.
#include "dialect/model.h"
#include "passes/pass.h"

static int count_nodes(const struct anas_model *model) {
  int nodes = 0;
  for (int f = 0; f < model->num_functions; f++)
    nodes += model->functions[f].num_nodes;
  return nodes;
}

static anas_status run(MlirModule module, const struct anas_pass_options *options) {
  (void)options;
  struct anas_model *model;
  ANAS_RETURN_IF_ERROR(anas_model_import(module, &model));
  int nodes = count_nodes(model), functions = model->num_functions;
  anas_model_remove_dead(model);
  anas_pass_count("ops removed", nodes - count_nodes(model));
  anas_pass_count("functions removed", functions - model->num_functions);
  anas_status status = anas_model_write_back(model, module);
  anas_model_destroy(model);
  return status;
}

const struct anas_pass_def anas_pass_remove_dead = {
    .argument = "anas-remove-dead",
    .summary = "remove ops whose results are unused and private functions that nobody calls",
    .run = run,
};
