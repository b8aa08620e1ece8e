// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Flags that say how candidates are made: presets, ablations, and every setting of a mutation by name; all of it ends
// up in one text of settings, which the study keeps.
#include "tools/anas-search/search.h"

#include "runtime/support/memory.h"

#include <stdlib.h>
#include <string.h>

#define PREFIX "mutation-"

static bool is_macro(const char *name) {
  return !strcmp(name, "preset") || !strcmp(name, "property") || !strcmp(name, "synthesizer");
}

const char *search_mutation_setting(const char *flag, size_t size) {
  for (const struct anas_mutation_setting *s = anas_mutation_settings(); s->name; s++) {
    size_t prefix = is_macro(s->name) ? 0 : strlen(PREFIX);
    if (strlen(s->name) + prefix == size && !memcmp(flag, PREFIX, prefix) &&
        !memcmp(flag + prefix, s->name, size - prefix))
      return s->name;
  }
  return NULL;
}

void search_mutation_offer(struct anas_nearest *nearest) {
  for (const struct anas_mutation_setting *s = anas_mutation_settings(); s->name; s++)
    if (is_macro(s->name)) anas_nearest_offer(nearest, s->name);
}

anas_status search_mutation_add(struct search_options *options, const char *setting, const char *value) {
  struct anas_mutation_options scratch = anas_mutation_defaults();
  anas_status status = anas_mutation_set(&scratch, setting, value);
  if (status != ANAS_OK) return anas_fail_context(status, "--%s%s: ", is_macro(setting) ? "" : PREFIX, setting);
  char *text = anas_format("%s %s=%s", options->mutation_text ? options->mutation_text : "", setting, value);
  free(options->mutation_text);
  options->mutation_text = text;
  return ANAS_OK;
}

anas_status search_mutation_finish(struct search_options *options) {
  const char *text = options->mutation_text ? options->mutation_text : "";
  ANAS_RETURN_IF_ERROR(anas_mutation_configure(text, &options->mutation));
  struct anas_strbuf effective = {0};
  anas_mutation_print(&options->mutation, &effective);
  free(options->mutation_text);
  options->mutation_text = anas_strbuf_detach(&effective);
  return ANAS_OK;
}

static void set_text(char **field, const char *text) {
  free(*field);
  *field = anas_strdup(text);
}

// The numbers of spec 4.2 and 5 outside of the mutation. A failed mutation does not use up a trial here, so --retries
// stays as it is.
anas_status search_preset(struct search_options *options, const char *preset) {
  struct anas_mutation_options known;
  char *setting = anas_format("preset=%s", preset);
  anas_status status = anas_mutation_configure(setting, &known);
  free(setting);
  if (status != ANAS_OK) return anas_fail_context(status, "--preset: ");
  bool cifar = !strcmp(preset, "cifar10"), imagenet = !strcmp(preset, "imagenet");
  if (!cifar && !imagenet) return ANAS_OK;
  if (cifar) set_text(&options->dataset, "cifar10");
  options->trials = 50;
  options->seed_trials = 2;
  options->epochs = 90;
  options->batch = 64;
  options->min_accuracy = cifar ? 0.8 : 0.6;
  options->num_objectives = 3;
  options->objectives[0] = (struct search_objective){METRIC_ACCURACY, true};
  options->objectives[1] = cifar ? (struct search_objective){METRIC_PARAMS, false}
                                 : (struct search_objective){METRIC_IMAGES_PER_SECOND, true};
  options->objectives[2] = (struct search_objective){METRIC_FLOPS, false};
  return ANAS_OK;
}

// The published ImageNet search was targeted but for the residual networks other than resnet50.
void search_preset_model(struct search_options *options) {
  const char *model = options->model_name ? options->model_name : "";
  bool imagenet = options->preset && !strcmp(options->preset, "imagenet");
  bool targeted = imagenet && (strncmp(model, "resnet", 6) || !strcmp(model, "resnet50"));
  if (!options->targeted) options->targeted = anas_strdup(targeted ? "on" : "off");
}

void search_mutation_help(struct anas_strbuf *out) {
  anas_strbuf_adds(out, "\nMutation (docs/mutation.md):\n");
  for (const struct anas_mutation_setting *s = anas_mutation_settings(); s->name; s++) {
    char *left = anas_format("--%s%s %s", is_macro(s->name) ? "" : PREFIX, s->name, s->metavar);
    anas_strbuf_addf(out, "  %-28s %s\n", left, s->doc);
    free(left);
  }
}
