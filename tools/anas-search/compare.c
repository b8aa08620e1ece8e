// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-search compare: studies side by side, in the same units, and groups of them that differ in their seed only.
#include "tools/anas-search/compare.h"
#include "tools/anas-search/command.h"

#include "runtime/support/memory.h"
#include "runtime/support/parse.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const compare_axes[NUM_AXES] = {"trials", "epochs", "seconds", "macs"};

// ---- may they be compared?

static void objectives_text(const struct search_options *o, struct anas_strbuf *out) {
  for (int i = 0; i < o->num_objectives; i++)
    anas_strbuf_addf(out, "%s%s:%s", i ? " " : "", study_metrics[o->objectives[i].metric].name,
                     o->objectives[i].maximize ? "max" : "min");
}

static anas_status differ(const struct subject *a, const struct subject *b, const char *what, const char *of_a,
                          const char *of_b) {
  return anas_fail(ANAS_INVALID, "studies '%s' and '%s' cannot be compared: %s %s and %s", a->path, b->path, what, of_a,
                   of_b);
}

static anas_status same_objectives(const struct subject *a, const struct subject *b) {
  struct anas_strbuf of_a = {0}, of_b = {0};
  objectives_text(&a->reading.options, &of_a);
  objectives_text(&b->reading.options, &of_b);
  anas_status status = ANAS_OK;
  if (strcmp(anas_strbuf_text(&of_a), anas_strbuf_text(&of_b)) != 0)
    status = differ(a, b, "their objectives are", anas_strbuf_text(&of_a), anas_strbuf_text(&of_b));
  anas_strbuf_deinit(&of_a);
  anas_strbuf_deinit(&of_b);
  return status;
}

static const char *origin(const struct search_options *o) {
  return o->model_path ? o->model_path : o->model_name ? o->model_name : "a model";
}

static anas_status same_seed_model(const struct subject *a, const struct subject *b) {
  char *of_a, *of_b;
  ANAS_RETURN_IF_ERROR(study_get(a->reading.study, "seed-model", &of_a));
  anas_status status = study_get(b->reading.study, "seed-model", &of_b);
  if (status == ANAS_OK) {
    if (!of_a || !of_b || strcmp(of_a, of_b) != 0)
      status =
          differ(a, b, "they start from different networks,", origin(&a->reading.options), origin(&b->reading.options));
    free(of_b);
  }
  free(of_a);
  return status;
}

// Values of different images, or made-up ones beside trained ones, say nothing about each other.
static anas_status same_images(const struct subject *a, const struct subject *b) {
  const struct search_options *of_a = &a->reading.options, *of_b = &b->reading.options;
  char text_a[32], text_b[32];
  if (strcmp(of_a->dataset, of_b->dataset) != 0)
    return differ(a, b, "their data sets are", of_a->dataset, of_b->dataset);
  if (strcspn(of_a->evaluator, ":") != strcspn(of_b->evaluator, ":") ||
      strncmp(of_a->evaluator, of_b->evaluator, strcspn(of_a->evaluator, ":")) != 0)
    return differ(a, b, "their results come from", of_a->evaluator, of_b->evaluator);
  if (of_a->validation == of_b->validation) return ANAS_OK;
  snprintf(text_a, sizeof text_a, "%lld", (long long)of_a->validation);
  snprintf(text_b, sizeof text_b, "%lld", (long long)of_b->validation);
  return differ(a, b, "--validation is", text_a, text_b);
}

json_t *compare_settings(const struct comparison *c) {
  json_t *all[MAX_SUBJECTS], *found = json_object();
  for (int i = 0; i < c->num_subjects; i++) {
    char *text = search_options_to_json(&c->subject[i].reading.options);
    all[i] = json_loads(text, 0, NULL);
    free(text);
  }
  for (int i = 0; i < c->num_subjects; i++) {
    const char *key;
    json_t *value;
    json_object_foreach(all[i], key, value) {
      bool same = true;
      for (int j = 0; j < c->num_subjects; j++)
        same &= json_equal(value, json_object_get(all[j], key)) != 0;
      if (same || !strcmp(key, "seed") || json_object_get(found, key)) continue;
      json_t *values = json_object();
      for (int j = 0; j < c->num_subjects; j++) {
        json_t *other = json_object_get(all[j], key);
        json_object_set(values, c->subject[j].path, other ? other : json_null());
      }
      json_object_set_new(found, key, values);
    }
  }
  for (int i = 0; i < c->num_subjects; i++)
    json_decref(all[i]);
  return found;
}

