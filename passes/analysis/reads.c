// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Transfer and join of the positions that a value reads of an input (reads.h).
#include "passes/analysis/reads.h"

#include <stddef.h>
#include <string.h>

static int64_t extent_of(int64_t dim) {
  return dim == ANAS_DYNAMIC ? ANAS_READS_DYNAMIC : dim;
}

static int64_t domain_of(const struct anas_reads_term *term, const int64_t *result) {
  int64_t domain = 1;
  for (int j = term->first; j <= term->last; j++)
    domain *= result[j];
  return domain;
}

static bool is_constant(const struct anas_reads_term *term) {
  return term->table ? !term->mask : anas_progression_is_constant(&term->set);
}

static bool is_everything(const struct anas_reads_term *term, int64_t extent) {
  return !term->table && anas_progression_is_constant(&term->set) && term->set.step == 1 && term->set.pad == 0 &&
         term->set.window == extent;
}

unsigned anas_reads_mask(const struct anas_reads_term *term) {
  if (term->table) return term->mask;
  if (anas_progression_is_constant(&term->set)) return 0;
  return (2u << term->last) - (1u << term->first);
}

void anas_reads_copy(const struct anas_reads *from, struct anas_reads *out) {
  if (from != out) memcpy(out, from, offsetof(struct anas_reads, term) + (size_t)from->num_terms * sizeof *from->term);
}

const struct anas_reads *anas_reads_save(const struct anas_reads *from, struct anas_arena *arena) {
  struct anas_reads *saved =
      anas_arena_alloc(arena, offsetof(struct anas_reads, term) + (size_t)from->num_terms * sizeof *from->term);
  anas_reads_copy(from, saved);
  return saved;
}

// Brings a closed form into its simplest shape: constants have no range, and ranges end where the index stops to
// matter.
static void simplify(struct anas_reads_term *term, const int64_t *result, int64_t extent) {
  struct anas_progression *set = &term->set;
  anas_progression_normalise(set, domain_of(term, result), extent);
  while (term->first < term->last && set->stride) {
    int64_t behind = domain_of(term, result) / result[term->first];
    if (result[term->first] == 1 || (set->mod && behind % (set->quot * set->mod) == 0)) {
      term->first++;
    } else if (set->quot % result[term->last] == 0) {
      set->quot /= result[term->last];
      term->last--;
    } else {
      break;
    }
    anas_progression_normalise(set, domain_of(term, result), extent);
  }
  if (!set->stride) term->first = term->last = 0;
}

void anas_reads_add_term(struct anas_reads *reads, const struct anas_reads_term *added, struct anas_arena *arena) {
  int64_t extent = reads->extent[added->row];
  struct anas_reads_term term = *added;
  if (!term.table && term.set.window <= 0) return;
  int in_row = 0;
  for (int t = 0; t < reads->num_terms; t++) {
    struct anas_reads_term *other = &reads->term[t], united;
    if (other->row != term.row) continue;
    bool replaced = is_everything(&term, extent);
    if (is_everything(other, extent)) return;
    if (!replaced && !other->table && !term.table) {
      bool alike = other->first == term.first && other->last == term.last;
      united = term;
      if (alike || is_constant(other) || is_constant(&term)) {
        if (anas_progression_contains(&other->set, &term.set) && (alike || is_constant(other))) return;
        replaced = anas_progression_contains(&term.set, &other->set) && (alike || is_constant(&term));
        if (!replaced && alike && is_constant(other) == is_constant(&term))
          replaced = anas_progression_unite(&other->set, &term.set, &united.set);
      }
      if (replaced) {
        term = united;
        simplify(&term, reads->result, extent);
      }
    } else if (!replaced && term.table && other->table && term.mask == other->mask) {
      replaced = anas_reads_merge(reads, other, &term, arena, &united);
      if (replaced) term = united;
    }
    if (replaced) { // start over with what is left of the row
      reads->term[t] = reads->term[--reads->num_terms];
      t = -1;
      in_row = 0;
    } else {
      in_row++;
    }
  }
  if (reads->num_terms == ANAS_READS_TERMS || in_row == 3) { // make one table of two terms
    for (int t = 0; t < reads->num_terms; t++) {
      struct anas_reads_term united;
      if (reads->term[t].row != term.row || !anas_reads_merge(reads, &reads->term[t], &term, arena, &united)) continue;
      reads->term[t] = united;
      return;
    }
    if (reads->num_terms == ANAS_READS_TERMS) {
      reads->exact = false;
      return;
    }
  }
  reads->term[reads->num_terms++] = term;
}

void anas_reads_of_input(const struct anas_shape *shape, struct anas_reads *out) {
  *out = (struct anas_reads){.rows = shape->rank, .columns = shape->rank, .exact = true, .total = true};
  for (int i = 0; i < shape->rank; i++) {
    out->extent[i] = out->result[i] = extent_of(shape->dim[i]);
    struct anas_reads_term term = {.row = (uint8_t)i, .first = (uint8_t)i, .last = (uint8_t)i};
    term.set = anas_progression_identity(out->extent[i]);
    simplify(&term, out->result, out->extent[i]);
    out->term[out->num_terms++] = term;
  }
}

