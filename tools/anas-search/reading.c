// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Studies that are only looked at.
#include "tools/anas-search/reading.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

anas_status reading_open(const char *path, struct reading *out) {
  search_options_defaults(&out->options);
  ANAS_RETURN_IF_ERROR(study_open(path, false, &out->study));
  char *json;
  ANAS_RETURN_IF_ERROR(study_get(out->study, "options", &json));
  anas_status status = json ? search_options_from_json(json, &out->options) : ANAS_OK;
  free(json);
  ANAS_RETURN_IF_ERROR(status);
  return study_load(out->study, 0, &out->trials, &out->count);
}

void reading_close(struct reading *reading) {
  study_trials_free(reading->trials, reading->count);
  study_close(reading->study);
  search_options_deinit(&reading->options);
  *reading = (struct reading){0};
}

int64_t reading_states(const struct reading *reading, int64_t out_by_state[STUDY_NUM_STATES]) {
  int64_t ended = 0;
  for (int s = 0; s < STUDY_NUM_STATES; s++)
    out_by_state[s] = 0;
  for (int64_t i = 0; i < reading->count; i++) {
    out_by_state[reading->trials[i].state]++;
    ended += study_state_ended(reading->trials[i].state);
  }
  return ended;
}

struct trial_cost reading_cost(const struct reading *reading, const struct study_trial *t) {
  const struct search_options *o = &reading->options;
  struct trial_cost cost = {0};
  if (t->num_points) cost.epochs = t->curve[t->num_points - 1].epochs;
  if (t->state == STUDY_COMPLETE) cost.epochs = (double)o->epochs;
  if (o->max_steps) cost.epochs = t->steps ? NAN : 0;
  if (t->finished > t->started && t->started > 0) cost.seconds = t->finished - t->started;
  if (t->steps && isfinite(t->metric[METRIC_MACS]))
    cost.macs = (double)t->steps * (double)o->batch * t->metric[METRIC_MACS];
  return cost;
}

struct trial_cost reading_add_cost(struct trial_cost a, struct trial_cost b) {
  return (struct trial_cost){a.epochs + b.epochs, a.seconds + b.seconds, a.macs + b.macs};
}

json_t *reading_number(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

json_t *reading_trial_json(const struct study_trial *t) {
  json_t *object = json_pack("{s:I, s:I, s:s, s:s*, s:s*, s:s*, s:s*, s:s*, s:I, s:I, s:f, s:f}", "trial",
                             (json_int_t)t->number, "parent", (json_int_t)t->parent, "state",
                             study_state_name(t->state), "reason", t->reason, "kind", t->kind, "block", t->block,
                             "description", t->description, "hash", t->hash, "steps", (json_int_t)t->steps,
                             "peak_bytes", (json_int_t)t->peak_bytes, "started", t->started, "finished", t->finished);
  for (int i = 0; i < METRIC_NUM; i++)
    json_object_set_new(object, study_metrics[i].name, reading_number(t->metric[i]));
  return object;
}

void reading_print_json(json_t *object) {
  char *text = json_dumps(object, JSON_INDENT(2));
  if (text) printf("%s\n", text);
  free(text);
  json_decref(object);
}

void reading_print_rows(const struct reading *reading, const int64_t *numbers, int64_t count) {
  printf("trial  parent  accuracy      params        macs  images/s  mutation\n");
  for (int64_t i = 0; i < count; i++) {
    const struct study_trial *t = &reading->trials[numbers[i]];
    printf("%5lld  %6lld    %6.4f  %10.0f  %10.0f  %8.0f  %s\n", (long long)t->number, (long long)t->parent,
           t->metric[METRIC_ACCURACY], t->metric[METRIC_PARAMS], t->metric[METRIC_MACS],
           t->metric[METRIC_IMAGES_PER_SECOND], t->description ? t->description : "");
  }
}
