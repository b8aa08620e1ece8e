// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The plots of a report.
#include "tools/anas-search/report.h"

#include "runtime/support/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define VOLUMES 400 // at most so many hypervolumes are computed

static double value_of(const struct report *r, int objective, int64_t number) {
  return r->reading.trials[number].metric[r->reading.options.objectives[objective].metric];
}

static bool complete(const struct report *r, int64_t number, int a, int b) {
  return r->reading.trials[number].state == STUDY_COMPLETE && isfinite(value_of(r, a, number)) &&
         isfinite(value_of(r, b, number));
}

static void extend(double *low, double *high, double value) {
  if (value < *low) *low = value;
  if (value > *high) *high = value;
}

static char *title_of(const struct report *r, int64_t number) {
  const struct study_trial *t = &r->reading.trials[number];
  return anas_format("trial %lld: accuracy %.4f, %.0f parameters. %s", (long long)number, t->metric[METRIC_ACCURACY],
                     t->metric[METRIC_PARAMS], t->description ? t->description : "");
}

static void add_named_point(const struct report *r, struct plot *p, int x, int64_t number, const char *class) {
  char *title = title_of(r, number);
  plot_point(p, value_of(r, x, number), value_of(r, 0, number), class, 4.5, title, false);
  free(title);
}

// Objective 0 upwards, objective x to the right. Thin lines lead from the front back to the seed model.
static void plot_front(const struct report *r, int x, struct anas_strbuf *out) {
  const struct search_options *o = &r->reading.options;
  struct plot p = {.out = out, .x0 = INFINITY, .x1 = -INFINITY, .y0 = INFINITY, .y1 = -INFINITY};
  for (int64_t i = 0; i < r->reading.count; i++)
    if (complete(r, i, 0, x)) {
      extend(&p.x0, &p.x1, value_of(r, x, i));
      extend(&p.y0, &p.y1, value_of(r, 0, i));
    }
  if (p.x0 > p.x1) return;
  p.log_x = p.x0 > 0 && p.x1 > 20 * p.x0;
  const char *x_name = study_metrics[o->objectives[x].metric].name,
             *y_name = study_metrics[o->objectives[0].metric].name;
  char *id = anas_format("plot-%s", x_name), *title = anas_format("%s against %s", y_name, x_name);
  anas_strbuf_addf(out, "<h2>%s against %s</h2>\n", y_name, x_name);
  plot_begin(&p, id, title, x_name, y_name);
  free(id);
  free(title);
  for (int64_t i = 0; i < r->reading.count; i++)
    if (complete(r, i, 0, x)) plot_point(&p, value_of(r, x, i), value_of(r, 0, i), "other", 2.5, NULL, true);
  bool *drawn = anas_calloc((size_t)r->reading.count, sizeof *drawn); // ways join
  for (int64_t f = 0; f < r->num_front; f++)
    for (int64_t at = r->front[f]; !drawn[at] && r->reading.trials[at].parent >= 0; at = r->reading.trials[at].parent) {
      int64_t parent = r->reading.trials[at].parent;
      drawn[at] = true;
      if (!complete(r, at, 0, x) || !complete(r, parent, 0, x)) continue;
      double xs[] = {value_of(r, x, parent), value_of(r, x, at)}, ys[] = {value_of(r, 0, parent), value_of(r, 0, at)};
      plot_line(&p, xs, ys, 2, "lineage", false);
    }
  free(drawn);
  for (int64_t f = 0; f < r->num_front; f++)
    add_named_point(r, &p, x, r->front[f], "front");
  for (int64_t i = 0; i < o->seed_trials && i < r->reading.count; i++)
    if (complete(r, i, 0, x)) add_named_point(r, &p, x, i, "seed");
  plot_end(&p);
  anas_strbuf_adds(out, "<p>Blue: the front. Orange: the seed model. Grey: other completed trials. Thin lines: from "
                        "children on the front to their ancestors.</p>\n");
}

static void plot_progress(const struct report *r, struct anas_strbuf *out) {
  const struct search_objective *objective = &r->reading.options.objectives[0];
  const char *name = study_metrics[objective->metric].name;
  struct plot p = {.out = out, .x0 = 0, .x1 = 0, .y0 = INFINITY, .y1 = -INFINITY};
  double *x = anas_calloc((size_t)r->reading.count + 1, sizeof *x),
         *y = anas_calloc((size_t)r->reading.count + 1, sizeof *y);
  int64_t count = 0, last = 0;
  for (int64_t i = 0; i < r->reading.count; i++) {
    if (!complete(r, i, 0, 0)) continue;
    double value = value_of(r, 0, i);
    extend(&p.x0, &p.x1, (double)i);
    extend(&p.y0, &p.y1, value);
    last = i;
    if (count && !(objective->maximize ? value > y[count - 1] : value < y[count - 1])) continue;
    x[count] = (double)i;
    y[count++] = value;
  }
  if (count) {
    x[count] = (double)last;
    y[count] = y[count - 1];
    char *title = anas_format("%s against trials", name);
    anas_strbuf_addf(out, "<h2>%s against trials</h2>\n", name);
    plot_begin(&p, "plot-trials", title, "trial", name);
    free(title);
    for (int64_t i = 0; i < r->reading.count; i++)
      if (complete(r, i, 0, 0)) plot_point(&p, (double)i, value_of(r, 0, i), "other", 2.5, NULL, true);
    plot_line(&p, x, y, count + 1, "frontline", true);
    plot_end(&p);
  }
  free(x);
  free(y);
}