// ---- numbers of a study

static double along(enum compare_axis axis, const struct trial_cost *cost) {
  switch (axis) {
  case AXIS_EPOCHS: return cost->epochs;
  case AXIS_SECONDS: return cost->seconds;
  case AXIS_MACS: return cost->macs;
  default: return 1;
  }
}

static void add_up(struct subject *subject) {
  struct reading *r = &subject->reading;
  reading_states(r, subject->state);
  for (int64_t i = 0; i < r->count; i++) {
    struct trial_cost cost = reading_cost(r, &r->trials[i]);
    for (int a = 0; a < NUM_AXES && study_state_ended(r->trials[i].state); a++)
      subject->total[a] += along((enum compare_axis)a, &cost);
  }
}

static double better(const struct search_objective *objective, double a, double b) {
  return objective->maximize ? fmax(a, b) : fmin(a, b); // the other one if one is NaN
}

// In the order of decisions, so that nothing depends on which trial happened to end first.
static void walk(const struct comparison *c, struct subject *subject) {
  struct reading *r = &subject->reading;
  const struct search_options *o = &r->options;
  int64_t *front = NULL, count = 0, num_left, *left = anas_calloc((size_t)r->count, sizeof *left);
  double spent = 0, *best = subject->measure + 1;
  for (int i = 0; i < NUM_MEASURES; i++)
    subject->measure[i] = NAN;
  int64_t point = 0;
  for (int64_t i = 0; i <= r->count; i++) {
    bool ended = i < r->count && study_state_ended(r->trials[i].state);
    struct trial_cost cost = ended ? reading_cost(r, &r->trials[i]) : (struct trial_cost){0};
    if (ended) spent += along(c->axis, &cost);
    for (; point < c->num_points && (i == r->count || spent > c->point[point] * (1 + 1e-12)); point++) {
      subject->volume_at[point] = front_hypervolume(o, r->trials, front, count, c->units);
      subject->best_at[point] = best[0];
    }
    if (!ended) continue;
    front_add(o, r->trials, i, &front, &count, left, &num_left);
    for (int m = 0; m < o->num_objectives && r->trials[i].state == STUDY_COMPLETE; m++)
      best[m] = better(&o->objectives[m], best[m], r->trials[i].metric[o->objectives[m].metric]);
  }
  subject->front = count;
  subject->measure[0] = front_hypervolume(o, r->trials, front, count, c->units);
  free(front);
  free(left);
}

// One scale for all: the mean of the seed model's results over the studies that have them.
static void common_units(struct comparison *c) {
  int known = 0;
  double sum[MAX_OBJECTIVES] = {0}, own[MAX_OBJECTIVES];
  for (int i = 0; i < c->num_subjects; i++) {
    const struct reading *r = &c->subject[i].reading;
    front_units(&r->options, r->trials, r->count, own);
    if (isnan(own[0])) continue;
    known++;
    for (int o = 0; o < r->options.num_objectives; o++)
      sum[o] += own[o];
  }
  for (int o = 0; o < MAX_OBJECTIVES; o++)
    c->units[o] = known ? sum[o] / known : NAN;
}

// Evenly spaced, up to what the shortest study has spent: all have something to say there.
static anas_status place_points(struct comparison *c) {
  double end = INFINITY;
  for (int i = 0; i < c->num_subjects; i++) {
    double spent = c->subject[i].total[c->axis];
    if (isnan(spent))
      return anas_fail(ANAS_INVALID, "--by %s: how many '%s' trained is not known, because of --max-steps",
                       compare_axes[c->axis], c->subject[i].path);
    if (spent < end) end = spent;
  }
  if (c->axis == AXIS_TRIALS && (double)c->num_points > end) c->num_points = (int64_t)end;
  if (!(end > 0)) c->num_points = 0;
  for (int64_t p = 0; p < c->num_points; p++) {
    c->point[p] = end * (double)(p + 1) / (double)c->num_points;
    if (c->axis == AXIS_TRIALS) c->point[p] = floor(c->point[p]);
  }
  return ANAS_OK;
}

