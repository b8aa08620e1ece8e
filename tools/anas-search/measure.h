// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Metrics that are known before a trial trains: from the model, or measured in the process of the trial.
#ifndef ANAS_TOOLS_ANAS_SEARCH_MEASURE_H
#define ANAS_TOOLS_ANAS_SEARCH_MEASURE_H

#include "passes/lower/compile.h"
#include "tools/anas-search/expression.h"
#include "tools/anas-search/search.h"

// Fills in the metrics of a model.
void metrics_of_cost(const struct anas_model_cost *cost, double metric[METRIC_NUM]);
// Whether the options need a metric: an objective or a constraint is about it.
bool metric_wanted(const struct search_options *options, enum study_metric metric);
// The constraints on metrics of the model alone, or (measured) the others. METRIC_NUM values each.
bool constraints_hold(const struct search_options *options, bool measured, const double *trial, const double *seed,
                      const struct expression **out_broken);
// In the process of a trial whose module was compiled to image with these options: the metrics that are known before
// training, where they are wanted. ANAS_INVALID with the values if a constraint on one of them is broken. The seed
// model is measured too where a constraint is about it. Trials of the seed model may break any.
anas_status measure_before_training(const struct search *search, int64_t number, MlirModule module,
                                    const struct anas_compile_options *options, const struct anas_program_image *image,
                                    double metric[METRIC_NUM]);

#endif
