// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// --list-ops and --list-passes: the op table and the pass table for people and, as JSON, for programs.
#include "tools/anas-opt/opt.h"

#include "dialect/attributes.h"
#include "passes/pass.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

const char *const opt_attr_kinds[] = {
    [ANAS_ATTR_INT] = "int",   [ANAS_ATTR_FLOAT] = "float",  [ANAS_ATTR_BOOL] = "bool",
    [ANAS_ATTR_INTS] = "ints", [ANAS_ATTR_ENUM] = "enum",    [ANAS_ATTR_DIM] = "dimension",
    [ANAS_ATTR_TEXT] = "text", [ANAS_ATTR_DIMS] = "extents", [ANAS_ATTR_INIT] = "initialiser",
};
static const char *const linearities[] = {
    [ANAS_LINEAR] = "linear", [ANAS_NONLINEAR] = "nonlinear", [ANAS_NEUTRAL] = "neutral"};
const char *const opt_option_kinds[] = {[ANAS_OPTION_INT] = "int",
                                        [ANAS_OPTION_FLOAT] = "float",
                                        [ANAS_OPTION_BOOL] = "bool",
                                        [ANAS_OPTION_STRING] = "string"};

static json_t *attr_value(const struct anas_attr_def *def, const struct anas_attr *attr) {
  if (!attr->present) return json_null();
  switch (def->kind) {
  case ANAS_ATTR_INT: return json_integer(attr->value.i);
  case ANAS_ATTR_FLOAT: return json_real(attr->value.f);
  case ANAS_ATTR_BOOL: return json_boolean(attr->value.b);
  case ANAS_ATTR_ENUM: return json_string(def->choices[attr->value.i]);
  case ANAS_ATTR_TEXT: return json_string(attr->value.text);
  case ANAS_ATTR_INTS: {
    json_t *list = json_array();
    for (int i = 0; i < attr->value.ints.count; i++)
      json_array_append_new(list, json_integer(attr->value.ints.value[i]));
    return list;
  }
  case ANAS_ATTR_INIT: {
    char text[96];
    anas_init_text(&attr->value.init, text);
    return json_string(text);
  }
  case ANAS_ATTR_DIMS: {
    struct anas_strbuf text = {0};
    anas_attr_print(def, attr, 0, &text);
    json_t *value = json_string(anas_strbuf_text(&text));
    anas_strbuf_deinit(&text);
    return value;
  }
  case ANAS_ATTR_DIM:
    if (!attr->value.dim.relative) return json_integer(attr->value.dim.constant);
    return json_pack("{s:i, s:i, s:I, s:I}", "operand", attr->value.dim.operand, "axis", attr->value.dim.axis, "div",
                     (json_int_t)attr->value.dim.div, "mul", (json_int_t)attr->value.dim.mul);
  }
  return json_null();
}

static json_t *attr_values(const struct anas_attr_def *def, const struct anas_attr *attrs, int count) {
  json_t *list = json_array();
  for (int i = 0; i < count; i++)
    json_array_append_new(list, attr_value(def, &attrs[i]));
  return list;
}

static json_t *op_json(const struct anas_op_def *def) {
  json_t *attrs = json_array();
  for (int i = 0; i < def->num_attrs; i++) {
    const struct anas_attr_def *a = &def->attrs[i];
    json_t *attr = json_pack("{s:s, s:s, s:b, s:o, s:s}", "name", a->name, "kind", opt_attr_kinds[a->kind], "required",
                             a->required, "default", attr_value(a, &a->fallback), "doc", a->doc ? a->doc : "");
    if (a->kind == ANAS_ATTR_ENUM) {
      json_t *choices = json_array();
      for (const char *const *c = a->choices; *c; c++)
        json_array_append_new(choices, json_string(*c));
      json_object_set_new(attr, "choices", choices);
    }
    if (a->num_test) json_object_set_new(attr, "test_set", attr_values(a, a->test_set, a->num_test));
    if (a->num_full) json_object_set_new(attr, "full_set", attr_values(a, a->full_set, a->num_full));
    json_array_append_new(attrs, attr);
  }
  json_t *samples = json_array();
  for (int i = 0; i < def->num_samples; i++) {
    json_t *operands = json_array();
    for (int k = 0; k < ANAS_MAX_OPERANDS && def->samples[i].operand[k]; k++)
      json_array_append_new(operands, json_string(def->samples[i].operand[k]));
    json_array_append_new(samples, json_pack("{s:o, s:s, s:s}", "operands", operands, "attributes",
                                             def->samples[i].attrs, "result", def->samples[i].result));
  }
  return json_pack("{s:s, s:s, s:s, s:s, s:i, s:b, s:i, s:s, s:b, s:b, s:b, s:s*, s:o, s:o}", "name", def->name,
                   "level", def->level == ANAS_TRAINING ? "training" : "architecture", "summary",
                   def->summary ? def->summary : "", "description", def->description ? def->description : "",
                   "operands", def->num_operands, "variadic", def->variadic, "results",
                   def->num_results ? def->num_results : 1, "linearity", linearities[def->linearity], "commutative",
                   def->commutative, "synthesizable", def->synthesizable, "batch_coupled", def->batch_coupled, "onnx",
                   def->onnx, "attributes", attrs, "samples", samples);
}