// ---- hypervolume against time

struct end {
  double time;
  int64_t number;
};

static int earlier(const void *left, const void *right) {
  const struct end *a = left, *b = right;
  if (a->time != b->time) return a->time < b->time ? -1 : 1;
  return (a->number > b->number) - (a->number < b->number);
}

// Completed trials by the time of their end, in seconds from the start of the first one; malloc'ed.
static struct end *ends_of(const struct report *r, int64_t *out_count) {
  struct end *ends = anas_calloc((size_t)r->reading.count, sizeof *ends);
  double start = INFINITY;
  int64_t count = 0;
  for (int64_t i = 0; i < r->reading.count; i++) {
    const struct study_trial *t = &r->reading.trials[i];
    if (t->started > 0 && t->started < start) start = t->started;
    if (t->state == STUDY_COMPLETE && t->finished > 0) ends[count++] = (struct end){t->finished, i};
  }
  for (int64_t i = 0; i < count; i++)
    ends[i].time -= start;
  qsort(ends, (size_t)count, sizeof *ends, earlier);
  *out_count = count;
  return ends;
}

static void plot_volume(const struct report *r, struct anas_strbuf *out) {
  const struct search_options *o = &r->reading.options;
  const struct study_trial *trials = r->reading.trials;
  double units[MAX_OBJECTIVES], *x = anas_calloc(VOLUMES + 2, sizeof *x), *y = anas_calloc(VOLUMES + 2, sizeof *y);
  front_units(o, trials, r->reading.count, units);
  int64_t num_ends, count = 0, num_front = 0, num_left;
  int64_t *front = NULL, *left = anas_calloc((size_t)r->reading.count, sizeof *left);
  struct end *ends = ends_of(r, &num_ends);
  double last = num_ends ? ends[num_ends - 1].time : 0;
  bool changed = false;
  for (int64_t i = 0; i < num_ends && !isnan(units[0]); i++) {
    changed |= front_add(o, trials, ends[i].number, &front, &num_front, left, &num_left);
    bool soon = count && i + 1 < num_ends && ends[i].time - x[count - 1] < last / VOLUMES;
    if (!changed || soon || count > VOLUMES) continue;
    x[count] = ends[i].time;
    y[count++] = front_hypervolume(o, trials, front, num_front, units);
    changed = false;
  }
  anas_strbuf_adds(out, "<h2>Hypervolume against time</h2>\n");
  if (!count) {
    anas_strbuf_adds(out, "<p>Not known: the seed model has no result.</p>\n");
  } else {
    static const struct {
      double seconds;
      const char *label;
    } scales[] = {{86400, "days"}, {3600, "hours"}, {60, "minutes"}, {1, "seconds"}};
    int scale = 0;
    while (scale < 3 && last < 2 * scales[scale].seconds)
      scale++;
    x[count] = last;
    y[count] = front_hypervolume(o, trials, front, num_front, units);
    for (int64_t i = 0; i <= count; i++)
      x[i] /= scales[scale].seconds;
    struct plot p = {.out = out, .x1 = x[count], .y0 = y[0], .y1 = y[count]};
    for (int64_t i = 0; i <= count; i++)
      extend(&p.y0, &p.y1, y[i]);
    char *label = anas_format("%s since the first trial began", scales[scale].label);
    plot_begin(&p, "plot-hypervolume", "hypervolume against time", label, "hypervolume");
    free(label);
    plot_line(&p, x, y, count + 1, "frontline", true);
    plot_end(&p);
    anas_strbuf_addf(out,
                     "<p>At the end <span id=\"hypervolume\" data-value=\"%.17g\">%.4f</span>, in units of the seed "
                     "model, which alone has 1. Pauses between a stop and a resume count.</p>\n",
                     y[count], y[count]);
  }
  free(ends);
  free(left);
  free(front);
  free(x);
  free(y);
}

void report_plots(const struct report *r, struct anas_strbuf *out) {
  for (int x = 1; x < r->reading.options.num_objectives; x++)
    plot_front(r, x, out);
  plot_progress(r, out);
  plot_volume(r, out);
}
