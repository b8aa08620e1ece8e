// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading contraction equations (equation.h): the text into three terms, then terms and types into labels.
#include "dialect/equation.h"

#include "dialect/op_support.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_MACS (INT64_C(1) << 60) // twice that many operations fit in 64 bits

struct term {
  int num, ellipsis; // labels; the ellipsis stands before label number 'ellipsis', -1: there is none
  char name[ANAS_MAX_RANK];
  int at[ANAS_MAX_RANK], ellipsis_at; // characters of the text, from 1
};

struct binding {
  const struct anas_op *op;
  const char *text;
  const struct anas_shape *type[3]; // the result's may be null
  struct term term[3];
  struct anas_equation equation;
  // The ellipsis: extents after broadcasting, and their labels.
  int num_spread, covered[2]; // dimensions it stands for, in all and in each operand
  int spread[ANAS_MAX_RANK];
};

static const char *const term_names[] = {"operand 0", "operand 1", "the result"};

__attribute__((format(printf, 2, 3))) static anas_status reject(const struct binding *b, const char *format, ...) {
  char message[320];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  return anas_fail(ANAS_INVALID, "equation \"%s\" of 'anas.%s': %s", b->text, b->op->def->name, message);
}

// ---- text to terms

static anas_status add_label(struct binding *b, int t, int at) {
  struct term *term = &b->term[t];
  char name = b->text[at - 1];
  for (int i = 0; i < term->num; i++)
    if (term->name[i] == name)
      return reject(b, "label '%c' at character %d occurs in %s before, at character %d; %s", name, at, term_names[t],
                    term->at[i], t < ANAS_EQUATION_RESULT ? "diagonals are not supported" : "labels differ");
  if (term->num == ANAS_MAX_RANK)
    return reject(b, "label '%c' at character %d is one too many; tensors have at most %d dimensions", name, at,
                  ANAS_MAX_RANK);
  term->name[term->num] = name;
  term->at[term->num++] = at;
  return ANAS_OK;
}

static anas_status read_terms(struct binding *b) {
  int t = 0;
  for (int i = 0; i < 3; i++)
    b->term[i].ellipsis = -1;
  for (const char *c = b->text; *c; c++) {
    int at = (int)(c - b->text) + 1;
    struct term *term = &b->term[t];
    if (*c == ' ') continue;
    if (isalpha((unsigned char)*c)) {
      ANAS_RETURN_IF_ERROR(add_label(b, t, at));
    } else if (!strncmp(c, "...", 3)) {
      if (term->ellipsis >= 0)
        return reject(b, "a second '...' in %s, at character %d; the first is at character %d", term_names[t], at,
                      term->ellipsis_at);
      term->ellipsis = term->num;
      term->ellipsis_at = at;
      c += 2;
    } else if (*c == ',') {
      if (t)
        return reject(b, "',' at character %d begins a %s; there are two operands, then '->' and the result", at,
                      t == 1 ? "third operand" : "second result");
      t = 1;
    } else if (!strncmp(c, "->", 2)) {
      if (t != 1)
        return reject(b,
                      t ? "a second '->' at character %d"
                        : "'->' at character %d follows one operand; there are two, with ',' between them",
                      at);
      t = ANAS_EQUATION_RESULT;
      c++;
    } else {
      return reject(b, "unexpected '%c' at character %d; labels are letters, and '...' stands for any dimensions", *c,
                    at);
    }
  }
  if (t != ANAS_EQUATION_RESULT) return reject(b, "there is no '->' with the labels of the result behind it");
  return ANAS_OK;
}

// ---- terms and types to labels

static int new_label(struct anas_equation *equation, char name, int64_t extent) {
  equation->name[equation->num_labels] = name;
  equation->extent[equation->num_labels] = extent;
  return equation->num_labels++;
}

// A letter that neither the text nor a label uses. There are 52 of them and at most 24 labels.
static char free_letter(const struct binding *b) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  const struct anas_equation *equation = &b->equation;
  for (const char *c = letters; *c; c++)
    if (!strchr(b->text, *c) && !memchr(equation->name, *c, (size_t)equation->num_labels)) return *c;
  return '?';
}

static int label_named(const struct anas_equation *equation, char name) {
  const char *at = memchr(equation->name, name, (size_t)equation->num_labels);
  return at ? (int)(at - equation->name) : -1;
}

static const char *extent_text(int64_t extent, char out[24]) {
  snprintf(out, 24, "%lld", (long long)extent);
  return extent == ANAS_DYNAMIC ? "?" : out;
}

