// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The static memory plan: a temporary lives from the first to the last nest that touches it; temporaries whose lives
// overlap get disjoint addresses. Largest first, each into the smallest gap it fits (best fit); the order is total, so
// the plan is a function of the step.
#include "passes/lower/step.h"

#include <stdlib.h>
#include <string.h>

struct temporary {
  int buffer;
  int64_t bytes;
  int first, last;
};

static int compare_size(const void *left, const void *right) {
  const struct temporary *a = left, *b = right;
  if (a->bytes != b->bytes) return a->bytes > b->bytes ? -1 : 1;
  if (a->first != b->first) return a->first < b->first ? -1 : 1;
  return a->buffer < b->buffer ? -1 : 1;
}

struct taken {
  int64_t start, end;
};

static int compare_start(const void *left, const void *right) {
  const struct taken *a = left, *b = right;
  if (a->start != b->start) return a->start < b->start ? -1 : 1;
  return a->end < b->end ? -1 : a->end > b->end;
}

// Address for t beside the n temporaries already placed.
static int64_t find_gap(const struct anas_lowering *l, const struct temporary *placed, int n, const struct temporary *t,
                        int64_t start, struct taken *taken) {
  int count = 0;
  for (int i = 0; i < n; i++)
    if (placed[i].first <= t->last && t->first <= placed[i].last) {
      int64_t address = l->buffers[placed[i].buffer]->address;
      taken[count++] = (struct taken){address, address + placed[i].bytes};
    }
  qsort(taken, (size_t)count, sizeof *taken, compare_start);
  int64_t end = start, best = -1, best_size = 0;
  for (int i = 0; i < count; i++) {
    int64_t size = taken[i].start - end;
    if (size >= t->bytes && (best < 0 || size < best_size)) {
      best = end;
      best_size = size;
    }
    if (taken[i].end > end) end = taken[i].end;
  }
  return best >= 0 ? best : end;
}

// First and last nest that touches each buffer with own storage; storage of shape operands. Reading what nothing has
// written is an error.
static anas_status find_lives(struct anas_step *step) {
  const struct anas_lowering *l = step->lowering;
  for (int b = 0; b < l->num_buffers; b++)
    step->first_use[b] = step->last_use[b] = -1;
  for (int n = 0; n < l->num_nests; n++) {
    const struct anas_nest *nest = l->nests[n];
    for (int a = 0; a < anas_nest_num_accesses(nest); a++) {
      int storage = anas_lowering_storage(l, anas_nest_access(nest, a)->buffer);
      bool output = a >= nest->num_in;
      if (step->first_use[storage] < 0) {
        bool reads =
            !output || (nest->fill[a - nest->num_in] == ANAS_NO_FILL && anas_nest_uses_output(nest, a - nest->num_in));
        if (reads && l->buffers[storage]->place == ANAS_PLACE_ARENA)
          return anas_fail(ANAS_INTERNAL, "nest '%s' reads a buffer that nothing has written", nest->kind);
        step->first_use[storage] = n;
      }
      step->last_use[storage] = n;
    }
  }
  return ANAS_OK;
}

anas_status anas_step_plan(struct anas_step *step, const struct anas_layout *layout) {
  struct anas_lowering *l = step->lowering;
  step->first_use = anas_realloc(step->first_use, sizeof *step->first_use * (size_t)l->num_buffers);
  step->last_use = anas_realloc(step->last_use, sizeof *step->last_use * (size_t)l->num_buffers);
  ANAS_RETURN_IF_ERROR(find_lives(step));
  struct temporary *temporaries = anas_calloc((size_t)l->num_buffers, sizeof *temporaries);
  struct taken *taken = anas_calloc((size_t)l->num_buffers, sizeof *taken);
  int count = 0;
  for (int b = 0; b < l->num_buffers; b++)
    if (l->buffers[b]->alias < 0 && l->buffers[b]->place == ANAS_PLACE_ARENA && step->first_use[b] >= 0)
      temporaries[count++] = (struct temporary){.buffer = b,
                                                .bytes = anas_align(anas_lowering_bytes(l, b)),
                                                .first = step->first_use[b],
                                                .last = step->last_use[b]};
  qsort(temporaries, (size_t)count, sizeof *temporaries, compare_size);
  step->shape_address = layout->io_end;
  int64_t start = layout->io_end + anas_align(step->shape_bytes);
  step->arena_bytes = start;
  for (int i = 0; i < count; i++) {
    int64_t address = find_gap(l, temporaries, i, &temporaries[i], start, taken);
    l->buffers[temporaries[i].buffer]->address = address;
    if (address + temporaries[i].bytes > step->arena_bytes) step->arena_bytes = address + temporaries[i].bytes;
  }
  free(taken);
  free(temporaries);
  return ANAS_OK;
}
