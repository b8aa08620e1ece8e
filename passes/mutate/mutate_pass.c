// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-mutate: replaces the module by one mutated child. The lineage goes to attributes of the module: anas.generation,
// anas.parent (canonical hash) and anas.mutation (what was done).
#include "passes/mutate/mutate.h"
#include "passes/mutate/settings.h"
#include "passes/pass.h"

extern const struct anas_pass_def anas_pass_mutate;

#define OPTION_MACRO(name, metavar, doc) {name, ANAS_OPTION_STRING, "", doc ": " metavar},
#define OPTION_REAL(name, member, low, high, fallback, doc) {name, ANAS_OPTION_FLOAT, fallback, doc},
#define OPTION_COUNT(name, member, low, high, fallback, doc) {name, ANAS_OPTION_INT, fallback, doc},
#define OPTION_CHOICE(name, member, low, high, fallback, doc) {name, ANAS_OPTION_STRING, fallback, doc},
#define OPTION_FLAG(name, member, low, high, fallback, doc) {name, ANAS_OPTION_BOOL, fallback, doc},

static const struct anas_pass_option mutate_options[] = {
    {"seed", ANAS_OPTION_INT, "0", "seed of all random decisions"},
    {"configuration", ANAS_OPTION_BOOL, "false", "record the effective settings as anas.mutation_settings"},
    // clang-format off
    ANAS_MUTATION_MACROS(OPTION_MACRO)
    ANAS_MUTATION_SETTINGS(OPTION_REAL, OPTION_COUNT, OPTION_CHOICE, OPTION_FLAG)
    // clang-format on
    {0},
};

// The settings that were given, on top of the preset.
static anas_status read_options(const struct anas_pass_options *options, struct anas_mutation_options *out) {
  struct anas_strbuf text = {0};
  for (const struct anas_mutation_setting *s = anas_mutation_settings(); s->name; s++) {
    const char *value = anas_option_given(options, s->name);
    if (value) anas_strbuf_addf(&text, "%s=%s ", s->name, value);
  }
  anas_status status = anas_mutation_configure(anas_strbuf_text(&text), out);
  anas_strbuf_deinit(&text);
  return status;
}

static void record_settings(const struct anas_mutation_options *options, struct anas_model *child) {
  struct anas_strbuf text = {0};
  anas_strbuf_adds(&text, "\"");
  anas_mutation_print(options, &text);
  anas_strbuf_adds(&text, "\"");
  anas_model_set_extra(child, "anas.mutation_settings", anas_strbuf_text(&text));
  anas_strbuf_deinit(&text);
}

static anas_status run(MlirModule module, const struct anas_pass_options *options) {
  struct anas_mutation_options mutation;
  ANAS_RETURN_IF_ERROR(read_options(options, &mutation));
  struct anas_model *parent, *child = NULL;
  ANAS_RETURN_IF_ERROR(anas_model_import(module, &parent));
  anas_status status = anas_model_infer_shapes(parent);
  struct anas_rng rng = anas_rng_make((uint64_t)anas_option_int(options, "seed"));
  struct anas_mutation_report report;
  if (status == ANAS_OK) status = anas_mutate(parent, &mutation, &rng, &child, &report);
  if (status == ANAS_OK && anas_option_bool(options, "configuration")) record_settings(&mutation, child);
  if (status == ANAS_OK) status = anas_model_write_back(child, module);
  anas_model_destroy(child);
  anas_model_destroy(parent);
  return status;
}

const struct anas_pass_def anas_pass_mutate = {
    .argument = "anas-mutate",
    .summary = "one mutation by properties: a block is duplicated, deleted, or partly replaced by a synthesised graph",
    .options = mutate_options,
    .run = run,
};
