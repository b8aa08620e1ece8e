// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What becomes of trials that pause at a rung. A verdict is made from a group of trials that can be found again from
// the log: study_point.compared is the end of that group, in numbers of trials where generations decide, else in
// arrivals.
#include "tools/anas-search/pruners/pruner.h"

#include "runtime/support/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Trials are compared with the last ones that reached the rung: a search gets better, and ranking is quadratic.
#define MOST_COMPARED 500

// ---- the log of arrivals

struct pruner_log {
  struct pruner_arrival {
    int64_t number;
    double epochs;
  } * arrival;
  size_t count, capacity;
};

void pruner_log_deinit(struct search *search) {
  if (search->arrivals) free(search->arrivals->arrival);
  free(search->arrivals);
}

static void enter(struct pruner_log *log, int64_t place, int64_t number, double epochs) {
  while ((int64_t)log->count <= place) {
    log->arrival = anas_grow(log->arrival, log->count, &log->capacity, sizeof *log->arrival);
    log->arrival[log->count++] = (struct pruner_arrival){.number = -1};
  }
  log->arrival[place] = (struct pruner_arrival){number, epochs};
}

// The log of a search, made from the curves of its trials when it is first needed.
static struct pruner_log *log_of(struct search *search) {
  if (search->arrivals) return search->arrivals;
  search->arrivals = anas_alloc(sizeof *search->arrivals);
  for (int64_t i = 0; i < search->num_trials; i++)
    for (int p = 0; p < search->trials[i].num_points; p++) {
      const struct study_point *point = &search->trials[i].curve[p];
      if (point->arrival >= 0) enter(search->arrivals, point->arrival, i, point->epochs);
    }
  return search->arrivals;
}

bool pruner_arrive(struct search *search, struct study_trial *trial) {
  // The order within a generation means nothing, and would differ from run to run.
  if (search->options.synchronous || trial->number < search->options.seed_trials) return false;
  bool any = false;
  struct pruner_log *log = log_of(search);
  for (int p = 0; p < trial->num_points; p++) {
    struct study_point *point = &trial->curve[p];
    if (!point->rung || point->arrival >= 0) continue;
    point->arrival = (int64_t)log->count;
    enter(log, point->arrival, trial->number, point->epochs);
    any = true;
  }
  return any;
}

// ---- groups

static const struct study_point *point_at(const struct study_trial *trial, double epochs) {
  for (int p = 0; p < trial->num_points; p++)
    if (trial->curve[p].rung && trial->curve[p].epochs == epochs) return &trial->curve[p];
  return NULL;
}

static int class_of(const struct search *search, int64_t number) {
  const struct pruner *pruner = pruner_find(search->options.pruner);
  return pruner->class_of ? pruner->class_of(&search->options, number) : 0;
}

// Numbers of the trials that 'point' of a trial is compared with, itself among them; malloc'ed.
static int64_t *members(const struct search *search, const struct study_trial *trial, const struct study_point *point,
                        int64_t compared, int *out_count) {
  int class = class_of(search, trial->number), count = 0;
  int64_t generation = search->options.synchronous, *numbers;
  if (generation) {
    // All of its own generation, and those before.
    int64_t first = trial->number / generation * generation;
    numbers = anas_calloc((size_t)(compared - first + MOST_COMPARED), sizeof *numbers);
    for (int64_t i = compared - 1; i >= search->options.seed_trials && (i >= first || count < MOST_COMPARED); i--)
      if (class_of(search, i) == class && point_at(&search->trials[i], point->epochs)) numbers[count++] = i;
  } else {
    numbers = anas_calloc(MOST_COMPARED, sizeof *numbers);
    for (int64_t a = compared - 1; a >= 0 && count < MOST_COMPARED; a--) {
      const struct pruner_arrival *arrival = &search->arrivals->arrival[a];
      if (arrival->number >= search->options.seed_trials && arrival->epochs == point->epochs &&
          class_of(search, arrival->number) == class)
        numbers[count++] = arrival->number;
    }
  }
  *out_count = count;
  return numbers;
}

// Of the metrics after training only accuracy and loss exist at a rung.
static bool known_at_rung(enum study_metric metric) {
  return metric == METRIC_ACCURACY || metric == METRIC_LOSS || study_metrics[metric].known != METRIC_AFTER_TRAINING;
}

static double value_at(const struct search_objective *objective, const struct study_trial *trial,
                       const struct study_point *point) {
  double value = objective->metric == METRIC_ACCURACY ? point->accuracy
                 : objective->metric == METRIC_LOSS   ? point->loss
                                                      : trial->metric[objective->metric];
  if (!isfinite(value)) return -HUGE_VAL;
  return objective->maximize ? value : -value;
}

struct keyed {
  double quality;
  int64_t number;
};

static int better_first(const void *left, const void *right) {
  const struct keyed *a = left, *b = right;
  if (a->quality != b->quality) return a->quality > b->quality ? -1 : 1;
  return a->number < b->number ? -1 : a->number > b->number;
}

// Both ends of a front have room without limit around them; where only one of them can go on, it shall be the more
// accurate one: ties are decided by place.
static void sort_by_quality(const struct search *search, const struct search_objective *quality, double epochs,
                            int64_t *numbers, int count) {
  struct keyed *sorted = anas_calloc((size_t)count, sizeof *sorted);
  for (int i = 0; i < count; i++) {
    const struct study_trial *trial = &search->trials[numbers[i]];
    sorted[i] = (struct keyed){value_at(quality, trial, point_at(trial, epochs)), numbers[i]};
  }
  qsort(sorted, (size_t)count, sizeof *sorted, better_first);
  for (int i = 0; i < count; i++)
    numbers[i] = sorted[i].number;
  free(sorted);
}