// ---- groups

struct sample compare_sample(const struct comparison *c, int group, enum compare_what what, int index) {
  struct sample s = {.deviation = NAN};
  for (int i = 0; i < c->num_subjects; i++) {
    const struct subject *subject = &c->subject[i];
    if (subject->group != group) continue;
    double value = what == COMPARE_MEASURE     ? subject->measure[index]
                   : what == COMPARE_VOLUME_AT ? subject->volume_at[index]
                                               : subject->best_at[index];
    if (isfinite(value)) s.value[s.count++] = value;
  }
  double squares = 0;
  for (int i = 0; i < s.count; i++)
    s.mean += s.value[i] / s.count;
  for (int i = 0; i < s.count; i++)
    squares += (s.value[i] - s.mean) * (s.value[i] - s.mean);
  if (!s.count) s.mean = NAN;
  if (s.count > 1) s.deviation = sqrt(squares / (s.count - 1));
  return s;
}

struct rank_sum compare_test(const struct comparison *c, int a, int b, int measure) {
  struct sample of_a = compare_sample(c, a, COMPARE_MEASURE, measure);
  struct sample of_b = compare_sample(c, b, COMPARE_MEASURE, measure);
  struct rank_sum result = rank_sum_test(of_a.value, of_a.count, of_b.value, of_b.count);
  if (measure && !c->subject[0].reading.options.objectives[measure - 1].maximize)
    result.superiority = 1 - result.superiority;
  return result;
}

int compare_num_measures(const struct comparison *c) {
  return 1 + c->subject[0].reading.options.num_objectives;
}

const char *compare_measure_name(const struct comparison *c, int measure) {
  return measure ? study_metrics[c->subject[0].reading.options.objectives[measure - 1].metric].name : "hypervolume";
}

// ---- the command

static anas_status add_study(struct comparison *c, const char *path, size_t size, int group) {
  if (c->num_subjects == MAX_SUBJECTS) return anas_fail(ANAS_INVALID, "compare: at most %d studies", MAX_SUBJECTS);
  char *copy = anas_format("%.*s", (int)size, path);
  for (int i = 0; i < c->num_subjects; i++)
    if (!strcmp(c->subject[i].path, copy)) {
      anas_fail(ANAS_INVALID, "compare: '%s' is given twice", copy);
      free(copy);
      return ANAS_INVALID;
    }
  c->subject[c->num_subjects++] = (struct subject){.path = copy, .group = group};
  return ANAS_OK;
}

// NAME=STUDY,STUDY,...
static anas_status add_group(struct comparison *c, const char *text) {
  size_t name = strcspn(text, "=");
  if (!name || !text[name] || !text[name + 1])
    return anas_fail(ANAS_INVALID, "--group is NAME=STUDY,STUDY,..., got '%s'", text);
  if (c->num_groups == MAX_SUBJECTS) return anas_fail(ANAS_INVALID, "compare: at most %d groups", MAX_SUBJECTS);
  c->group[c->num_groups++] = anas_format("%.*s", (int)name, text);
  for (int i = 0; i < c->num_groups - 1; i++)
    if (!strcmp(c->group[i], c->group[c->num_groups - 1]))
      return anas_fail(ANAS_INVALID, "--group: two groups are called '%s'", c->group[i]);
  for (const char *at = text + name + 1; *at; at += strcspn(at, ","), at += *at == ',')
    ANAS_RETURN_IF_ERROR(add_study(c, at, strcspn(at, ","), c->num_groups - 1));
  return ANAS_OK;
}

static anas_status set_axis(struct comparison *c, const char *name) {
  for (int a = 0; a < NUM_AXES; a++)
    if (!strcmp(compare_axes[a], name)) {
      c->axis = (enum compare_axis)a;
      return ANAS_OK;
    }
  return anas_fail(ANAS_INVALID, "--by is trials, epochs, seconds or macs, got '%s'", name);
}

