// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Groups: nests that are carried out slab by slab, so that what one leaves for the next is still in the cache. A slab
// is a part of the first loop, mostly one or two examples. Kernel functions stay one nest each; only the calls are
// marked (lower.h), and whoever ignores the marks runs them one after the other.
//
// Iteration i of the first loop must touch only the i-th part of every buffer that a member of the group writes and
// another one touches. Nests in between that cannot be members (sums over the whole batch) are put off until the group
// has ended, if nothing in it depends on them.
#include "passes/lower/step.h"

#include <stdlib.h>
#include <string.h>

#define LEAST_SLABS 2
#define MOST_SLAB_BYTES 1500e3  // all that a slab touches
#define MOST_COMMON_BYTES 65536 // that a nest reads anew in every slab: offsets and scales, but no weights
#define LEAST_BYTES 65536       // shared by two nests: less stays in the cache without a group
#define MOST_MEMBERS 16
#define MOST_PUT_OFF 12

struct group {
  const struct anas_lowering *l;
  int member[MOST_MEMBERS], num_members;
  int put_off[MOST_PUT_OFF], num_put_off;
  int64_t slabs;
  double least_bytes; // that two members share
};

static int64_t greatest_divisor(int64_t a, int64_t b) {
  while (b) {
    int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

// Iteration i of loop 0 touches only the i-th of as many equal parts of the buffer.
static bool by_parts(const struct anas_lowering *l, const struct anas_nest *nest, const struct anas_access *access) {
  const struct anas_shape *shape = anas_lower_shape(l, access->buffer);
  int64_t part = 0, least = 0, most = 0, weight = 1;
  for (int d = shape->rank - 1; d >= 0; d--) {
    const struct anas_linear *index = &access->index[d];
    if (access->border[d]) { // anywhere in the dimension
      if (index->coef[0]) return false;
      most += (shape->dim[d] - 1) * weight;
      weight *= shape->dim[d];
      continue;
    }
    least += index->constant * weight;
    most += index->constant * weight;
    part += index->coef[0] * weight;
    for (int k = 1; k < nest->num_loops; k++) {
      int64_t reach = index->coef[k] * weight * (nest->extent[k] - 1);
      *(reach < 0 ? &least : &most) += reach;
    }
    weight *= shape->dim[d];
  }
  return part > 0 && part * nest->extent[0] == weight && least >= 0 && most < part;
}

static bool can_lead(const struct anas_lowering *l, const struct anas_nest *nest) {
  if (nest->num_loops == 0 || nest->reduction[0] || nest->extent[0] < LEAST_SLABS) return false;
  double common = 0;
  for (int i = 0; i < nest->num_in; i++)
    if (!by_parts(l, nest, &nest->in[i])) common += (double)anas_lowering_bytes(l, nest->in[i].buffer);
  for (int j = 0; j < nest->num_out; j++)
    if (!by_parts(l, nest, &nest->out[j])) return false;
  return common <= MOST_COMMON_BYTES;
}

static bool writes(const struct anas_nest *nest, int access) {
  return access >= nest->num_in;
}

// Whether two nests touch the same bytes and one of them writes there. Apart from buffers that both touch part by part,
// if `in_step`.
static bool conflict(const struct anas_lowering *l, const struct anas_nest *a, const struct anas_nest *b,
                     bool in_step) {
  for (int i = 0; i < anas_nest_num_accesses(a); i++)
    for (int j = 0; j < anas_nest_num_accesses(b); j++) {
      const struct anas_access *x = anas_nest_access(a, i), *y = anas_nest_access(b, j);
      if ((!writes(a, i) && !writes(b, j)) || !anas_lowering_overlap(l, x->buffer, y->buffer)) continue;
      int64_t at_x, at_y;
      int storage_x = anas_lowering_locate(l, x->buffer, &at_x), storage_y = anas_lowering_locate(l, y->buffer, &at_y);
      bool same = storage_x == storage_y && at_x == at_y &&
                  anas_lowering_bytes(l, x->buffer) == anas_lowering_bytes(l, y->buffer);
      if (!in_step || !same || !by_parts(l, a, x) || !by_parts(l, b, y)) return true;
    }
  return false;
}

// Bytes of the largest buffer that both touch part by part.
static double shared_bytes(const struct anas_lowering *l, const struct anas_nest *a, const struct anas_nest *b) {
  double most = 0;
  for (int i = 0; i < anas_nest_num_accesses(a); i++)
    for (int j = 0; j < anas_nest_num_accesses(b); j++) {
      const struct anas_access *x = anas_nest_access(a, i), *y = anas_nest_access(b, j);
      double bytes = (double)anas_lowering_bytes(l, x->buffer);
      if (bytes > most && anas_lowering_overlap(l, x->buffer, y->buffer) && by_parts(l, a, x) && by_parts(l, b, y))
        most = bytes;
    }
  return most;
}

// Bytes of all distinct buffers that the members and one more nest touch.
static double total_bytes(const struct group *g, int extra) {
  int seen[(MOST_MEMBERS + 1) * (ANAS_MAX_ACCESSES + ANAS_MAX_RESULTS)], num = 0;
  double bytes = 0;
  for (int m = 0; m <= g->num_members; m++) {
    const struct anas_nest *nest = g->l->nests[m < g->num_members ? g->member[m] : extra];
    for (int i = 0; i < anas_nest_num_accesses(nest); i++) {
      int buffer = anas_nest_access(nest, i)->buffer;
      bool known = false;
      for (int k = 0; k < num && !known; k++)
        known = anas_lowering_overlap(g->l, seen[k], buffer);
      seen[num++] = buffer;
      if (!known) bytes += (double)anas_lowering_bytes(g->l, buffer);
    }
  }
  return bytes;
}

static bool joins(const struct group *g, int n) {
  const struct anas_nest *nest = g->l->nests[n];
  if (g->num_members == MOST_MEMBERS || !can_lead(g->l, nest)) return false;
  int64_t slabs = greatest_divisor(g->slabs, nest->extent[0]);
  if (slabs < LEAST_SLABS || total_bytes(g, n) > MOST_SLAB_BYTES * (double)slabs) return false;
  bool shares = false;
  for (int m = 0; m < g->num_members; m++) {
    const struct anas_nest *member = g->l->nests[g->member[m]];
    if (conflict(g->l, member, nest, true)) return false;
    shares = shares || shared_bytes(g->l, member, nest) >= g->least_bytes;
  }
  for (int p = 0; p < g->num_put_off; p++)
    if (conflict(g->l, g->l->nests[g->put_off[p]], nest, false)) return false;
  return shares;
}

// Members of a group that starts with nest `first`: the nests after it as far as some can be put off. What was put off
// behind the last member is no part of the group's stretch.
static void collect(struct group *g, int first) {
  int num_put_off = 0; // when the last member joined
  g->member[0] = first;
  g->num_members = 1;
  g->num_put_off = 0;
  g->slabs = g->l->nests[first]->extent[0];
  for (int n = first + 1; n < g->l->num_nests; n++) {
    if (joins(g, n)) {
      g->slabs = greatest_divisor(g->slabs, g->l->nests[n]->extent[0]);
      g->member[g->num_members++] = n;
      num_put_off = g->num_put_off;
    } else if (g->num_put_off < MOST_PUT_OFF) {
      g->put_off[g->num_put_off++] = n;
    } else {
      break;
    }
  }
  g->num_put_off = num_put_off;
}

// Puts the members next to each other, then what was put off.
static void reorder(struct anas_lowering *l, const struct group *g) {
  struct anas_nest *nests[MOST_MEMBERS + MOST_PUT_OFF];
  int ops[MOST_MEMBERS + MOST_PUT_OFF], num = 0;
  for (int i = 0; i < g->num_members + g->num_put_off; i++, num++) {
    int n = i < g->num_members ? g->member[i] : g->put_off[i - g->num_members];
    nests[num] = l->nests[n];
    ops[num] = l->nest_op[n];
  }
  memcpy(l->nests + g->member[0], nests, sizeof *nests * (size_t)num);
  memcpy(l->nest_op + g->member[0], ops, sizeof *ops * (size_t)num);
}

void anas_step_group(struct anas_step *step, int64_t group_bytes) {
  struct anas_lowering *l = step->lowering;
  step->groups = anas_realloc(step->groups, sizeof *step->groups * (size_t)(l->num_nests + 1));
  for (int n = 0; n < l->num_nests; n++)
    step->groups[n] = (struct anas_step_group){n, n, 1};
  struct group g = {.l = l, .least_bytes = group_bytes ? (double)group_bytes : LEAST_BYTES};
  for (int n = 0; n < l->num_nests;) {
    g.num_members = 1;
    if (can_lead(l, l->nests[n])) collect(&g, n);
    if (g.num_members > 1) {
      reorder(l, &g);
      for (int i = n; i < n + g.num_members; i++)
        step->groups[i] = (struct anas_step_group){n, n + g.num_members - 1, g.slabs};
    }
    n += g.num_members;
  }
}
