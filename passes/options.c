// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Pass options: "name=value name=value" checked against the table of the pass.
#include "passes/options.h"

#include "runtime/support/memory.h"
#include "runtime/support/nearest.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct value {
  char *text; // null: the default of the definition
  int64_t i;
  double f;
  bool b;
};

struct anas_pass_options {
  const struct anas_pass_def *def;
  int count;
  struct value *values; // by index of def->options
};

static int count_options(const struct anas_pass_def *def) {
  int count = 0;
  while (def->options && def->options[count].name)
    count++;
  return count;
}

static const char *const kind_names[] = {
    [ANAS_OPTION_INT] = "an integer",
    [ANAS_OPTION_FLOAT] = "a number",
    [ANAS_OPTION_BOOL] = "true or false",
    [ANAS_OPTION_STRING] = "a string",
};

static bool convert(enum anas_option_kind kind, const char *text, struct value *value) {
  char *end = NULL;
  errno = 0;
  switch (kind) {
  case ANAS_OPTION_INT: value->i = strtoll(text, &end, 0); return end != text && !*end && !errno;
  case ANAS_OPTION_FLOAT: value->f = strtod(text, &end); return end != text && !*end && isfinite(value->f);
  case ANAS_OPTION_BOOL:
    value->b = !strcmp(text, "true") || !strcmp(text, "1");
    return value->b || !strcmp(text, "false") || !strcmp(text, "0");
  case ANAS_OPTION_STRING: return true;
  }
  return false;
}

// One "name" or "name=value" at *at; *at moves behind it. Null value text means the name stood alone (a true flag).
struct assignment {
  const char *name;
  size_t name_size;
  const char *value;
  size_t value_size;
};

static anas_status next_assignment(const char *text, size_t size, size_t *at, struct assignment *out) {
  size_t i = *at;
  *out = (struct assignment){.name = text + i};
  while (i < size && !isspace((unsigned char)text[i]) && text[i] != '=')
    i++;
  out->name_size = i - *at;
  if (i < size && text[i] == '=') {
    i++;
    char quote = i < size && (text[i] == '"' || text[i] == '\'') ? text[i] : 0;
    if (quote) {
      size_t start = ++i;
      while (i < size && text[i] != quote)
        i++;
      if (i == size)
        return anas_fail(ANAS_INVALID, "value of option '%.*s' has no closing quote", (int)out->name_size, out->name);
      out->value = text + start;
      out->value_size = i++ - start;
    } else {
      size_t start = i;
      int depth = 0;
      for (; i < size && (depth > 0 || !isspace((unsigned char)text[i])); i++) {
        if (strchr("({[", text[i])) depth++;
        if (strchr(")}]", text[i])) depth--;
      }
      if (depth > 0)
        return anas_fail(ANAS_INVALID, "value of option '%.*s' has an unclosed bracket", (int)out->name_size,
                         out->name);
      out->value = text + start;
      out->value_size = i - start;
    }
  }
  *at = i;
  return ANAS_OK;
}

static anas_status unknown_option(const struct anas_pass_def *def, const struct assignment *given) {
  if (!def->options)
    return anas_fail(ANAS_INVALID, "pass '%s' has no options, but was given '%.*s'", def->argument,
                     (int)given->name_size, given->name);
  struct anas_nearest nearest = anas_nearest_make(given->name, given->name_size);
  struct anas_strbuf known = {0};
  for (const struct anas_pass_option *o = def->options; o->name; o++) {
    anas_nearest_offer(&nearest, o->name);
    anas_strbuf_addf(&known, "%s%s", known.size ? ", " : "", o->name);
  }
  char hint[128];
  anas_fail(ANAS_INVALID, "pass '%s' has no option '%.*s'%s (its options: %s)", def->argument, (int)given->name_size,
            given->name, anas_nearest_hint(&nearest, hint), anas_strbuf_text(&known));
  anas_strbuf_deinit(&known);
  return ANAS_INVALID;
}

static int find_option(const struct anas_pass_options *options, const char *name, size_t size) {
  for (int i = 0; i < options->count; i++)
    if (strlen(options->def->options[i].name) == size && !memcmp(options->def->options[i].name, name, size)) return i;
  return -1;
}

