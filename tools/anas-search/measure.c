// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Metrics that are known before a trial trains, and the constraints on them.
#include "tools/anas-search/measure.h"

#include <math.h>

void metrics_of_cost(const struct anas_model_cost *cost, double metric[METRIC_NUM]) {
  metric[METRIC_PARAMS] = (double)cost->params;
  metric[METRIC_MACS] = (double)cost->macs;
  metric[METRIC_FLOPS] = (double)cost->flops;
  metric[METRIC_TRAIN_BYTES] = (double)cost->train_bytes;
  metric[METRIC_MODEL_BYTES] = (double)cost->model_bytes;
}

static bool known_from_model(const struct expression *constraint) {
  for (int m = 0; m < METRIC_NUM; m++)
    if (study_metrics[m].known != METRIC_FROM_MODEL && (expression_uses(constraint, (enum study_metric)m, false) ||
                                                        expression_uses(constraint, (enum study_metric)m, true)))
      return false;
  return true;
}

bool constraints_hold(const struct search_options *options, bool measured, const double *trial, const double *seed,
                      const struct expression **out_broken) {
  for (int i = 0; i < options->num_constraints; i++) {
    const struct expression *constraint = options->constraints[i];
    if (known_from_model(constraint) == measured || expression_holds(constraint, trial, seed)) continue;
    *out_broken = constraint;
    return false;
  }
  return true;
}

static bool constrained(const struct search_options *options, enum study_metric metric, bool seed) {
  for (int i = 0; i < options->num_constraints; i++)
    if (expression_uses(options->constraints[i], metric, seed)) return true;
  return false;
}

bool metric_wanted(const struct search_options *options, enum study_metric metric) {
  for (int i = 0; i < options->num_objectives; i++)
    if (options->objectives[i].metric == metric) return true;
  return constrained(options, metric, false) || constrained(options, metric, true);
}

static anas_status compile_seed(const struct search *search, const struct anas_compile_options *options,
                                struct anas_program_image *out) {
  MlirModule module;
  ANAS_RETURN_IF_ERROR(anas_model_export(search->seed, search->context, &module));
  struct anas_compile_options quiet = *options;
  quiet.report = NULL;
  anas_status status = anas_compile(module, &quiet, out);
  mlirModuleDestroy(module);
  return status;
}

// What constraints want to know of the seed model. The trial finds it out itself, so that it depends on no other trial.
static anas_status measure_seed(const struct search *search, const struct anas_compile_options *options,
                                double metric[METRIC_NUM]) {
  struct anas_model_cost cost;
  ANAS_RETURN_IF_ERROR(anas_model_cost(search->seed, options->batch, &cost));
  metrics_of_cost(&cost, metric);
  if (!constrained(&search->options, METRIC_PLANNED_BYTES, true)) return ANAS_OK;
  struct anas_program_image image = {0};
  ANAS_RETURN_IF_ERROR(compile_seed(search, options, &image));
  metric[METRIC_PLANNED_BYTES] = planned_bytes(&image);
  anas_program_image_deinit(&image);
  return ANAS_OK;
}

double planned_bytes(const struct anas_program_image *image) {
  return (double)(image->arena_bytes + image->params_bytes);
}

anas_status check_measured_constraints(const struct search *search, int64_t number,
                                       const struct anas_compile_options *options, const double measured[METRIC_NUM]) {
  double seed[METRIC_NUM], trial[METRIC_NUM];
  for (int m = 0; m < METRIC_NUM; m++) {
    seed[m] = NAN;
    trial[m] = study_metrics[m].known == METRIC_FROM_MODEL ? search->trials[number].metric[m] : measured[m];
  }
  if (number < search->options.seed_trials) return ANAS_OK; // the search starts from it, whatever it is
  ANAS_RETURN_IF_ERROR(measure_seed(search, options, seed));
  const struct expression *broken;
  if (constraints_hold(&search->options, true, trial, seed, &broken)) return ANAS_OK;
  struct anas_strbuf values = {0};
  expression_explain(broken, trial, seed, &values);
  anas_status status =
      anas_fail(ANAS_INVALID, "outside --constraint '%s': %s", expression_text(broken), anas_strbuf_text(&values));
  anas_strbuf_deinit(&values);
  return status;
}
