// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Settings of a mutation by name; presets and ablations (spec 4.2), each a list of settings.
#include "passes/mutate/mutate.h"

#include "passes/mutate/settings.h"
#include "runtime/support/memory.h"
#include "runtime/support/nearest.h"
#include "runtime/support/parse.h"

#include <assert.h>
#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum kind { REAL, COUNT, CHOICE, FLAG };

struct setting {
  const char *name;
  enum kind kind;
  size_t offset;
  double low, high;
  const char *fallback;
};

#define AT(member) offsetof(struct anas_mutation_options, member)
#define ROW_REAL(name, member, low, high, fallback, doc) {name, REAL, AT(member), low, high, fallback},
#define ROW_COUNT(name, member, low, high, fallback, doc) {name, COUNT, AT(member), low, high, fallback},
#define ROW_CHOICE(name, member, low, high, fallback, doc) {name, CHOICE, AT(member), low, high, fallback},
#define ROW_FLAG(name, member, low, high, fallback, doc) {name, FLAG, AT(member), low, high, fallback},
static const struct setting settings[] = {ANAS_MUTATION_SETTINGS(ROW_REAL, ROW_COUNT, ROW_CHOICE, ROW_FLAG)};
#define NUM_SETTINGS ((int)(sizeof settings / sizeof *settings))

// Names of the values of each enum, in its order.
static const struct {
  const char *setting;
  const char *values[ANAS_SYNTHESIS_METHODS + 1];
} choices[] = {
    {"scope", {"block", "function"}},
    {"selection", {"random", "sequential"}},
    {"contexts", {"all", "one"}},
    {"method", {"progressive", "enumerative", "random-enum", "random", "primer", "automl-zero"}},
    {"mode", {"greedy", "uniform", "weighted"}},
    {"features", {"match", "prime"}},
};

static const char *const *choice_values(const char *setting) {
  for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
    if (!strcmp(choices[i].setting, setting)) return choices[i].values;
  return NULL;
}

// ---- presets: what differs from "default", which holds the numbers of the CIFAR-10 search and our extensions

#define PRODUCTION                                                                                                     \
  "duplicate=0.2 delete=0.2 propagate=0.2 scope=block selection=random max-ops=0 contexts=one "                        \
  "use-shape=true use-depth=true use-mixing=true shape=0 depth-delta=2 weaken=0 drop-branch=0.2 residual=0 "           \
  "method=progressive features=match max-candidates=0 mode=weighted epsilon=0.1 exponent=2 chain-grow=0.2 "            \
  "filter-progress=false randomize=true max-delta=2 min-delta=2 "                                                      \
  "retries=1 "

static const struct {
  const char *name, *settings;
} presets[] = {
    {"default", ""},
    {"cifar10", PRODUCTION "grow=0.75 max-fraction=0.8 depth=0.5 mixing=0.5"},
    {"imagenet", PRODUCTION "grow=0.9 max-fraction=0.5 depth=0.8 mixing=0.8"},
};

static const struct {
  const char *name, *settings;
} synthesizers[] = {
    // The enumerations are cut off where a search would have lost patience; the baselines look at no property but
    // shape.
    {"progressive", "method=progressive"},
    {"enumerative", "method=enumerative max-delta=2 min-delta=2 max-candidates=200000"},
    {"random-enum", "method=random-enum max-delta=2 min-delta=2 max-candidates=200000"},
    {"random", "method=random max-delta=2 min-delta=2 max-candidates=200000"},
    {"primer", "method=primer grow=1 max-fraction=1 use-depth=false use-mixing=false"},
    {"automl-zero",
     "method=automl-zero grow=1 max-fraction=1 use-depth=false use-mixing=false max-delta=2 min-delta=2"},
};

// ---- one setting

static anas_status bad_choice(const char *setting, const char *value, const char *const *values) {
  struct anas_strbuf known = {0};
  struct anas_nearest nearest = anas_nearest_make(value, strlen(value));
  for (int i = 0; values[i]; i++) {
    anas_strbuf_addf(&known, "%s%s", i ? ", " : "", values[i]);
    anas_nearest_offer(&nearest, values[i]);
  }
  char hint[128];
  anas_fail(ANAS_INVALID, "'%s' is no value of '%s'%s (its values: %s)", value, setting,
            anas_nearest_hint(&nearest, hint), anas_strbuf_text(&known));
  anas_strbuf_deinit(&known);
  return ANAS_INVALID;
}