// ---- the dependencies of an op as terms, one for each dimension of the operand

static void term_of_dep(const struct anas_dep *dep, int row, int64_t extent, struct anas_reads_term *out) {
  *out = (struct anas_reads_term){.row = (uint8_t)row, .first = (uint8_t)dep->out_dim, .last = (uint8_t)dep->out_dim};
  switch (dep->kind) {
  case ANAS_DEP_NONE:
  case ANAS_DEP_ALL: out->set = anas_progression_interval(0, extent - 1); break;
  case ANAS_DEP_FIRST: out->set = anas_progression_interval(0, 0); break;
  case ANAS_DEP_WINDOW:
    out->set = (struct anas_progression){.quot = 1,
                                         .stride = dep->stride,
                                         .pad = dep->pad,
                                         .window = dep->window,
                                         .step = dep->window == 1 ? 1 : dep->dilation,
                                         .high = extent - 1};
    break;
  case ANAS_DEP_GROUP:
    out->set = (struct anas_progression){
        .quot = dep->out_group, .stride = dep->in_group, .window = dep->in_group, .step = 1, .high = extent - 1};
    break;
  case ANAS_DEP_LINEAR: out->last = (uint8_t)dep->out_last; // fall through
  case ANAS_DEP_DIVMOD:
    out->set = (struct anas_progression){
        .quot = dep->div, .mod = extent, .stride = 1, .window = 1, .step = 1, .high = extent - 1};
    break;
  }
}

// Numpy broadcasting: dimensions aligned from the last. False if an operand dimension has no influence.
static bool op_terms(const struct anas_op *op, int which, const struct anas_shape *result, const int64_t *extents,
                     struct anas_reads_term *out) {
  const struct anas_shape *operand = &op->operand[which];
  struct anas_dep deps[ANAS_MAX_RANK] = {0};
  if (op->def->deps) op->def->deps(op, which, result, deps);
  for (int k = 0; k < operand->rank; k++) {
    if (!op->def->deps) {
      int j = result->rank - operand->rank + k;
      bool spread = operand->dim[k] == 1 && result->dim[j] != 1;
      deps[k] = (struct anas_dep){
          .kind = spread ? ANAS_DEP_FIRST : ANAS_DEP_WINDOW, .out_dim = j, .window = 1, .stride = 1, .dilation = 1};
    }
    if (deps[k].kind == ANAS_DEP_NONE) return false;
    term_of_dep(&deps[k], k, extents[k], &out[k]);
  }
  return true;
}

// ---- composition in closed form

static bool single_value(const struct anas_progression *set) {
  return set->window == 1 && set->stride == 1 && set->pad == 0;
}

// The dimensions of the term's range reappear side by side in the result: the same index over other dimensions.
static bool same_index(const struct anas_reads *before, const struct anas_reads_term *term,
                       const struct anas_reads_term *inner, const struct anas_reads *after,
                       struct anas_reads_term *out) {
  int next = -1;
  *out = *term;
  for (int k = term->first; k <= term->last; k++) {
    const struct anas_progression *set = &inner[k].set;
    if (before->result[k] == 1) continue;
    int j = inner[k].first;
    if (inner[k].first != inner[k].last || !single_value(set) || set->quot != 1 || set->mod) return false;
    if (after->result[j] != before->result[k]) return false;
    if (next < 0) out->first = (uint8_t)j;
    for (; next >= 0 && next < j; next++)
      if (after->result[next] != 1) return false;
    if (next > j) return false;
    out->last = (uint8_t)j;
    next = j + 1;
  }
  return next >= 0;
}

// All dimensions of the range are pieces of one row-major index: inner then is that index.
static bool one_index(const struct anas_reads *before, const struct anas_reads_term *term,
                      const struct anas_reads_term *inner, struct anas_reads_term *out) {
  int64_t quot = 0, size = 1;
  for (int k = term->last; k >= term->first; k--) {
    const struct anas_progression *set = &inner[k].set;
    int64_t extent = before->result[k];
    if (extent == 1) continue;
    if (!single_value(set) || (set->mod && set->mod != extent)) return false;
    if (!quot) {
      quot = set->quot;
      *out = inner[k];
    } else if (inner[k].first != out->first || inner[k].last != out->last || set->quot != quot * size) {
      return false;
    }
    size *= extent;
  }
  if (!quot) return false;
  out->set.quot = quot;
  out->set.mod = size;
  out->set.high = size - 1;
  return true;
}

static bool all_everything(const struct anas_reads *before, const struct anas_reads_term *term,
                           const struct anas_reads_term *inner) {
  for (int k = term->first; k <= term->last; k++)
    if (!is_everything(&inner[k], before->result[k])) return false;
  return true;
}