static anas_status check_rank(const struct binding *b, int t) {
  const struct term *term = &b->term[t];
  int rank = b->type[t]->rank;
  char text[128];
  if (term->ellipsis >= 0 ? rank >= term->num : rank == term->num) return ANAS_OK;
  return reject(b, "%s has %s%d label%s but is tensor<%s> of rank %d", term_names[t],
                term->ellipsis >= 0 ? "'...' and " : "", term->num, term->num == 1 ? "" : "s",
                anas_shape_text(b->type[t], text), rank);
}

// Dimension of label i of an operand: those of the ellipsis come in between.
static int dimension_of(const struct binding *b, int t, int i) {
  const struct term *term = &b->term[t];
  return term->ellipsis >= 0 && i >= term->ellipsis ? i + b->type[t]->rank - term->num : i;
}

// Where a label of an operand stands and how large it is there, for messages.
static anas_status extents_differ(const struct binding *b, int t, int i, int64_t known) {
  char name = b->term[t].name[i], first[24], second[24];
  int other = 0, position = 0;
  for (int u = 0; u < t; u++)
    for (int k = 0; k < b->term[u].num; k++)
      if (b->term[u].name[k] == name) {
        other = u;
        position = k;
      }
  return reject(b, "label '%c' is %s in %s (character %d) and %s in %s (character %d)", name, extent_text(known, first),
                term_names[other], b->term[other].at[position],
                extent_text(b->type[t]->dim[dimension_of(b, t, i)], second), term_names[t], b->term[t].at[i]);
}

static anas_status bind_named(struct binding *b, int t) {
  const struct term *term = &b->term[t];
  struct anas_equation *equation = &b->equation;
  for (int i = 0; i < term->num; i++) {
    int label = label_named(equation, term->name[i]), dimension = dimension_of(b, t, i);
    int64_t extent = b->type[t]->dim[dimension];
    if (label < 0)
      label = new_label(equation, term->name[i], extent);
    else if (equation->extent[label] != extent)
      return extents_differ(b, t, i, equation->extent[label]);
    equation->label[t][dimension] = label;
  }
  return ANAS_OK;
}

static anas_status bind_ellipses(struct binding *b) {
  struct anas_equation *equation = &b->equation;
  char a[128], c[128];
  for (int t = 0; t < 2; t++) {
    int covered = b->term[t].ellipsis >= 0 ? b->type[t]->rank - b->term[t].num : 0;
    b->covered[t] = covered;
    if (covered > b->num_spread) b->num_spread = covered;
  }
  for (int e = 0; e < b->num_spread; e++) {
    int64_t extent[2] = {1, 1}, whole;
    int dimension[2] = {-1, -1};
    for (int t = 0; t < 2; t++) {
      int nth = e - (b->num_spread - b->covered[t]);
      if (nth < 0) continue;
      dimension[t] = b->term[t].ellipsis + nth;
      extent[t] = b->type[t]->dim[dimension[t]];
    }
    if (extent[0] != extent[1] && extent[0] != 1 && extent[1] != 1)
      return reject(b,
                    "the dimensions of '...' do not broadcast: dimension %d of tensor<%s> and dimension %d of "
                    "tensor<%s>",
                    dimension[0], anas_shape_text(b->type[0], a), dimension[1], anas_shape_text(b->type[1], c));
    whole = extent[0] == 1 ? extent[1] : extent[0];
    b->spread[e] = new_label(equation, free_letter(b), whole);
    for (int t = 0; t < 2; t++)
      if (dimension[t] >= 0)
        equation->label[t][dimension[t]] =
            extent[t] == whole ? b->spread[e] : new_label(equation, free_letter(b), extent[t]);
  }
  return ANAS_OK;
}

static anas_status bind_result(struct binding *b) {
  const struct term *term = &b->term[ANAS_EQUATION_RESULT];
  struct anas_equation *equation = &b->equation;
  const struct anas_shape *type = b->type[ANAS_EQUATION_RESULT];
  if (term->ellipsis < 0 && b->num_spread)
    return reject(b, "the result has no '...', but that of the operands stands for %d dimension%s", b->num_spread,
                  b->num_spread == 1 ? "" : "s");
  if (term->ellipsis >= 0 && b->term[0].ellipsis < 0 && b->term[1].ellipsis < 0)
    return reject(b, "'...' at character %d of the result stands for nothing; no operand has one", term->ellipsis_at);
  int rank = term->num + b->num_spread;
  if (rank < 1 || rank > ANAS_MAX_RANK)
    return reject(b, "the result has rank %d; tensors have 1 to %d dimensions", rank, ANAS_MAX_RANK);
  char text[128], other[24];
  if (type && type->rank != rank)
    return reject(b, "the result has %d labels but is tensor<%s>", rank, anas_shape_text(type, text));
  equation->rank[ANAS_EQUATION_RESULT] = rank;
  for (int d = 0; d < rank; d++) {
    int before = term->ellipsis < 0 ? rank : term->ellipsis; // labels before the ellipsis
    int *label = &equation->label[ANAS_EQUATION_RESULT][d];
    if (d >= before && d < before + b->num_spread) {
      *label = b->spread[d - before];
    } else {
      int i = d < before ? d : d - b->num_spread;
      *label = label_named(equation, term->name[i]);
      if (*label < 0 && !type)
        return reject(b, "label '%c' at character %d of the result occurs in no operand", term->name[i], term->at[i]);
      if (*label < 0) *label = new_label(equation, term->name[i], type->dim[d]);
    }
    if (type && type->dim[d] != equation->extent[*label])
      return reject(b, "label '%c' is %s in the operands but dimension %d of the result is tensor<%s>",
                    equation->name[*label], extent_text(equation->extent[*label], other), d,
                    anas_shape_text(type, text));
  }
  return ANAS_OK;
}