static anas_status set_member(struct anas_mutation_options *options, const struct setting *setting, const char *value) {
  char *member = (char *)options + setting->offset;
  switch (setting->kind) {
  case REAL: return anas_parse_double(setting->name, value, setting->low, setting->high, (double *)member);
  case COUNT: {
    int64_t count;
    ANAS_RETURN_IF_ERROR(anas_parse_int(setting->name, value, (int64_t)setting->low, (int64_t)setting->high, &count));
    *(int *)member = (int)count;
    return ANAS_OK;
  }
  case CHOICE: {
    const char *const *values = choice_values(setting->name);
    for (int i = 0; values[i]; i++)
      if (!strcmp(values[i], value)) {
        memcpy(member, &i, sizeof i); // enums have the size of int
        return ANAS_OK;
      }
    return bad_choice(setting->name, value, values);
  }
  case FLAG: {
    static const char *const values[] = {"false", "true", NULL}, *const short_values[] = {"0", "1"};
    for (int i = 0; i < 2; i++)
      if (!strcmp(values[i], value) || !strcmp(short_values[i], value)) {
        *(bool *)member = i;
        return ANAS_OK;
      }
    return bad_choice(setting->name, value, values);
  }
  }
  return ANAS_INTERNAL;
}

// One "name=value" behind *at; false at the end of the text. The strings are malloc'ed.
static bool next_pair(const char **at, const char *separators, char **out_name, char **out_value) {
  const char *text = *at + strspn(*at, separators);
  size_t size = strcspn(text, separators);
  *at = text + size;
  if (!size) return false;
  const char *equals = memchr(text, '=', size);
  size_t name_size = equals ? (size_t)(equals - text) : size;
  *out_name = anas_format("%.*s", (int)name_size, text);
  *out_value = anas_format("%.*s", equals ? (int)(size - name_size - 1) : 0, equals ? equals + 1 : "");
  return true;
}

static anas_status apply(struct anas_mutation_options *options, const char *text) {
  char *name, *value;
  anas_status status = ANAS_OK;
  for (const char *at = text; status == ANAS_OK && next_pair(&at, " \t\n", &name, &value);) {
    status = anas_mutation_set(options, name, value);
    free(name);
    free(value);
  }
  return status;
}

static anas_status set_preset(struct anas_mutation_options *options, const char *value) {
  const char *names[sizeof presets / sizeof *presets + 1] = {0};
  for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
    names[i] = presets[i].name;
    if (strcmp(presets[i].name, value)) continue;
    *options = anas_mutation_defaults();
    return apply(options, presets[i].settings);
  }
  return bad_choice("preset", value, names);
}

static anas_status set_synthesizer(struct anas_mutation_options *options, const char *value) {
  const char *names[sizeof synthesizers / sizeof *synthesizers + 1] = {0};
  for (size_t i = 0; i < sizeof synthesizers / sizeof *synthesizers; i++) {
    names[i] = synthesizers[i].name;
    if (!strcmp(synthesizers[i].name, value)) return apply(options, synthesizers[i].settings);
  }
  return bad_choice("synthesizer", value, names);
}

// "shape=mutate,depth=no": mutate is a probability of 0.75, but naming all three changes nothing, as in the reference.
static anas_status set_property(struct anas_mutation_options *options, const char *text) {
  static const char *const properties[] = {"shape", "depth", "mixing", NULL}, *const modes[] = {"mutate", "nomutate",
                                                                                                "no", NULL};
  int mode[3] = {-1, -1, -1}, mutated = 0;
  char *name, *value;
  anas_status status = ANAS_OK;
  for (const char *at = text; status == ANAS_OK && next_pair(&at, ",", &name, &value);) {
    int property = 0, m = 0;
    while (properties[property] && strcmp(properties[property], name))
      property++;
    while (modes[m] && strcmp(modes[m], value))
      m++;
    if (!properties[property])
      status = bad_choice("property", name, properties);
    else if (!modes[m])
      status = bad_choice(properties[property], value, modes);
    else if (mode[property] >= 0)
      status = anas_fail(ANAS_INVALID, "property '%s' is given twice in '%s'", name, text);
    else
      mode[property] = m;
    free(name);
    free(value);
  }
  ANAS_RETURN_IF_ERROR(status);
  for (int p = 0; p < 3; p++)
    mutated += mode[p] == 0;
  bool *const use[] = {&options->use_shape, &options->use_depth, &options->use_mixing};
  double *const probability[] = {&options->shape_probability, &options->depth_probability,
                                 &options->mixing_probability};
  for (int p = 0; p < 3 && mutated < 3; p++) {
    if (mode[p] < 0) continue;
    *use[p] = mode[p] != 2;
    *probability[p] = mode[p] == 0 ? 0.75 : 0;
    if (p == 2 && mode[p] != 0) options->weaken_probability = 0;
  }
  return ANAS_OK;
}

