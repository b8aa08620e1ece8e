// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Progress: a live table on a terminal, one line a trial otherwise, or JSON events.
#include "tools/anas-search/search.h"

#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/team.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REFRESH_SECONDS 0.3
#define JSON_SECONDS 5.0

struct table {
  const struct search *search;
  bool live;
  int lines;     // of the picture on the screen
  int64_t ended; // by this process
  double started, last;
  int64_t *front, num_front; // as of the trials that have ended
};

struct table *table_create(const struct search *search) {
  struct table *table = anas_alloc(sizeof *table);
  const char *terminal = getenv("TERM");
  table->search = search;
  table->live =
      !search->options.json && !search->options.quiet && isatty(STDOUT_FILENO) && terminal && strcmp(terminal, "dumb");
  table->started = anas_now();
  if (search->options.json) table->last = table->started; // short searches have their events only
  table->front = front_of(&search->options, search->trials, search->num_trials, &table->num_front);
  return table;
}

static void join_front(struct table *table, const struct study_trial *trial) {
  int64_t *left = anas_calloc((size_t)table->num_front + 1, sizeof *left), num_left;
  front_add(&table->search->options, table->search->trials, trial->number, &table->front, &table->num_front, left,
            &num_left);
  free(left);
}

// ---- how the search stands

struct standing {
  const struct study_trial *best; // by the first objective; null if nothing is complete
  double hypervolume;             // NaN while the seed is not trained
  double an_hour;                 // trials that ended, by this process
  double left;                    // seconds, NaN if nobody knows
};

static struct standing standing(const struct table *table, int running) {
  const struct search *search = table->search;
  double units[MAX_OBJECTIVES], seconds = anas_now() - table->started;
  front_units(&search->options, search->trials, search->num_trials, units);
  struct standing out = {
      .best = table->num_front ? &search->trials[table->front[0]] : NULL,
      .hypervolume = front_hypervolume(&search->options, search->trials, table->front, table->num_front, units),
      .an_hour = seconds > 0 ? (double)table->ended / seconds * 3600 : 0,
      .left = NAN,
  };
  double to_do = (double)(search->options.trials - search->num_trials + running);
  if (table->ended) out.left = to_do / out.an_hour * 3600;
  if (search->options.time_limit > 0) out.left = fmin(out.left, fmax(search->options.time_limit - seconds, 0));
  return out;
}

