// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// --list-ops=markdown and --list-passes=markdown: docs/dialect.md and docs/passes.md, from the op table and the pass
// table.
#include "tools/anas-opt/opt.h"

#include "dialect/attributes.h"
#include "dialect/op.h"
#include "passes/pass.h"

#include <ctype.h>
#include <string.h>

// A summary as a sentence.
static void add_sentence(const char *text, struct anas_strbuf *out) {
  if (text && *text) anas_strbuf_addf(out, "%c%s.", toupper((unsigned char)*text), text + 1);
}

// Text of a table cell: a bar would end it.
static void add_cell(const char *text, struct anas_strbuf *out) {
  for (; *text; text++)
    anas_strbuf_addf(out, "%s%c", *text == '|' ? "\\" : "", *text);
}

static void add_values(const struct anas_attr_def *def, const struct anas_attr *values, int count,
                       struct anas_strbuf *out) {
  struct anas_strbuf value = {0};
  for (int i = 0; i < count; i++) {
    anas_strbuf_clear(&value);
    anas_attr_print(def, &values[i], 0, &value);
    const char *type = strstr(anas_strbuf_text(&value), " : i64");
    if (type) value.data[type - value.data] = 0;
    anas_strbuf_adds(out, i ? ", `" : "`");
    add_cell(anas_strbuf_text(&value), out);
    anas_strbuf_adds(out, "`");
  }
  anas_strbuf_deinit(&value);
}

static void add_attribute(const struct anas_attr_def *def, struct anas_strbuf *out) {
  anas_strbuf_addf(out, "| `%s` | %s", def->name, opt_attr_kinds[def->kind]);
  if (def->kind == ANAS_ATTR_ENUM)
    for (const char *const *c = def->choices; *c; c++)
      anas_strbuf_addf(out, "%s`%s`", c == def->choices ? ": " : ", ", *c);
  anas_strbuf_adds(out, " | ");
  if (def->required)
    anas_strbuf_adds(out, "required");
  else if (def->fallback.present)
    add_values(def, &def->fallback, 1, out);
  else
    anas_strbuf_adds(out, "absent");
  anas_strbuf_adds(out, " | ");
  add_cell(def->doc ? def->doc : "", out);
  anas_strbuf_adds(out, " | ");
  add_values(def, def->test_set, def->num_test, out);
  anas_strbuf_adds(out, " | ");
  add_values(def, def->full_set, def->num_full, out);
  anas_strbuf_adds(out, " |\n");
}

static void add_facts(const struct anas_op_def *def, struct anas_strbuf *out) {
  static const char *const linearities[] = {
      [ANAS_LINEAR] = "linear", [ANAS_NONLINEAR] = "non-linear", [ANAS_NEUTRAL] = "neutral"};
  anas_strbuf_addf(out, "%d%s operand%s", def->num_operands, def->variadic ? " or more" : "",
                   def->num_operands == 1 && !def->variadic ? "" : "s");
  if (def->level == ANAS_ARCHITECTURE) {
    anas_strbuf_addf(out, "; %s for the depth property", linearities[def->linearity]);
    if (def->synthesizable) anas_strbuf_adds(out, "; in the synthesis alphabet");
    if (def->commutative) anas_strbuf_adds(out, "; operand order does not matter");
    if (def->batch_coupled) anas_strbuf_adds(out, "; couples the examples of a batch in training");
    if (def->params) anas_strbuf_adds(out, "; owns parameters");
    if (def->onnx) anas_strbuf_addf(out, "; ONNX `%s`", def->onnx);
  }
  anas_strbuf_adds(out, ".\n\n");
}

static void add_sample(const struct anas_op_def *def, struct anas_strbuf *out) {
  const struct anas_sample *sample = &def->samples[0];
  anas_strbuf_addf(out, "    \"anas.%s\"(", def->name);
  for (int i = 0; i < ANAS_MAX_OPERANDS && sample->operand[i]; i++)
    anas_strbuf_addf(out, "%s%%%d", i ? ", " : "", i);
  anas_strbuf_addf(out, ")%s%s : (", *sample->attrs ? " " : "", sample->attrs);
  for (int i = 0; i < ANAS_MAX_OPERANDS && sample->operand[i]; i++)
    anas_strbuf_addf(out, "%stensor<%s>", i ? ", " : "", sample->operand[i]);
  anas_strbuf_addf(out, ") -> tensor<%s>\n\n", sample->result);
}

static void add_op(const struct anas_op_def *def, struct anas_strbuf *out) {
  anas_strbuf_addf(out, "### anas.%s\n\n", def->name);
  add_sentence(def->summary, out);
  if (def->description) anas_strbuf_addf(out, " %s", def->description);
  anas_strbuf_adds(out, "\n\n");
  add_facts(def, out);
  if (def->num_attrs) {
    anas_strbuf_adds(out,
                     "| attribute | kind | default | meaning | searched | randomised |\n|---|---|---|---|---|---|\n");
    for (int i = 0; i < def->num_attrs; i++)
      add_attribute(&def->attrs[i], out);
    anas_strbuf_adds(out, "\n");
  }
  if (def->num_samples) add_sample(def, out);
}

void opt_markdown_ops(struct anas_strbuf *out) {
  int count, level = -1;
  const struct anas_op_def *const *table = anas_op_table(&count);
  anas_strbuf_adds(out,
                   "<!-- Generated from the op table by `make docs`; do not edit. -->\n"
                   "# The anas dialect\n\n"
                   "Tensors are channel-last: (batch, spatial..., feature). The columns *searched* and *randomised* "
                   "list the values the\nsynthesisers try and those attribute randomisation tries afterwards.\n\n");
  for (int i = 0; i < count; i++) {
    if ((int)table[i]->level != level) {
      level = (int)table[i]->level;
      anas_strbuf_adds(out, level == ANAS_TRAINING
                                ? "## Training ops\n\nThey appear after `--anas-train-step`: parameters, saved "
                                  "activations and gradients are values, everything is static.\n\n"
                                : "## Architecture ops\n\nWhat users write and the search mutates: parameters are "
                                  "implicit, attributes may be symbolic, the batch is `?`.\n\n");
    }
    add_op(table[i], out);
  }
}

void opt_markdown_passes(struct anas_strbuf *out) {
  int count;
  const struct anas_pass_def *const *table = anas_pass_table(&count);
  anas_strbuf_adds(out, "<!-- Generated from the pass table by `make docs`; do not edit. -->\n"
                        "# Passes of anas-opt\n\n"
                        "Options are given as `--PASS='name=value name=value'`, or in a pipeline as "
                        "`PASS{name=value}`. MLIR's own passes work by name.\n\n");
  for (int i = 0; i < count; i++) {
    anas_strbuf_addf(out, "## --%s\n\n", table[i]->argument);
    add_sentence(table[i]->summary, out);
    anas_strbuf_adds(out, "\n\n");
    const struct anas_pass_option *option = table[i]->options;
    if (!option || !option->name) continue;
    anas_strbuf_adds(out, "| option | kind | default | meaning |\n|---|---|---|---|\n");
    for (; option->name; option++) {
      anas_strbuf_addf(out, "| `%s` | %s | `%s` | ", option->name, opt_option_kinds[option->kind],
                       option->fallback && *option->fallback ? option->fallback : "\"\"");
      add_cell(option->doc ? option->doc : "", out);
      anas_strbuf_adds(out, " |\n");
    }
    anas_strbuf_adds(out, "\n");
  }
}
