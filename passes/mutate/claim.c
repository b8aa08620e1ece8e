// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The final check of a mutation: the properties of the finished functions, inferred from the whole body by the
// analysis, against what the mutated requirements of its parts add up to. Nothing of the synthesis is trusted here.
// Functions of one argument and one result get a certificate.
#include "passes/mutate/internal.h"
#include "passes/synthesis/certificate.h"

#include <stdlib.h>

void anas_claim_deinit(struct anas_claim *claim) {
  free(claim->functions);
  free(claim->required);
  *claim = (struct anas_claim){0};
}

static bool has_calls(const struct anas_function *function) {
  for (int n = 0; n < function->num_nodes; n++)
    if (!function->nodes[n].def) return true;
  return false;
}

static anas_status check(const struct anas_function *function, const struct anas_properties *actual,
                         const struct anas_relation *required) {
  for (int r = 0; r < function->num_results; r++)
    for (int a = 0; a < function->num_args; a++) {
      const struct anas_relation *need = &required[r * ANAS_MAX_ARGS + a];
      if (actual->depth[r][a] < need->required_depth)
        return anas_fail(ANAS_INFEASIBLE, "the new body of '%s' has depth %lld from argument %d, %lld was required",
                         function->name, (long long)actual->depth[r][a], a, (long long)need->required_depth);
      const struct anas_mixing *mixing = &actual->mixing[r][a];
      for (int i = 0; i < need->required_mixing.rows; i++)
        for (int j = 0; j < need->required_mixing.columns; j++)
          if (mixing->pair[i][j] < need->required_mixing.pair[i][j])
            return anas_fail(ANAS_INFEASIBLE,
                             "the new body of '%s' pairs dimension %d of argument %d with dimension %d by %d, %d was "
                             "required",
                             function->name, i, a, j, mixing->pair[i][j], need->required_mixing.pair[i][j]);
    }
  return ANAS_OK;
}

static bool requires_something(const struct anas_mixing *mixing) {
  for (int i = 0; i < mixing->rows; i++)
    for (int j = 0; j < mixing->columns; j++)
      if (mixing->pair[i][j] != ANAS_PAIR_NONE) return true;
  return false;
}

static anas_status certify(struct anas_model *child, int f, const struct anas_relation *required,
                           const struct anas_properties *properties) {
  const struct anas_function *function = &child->functions[f];
  if (function->num_args != 1 || function->num_results != 1) return check(function, &properties[f], required);
  struct anas_target target = {.input = function->arg[0],
                               .output = function->result_type[0],
                               .input_linear = function->arg_linear[0],
                               .require_depth = required->required_depth > 0,
                               .depth = required->required_depth,
                               .require_mixing = requires_something(&required->required_mixing),
                               .mixing = required->required_mixing};
  return anas_certificate_attach(child, f, &target, ANAS_FEATURES_MATCH, properties);
}

anas_status anas_claim_verify(const struct anas_claim *claim, struct anas_model *child) {
  struct anas_properties *properties = anas_calloc((size_t)child->num_functions, sizeof *properties);
  anas_status status = ANAS_OK;
  bool whole = false;
  for (int i = 0; i < claim->num_functions; i++)
    whole = whole || has_calls(&child->functions[claim->functions[i]]);
  if (whole) status = anas_infer_properties(child, properties);
  for (int i = 0; i < claim->num_functions && status == ANAS_OK; i++) {
    struct anas_properties *actual = &properties[claim->functions[i]];
    if (!whole) { // a body without calls is analysed for itself
      struct anas_model alone = {.functions = &child->functions[claim->functions[i]], .num_functions = 1};
      status = anas_infer_properties(&alone, actual);
    }
    if (status == ANAS_OK)
      status = certify(child, claim->functions[i], claim->required + (size_t)i * ANAS_MAX_RESULTS * ANAS_MAX_ARGS,
                       properties);
  }
  free(properties);
  return status;
}
