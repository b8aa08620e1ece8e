// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// fsck and gc: whether a study is whole, and what of it nobody needs. Neither changes a result.
#include "tools/anas-search/command.h"
#include "tools/anas-search/search.h"

#include "dialect/context.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct visit {
  struct search search;
  const char *path;
  bool dry_run;
  int64_t problems, files, bytes;
};

__attribute__((format(printf, 2, 3))) static void complain(struct visit *visit, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vprintf(format, arguments);
  va_end(arguments);
  putchar('\n');
  visit->problems++;
}

// ---- fsck

static void check_entry(struct visit *visit, int64_t number) {
  struct study_trial *t = &visit->search.trials[number];
  long long n = (long long)number;
  if (t->parent < -1 || t->parent >= number)
    complain(visit, "trial %lld: its parent is trial %lld", n, (long long)t->parent);
  if (t->state == STUDY_COMPLETE && !isfinite(t->metric[METRIC_ACCURACY]))
    complain(visit, "trial %lld: COMPLETE without an accuracy", n);
  if (t->state == STUDY_COMPLETE && !t->hash) complain(visit, "trial %lld: COMPLETE without an architecture", n);
  if (t->state == STUDY_COMPLETE || t->state == STUDY_WAITING || t->state == STUDY_RUNNING) return;
  if (study_describe(visit->search.study, t) != ANAS_OK) complain(visit, "trial %lld: %s", n, anas_error_message());
  if (!t->reason) complain(visit, "trial %lld: %s without a reason", n, study_state_name(t->state));
}

static int by_hash(const void *left, const void *right) {
  const struct study_trial *a = *(const struct study_trial *const *)left,
                           *b = *(const struct study_trial *const *)right;
  int order = strcmp(a->hash, b->hash);
  return order ? order : a->number < b->number ? -1 : a->number > b->number;
}

// Only the seed model is trained more than once.
static void check_duplicates(struct visit *visit) {
  const struct search *search = &visit->search;
  const struct study_trial **sorted = anas_calloc((size_t)search->num_trials, sizeof(void *));
  size_t count = 0;
  for (int64_t i = search->options.seed_trials; i < search->num_trials; i++)
    if (search->trials[i].hash) sorted[count++] = &search->trials[i];
  qsort(sorted, count, sizeof(void *), by_hash);
  for (size_t i = 1; i < count; i++)
    if (!strcmp(sorted[i]->hash, sorted[i - 1]->hash))
      complain(visit, "trial %lld: the architecture of trial %lld again", (long long)sorted[i]->number,
               (long long)sorted[i - 1]->number);
  free(sorted);
}

// The architecture in the file is the one that was decided.
static void check_candidate(struct visit *visit, int64_t number) {
  const struct study_trial *t = &visit->search.trials[number];
  if (!t->hash) return;
  const struct anas_model *model = search_model(&visit->search, number);
  char hash[33];
  if (!model) {
    complain(visit, "trial %lld: candidate.mlir: %s", (long long)number, anas_error_message());
    return;
  }
  anas_model_hash(model, hash);
  if (strcmp(hash, t->hash))
    complain(visit, "trial %lld: candidate.mlir holds architecture %s, not %s", (long long)number, hash, t->hash);
}

static void check_artefact(struct visit *visit, const struct study_artefact *artefact) {
  struct study *study = visit->search.study;
  char *path = study_trial_path(study_path(study), artefact->number, artefact->file), *data, hash[33];
  size_t size;
  long long n = (long long)artefact->number;
  if (study_fetch(study, artefact->number, artefact->file) != ANAS_OK ||
      anas_file_read(path, &data, &size) != ANAS_OK) {
    complain(visit, "trial %lld: %s", n, anas_error_message());
  } else {
    anas_hash_hex(data, size, hash);
    if ((int64_t)size != artefact->size)
      complain(visit, "trial %lld: %s has %zu bytes, %lld were written", n, artefact->file, size,
               (long long)artefact->size);
    else if (strcmp(hash, artefact->hash))
      complain(visit, "trial %lld: %s has other content than was written", n, artefact->file);
    free(data);
  }
  study_discard(study, artefact->number);
  free(path);
}

