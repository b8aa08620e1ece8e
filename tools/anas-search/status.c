// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-search status: how far a study is.
#include "tools/anas-search/command.h"
#include "tools/anas-search/reading.h"

#include <stdio.h>
#include <string.h>

static double busy_seconds(const struct reading *reading) {
  double sum = 0;
  for (int64_t i = 0; i < reading->count; i++)
    sum += reading_cost(reading, &reading->trials[i]).seconds;
  return sum;
}

static struct study_trial *best_of(const struct reading *reading) {
  struct study_trial *best = NULL;
  const struct search_objective *objective = &reading->options.objectives[0];
  for (int64_t i = 0; i < reading->count; i++) {
    struct study_trial *t = &reading->trials[i];
    if (t->state == STUDY_COMPLETE &&
        (!best || search_standardised(objective, t) > search_standardised(objective, best)))
      best = t;
  }
  return best;
}

#define MAX_REASONS 100 // the last ones are shown

static anas_status print_reasons(const struct reading *reading) {
  int64_t first = reading->count, found = 0;
  while (first > 0 && found < MAX_REASONS)
    found += reading->trials[--first].state != STUDY_COMPLETE;
  bool heading = false;
  for (int64_t i = first; i < reading->count; i++) {
    struct study_trial *t = &reading->trials[i];
    if (t->state == STUDY_COMPLETE) continue;
    ANAS_RETURN_IF_ERROR(study_describe(reading->study, t));
    if (!t->reason) continue;
    if (!heading) printf(found < MAX_REASONS ? "reasons:\n" : "reasons, the last ones:\n");
    heading = true;
    printf("  trial %lld %s: %s\n", (long long)t->number, study_state_name(t->state), t->reason);
  }
  return ANAS_OK;
}

static anas_status show_status(const struct reading *reading, bool json) {
  int64_t by_state[STUDY_NUM_STATES], duplicates, infeasible, violations;
  reading_states(reading, by_state);
  ANAS_RETURN_IF_ERROR(study_counter(reading->study, "duplicates", &duplicates));
  ANAS_RETURN_IF_ERROR(study_counter(reading->study, "infeasible", &infeasible));
  ANAS_RETURN_IF_ERROR(study_counter(reading->study, "violations", &violations));
  struct study_trial *best = best_of(reading);
  if (best) ANAS_RETURN_IF_ERROR(study_describe(reading->study, best));
  if (json) {
    json_t *states = json_object();
    for (int s = 0; s < STUDY_NUM_STATES; s++)
      json_object_set_new(states, study_state_name((enum study_state)s), json_integer((json_int_t)by_state[s]));
    reading_print_json(json_pack("{s:I, s:I, s:o, s:I, s:I, s:I, s:o, s:f}", "trials", (json_int_t)reading->count,
                                 "planned", (json_int_t)reading->options.trials, "states", states,
                                 "rejected_duplicates", (json_int_t)duplicates, "rejected_infeasible",
                                 (json_int_t)infeasible, "rejected_constraints", (json_int_t)violations, "best",
                                 best ? reading_trial_json(best) : json_null(), "busy_seconds", busy_seconds(reading)));
    return ANAS_OK;
  }
  printf("study %s: %lld of %lld trials, %s on %s, seed %llu\n", study_name(reading->study), (long long)reading->count,
         (long long)reading->options.trials, reading->options.strategy, reading->options.dataset,
         (unsigned long long)reading->options.seed);
  for (int s = 0; s < STUDY_NUM_STATES; s++)
    if (by_state[s]) printf("  %-12s %6lld\n", study_state_name((enum study_state)s), (long long)by_state[s]);
  printf("rejected before training: %lld duplicates, %lld infeasible, %lld outside the constraints\n",
         (long long)duplicates, (long long)infeasible, (long long)violations);
  printf("training time: %.1f s\n", busy_seconds(reading));
  if (best)
    printf("best: trial %lld, accuracy %.4f, %.0f parameters\n", (long long)best->number, best->metric[METRIC_ACCURACY],
           best->metric[METRIC_PARAMS]);
  return print_reasons(reading);
}

static anas_status run(const struct command *command, int argc, char **argv) {
  struct command_arguments arguments = {.command = command, .argc = argc, .argv = argv};
  const char *flag, *path = NULL;
  bool json = false;
  for (;;) {
    ANAS_RETURN_IF_ERROR(command_next(&arguments, &flag));
    if (!flag) break;
    if (!*flag)
      ANAS_RETURN_IF_ERROR(command_take_study(&arguments, &path));
    else
      json = true;
  }
  ANAS_RETURN_IF_ERROR(command_need_study(command, path));
  struct reading reading = {0};
  anas_status status = reading_open(path, &reading);
  if (status == ANAS_OK) status = show_status(&reading, json);
  reading_close(&reading);
  return status;
}

static const struct command_flag flags[] = {{"json", NULL, "as JSON"}, {0}};
static const char *const examples[] = {"anas-search status s1", "anas-search status s1 --json | jq .states", NULL};
const struct command command_status = {
    .name = "status",
    .arguments = "STUDY [--json]",
    .purpose = "How far a study is: trials by state, what was rejected, the best, why others failed",
    .notes = "STUDY is what was given to --study: a directory or a database. It may be running.\n",
    .flags = flags,
    .examples = examples,
    .run = run,
};
