// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-search report: a study as one page that needs nothing else. Well-formed XML, so that it can be checked; no
// scripts; every number that is shown for people is there for programs too (data-value).
#include "tools/anas-search/report.h"
#include "tools/anas-search/command.h"

#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char style[] =
    "body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222;background:#fff}"
    "table{border-collapse:collapse}th,td{padding:.2em .7em;border-bottom:1px solid #ddd;text-align:right;"
    "vertical-align:top}th{border-bottom:2px solid #888}td.text,th.text{text-align:left}"
    "pre{background:#f4f4f4;padding:.7em;overflow-x:auto}ol{margin:0;padding-left:1.2em}"
    "svg{width:100%;max-width:720px}svg text{font-size:12px;fill:#444}.grid{stroke:#eee}"
    ".frame{fill:none;stroke:#888}.other{fill:#bbb}.front{fill:#1664a8}.seed{fill:#d1600a}"
    ".frontline{fill:none;stroke:#1664a8;stroke-width:1.5}.lineage{fill:none;stroke:#88b3d8;stroke-width:.8}"
    ".bar{fill:#88b3d8}";

static void add_text(struct anas_strbuf *out, const char *text) {
  svg_escape(out, text);
}

static void add_metric(struct anas_strbuf *out, enum study_metric metric, double value) {
  if (!isfinite(value)) {
    anas_strbuf_adds(out, "<td>-</td>");
    return;
  }
  anas_strbuf_addf(out, "<td data-metric=\"%s\" data-value=\"%.17g\">", study_metrics[metric].name, value);
  anas_strbuf_addf(out, fabs(value) >= 1000 ? "%.0f" : "%.4g", value);
  anas_strbuf_adds(out, "</td>");
}

// ---- summary and states

static void add_summary(const struct report *r, struct anas_strbuf *out) {
  const struct search_options *o = &r->reading.options;
  anas_strbuf_adds(out, "<p>From <code>");
  add_text(out, o->model_path ? o->model_path : o->model_name ? o->model_name : "a model");
  anas_strbuf_adds(out, "</code> on ");
  add_text(out, o->dataset);
  anas_strbuf_adds(out, ", strategy ");
  add_text(out, o->strategy);
  anas_strbuf_addf(out, ", seed %llu; results by ", (unsigned long long)o->seed);
  add_text(out, o->evaluator);
  anas_strbuf_adds(out, ". Objectives:");
  for (int i = 0; i < o->num_objectives; i++)
    anas_strbuf_addf(out, "%s %s (%s)", i ? "," : "", study_metrics[o->objectives[i].metric].name,
                     o->objectives[i].maximize ? "more is better" : "less is better");
  anas_strbuf_addf(out, ". %lld of %lld trials.</p>\n", (long long)r->reading.count, (long long)o->trials);
}

static anas_status add_states(const struct report *r, struct anas_strbuf *out) {
  static const struct {
    const char *counter, *label;
  } rejected[] = {{"duplicates", "known already (duplicates)"},
                  {"infeasible", "no valid network"},
                  {"violations", "outside the constraints"}};
  int64_t by_state[STUDY_NUM_STATES], value;
  reading_states(&r->reading, by_state);
  anas_strbuf_adds(out, "<h2>States and duplicates</h2>\n<table id=\"states\"><tr><th class=\"text\">state</th><th>"
                        "trials</th><th></th></tr>\n");
  for (int s = 0; s < STUDY_NUM_STATES; s++) {
    if (!by_state[s]) continue;
    anas_strbuf_addf(out,
                     "<tr><td class=\"text\">%s</td><td data-state=\"%s\">%lld</td><td><svg "
                     "xmlns=\"http://www.w3.org/2000/svg\" style=\"width:200px;height:12px\"><rect class=\"bar\" "
                     "width=\"%.1f\" height=\"12\"/></svg></td></tr>\n",
                     study_state_name((enum study_state)s), study_state_name((enum study_state)s),
                     (long long)by_state[s], 200 * (double)by_state[s] / (double)r->reading.count);
  }
  anas_strbuf_adds(out, "</table>\n<p>Mutations that were rejected before they became a trial:");
  for (size_t i = 0; i < sizeof rejected / sizeof *rejected; i++) {
    ANAS_RETURN_IF_ERROR(study_counter(r->reading.study, rejected[i].counter, &value));
    anas_strbuf_addf(out, "%s <span data-counter=\"%s\">%lld</span> %s", i ? "," : "", rejected[i].counter,
                     (long long)value, rejected[i].label);
  }
  anas_strbuf_adds(out, ".</p>\n");
  return ANAS_OK;
}

