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
  struct search *search;
  int64_t number;
  struct outcome *outcome;
  int fd;
  int64_t memory_limit; // bytes of this process
  double last;          // time of the last progress line
  struct pruner_stop *stops;
  int64_t *stop_steps; // ascending
  int num_stops;
  // Where training that is cut off goes on; null: nothing is kept.
  struct anas_program *program;
  const char *checkpoint;
  anas_status checkpoint_status;
};

// At every stop but the last. The curve is in it because the driver may be gone before it has stored it.
static anas_status save_checkpoint(const struct reporter *reporter, const struct anas_progress *p) {
  char step[24],
      *sums = anas_format("%.17g %lld %lld", p->sums.loss, (long long)p->sums.correct, (long long)p->sums.steps),
      *curve = curve_to_text(&reporter->search->trials[reporter->number]);
  snprintf(step, sizeof step, "%lld", (long long)p->step);
  const char *metadata[] = {"step", step, "sums", sums, "curve", curve, NULL};
  anas_status status = anas_weights_save(reporter->checkpoint, anas_program_info(reporter->program),
                                         anas_program_params(reporter->program), true, metadata);
  free(curve);
  free(sums);
  return status;
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

static void send_point(const struct reporter *reporter, const struct study_point *point) {
  send_line(reporter->fd,
            json_pack("{s:s, s:I, s:f, s:o, s:o, s:b}", "event", "point", "steps", (json_int_t)point->steps, "epochs",
                      point->epochs, "accuracy", real_or_null(point->accuracy), "loss", real_or_null(point->loss),
                      "rung", (int)point->rung));
}

// Enters a stop into the curve. Whether the trial pauses or ends there is said in the outcome.
static void at_stop(const struct reporter *reporter, int64_t steps, const struct pruner_stop *stop, bool last,
                    double accuracy, double loss) {
  struct study_trial *trial = &reporter->search->trials[reporter->number];
  struct study_point *point = curve_point(trial, steps);
  point->epochs = stop->epochs;
  point->rung = stop->rung && !last;
  point->accuracy = accuracy;
  point->loss = loss;
  send_point(reporter, point);
  if (last) return;
  struct outcome *outcome = reporter->outcome;
  const struct search_options *options = &reporter->search->options;
  if (patience_exhausted(options, trial, point, &outcome->reason)) {
    outcome->ended = STUDY_PRUNED;
  } else if (point->rung && point->verdict != VERDICT_ON && reporter->number >= options->seed_trials) {
    outcome->ended = STUDY_PAUSED;
    outcome->reason = anas_format("waits after %g of %lld epochs", point->epochs, (long long)options->epochs);
  }
}

static bool on_progress(const struct anas_progress *p, void *user) {
  struct reporter *reporter = user;
  double now = anas_now();
  if (!p->validated && now - reporter->last < REPORT_SECONDS) return true;
  reporter->last = now;
  json_t *line = json_pack("{s:s, s:I, s:I, s:I, s:I, s:o}", "event", "progress", "epoch", (json_int_t)p->epoch,
                           "epochs", (json_int_t)p->epochs, "step", (json_int_t)p->step, "steps", (json_int_t)p->steps,
                           "loss", real_or_null(p->loss));
  if (p->validated) {
    json_object_set_new(line, "val_accuracy", real_or_null(p->val_accuracy));
    printf("epoch %lld/%lld: loss %.4f, train accuracy %.4f, validation accuracy %.4f\n", (long long)p->epoch,
           (long long)p->epochs, p->epoch_loss, p->train_accuracy, p->val_accuracy);
    fflush(stdout);
  }
  send_line(reporter->fd, line);
  if (!p->validated) return true;
  int stop = 0;
  while (stop < reporter->num_stops - 1 && reporter->stop_steps[stop] < p->step)
    stop++;
  bool last = p->step == p->steps;
  at_stop(reporter, p->step, &reporter->stops[stop], last, p->val_accuracy, p->val_loss);
  if (!last) reporter->checkpoint_status = save_checkpoint(reporter, p);
  return reporter->checkpoint_status == ANAS_OK && reporter->outcome->ended == STUDY_COMPLETE;
}

static anas_status train_options(const struct search *search, int64_t number, struct anas_train_options *out) {
  const struct search_options *o = &search->options;
  *out = (struct anas_train_options){
      .epochs = o->epochs,
      .max_steps = o->max_steps,
      .learning_rate = o->learning_rate,
      .warmup_epochs = o->warmup_epochs,
      // One seed for all candidates: a parameter that survives a mutation starts from the same values. Repeated
      // trainings of the seed model measure the noise, so theirs differ.
      .seed = o->seed + (uint64_t)(number < o->seed_trials ? number : 0),
      .augment = true,
  };
  return anas_schedule_parse("--schedule", o->schedule, &out->schedule);
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

// The rest of what it holds: the epoch it was in, the curve so far. Absent from checkpoints of older versions.
static void load_progress(const struct reporter *reporter, struct anas_epoch_sums *out_sums) {
  char *sums = NULL, *curve = NULL;
  long long correct, steps;
  double loss;
  if (anas_weights_metadata(reporter->checkpoint, "sums", &sums) == ANAS_OK && sums &&
      sscanf(sums, "%lf %lld %lld", &loss, &correct, &steps) == 3)
    *out_sums = (struct anas_epoch_sums){loss, correct, steps};
  struct study_trial *trial = &reporter->search->trials[reporter->number];
  if (anas_weights_metadata(reporter->checkpoint, "curve", &curve) == ANAS_OK && curve) curve_from_text(curve, trial);
  for (int i = 0; i < trial->num_points; i++)
    send_point(reporter, &trial->curve[i]);
  free(curve);
  free(sums);
}

// Where the trial has validation figures, in steps. A rung between epochs is at the nearest step, the first at least.
static void plan_stops(struct reporter *reporter, int64_t steps_per_epoch) {
  int count, kept = 0;
  struct pruner_stop *stops = pruner_stops(&reporter->search->options, reporter->number, &count);
  reporter->stops = stops;
  reporter->stop_steps = anas_calloc((size_t)count, sizeof *reporter->stop_steps);
  for (int i = 0; i < count; i++) {
    int64_t steps = llround(stops[i].epochs * (double)steps_per_epoch);
    if (steps < 1) steps = 1;
    if (kept && reporter->stop_steps[kept - 1] >= steps) continue; // an epoch of few steps
    stops[kept] = stops[i];
    reporter->stop_steps[kept++] = steps;
  }
  reporter->num_stops = kept;
}

static anas_status train_program(struct search *search, int64_t number, MlirModule module, struct anas_program *program,
                                 struct reporter *reporter, struct outcome *out) {
  const struct anas_program_image *info = anas_program_info(program);
  struct anas_train_options options;
  ANAS_RETURN_IF_ERROR(train_options(search, number, &options));
  ANAS_RETURN_IF_ERROR(anas_init_params(info, options.seed, anas_program_params(program)));
  ANAS_RETURN_IF_ERROR(inherit(search, number, module, program, out));
  char *checkpoint = study_trial_path(study_path(search->study), number, "checkpoint.safetensors");
  reporter->program = program;
  reporter->checkpoint = checkpoint;
  plan_stops(reporter, search->dataset->train.count / info->batch);
  options.stops = reporter->stop_steps;
  options.num_stops = reporter->num_stops;
  options.first_step = load_checkpoint(reporter);
  if (options.first_step) load_progress(reporter, &options.first_sums);
  anas_status status = anas_train(program, search->dataset, &options, on_progress, reporter, &out->result);
  if (status == ANAS_OK) status = reporter->checkpoint_status;
  if (out->ended != STUDY_PAUSED) unlink(checkpoint);
  free(checkpoint);
  return status;
}

anas_status search_compile_options(const struct search_options *o, int threads, struct anas_compile_options *out) {
  const char *cpu;
  ANAS_RETURN_IF_ERROR(anas_cpu_parse("--cpu", o->cpu, true, &cpu)); // a study may have moved to another machine
  *out = (struct anas_compile_options){
      .cpu = cpu,
      .precision = o->precision,
      .no_winograd = o->no_winograd,
      .tune = o->tune,
      .batch = o->batch,
      .threads = threads,
  };
  return search_optimizer(o, &out->optimizer);
}

static anas_status train(struct search *search, int64_t number, MlirModule module, struct reporter *reporter,
                         struct outcome *out) {
  const struct search_options *o = &search->options;
  int team = search_trial_threads(o);
  anas_team_set_size(team);
  struct anas_compile_options compile;
  ANAS_RETURN_IF_ERROR(search_compile_options(o, team, &compile));
  struct anas_compile_report report = {0};
  if (o->compile_report) compile.report = &report;
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
  const struct study_trial *t = &search->trials[number];
  if (epochs_done(t) <= 0)
    ANAS_RETURN_IF_ERROR(measure_before_training(search, number, module, &compile, &image, out->metric));
  for (int m = 0; m < METRIC_NUM; m++) // decisions at rungs were made with what was measured at first
    if (epochs_done(t) > 0 && study_metrics[m].known == METRIC_BEFORE_TRAINING) out->metric[m] = t->metric[m];
  struct anas_program *program;
  ANAS_RETURN_IF_ERROR(anas_program_load(&image, &program));
  anas_status status = train_program(search, number, module, program, reporter, out);
  if (status == ANAS_OK && out->ended == STUDY_COMPLETE && strcmp(o->keep_weights, "none")) {
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

bool report_stop(struct reporter *reporter, const struct pruner_stop *stop) {
  const struct anas_train_result *result = &reporter->outcome->result;
  int64_t epochs = reporter->search->options.epochs, steps = llround(stop->epochs * STEPS_AN_EPOCH);
  reporter->outcome->result.steps = steps > 0 ? steps : 1;
  send_line(reporter->fd,
            json_pack("{s:s, s:I, s:I, s:I, s:I, s:o, s:o}", "event", "progress", "epoch",
                      (json_int_t)ceil(stop->epochs), "epochs", (json_int_t)epochs, "step", (json_int_t)result->steps,
                      "steps", (json_int_t)(epochs * STEPS_AN_EPOCH), "loss", real_or_null(result->train_loss),
                      "val_accuracy", real_or_null(result->val_accuracy)));
  at_stop(reporter, result->steps, stop, stop->epochs >= (double)epochs, result->val_accuracy, result->val_loss);
  return reporter->outcome->ended == STUDY_COMPLETE;
}

double epochs_done(const struct study_trial *trial) {
  double done = 0;
  for (int i = 0; i < trial->num_points; i++)
    if (trial->curve[i].verdict == VERDICT_ON) done = trial->curve[i].epochs;
  return done;
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
  struct outcome outcome = {.result = {.val_accuracy = NAN, .val_loss = NAN, .train_loss = NAN}};
  struct reporter reporter = {
      .search = search, .number = number, .outcome = &outcome, .fd = fd, .memory_limit = memory_limit};
  outcome.ended = STUDY_COMPLETE;
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
    if (isfinite(outcome.metric[m])) json_object_set_new(line, study_metrics[m].name, real_or_null(outcome.metric[m]));
  if (status != ANAS_OK) json_object_set_new(line, "message", json_string(anas_error_message()));
  if (status == ANAS_OK && outcome.ended != STUDY_COMPLETE) {
    json_object_set_new(line, "status", json_string(outcome.ended == STUDY_PAUSED ? "paused" : "pruned"));
    json_object_set_new(line, "message", json_string(outcome.reason));
    printf("%s\n", outcome.reason);
    fflush(stdout);
  }
  send_line(fd, line);
  _exit(0); // no destructors: the process owns nothing that outlives it
}
