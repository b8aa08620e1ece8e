// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Text of initialisers (initializer.h).
#include "runtime/support/initializer.h"

#include <ctype.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {"constant", "normal", "truncated_normal", "uniform", NULL};
static const char *const fans[] = {"", "fan_in", "fan_out", "fan_avg", NULL};
static const char scaling[] = "variance_scaling";

static const struct {
  const char *name;
  struct anas_init init;
} presets[] = {
    {"zeros", ANAS_ZEROS},
    {"ones", ANAS_ONES},
    {"lecun_normal", ANAS_LECUN_NORMAL},
    {"he_normal", {ANAS_INIT_TRUNCATED_NORMAL, ANAS_INIT_FAN_IN, 2}},
    {"xavier_uniform", {ANAS_INIT_UNIFORM, ANAS_INIT_FAN_AVG, 1}},
};

bool anas_init_equal(const struct anas_init *a, const struct anas_init *b) {
  return a->kind == b->kind && a->fan == b->fan && a->value == b->value;
}

static anas_status bad_init(const char *text, size_t length) {
  return anas_fail(ANAS_INVALID,
                   "unknown initialiser '%.*s'; known are zeros, ones, lecun_normal, he_normal, xavier_uniform, "
                   "constant(C), normal(DEVIATION), truncated_normal(DEVIATION), uniform(LIMIT) and "
                   "variance_scaling(SCALE, fan_in|fan_out|fan_avg, normal|truncated_normal|uniform)",
                   (int)length, text);
}

// Index of the word in a null-terminated list, -1 if it is not there.
static int find_word(const char *const *words, const char *word) {
  for (int i = 0; words[i]; i++)
    if (!strcmp(words[i], word)) return i;
  return -1;
}

// Cuts "name(a, b)" into words; spaces around them are dropped. Returns how many, 0 if it has another form.
static int split_call(char *text, char *words[4]) {
  char *open = strchr(text, '('), *end = text + strlen(text);
  int count = 1;
  words[0] = text;
  if (!open || end[-1] != ')') return 0;
  end[-1] = *open = '\0';
  for (char *at = open + 1; at; count++) {
    if (count == 4) return 0;
    char *comma = strchr(at, ',');
    if (comma) *comma = '\0';
    while (*at == ' ')
      at++;
    for (char *last = at + strlen(at); last > at && last[-1] == ' ';)
      *--last = '\0';
    words[count] = at;
    at = comma ? comma + 1 : NULL;
  }
  return count;
}

static bool read_number(const char *text, double *out) {
  char *end;
  if (!isdigit((unsigned char)text[0]) && text[0] != '-' && text[0] != '.') return false; // no inf, nan, spaces
  *out = strtod(text, &end);
  return end != text && !*end && fabs(*out) <= FLT_MAX;
}

anas_status anas_init_parse(const char *text, size_t length, struct anas_init *out) {
  char copy[96], *words[4];
  struct anas_init init = {0};
  if (length == 0 || length >= sizeof copy || memchr(text, '\0', length))
    return bad_init(text, length < 96 ? length : 95);
  memcpy(copy, text, length);
  copy[length] = '\0';
  for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
    if (!strcmp(presets[i].name, copy)) {
      *out = presets[i].init;
      return ANAS_OK;
    }
  int count = split_call(copy, words), kind = -1, fan = ANAS_INIT_ABSOLUTE;
  if (count == 2) kind = find_word(kinds, words[0]);
  if (count == 4 && !strcmp(words[0], scaling)) {
    kind = find_word(kinds, words[3]);
    fan = find_word(fans, words[2]);
    if (kind == ANAS_INIT_CONSTANT || fan == ANAS_INIT_ABSOLUTE) kind = -1;
  }
  if (kind < 0 || fan < 0 || !read_number(words[1], &init.value)) return bad_init(text, length);
  init.kind = (enum anas_init_kind)kind;
  init.fan = (enum anas_init_fan)fan;
  if (init.kind != ANAS_INIT_CONSTANT && init.value < 0)
    return anas_fail(ANAS_INVALID, "initialiser '%.*s' has a negative %s", (int)length, text,
                     fan ? "variance" : "deviation or limit");
  *out = init;
  return ANAS_OK;
}

void anas_init_text(const struct anas_init *init, char out[96]) {
  char number[32];
  for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
    if (anas_init_equal(&presets[i].init, init)) {
      snprintf(out, 96, "%s", presets[i].name);
      return;
    }
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(number, sizeof number, "%.*g", digits, init->value);
    if (strtod(number, NULL) == init->value) break;
  }
  if (init->fan == ANAS_INIT_ABSOLUTE)
    snprintf(out, 96, "%s(%s)", kinds[init->kind], number);
  else
    snprintf(out, 96, "%s(%s, %s, %s)", scaling, number, fans[init->fan], kinds[init->kind]);
}