// defaults: lenient about unknown names, and given values win.
static anas_status apply(struct anas_pass_options *options, const char *text, size_t size, bool defaults) {
  for (size_t at = 0;;) {
    while (at < size && isspace((unsigned char)text[at]))
      at++;
    if (at == size) return ANAS_OK;
    struct assignment given;
    ANAS_RETURN_IF_ERROR(next_assignment(text, size, &at, &given));
    int index = find_option(options, given.name, given.name_size);
    if (index < 0 && defaults) continue;
    if (index < 0) return unknown_option(options->def, &given);
    struct value *value = &options->values[index];
    if (defaults && value->text) continue;
    const struct anas_pass_option *option = &options->def->options[index];
    if (!given.value && option->kind != ANAS_OPTION_BOOL)
      return anas_fail(ANAS_INVALID, "option '%s' of pass '%s' needs a value: %s=<%s>", option->name,
                       options->def->argument, option->name, kind_names[option->kind]);
    free(value->text);
    value->text = given.value ? anas_format("%.*s", (int)given.value_size, given.value) : anas_strdup("true");
    if (!convert(option->kind, value->text, value))
      return anas_fail(ANAS_INVALID, "option '%s' of pass '%s' must be %s, got '%s'", option->name,
                       options->def->argument, kind_names[option->kind], value->text);
  }
}

anas_status anas_pass_options_parse(const struct anas_pass_def *def, const char *text, size_t size,
                                    const char *defaults, struct anas_pass_options **out) {
  struct anas_pass_options *options = anas_alloc(sizeof *options);
  options->def = def;
  options->count = count_options(def);
  options->values = anas_calloc((size_t)options->count, sizeof *options->values);
  for (int i = 0; i < options->count; i++) {
    const char *fallback = def->options[i].fallback ? def->options[i].fallback : "";
    bool valid = convert(def->options[i].kind, fallback, &options->values[i]);
    assert(valid && "the default of a pass option does not parse");
    (void)valid;
  }
  anas_status status = apply(options, text, size, false);
  if (status == ANAS_OK && defaults) status = apply(options, defaults, strlen(defaults), true);
  if (status != ANAS_OK) {
    anas_pass_options_destroy(options);
    return status;
  }
  *out = options;
  return ANAS_OK;
}

struct anas_pass_options *anas_pass_options_clone(const struct anas_pass_options *options) {
  struct anas_pass_options *copy = anas_alloc(sizeof *copy);
  *copy = *options;
  copy->values = anas_calloc((size_t)copy->count, sizeof *copy->values);
  for (int i = 0; i < copy->count; i++) {
    copy->values[i] = options->values[i];
    if (copy->values[i].text) copy->values[i].text = anas_strdup(copy->values[i].text);
  }
  return copy;
}

void anas_pass_options_destroy(struct anas_pass_options *options) {
  if (!options) return;
  for (int i = 0; i < options->count; i++)
    free(options->values[i].text);
  free(options->values);
  free(options);
}

void anas_pass_options_print(const struct anas_pass_options *options, struct anas_strbuf *out) {
  anas_strbuf_adds(out, options->def->argument);
  bool open = false;
  for (int i = 0; i < options->count; i++) {
    const char *text = options->values[i].text;
    if (!text) continue;
    bool quote = !*text;
    for (const char *c = text; *c; c++)
      quote |= isspace((unsigned char)*c) || *c == '}' || *c == '{';
    anas_strbuf_addf(out, quote ? "%s%s=\"%s\"" : "%s%s=%s", open ? " " : "{", options->def->options[i].name, text);
    open = true;
  }
  if (open) anas_strbuf_adds(out, "}");
}

static const struct value *lookup(const struct anas_pass_options *options, const char *name,
                                  enum anas_option_kind kind) {
  int index = find_option(options, name, strlen(name));
  assert(index >= 0 && "a pass reads an option that its table does not declare");
  assert(options->def->options[index].kind == kind && "a pass reads an option as another kind than declared");
  (void)kind;
  return &options->values[index];
}

int64_t anas_option_int(const struct anas_pass_options *options, const char *name) {
  return lookup(options, name, ANAS_OPTION_INT)->i;
}

double anas_option_float(const struct anas_pass_options *options, const char *name) {
  return lookup(options, name, ANAS_OPTION_FLOAT)->f;
}

bool anas_option_bool(const struct anas_pass_options *options, const char *name) {
  return lookup(options, name, ANAS_OPTION_BOOL)->b;
}

const char *anas_option_string(const struct anas_pass_options *options, const char *name) {
  const struct value *value = lookup(options, name, ANAS_OPTION_STRING);
  if (value->text) return value->text;
  int index = find_option(options, name, strlen(name));
  return options->def->options[index].fallback ? options->def->options[index].fallback : "";
}

const char *anas_option_given(const struct anas_pass_options *options, const char *name) {
  int index = find_option(options, name, strlen(name));
  assert(index >= 0 && "a pass reads an option that its table does not declare");
  return options->values[index].text;
}
