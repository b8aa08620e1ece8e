// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-infer-shapes: refines every result type from the types of the arguments, and can bound the size of values.
#include "passes/analysis/analysis.h"
#include "passes/pass.h"

anas_status anas_check_sizes(const struct anas_model *model, int64_t batch, int64_t max_elements) {
  for (int f = 0; f < model->num_functions; f++) {
    const struct anas_function *function = &model->functions[f];
    for (int n = 0; n < function->num_nodes; n++)
      for (int r = 0; function->nodes[n].def && r < function->nodes[n].num_results; r++) {
        const struct anas_node *node = &function->nodes[n];
        int64_t elements = anas_shape_elements(&node->result[r]);
        if (node->result[r].dim[0] == ANAS_DYNAMIC && __builtin_mul_overflow(elements, batch, &elements))
          elements = INT64_MAX;
        char text[128];
        if (elements > max_elements)
          return anas_fail(ANAS_INVALID,
                           "the result of 'anas.%s' in '@%s', tensor<%s>, has %lld elements at batch %lld; max-size "
                           "allows %lld",
                           node->def->name, function->name, anas_shape_text(&node->result[r], text),
                           (long long)elements, (long long)batch, (long long)max_elements);
      }
  }
  return ANAS_OK;
}

static anas_status run(MlirModule module, const struct anas_pass_options *options) {
  struct anas_model *model;
  int64_t batch = anas_option_int(options, "batch"), max_size = anas_option_int(options, "max-size");
  if (batch < 1 || batch > ANAS_MAX_ELEMENTS || max_size < 0)
    return anas_fail(ANAS_INVALID, "batch must be at least 1 and max-size at least 0");
  ANAS_RETURN_IF_ERROR(anas_model_import(module, &model));
  anas_status status = anas_model_infer_shapes(model);
  if (status == ANAS_OK && max_size) status = anas_check_sizes(model, batch, max_size);
  if (status == ANAS_OK) status = anas_model_write_back(model, module);
  anas_model_destroy(model);
  return status;
}

static const struct anas_pass_option shapes_options[] = {
    {"max-size", ANAS_OPTION_INT, "0", "most elements of a value; 0: any number"},
    {"batch", ANAS_OPTION_INT, "1", "what '?' counts as for max-size"},
    {0},
};

const struct anas_pass_def anas_pass_infer_shapes = {
    .argument = "anas-infer-shapes",
    .summary = "infer the type of every value from the argument types, across calls",
    .options = shapes_options,
    .run = run,
};
