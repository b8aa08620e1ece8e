// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-search show: one trial.
#include "tools/anas-search/command.h"
#include "tools/anas-search/reading.h"

#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/support/parse.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct view {
  struct reading reading;
  int64_t number;
  bool json, output;
};

static void print_time(const char *label, double seconds) {
  if (!(seconds > 0)) return;
  char text[64];
  time_t whole = (time_t)seconds;
  struct tm parts;
  strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", localtime_r(&whole, &parts));
  printf("%-18s %s\n", label, text);
}

// Null if there is none.
static char *read_trial_file(const struct view *view, const char *file) {
  char *path = study_trial_path(study_path(view->reading.study), view->number, file), *text;
  size_t size;
  anas_status status = study_fetch(view->reading.study, view->number, file);
  if (status == ANAS_OK) status = anas_file_read(path, &text, &size);
  free(path);
  return status == ANAS_OK ? text : NULL;
}

static anas_status show_output(const struct view *view) {
  char *text = read_trial_file(view, "output.txt");
  if (!text) return anas_fail(ANAS_NOT_FOUND, "trial %lld has no output: it never ran", (long long)view->number);
  fputs(text, stdout);
  free(text);
  return ANAS_OK;
}

static void print_curve(const struct study_trial *t) {
  static const char *const remarks[] = {[VERDICT_NONE] = "", [VERDICT_ON] = "  goes on", [VERDICT_STOP] = "  stopped"};
  if (t->num_points) printf("learning curve     epochs   steps  accuracy    loss\n");
  for (int i = 0; i < t->num_points; i++) {
    const struct study_point *p = &t->curve[i];
    printf("%25.4g %7lld  %8.4f  %6.4f%s\n", p->epochs, (long long)p->steps, p->accuracy, p->loss,
           p->rung && p->verdict == VERDICT_NONE ? "  rung" : remarks[p->verdict]);
  }
}

static json_t *curve_json(const struct study_trial *t) {
  json_t *list = json_array();
  for (int i = 0; i < t->num_points; i++) {
    const struct study_point *p = &t->curve[i];
    json_array_append_new(list, json_pack("{s:f, s:I, s:o, s:o, s:b}", "epochs", p->epochs, "steps",
                                          (json_int_t)p->steps, "accuracy", reading_number(p->accuracy), "loss",
                                          reading_number(p->loss), "rung", (int)p->rung));
  }
  return list;
}

static anas_status show_trial(struct view *view) {
  if (view->number >= view->reading.count)
    return anas_fail(ANAS_NOT_FOUND, "study '%s' has trials 0 to %lld, not %lld", study_name(view->reading.study),
                     (long long)view->reading.count - 1, (long long)view->number);
  if (view->output) return show_output(view);
  struct study_trial *t = &view->reading.trials[view->number];
  ANAS_RETURN_IF_ERROR(study_describe(view->reading.study, t));
  ANAS_RETURN_IF_ERROR(study_load_curves(view->reading.study, t, 1));
  char *decision;
  ANAS_RETURN_IF_ERROR(study_decision(view->reading.study, view->number, &decision));
  char *text = t->hash ? read_trial_file(view, "candidate.mlir") : NULL;
  anas_status status = ANAS_OK;
  if (view->json) {
    json_t *object = reading_trial_json(t);
    json_object_set_new(object, "curve", curve_json(t));
    json_object_set_new(object, "decision", decision ? json_loads(decision, 0, NULL) : json_null());
    json_object_set_new(object, "architecture", text ? json_string(text) : json_null());
    reading_print_json(object);
  } else {
    printf("trial %lld: %s%s%s\n", (long long)t->number, study_state_name(t->state), t->reason ? ", " : "",
           t->reason ? t->reason : "");
    for (int m = 0; m < METRIC_NUM; m++)
      if (isfinite(t->metric[m])) printf("%-18s %.6g\n", study_metrics[m].name, t->metric[m]);
    if (isfinite(t->train_loss)) printf("%-18s %.6g\n", "train_loss", t->train_loss);
    if (isfinite(t->compile_seconds)) printf("%-18s %.3f s\n", "compile", t->compile_seconds);
    if (t->peak_bytes) printf("%-18s %.1f MiB\n", "peak memory", (double)t->peak_bytes / (1 << 20));
    print_curve(t);
    print_time("started", t->started);
    print_time("finished", t->finished);
    if (t->attempts > 1) printf("%-18s %lld\n", "started times", (long long)t->attempts);
    if (decision) printf("%-18s %s\n", "decision", decision);
    struct anas_strbuf lineage = {0};
    status = lineage_comments(view->reading.study, view->reading.trials, t->number, "  ", true, INT64_MAX, &lineage);
    printf("lineage:\n%s", anas_strbuf_text(&lineage));
    anas_strbuf_deinit(&lineage);
    if (text) printf("architecture:\n%s", text);
  }
  free(text);
  free(decision);
  return status;
}

static anas_status run(const struct command *command, int argc, char **argv) {
  struct command_arguments arguments = {.command = command, .argc = argc, .argv = argv};
  struct view view = {.number = -1};
  const char *flag, *path = NULL;
  for (;;) {
    ANAS_RETURN_IF_ERROR(command_next(&arguments, &flag));
    if (!flag) break;
    if (!*flag && path && view.number < 0)
      ANAS_RETURN_IF_ERROR(anas_parse_int("TRIAL", arguments.value, 0, INT64_MAX, &view.number));
    else if (!*flag)
      ANAS_RETURN_IF_ERROR(command_take_study(&arguments, &path));
    else if (!strcmp(flag, "output"))
      view.output = true;
    else
      view.json = true;
  }
  ANAS_RETURN_IF_ERROR(command_need_study(command, path));
  if (view.number < 0) return anas_fail(ANAS_INVALID, "which trial? anas-search show STUDY TRIAL");
  anas_status status = reading_open(path, &view.reading);
  if (status == ANAS_OK) status = show_trial(&view);
  reading_close(&view.reading);
  return status;
}

static const struct command_flag flags[] = {
    {"json", NULL, "as JSON"},
    {"output", NULL, "what the trial printed"},
    {0},
};
static const char *const examples[] = {"anas-search show s1 3", "anas-search show s1 3 --output",
                                       "anas-search show s1 3 --json | jq -r .architecture >net.mlir", NULL};
const struct command command_show = {
    .name = "show",
    .arguments = "STUDY TRIAL [--json|--output]",
    .purpose = "One trial: results, learning curve, lineage, decision, architecture; or what it printed",
    .flags = flags,
    .examples = examples,
    .run = run,
};
