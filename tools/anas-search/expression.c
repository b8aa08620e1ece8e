// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Conditions on metrics: a recursive-descent parser that writes postfix code, and its interpreter.
#include "tools/anas-search/expression.h"

#include "runtime/support/memory.h"
#include "runtime/support/nearest.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 64 // of parentheses and signs

enum code {
  NUMBER,
  METRIC,
  SEED_METRIC,
  NEGATE,
  ADD,
  SUBTRACT,
  MULTIPLY,
  DIVIDE,
  LESS,
  LESS_EQUAL,
  GREATER,
  GREATER_EQUAL,
  EQUAL,
  NOT_EQUAL,
  NOT,
  AND,
  OR,
};

struct instruction {
  enum code code;
  double number;
  enum study_metric metric;
};

struct expression {
  char *text;
  struct instruction *code;
  size_t size, capacity;
};

enum type { VALUE, CONDITION };

struct parser {
  const char *what, *text, *at;
  struct expression *out;
  int depth;
  bool trained; // metrics after training exist
};

// The text with a mark under the column of 'where'.
static anas_status error_at(const struct parser *p, const char *where, const char *message) {
  int column = (int)(where - p->text);
  return anas_fail(ANAS_INVALID, "%s: column %d: %s\n  %s\n  %*s^", p->what, column + 1, message, p->text, column, "");
}

static void emit(struct parser *p, struct instruction instruction) {
  struct expression *e = p->out;
  e->code = anas_grow(e->code, e->size, &e->capacity, sizeof *e->code);
  e->code[e->size++] = instruction;
}

static void skip_blanks(struct parser *p) {
  while (isspace((unsigned char)*p->at))
    p->at++;
}

static bool is_name(char c) {
  return isalnum((unsigned char)c) || c == '_';
}

// Takes a symbol or word if it comes next; a word must end there.
static bool take(struct parser *p, const char *symbol) {
  skip_blanks(p);
  size_t size = strlen(symbol);
  if (strncmp(p->at, symbol, size) || (is_name(symbol[0]) && is_name(p->at[size]))) return false;
  p->at += size;
  return true;
}

static anas_status want(const struct parser *p, const char *where, enum type type, enum type wanted) {
  if (type == wanted) return ANAS_OK;
  return error_at(p, where,
                  wanted == VALUE ? "a number or a metric is needed here, this is a condition"
                                  : "a condition is needed here, as in 'params < 1e6'");
}

// ---- primaries

static anas_status parse_number(struct parser *p) {
  static const struct {
    const char *name;
    double factor;
  } units[] = {{"KiB", 1024.0}, {"MiB", 1048576.0}, {"GiB", 1073741824.0}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1}};
  const char *start = p->at;
  char *end;
  double value = strtod(start, &end);
  if (end == start) return error_at(p, start, "expected a number");
  if (!isfinite(value)) return error_at(p, start, "this number is too large");
  p->at = end;
  size_t size = 0;
  while (is_name(end[size]))
    size++;
  size_t i = 0;
  while (size && i < sizeof units / sizeof *units &&
         (strlen(units[i].name) != size || strncmp(units[i].name, end, size)))
    i++;
  if (i == sizeof units / sizeof *units)
    return error_at(p, end, "unknown unit; write KiB, MiB, GiB, us, ms, s or no unit");
  p->at += size;
  emit(p, (struct instruction){.code = NUMBER, .number = size ? value * units[i].factor : value});
  return ANAS_OK;
}

static anas_status parse_metric(struct parser *p) {
  bool seed = !strncmp(p->at, "seed.", 5);
  const char *start = seed ? p->at + 5 : p->at;
  size_t size = 0;
  while (is_name(start[size]))
    size++;
  struct anas_nearest nearest = anas_nearest_make(start, size);
  for (int m = 0; m < METRIC_NUM; m++) {
    const char *name = study_metrics[m].name;
    anas_nearest_offer(&nearest, name);
    if (strlen(name) != size || strncmp(name, start, size)) continue;
    if (study_metrics[m].known == METRIC_AFTER_TRAINING && !p->trained) {
      char *message = anas_format("%s is only known after training; make it an --objective", name);
      anas_status status = error_at(p, start, message);
      free(message);
      return status;
    }
    p->at = start + size;
    emit(p, (struct instruction){.code = seed ? SEED_METRIC : METRIC, .metric = (enum study_metric)m});
    return ANAS_OK;
  }
  char hint[128];
  char *message = anas_format("there is no metric '%.*s'%s", (int)size, start,
                              nearest.best ? anas_nearest_hint(&nearest, hint) : "");
  anas_status status = error_at(p, start, message);
  free(message);
  return status;
}

