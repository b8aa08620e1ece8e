// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Exactly which positions of an input the elements of a value read: the state behind the mixing property.
//
// dep(y) is the set of index vectors of the input that element y depends on. For input dimension i the state holds the
// projection F_i(y) of dep(y) on i. Projections commute with unions, so they compose exactly: appending an op with
// dependency sets S(y) gives F_i'(y) = union of F_i(z) over z in S(y), and a join of two branches is the union of
// their F_i. Each F_i is a union of terms; a term is a closed form over the row-major index of a range of result
// dimensions (mostly one dimension, progression.h), or, where no closed form is known, a table of bit sets over some
// result dimensions. A table that would be too large is left out and the state marked inexact: sets then are too
// small, and what is said about mixing is too weak, never too strong. docs/properties.md has the reasoning.
//
// A prefix of a chain is one struct anas_reads: start with anas_reads_of_input, append each op with anas_reads_append
// (a few dozen nanoseconds, no memory unless a table is needed), read the property with anas_reads_mixing.
#ifndef ANAS_PASSES_ANALYSIS_READS_H
#define ANAS_PASSES_ANALYSIS_READS_H

#include "dialect/op.h"
#include "passes/analysis/progression.h"
#include "runtime/support/memory.h"

#define ANAS_READS_TERMS 24

struct anas_reads_term {
  uint8_t row;           // input dimension
  uint8_t first, last;   // set is a function of the row-major index over these result dimensions
  uint8_t mask;          // table: the result dimensions it is indexed by
  const uint64_t *table; // [row-major index over the dimensions of mask][words of extent[row]]; null: closed form
  struct anas_progression set;
};

struct anas_reads {
  int rows, columns;                                    // rank of the input, rank of the value
  int64_t extent[ANAS_MAX_RANK], result[ANAS_MAX_RANK]; // '?' counts as ANAS_READS_DYNAMIC
  bool exact;                                           // nothing was left out
  bool total;                                           // every element is known to read something
  int num_terms;
  struct anas_reads_term term[ANAS_READS_TERMS]; // no terms: the value does not depend on the input
};

// Stands for the extent '?': any extent above 1 gives the same classes, because no op has a window on the batch.
#define ANAS_READS_DYNAMIC 5

// A value read by itself.
void anas_reads_of_input(const struct anas_shape *shape, struct anas_reads *out);
void anas_reads_copy(const struct anas_reads *from, struct anas_reads *out); // copies the terms in use
// A copy without room for more terms, for keeping.
const struct anas_reads *anas_reads_save(const struct anas_reads *from, struct anas_arena *arena);

// What the result of op reads through its operand 'which', when that operand reads 'before'. out may be before. Tables
// go to the arena, which lives as long as the states; a null arena does without (sound, less exact). False: the op
// lets no dependency through, and the state is one without terms.
bool anas_reads_append(const struct anas_reads *before, const struct anas_op *op, int which,
                       const struct anas_shape *result, struct anas_arena *arena, struct anas_reads *out);
// The same through a function summarised by what its result reads of its argument. False if the summary is not enough
// and the function's ops must be appended one by one; if lossy, what the summary cannot say is left out instead.
bool anas_reads_append_call(const struct anas_reads *before, const struct anas_reads *callee, bool lossy,
                            struct anas_arena *arena, struct anas_reads *out);
// Union: the same input and the same result extents.
void anas_reads_join(struct anas_reads *into, const struct anas_reads *other, struct anas_arena *arena);

struct anas_mixing;
void anas_reads_mixing(const struct anas_reads *reads, struct anas_mixing *out);

struct anas_strbuf;
// The positions of one input dimension for people, y0, y1... being the coordinates of the element: "2*y1-1..2*y1+1"
// (cut off at the border, and further if it says so), "all", "nothing", "table y1 y2".
void anas_reads_text(const struct anas_reads *reads, int row, struct anas_strbuf *out);

// Positions of input dimension 'row' that the element at index vector y reads, as bits ORed into out: the definition,
// for tests and tables.
void anas_reads_positions(const struct anas_reads *reads, int row, const int64_t *y, uint64_t *out);

// ---- internal to the analysis

static inline int64_t anas_reads_words(int64_t extent) {
  return (extent + 63) / 64;
}
int64_t anas_reads_index(const struct anas_reads_term *term, const int64_t *result, const int64_t *y);
void anas_reads_term_positions(const struct anas_reads_term *term, int64_t extent, const int64_t *result,
                               const int64_t *y, uint64_t *out);
unsigned anas_reads_mask(const struct anas_reads_term *term); // result dimensions the term depends on
// Table of a term of 'before' behind sets 'inner', one term for each dimension of the value in between; positions that
// an inner set without members leaves unread are those of 'gaps'. False: too large, or no arena.
bool anas_reads_tabulate(const struct anas_reads *before, const struct anas_reads_term *term,
                         const struct anas_reads_term *inner, unsigned gaps, const struct anas_reads *after,
                         struct anas_arena *arena, struct anas_reads_term *out);
// One table for two terms of a row.
bool anas_reads_merge(const struct anas_reads *reads, const struct anas_reads_term *a, const struct anas_reads_term *b,
                      struct anas_arena *arena, struct anas_reads_term *out);
void anas_reads_add_term(struct anas_reads *reads, const struct anas_reads_term *term, struct anas_arena *arena);

#endif
