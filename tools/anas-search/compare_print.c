// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The output of anas-search compare: tables, or JSON with the same numbers.
#include "tools/anas-search/compare.h"

#include "runtime/support/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- tables

static int name_width(const struct comparison *c) {
  size_t width = 12;
  for (int i = 0; i < c->num_subjects; i++)
    if (strlen(c->subject[i].path) > width) width = strlen(c->subject[i].path);
  for (int g = 0; g < c->num_groups; g++)
    if (strlen(c->group[g]) + 8 > width) width = strlen(c->group[g]) + 8;
  return (int)width;
}

static void print_number(int width, double value) {
  char text[32];
  snprintf(text, sizeof text, fabs(value) >= 1e5 ? "%.3e" : "%.5g", value);
  printf("  %*s", width, isfinite(value) ? text : "-");
}

static void print_studies(const struct comparison *c, int width) {
  printf("%-*s", width, "study");
  bool shown[STUDY_NUM_STATES] = {0};
  for (int s = 0; s < STUDY_NUM_STATES; s++) {
    for (int i = 0; i < c->num_subjects; i++)
      shown[s] |= c->subject[i].state[s] > 0;
    if (shown[s]) printf("  %11s", study_state_name((enum study_state)s));
  }
  printf("  %10s  %10s  %10s  %6s", "epochs", "seconds", "macs", "front");
  for (int m = 0; m < compare_num_measures(c); m++)
    printf("  %11s", compare_measure_name(c, m));
  printf("\n");
  for (int i = 0; i < c->num_subjects; i++) {
    const struct subject *s = &c->subject[i];
    printf("%-*s", width, s->path);
    for (int k = 0; k < STUDY_NUM_STATES; k++)
      if (shown[k]) printf("  %11lld", (long long)s->state[k]);
    print_number(10, s->total[AXIS_EPOCHS]);
    print_number(10, s->total[AXIS_SECONDS]);
    print_number(10, s->total[AXIS_MACS]);
    printf("  %6lld", (long long)s->front);
    for (int m = 0; m < compare_num_measures(c); m++)
      print_number(11, s->measure[m]);
    printf("\n");
  }
}

static void print_sample(const struct sample *s) {
  char text[64];
  snprintf(text, sizeof text, "%.5g +- %.2g", s->mean, s->deviation);
  printf("  %20s", s->count ? text : "-");
}

static void print_curve(const struct comparison *c, int width, enum compare_what what, const char *name) {
  int column = c->num_groups ? 20 : 11;
  if (!c->num_points) return;
  char *title = anas_format("%s after", name);
  printf("\n%-*s", width, title);
  free(title);
  for (int64_t p = 0; p < c->num_points; p++)
    print_number(column, c->point[p]);
  printf("  %s\n", compare_axes[c->axis]);
  for (int i = 0; i < c->num_subjects; i++) {
    const struct subject *s = &c->subject[i];
    printf("%-*s", width, s->path);
    for (int64_t p = 0; p < c->num_points; p++)
      print_number(column, what == COMPARE_VOLUME_AT ? s->volume_at[p] : s->best_at[p]);
    printf("\n");
  }
  for (int g = 0; g < c->num_groups; g++) {
    struct sample first = compare_sample(c, g, what, 0);
    char *label = anas_format("%s (%d)", c->group[g], first.count);
    printf("%-*s", width, label);
    free(label);
    for (int p = 0; p < c->num_points; p++) {
      struct sample s = compare_sample(c, g, what, p);
      print_sample(&s);
    }
    printf("\n");
  }
}

static void print_groups(const struct comparison *c, int width) {
  if (!c->num_groups) return;
  printf("\n%-*s", width, "group (studies)");
  for (int m = 0; m < compare_num_measures(c); m++)
    printf("  %20s", compare_measure_name(c, m));
  printf("\n");
  for (int g = 0; g < c->num_groups; g++) {
    int members = 0;
    for (int i = 0; i < c->num_subjects; i++)
      members += c->subject[i].group == g;
    char *label = anas_format("%s (%d)", c->group[g], members);
    printf("%-*s", width, label);
    free(label);
    for (int m = 0; m < compare_num_measures(c); m++) {
      struct sample s = compare_sample(c, g, COMPARE_MEASURE, m);
      print_sample(&s);
    }
    printf("\n");
  }
}

static void print_tests(const struct comparison *c) {
  for (int a = 0; a < c->num_groups; a++)
    for (int b = a + 1; b < c->num_groups; b++) {
      printf("\n%s against %s: share of pairs in which %s is better; p of no difference (rank-sum test)\n", c->group[a],
             c->group[b], c->group[a]);
      for (int m = 0; m < compare_num_measures(c); m++) {
        struct rank_sum t = compare_test(c, a, b, m);
        printf("  %-20s", compare_measure_name(c, m));
        if (isnan(t.p))
          printf("  -");
        else if (t.smallest_p > 0.05)
          printf("  %.2f  too few studies: p cannot be below %.2g", t.superiority, t.smallest_p);
        else
          printf("  %.2f  p = %.2g", t.superiority, t.p);
        printf("\n");
      }
    }
}