static anas_status fsck(struct visit *visit) {
  struct search *search = &visit->search;
  if (study_check(search->study) != ANAS_OK) complain(visit, "%s", anas_error_message());
  for (int64_t i = 0; i < search->num_trials; i++) {
    check_entry(visit, i);
    check_candidate(visit, i);
  }
  check_duplicates(visit);
  struct study_artefact *artefacts;
  int64_t count;
  anas_status status = study_artefacts(search->study, &artefacts, &count);
  for (int64_t i = 0; i < count && status == ANAS_OK; i++)
    check_artefact(visit, &artefacts[i]);
  study_artefacts_free(artefacts, count);
  ANAS_RETURN_IF_ERROR(status);
  printf("study %s: %lld trials, %lld files; %lld problem%s\n", study_name(search->study),
         (long long)search->num_trials, (long long)count, (long long)visit->problems, visit->problems == 1 ? "" : "s");
  return ANAS_OK;
}

// ---- gc

static void remove_file(struct visit *visit, const char *path) {
  struct stat info;
  if (lstat(path, &info) || (!visit->dry_run && unlink(path))) return;
  printf("%s %s (%lld bytes)\n", visit->dry_run ? "would remove" : "removed", path, (long long)info.st_size);
  visit->files++;
  visit->bytes += info.st_size;
}

// What of a trial's folder nobody needs. front: whether the trial is on it.
static bool useless(const struct visit *visit, const char *file, const struct study_trial *trial, bool front) {
  if (!trial) return true; // never recorded: its driver died before it could
  bool ended = study_state_ended(trial->state);
  const struct search_options *options = &visit->search.options;
  bool parent = options->inherit_weights && visit->search.num_trials < options->trials; // it may still become one
  if (!strcmp(file, "weights.safetensors")) return ended && !front && !parent && strcmp(options->keep_weights, "all");
  if (!strcmp(file, "checkpoint.safetensors")) return ended;
  return strstr(file, ".tmp") != NULL;
}

static anas_status clean_folder(struct visit *visit, int64_t number, bool front) {
  struct search *search = &visit->search;
  const struct study_trial *trial = number < search->num_trials ? &search->trials[number] : NULL;
  char *folder = study_trial_path(study_store(search->study), number, "");
  DIR *directory = opendir(folder);
  anas_status status = ANAS_OK;
  for (struct dirent *entry; status == ANAS_OK && directory && (entry = readdir(directory));) {
    if (entry->d_name[0] == '.' || !useless(visit, entry->d_name, trial, front)) continue;
    char *path = anas_format("%s/%s", folder, entry->d_name);
    if (!visit->dry_run && trial) status = study_forget(search->study, number, entry->d_name);
    if (status == ANAS_OK) remove_file(visit, path);
    free(path);
  }
  if (directory) closedir(directory);
  if (!trial && !visit->dry_run) rmdir(folder);
  free(folder);
  return status;
}

static anas_status clean_folders(struct visit *visit, const bool *on_front) {
  const struct search *search = &visit->search;
  char *folder = anas_format("%s/trials", study_store(search->study));
  DIR *directory = opendir(folder);
  anas_status status = ANAS_OK;
  for (struct dirent *entry; status == ANAS_OK && directory && (entry = readdir(directory));) {
    char *end;
    long long number = strtoll(entry->d_name, &end, 10);
    if (end == entry->d_name || *end || number < 0) continue;
    status = clean_folder(visit, number, number < search->num_trials && on_front[number]);
  }
  if (directory) closedir(directory);
  free(folder);
  return status;
}

