// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-search top, anas-search pareto: lists of completed trials.
#include "tools/anas-search/command.h"
#include "tools/anas-search/reading.h"

#include "runtime/support/memory.h"
#include "runtime/support/parse.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct list {
  bool json, csv, front;
  int64_t limit;
  int by; // metric; -1: the first objective
};

static void print_csv(const struct reading *reading, const int64_t *numbers, int64_t count) {
  printf("trial,parent");
  for (int m = 0; m < METRIC_NUM; m++)
    printf(",%s", study_metrics[m].name);
  printf("\n");
  for (int64_t i = 0; i < count; i++) {
    const struct study_trial *t = &reading->trials[numbers[i]];
    printf("%lld,%lld", (long long)t->number, (long long)t->parent);
    for (int m = 0; m < METRIC_NUM; m++)
      printf(isfinite(t->metric[m]) ? ",%.10g" : ",", t->metric[m]);
    printf("\n");
  }
}

static anas_status print(const struct reading *reading, const struct list *list, const int64_t *numbers,
                         int64_t count) {
  for (int64_t i = 0; i < count; i++)
    ANAS_RETURN_IF_ERROR(study_describe(reading->study, &reading->trials[numbers[i]]));
  if (list->csv) {
    print_csv(reading, numbers, count);
  } else if (list->json) {
    json_t *rows = json_array();
    for (int64_t i = 0; i < count; i++)
      json_array_append_new(rows, reading_trial_json(&reading->trials[numbers[i]]));
    reading_print_json(rows);
  } else {
    reading_print_rows(reading, numbers, count);
  }
  return ANAS_OK;
}

struct row {
  double value; // higher is better
  int64_t number;
};

static int best_first(const void *left, const void *right) {
  const struct row *a = left, *b = right;
  if (a->value != b->value) return a->value > b->value ? -1 : 1;
  return (a->number > b->number) - (a->number < b->number);
}

// Numbers of the completed trials with that metric, the best first; malloc'ed.
static int64_t *sorted(const struct reading *reading, int by, int64_t *out_count) {
  struct search_objective objective = reading->options.objectives[0];
  if (by >= 0) objective = (struct search_objective){(enum study_metric)by, study_metrics[by].maximize};
  struct row *rows = anas_calloc((size_t)reading->count, sizeof *rows);
  int64_t *numbers = anas_calloc((size_t)reading->count, sizeof *numbers), count = 0;
  for (int64_t i = 0; i < reading->count; i++) {
    const struct study_trial *t = &reading->trials[i];
    if (t->state == STUDY_COMPLETE && isfinite(t->metric[objective.metric]))
      rows[count++] = (struct row){search_standardised(&objective, t), i};
  }
  qsort(rows, (size_t)count, sizeof *rows, best_first);
  for (int64_t i = 0; i < count; i++)
    numbers[i] = rows[i].number;
  free(rows);
  *out_count = count;
  return numbers;
}

static anas_status show_list(const char *path, const struct list *list) {
  struct reading reading = {0};
  anas_status status = reading_open(path, &reading);
  if (status == ANAS_OK) {
    int64_t count, *numbers = list->front ? front_of(&reading.options, reading.trials, reading.count, &count)
                                          : sorted(&reading, list->by, &count);
    status = print(&reading, list, numbers, count < list->limit ? count : list->limit);
    free(numbers);
  }
  reading_close(&reading);
  return status;
}

static anas_status run(const struct command *command, int argc, char **argv) {
  struct command_arguments arguments = {.command = command, .argc = argc, .argv = argv};
  struct list list = {.front = command == &command_pareto, .by = -1};
  list.limit = list.front ? INT64_MAX : 10;
  const char *flag, *path = NULL;
  for (;;) {
    ANAS_RETURN_IF_ERROR(command_next(&arguments, &flag));
    if (!flag) break;
    if (!*flag)
      ANAS_RETURN_IF_ERROR(command_take_study(&arguments, &path));
    else if (!strcmp(flag, "n"))
      ANAS_RETURN_IF_ERROR(anas_parse_int("-n", arguments.value, 1, INT64_MAX, &list.limit));
    else if (!strcmp(flag, "by"))
      ANAS_RETURN_IF_ERROR(study_metric_parse("--by", arguments.value, &list.by));
    else if (!strcmp(flag, "csv"))
      list.csv = true;
    else
      list.json = true;
  }
  ANAS_RETURN_IF_ERROR(command_need_study(command, path));
  return show_list(path, &list);
}

static const struct command_flag top_flags[] = {
    {"n", "N", "how many (default 10)"},
    {"by", "METRIC", "in the order of this metric, best first (default: the first objective)"},
    {"json", NULL, "as JSON, with all metrics"},
    {0},
};
static const char *const top_examples[] = {"anas-search top s1 -n 5 --by params",
                                           "anas-search top s1 --json | jq '.[0].accuracy'", NULL};
const struct command command_top = {
    .name = "top",
    .arguments = "STUDY [-n N] [--by METRIC] [--json]",
    .purpose = "The best completed trials",
    .flags = top_flags,
    .examples = top_examples,
    .run = run,
};

static const struct command_flag pareto_flags[] = {
    {"csv", NULL, "as CSV, with all metrics"},
    {"json", NULL, "as JSON, likewise"},
    {0},
};
static const char *const pareto_examples[] = {"anas-search pareto s1", "anas-search pareto s1 --csv >front.csv", NULL};
const struct command command_pareto = {
    .name = "pareto",
    .arguments = "STUDY [--csv|--json]",
    .purpose = "The non-dominated trials, best in the first objective first",
    .flags = pareto_flags,
    .examples = pareto_examples,
    .run = run,
};
