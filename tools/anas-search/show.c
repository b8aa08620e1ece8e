// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// status, top, show, pareto: reading a study, also one that is running.
#include "tools/anas-search/search.h"

#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/support/parse.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct view {
  const char *command;
  const char *path;
  struct study *study;
  struct search_options options;
  struct study_trial *trials;
  int64_t count;
  // flags
  bool json, csv, output;
  int64_t limit, number; // number: of "show", -1 if not given
  int by;                // metric of "top"
};

static const char usage[] =
    "usage: anas-search status STUDY [--json]                     how far the study is, trials by state, reasons\n"
    "       anas-search top STUDY [-n N] [--by METRIC] [--json]    the best completed trials\n"
    "       anas-search show STUDY TRIAL [--json|--output]         one trial: results, lineage, decision, "
    "architecture; or what it printed\n"
    "       anas-search pareto STUDY [--csv|--json]                the non-dominated trials\n"
    "STUDY is what was given to --study. A running study can be read at any time.\n\n"
    "Examples:\n"
    "  anas-search status s1\n"
    "  anas-search top s1 -n 5 --by params\n"
    "  anas-search show s1 17 --json | jq -r .architecture >net.mlir\n"
    "  anas-search pareto s1 --csv >front.csv\n";

static anas_status parse(int argc, char **argv, struct view *out) {
  for (int i = 1; i < argc; i++) {
    const char *argument = argv[i];
    const char *name = argument[0] == '-' && argument[1] ? argument + 1 + (argument[1] == '-') : NULL;
    if (!name && !out->path) {
      out->path = argument;
    } else if (!name && !strcmp(out->command, "show") && out->number < 0) {
      ANAS_RETURN_IF_ERROR(anas_parse_int("TRIAL", argument, 0, INT64_MAX, &out->number));
    } else if (!name) {
      return anas_fail(ANAS_INVALID, "unexpected argument '%s'; see anas-search %s --help", argument, out->command);
    } else if (!strcmp(name, "json")) {
      out->json = true;
    } else if (!strcmp(name, "output") && !strcmp(out->command, "show")) {
      out->output = true;
    } else if (!strcmp(name, "csv") && !strcmp(out->command, "pareto")) {
      out->csv = true;
    } else if (!strcmp(name, "n") && !strcmp(out->command, "top") && i + 1 < argc) {
      ANAS_RETURN_IF_ERROR(anas_parse_int("-n", argv[++i], 1, INT64_MAX, &out->limit));
    } else if (!strcmp(name, "by") && !strcmp(out->command, "top") && i + 1 < argc) {
      out->by = study_metric_find(argv[++i]);
      if (out->by < 0) return anas_fail(ANAS_INVALID, "--by: there is no metric '%s'", argv[i]);
    } else {
      return anas_fail(ANAS_INVALID, "unknown argument '%s'; see anas-search %s --help", argument, out->command);
    }
  }
  if (!out->path) return anas_fail(ANAS_INVALID, "which study? see anas-search %s --help", out->command);
  return ANAS_OK;
}

static void print_json(json_t *object /* consumed */) {
  char *text = json_dumps(object, JSON_INDENT(2));
  if (text) printf("%s\n", text);
  free(text);
  json_decref(object);
}

static json_t *trial_json(const struct study_trial *t) {
  json_t *object = json_pack("{s:I, s:I, s:s, s:s*, s:s*, s:s*, s:s*, s:s*, s:I, s:I, s:f, s:f}", "trial",
                             (json_int_t)t->number, "parent", (json_int_t)t->parent, "state",
                             study_state_name(t->state), "reason", t->reason, "kind", t->kind, "block", t->block,
                             "description", t->description, "hash", t->hash, "steps", (json_int_t)t->steps,
                             "peak_bytes", (json_int_t)t->peak_bytes, "started", t->started, "finished", t->finished);
  for (int i = 0; i < METRIC_NUM; i++)
    json_object_set_new(object, study_metrics[i].name, isfinite(t->metric[i]) ? json_real(t->metric[i]) : json_null());
  return object;
}

static double busy_seconds(const struct view *view) {
  double sum = 0;
  for (int64_t i = 0; i < view->count; i++)
    if (view->trials[i].finished > view->trials[i].started && view->trials[i].started > 0)
      sum += view->trials[i].finished - view->trials[i].started;
  return sum;
}

