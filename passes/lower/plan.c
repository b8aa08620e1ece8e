// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The static memory plan: temporaries whose lives overlap get disjoint addresses. Temporaries are placed one after the
// other, each into the smallest gap it fits (best fit). Which order leaves the fewest holes depends on the network, so
// several are tried until one reaches the lower bound; then whatever sticks out at the top of the best plan is placed
// first and the rest again. Orders are total: the plan is a function of the step.
#include "passes/lower/step.h"

#include <stdlib.h>
#include <string.h>

#define MOST_REPAIRS 48

struct temporary {
  int buffer;
  int64_t bytes;
  int first, last;
  bool at_peak; // lives when most does
  int64_t address, best;
};

struct plan {
  struct temporary *temporaries;
  struct temporary **order, **placed; // placed: by address
  int count;
  int64_t start, bound, best; // bytes: first free address, no plan ends lower, end of the best plan so far
};

// ---- orders

static int compare_ints(int64_t a, int64_t b) {
  return (a > b) - (a < b);
}

static int compare_size(const void *left, const void *right) {
  const struct temporary *a = *(struct temporary *const *)left, *b = *(struct temporary *const *)right;
  if (a->bytes != b->bytes) return compare_ints(b->bytes, a->bytes);
  return a->first != b->first ? compare_ints(a->first, b->first) : compare_ints(a->buffer, b->buffer);
}

static int compare_peak(const void *left, const void *right) {
  const struct temporary *a = *(struct temporary *const *)left, *b = *(struct temporary *const *)right;
  return a->at_peak != b->at_peak ? (a->at_peak ? -1 : 1) : compare_size(left, right);
}

static int compare_life(const void *left, const void *right) {
  const struct temporary *a = *(struct temporary *const *)left, *b = *(struct temporary *const *)right;
  int64_t life_a = a->last - a->first, life_b = b->last - b->first;
  return life_a != life_b ? compare_ints(life_b, life_a) : compare_size(left, right);
}

static int compare_area(const void *left, const void *right) {
  const struct temporary *a = *(struct temporary *const *)left, *b = *(struct temporary *const *)right;
  double area_a = (double)a->bytes * (a->last - a->first + 1), area_b = (double)b->bytes * (b->last - b->first + 1);
  return area_a != area_b ? (area_a > area_b ? -1 : 1) : compare_size(left, right);
}

// Those at the peak by life: what lives longest lies below, like the saved values of a forward pass.
static int compare_peak_life(const void *left, const void *right) {
  const struct temporary *a = *(struct temporary *const *)left, *b = *(struct temporary *const *)right;
  return a->at_peak != b->at_peak ? (a->at_peak ? -1 : 1) : compare_life(left, right);
}

static int compare_first(const void *left, const void *right) {
  const struct temporary *a = *(struct temporary *const *)left, *b = *(struct temporary *const *)right;
  return a->first != b->first ? compare_ints(a->first, b->first) : compare_size(left, right);
}

// ---- placing

// Address for t beside the n temporaries placed already.
static int64_t find_gap(const struct plan *plan, int n, const struct temporary *t) {
  int64_t end = plan->start, best = -1, best_size = 0;
  for (int i = 0; i < n; i++) {
    const struct temporary *other = plan->placed[i];
    if (other->first > t->last || t->first > other->last) continue;
    int64_t size = other->address - end;
    if (size >= t->bytes && (best < 0 || size < best_size)) {
      best = end;
      best_size = size;
    }
    if (other->address + other->bytes > end) end = other->address + other->bytes;
  }
  return best >= 0 ? best : end;
}

// Places all in plan->order; keeps the result if it is the best so far. Returns false once the bound is reached.
static bool try_order(struct plan *plan) {
  int64_t end = plan->start;
  for (int n = 0; n < plan->count; n++) {
    struct temporary *t = plan->order[n];
    t->address = find_gap(plan, n, t);
    if (t->address + t->bytes > end) end = t->address + t->bytes;
    int at = n;
    for (; at > 0 && plan->placed[at - 1]->address > t->address; at--)
      plan->placed[at] = plan->placed[at - 1];
    plan->placed[at] = t;
  }
  if (plan->best < 0 || end < plan->best) {
    plan->best = end;
    for (int i = 0; i < plan->count; i++)
      plan->temporaries[i].best = plan->temporaries[i].address;
  }
  return plan->best > plan->bound;
}

// Moves the temporaries that end highest to the front of the order. False if they are there already.
static bool raise_highest(struct plan *plan) {
  int64_t end = 0;
  for (int i = 0; i < plan->count; i++)
    if (plan->order[i]->address + plan->order[i]->bytes > end) end = plan->order[i]->address + plan->order[i]->bytes;
  int front = 0;
  bool moved = false;
  for (int i = 0; i < plan->count; i++) {
    struct temporary *t = plan->order[i];
    if (t->address + t->bytes < end) continue;
    moved |= i != front;
    memmove(&plan->order[front + 1], &plan->order[front], sizeof(struct temporary *) * (size_t)(i - front));
    plan->order[front++] = t;
  }
  return moved;
}

static void search_plan(struct plan *plan) {
  static int (*const orders[])(const void *, const void *) = {compare_size,      compare_peak, compare_area,
                                                              compare_peak_life, compare_life, compare_first};
  enum { NUM_ORDERS = sizeof orders / sizeof *orders };
  int best_order = 0;
  for (int o = 0; o < NUM_ORDERS; o++) {
    int64_t before = plan->best;
    qsort(plan->order, (size_t)plan->count, sizeof(struct temporary *), orders[o]);
    if (!try_order(plan)) return;
    if (plan->best != before) best_order = o;
  }
  qsort(plan->order, (size_t)plan->count, sizeof(struct temporary *), orders[best_order]);
  try_order(plan);
  for (int i = 0; i < MOST_REPAIRS && raise_highest(plan); i++)
    if (!try_order(plan)) return;
}

anas_status anas_step_plan(struct anas_step *step, const struct anas_layout *layout) {
  struct anas_lowering *l = step->lowering;
  ANAS_RETURN_IF_ERROR(anas_step_find_lives(step, layout));
  step->shape_address = layout->io_end;
  struct plan plan = {.start = layout->io_end + anas_align(step->shape_bytes), .bound = step->live_bytes, .best = -1};
  plan.temporaries = anas_calloc((size_t)l->num_buffers, sizeof *plan.temporaries);
  for (int b = 0; b < l->num_buffers; b++)
    if (anas_step_is_temporary(step, b))
      plan.temporaries[plan.count++] =
          (struct temporary){.buffer = b,
                             .bytes = anas_align(anas_lowering_bytes(l, b)),
                             .first = step->first_use[b],
                             .last = step->last_use[b],
                             .at_peak = step->first_use[b] <= step->peak && step->peak <= step->last_use[b]};
  plan.order = anas_calloc((size_t)plan.count, sizeof(struct temporary *));
  plan.placed = anas_calloc((size_t)plan.count, sizeof(struct temporary *));
  for (int i = 0; i < plan.count; i++)
    plan.order[i] = &plan.temporaries[i];
  search_plan(&plan);
  for (int i = 0; i < plan.count; i++)
    l->buffers[plan.temporaries[i].buffer]->address = plan.temporaries[i].best;
  step->arena_bytes = plan.best;
  free(plan.placed);
  free(plan.order);
  free(plan.temporaries);
  return ANAS_OK;
}
