// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a value reads of an input as text for people: "2*y1-1..2*y1+1", "all", "y1/16".
#include "passes/analysis/reads.h"

#include "runtime/support/strbuf.h"

// The index y a closed form depends on, as a factor: "y1", "y[1..2]" for a row-major index, "(y1/4%8)".
static void index_text(const struct anas_reads_term *term, struct anas_strbuf *out) {
  const struct anas_progression *set = &term->set;
  bool plain = set->quot == 1 && !set->mod;
  anas_strbuf_adds(out, plain ? "" : "(");
  if (term->first == term->last)
    anas_strbuf_addf(out, "y%d", term->first);
  else
    anas_strbuf_addf(out, "y[%d..%d]", term->first, term->last);
  if (set->quot != 1) anas_strbuf_addf(out, "/%lld", (long long)set->quot);
  if (set->mod) anas_strbuf_addf(out, "%%%lld", (long long)set->mod);
  anas_strbuf_adds(out, plain ? "" : ")");
}

static void position_text(const struct anas_reads_term *term, int64_t offset, struct anas_strbuf *out) {
  if (term->set.stride) {
    if (term->set.stride != 1) anas_strbuf_addf(out, "%lld*", (long long)term->set.stride);
    index_text(term, out);
    if (offset) anas_strbuf_addf(out, "%+lld", (long long)offset);
  } else {
    anas_strbuf_addf(out, "%lld", (long long)offset);
  }
}

static void term_text(const struct anas_reads *reads, const struct anas_reads_term *term, struct anas_strbuf *out) {
  const struct anas_progression *set = &term->set;
  int64_t extent = reads->extent[term->row];
  if (term->table) {
    anas_strbuf_adds(out, "table");
    for (int j = 0; j < reads->columns; j++)
      if (term->mask >> j & 1) anas_strbuf_addf(out, " y%d", j);
    return;
  }
  if (!set->stride && set->step == 1 && set->pad == 0 && set->window == extent) {
    anas_strbuf_adds(out, "all");
    return;
  }
  position_text(term, -set->pad, out);
  if (set->window > 1) {
    anas_strbuf_adds(out, "..");
    position_text(term, -set->pad + (set->window - 1) * set->step, out);
  }
  if (set->step > 1) anas_strbuf_addf(out, " step %lld", (long long)set->step);
  if (set->stride && (set->low > 0 || set->high < extent - 1))
    anas_strbuf_addf(out, " within %lld..%lld", (long long)set->low, (long long)set->high);
}

void anas_reads_text(const struct anas_reads *reads, int row, struct anas_strbuf *out) {
  bool first = true;
  for (int t = 0; t < reads->num_terms; t++) {
    if (reads->term[t].row != row) continue;
    if (!first) anas_strbuf_adds(out, " and ");
    term_text(reads, &reads->term[t], out);
    first = false;
  }
  if (first) anas_strbuf_adds(out, "nothing");
}