// Seconds until a running trial ends, from its steps; NaN before the first ones.
static double trial_left(const struct trial_process *p, double now) {
  if (p->step <= 0 || p->steps < p->step) return NAN;
  return (now - p->started) * (double)(p->steps - p->step) / (double)p->step;
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

static void add_standing(const struct table *table, int running, json_t *object) {
  struct standing s = standing(table, running);
  json_object_set_new(object, "best", s.best ? json_integer((json_int_t)s.best->number) : json_null());
  json_object_set_new(object, "hypervolume", metric(s.hypervolume));
  json_object_set_new(object, "trials_per_hour", metric(s.an_hour));
  json_object_set_new(object, "duplicates", json_integer((json_int_t)table->search->duplicates));
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
  join_front(table, trial);
  if (table->search->options.json) {
    json_t *object = trial_json(trial, "ended");
    add_standing(table, 0, object);
    print_json(object);
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

void table_workers(struct table *table) {
  const struct search *search = table->search;
  const struct search_options *o = &search->options;
  const struct packing *packing = &search->packing;
  if (!o->workers || o->quiet || strcmp(o->evaluator, "train")) return;
  int threads = search_trial_threads(o), processors = anas_team_size();
  if (o->json) {
    json_t *object = json_pack("{s:s, s:I, s:i, s:i, s:b}", "event", "workers", "workers", (json_int_t)o->workers,
                               "threads", threads, "processors", processors, "automatic", (int)packing->automatic);
    if (packing->automatic) {
      json_object_set_new(object, "predicted_speedup", json_real(packing->speedup));
      json_object_set_new(object, "planned_bytes", json_integer((json_int_t)packing->planned_bytes));
    }
    print_json(object);
    return;
  }
  struct anas_strbuf text = {0};
  anas_strbuf_addf(&text, "%lld trial%s at a time, %d thread%s each", (long long)o->workers, o->workers == 1 ? "" : "s",
                   threads, threads == 1 ? "" : "s");
  if (packing->automatic)
    anas_strbuf_addf(&text,
                     " (automatic: %d processors would train the seed model %.2f times as fast as one; it takes "
                     "%.1f MB)",
                     processors, packing->speedup, (double)packing->planned_bytes / 1e6);
  table_message(table, anas_strbuf_text(&text));
  anas_strbuf_deinit(&text);
}

// "1:02:03", "4:05"; "-" for NaN.
static const char *clock_text(double seconds, char out[32]) {
  long whole = isfinite(seconds) ? (long)(seconds + 0.5) : 0;
  if (!isfinite(seconds))
    snprintf(out, 32, "-");
  else if (whole >= 3600)
    snprintf(out, 32, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
  else
    snprintf(out, 32, "%ld:%02ld", whole / 60, whole % 60);
  return out;
}

static const char *doing(const struct trial_process *p) {
  return p->step ? "training" : "compiling";
}

static void print_line(struct table *table, struct anas_strbuf *text, const char *before, const char *after) {
  printf("%s%.*s%s\n", before, width() - 1, anas_strbuf_text(text), after);
  anas_strbuf_clear(text);
  table->lines++;
}

static void draw(struct table *table, const struct trial_process *running, int count, int draining) {
  const struct search *search = table->search;
  struct anas_strbuf text = {0};
  char clock[2][32];
  double now = anas_now();
  erase(table);
  if (count) {
    anas_strbuf_adds(&text, "trial  state        epoch  accuracy    loss     params  memory MiB  elapsed      eta");
    print_line(table, &text, "\x1b[1m", "\x1b[0m");
  }
  for (int i = 0; i < count; i++) {
    const struct trial_process *p = &running[i];
    char epoch[32] = "-", accuracy[16] = "-", loss[16] = "-";
    if (p->step) snprintf(epoch, sizeof epoch, "%lld/%lld", (long long)p->epoch, (long long)p->epochs);
    if (!isnan(p->val_accuracy)) snprintf(accuracy, sizeof accuracy, "%.4f", p->val_accuracy);
    if (!isnan(p->loss)) snprintf(loss, sizeof loss, "%.3f", p->loss);
    anas_strbuf_addf(&text, "%5lld  %-9s  %7s  %8s  %6s  %9.0f  %10.0f  %7s  %7s", (long long)p->number, doing(p),
                     epoch, accuracy, loss, search->trials[p->number].metric[METRIC_PARAMS],
                     (double)p->resident / (1 << 20), clock_text(now - p->started, clock[0]),
                     clock_text(trial_left(p, now), clock[1]));
    print_line(table, &text, "\x1b[7m", "\x1b[0m");
  }
  struct standing s = standing(table, count);
  anas_strbuf_addf(&text, "%lld/%lld trials, %.0f an hour, eta %s", (long long)(search->num_trials - count),
                   (long long)search->options.trials, s.an_hour, clock_text(s.left, clock[0]));
  if (s.best)
    anas_strbuf_addf(&text, "; best: trial %lld, accuracy %.4f, %.0f parameters", (long long)s.best->number,
                     s.best->metric[METRIC_ACCURACY], s.best->metric[METRIC_PARAMS]);
  if (isfinite(s.hypervolume)) anas_strbuf_addf(&text, "; hypervolume %.4f", s.hypervolume);
  anas_strbuf_addf(&text, "; %lld duplicates", (long long)search->duplicates);
  if (draining) anas_strbuf_adds(&text, "; stopping");
  print_line(table, &text, "", "");
  fflush(stdout);
  anas_strbuf_deinit(&text);
}

static void print_progress(const struct table *table, const struct trial_process *running, int count) {
  double now = anas_now();
  for (int i = 0; i < count; i++) {
    const struct trial_process *p = &running[i];
    print_json(json_pack("{s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:o, s:o, s:I, s:f, s:o}", "event", "progress", "trial",
                         (json_int_t)p->number, "state", doing(p), "epoch", (json_int_t)p->epoch, "epochs",
                         (json_int_t)p->epochs, "step", (json_int_t)p->step, "steps", (json_int_t)p->steps, "loss",
                         metric(p->loss), "accuracy", metric(p->val_accuracy), "resident_bytes",
                         (json_int_t)p->resident, "elapsed", now - p->started, "eta", metric(trial_left(p, now))));
  }
  struct standing s = standing(table, count);
  json_t *object = json_pack("{s:s, s:I, s:i, s:I, s:o}", "event", "standing", "trials",
                             (json_int_t)(table->search->num_trials - count), "running", count, "planned",
                             (json_int_t)table->search->options.trials, "eta", metric(s.left));
  add_standing(table, count, object);
  print_json(object);
}

void table_refresh(struct table *table, const struct trial_process *running, int count, int draining) {
  double now = anas_now();
  bool json = table->search->options.json;
  if ((!table->live && !json) || now - table->last < (json ? JSON_SECONDS : REFRESH_SECONDS)) return;
  table->last = now;
  if (json)
    print_progress(table, running, count);
  else
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
    json_t *list = json_array();
    for (int64_t i = 0; i < table->num_front; i++)
      json_array_append_new(list, json_integer((json_int_t)table->front[i]));
    json_t *object = json_pack(
        "{s:s, s:I, s:o, s:I, s:I, s:o, s:o, s:o, s:o}", "event", "done", "trials", (json_int_t)search->num_trials,
        "front", list, "cache_hits", (json_int_t)hits, "cache_misses", (json_int_t)misses, "decision_ms_median",
        decision_percentile(search, false, 0.5), "decision_ms_p99", decision_percentile(search, false, 0.99),
        "decision_cpu_ms_median", decision_percentile(search, true, 0.5), "decision_cpu_ms_p99",
        decision_percentile(search, true, 0.99));
    add_standing(table, 0, object);
    print_json(object);
  } else {
    erase(table);
    if (hits + misses > 0 && !search->options.quiet)
      printf("object cache: %lld of %lld kernel functions (%.1f %%)\n", (long long)hits, (long long)(hits + misses),
             100 * (double)hits / (double)(hits + misses));
    struct standing s = standing(table, 0);
    if (!search->options.quiet && isfinite(s.hypervolume))
      printf("%.0f trials an hour; hypervolume %.4f; %lld duplicates\n", s.an_hour, s.hypervolume,
             (long long)search->duplicates);
  }
  free(table->front);
  free(table);
}