static void print_settings(const struct comparison *c) {
  json_t *settings = compare_settings(c), *values, *value;
  const char *key, *path;
  bool heading = false;
  json_object_foreach(settings, key, values) {
    if (!heading) printf("\nsettings that differ, the seed aside:\n");
    heading = true;
    printf("  %-20s", key);
    json_object_foreach(values, path, value) {
      char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
      printf("  %s: %s", path, text ? text : "");
      free(text);
    }
    printf("\n");
  }
  json_decref(settings);
}

void compare_print(const struct comparison *c) {
  int width = name_width(c);
  print_studies(c, width);
  print_groups(c, width);
  print_curve(c, width, COMPARE_VOLUME_AT, "hypervolume");
  print_curve(c, width, COMPARE_BEST_AT, compare_measure_name(c, 1));
  print_tests(c);
  print_settings(c);
}

// ---- JSON

static json_t *curve_json(const double *values, int64_t count) {
  json_t *list = json_array();
  for (int64_t p = 0; p < count; p++)
    json_array_append_new(list, reading_number(values[p]));
  return list;
}

static json_t *study_json(const struct comparison *c, const struct subject *s) {
  json_t *states = json_object(), *best = json_object();
  for (int k = 0; k < STUDY_NUM_STATES; k++)
    json_object_set_new(states, study_state_name((enum study_state)k), json_integer((json_int_t)s->state[k]));
  for (int m = 1; m < compare_num_measures(c); m++)
    json_object_set_new(best, compare_measure_name(c, m), reading_number(s->measure[m]));
  json_t *object = json_pack("{s:s, s:o, s:I, s:I, s:o, s:I, s:o, s:o, s:{s:o, s:o}}", "study", s->path, "group",
                             s->group < 0 ? json_null() : json_string(c->group[s->group]), "seed",
                             (json_int_t)s->reading.options.seed, "trials", (json_int_t)s->reading.count, "states",
                             states, "front", (json_int_t)s->front, "hypervolume", reading_number(s->measure[0]),
                             "best", best, "curve", "hypervolume", curve_json(s->volume_at, c->num_points),
                             compare_measure_name(c, 1), curve_json(s->best_at, c->num_points));
  for (int a = AXIS_EPOCHS; a < NUM_AXES; a++)
    json_object_set_new(object, compare_axes[a], reading_number(s->total[a]));
  return object;
}

static json_t *sample_json(const struct sample *s) {
  return json_pack("{s:i, s:o, s:o}", "studies", s->count, "mean", reading_number(s->mean), "deviation",
                   reading_number(s->deviation));
}

static json_t *group_json(const struct comparison *c, int g) {
  json_t *object = json_pack("{s:s}", "group", c->group[g]), *volumes = json_array(), *bests = json_array();
  for (int m = 0; m < compare_num_measures(c); m++) {
    struct sample s = compare_sample(c, g, COMPARE_MEASURE, m);
    json_object_set_new(object, compare_measure_name(c, m), sample_json(&s));
  }
  for (int p = 0; p < c->num_points; p++) {
    struct sample volume = compare_sample(c, g, COMPARE_VOLUME_AT, p), best = compare_sample(c, g, COMPARE_BEST_AT, p);
    json_array_append_new(volumes, sample_json(&volume));
    json_array_append_new(bests, sample_json(&best));
  }
  json_object_set_new(object, "curve",
                      json_pack("{s:o, s:o}", "hypervolume", volumes, compare_measure_name(c, 1), bests));
  return object;
}

static json_t *tests_json(const struct comparison *c) {
  json_t *list = json_array();
  for (int a = 0; a < c->num_groups; a++)
    for (int b = a + 1; b < c->num_groups; b++)
      for (int m = 0; m < compare_num_measures(c); m++) {
        struct rank_sum t = compare_test(c, a, b, m);
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "a", c->group[a], "b", c->group[b], "measure",
                                        compare_measure_name(c, m), "superiority", reading_number(t.superiority), "p",
                                        reading_number(t.p), "smallest_p", reading_number(t.smallest_p)));
      }
  return list;
}

void compare_print_json(const struct comparison *c) {
  json_t *studies = json_array(), *groups = json_array(), *units = json_object();
  for (int i = 0; i < c->num_subjects; i++)
    json_array_append_new(studies, study_json(c, &c->subject[i]));
  for (int g = 0; g < c->num_groups; g++)
    json_array_append_new(groups, group_json(c, g));
  for (int m = 1; m < compare_num_measures(c); m++)
    json_object_set_new(units, compare_measure_name(c, m), reading_number(c->units[m - 1]));
  reading_print_json(json_pack("{s:o, s:s, s:o, s:o, s:o, s:o, s:o}", "units", units, "axis", compare_axes[c->axis],
                               "points", curve_json(c->point, c->num_points), "studies", studies, "groups", groups,
                               "tests", tests_json(c), "settings", compare_settings(c)));
}