static bool compose(const struct anas_reads *before, const struct anas_reads_term *term,
                    const struct anas_reads_term *inner, const struct anas_reads *after, struct anas_reads_term *out) {
  if (term->table) {
    if (term->mask) return false;
    *out = *term;
    return true;
  }
  struct anas_reads_term through = inner[term->first];
  if (is_constant(term)) {
    *out = *term;
    return true;
  }
  if (term->first != term->last) {
    if (all_everything(before, term, inner)) {
      through = (struct anas_reads_term){.set = anas_progression_interval(0, domain_of(term, before->result) - 1)};
    } else if (same_index(before, term, inner, after, out)) {
      simplify(out, after->result, after->extent[term->row]);
      return true;
    } else if (!one_index(before, term, inner, &through)) {
      return false;
    }
  }
  *out = (struct anas_reads_term){.row = term->row, .first = through.first, .last = through.last};
  if (!anas_progression_compose(&term->set, &through.set, domain_of(&through, after->result), &out->set)) return false;
  simplify(out, after->result, after->extent[term->row]);
  return true;
}

static void start(const struct anas_reads *before, const struct anas_shape *result, struct anas_reads *out) {
  out->rows = before->rows;
  out->columns = result->rank;
  memcpy(out->extent, before->extent, sizeof out->extent);
  for (int j = 0; j < result->rank; j++)
    out->result[j] = extent_of(result->dim[j]);
  out->exact = before->exact;
  out->total = before->total;
  out->num_terms = 0;
}

bool anas_reads_append(const struct anas_reads *before, const struct anas_op *op, int which,
                       const struct anas_shape *result, struct anas_arena *arena, struct anas_reads *out) {
  struct anas_reads_term inner[ANAS_MAX_RANK];
  struct anas_reads after;
  if (!op->def->deps && anas_shape_equal(&op->operand[which], result)) {
    anas_reads_copy(before, out);
    return true;
  }
  start(before, result, &after);
  if (!op_terms(op, which, result, before->result, inner)) {
    after.total = false;
    anas_reads_copy(&after, out);
    return false;
  }
  unsigned gaps = 0; // result dimensions along which the op reads nothing somewhere
  for (int k = 0; k < before->columns; k++)
    if (anas_progression_has_gap(&inner[k].set, domain_of(&inner[k], after.result)))
      gaps |= (2u << inner[k].last) - (1u << inner[k].first);
  if (gaps) after.total = false;
  for (int t = 0; t < before->num_terms; t++) {
    struct anas_reads_term term;
    if ((!gaps && compose(before, &before->term[t], inner, &after, &term)) ||
        anas_reads_tabulate(before, &before->term[t], inner, gaps, &after, arena, &term))
      anas_reads_add_term(&after, &term, arena);
    else
      after.exact = false;
  }
  anas_reads_copy(&after, out);
  return true;
}

bool anas_reads_append_call(const struct anas_reads *before, const struct anas_reads *callee, bool lossy,
                            struct anas_arena *arena, struct anas_reads *out) {
  struct anas_reads after;
  bool gaps = !callee->total && callee->num_terms; // constants would have to know where
  if (gaps && !lossy) return false;
  struct anas_shape result = {.rank = callee->columns};
  memcpy(result.dim, callee->result, sizeof result.dim);
  start(before, &result, &after);
  after.exact = before->exact && callee->exact;
  after.total = before->total && callee->total;
  for (int t = 0; t < before->num_terms; t++) {
    const struct anas_reads_term *term = &before->term[t];
    unsigned mask = anas_reads_mask(term);
    if (!callee->num_terms) continue;
    bool several = mask & (mask - 1); // their sets in the callee are not a product
    if (several && !lossy) return false;
    if (several || (!mask && gaps)) {
      after.exact = false;
      continue;
    }
    if (!mask) {
      anas_reads_add_term(&after, term, arena);
      continue;
    }
    int row = __builtin_ctz(mask);
    for (int g = 0; g < callee->num_terms; g++) {
      struct anas_reads_term inner[ANAS_MAX_RANK] = {0}, composed;
      if (callee->term[g].row != row) continue;
      inner[row] = callee->term[g];
      if ((!inner[row].table && compose(before, term, inner, &after, &composed)) ||
          anas_reads_tabulate(before, term, inner, 0, &after, arena, &composed))
        anas_reads_add_term(&after, &composed, arena);
      else
        after.exact = false;
    }
  }
  anas_reads_copy(&after, out);
  return true;
}

void anas_reads_join(struct anas_reads *into, const struct anas_reads *other, struct anas_arena *arena) {
  into->exact = into->exact && other->exact;
  into->total = into->total || other->total;
  for (int t = 0; t < other->num_terms; t++)
    anas_reads_add_term(into, &other->term[t], arena);
}
