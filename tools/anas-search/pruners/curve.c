// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Learning curves of trials: where they have points, and their form in a checkpoint.
#include "tools/anas-search/pruners/pruner.h"

#include "runtime/support/memory.h"
#include "runtime/support/strbuf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pruner_stop *pruner_stops(const struct search_options *options, int64_t number, int *out_count) {
  const struct pruner *pruner = pruner_find(options->pruner);
  double *rungs = NULL;
  int num_rungs = pruner ? pruner->rungs(options, number, &rungs) : 0, count = 0, next = 0;
  struct pruner_stop *stops = anas_calloc((size_t)(options->epochs + num_rungs), sizeof *stops);
  for (int64_t epoch = 1; epoch <= options->epochs; epoch++) {
    for (; next < num_rungs && rungs[next] < (double)epoch; next++)
      stops[count++] = (struct pruner_stop){rungs[next], true};
    bool rung = next < num_rungs && rungs[next] == (double)epoch;
    next += rung;
    stops[count++] = (struct pruner_stop){(double)epoch, rung};
  }
  free(rungs);
  *out_count = count;
  return stops;
}

struct study_point *curve_point(struct study_trial *trial, int64_t steps) {
  int at = trial->num_points;
  while (at > 0 && trial->curve[at - 1].steps >= steps)
    at--;
  if (at < trial->num_points && trial->curve[at].steps == steps) return &trial->curve[at];
  trial->curve = anas_grow(trial->curve, (size_t)trial->num_points, &trial->capacity_points, sizeof *trial->curve);
  memmove(trial->curve + at + 1, trial->curve + at, (size_t)(trial->num_points - at) * sizeof *trial->curve);
  trial->num_points++;
  trial->curve[at] = (struct study_point){.steps = steps, .accuracy = NAN, .loss = NAN, .arrival = -1, .compared = -1};
  return &trial->curve[at];
}

// Points as "steps epochs accuracy loss rung;": verdicts are the driver's.
char *curve_to_text(const struct study_trial *trial) {
  struct anas_strbuf text = {0};
  for (int i = 0; i < trial->num_points; i++) {
    const struct study_point *p = &trial->curve[i];
    anas_strbuf_addf(&text, "%lld %.17g %.17g %.17g %d;", (long long)p->steps, p->epochs, p->accuracy, p->loss,
                     p->rung);
  }
  char *copy = anas_strdup(anas_strbuf_text(&text));
  anas_strbuf_deinit(&text);
  return copy;
}

void curve_from_text(const char *text, struct study_trial *trial) {
  long long steps;
  double epochs, accuracy, loss;
  int rung, size;
  while (sscanf(text, "%lld %lf %lf %lf %d;%n", &steps, &epochs, &accuracy, &loss, &rung, &size) == 5) {
    struct study_point *point = curve_point(trial, steps);
    point->epochs = epochs;
    point->accuracy = accuracy;
    point->loss = loss;
    point->rung = rung != 0;
    text += size;
  }
}
