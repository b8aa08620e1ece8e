// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a trial's process does: read the candidate, compile its training step, train, report. Also the simulated
// evaluator, and faults on demand for tests of the search: ANAS_TEST_FAULT=KIND:TRIAL[,...] with the kinds crash, hang,
// oom, diverge, exit and slow.
#include "tools/anas-search/search.h"

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
  double last; // time of the last progress line
};

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
  return true;
}

struct outcome {
  struct anas_train_result result;
  double compile_seconds;
};

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

static anas_status train(struct search *search, int64_t number, MlirModule module, struct reporter *reporter,
                         struct outcome *out) {
  const struct search_options *o = &search->options;
  int team = anas_team_size() / (int)o->workers; // trials at the same time share the processors
  anas_team_set_size(team > 1 ? team : 1);
  const char *cpu;
  ANAS_RETURN_IF_ERROR(anas_cpu_parse("--cpu", o->cpu, true, &cpu)); // a study may have moved to another machine
  struct anas_compile_options compile = {
      .cpu = cpu,
      .batch = o->batch,
      .momentum = o->momentum,
      .weight_decay = o->weight_decay,
      .threads = team > 1 ? team : 1,
  };
  struct anas_program_image image = {0};
  ANAS_RETURN_IF_ERROR(anas_compile(module, &compile, &image));
  out->compile_seconds = image.compile_seconds;
  printf("compiled in %.2f s: %d kernels, %d from the cache; arena %zu bytes, parameters %zu bytes\n",
         image.compile_seconds, image.num_kernels, image.cache_hits, image.arena_bytes, image.params_bytes);
  fflush(stdout);
  struct anas_program *program;
  ANAS_RETURN_IF_ERROR(anas_program_load(&image, &program));
  const struct anas_program_image *info = anas_program_info(program);
  struct anas_train_options options = train_options(search, number);
  anas_status status = anas_init_params(info, options.seed, anas_program_params(program));
  if (status == ANAS_OK) status = anas_train(program, search->dataset, &options, on_progress, reporter, &out->result);
  if (status == ANAS_OK && strcmp(o->keep_weights, "none")) {
    char *path = study_trial_path(study_path(search->study), number, "weights.safetensors");
    char *trial = anas_format("%lld", (long long)number);
    const char *metadata[] = {"anas.trial", trial, NULL};
    status = anas_weights_save(path, info, anas_program_params(program), false, metadata);
    free(trial);
    free(path);
  }
  anas_program_destroy(program);
  return status;
}

// Larger networks are better with diminishing returns, plus noise that depends on the architecture alone.
static void simulate(struct search *search, int64_t number, struct reporter *reporter, struct outcome *out) {
  const struct study_trial *trial = &search->trials[number];
  struct anas_rng rng = anas_rng_make(anas_hash64(trial->hash, strlen(trial->hash), search->options.seed));
  double params = fmax(trial->metric[METRIC_PARAMS], 1);
  out->result.val_accuracy = 0.95 - 0.5 / (1 + log10(params)) + 0.05 * (anas_rng_double(&rng) - 0.5);
  out->result.val_loss = -log(out->result.val_accuracy);
  out->result.train_loss = out->result.val_loss;
  out->result.images_per_second = 1e9 / fmax(trial->metric[METRIC_FLOPS], 1);
  out->result.steps = search->options.epochs;
  for (int64_t e = 1; e <= search->options.epochs; e++) {
    struct anas_progress p = {.epoch = e,
                              .epochs = search->options.epochs,
                              .step = e,
                              .steps = search->options.epochs,
                              .epoch_done = true,
                              .val_accuracy = out->result.val_accuracy};
    on_progress(&p, reporter);
  }
}

// ---- faults

static bool fault_is(const char *kind, int64_t number) {
  const char *faults = getenv("ANAS_TEST_FAULT");
  for (const char *at = faults; at && *at; at += strcspn(at, ","), at += *at == ',') {
    size_t size = strcspn(at, ":,");
    if (size == strlen(kind) && !memcmp(at, kind, size) && at[size] == ':' &&
        strtoll(at + size + 1, NULL, 10) == number)
      return true;
  }
  return false;
}

static anas_status inject_fault(int64_t number) {
  if (fault_is("crash", number)) abort();
  if (fault_is("exit", number)) _exit(7);
  if (fault_is("slow", number)) sleep(2);
  if (fault_is("diverge", number)) return anas_fail(ANAS_DIVERGED, "the loss is nan at step 1 (requested fault)");
  if (fault_is("hang", number)) {
    signal(SIGTERM, SIG_IGN); // the hardest kind
    for (;;)
      pause();
  }
  if (fault_is("oom", number)) {
    for (;;) {
      size_t size = (size_t)16 << 20;
      char *block = anas_alloc(size); // never freed: the limit ends this
      memset(block, 1, size);
      usleep(5000);
    }
  }
  return ANAS_OK;
}

// ---- the process

static anas_status evaluate(struct search *search, int64_t number, struct reporter *reporter, struct outcome *out) {
  ANAS_RETURN_IF_ERROR(inject_fault(number));
  char *path = study_trial_path(study_path(search->study), number, "candidate.mlir");
  struct anas_diagnostics *diagnostics = anas_diagnostics_attach(search->context, path, NULL);
  MlirModule module;
  anas_status status = anas_parse_file(search->context, path, &module);
  free(path);
  if (status == ANAS_OK && !strcmp(search->options.evaluator, "simulated"))
    simulate(search, number, reporter, out);
  else if (status == ANAS_OK)
    status = train(search, number, module, reporter, out);
  (void)diagnostics; // the process ends with it
  return status;
}

void evaluate_trial(struct search *search, int64_t number, int fd) {
  struct reporter reporter = {.fd = fd};
  struct outcome outcome = {.result = {.val_accuracy = NAN, .val_loss = NAN, .train_loss = NAN}};
  outcome.compile_seconds = outcome.result.images_per_second = NAN;
  anas_status status = evaluate(search, number, &reporter, &outcome);
  if (status != ANAS_OK) fprintf(stderr, "error (%s): %s\n", anas_status_name(status), anas_error_message());
  fflush(NULL);
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const struct anas_train_result *r = &outcome.result;
  json_t *line = json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:I}", "event", "result", "status",
                           anas_status_name(status), "accuracy", real_or_null(r->val_accuracy), "loss",
                           real_or_null(r->val_loss), "train_loss", real_or_null(r->train_loss), "images_per_second",
                           real_or_null(r->images_per_second), "compile_seconds", real_or_null(outcome.compile_seconds),
                           "steps", (json_int_t)r->steps, "peak_bytes", (json_int_t)usage.ru_maxrss * 1024);
  if (status != ANAS_OK) json_object_set_new(line, "message", json_string(anas_error_message()));
  send_line(fd, line);
  _exit(0); // no destructors: the process owns nothing that outlives it
}