static anas_status parse(const struct command *command, int argc, char **argv, struct comparison *c) {
  struct command_arguments arguments = {.command = command, .argc = argc, .argv = argv};
  const char *flag;
  for (;;) {
    ANAS_RETURN_IF_ERROR(command_next(&arguments, &flag));
    if (!flag) break;
    if (!*flag)
      ANAS_RETURN_IF_ERROR(add_study(c, arguments.value, strlen(arguments.value), -1));
    else if (!strcmp(flag, "group"))
      ANAS_RETURN_IF_ERROR(add_group(c, arguments.value));
    else if (!strcmp(flag, "by"))
      ANAS_RETURN_IF_ERROR(set_axis(c, arguments.value));
    else if (!strcmp(flag, "points"))
      ANAS_RETURN_IF_ERROR(anas_parse_int("--points", arguments.value, 1, MAX_POINTS, &c->num_points));
    else
      c->json = true;
  }
  return c->num_subjects >= 2
             ? ANAS_OK
             : anas_fail(ANAS_INVALID, "compare: at least two studies are needed; see anas-search compare --help");
}

static anas_status compare(struct comparison *c) {
  for (int i = 0; i < c->num_subjects; i++) {
    struct subject *subject = &c->subject[i];
    ANAS_RETURN_IF_ERROR(reading_open(subject->path, &subject->reading));
    ANAS_RETURN_IF_ERROR(study_load_curves(subject->reading.study, subject->reading.trials, subject->reading.count));
    ANAS_RETURN_IF_ERROR(same_objectives(&c->subject[0], subject));
    ANAS_RETURN_IF_ERROR(same_seed_model(&c->subject[0], subject));
    ANAS_RETURN_IF_ERROR(same_images(&c->subject[0], subject));
    add_up(subject);
  }
  ANAS_RETURN_IF_ERROR(place_points(c));
  common_units(c);
  for (int i = 0; i < c->num_subjects; i++)
    walk(c, &c->subject[i]);
  if (c->json)
    compare_print_json(c);
  else
    compare_print(c);
  return ANAS_OK;
}

static anas_status run(const struct command *command, int argc, char **argv) {
  struct comparison *c = anas_calloc(1, sizeof *c);
  c->num_points = 5;
  anas_status status = parse(command, argc, argv, c);
  if (status == ANAS_OK) status = compare(c);
  for (int i = 0; i < c->num_subjects; i++) {
    reading_close(&c->subject[i].reading);
    free(c->subject[i].path);
  }
  for (int i = 0; i < c->num_groups; i++)
    free(c->group[i]);
  free(c);
  return status;
}

static const struct command_flag flags[] = {
    {"group", "NAME=STUDY,...", "studies that differ in --seed: mean and deviation, and a rank test between groups"},
    {"by", "AXIS", "of the curves: trials (default), epochs, seconds or macs that were spent"},
    {"points", "N", "of the curves (default 5), up to what the shortest study has spent"},
    {"json", NULL, "as JSON"},
    {0},
};
static const char *const examples[] = {
    "anas-search compare s1 s2",
    "for i in 1 2 3 4; do for s in nsga2 random; do \\",
    "    anas-search --model cnn --evaluator simulated --trials 12 --strategy $s --seed $i --study $s$i --quiet; \\",
    "  done; done",
    "anas-search compare --group evolution=nsga21,nsga22,nsga23,nsga24 --group random=random1,random2,random3,random4",
    NULL,
};
const struct command command_compare = {
    .name = "compare",
    .arguments = "STUDY STUDY... [--group NAME=STUDY,STUDY,...]... [flags]",
    .purpose = "Studies of the same seed model and objectives side by side",
    .notes =
        "Trials by state, what they cost, the best in each objective, hypervolume in common units: of the seed "
        "model's mean\nresults; reference point 0 where an objective is maximised and 2 where it is minimised. The "
        "test is Mann and\nWhitney's, exact and two-sided, not corrected for their number.\n",
    .flags = flags,
    .examples = examples,
    .run = run,
};