anas_status anas_mutation_set(struct anas_mutation_options *options, const char *name, const char *value) {
  struct anas_mutation_options changed = *options;
  anas_status status = ANAS_NOT_FOUND;
  if (!strcmp(name, "preset")) status = set_preset(&changed, value);
  if (!strcmp(name, "property")) status = set_property(&changed, value);
  if (!strcmp(name, "synthesizer")) status = set_synthesizer(&changed, value);
  for (int i = 0; i < NUM_SETTINGS && status == ANAS_NOT_FOUND; i++)
    if (!strcmp(settings[i].name, name)) status = set_member(&changed, &settings[i], value);
  if (status == ANAS_NOT_FOUND) {
    struct anas_nearest nearest = anas_nearest_make(name, strlen(name));
    for (const struct anas_mutation_setting *s = anas_mutation_settings(); s->name; s++)
      anas_nearest_offer(&nearest, s->name);
    char hint[128];
    return anas_fail(ANAS_INVALID, "a mutation has no setting '%s'%s", name, anas_nearest_hint(&nearest, hint));
  }
  if (status == ANAS_OK) *options = changed;
  return status;
}

// ---- the whole configuration

struct anas_mutation_options anas_mutation_defaults(void) {
  struct anas_mutation_options options = {0};
  options.synthesis.min_length = 1; // set for each chain
  options.synthesis.max_length = 4;
  for (int i = 0; i < NUM_SETTINGS; i++) {
    anas_status status = set_member(&options, &settings[i], settings[i].fallback);
    assert(status == ANAS_OK && "the default of a setting does not parse");
    (void)status;
  }
  return options;
}

anas_status anas_mutation_configure(const char *text, struct anas_mutation_options *out) {
  struct anas_mutation_options options = anas_mutation_defaults();
  char *name, *value;
  anas_status status = ANAS_OK;
  for (int pass = 0; pass < 2; pass++)
    for (const char *at = text; status == ANAS_OK && next_pair(&at, " \t\n", &name, &value);) {
      if (!strcmp(name, "preset") == !pass) status = anas_mutation_set(&options, name, value);
      free(name);
      free(value);
    }
  if (status == ANAS_OK) *out = options;
  return status;
}

void anas_mutation_print(const struct anas_mutation_options *options, struct anas_strbuf *out) {
  for (int i = 0; i < NUM_SETTINGS; i++) {
    const char *member = (const char *)options + settings[i].offset;
    anas_strbuf_addf(out, "%s%s=", i ? " " : "", settings[i].name);
    switch (settings[i].kind) {
    case REAL: anas_strbuf_addf(out, "%.9g", *(const double *)member); break;
    case COUNT: anas_strbuf_addf(out, "%d", *(const int *)member); break;
    case FLAG: anas_strbuf_adds(out, *(const bool *)member ? "true" : "false"); break;
    case CHOICE: {
      int value;
      memcpy(&value, member, sizeof value);
      anas_strbuf_adds(out, choice_values(settings[i].name)[value]);
    }
    }
  }
}

#define HELP_MACRO(name, metavar, doc) {name, metavar, doc},
#define HELP_REAL(name, member, low, high, fallback, doc) {name, "X", doc " (default " fallback ")"},
#define HELP_COUNT(name, member, low, high, fallback, doc) {name, "N", doc " (default " fallback ")"},
#define HELP_CHOICE(name, member, low, high, fallback, doc) {name, "NAME", doc " (default " fallback ")"},
#define HELP_FLAG(name, member, low, high, fallback, doc) {name, "BOOL", doc " (default " fallback ")"},

const struct anas_mutation_setting *anas_mutation_settings(void) {
  static const struct anas_mutation_setting table[] = {
      ANAS_MUTATION_MACROS(HELP_MACRO) ANAS_MUTATION_SETTINGS(HELP_REAL, HELP_COUNT, HELP_CHOICE, HELP_FLAG){0}};
  return table;
}
