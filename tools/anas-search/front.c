// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a search found: the non-dominated trials, as a table and as files with their lineage.
#include "tools/anas-search/search.h"

#include "passes/search/hypervolume.h"
#include "passes/search/nondominated.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct keyed {
  double first;
  int64_t number;
};

static int best_first(const void *left, const void *right) {
  const struct keyed *a = left, *b = right;
  if (a->first != b->first) return a->first > b->first ? -1 : 1;
  return a->number < b->number ? -1 : a->number > b->number;
}

static bool read_row(const struct search_options *options, const struct study_trial *trial, double *row) {
  bool finite = trial->state == STUDY_COMPLETE;
  for (int o = 0; o < options->num_objectives; o++) {
    row[o] = search_standardised(&options->objectives[o], trial);
    finite &= isfinite(row[o]) != 0;
  }
  return finite;
}

bool front_add(const struct search_options *options, const struct study_trial *trials, int64_t number, int64_t **front,
               int64_t *count, int64_t *left, int64_t *out_num_left) {
  double row[MAX_OBJECTIVES], other[MAX_OBJECTIVES];
  *out_num_left = 0;
  if (!read_row(options, &trials[number], row)) return false;
  for (int64_t i = 0; i < *count; i++) {
    read_row(options, &trials[(*front)[i]], other);
    if ((*front)[i] == number || anas_dominates(other, row, options->num_objectives)) return false;
  }
  int64_t kept = 0, *next = anas_calloc((size_t)*count + 1, sizeof *next);
  bool placed = false;
  for (int64_t i = 0; i < *count; i++) {
    int64_t member = (*front)[i];
    read_row(options, &trials[member], other);
    if (anas_dominates(row, other, options->num_objectives)) {
      left[(*out_num_left)++] = member;
      continue;
    }
    struct keyed a = {row[0], number}, b = {other[0], member};
    if (!placed && best_first(&a, &b) < 0) {
      next[kept++] = number;
      placed = true;
    }
    next[kept++] = member;
  }
  if (!placed) next[kept++] = number;
  free(*front);
  *front = next;
  *count = kept;
  return true;
}

int64_t *front_of(const struct search_options *options, const struct study_trial *trials, int64_t count,
                  int64_t *out_count) {
  int64_t *front = NULL, *left = anas_calloc((size_t)count, sizeof *left), num_left;
  *out_count = 0;
  for (int64_t i = 0; i < count; i++)
    front_add(options, trials, i, &front, out_count, left, &num_left);
  free(left);
  return front;
}

void front_units(const struct search_options *options, const struct study_trial *trials, int64_t count,
                 double out_units[MAX_OBJECTIVES]) {
  int completed = 0;
  for (int o = 0; o < options->num_objectives; o++)
    out_units[o] = 0;
  for (int64_t i = 0; i < count && i < options->seed_trials; i++) {
    if (trials[i].state != STUDY_COMPLETE) continue;
    completed++;
    for (int o = 0; o < options->num_objectives; o++)
      out_units[o] += trials[i].metric[options->objectives[o].metric];
  }
  for (int o = 0; o < options->num_objectives; o++) {
    out_units[o] = completed ? fabs(out_units[o]) / completed : NAN;
    if (out_units[o] == 0) out_units[o] = 1;
  }
}

double front_hypervolume(const struct search_options *options, const struct study_trial *trials, const int64_t *front,
                         int64_t count, const double units[MAX_OBJECTIVES]) {
  int objectives = options->num_objectives;
  double *rows = anas_calloc((size_t)count * (size_t)objectives, sizeof *rows), volume = 0;
  for (int64_t i = 0; i < count; i++)
    for (int o = 0; o < objectives; o++) {
      const struct search_objective *objective = &options->objectives[o];
      double value = trials[front[i]].metric[objective->metric] / units[o];
      rows[i * objectives + o] = objective->maximize ? value : 2 - value;
    }
  for (int o = 0; o < objectives; o++)
    if (isnan(units[o])) volume = NAN;
  if (!isnan(volume)) volume = anas_hypervolume(rows, (int)count, objectives);
  free(rows);
  return volume;
}

static int generation(const struct study_trial *trials, int64_t number) {
  int steps = 0;
  for (int64_t at = trials[number].parent; at >= 0; at = trials[at].parent)
    steps++;
  return steps;
}

