// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a trial that was stopped at a rung would have reached: what it had there and what the trials that were trained
// in full gained from there on, on average. Those were the better ones at the rung, some of them by chance, so they
// gain less than others would have: the estimate is careful.
#include "tools/anas-search/pruners/pruner.h"

#include "runtime/support/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct pruner_gains {
  int64_t visible; // of the trials below
  struct gain {
    double epochs, accuracy, loss; // sums over 'count' trials
    int64_t count;
  } * gain;
  size_t count, capacity;
};

static struct gain *gain_from(const struct pruner_gains *gains, double epochs) {
  for (size_t i = 0; i < gains->count; i++)
    if (gains->gain[i].epochs == epochs) return &gains->gain[i];
  return NULL;
}

static void learn(struct pruner_gains *gains, const struct study_trial *trial) {
  for (int p = 0; p < trial->num_points; p++) {
    const struct study_point *point = &trial->curve[p];
    struct gain *gain = gain_from(gains, point->epochs);
    if (!gain) {
      gains->gain = anas_grow(gains->gain, gains->count, &gains->capacity, sizeof *gains->gain);
      gain = &gains->gain[gains->count++];
      *gain = (struct gain){.epochs = point->epochs};
    }
    gain->accuracy += trial->metric[METRIC_ACCURACY] - point->accuracy;
    gain->loss += trial->metric[METRIC_LOSS] - point->loss;
    gain->count++;
  }
}

bool pruner_learn_gains(struct search *search, int64_t visible) {
  // Children shall inherit weights of full training; and only pruners stop trials at rungs.
  if (search->options.inherit_weights || !pruner_find(search->options.pruner)) return false;
  if (search->gains && search->gains->visible == visible) return false;
  pruner_gains_deinit(search);
  search->gains = anas_alloc(sizeof *search->gains);
  search->gains->visible = visible;
  for (int64_t i = 0; i < visible; i++)
    if (search->trials[i].state == STUDY_COMPLETE) learn(search->gains, &search->trials[i]);
  return true;
}

void pruner_gains_deinit(struct search *search) {
  if (search->gains) free(search->gains->gain);
  free(search->gains);
  search->gains = NULL;
}

double pruner_expected(const struct search *search, const struct study_trial *trial, enum study_metric metric) {
  if (trial->state == STUDY_COMPLETE) return trial->metric[metric];
  if (trial->state != STUDY_PRUNED || !search->gains || !trial->num_points) return NAN;
  const struct study_point *last = &trial->curve[trial->num_points - 1];
  const struct gain *gain = gain_from(search->gains, last->epochs);
  if (last->verdict != VERDICT_STOP || !gain) return NAN; // out of patience
  if (metric == METRIC_ACCURACY) return fmin(last->accuracy + gain->accuracy / (double)gain->count, 1);
  if (metric == METRIC_LOSS) return last->loss + gain->loss / (double)gain->count;
  return study_metrics[metric].known == METRIC_AFTER_TRAINING ? NAN : trial->metric[metric];
}
