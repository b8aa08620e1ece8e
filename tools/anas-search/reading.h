// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A study that is only looked at, also while it runs: what the commands that read have in common.
#ifndef ANAS_TOOLS_ANAS_SEARCH_READING_H
#define ANAS_TOOLS_ANAS_SEARCH_READING_H

#include "tools/anas-search/search.h"

struct reading {
  struct study *study;
  struct search_options options;
  struct study_trial *trials; // brief, without curves
  int64_t count;
};
// Zero-initialised before; to be closed also after a failure.
anas_status reading_open(const char *path, struct reading *out);
void reading_close(struct reading *reading);
int64_t reading_states(const struct reading *reading, int64_t out_by_state[STUDY_NUM_STATES]); // returns how many ended

// ---- what trials have cost

struct trial_cost {
  double epochs;  // trained; NaN where they are not known: with --max-steps
  double seconds; // from the start to the end of the last attempt
  double macs;    // images trained on times multiply-accumulates of a forward pass: the same on any machine
};
// Of curves, that of the trial is needed.
struct trial_cost reading_cost(const struct reading *reading, const struct study_trial *trial);
struct trial_cost reading_add_cost(struct trial_cost a, struct trial_cost b);

json_t *reading_number(double value); // null where it is not finite
json_t *reading_trial_json(const struct study_trial *trial);
void reading_print_json(json_t *object /* consumed */);
void reading_print_rows(const struct reading *reading, const int64_t *numbers, int64_t count); // as a table

#endif