static anas_status check_sizes(const struct binding *b) {
  const struct anas_equation *equation = &b->equation;
  int64_t macs = 1;
  int loops = 0;
  for (int l = 0; l < equation->num_labels; l++) {
    int64_t extent = equation->extent[l];
    if (extent == ANAS_DYNAMIC && anas_equation_find(equation, ANAS_EQUATION_RESULT, l) != 0)
      return reject(b, "label '%c' is the batch '?' and must come first in the result", equation->name[l]);
    loops += extent != 1;
    if (extent != ANAS_DYNAMIC && (extent < 1 || __builtin_mul_overflow(macs, extent, &macs) || macs > MAX_MACS))
      return reject(b, "that is more than %lld products", (long long)MAX_MACS);
  }
  if (loops > ANAS_MAX_LOOPS)
    return reject(b, "%d labels have an extent above 1; there may be %d", loops, ANAS_MAX_LOOPS);
  return ANAS_OK;
}

anas_status anas_equation_bind(const struct anas_op *op, const char *text, const struct anas_shape *result,
                               struct anas_equation *out) {
  struct binding b = {.op = op, .text = text, .type = {&op->operand[0], &op->operand[1], result}};
  ANAS_RETURN_IF_ERROR(read_terms(&b));
  for (int t = 0; t < 2; t++) {
    ANAS_RETURN_IF_ERROR(check_rank(&b, t));
    b.equation.rank[t] = b.type[t]->rank;
  }
  for (int t = 0; t < 2; t++)
    ANAS_RETURN_IF_ERROR(bind_named(&b, t));
  ANAS_RETURN_IF_ERROR(bind_ellipses(&b));
  ANAS_RETURN_IF_ERROR(bind_result(&b));
  ANAS_RETURN_IF_ERROR(check_sizes(&b));
  *out = b.equation;
  return ANAS_OK;
}

// ---- questions

int anas_equation_find(const struct anas_equation *equation, int term, int label) {
  for (int d = 0; d < equation->rank[term]; d++)
    if (equation->label[term][d] == label) return d;
  return -1;
}

struct anas_shape anas_equation_result(const struct anas_equation *equation) {
  struct anas_shape shape = {.rank = equation->rank[ANAS_EQUATION_RESULT], .element = ANAS_F32};
  for (int d = 0; d < shape.rank; d++)
    shape.dim[d] = equation->extent[equation->label[ANAS_EQUATION_RESULT][d]];
  return shape;
}

int64_t anas_equation_macs(const struct anas_equation *equation) {
  int64_t macs = 1;
  for (int l = 0; l < equation->num_labels; l++)
    if (equation->label[ANAS_EQUATION_RESULT][0] != l) macs *= equation->extent[l];
  return macs;
}

void anas_equation_deps(const struct anas_equation *equation, int operand, struct anas_dep *out) {
  for (int d = 0; d < equation->rank[operand]; d++) {
    int at = anas_equation_find(equation, ANAS_EQUATION_RESULT, equation->label[operand][d]);
    out[d] = at >= 0 ? anas_dep_same(at)
                     : (struct anas_dep){.kind = ANAS_DEP_ALL, .out_dim = equation->rank[ANAS_EQUATION_RESULT] - 1};
  }
}

void anas_equation_text(const struct anas_equation *equation, int a, int b, int result, char out[ANAS_MAX_TEXT]) {
  static const char *const separators[] = {",", "->", ""};
  int terms[] = {a, b, result}, length = 0;
  for (int t = 0; t < 3; t++) {
    for (int d = 0; d < equation->rank[terms[t]]; d++)
      out[length++] = equation->name[equation->label[terms[t]][d]];
    length += snprintf(out + length, (size_t)(ANAS_MAX_TEXT - length), "%s", separators[t]);
  }
}