static anas_status parse_or(struct parser *p, enum type *out);

static anas_status parse_primary(struct parser *p, enum type *out) {
  skip_blanks(p);
  const char *start = p->at;
  *out = VALUE;
  if (take(p, "(")) {
    ANAS_RETURN_IF_ERROR(parse_or(p, out));
    return take(p, ")") ? ANAS_OK : error_at(p, p->at, "expected ')'");
  }
  if (isdigit((unsigned char)*start) || *start == '.') return parse_number(p);
  if (is_name(*start)) return parse_metric(p);
  return error_at(p, start, "expected a number, a metric or '('");
}

// ---- operators, from the ones that bind most

static anas_status parse_sign(struct parser *p, enum type *out) {
  skip_blanks(p);
  if (++p->depth > MAX_DEPTH) return error_at(p, p->at, "this is nested too deeply");
  bool negative = take(p, "-");
  const char *start = p->at;
  anas_status status = negative ? parse_sign(p, out) : parse_primary(p, out);
  if (status == ANAS_OK && negative) {
    status = want(p, start, *out, VALUE);
    emit(p, (struct instruction){.code = NEGATE});
  }
  p->depth--;
  return status;
}

struct binary {
  const char *symbol;
  enum code code;
};
typedef anas_status (*parse_function)(struct parser *p, enum type *out);

// operand {symbol operand}: of one type, and so is the result. The list ends with a null symbol.
static anas_status parse_chain(struct parser *p, const struct binary *operators, parse_function operand, enum type type,
                               enum type *out) {
  skip_blanks(p);
  const char *start = p->at;
  ANAS_RETURN_IF_ERROR(operand(p, out));
  for (;;) {
    const struct binary *found = operators;
    while (found->symbol && !take(p, found->symbol))
      found++;
    if (!found->symbol) return ANAS_OK;
    ANAS_RETURN_IF_ERROR(want(p, start, *out, type));
    skip_blanks(p);
    start = p->at;
    ANAS_RETURN_IF_ERROR(operand(p, out));
    ANAS_RETURN_IF_ERROR(want(p, start, *out, type));
    emit(p, (struct instruction){.code = found->code});
  }
}

static anas_status parse_product(struct parser *p, enum type *out) {
  static const struct binary operators[] = {{"*", MULTIPLY}, {"/", DIVIDE}, {0}};
  return parse_chain(p, operators, parse_sign, VALUE, out);
}

static anas_status parse_sum(struct parser *p, enum type *out) {
  static const struct binary operators[] = {{"+", ADD}, {"-", SUBTRACT}, {0}};
  return parse_chain(p, operators, parse_product, VALUE, out);
}

static anas_status parse_comparison(struct parser *p, enum type *out) {
  static const struct binary operators[] = {{"<=", LESS_EQUAL}, {">=", GREATER_EQUAL}, {"==", EQUAL},
                                            {"!=", NOT_EQUAL},  {"<", LESS},           {">", GREATER}};
  skip_blanks(p);
  const char *start = p->at;
  ANAS_RETURN_IF_ERROR(parse_sum(p, out));
  for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
    if (!take(p, operators[i].symbol)) continue;
    ANAS_RETURN_IF_ERROR(want(p, start, *out, VALUE));
    skip_blanks(p);
    start = p->at;
    ANAS_RETURN_IF_ERROR(parse_sum(p, out));
    ANAS_RETURN_IF_ERROR(want(p, start, *out, VALUE));
    emit(p, (struct instruction){.code = operators[i].code});
    *out = CONDITION;
    break;
  }
  return ANAS_OK;
}

