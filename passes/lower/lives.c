// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Lives of temporaries: from the first to the last nest that touches them, and the most bytes that live at one time.
#include "passes/lower/step.h"

#include <stdlib.h>

bool anas_step_is_temporary(const struct anas_step *step, int buffer) {
  const struct anas_buffer *b = step->lowering->buffers[buffer];
  return b->alias < 0 && b->place == ANAS_PLACE_ARENA && step->first_use[buffer] >= 0;
}

// Reading what nothing has written is an error. What a group touches lives as long as the group: its nests take turns.
static anas_status find_uses(struct anas_step *step) {
  const struct anas_lowering *l = step->lowering;
  for (int b = 0; b < l->num_buffers; b++)
    step->first_use[b] = step->last_use[b] = -1;
  for (int n = 0; n < l->num_nests; n++) {
    const struct anas_nest *nest = l->nests[n];
    int first = step->groups ? step->groups[n].first : n, last = step->groups ? step->groups[n].last : n;
    for (int a = 0; a < anas_nest_num_accesses(nest); a++) {
      int storage = anas_lowering_storage(l, anas_nest_access(nest, a)->buffer);
      bool output = a >= nest->num_in;
      if (step->first_use[storage] < 0) {
        bool reads =
            !output || (nest->fill[a - nest->num_in] == ANAS_NO_FILL && anas_nest_uses_output(nest, a - nest->num_in));
        if (reads && l->buffers[storage]->place == ANAS_PLACE_ARENA)
          return anas_fail(ANAS_INTERNAL, "nest '%s' reads a buffer that nothing has written", nest->kind);
        step->first_use[storage] = first;
      }
      step->last_use[storage] = last;
    }
  }
  return ANAS_OK;
}

anas_status anas_step_find_lives(struct anas_step *step, const struct anas_layout *layout) {
  const struct anas_lowering *l = step->lowering;
  step->first_use = anas_realloc(step->first_use, sizeof *step->first_use * (size_t)l->num_buffers);
  step->last_use = anas_realloc(step->last_use, sizeof *step->last_use * (size_t)l->num_buffers);
  ANAS_RETURN_IF_ERROR(find_uses(step));
  int64_t *change = anas_calloc((size_t)l->num_nests + 1, sizeof *change); // of the live bytes before each nest
  for (int b = 0; b < l->num_buffers; b++)
    if (anas_step_is_temporary(step, b)) {
      int64_t bytes = anas_align(anas_lowering_bytes(l, b));
      change[step->first_use[b]] += bytes;
      change[step->last_use[b] + 1] -= bytes;
    }
  int64_t live = layout->io_end + anas_align(step->shape_bytes);
  step->live_bytes = live;
  step->peak = 0;
  for (int n = 0; n < l->num_nests; n++) {
    live += change[n];
    if (live <= step->live_bytes) continue;
    step->live_bytes = live;
    step->peak = n;
  }
  free(change);
  return ANAS_OK;
}
