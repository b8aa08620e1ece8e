// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-search proxies: how well what is known before training ranks the trained candidates of a study.
#include "tools/anas-search/command.h"
#include "tools/anas-search/rank.h"
#include "tools/anas-search/search.h"

#include "runtime/support/memory.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Signs are such that 1 is a perfect prediction that more is better.
static void correlate(const struct study_trial *trials, int64_t count, enum study_metric metric,
                      enum study_metric against, json_t *rows) {
  double *x = anas_calloc((size_t)count, sizeof *x), *y = anas_calloc((size_t)count, sizeof *y);
  int64_t n = 0;
  for (int64_t i = 0; i < count; i++) {
    const struct study_trial *t = &trials[i];
    if (t->state != STUDY_COMPLETE || !isfinite(t->metric[metric]) || !isfinite(t->metric[against])) continue;
    x[n] = t->metric[metric];
    y[n++] = study_metrics[against].maximize ? t->metric[against] : -t->metric[against];
  }
  double spearman = rank_spearman(x, y, n), kendall = rank_kendall(x, y, n);
  free(x);
  free(y);
  if (!n) return;
  json_array_append_new(rows,
                        json_pack("{s:s, s:I, s:o, s:o}", "metric", study_metrics[metric].name, "trials", (json_int_t)n,
                                  "spearman", isfinite(spearman) ? json_real(spearman) : json_null(), "kendall",
                                  isfinite(kendall) ? json_real(kendall) : json_null()));
}

static void print_value(const json_t *row, const char *key) {
  const json_t *value = json_object_get(row, key);
  if (json_is_real(value))
    printf("  %8.3f", json_real_value(value));
  else
    printf("  %8s", "-");
}

static void print_rows(const json_t *rows, const char *against) {
  printf("rank correlation with %s\n%-20s  trials  Spearman   Kendall\n", against, "known before");
  size_t i;
  const json_t *row;
  json_array_foreach(rows, i, row) {
    printf("%-20s  %6lld", json_string_value(json_object_get(row, "metric")),
           (long long)json_integer_value(json_object_get(row, "trials")));
    print_value(row, "spearman");
    print_value(row, "kendall");
    printf("\n");
  }
}

static anas_status correlate_study(const char *path, bool as_json, enum study_metric against) {
  struct study *study;
  struct study_trial *trials;
  int64_t count;
  ANAS_RETURN_IF_ERROR(study_open(path, false, &study));
  anas_status status = study_load(study, 0, &trials, &count);
  study_close(study);
  ANAS_RETURN_IF_ERROR(status);
  json_t *rows = json_array();
  for (int m = 0; m < METRIC_NUM; m++)
    if (study_metrics[m].known != METRIC_AFTER_TRAINING) correlate(trials, count, (enum study_metric)m, against, rows);
  study_trials_free(trials, count);
  if (as_json) {
    char *text = json_dumps(rows, JSON_INDENT(1));
    if (text) puts(text);
    free(text);
  } else {
    print_rows(rows, study_metrics[against].name);
  }
  json_decref(rows);
  return ANAS_OK;
}

static anas_status run(const struct command *command, int argc, char **argv) {
  struct command_arguments arguments = {.command = command, .argc = argc, .argv = argv};
  const char *flag, *path = NULL;
  bool json = false;
  int against = METRIC_ACCURACY;
  for (;;) {
    ANAS_RETURN_IF_ERROR(command_next(&arguments, &flag));
    if (!flag) break;
    if (!*flag)
      ANAS_RETURN_IF_ERROR(command_take_study(&arguments, &path));
    else if (!strcmp(flag, "against"))
      ANAS_RETURN_IF_ERROR(study_metric_parse("--against", arguments.value, &against));
    else
      json = true;
  }
  ANAS_RETURN_IF_ERROR(command_need_study(command, path));
  return correlate_study(path, json, (enum study_metric)against);
}

static const struct command_flag flags[] = {
    {"against", "METRIC", "what is predicted (default accuracy)"},
    {"json", NULL, "as JSON"},
    {0},
};
static const char *const examples[] = {"anas-search proxies s1", "anas-search proxies s1 --against loss --json", NULL};
const struct command command_proxies = {
    .name = "proxies",
    .arguments = "STUDY [--against METRIC] [--json]",
    .purpose = "How well what is known before training ranks the trained candidates",
    .notes = "Rank correlations over the completed trials that have both. Parameters are the measure to beat. Proxies "
             "are there if\n"
             "the study was made with --metrics grad_norm,snip,synflow,naswot, or with objectives or constraints on "
             "them.\n",
    .flags = flags,
    .examples = examples,
    .run = run,
};