static void add_json(json_t *value /* consumed */, struct anas_strbuf *out) {
  char *text = json_dumps(value, JSON_INDENT(2));
  if (text) anas_strbuf_addf(out, "%s\n", text);
  free(text);
  json_decref(value);
}

static void add_attr_line(const struct anas_attr_def *a, struct anas_strbuf *out) {
  anas_strbuf_addf(out, "      %-16s %s", a->name, opt_attr_kinds[a->kind]);
  if (a->required) {
    anas_strbuf_adds(out, ", required");
  } else if (a->fallback.present) {
    json_t *value = attr_value(a, &a->fallback);
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    anas_strbuf_addf(out, ", default %s", text ? text : "?");
    free(text);
    json_decref(value);
  }
  if (a->kind == ANAS_ATTR_ENUM)
    for (const char *const *c = a->choices; *c; c++)
      anas_strbuf_addf(out, "%s%s", c == a->choices ? ", one of " : "|", *c);
  anas_strbuf_addf(out, "%s%s\n", a->doc && *a->doc ? ": " : "", a->doc ? a->doc : "");
}

void opt_list_ops(bool json, struct anas_strbuf *out) {
  int count;
  const struct anas_op_def *const *table = anas_op_table(&count);
  if (json) {
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
      json_array_append_new(list, op_json(table[i]));
    add_json(json_pack("{s:i, s:s, s:o}", "format", 1, "anas", ANAS_VERSION, "ops", list), out);
    return;
  }
  int level = -1;
  for (int i = 0; i < count; i++) {
    const struct anas_op_def *def = table[i];
    if ((int)def->level != level) {
      level = (int)def->level;
      anas_strbuf_adds(out,
                       level == ANAS_TRAINING ? "\nTraining ops (after --anas-train-step):\n" : "Architecture ops:\n");
    }
    anas_strbuf_addf(out, "  anas.%-22s %s\n", def->name, def->summary ? def->summary : "");
    for (int k = 0; k < def->num_attrs; k++)
      add_attr_line(&def->attrs[k], out);
  }
}

void opt_list_passes(bool json, struct anas_strbuf *out) {
  int count;
  const struct anas_pass_def *const *table = anas_pass_table(&count);
  json_t *list = json_array();
  for (int i = 0; i < count; i++) {
    if (!json) anas_strbuf_addf(out, "  --%-26s %s\n", table[i]->argument, table[i]->summary);
    json_t *options = json_array();
    for (const struct anas_pass_option *o = table[i]->options; o && o->name; o++) {
      const char *fallback = o->fallback ? o->fallback : "";
      if (!json)
        anas_strbuf_addf(out, "      %s=<%s>  %s (default %s)\n", o->name, opt_option_kinds[o->kind],
                         o->doc ? o->doc : "", *fallback ? fallback : "\"\"");
      json_array_append_new(options,
                            json_pack("{s:s, s:s, s:s, s:s}", "name", o->name, "kind", opt_option_kinds[o->kind],
                                      "default", fallback, "doc", o->doc ? o->doc : ""));
    }
    json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "argument", table[i]->argument, "summary",
                                          table[i]->summary, "options", options));
  }
  if (json)
    add_json(json_pack("{s:i, s:s, s:o}", "format", 1, "anas", ANAS_VERSION, "passes", list), out);
  else
    json_decref(list);
}