static const struct study_trial *best_of(const struct view *view) {
  const struct study_trial *best = NULL;
  const struct search_objective *objective = &view->options.objectives[0];
  for (int64_t i = 0; i < view->count; i++) {
    const struct study_trial *t = &view->trials[i];
    if (t->state == STUDY_COMPLETE &&
        (!best || search_standardised(objective, t) > search_standardised(objective, best)))
      best = t;
  }
  return best;
}

// ---- status

static anas_status status_command(struct view *view) {
  int64_t by_state[STUDY_NUM_STATES] = {0}, duplicates, infeasible, violations;
  for (int64_t i = 0; i < view->count; i++)
    by_state[view->trials[i].state]++;
  ANAS_RETURN_IF_ERROR(study_counter(view->study, "duplicates", &duplicates));
  ANAS_RETURN_IF_ERROR(study_counter(view->study, "infeasible", &infeasible));
  ANAS_RETURN_IF_ERROR(study_counter(view->study, "violations", &violations));
  const struct study_trial *best = best_of(view);
  if (view->json) {
    json_t *states = json_object();
    for (int s = 0; s < STUDY_NUM_STATES; s++)
      json_object_set_new(states, study_state_name((enum study_state)s), json_integer((json_int_t)by_state[s]));
    print_json(json_pack("{s:I, s:I, s:o, s:I, s:I, s:I, s:o, s:f}", "trials", (json_int_t)view->count, "planned",
                         (json_int_t)view->options.trials, "states", states, "rejected_duplicates",
                         (json_int_t)duplicates, "rejected_infeasible", (json_int_t)infeasible, "rejected_constraints",
                         (json_int_t)violations, "best", best ? trial_json(best) : json_null(), "busy_seconds",
                         busy_seconds(view)));
    return ANAS_OK;
  }
  printf("study %s: %lld of %lld trials, %s on %s, seed %llu\n", study_name(view->study), (long long)view->count,
         (long long)view->options.trials, view->options.strategy, view->options.dataset,
         (unsigned long long)view->options.seed);
  for (int s = 0; s < STUDY_NUM_STATES; s++)
    if (by_state[s]) printf("  %-12s %6lld\n", study_state_name((enum study_state)s), (long long)by_state[s]);
  printf("rejected before training: %lld duplicates, %lld infeasible, %lld outside the constraints\n",
         (long long)duplicates, (long long)infeasible, (long long)violations);
  printf("training time: %.1f s\n", busy_seconds(view));
  if (best)
    printf("best: trial %lld, accuracy %.4f, %.0f parameters\n", (long long)best->number, best->metric[METRIC_ACCURACY],
           best->metric[METRIC_PARAMS]);
  bool heading = false;
  for (int64_t i = 0; i < view->count; i++) {
    const struct study_trial *t = &view->trials[i];
    if (!t->reason) continue;
    if (!heading) printf("reasons:\n");
    heading = true;
    printf("  trial %lld %s: %s\n", (long long)t->number, study_state_name(t->state), t->reason);
  }
  return ANAS_OK;
}

// ---- top and pareto

static void print_rows(const struct view *view, const int64_t *numbers, int64_t count) {
  if (view->json) {
    json_t *list = json_array();
    for (int64_t i = 0; i < count; i++)
      json_array_append_new(list, trial_json(&view->trials[numbers[i]]));
    print_json(list);
    return;
  }
  if (view->csv) printf("trial,parent");
  for (int m = 0; view->csv && m < METRIC_NUM; m++)
    printf(",%s", study_metrics[m].name);
  if (view->csv) printf("\n");
  for (int64_t i = 0; view->csv && i < count; i++) {
    const struct study_trial *t = &view->trials[numbers[i]];
    printf("%lld,%lld", (long long)t->number, (long long)t->parent);
    for (int m = 0; m < METRIC_NUM; m++)
      printf(isfinite(t->metric[m]) ? ",%.10g" : ",", t->metric[m]);
    printf("\n");
  }
  if (view->csv) return;
  printf("trial  parent  accuracy      params        macs  images/s  mutation\n");
  for (int64_t i = 0; i < count; i++) {
    const struct study_trial *t = &view->trials[numbers[i]];
    printf("%5lld  %6lld    %6.4f  %10.0f  %10.0f  %8.0f  %s\n", (long long)t->number, (long long)t->parent,
           t->metric[METRIC_ACCURACY], t->metric[METRIC_PARAMS], t->metric[METRIC_MACS],
           t->metric[METRIC_IMAGES_PER_SECOND], t->description ? t->description : "");
  }
}

