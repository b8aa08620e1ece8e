// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What anas-search compare computes of studies, and prints.
#ifndef ANAS_TOOLS_ANAS_SEARCH_COMPARE_H
#define ANAS_TOOLS_ANAS_SEARCH_COMPARE_H

#include "tools/anas-search/rank.h"
#include "tools/anas-search/reading.h"

#define MAX_SUBJECTS 128
#define MAX_POINTS 20
#define NUM_MEASURES (1 + MAX_OBJECTIVES) // hypervolume, best of each objective

enum compare_axis { AXIS_TRIALS, AXIS_EPOCHS, AXIS_SECONDS, AXIS_MACS, NUM_AXES };
extern const char *const compare_axes[NUM_AXES];

struct subject { // a study
  char *path;    // owned
  int group;     // -1: none
  struct reading reading;
  int64_t state[STUDY_NUM_STATES], front;
  double total[NUM_AXES]; // cost of the trials that ended
  double measure[NUM_MEASURES];
  double volume_at[MAX_POINTS], best_at[MAX_POINTS]; // hypervolume and first objective after so much of the axis
};

struct comparison {
  struct subject subject[MAX_SUBJECTS];
  int num_subjects;
  char *group[MAX_SUBJECTS]; // names; owned
  int num_groups;
  enum compare_axis axis;
  int64_t num_points;
  double point[MAX_POINTS], units[MAX_OBJECTIVES];
  bool json;
};

struct sample { // of one measure over the studies of a group
  double value[MAX_SUBJECTS], mean, deviation;
  int count;
};
// index: of the measure (0: hypervolume, then the best of each objective), or of the point of a curve.
enum compare_what { COMPARE_MEASURE, COMPARE_VOLUME_AT, COMPARE_BEST_AT };
struct sample compare_sample(const struct comparison *c, int group, enum compare_what what, int index);
// Superiority is the share of pairs in which group a is better.
struct rank_sum compare_test(const struct comparison *c, int a, int b, int measure);

int compare_num_measures(const struct comparison *c);
const char *compare_measure_name(const struct comparison *c, int measure);
// Settings in which the studies differ, the seed aside: {"epochs": {"s1": 1, "s2": 2}}.
json_t *compare_settings(const struct comparison *c);

void compare_print(const struct comparison *c);
void compare_print_json(const struct comparison *c);

#endif
