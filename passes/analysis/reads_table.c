// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Terms as explicit tables of bit sets, where no closed form is known: written out element by element.
#include "passes/analysis/reads.h"

#include <stdlib.h>
#include <string.h>

#define MAX_TABLE_WORDS (INT64_C(1) << 16)
#define MAX_TABLE_WORK (INT64_C(1) << 22) // set operations of one composition

int64_t anas_reads_index(const struct anas_reads_term *term, const int64_t *result, const int64_t *y) {
  int64_t index = 0;
  if (term->table) {
    for (int j = 0; j < ANAS_MAX_RANK; j++)
      if (term->mask >> j & 1) index = index * result[j] + y[j];
  } else if (term->set.stride) {
    for (int j = term->first; j <= term->last; j++)
      index = index * result[j] + y[j];
  }
  return index;
}

void anas_reads_term_positions(const struct anas_reads_term *term, int64_t extent, const int64_t *result,
                               const int64_t *y, uint64_t *out) {
  int64_t index = anas_reads_index(term, result, y), words = anas_reads_words(extent), first;
  if (term->table) {
    for (int64_t w = 0; w < words; w++)
      out[w] |= term->table[index * words + w];
    return;
  }
  int64_t count = anas_progression_at(&term->set, index, &first);
  for (int64_t t = 0; t < count; t++, first += term->set.step)
    out[first / 64] |= UINT64_C(1) << (first % 64);
}

void anas_reads_positions(const struct anas_reads *reads, int row, const int64_t *y, uint64_t *out) {
  for (int t = 0; t < reads->num_terms; t++)
    if (reads->term[t].row == row)
      anas_reads_term_positions(&reads->term[t], reads->extent[row], reads->result, y, out);
}

// Next index vector over the dimensions of mask; false after the last.
static bool advance(unsigned mask, const int64_t *extent, int64_t *y) {
  for (int j = ANAS_MAX_RANK - 1; j >= 0; j--) {
    if (!(mask >> j & 1)) continue;
    if (++y[j] < extent[j]) return true;
    y[j] = 0;
  }
  return false;
}

static uint64_t *new_table(const struct anas_reads *reads, unsigned mask, int row, struct anas_arena *arena) {
  int64_t size = anas_reads_words(reads->extent[row]);
  for (int j = 0; j < reads->columns; j++) {
    if (!(mask >> j & 1)) continue;
    if (size > MAX_TABLE_WORDS / reads->result[j]) return NULL;
    size *= reads->result[j];
  }
  return arena && size <= MAX_TABLE_WORDS ? anas_arena_alloc(arena, (size_t)size * sizeof(uint64_t)) : NULL;
}

// Members of a set at y, written to out; returns how many.
static int64_t members(const struct anas_reads_term *set, int64_t extent, const int64_t *result, const int64_t *y,
                       int64_t *out) {
  int64_t index = anas_reads_index(set, result, y), first, count = 0;
  if (!set->table) {
    count = anas_progression_at(&set->set, index, &first);
    for (int64_t t = 0; t < count; t++)
      out[t] = first + t * set->set.step;
    return count;
  }
  const uint64_t *words = set->table + index * anas_reads_words(extent);
  for (int64_t p = 0; p < extent; p++)
    if (words[p / 64] >> (p % 64) & 1) out[count++] = p;
  return count;
}

// ORs the sets of the term over all of the product of the inner sets at y. Returns the work done.
static int64_t gather(const struct anas_reads *before, const struct anas_reads_term *term,
                      const struct anas_reads_term *inner, const struct anas_reads *after, const int64_t *y,
                      int64_t *const *list, uint64_t *out) {
  unsigned mask = anas_reads_mask(term);
  int64_t count[ANAS_MAX_RANK] = {0}, at[ANAS_MAX_RANK] = {0}, z[ANAS_MAX_RANK] = {0}, work = 0;
  for (int k = 0; k < before->columns; k++) {
    if (!(mask >> k & 1)) continue;
    count[k] = members(&inner[k], before->result[k], after->result, y, list[k]);
    if (!count[k]) return 1;
  }
  do {
    for (int k = 0; k < before->columns; k++)
      if (mask >> k & 1) z[k] = list[k][at[k]];
    anas_reads_term_positions(term, before->extent[term->row], before->result, z, out);
    work += anas_reads_words(before->extent[term->row]) + (term->table ? 0 : term->set.window);
  } while (work <= MAX_TABLE_WORK && advance(mask, count, at));
  return work;
}

bool anas_reads_tabulate(const struct anas_reads *before, const struct anas_reads_term *term,
                         const struct anas_reads_term *inner, unsigned gaps, const struct anas_reads *after,
                         struct anas_arena *arena, struct anas_reads_term *out) {
  unsigned term_mask = anas_reads_mask(term), mask = gaps;
  int64_t *list[ANAS_MAX_RANK] = {0}, work = 0, longest = 0;
  for (int k = 0; k < before->columns; k++)
    if (term_mask >> k & 1) {
      mask |= anas_reads_mask(&inner[k]);
      longest += before->result[k];
    }
  if (longest > MAX_TABLE_WORDS) return false;
  uint64_t *table = new_table(after, mask, term->row, arena);
  if (!table) return false;

  int64_t *lists = anas_calloc((size_t)longest + 1, sizeof *lists), *next = lists;
  for (int k = 0; k < before->columns; k++)
    if (term_mask >> k & 1) {
      list[k] = next;
      next += before->result[k];
    }
  int64_t y[ANAS_MAX_RANK] = {0}, words = anas_reads_words(after->extent[term->row]), at = 0, ignored;
  do {
    bool empty = false;
    for (int k = 0; gaps && k < before->columns; k++)
      empty = empty || !anas_progression_at(&inner[k].set, anas_reads_index(&inner[k], after->result, y), &ignored);
    if (!empty) work += gather(before, term, inner, after, y, list, table + at);
    at += words;
  } while (work <= MAX_TABLE_WORK && advance(mask, after->result, y));
  free(lists);
  *out = (struct anas_reads_term){.row = term->row, .mask = (uint8_t)mask, .table = table};
  return work <= MAX_TABLE_WORK;
}

bool anas_reads_merge(const struct anas_reads *reads, const struct anas_reads_term *a, const struct anas_reads_term *b,
                      struct anas_arena *arena, struct anas_reads_term *out) {
  unsigned mask = anas_reads_mask(a) | anas_reads_mask(b);
  uint64_t *table = new_table(reads, mask, a->row, arena);
  if (!table) return false;
  int64_t y[ANAS_MAX_RANK] = {0}, extent = reads->extent[a->row], words = anas_reads_words(extent), at = 0;
  do {
    anas_reads_term_positions(a, extent, reads->result, y, table + at);
    anas_reads_term_positions(b, extent, reads->result, y, table + at);
    at += words;
  } while (advance(mask, reads->result, y));
  *out = (struct anas_reads_term){.row = a->row, .mask = (uint8_t)mask, .table = table};
  return true;
}