static anas_status top_command(struct view *view) {
  struct search_objective objective = view->options.objectives[0];
  if (view->by >= 0)
    objective = (struct search_objective){(enum study_metric)view->by, study_metrics[view->by].maximize};
  int64_t *numbers = anas_calloc((size_t)view->count, sizeof *numbers), count = 0;
  for (int64_t i = 0; i < view->count; i++) {
    const struct study_trial *t = &view->trials[i];
    if (t->state != STUDY_COMPLETE || !isfinite(t->metric[objective.metric])) continue;
    int64_t at = count++;
    for (;
         at > 0 && search_standardised(&objective, t) > search_standardised(&objective, &view->trials[numbers[at - 1]]);
         at--)
      numbers[at] = numbers[at - 1];
    numbers[at] = i;
  }
  print_rows(view, numbers, count < view->limit ? count : view->limit);
  free(numbers);
  return ANAS_OK;
}

static anas_status pareto_command(struct view *view) {
  int64_t count, *front = front_of(&view->options, view->trials, view->count, &count);
  print_rows(view, front, count);
  free(front);
  return ANAS_OK;
}

// ---- show

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
  char *path = study_trial_path(study_path(view->study), view->number, file), *text;
  size_t size;
  anas_status status = study_fetch(view->study, view->number, file);
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
    json_array_append_new(list,
                          json_pack("{s:f, s:I, s:o, s:o, s:b}", "epochs", p->epochs, "steps", (json_int_t)p->steps,
                                    "accuracy", isfinite(p->accuracy) ? json_real(p->accuracy) : json_null(), "loss",
                                    isfinite(p->loss) ? json_real(p->loss) : json_null(), "rung", (int)p->rung));
  }
  return list;
}

static anas_status show_trial(struct view *view) {
  if (view->number < 0) return anas_fail(ANAS_INVALID, "which trial? anas-search show STUDY TRIAL");
  if (view->number >= view->count)
    return anas_fail(ANAS_NOT_FOUND, "study '%s' has trials 0 to %lld, not %lld", study_name(view->study),
                     (long long)view->count - 1, (long long)view->number);
  if (view->output) return show_output(view);
  const struct study_trial *t = &view->trials[view->number];
  ANAS_RETURN_IF_ERROR(study_load_curves(view->study, &view->trials[view->number], 1));
  char *decision;
  ANAS_RETURN_IF_ERROR(study_decision(view->study, view->number, &decision));
  char *text = t->hash ? read_trial_file(view, "candidate.mlir") : NULL;
  if (view->json) {
    json_t *object = trial_json(t);
    json_object_set_new(object, "curve", curve_json(t));
    json_object_set_new(object, "decision", decision ? json_loads(decision, 0, NULL) : json_null());
    json_object_set_new(object, "architecture", text ? json_string(text) : json_null());
    print_json(object);
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
    lineage_comments(view->trials, t->number, "  ", true, &lineage);
    printf("lineage:\n%s", anas_strbuf_text(&lineage));
    anas_strbuf_deinit(&lineage);
    if (text) printf("architecture:\n%s", text);
  }
  free(text);
  free(decision);
  return ANAS_OK;
}

static anas_status run(int argc, char **argv, struct view *view) {
  ANAS_RETURN_IF_ERROR(parse(argc, argv, view));
  ANAS_RETURN_IF_ERROR(study_open(view->path, false, &view->study));
  char *json;
  ANAS_RETURN_IF_ERROR(study_get(view->study, "options", &json));
  anas_status status = json ? search_options_from_json(json, &view->options) : ANAS_OK;
  free(json);
  ANAS_RETURN_IF_ERROR(status);
  ANAS_RETURN_IF_ERROR(study_load(view->study, 0, &view->trials, &view->count));
  if (!strcmp(view->command, "status")) return status_command(view);
  if (!strcmp(view->command, "top")) return top_command(view);
  if (!strcmp(view->command, "pareto")) return pareto_command(view);
  return show_trial(view);
}

int show_command(int argc, char **argv) {
  for (int i = 1; i < argc; i++)
    if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-help") || !strcmp(argv[i], "-h")) {
      fputs(usage, stdout);
      return EXIT_SUCCESS;
    }
  struct view view = {.command = argv[0], .limit = 10, .number = -1, .by = -1};
  search_options_defaults(&view.options);
  anas_status status = run(argc, argv, &view);
  if (status != ANAS_OK) fprintf(stderr, "anas-search: error: %s\n", anas_error_message());
  study_trials_free(view.trials, view.count);
  study_close(view.study);
  search_options_deinit(&view.options);
  return status == ANAS_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
