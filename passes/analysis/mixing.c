// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Mixing property (spec 2.4): how result positions pair with operand positions, per pair of dimensions.
//
// The pairing of one op follows from its dependency sets alone. With c the centre of the result and S_i(y) the
// positions of operand dimension i that element y reads, covered(i, j) says that the slice of the result through c
// along j reads every position of i. An entry is NONE if it is not covered, else ALL, MANY or ONE by how much of i the
// centre reads.
#include "passes/analysis/analysis.h"

#include <string.h>

// Stands for the extent '?': any extent above 1 gives the same classes, because no op has a window on the batch.
#define DYNAMIC_EXTENT 5

static int64_t extent_of(int64_t dim) {
  return dim == ANAS_DYNAMIC ? DYNAMIC_EXTENT : dim;
}

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

// Numpy broadcasting: dimensions aligned from the last.
static void elementwise_deps(const struct anas_shape *operand, const struct anas_shape *result, struct anas_dep *out) {
  for (int i = 0; i < operand->rank; i++) {
    int j = result->rank - operand->rank + i;
    bool spread = operand->dim[i] == 1 && result->dim[j] != 1;
    out[i] = (struct anas_dep){
        .kind = spread ? ANAS_DEP_FIRST : ANAS_DEP_WINDOW, .out_dim = j, .window = 1, .stride = 1, .dilation = 1};
  }
}

// Positions of a window inside [0, extent): first and number, positions are dilation apart.
static int64_t window_positions(const struct anas_dep *dep, int64_t extent, int64_t y, int64_t *out_first) {
  int64_t low = y * dep->stride - dep->pad, skip = low < 0 ? (-low + dep->dilation - 1) / dep->dilation : 0;
  int64_t first = low + skip * dep->dilation, count = 0;
  if (first < extent) count = (extent - 1 - first) / dep->dilation + 1;
  if (count > dep->window - skip) count = dep->window - skip;
  *out_first = first;
  return count > 0 ? count : 0;
}

// How many positions of an operand dimension one result coordinate reads.
static int64_t positions_read(const struct anas_dep *dep, int64_t extent, int64_t y) {
  int64_t first;
  switch (dep->kind) {
  case ANAS_DEP_NONE: return 0;
  case ANAS_DEP_WINDOW: return window_positions(dep, extent, y, &first);
  case ANAS_DEP_ALL: return extent;
  case ANAS_DEP_GROUP:
    first = y / dep->out_group * dep->in_group;
    return first + dep->in_group <= extent ? dep->in_group : first < extent ? extent - first : 0;
  case ANAS_DEP_DIVMOD:
  case ANAS_DEP_LINEAR:
  case ANAS_DEP_FIRST: return 1;
  }
  return 0;
}

static bool follows(const struct anas_dep *dep, int out_dim) {
  if (dep->kind == ANAS_DEP_LINEAR) return dep->out_dim <= out_dim && out_dim <= dep->out_last;
  return dep->out_dim == out_dim &&
         (dep->kind == ANAS_DEP_WINDOW || dep->kind == ANAS_DEP_GROUP || dep->kind == ANAS_DEP_DIVMOD);
}

// Only windows can read nothing (all of it padding); an empty factor empties the product. Do the dimensions other than
// 'which' that follow result dimension j read something at y?
static bool others_read(const struct anas_dep *deps, const struct anas_shape *operand, int which, int j, int64_t y) {
  for (int k = 0; k < operand->rank; k++)
    if (k != which && follows(&deps[k], j) && !positions_read(&deps[k], extent_of(operand->dim[k]), y)) return false;
  return true;
}

static bool reads_position(const struct anas_dep *dep, int64_t extent, int64_t y, int64_t position) {
  int64_t offset;
  switch (dep->kind) {
  case ANAS_DEP_WINDOW:
    offset = position - (y * dep->stride - dep->pad);
    return offset >= 0 && offset % dep->dilation == 0 && offset / dep->dilation < dep->window;
  case ANAS_DEP_GROUP: return y / dep->out_group == position / dep->in_group;
  case ANAS_DEP_LINEAR: // y is the row-major index
  case ANAS_DEP_DIVMOD: return y / dep->div % extent == position;
  case ANAS_DEP_ALL: return true;
  case ANAS_DEP_FIRST: return position == 0;
  case ANAS_DEP_NONE: return false;
  }
  return false;
}

