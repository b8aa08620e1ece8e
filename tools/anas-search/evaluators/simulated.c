// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Simulated results, for trying out a set-up and for tests of the search itself: a pseudo-accuracy that depends on the
// architecture and the seed alone, a duration, and failures at given rates.
#include "tools/anas-search/evaluators/evaluator.h"

#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/support/nearest.h"
#include "runtime/support/parse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct settings {
  double seconds; // mean duration of a trial
  double crash, diverge, hang;
};

static anas_status parse(const char *argument, struct settings *out) {
  const struct {
    const char *name;
    double *value, high;
  } known[] = {{"seconds", &out->seconds, 1e6},
               {"crash", &out->crash, 1},
               {"diverge", &out->diverge, 1},
               {"hang", &out->hang, 1}};
  *out = (struct settings){0};
  for (const char *at = argument; at && *at; at += strcspn(at, ","), at += *at == ',') {
    size_t size = strcspn(at, "=,"), whole = strcspn(at, ",");
    struct anas_nearest nearest = anas_nearest_make(at, size);
    int found = -1;
    for (int i = 0; i < 4; i++) {
      anas_nearest_offer(&nearest, known[i].name);
      if (strlen(known[i].name) == size && !memcmp(known[i].name, at, size)) found = i;
    }
    char hint[128];
    if (found < 0 || at[size] != '=')
      return anas_fail(
          ANAS_INVALID,
          "--evaluator simulated takes seconds=S, crash=P, diverge=P, hang=P (P: probability), got '%.*s'%s",
          (int)whole, at, nearest.best ? anas_nearest_hint(&nearest, hint) : "");
    char *text = anas_format("%.*s", (int)(whole - size - 1), at + size + 1);
    anas_status status = anas_parse_double("--evaluator simulated", text, 0, known[found].high, known[found].value);
    free(text);
    ANAS_RETURN_IF_ERROR(status);
  }
  return ANAS_OK;
}

static anas_status check(const char *argument) {
  struct settings settings;
  return parse(argument, &settings);
}

static void sleep_for(double seconds) {
  if (seconds > 0) usleep((useconds_t)(fmin(seconds, 1e6) * 1e6));
}

// Share of its final accuracy that a network has after a part of its training: some learn slowly at first.
static double learned(double part, double slowness) {
  return 1 - 0.5 * (1 - part) * exp(-8 * part / (1 + slowness));
}

// Larger networks are better with diminishing returns, plus noise.
static anas_status evaluate(const struct search *search, int64_t number, const char *argument,
                            struct reporter *reporter, struct outcome *out) {
  struct settings settings;
  ANAS_RETURN_IF_ERROR(parse(argument, &settings));
  const struct study_trial *trial = &search->trials[number];
  struct anas_rng rng = anas_rng_make(anas_hash64(trial->hash, strlen(trial->hash), search->options.seed));
  double params = fmax(trial->metric[METRIC_PARAMS], 1), noise = anas_rng_double(&rng) - 0.5;
  double duration = settings.seconds * (0.5 + anas_rng_double(&rng)), fate = anas_rng_double(&rng);
  if (number >= search->options.seed_trials) { // without the seed there is no search
    if (fate < settings.crash) abort();
    if (fate < settings.crash + settings.hang)
      for (;;)
        pause();
    if (fate < settings.crash + settings.hang + settings.diverge)
      return anas_fail(ANAS_DIVERGED, "the loss is nan at step 1 (simulated)");
  }
  int count;
  struct pruner_stop *stops = pruner_stops(&search->options, number, &count);
  double epochs = (double)search->options.epochs, done = epochs_done(trial), slowness = anas_rng_double(&rng);
  double final = 0.95 - 0.5 / (1 + log10(params)) + 0.05 * noise;
  bool on = true;
  for (int i = 0; i < count && on; i++) {
    if (stops[i].epochs <= done) continue;
    sleep_for(duration * (stops[i].epochs - done) / epochs);
    done = stops[i].epochs;
    out->result.val_accuracy = final * learned(done / epochs, slowness);
    out->result.val_loss = out->result.train_loss = -log(out->result.val_accuracy);
    on = report_stop(reporter, &stops[i]);
  }
  free(stops);
  out->result.images_per_second = 1e9 / fmax(trial->metric[METRIC_FLOPS], 1);
  return ANAS_OK;
}

const struct evaluator evaluator_simulated = {
    .name = "simulated",
    .metavar = "[:SETTING=X,...]",
    .summary =
        "a deterministic pseudo-accuracy, for trying out a set-up; seconds= a trial, crash= diverge= hang= rates",
    .check = check,
    .evaluate = evaluate,
};
