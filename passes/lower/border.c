// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Accesses that may leave their buffers, as affine maps and scalar code: the index wraps around, so that the element
// always exists, and the body takes zero instead of it where the index was outside.
#include "passes/lower/lowering.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void anas_linear_text(const struct anas_nest *nest, const struct anas_linear *index, struct anas_strbuf *out) {
  bool any = false;
  for (int k = 0; k < nest->num_loops; k++) {
    if (!index->coef[k]) continue;
    anas_strbuf_addf(out, "%sd%d", any ? " + " : "", k);
    if (index->coef[k] != 1) anas_strbuf_addf(out, " * %lld", (long long)index->coef[k]);
    any = true;
  }
  if (index->constant || !any) anas_strbuf_addf(out, "%s%lld", any ? " + " : "", (long long)index->constant);
}

// What has to be added to an index so that it is not negative: a multiple of the extent, in steps of the border.
static int64_t lift(const struct anas_nest *nest, const struct anas_access *access, int d, int64_t extent) {
  int64_t low, high, round = extent * access->border[d];
  anas_linear_range(nest, &access->index[d], &low, &high);
  return low < 0 ? (round - 1 - low) / round * round : 0;
}

void anas_border_index(const struct anas_nest *nest, const struct anas_access *access, int d, int64_t extent,
                       struct anas_strbuf *out) {
  struct anas_linear index = access->index[d];
  index.constant += lift(nest, access, d, extent);
  anas_strbuf_adds(out, access->border[d] > 1 ? "((" : "(");
  anas_linear_text(nest, &index, out);
  if (access->border[d] > 1) anas_strbuf_addf(out, ") floordiv %lld", (long long)access->border[d]);
  anas_strbuf_addf(out, ") mod %lld", (long long)extent);
}

static int constant(struct anas_nest *nest, int64_t value) {
  return anas_nest_value(nest, "arith.constant %lld : index", (long long)value);
}

// i1: index d is that of an element.
static int inside(struct anas_nest *nest, const struct anas_access *access, int d, int64_t extent) {
  const struct anas_linear *index = &access->index[d];
  int64_t up = lift(nest, access, d, extent), every = access->border[d];
  int sum = constant(nest, index->constant + up);
  for (int k = 0; k < nest->num_loops; k++) {
    if (!index->coef[k]) continue;
    int term = anas_nest_value(nest, "linalg.index %d : index", k);
    if (index->coef[k] != 1)
      term = anas_nest_value(nest, "arith.muli %%v%d, %%v%d : index", term, constant(nest, index->coef[k]));
    sum = anas_nest_value(nest, "arith.addi %%v%d, %%v%d : index", sum, term);
  }
  // Below the first element it is a large number without sign.
  int from = anas_nest_value(nest, "arith.subi %%v%d, %%v%d : index", sum, constant(nest, up));
  int exists = anas_nest_value(nest, "arith.cmpi ult, %%v%d, %%v%d : index", from, constant(nest, extent * every));
  if (every == 1) return exists;
  int rest = anas_nest_value(nest, "arith.remui %%v%d, %%v%d : index", sum, constant(nest, every));
  int whole = anas_nest_value(nest, "arith.cmpi eq, %%v%d, %%v%d : index", rest, constant(nest, 0));
  return anas_nest_value(nest, "arith.andi %%v%d, %%v%d : i1", exists, whole);
}

void anas_nest_body_with_borders(const struct anas_lowering *l, struct anas_nest *nest) {
  char name[ANAS_MAX_ACCESSES][16];
  struct anas_strbuf old = nest->body, text = {0};
  bool any = false;
  nest->body = (struct anas_strbuf){0};
  for (int i = 0; i < nest->num_in; i++) {
    const struct anas_access *access = &nest->in[i];
    const struct anas_shape *shape = anas_lower_shape(l, access->buffer);
    snprintf(name[i], sizeof name[i], "%%i%d", i);
    if (!anas_access_bordered(access)) continue;
    any = true;
    int all = -1;
    for (int d = 0; d < shape->rank; d++) {
      if (!access->border[d]) continue;
      int exists = inside(nest, access, d, shape->dim[d]);
      all = all < 0 ? exists : anas_nest_value(nest, "arith.andi %%v%d, %%v%d : i1", all, exists);
    }
    int zero = anas_nest_value(nest, "arith.constant 0.0 : f32");
    int value = anas_nest_value(nest, "arith.select %%v%d, %%i%d, %%v%d : f32", all, i, zero);
    snprintf(name[i], sizeof name[i], "%%v%d", value);
  }
  if (!any) {
    nest->body = old;
    return;
  }
  anas_body_rewrite(anas_strbuf_text(&old), name, NULL, 0, NULL, &text);
  anas_strbuf_adds(&nest->body, anas_strbuf_text(&text));
  anas_strbuf_deinit(&text);
  anas_strbuf_deinit(&old);
  for (int j = 0; j < nest->num_out; j++)
    if (nest->yield[j][1] == 'i') memcpy(nest->yield[j], name[atoi(nest->yield[j] + 2)], sizeof nest->yield[j]);
}