// Row-major index over the dimensions of a LINEAR dependency: y along j, the centre along the others.
static int64_t linear_index(const struct anas_dep *dep, const struct anas_shape *result, int j, int64_t y) {
  int64_t index = 0;
  for (int d = dep->out_dim; d <= dep->out_last; d++)
    index = index * extent_of(result->dim[d]) + (d == j ? y : extent_of(result->dim[d]) / 2);
  return index;
}

// Does the slice of the result along dimension j, which 'which' follows, read every position of it?
static bool covers(const struct anas_dep *deps, const struct anas_shape *operand, int which, int j,
                   const struct anas_shape *result) {
  const struct anas_dep *dep = &deps[which];
  int64_t extent = extent_of(operand->dim[which]), results = extent_of(result->dim[j]);
  if (dep->kind == ANAS_DEP_LINEAR) {
    for (int64_t position = 0; position < extent; position++) {
      bool read = false;
      for (int64_t y = 0; y < results && !read; y++)
        read = reads_position(dep, extent, linear_index(dep, result, j, y), position) &&
               others_read(deps, operand, which, j, y);
      if (!read) return false;
    }
    return true;
  }
  bool independent = true;
  for (int k = 0; k < operand->rank; k++)
    independent = independent && (k == which || deps[k].kind != ANAS_DEP_WINDOW || !follows(&deps[k], dep->out_dim));
  if (independent) { // closed forms
    if (dep->kind == ANAS_DEP_GROUP) return ((results - 1) / dep->out_group + 1) * dep->in_group >= extent;
    if (dep->kind == ANAS_DEP_DIVMOD) return (results - 1) / dep->div + 1 >= extent;
    if (dep->dilation == 1 && dep->stride <= dep->window) // overlapping windows read one interval
      return dep->pad >= 0 && (results - 1) * dep->stride - dep->pad + dep->window >= extent;
  }
  for (int64_t position = 0; position < extent; position++) {
    bool read = false;
    for (int64_t y = 0; y < results && !read; y++)
      read = reads_position(dep, extent, y, position) && others_read(deps, operand, which, dep->out_dim, y);
    if (!read) return false;
  }
  return true;
}

void anas_mixing_of_op(const struct anas_op *op, int which, const struct anas_shape *result, struct anas_mixing *out) {
  const struct anas_shape *operand = &op->operand[which];
  struct anas_dep deps[ANAS_MAX_RANK] = {0};
  memset(out, 0, sizeof *out);
  out->rows = operand->rank;
  out->columns = result->rank;
  if (op->def->deps)
    op->def->deps(op, which, result, deps);
  else
    elementwise_deps(operand, result, deps);

  int64_t read[ANAS_MAX_RANK]; // positions of each dimension that the centre reads
  bool empty = false;
  for (int i = 0; i < operand->rank; i++) {
    if (deps[i].kind == ANAS_DEP_NONE) return;
    bool constant = deps[i].kind == ANAS_DEP_ALL || deps[i].kind == ANAS_DEP_FIRST;
    int64_t centre = constant ? 0 : extent_of(result->dim[deps[i].out_dim]) / 2;
    read[i] = positions_read(&deps[i], extent_of(operand->dim[i]), centre);
    empty = empty || !read[i];
  }
  for (int i = 0; i < operand->rank; i++) {
    int64_t extent = extent_of(operand->dim[i]);
    if (!empty && read[i] == extent) {
      memset(out->pair[i], ANAS_PAIR_ALL, (size_t)result->rank);
      continue;
    }
    for (int j = 0; j < result->rank; j++) {
      bool slice = true; // unless a dimension reads nothing all along it
      for (int k = 0; empty && k < operand->rank; k++)
        slice = slice && (read[k] || follows(&deps[k], j));
      bool covered = false;
      if (slice && follows(&deps[i], j)) {
        covered = covers(deps, operand, i, j, result);
      } else if (slice && read[i] == extent) {
        for (int64_t y = 0; y < extent_of(result->dim[j]) && !covered; y++)
          covered = others_read(deps, operand, i, j, y);
      }
      if (covered) out->pair[i][j] = !empty && read[i] > 1 ? ANAS_PAIR_MANY : ANAS_PAIR_ONE;
    }
  }
}

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
