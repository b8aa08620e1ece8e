// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a trial's process does: read the candidate, compile its training step, train, report.
#include "tools/anas-search/evaluators/evaluator.h"
#include "tools/anas-search/inherit.h"
#include "tools/anas-search/measure.h"

#include "dialect/context.h"
#include "passes/cpu/cpu.h"
#include "passes/lower/compile.h"
#include "runtime/init.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/team.h"
#include "runtime/trainer.h"
#include "runtime/weights.h"

#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define REPORT_SECONDS 0.25

struct reporter {
  int fd;
  int64_t memory_limit; // bytes of this process
  double last;          // time of the last progress line
  // Where training that is cut off goes on; null: nothing is kept.
  struct anas_program *program;
  const char *checkpoint;
  anas_status checkpoint_status;
};

// At the end of every epoch but the last.
static anas_status save_checkpoint(const struct reporter *reporter, const struct anas_progress *p) {
  char step[24];
  snprintf(step, sizeof step, "%lld", (long long)p->step);
  const char *metadata[] = {"step", step, NULL};
  return anas_weights_save(reporter->checkpoint, anas_program_info(reporter->program),
                           anas_program_params(reporter->program), true, metadata);
}

static void send_line(int fd, json_t *object /* consumed */) {
  char *text = json_dumps(object, JSON_COMPACT);
  json_decref(object);
  if (!text) return;
  size_t size = strlen(text);
  text[size++] = '\n'; // in place of the terminator
  for (size_t at = 0; at < size;) {
    ssize_t wrote = write(fd, text + at, size - at);
    if (wrote <= 0) break; // the parent is gone, and soon so are we
    at += (size_t)wrote;
  }
  free(text);
}