// ---- the front

static void add_lineage(const struct report *r, int64_t number, struct anas_strbuf *out) {
  const struct study_trial *trials = r->reading.trials;
  int64_t count = 0, *chain = NULL;
  size_t capacity = 0;
  for (int64_t at = number; at >= 0; at = trials[at].parent) {
    chain = anas_grow(chain, (size_t)count, &capacity, sizeof *chain);
    chain[count++] = at;
  }
  anas_strbuf_adds(out, "<td class=\"text\"><ol>");
  while (count-- > 0) {
    const struct study_trial *t = &trials[chain[count]];
    anas_strbuf_addf(out, "<li>trial %lld", (long long)t->number);
    if (t->description) {
      anas_strbuf_adds(out, ": ");
      add_text(out, t->description);
    }
    anas_strbuf_adds(out, "</li>");
  }
  anas_strbuf_adds(out, "</ol></td>");
  free(chain);
}

static void add_front(const struct report *r, struct anas_strbuf *out) {
  const struct search_options *o = &r->reading.options;
  enum study_metric shown[MAX_OBJECTIVES + 3] = {METRIC_ACCURACY, METRIC_PARAMS, METRIC_MACS};
  int count = 3;
  for (int i = 0; i < o->num_objectives; i++) {
    bool there = false;
    for (int k = 0; k < count; k++)
      there |= shown[k] == o->objectives[i].metric;
    if (!there) shown[count++] = o->objectives[i].metric;
  }
  anas_strbuf_addf(out, "<h2>The front</h2>\n<p>%lld trials are not dominated by another.</p>\n",
                   (long long)r->num_front);
  if (!r->num_front) return;
  anas_strbuf_adds(out, "<table id=\"front-table\"><tr><th>trial</th>");
  for (int k = 0; k < count; k++)
    anas_strbuf_addf(out, "<th>%s</th>", study_metrics[shown[k]].name);
  anas_strbuf_adds(out, "<th class=\"text\">from the seed model to it</th></tr>\n");
  for (int64_t i = 0; i < r->num_front; i++) {
    const struct study_trial *t = &r->reading.trials[r->front[i]];
    anas_strbuf_addf(out, "<tr data-trial=\"%lld\"><td>%lld</td>", (long long)t->number, (long long)t->number);
    for (int k = 0; k < count; k++)
      add_metric(out, shown[k], t->metric[shown[k]]);
    add_lineage(r, t->number, out);
    anas_strbuf_adds(out, "</tr>\n");
  }
  anas_strbuf_adds(out, "</table>\n");
}

// ---- commands

// As a word of a shell, then as text of the page.
static void add_word(struct anas_strbuf *out, const char *word) {
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:@%+,=-";
  if (*word && strspn(word, plain) == strlen(word)) {
    add_text(out, word);
    return;
  }
  struct anas_strbuf quoted = {0};
  anas_strbuf_adds(&quoted, "'");
  for (; *word; word++)
    anas_strbuf_add(&quoted, *word == '\'' ? "'\\''" : word, *word == '\'' ? 4 : 1);
  anas_strbuf_adds(&quoted, "'");
  add_text(out, anas_strbuf_text(&quoted));
  anas_strbuf_deinit(&quoted);
}

static void add_training(const struct report *r, long long number, struct anas_strbuf *out) {
  const struct search_options *o = &r->reading.options;
  anas_strbuf_addf(out, "anas-train trial-%lld.mlir --dataset ", number);
  add_word(out, o->dataset);
  if (o->data_directory) {
    anas_strbuf_adds(out, " --data ");
    add_word(out, o->data_directory);
  }
  anas_strbuf_addf(out, " --epochs %lld --batch %lld --lr %.15g --momentum %.15g --weight-decay %.15g --warmup %.15g",
                   (long long)o->epochs, (long long)o->batch, o->learning_rate, o->momentum, o->weight_decay,
                   o->warmup_epochs);
  if (o->limit) anas_strbuf_addf(out, " --limit %lld", (long long)o->limit);
  if (o->validation >= 0) anas_strbuf_addf(out, " --validation %lld", (long long)o->validation);
  if (o->max_steps) anas_strbuf_addf(out, " --max-steps %lld", (long long)o->max_steps);
  if (strcmp(o->precision, "f32") != 0) {
    anas_strbuf_adds(out, " --precision ");
    add_word(out, o->precision);
  }
  uint64_t seed = o->seed + (uint64_t)(number < o->seed_trials ? number : 0); // as the trial's
  anas_strbuf_addf(out, " --seed %llu --save trial-%lld.safetensors\n", (unsigned long long)seed, number);
}