static anas_status parse_not(struct parser *p, enum type *out) {
  bool negated = false;
  while (take(p, "not"))
    negated = !negated;
  skip_blanks(p);
  const char *start = p->at;
  ANAS_RETURN_IF_ERROR(parse_comparison(p, out));
  if (!negated) return ANAS_OK;
  ANAS_RETURN_IF_ERROR(want(p, start, *out, CONDITION));
  emit(p, (struct instruction){.code = NOT});
  return ANAS_OK;
}

static anas_status parse_and(struct parser *p, enum type *out) {
  static const struct binary operators[] = {{"and", AND}, {0}};
  return parse_chain(p, operators, parse_not, CONDITION, out);
}

static anas_status parse_or(struct parser *p, enum type *out) {
  static const struct binary operators[] = {{"or", OR}, {0}};
  return parse_chain(p, operators, parse_and, CONDITION, out);
}

static anas_status parse(const char *what, const char *text, bool trained, struct expression **out) {
  struct expression *expression = anas_alloc(sizeof *expression);
  *expression = (struct expression){.text = anas_strdup(text)};
  struct parser p = {
      .what = what, .text = expression->text, .at = expression->text, .out = expression, .trained = trained};
  enum type type;
  anas_status status = parse_or(&p, &type);
  skip_blanks(&p);
  if (status == ANAS_OK && *p.at) status = error_at(&p, p.at, "expected an operator: + - * / < <= > >= == != and or");
  if (status == ANAS_OK) status = want(&p, p.text, type, CONDITION);
  if (status == ANAS_OK)
    *out = expression;
  else
    expression_destroy(expression);
  return status;
}

anas_status expression_parse(const char *what, const char *text, struct expression **out) {
  return parse(what, text, false, out);
}

anas_status expression_parse_trained(const char *what, const char *text, struct expression **out) {
  return parse(what, text, true, out);
}

void expression_destroy(struct expression *expression) {
  if (!expression) return;
  free(expression->text);
  free(expression->code);
  free(expression);
}

const char *expression_text(const struct expression *expression) {
  return expression->text;
}

// ---- use

bool expression_uses(const struct expression *expression, enum study_metric metric, bool seed) {
  for (size_t i = 0; i < expression->size; i++)
    if (expression->code[i].code == (seed ? SEED_METRIC : METRIC) && expression->code[i].metric == metric) return true;
  return false;
}

static double combine(enum code code, double a, double b) {
  switch (code) {
  case ADD: return a + b;
  case SUBTRACT: return a - b;
  case MULTIPLY: return a * b;
  case DIVIDE: return a / b;
  case LESS: return a < b;
  case LESS_EQUAL: return a <= b;
  case GREATER: return a > b;
  case GREATER_EQUAL: return a >= b;
  case EQUAL: return a == b;
  case NOT_EQUAL: return a < b || a > b;
  case AND: return a != 0 && b != 0;
  case OR: return a != 0 || b != 0;
  default: return NAN;
  }
}

bool expression_holds(const struct expression *expression, const double *trial, const double *seed) {
  double *stack = anas_calloc(expression->size, sizeof *stack); // an instruction pushes one value at most
  size_t top = 0;
  for (size_t i = 0; i < expression->size; i++) {
    const struct instruction *in = &expression->code[i];
    switch (in->code) {
    case NUMBER: stack[top++] = in->number; break;
    case METRIC: stack[top++] = trial[in->metric]; break;
    case SEED_METRIC: stack[top++] = seed[in->metric]; break;
    case NEGATE: stack[top - 1] = -stack[top - 1]; break;
    case NOT: stack[top - 1] = stack[top - 1] == 0; break;
    default: top--; stack[top - 1] = combine(in->code, stack[top - 1], stack[top]);
    }
  }
  bool holds = stack[0] != 0;
  free(stack);
  return holds;
}

void expression_explain(const struct expression *expression, const double *trial, const double *seed,
                        struct anas_strbuf *out) {
  bool first = true;
  for (int from_seed = 0; from_seed < 2; from_seed++)
    for (int m = 0; m < METRIC_NUM; m++) {
      if (!expression_uses(expression, (enum study_metric)m, from_seed)) continue;
      anas_strbuf_addf(out, "%s%s%s = %.10g", first ? "" : ", ", from_seed ? "seed." : "", study_metrics[m].name,
                       (from_seed ? seed : trial)[m]);
      first = false;
    }
}