static json_t *real_or_null(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

static bool on_progress(const struct anas_progress *p, void *user) {
  struct reporter *reporter = user;
  double now = anas_now();
  if (!p->epoch_done && now - reporter->last < REPORT_SECONDS) return true;
  reporter->last = now;
  json_t *line = json_pack("{s:s, s:I, s:I, s:I, s:I, s:o}", "event", "progress", "epoch", (json_int_t)p->epoch,
                           "epochs", (json_int_t)p->epochs, "step", (json_int_t)p->step, "steps", (json_int_t)p->steps,
                           "loss", real_or_null(p->loss));
  if (p->epoch_done) {
    json_object_set_new(line, "val_accuracy", real_or_null(p->val_accuracy));
    printf("epoch %lld/%lld: loss %.4f, train accuracy %.4f, validation accuracy %.4f\n", (long long)p->epoch,
           (long long)p->epochs, p->epoch_loss, p->train_accuracy, p->val_accuracy);
    fflush(stdout);
  }
  send_line(reporter->fd, line);
  if (p->epoch_done && p->epoch < p->epochs && reporter->checkpoint)
    reporter->checkpoint_status = save_checkpoint(reporter, p);
  return reporter->checkpoint_status == ANAS_OK;
}

static struct anas_train_options train_options(const struct search *search, int64_t number) {
  const struct search_options *o = &search->options;
  return (struct anas_train_options){
      .epochs = o->epochs,
      .max_steps = o->max_steps,
      .learning_rate = o->learning_rate,
      .warmup_epochs = o->warmup_epochs,
      .cosine = true,
      // One seed for all candidates: a parameter that survives a mutation starts from the same values. Repeated
      // trainings of the seed model measure the noise, so theirs differ.
      .seed = o->seed + (uint64_t)(number < o->seed_trials ? number : 0),
      .augment = true,
  };
}

static anas_status write_report(struct search *search, int64_t number, struct anas_compile_report *report) {
  char *path = study_trial_path(study_path(search->study), number, "compile.json");
  anas_status status = anas_compile_report_write(report, NULL, path);
  anas_compile_report_deinit(report);
  free(path);
  return status;
}

// Steps that a process of this trial made before it was cut off; 0 if it left nothing that can be used.
static int64_t load_checkpoint(const struct reporter *reporter) {
  char *step = NULL;
  bool has_optimizer = false;
  if (access(reporter->checkpoint, F_OK)) return 0;
  anas_status status = anas_weights_metadata(reporter->checkpoint, "step", &step);
  if (status == ANAS_OK && step)
    status = anas_weights_load(reporter->checkpoint, anas_program_info(reporter->program),
                               anas_program_params(reporter->program), &has_optimizer);
  int64_t steps = status == ANAS_OK && step && has_optimizer ? strtoll(step, NULL, 10) : 0;
  free(step);
  if (steps)
    printf("going on after step %lld\n", (long long)steps);
  else
    printf("the checkpoint cannot be used; starting again\n");
  return steps;
}

// Overwrites initial values by the parent's trained ones, where there are any.
static anas_status inherit(struct search *search, int64_t number, MlirModule module, struct anas_program *program,
                           struct outcome *out) {
  const struct study_trial *trial = &search->trials[number];
  if (!search->options.inherit_weights || trial->parent < 0) return ANAS_OK;
  char *path = study_trial_path(study_path(search->study), trial->parent, "weights.safetensors");
  anas_status status = ANAS_OK;
  out->metric[METRIC_INHERITED] = 0;
  if (access(path, F_OK)) {
    printf("trial %lld has no weights to inherit (any more): all parameters are initialised\n",
           (long long)trial->parent);
  } else {
    struct anas_model *model;
    struct inherit_report report;
    bool duplicate = trial->kind && !strcmp(trial->kind, "duplicate");
    status = anas_model_import(module, &model);
    if (status == ANAS_OK) {
      status = anas_model_infer_shapes(model);
      if (status == ANAS_OK)
        status =
            inherit_weights(path, model, anas_program_info(program), anas_program_params(program), duplicate, &report);
      anas_model_destroy(model);
    }
    if (status == ANAS_OK) {
      printf(
          "inherited %d of %d tensors, %lld of %lld scalars, of trial %lld; %d new residual branches start as zero\n",
          report.tensors, report.all_tensors, (long long)report.scalars, (long long)report.all_scalars,
          (long long)trial->parent, report.identities);
      out->metric[METRIC_INHERITED] = (double)report.scalars / (double)report.all_scalars;
    }
  }
  fflush(stdout);
  free(path);
  return status;
}

static anas_status train_program(struct search *search, int64_t number, MlirModule module, struct anas_program *program,
                                 struct reporter *reporter, struct outcome *out) {
  const struct anas_program_image *info = anas_program_info(program);
  struct anas_train_options options = train_options(search, number);
  ANAS_RETURN_IF_ERROR(anas_init_params(info, options.seed, anas_program_params(program)));
  ANAS_RETURN_IF_ERROR(inherit(search, number, module, program, out));
  char *checkpoint = study_trial_path(study_path(search->study), number, "checkpoint.safetensors");
  reporter->program = program;
  reporter->checkpoint = checkpoint;
  options.first_step = load_checkpoint(reporter);
  anas_status status = anas_train(program, search->dataset, &options, on_progress, reporter, &out->result);
  if (status == ANAS_OK) status = reporter->checkpoint_status;
  reporter->checkpoint = NULL;
  unlink(checkpoint);
  free(checkpoint);
  return status;
}

static anas_status train(struct search *search, int64_t number, MlirModule module, struct reporter *reporter,
                         struct outcome *out) {
  const struct search_options *o = &search->options;
  int team = anas_team_size() / (int)o->workers; // trials at the same time share the processors
  anas_team_set_size(team > 1 ? team : 1);
  const char *cpu;
  struct anas_compile_report report = {0};
  ANAS_RETURN_IF_ERROR(anas_cpu_parse("--cpu", o->cpu, true, &cpu)); // a study may have moved to another machine
  struct anas_compile_options compile = {
      .cpu = cpu,
      .no_winograd = o->no_winograd,
      .tune = o->tune,
      .report = o->compile_report ? &report : NULL,
      .batch = o->batch,
      .momentum = o->momentum,
      .weight_decay = o->weight_decay,
      .threads = team > 1 ? team : 1,
  };
  ANAS_RETURN_IF_ERROR(
      anas_memory_budget(reporter->memory_limit, anas_dataset_bytes(search->dataset), &compile.memory_limit));
  struct anas_program_image image = {0};
  ANAS_RETURN_IF_ERROR(anas_compile(module, &compile, &image));
  out->compile_seconds = image.compile_seconds;
  out->cache_hits = image.cache_hits;
  out->cache_misses = image.cache_misses;
  if (o->compile_report) ANAS_RETURN_IF_ERROR(write_report(search, number, &report));
  printf("compiled in %.2f s: %d kernels, %d from the cache; arena %zu bytes, parameters %zu bytes\n",
         image.compile_seconds, image.num_kernels, image.cache_hits, image.arena_bytes, image.params_bytes);
  fflush(stdout);
  ANAS_RETURN_IF_ERROR(measure_before_training(search, number, module, &compile, &image, out->metric));
  struct anas_program *program;
  ANAS_RETURN_IF_ERROR(anas_program_load(&image, &program));
  anas_status status = train_program(search, number, module, program, reporter, out);
  if (status == ANAS_OK && strcmp(o->keep_weights, "none")) {
    char *path = study_trial_path(study_path(search->study), number, "weights.safetensors");
    char *trial = anas_format("%lld", (long long)number);
    const char *metadata[] = {"anas.trial", trial, NULL};
    status = anas_weights_save(path, anas_program_info(program), anas_program_params(program), false, metadata);
    free(trial);
    free(path);
  }
  anas_program_destroy(program);
  return status;
}

void report_epoch(struct reporter *reporter, const struct search *search, int64_t epoch,
                  const struct outcome *outcome) {
  struct anas_progress progress = {.epoch = epoch,
                                   .epochs = search->options.epochs,
                                   .step = epoch,
                                   .steps = search->options.epochs,
                                   .epoch_done = true,
                                   .loss = outcome->result.train_loss,
                                   .val_accuracy = outcome->result.val_accuracy};
  on_progress(&progress, reporter);
}

// ---- the process

static anas_status evaluate(struct search *search, int64_t number, struct reporter *reporter, struct outcome *out) {
  ANAS_RETURN_IF_ERROR(trial_fault(search, number));
  char *path = study_trial_path(study_path(search->study), number, "candidate.mlir");
  struct anas_diagnostics *diagnostics = anas_diagnostics_attach(search->context, path, NULL);
  MlirModule module;
  anas_status status = anas_parse_file(search->context, path, &module);
  free(path);
  const struct evaluator *evaluator = NULL;
  const char *argument = NULL;
  if (status == ANAS_OK) status = evaluator_find(search->options.evaluator, &evaluator, &argument);
  if (status == ANAS_OK)
    status = evaluator ? evaluator->evaluate(search, number, argument, reporter, out)
                       : train(search, number, module, reporter, out);
  (void)diagnostics; // the process ends with it
  return status;
}

void evaluate_trial(struct search *search, int64_t number, int64_t memory_limit, int fd) {
  struct reporter reporter = {.fd = fd, .memory_limit = memory_limit};
  struct outcome outcome = {.result = {.val_accuracy = NAN, .val_loss = NAN, .train_loss = NAN}};
  outcome.compile_seconds = outcome.result.images_per_second = NAN;
  for (int m = 0; m < METRIC_NUM; m++)
    outcome.metric[m] = NAN;
  anas_status status = evaluate(search, number, &reporter, &outcome);
  if (status != ANAS_OK) fprintf(stderr, "error (%s): %s\n", anas_status_name(status), anas_error_message());
  fflush(NULL);
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const struct anas_train_result *r = &outcome.result;
  json_t *line = json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:i, s:i, s:I, s:I}", "event", "result", "status",
                           anas_status_name(status), "accuracy", real_or_null(r->val_accuracy), "loss",
                           real_or_null(r->val_loss), "train_loss", real_or_null(r->train_loss), "images_per_second",
                           real_or_null(r->images_per_second), "compile_seconds", real_or_null(outcome.compile_seconds),
                           "cache_hits", outcome.cache_hits, "cache_misses", outcome.cache_misses, "steps",
                           (json_int_t)r->steps, "peak_bytes", (json_int_t)usage.ru_maxrss * 1024);
  for (int m = 0; m < METRIC_NUM; m++)
    if (isfinite(outcome.metric[m]))
      json_object_set_new(line, study_metrics[m].name, real_or_null(outcome.metric[m]));
  if (status != ANAS_OK) json_object_set_new(line, "message", json_string(anas_error_message()));
  send_line(fd, line);
  _exit(0); // no destructors: the process owns nothing that outlives it
}
