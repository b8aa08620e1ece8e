// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-cost: writes parameters, work and memory of the entry function as attributes.
#include "passes/analysis/analysis.h"
#include "passes/pass.h"

#include <stdio.h>

extern const struct anas_pass_def anas_pass_cost;

static void attach(struct anas_model *model, const struct anas_model_cost *cost) {
  struct anas_function *function = &model->functions[anas_model_entry(model)];
  const struct {
    const char *name;
    int64_t value;
  } values[] = {
      {"anas.params", cost->params},
      {"anas.macs", cost->macs},
      {"anas.flops", cost->flops},
      {"anas.activation_bytes", cost->activation_bytes},
      {"anas.train_bytes", cost->train_bytes},
  };
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    char text[40];
    snprintf(text, sizeof text, "%lld : i64", (long long)values[i].value);
    anas_function_set_extra(model, function, values[i].name, text);
  }
}

static anas_status run(MlirModule module, const struct anas_pass_options *options) {
  int64_t batch = anas_option_int(options, "batch");
  if (batch < 1)
    return anas_fail(ANAS_INVALID, "option 'batch' of anas-cost must be positive, got %lld", (long long)batch);
  struct anas_model *model;
  ANAS_RETURN_IF_ERROR(anas_model_import(module, &model));
  struct anas_model_cost cost;
  anas_status status = anas_model_infer_shapes(model);
  if (status == ANAS_OK) status = anas_model_cost(model, batch, &cost);
  if (status == ANAS_OK) {
    attach(model, &cost);
    status = anas_model_write_back(model, module);
  }
  anas_model_destroy(model);
  return status;
}

static const struct anas_pass_option cost_options[] = {
    {"batch", ANAS_OPTION_INT, "128", "examples of a training step, for anas.train_bytes"},
    {0},
};

const struct anas_pass_def anas_pass_cost = {
    .argument = "anas-cost",
    .summary = "write anas.params, anas.macs, anas.flops, anas.activation_bytes and anas.train_bytes of the entry",
    .options = cost_options,
    .run = run,
};
