// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-check-certificate: infers the properties of every function with a certificate again and compares.
#include "passes/pass.h"
#include "passes/synthesis/certificate.h"

#include <mlir-c/Diagnostics.h>
#include <stdlib.h>

extern const struct anas_pass_def anas_pass_check_certificate;

static anas_status check_all(const struct anas_model *model, MlirContext context,
                             const struct anas_properties *properties, bool required) {
  anas_status result = ANAS_OK;
  int checked = 0;
  for (int f = 0; f < model->num_functions; f++) {
    if (!anas_function_extra(&model->functions[f], "anas.certificate")) continue;
    checked++;
    anas_status status = anas_certificate_check(model, context, f, properties);
    if (status == ANAS_OK) continue;
    mlirEmitError(model->functions[f].location, anas_error_message());
    result = status;
  }
  anas_pass_count("certificates", checked);
  if (required && !checked)
    return anas_fail(ANAS_INVALID, "no function of the module has an attribute anas.certificate");
  return result;
}

static anas_status run(MlirModule module, const struct anas_pass_options *options) {
  struct anas_model *model;
  ANAS_RETURN_IF_ERROR(anas_model_import(module, &model));
  struct anas_properties *properties = anas_calloc((size_t)model->num_functions + 1, sizeof *properties);
  anas_status status = anas_model_infer_shapes(model);
  if (status == ANAS_OK) status = anas_infer_properties(model, properties);
  if (status == ANAS_OK)
    status = check_all(model, mlirModuleGetContext(module), properties, anas_option_bool(options, "required"));
  free(properties);
  anas_model_destroy(model);
  return status;
}

static const struct anas_pass_option check_options[] = {
    {"required", ANAS_OPTION_BOOL, "false", "a module without any certificate is an error"},
    {0},
};

const struct anas_pass_def anas_pass_check_certificate = {
    .argument = "anas-check-certificate",
    .summary = "infer the properties of functions with anas.certificate again; an error where they differ",
    .options = check_options,
    .run = run,
};
