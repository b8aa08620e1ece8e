// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-search proxies: how well what is known before training ranks the trained candidates of a study.
#include "tools/anas-search/rank.h"
#include "tools/anas-search/search.h"

#include "runtime/support/memory.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: anas-search proxies STUDY [--against METRIC] [--json]\n"
    "Rank correlation of everything that is known before training with what training found (default: accuracy), over\n"
    "the completed trials that have both. Parameters are the measure to beat. Proxies are measured if the study was\n"
    "made with --metrics grad_norm,snip,synflow,naswot, or if an objective or a constraint is about them.\n\n"
    "Example:\n  anas-search --model cnn --study s1 --trials 50 --metrics snip,naswot\n  anas-search proxies s1\n";

static anas_status parse(int argc, char **argv, const char **path, bool *json, int *against) {
  for (int i = 1; i < argc; i++) {
    if (argv[i][0] != '-' && !*path) {
      *path = argv[i];
    } else if (!strcmp(argv[i], "--json")) {
      *json = true;
    } else if (!strcmp(argv[i], "--against") && i + 1 < argc) {
      *against = study_metric_find(argv[++i]);
      if (*against < 0) return anas_fail(ANAS_INVALID, "--against: there is no metric '%s'", argv[i]);
    } else {
      return anas_fail(ANAS_INVALID, "unexpected argument '%s'; see anas-search proxies --help", argv[i]);
    }
  }
  return *path ? ANAS_OK : anas_fail(ANAS_INVALID, "which study? see anas-search proxies --help");
}

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

static anas_status run(const char *path, bool as_json, enum study_metric against) {
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

int proxies_command(int argc, char **argv) {
  for (int i = 1; i < argc; i++)
    if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
      fputs(usage, stdout);
      return EXIT_SUCCESS;
    }
  const char *path = NULL;
  bool json = false;
  int against = METRIC_ACCURACY;
  anas_status status = parse(argc, argv, &path, &json, &against);
  if (status == ANAS_OK) status = run(path, json, (enum study_metric)against);
  if (status != ANAS_OK) fprintf(stderr, "anas-search: error: %s\n", anas_error_message());
  return status == ANAS_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
