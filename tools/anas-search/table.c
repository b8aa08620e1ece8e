// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Progress: a live table on a terminal, one line a trial otherwise, or JSON events.
#include "tools/anas-search/search.h"

#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REFRESH_SECONDS 0.3

struct table {
  const struct search *search;
  bool live;
  int lines; // of the picture on the screen
  int64_t ended;
  double started, last;
};

struct table *table_create(const struct search *search) {
  struct table *table = anas_alloc(sizeof *table);
  const char *terminal = getenv("TERM");
  table->search = search;
  table->live =
      !search->options.json && !search->options.quiet && isatty(STDOUT_FILENO) && terminal && strcmp(terminal, "dumb");
  table->started = anas_now();
  return table;
}

static void erase(struct table *table) {
  if (table->lines) printf("\x1b[%dA\x1b[J", table->lines);
  table->lines = 0;
}

// ---- JSON

static json_t *metric(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

static json_t *trial_json(const struct study_trial *trial, const char *event) {
  json_t *object =
      json_pack("{s:s, s:I, s:I, s:s, s:s*, s:s*, s:s*, s:s*}", "event", event, "trial", (json_int_t)trial->number,
                "parent", (json_int_t)trial->parent, "state", study_state_name(trial->state), "reason", trial->reason,
                "kind", trial->kind, "description", trial->description, "hash", trial->hash);
  for (int i = 0; i < METRIC_NUM; i++)
    json_object_set_new(object, study_metrics[i].name, metric(trial->metric[i]));
  if (trial->cache_hits + trial->cache_misses > 0) {
    json_object_set_new(object, "cache_hits", json_integer((json_int_t)trial->cache_hits));
    json_object_set_new(object, "cache_misses", json_integer((json_int_t)trial->cache_misses));
  }
  return object;
}

static void print_json(json_t *object /* consumed */) {
  char *text = json_dumps(object, JSON_COMPACT);
  if (text) printf("%s\n", text);
  fflush(stdout);
  free(text);
  json_decref(object);
}

// ---- lines

static double elapsed(const struct study_trial *trial) {
  return trial->finished > trial->started && trial->started > 0 ? trial->finished - trial->started : 0;
}

static const struct study_trial *best_trial(const struct search *search) {
  const struct search_objective *objective = &search->options.objectives[0];
  const struct study_trial *best = NULL;
  for (int64_t i = 0; i < search->num_trials; i++) {
    const struct study_trial *t = &search->trials[i];
    if (t->state != STUDY_COMPLETE) continue;
    if (!best || search_standardised(objective, t) > search_standardised(objective, best)) best = t;
  }
  return best;
}

static void add_trial_line(const struct study_trial *trial, struct anas_strbuf *out) {
  anas_strbuf_addf(out, "trial %4lld  %-11s", (long long)trial->number, study_state_name(trial->state));
  if (trial->state == STUDY_COMPLETE)
    anas_strbuf_addf(out, "  accuracy %.4f  params %9.0f  macs %10.0f  %6.1f s", trial->metric[METRIC_ACCURACY],
                     trial->metric[METRIC_PARAMS], trial->metric[METRIC_MACS], elapsed(trial));
  if (trial->parent >= 0) anas_strbuf_addf(out, "  from %lld", (long long)trial->parent);
  if (trial->reason)
    anas_strbuf_addf(out, "  %s", trial->reason);
  else if (trial->description)
    anas_strbuf_addf(out, "  %s", trial->description);
}

static int width(void) {
  struct winsize size;
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 100;
}

void table_trial_started(struct table *table, const struct study_trial *trial) {
  if (table->search->options.json) print_json(trial_json(trial, "started"));
}

void table_trial_ended(struct table *table, const struct study_trial *trial) {
  table->ended++;
  if (table->search->options.json) {
    print_json(trial_json(trial, "ended"));
    return;
  }
  if (table->search->options.quiet) return;
  erase(table);
  struct anas_strbuf line = {0};
  add_trial_line(trial, &line);
  if (table->live)
    printf("%.*s\n", width() - 1, anas_strbuf_text(&line));
  else
    printf("%s\n", anas_strbuf_text(&line));
  fflush(stdout);
  anas_strbuf_deinit(&line);
}

void table_message(struct table *table, const char *text) {
  if (table->search->options.json) {
    print_json(json_pack("{s:s, s:s}", "event", "message", "text", text));
    return;
  }
  erase(table);
  printf("-- %s\n", text);
  fflush(stdout);
}

static void draw(struct table *table, const struct trial_process *running, int count, int draining) {
  const struct search *search = table->search;
  struct anas_strbuf text = {0};
  int columns = width() - 1;
  erase(table);
  double now = anas_now(), hours = (now - table->started) / 3600;
  for (int i = 0; i < count; i++) {
    const struct trial_process *p = &running[i];
    const struct study_trial *t = &search->trials[p->number];
    anas_strbuf_addf(&text, "trial %4lld  %-11s", (long long)p->number, p->step ? "training" : "compiling");
    if (p->step)
      anas_strbuf_addf(&text, "  epoch %lld/%lld  step %lld/%lld  loss %.3f", (long long)p->epoch, (long long)p->epochs,
                       (long long)p->step, (long long)p->steps, p->loss);
    if (!isnan(p->val_accuracy)) anas_strbuf_addf(&text, "  accuracy %.4f", p->val_accuracy);
    anas_strbuf_addf(&text, "  params %.0f  %.0f s  %.0f MiB", t->metric[METRIC_PARAMS], now - p->started,
                     (double)p->resident / (1 << 20));
    printf("\x1b[7m%.*s\x1b[0m\n", columns, anas_strbuf_text(&text));
    anas_strbuf_clear(&text);
    table->lines++;
  }
  const struct study_trial *best = best_trial(search);
  anas_strbuf_addf(&text, "%lld/%lld trials, %.0f an hour", (long long)(search->num_trials - count),
                   (long long)search->options.trials, hours > 0 ? (double)table->ended / hours : 0);
  if (best)
    anas_strbuf_addf(&text, "; best: trial %lld, accuracy %.4f, %.0f parameters", (long long)best->number,
                     best->metric[METRIC_ACCURACY], best->metric[METRIC_PARAMS]);
  if (draining) anas_strbuf_adds(&text, "; stopping");
  printf("%.*s\n", columns, anas_strbuf_text(&text));
  table->lines++;
  fflush(stdout);
  anas_strbuf_deinit(&text);
}

void table_refresh(struct table *table, const struct trial_process *running, int count, int draining) {
  double now = anas_now();
  if (!table->live || now - table->last < REFRESH_SECONDS) return;
  table->last = now;
  draw(table, running, count, draining);
}

static int by_size(const void *left, const void *right) {
  double a = *(const double *)left, b = *(const double *)right;
  return a < b ? -1 : a > b;
}

// Milliseconds that a share of this run's decisions took at most, in wall or processor time.
static json_t *decision_percentile(const struct search *search, bool cpu, double share) {
  if (!search->num_decisions) return json_null();
  double *sorted = anas_calloc(search->num_decisions, sizeof *sorted);
  for (size_t i = 0; i < search->num_decisions; i++)
    sorted[i] = cpu ? search->decisions[i].cpu_seconds : search->decisions[i].seconds;
  qsort(sorted, search->num_decisions, sizeof *sorted, by_size);
  double value = sorted[(size_t)(share * (double)(search->num_decisions - 1))] * 1e3;
  free(sorted);
  return json_real(value);
}

void table_destroy(struct table *table) {
  const struct search *search = table->search;
  int64_t hits = 0, misses = 0; // kernel functions of this process's trials
  for (int64_t i = 0; i < search->num_trials; i++) {
    hits += search->trials[i].cache_hits;
    misses += search->trials[i].cache_misses;
  }
  if (search->options.json) {
    int64_t count, *front = front_of(&search->options, search->trials, search->num_trials, &count);
    json_t *list = json_array();
    for (int64_t i = 0; i < count; i++)
      json_array_append_new(list, json_integer((json_int_t)front[i]));
    print_json(json_pack("{s:s, s:I, s:o, s:I, s:I, s:o, s:o, s:o, s:o}", "event", "done", "trials",
                         (json_int_t)search->num_trials, "front", list, "cache_hits", (json_int_t)hits, "cache_misses",
                         (json_int_t)misses, "decision_ms_median", decision_percentile(search, false, 0.5),
                         "decision_ms_p99", decision_percentile(search, false, 0.99), "decision_cpu_ms_median",
                         decision_percentile(search, true, 0.5), "decision_cpu_ms_p99",
                         decision_percentile(search, true, 0.99)));
    free(front);
  } else {
    erase(table);
    if (hits + misses > 0 && !search->options.quiet)
      printf("object cache: %lld of %lld kernel functions (%.1f %%)\n", (long long)hits, (long long)(hits + misses),
             100 * (double)hits / (double)(hits + misses));
  }
  free(table);
}
