// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The training recipe of a search: what the flags say about the optimizer and the learning rate, what presets choose
// for a family of networks, and what is usual where neither says anything.
#include "tools/anas-search/search.h"

#include "runtime/trainer.h"

#include <string.h>

static void choose(struct search_options *options, const char *optimizer, double rate, double decay, double clip_norm) {
  free(options->optimizer);
  options->optimizer = anas_strdup(optimizer);
  options->learning_rate = rate;
  options->weight_decay = decay;
  options->clip_norm = clip_norm;
}

// Of the published searches (big_vision's). There the decay of adam and rmsprop is not times the learning rate, so it
// is divided by the peak here. Vision transformers warm up for 10,000 steps there, for five epochs here.
void search_preset_recipe(struct search_options *options, const char *model, const char *optimizer) {
  model = model ? model : "";
  bool cnn = !strcmp(model, "cnn"), vit = !strncmp(model, "vit-", 4);
  bool efficientnet = model[0] == 'b' && strspn(model + 1, "01234567") == strlen(model + 1) && model[1];
  double batches = (double)options->batch / 256;
  options->warmup_epochs = 5;
  const char *own = vit ? "adam" : efficientnet ? "rmsprop" : "sgd";
  if (optimizer && strcmp(optimizer, own) != 0) return; // its constants would mean something else
  if (vit) {
    choose(options, own, 1e-3, 1e-4 / 1e-3, 1);
  } else if (efficientnet) {
    choose(options, own, 0.016 * batches, 1e-5 / (0.016 * batches), 1);
    free(options->schedule);
    options->schedule = anas_strdup("exponential");
  } else {
    choose(options, own, cnn ? 0.01 : 0.1 * batches, 1e-4, cnn ? 0 : 1);
  }
}

anas_status search_optimizer(const struct search_options *options, struct anas_optimizer *out) {
  struct anas_optimizer optimizer = {.momentum = options->momentum,
                                     .beta1 = options->beta1,
                                     .beta2 = options->beta2,
                                     .epsilon = options->epsilon,
                                     .weight_decay = options->weight_decay,
                                     .clip_norm = options->clip_norm};
  ANAS_RETURN_IF_ERROR(anas_optimizer_parse(options->optimizer, &optimizer.kind));
  ANAS_RETURN_IF_ERROR(anas_optimizer_resolve(&optimizer));
  *out = optimizer;
  return ANAS_OK;
}

anas_status search_recipe_finish(struct search_options *options) {
  struct anas_optimizer optimizer;
  enum anas_schedule schedule;
  ANAS_RETURN_IF_ERROR(search_optimizer(options, &optimizer));
  ANAS_RETURN_IF_ERROR(anas_schedule_parse("--schedule", options->schedule, &schedule));
  options->momentum = optimizer.momentum;
  options->beta1 = optimizer.beta1;
  options->beta2 = optimizer.beta2;
  options->epsilon = optimizer.epsilon;
  options->weight_decay = optimizer.weight_decay;
  options->clip_norm = optimizer.clip_norm;
  if (options->learning_rate < 0) options->learning_rate = anas_optimizer_usual_rate(optimizer.kind);
  return ANAS_OK;
}
