// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// replay: makes every decision of a study again, from its options, its seed model and the results before each decision,
// and compares candidates byte by byte. Nothing is trained.
#include "tools/anas-search/command.h"
#include "tools/anas-search/pruners/pruner.h"

#include "dialect/context.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/support/parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct replay {
  struct search search;
  const char *path, *output;
  int64_t only, count; // trials of the study
  int64_t checked, verdicts, differ;
};

static anas_status parse(const struct command *command, int argc, char **argv, struct replay *out) {
  struct command_arguments arguments = {.command = command, .argc = argc, .argv = argv};
  const char *flag;
  for (;;) {
    ANAS_RETURN_IF_ERROR(command_next(&arguments, &flag));
    if (!flag) return command_need_study(command, out->path);
    if (!*flag)
      ANAS_RETURN_IF_ERROR(command_take_study(&arguments, &out->path));
    else if (!strcmp(flag, "o"))
      out->output = arguments.value;
    else
      ANAS_RETURN_IF_ERROR(anas_parse_int("--trial", arguments.value, 0, INT64_MAX, &out->only));
  }
}

// What the trials below which a decision may look at were: part of the decision, because workers may change on resume.
static int64_t visible_of(const char *decision, const struct search_options *options, int64_t number) {
  json_t *object = decision ? json_loads(decision, 0, NULL) : NULL;
  const json_t *visible = json_object_get(object, "visible");
  int64_t value = json_is_integer(visible) ? (int64_t)json_integer_value(visible) : search_visible(options, number);
  json_decref(object);
  return value;
}

// The first difference between the trial and the proposal, null if there is none. text: the candidate, empty if none.
static const char *difference(struct replay *replay, const struct study_trial *trial, const char *decision,
                              const struct proposal *proposal, const struct anas_strbuf *text) {
  if (trial->parent != proposal->parent) return "another parent";
  if ((trial->hash == NULL) != (proposal->model == NULL)) return "a candidate on one side only";
  if (trial->hash && strcmp(trial->hash, proposal->hash)) return "another architecture";
  if (decision && proposal->decision && strcmp(decision, proposal->decision)) return "another decision";
  if (!proposal->model) return NULL;
  struct study *study = replay->search.study;
  char *path = study_trial_path(study_path(study), trial->number, "candidate.mlir"), *stored;
  size_t size;
  anas_status status = study_fetch(study, trial->number, "candidate.mlir");
  if (status == ANAS_OK) status = anas_file_read(path, &stored, &size);
  study_discard(study, trial->number);
  free(path);
  if (status != ANAS_OK) return "the stored candidate cannot be read";
  bool equal = size == text->size && !memcmp(stored, text->data, size);
  free(stored);
  return equal ? NULL : "the candidate's text differs";
}

static anas_status write_candidate(const struct replay *replay, int64_t number, const struct anas_strbuf *text) {
  char *path = anas_format("%s/%04lld.mlir", replay->output, (long long)number);
  anas_status status = anas_file_write(path, text->data, text->size);
  free(path);
  return status;
}

// What was decided about the trial at its rungs.
static void replay_verdicts(struct replay *replay, const struct study_trial *trial) {
  for (int p = 0; p < trial->num_points; p++) {
    const struct study_point *point = &trial->curve[p];
    if (!point->rung || point->verdict == VERDICT_NONE) continue;
    replay->verdicts++;
    if (pruner_again(&replay->search, trial, point) == point->verdict) continue;
    printf("trial %lld: another decision at the rung of %g epochs\n", (long long)trial->number, point->epochs);
    replay->differ++;
  }
}

static anas_status replay_trial(struct replay *replay, int64_t number) {
  struct search *search = &replay->search;
  char *decision;
  ANAS_RETURN_IF_ERROR(study_decision(search->study, number, &decision));
  struct proposal proposal;
  search->num_trials = number; // what came later does not exist yet
  anas_status status = search_propose(search, visible_of(decision, &search->options, number), &proposal);
  search->num_trials = replay->count;
  struct anas_strbuf text = {0};
  const struct study_trial *trial = &search->trials[number];
  if (status == ANAS_OK && proposal.model) status = search_candidate_text(search, number, proposal.model, &text);
  if (status == ANAS_OK) {
    const char *what = difference(replay, trial, decision, &proposal, &text);
    if (what) {
      printf("trial %lld: %s\n", (long long)number, what);
      replay->differ++;
    }
    replay_verdicts(replay, trial);
    replay->checked++;
    if (replay->output && proposal.model) status = write_candidate(replay, number, &text);
  }
  anas_strbuf_deinit(&text);
  proposal_deinit(&proposal);
  free(decision);
  return status;
}

static anas_status replay_study(struct replay *replay) {
  ANAS_RETURN_IF_ERROR(search_load(&replay->search, replay->path, false));
  replay->count = replay->search.num_trials;
  if (replay->only >= replay->count)
    return anas_fail(ANAS_NOT_FOUND, "study '%s' has trials 0 to %lld, not %lld", study_name(replay->search.study),
                     (long long)replay->count - 1, (long long)replay->only);
  if (replay->output) ANAS_RETURN_IF_ERROR(anas_make_directories(replay->output));
  for (int64_t i = 0; i < replay->count; i++)
    if (replay->only < 0 || i == replay->only) ANAS_RETURN_IF_ERROR(replay_trial(replay, i));
  if (replay->verdicts) printf("%lld decisions at rungs made again\n", (long long)replay->verdicts);
  printf("%lld trial%s decided again: %lld differ%s\n", (long long)replay->checked, replay->checked == 1 ? "" : "s",
         (long long)replay->differ, replay->differ == 1 ? "s" : "");
  return ANAS_OK;
}

static anas_status run(const struct command *command, int argc, char **argv) {
  struct replay replay = {.only = -1};
  ANAS_RETURN_IF_ERROR(parse(command, argc, argv, &replay));
  replay.search.context = anas_context_create(false);
  search_options_defaults(&replay.search.options);
  anas_status status = replay_study(&replay);
  if (replay.count) replay.search.num_trials = replay.count;
  search_deinit(&replay.search);
  if (status == ANAS_OK && replay.differ)
    return anas_fail(ANAS_CORRUPT, "study '%s' is not what its decisions make", replay.path);
  return status;
}

static const struct command_flag flags[] = {
    {"trial", "N", "only this one"},
    {"o", "DIR", "write the candidates to DIR/NNNN.mlir, for instance where files were lost"},
    {0},
};
static const char *const examples[] = {"anas-search replay s1", "anas-search replay s1 --trial 3 -o rebuilt", NULL};
const struct command command_replay = {
    .name = "replay",
    .arguments = "STUDY [--trial N] [-o DIR]",
    .purpose = "Decides every trial again and compares it with what the study holds",
    .notes = "Parent, mutation, what was decided at rungs, and the candidate byte by byte. Nothing is trained. Exit "
             "code 1 if\nanything differs.\n",
    .flags = flags,
    .examples = examples,
    .run = run,
};