static void add_commands(const struct report *r, struct anas_strbuf *out) {
  anas_strbuf_adds(out, "<h2>Doing it again</h2>\n<pre id=\"commands\">anas-search replay ");
  add_word(out, r->path);
  anas_strbuf_adds(out, "    # every decision of the search\n");
  if (r->num_front) {
    long long best = (long long)r->front[0];
    anas_strbuf_adds(out, "anas-search show ");
    add_word(out, r->path);
    anas_strbuf_addf(out, " %lld --json | jq -r .architecture &gt;trial-%lld.mlir\n", best, best);
    add_training(r, best, out);
    anas_strbuf_addf(out, "anas-export trial-%lld.mlir --to cuda-bundle --batch %lld -o trial-%lld.bundle\n", best,
                     (long long)r->reading.options.batch, best);
  }
  anas_strbuf_adds(out, "</pre>\n<p>Repeat the training with several values of <code>--seed</code> before you report "
                        "an accuracy: this one was chosen because it was high.</p>\n<h2>Settings</h2>\n<pre>");
  char *json = search_options_to_json(&r->reading.options);
  add_text(out, json);
  free(json);
  anas_strbuf_adds(out, "</pre>\n");
}

// ---- the page

static anas_status write_page(const struct report *r, struct anas_strbuf *out) {
  anas_strbuf_adds(out, "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\"><head><meta "
                        "charset=\"utf-8\"/><meta http-equiv=\"Content-Security-Policy\" content=\"default-src "
                        "'none'; style-src 'unsafe-inline'\"/><title>");
  add_text(out, study_name(r->reading.study));
  anas_strbuf_addf(out, "</title><style>%s</style></head><body>\n<h1>Study ", style);
  add_text(out, study_name(r->reading.study));
  anas_strbuf_adds(out, "</h1>\n");
  add_summary(r, out);
  report_plots(r, out);
  ANAS_RETURN_IF_ERROR(add_states(r, out));
  add_front(r, out);
  add_commands(r, out);
  anas_strbuf_adds(out, "</body></html>\n");
  return ANAS_OK;
}

// Descriptions, of the front, its ancestors and the seed model.
static anas_status describe(struct report *r) {
  struct study_trial *trials = r->reading.trials;
  for (int64_t i = 0; i < r->num_front; i++)
    for (int64_t at = r->front[i]; at >= 0 && trials[at].brief; at = trials[at].parent)
      ANAS_RETURN_IF_ERROR(study_describe(r->reading.study, &trials[at]));
  for (int64_t i = 0; i < r->reading.options.seed_trials && i < r->reading.count; i++)
    ANAS_RETURN_IF_ERROR(study_describe(r->reading.study, &trials[i]));
  return ANAS_OK;
}

static anas_status make_report(struct report *r, const char *output) {
  ANAS_RETURN_IF_ERROR(reading_open(r->path, &r->reading));
  r->front = front_of(&r->reading.options, r->reading.trials, r->reading.count, &r->num_front);
  ANAS_RETURN_IF_ERROR(describe(r));
  struct anas_strbuf out = {0};
  anas_status status = write_page(r, &out);
  if (status == ANAS_OK) status = anas_file_write(output, out.data, out.size);
  anas_strbuf_deinit(&out);
  return status;
}

static anas_status run(const struct command *command, int argc, char **argv) {
  struct command_arguments arguments = {.command = command, .argc = argc, .argv = argv};
  struct report report = {0};
  const char *flag, *output = NULL;
  for (;;) {
    ANAS_RETURN_IF_ERROR(command_next(&arguments, &flag));
    if (!flag) break;
    if (!*flag)
      ANAS_RETURN_IF_ERROR(command_take_study(&arguments, &report.path));
    else
      output = arguments.value;
  }
  ANAS_RETURN_IF_ERROR(command_need_study(command, report.path));
  if (!output) return anas_fail(ANAS_INVALID, "report: --output FILE.html is required");
  anas_status status = make_report(&report, output);
  free(report.front);
  reading_close(&report.reading);
  return status;
}

static const struct command_flag flags[] = {{"output", "FILE.html", "where to write it (required)"}, {0}};
static const char *const examples[] = {"anas-search report s1 --output s1.html", NULL};
const struct command command_report = {
    .name = "report",
    .arguments = "STUDY --output FILE.html",
    .purpose = "Writes a study as one page: plots, states, the front and how it came about, commands to do it again",
    .notes = "The page is one file without scripts that loads nothing. The study may be running: write it again "
             "later.\n",
    .flags = flags,
    .examples = examples,
    .run = run,
};