// Sorts the numbers by accuracy (loss), best first. Those from 'judged' on are judged.
static struct pruner_group read_group(const struct search *search, int64_t *numbers, int count, double epochs,
                                      int64_t judged) {
  const struct search_options *options = &search->options;
  struct search_objective objectives[MAX_OBJECTIVES + 1], accuracy = {METRIC_ACCURACY, true}, quality = accuracy;
  struct pruner_group group = {.count = count};
  bool measured = false;
  for (int o = 0; o < options->num_objectives; o++) {
    enum study_metric metric = options->objectives[o].metric;
    if (!known_at_rung(metric)) continue;
    objectives[group.num_objectives++] = options->objectives[o];
    if (measured || (metric != METRIC_ACCURACY && metric != METRIC_LOSS)) continue;
    measured = true;
    quality = options->objectives[o];
  }
  if (!group.num_objectives) objectives[group.num_objectives++] = accuracy;
  sort_by_quality(search, &quality, epochs, numbers, count);
  group.rows = anas_calloc((size_t)count * (size_t)group.num_objectives, sizeof *group.rows);
  group.quality = anas_calloc((size_t)count, sizeof *group.quality);
  group.accuracy = anas_calloc((size_t)count, sizeof *group.accuracy);
  group.judged = anas_calloc((size_t)count, sizeof *group.judged);
  for (int i = 0; i < count; i++) {
    const struct study_trial *trial = &search->trials[numbers[i]];
    const struct study_point *point = point_at(trial, epochs);
    group.quality[i] = value_at(&quality, trial, point);
    group.accuracy[i] = point->accuracy;
    group.judged[i] = numbers[i] >= judged;
    for (int o = 0; o < group.num_objectives; o++)
      group.rows[i * group.num_objectives + o] = value_at(&objectives[o], trial, point);
  }
  return group;
}

// ---- verdicts

static enum study_verdict judge(const struct search *search, const struct study_trial *trial,
                                const struct study_point *point, int64_t compared, int *out_count) {
  const struct pruner *pruner = pruner_find(search->options.pruner);
  *out_count = 0;
  if (trial->number < search->options.seed_trials) return VERDICT_ON;
  int64_t *numbers = members(search, trial, point, compared, out_count);
  int64_t generation = search->options.synchronous, first = generation ? trial->number / generation * generation : 0;
  struct pruner_group group = read_group(search, numbers, *out_count, point->epochs, first);
  int member = 0;
  while (member < *out_count && numbers[member] != trial->number)
    member++;
  bool on = member == *out_count || pruner->goes_on(&search->options, &group, member);
  free(group.judged);
  free(group.accuracy);
  free(group.quality);
  free(group.rows);
  free(numbers);
  return on ? VERDICT_ON : VERDICT_STOP;
}

enum study_verdict pruner_again(const struct search *search, const struct study_trial *trial,
                                const struct study_point *point) {
  log_of((struct search *)search);
  int count;
  return judge(search, trial, point, point->compared, &count);
}

static void decide(struct search *search, struct study_trial *trial, int64_t compared) {
  struct study_point *point = &trial->curve[trial->num_points - 1];
  int count;
  point->verdict = judge(search, trial, point, compared, &count);
  point->compared = compared;
  free(trial->reason);
  if (point->verdict == VERDICT_ON) {
    trial->state = STUDY_WAITING;
    trial->reason = anas_format("goes on after %g of %lld epochs", point->epochs, (long long)search->options.epochs);
    return;
  }
  trial->state = STUDY_PRUNED;
  trial->reason = anas_format("stopped after %g of %lld epochs: %s of %d trials there", point->epochs,
                              (long long)search->options.epochs, pruner_find(search->options.pruner)->losing, count);
}

// Whether everyone of a class in the generation [first, end) is paused or has ended: then there is nobody else to wait
// for. A process that has reported its pause, but not yet ended, is not among the paused.
static bool complete(const struct search *search, const int64_t *paused, int64_t count, int64_t first, int64_t end,
                     int class) {
  if (search->num_trials < end) return false;
  bool *waits = anas_calloc((size_t)(end - first), sizeof *waits), all = true;
  for (int64_t i = 0; i < count; i++)
    if (paused[i] >= first && paused[i] < end) waits[paused[i] - first] = true;
  for (int64_t i = first; i < end && all; i++)
    all = waits[i - first] || study_state_ended(search->trials[i].state) || class_of(search, i) != class;
  free(waits);
  return all;
}

void pruner_decide(struct search *search, const int64_t *paused, int64_t count) {
  int64_t generation = search->options.synchronous;
  if (!generation) {
    for (int64_t i = 0; i < count; i++) {
      struct study_trial *trial = &search->trials[paused[i]];
      decide(search, trial, trial->curve[trial->num_points - 1].arrival + 1);
    }
    return;
  }
  // One generation runs at a time. Verdicts come last: they change what 'complete' sees.
  bool *ready = anas_calloc((size_t)count, sizeof *ready);
  int checked = -1;
  bool was_complete = false;
  int64_t end = 0;
  for (int64_t i = 0; i < count; i++) {
    int64_t first = paused[i] / generation * generation;
    int class = class_of(search, paused[i]);
    end = first + generation < search->options.trials ? first + generation : search->options.trials;
    if (class != checked) was_complete = complete(search, paused, count, first, end, class);
    checked = class;
    ready[i] = was_complete;
  }
  for (int64_t i = 0; i < count; i++)
    if (ready[i]) decide(search, &search->trials[paused[i]], end);
  free(ready);
}