static anas_status clean_database(struct visit *visit, const bool *on_front) {
  struct search *search = &visit->search;
  struct study_artefact *artefacts;
  int64_t count;
  anas_status status = study_artefacts(search->study, &artefacts, &count);
  for (int64_t i = 0; i < count && status == ANAS_OK; i++) {
    const struct study_artefact *a = &artefacts[i];
    const struct study_trial *trial = a->number < search->num_trials ? &search->trials[a->number] : NULL;
    if (!useless(visit, a->file, trial, trial && on_front[a->number])) continue;
    if (!visit->dry_run) status = study_forget(search->study, a->number, a->file);
    if (status != ANAS_OK) break;
    printf("%s %s of trial %lld (%lld bytes)\n", visit->dry_run ? "would remove" : "removed", a->file,
           (long long)a->number, (long long)a->size);
    visit->files++;
    visit->bytes += a->size;
  }
  study_artefacts_free(artefacts, count);
  return status;
}

static anas_status gc(struct visit *visit) {
  struct search *search = &visit->search;
  int64_t count, *front = front_of(&search->options, search->trials, search->num_trials, &count);
  bool *on_front = anas_calloc((size_t)search->num_trials, sizeof *on_front);
  for (int64_t i = 0; i < count; i++)
    on_front[front[i]] = true;
  anas_status status = study_store(search->study) ? clean_folders(visit, on_front) : clean_database(visit, on_front);
  free(on_front);
  free(front);
  ANAS_RETURN_IF_ERROR(status);
  printf("%lld files, %.1f MB%s\n", (long long)visit->files, (double)visit->bytes / 1e6,
         visit->dry_run ? " would be removed" : " removed");
  return ANAS_OK;
}

// ---- command line

// Both take the writer's lock: files of a running search come and go.
static anas_status visit_study(struct visit *visit, bool collect) {
  ANAS_RETURN_IF_ERROR(search_load(&visit->search, visit->path, true));
  return collect ? gc(visit) : fsck(visit);
}

static anas_status run(const struct command *command, int argc, char **argv) {
  struct command_arguments arguments = {.command = command, .argc = argc, .argv = argv};
  struct visit visit = {0};
  const char *flag;
  for (;;) {
    ANAS_RETURN_IF_ERROR(command_next(&arguments, &flag));
    if (!flag) break;
    if (!*flag)
      ANAS_RETURN_IF_ERROR(command_take_study(&arguments, &visit.path));
    else
      visit.dry_run = true;
  }
  ANAS_RETURN_IF_ERROR(command_need_study(command, visit.path));
  visit.search.context = anas_context_create(false);
  search_options_defaults(&visit.search.options);
  anas_status status = visit_study(&visit, command == &command_gc);
  search_deinit(&visit.search);
  if (status == ANAS_OK && visit.problems) return anas_fail(ANAS_CORRUPT, "study '%s' is damaged", visit.path);
  return status;
}

static const struct command_flag fsck_flags[] = {{0}};
static const char *const fsck_examples[] = {"anas-search fsck s1", NULL};
const struct command command_fsck = {
    .name = "fsck",
    .arguments = "STUDY",
    .purpose = "Checks a study that is not running, and changes nothing",
    .notes = "The database, every trial's entry, and every file against its recorded size and hash and, for "
             "candidates, its\narchitecture. Exit code 1 if anything is wrong. Candidates that were lost or damaged "
             "are rebuilt by:\nanas-search replay STUDY -o DIR\n",
    .flags = fsck_flags,
    .examples = fsck_examples,
    .run = run,
};

static const struct command_flag gc_flags[] = {{"dry-run", NULL, "only say what would be removed"}, {0}};
static const char *const gc_examples[] = {"anas-search gc s1 --dry-run", "anas-search gc s1", NULL};
const struct command command_gc = {
    .name = "gc",
    .arguments = "STUDY [--dry-run]",
    .purpose = "Removes files of a study that nobody needs",
    .notes = "Weights of trials that left the front (unless --keep-weights all), checkpoints of trials that have "
             "ended, folders of\ntrials that were never recorded, and temporary files. Changes no result.\n",
    .flags = gc_flags,
    .examples = gc_examples,
    .run = run,
};
