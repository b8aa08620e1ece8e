// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Mixing property (spec 2.4): how positions of a value pair with positions of an input, per pair of dimensions.
//
// The matrix is read off the exact positions (reads.h). With c the centre of the value and F_i(y) the positions of
// input dimension i that element y reads, entry (i, j) is NONE unless the slice of the value through c along j reads
// every position of i; else ALL, MANY or ONE by how much of i the centre reads. The lattice composition of the
// published rules is here as well, for the strict reference and as its definition.
#include "passes/analysis/analysis.h"

#include <stdlib.h>
#include <string.h>

#define MAX_SWEEP (INT64_C(1) << 22) // positions visited for one entry; beyond it counts as not covered

void anas_mixing_identity(int rank, struct anas_mixing *out) {
  memset(out, 0, sizeof *out);
  out->rows = out->columns = rank;
  for (int i = 0; i < rank; i++)
    out->pair[i][i] = ANAS_PAIR_ONE;
}

void anas_mixing_of_input(const struct anas_shape *shape, struct anas_mixing *out) {
  anas_mixing_identity(shape->rank, out);
  for (int i = 0; i < shape->rank; i++)
    if (shape->dim[i] == 1) memset(out->pair[i], ANAS_PAIR_ALL, (size_t)shape->rank);
}

static uint8_t class_of(int64_t count, int64_t extent) {
  return count == extent ? ANAS_PAIR_ALL : count > 1 ? ANAS_PAIR_MANY : ANAS_PAIR_ONE;
}

// ---- one closed form over one dimension: by arithmetic

// Do the sets of all y together have every position? -1: the arithmetic does not say.
static int covers_all(const struct anas_progression *set, int64_t domain, int64_t extent) {
  int64_t values = anas_progression_values(set, domain);
  if (set->window < extent && values < extent && values * set->window < extent) return 0;
  if (set->step != 1 || set->stride > set->window) return -1;
  int64_t last = (values - 1) * set->stride - set->pad + set->window - 1;
  return set->low <= 0 && set->high >= extent - 1 && set->pad >= 0 && last >= extent - 1;
}

// ---- in general: by bits

struct sweep {
  const struct anas_reads *reads;
  int row;
  int64_t *y; // the centre
  uint64_t *bits;
};

static bool is_full(const uint64_t *bits, int64_t extent) {
  for (int64_t w = 0; w < extent / 64; w++)
    if (~bits[w]) return false;
  return extent % 64 == 0 || bits[extent / 64] == (UINT64_C(1) << (extent % 64)) - 1;
}

static int64_t population(const uint64_t *bits, int64_t words) {
  int64_t count = 0;
  for (int64_t w = 0; w < words; w++)
    count += __builtin_popcountll(bits[w]);
  return count;
}

// Does the slice through the centre along j read every position of the row?
static bool slice_covers(const struct sweep *s, int j) {
  const struct anas_reads *reads = s->reads;
  int64_t extent = reads->extent[s->row], words = anas_reads_words(extent), centre = s->y[j], work = 0;
  memset(s->bits, 0, (size_t)words * sizeof *s->bits);
  for (int t = 0; t < reads->num_terms; t++) {
    const struct anas_reads_term *term = &reads->term[t];
    if (term->row != s->row) continue;
    bool varies = anas_reads_mask(term) >> j & 1;
    for (int64_t v = varies ? 0 : centre; v < (varies ? reads->result[j] : centre + 1) && work < MAX_SWEEP; v++) {
      s->y[j] = v;
      anas_reads_term_positions(term, extent, reads->result, s->y, s->bits);
      work += term->table ? words : term->set.window;
    }
  }
  s->y[j] = centre;
  return is_full(s->bits, extent);
}

static void row_by_bits(const struct anas_reads *reads, int row, int64_t *centre, uint8_t *out) {
  int64_t extent = reads->extent[row], words = anas_reads_words(extent);
  if (extent > MAX_SWEEP) return;
  uint64_t few[16] = {0}, *bits = words <= 16 ? few : anas_calloc((size_t)words, sizeof *bits);
  struct sweep sweep = {reads, row, centre, bits};
  anas_reads_positions(reads, row, centre, bits);
  uint8_t class = class_of(population(bits, words), extent);
  for (int j = 0; j < reads->columns; j++)
    if (class == ANAS_PAIR_ALL || slice_covers(&sweep, j)) out[j] = class;
  if (bits != few) free(bits);
}

// ---- one row

static void row_of(const struct anas_reads *reads, int row, int64_t *centre, uint8_t *out) {
  const struct anas_reads_term *only = NULL;
  int64_t extent = reads->extent[row], first;
  int terms = 0;
  for (int t = 0; t < reads->num_terms; t++)
    if (reads->term[t].row == row) {
      only = &reads->term[t];
      terms++;
    }
  if (!terms) return;
  if (terms > 1 || only->table) {
    row_by_bits(reads, row, centre, out);
    return;
  }
  int64_t count = anas_progression_at(&only->set, anas_reads_index(only, reads->result, centre), &first);
  if (count == extent) {
    memset(out, ANAS_PAIR_ALL, (size_t)reads->columns);
  } else if (anas_reads_mask(only)) { // a constant that does not read everything covers nothing
    int covered = only->first == only->last ? covers_all(&only->set, reads->result[only->first], extent) : -1;
    if (covered > 0) out[only->first] = class_of(count, extent);
    if (covered < 0) row_by_bits(reads, row, centre, out);
  }
}

void anas_reads_mixing(const struct anas_reads *reads, struct anas_mixing *out) {
  int64_t centre[ANAS_MAX_RANK] = {0};
  memset(out, 0, sizeof *out);
  out->rows = reads->rows;
  out->columns = reads->columns;
  for (int j = 0; j < reads->columns; j++)
    centre[j] = reads->result[j] / 2;
  for (int i = 0; i < reads->rows; i++)
    row_of(reads, i, centre, out->pair[i]);
}

void anas_mixing_of_op(const struct anas_op *op, int which, const struct anas_shape *result, struct anas_mixing *out) {
  struct anas_reads reads;
  struct anas_arena arena = {0};
  anas_reads_of_input(&op->operand[which], &reads);
  anas_reads_append(&reads, op, which, result, &arena, &reads);
  anas_reads_mixing(&reads, out);
  anas_arena_deinit(&arena);
}

// ---- the lattice of the published rules

void anas_mixing_compose(const struct anas_mixing *first, const struct anas_mixing *then, struct anas_mixing *out) {
  struct anas_mixing result = {.rows = first->rows, .columns = then->columns};
  for (int i = 0; i < first->rows; i++)
    for (int j = 0; j < then->columns; j++)
      for (int k = 0; k < first->columns; k++) {
        uint8_t a = first->pair[i][k], q = then->pair[k][j];
        if (a == ANAS_PAIR_ALL) { // whatever reads the middle value reads all of i
          result.pair[i][j] = ANAS_PAIR_ALL;
          break;
        }
        if (a == ANAS_PAIR_NONE || q == ANAS_PAIR_NONE) continue;
        uint8_t stronger = a > q ? a : q;
        if (stronger > result.pair[i][j]) result.pair[i][j] = stronger;
      }
  *out = result;
}

void anas_mixing_join(struct anas_mixing *into, const struct anas_mixing *other) {
  for (int i = 0; i < into->rows; i++)
    for (int j = 0; j < into->columns; j++)
      if (other->pair[i][j] > into->pair[i][j]) into->pair[i][j] = other->pair[i][j];
}