anas_status front_print(const struct search *search, const int64_t *front, int64_t count, struct anas_strbuf *out) {
  struct study_trial *trials = search->trials;
  if (search->options.json) return ANAS_OK; // the closing event has it
  anas_strbuf_addf(out, "front (%lld trials):\n  trial  accuracy      params        macs  generation  mutation\n",
                   (long long)count);
  for (int64_t i = 0; i < count; i++) {
    struct study_trial *t = &trials[front[i]];
    ANAS_RETURN_IF_ERROR(study_describe(search->study, t));
    anas_strbuf_addf(out, "  %5lld    %6.4f  %10.0f  %10.0f  %10d  %s\n", (long long)t->number,
                     t->metric[METRIC_ACCURACY], t->metric[METRIC_PARAMS], t->metric[METRIC_MACS],
                     generation(trials, t->number), t->description ? t->description : "");
  }
  if (!count) anas_strbuf_adds(out, "  (no trial was completed)\n");
  return ANAS_OK;
}

anas_status lineage_comments(struct study *study, struct study_trial *trials, int64_t number, const char *prefix,
                             bool results, int64_t generations, struct anas_strbuf *out) {
  for (int64_t at = number; at >= 0; at = trials[at].parent) {
    struct study_trial *t = &trials[at];
    if (!generations--) {
      anas_strbuf_addf(out, "%strial %lld and its ancestors\n", prefix, (long long)at);
      break;
    }
    ANAS_RETURN_IF_ERROR(study_describe(study, t));
    anas_strbuf_addf(out, "%strial %lld", prefix, (long long)at);
    if (t->parent >= 0) anas_strbuf_addf(out, ", child of %lld", (long long)t->parent);
    if (results && t->state == STUDY_COMPLETE)
      anas_strbuf_addf(out, " [accuracy %.4f, %.0f parameters]", t->metric[METRIC_ACCURACY], t->metric[METRIC_PARAMS]);
    anas_strbuf_adds(out, t->description ? ": " : "");
    for (const char *c = t->description; c && *c; c++) // a line break would end the comment
      anas_strbuf_add(out, *c == '\n' ? " " : c, 1);
    anas_strbuf_adds(out, "\n");
  }
  return ANAS_OK;
}

// The candidate without the comments it was written with; those know less than the trials do now.
static const char *skip_comments(const char *text) {
  while (!strncmp(text, "//", 2)) {
    const char *newline = strchr(text, '\n');
    if (!newline) return text;
    text = newline + 1;
  }
  return text;
}

anas_status front_write(const struct search *search, int64_t number) {
  const char *store = study_store(search->study);
  char *from = study_trial_path(store, number, "candidate.mlir");
  char *to = anas_format("%s/front/%04lld.mlir", store, (long long)number);
  char *text;
  size_t size;
  anas_status status = anas_file_read(from, &text, &size);
  if (status == ANAS_OK) {
    struct anas_strbuf out = {0};
    status = lineage_comments(search->study, search->trials, number, "// ", true, MAX_LINEAGE, &out);
    anas_strbuf_adds(&out, skip_comments(text));
    if (status == ANAS_OK) status = anas_file_write(to, out.data, out.size);
    anas_strbuf_deinit(&out);
    free(text);
  }
  free(to);
  free(from);
  return status;
}

void front_remove(const char *study, int64_t number) {
  char *path = anas_format("%s/front/%04lld.mlir", study, (long long)number);
  unlink(path);
  free(path);
}

anas_status front_export(const struct search *search, const int64_t *front, int64_t count) {
  char *folder = anas_format("%s/front", study_store(search->study));
  anas_status status = anas_make_directories(folder);
  DIR *directory = status == ANAS_OK ? opendir(folder) : NULL;
  for (struct dirent *entry; directory && (entry = readdir(directory));) {
    char *end;
    long long number = strtoll(entry->d_name, &end, 10);
    if (end == entry->d_name || strcmp(end, ".mlir")) continue;
    bool stays = false;
    for (int64_t i = 0; i < count; i++)
      stays |= front[i] == number;
    if (!stays) unlinkat(dirfd(directory), entry->d_name, 0);
  }
  if (directory) closedir(directory);
  for (int64_t i = 0; i < count && status == ANAS_OK; i++)
    status = front_write(search, front[i]);
  free(folder);
  return status;
}
