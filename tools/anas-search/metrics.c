// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The metrics of a trial: what can be an objective, and what a constraint can be about. The study has a column for
// each.
#include "tools/anas-search/study.h"

#include "runtime/support/nearest.h"

#include <string.h>

const struct study_metric_info study_metrics[METRIC_NUM] = {
    [METRIC_ACCURACY] = {"accuracy", true, METRIC_AFTER_TRAINING,
                         "share of the validation images that are classified correctly, 0 to 1"},
    [METRIC_LOSS] = {"loss", false, METRIC_AFTER_TRAINING, "mean cross-entropy on the validation images"},
    [METRIC_PARAMS] = {"params", false, METRIC_FROM_MODEL, "trainable parameters"},
    [METRIC_MACS] = {"macs", false, METRIC_FROM_MODEL, "multiplications with an addition, one image"},
    [METRIC_FLOPS] = {"flops", false, METRIC_FROM_MODEL, "2 * macs and one an elementwise operation, one image"},
    [METRIC_TRAIN_BYTES] = {"train_bytes", false, METRIC_FROM_MODEL, "memory of training, estimated from the types"},
    [METRIC_IMAGES_PER_SECOND] = {"images_per_second", true, METRIC_AFTER_TRAINING, "speed of training"},
    [METRIC_MODEL_BYTES] = {"model_bytes", false, METRIC_FROM_MODEL, "parameters and running statistics, as stored"},
    [METRIC_PLANNED_BYTES] = {"planned_bytes", false, METRIC_BEFORE_TRAINING,
                              "memory of training, exactly: arena and parameter buffer of the compiled program"},
    [METRIC_LATENCY_P50] = {"latency_p50", false, METRIC_BEFORE_TRAINING,
                            "median seconds of one inference at --latency-batch, on one core"},
    [METRIC_LATENCY_P95] = {"latency_p95", false, METRIC_BEFORE_TRAINING, "95 % of them take at most so many seconds"},
    [METRIC_LATENCY_SPREAD] = {"latency_spread", false, METRIC_BEFORE_TRAINING,
                               "uncertainty of the median, relative: half its 95 % interval"},
    [METRIC_SEED_LATENCY_P50] = {"seed_latency_p50", false, METRIC_BEFORE_TRAINING,
                                 "median of the seed model, measured in alternation with the candidate"},
    [METRIC_GRAD_NORM] = {"grad_norm", true, METRIC_BEFORE_TRAINING,
                          "norms of the gradients of one batch, before training"},
    [METRIC_SNIP] = {"snip", true, METRIC_BEFORE_TRAINING, "the gradients times the weights, before training"},
    [METRIC_SYNFLOW] = {"synflow", true, METRIC_BEFORE_TRAINING, "synaptic flow of the untrained network"},
    [METRIC_NASWOT] = {"naswot", true, METRIC_BEFORE_TRAINING,
                       "log-determinant of the kernel of relu codes of one batch, before training"},
    [METRIC_INHERITED] = {"inherited", true, METRIC_AFTER_TRAINING,
                          "share of the parameters that started from the parent's (--inherit-weights)"},
};

int study_metric_find(const char *name) {
  for (int i = 0; i < METRIC_NUM; i++)
    if (!strcmp(study_metrics[i].name, name)) return i;
  return -1;
}

anas_status study_metric_parse(const char *option, const char *name, int *out) {
  int metric = study_metric_find(name);
  struct anas_nearest nearest = anas_nearest_make(name, strlen(name));
  for (int i = 0; i < METRIC_NUM; i++)
    anas_nearest_offer(&nearest, study_metrics[i].name);
  char hint[128];
  if (metric < 0)
    return anas_fail(ANAS_INVALID, "%s: there is no metric '%s'%s", option, name, anas_nearest_hint(&nearest, hint));
  *out = metric;
  return ANAS_OK;
}
