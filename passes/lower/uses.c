// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Who reads and writes a buffer; dead nests; reuse of dying inputs as outputs.
#include "passes/lower/step.h"

#include <stdlib.h>

bool anas_nest_reads(const struct anas_lowering *l, const struct anas_nest *nest, int buffer) {
  for (int i = 0; i < nest->num_in; i++)
    if (anas_lowering_overlap(l, nest->in[i].buffer, buffer)) return true;
  for (int j = 0; j < nest->num_out; j++)
    if (anas_lowering_overlap(l, nest->out[j].buffer, buffer) && anas_nest_uses_output(nest, j)) return true;
  return false;
}

bool anas_nest_writes(const struct anas_lowering *l, const struct anas_nest *nest, int buffer) {
  for (int j = 0; j < nest->num_out; j++)
    if (anas_lowering_overlap(l, nest->out[j].buffer, buffer)) return true;
  return false;
}

// A buffer is needed once a later nest reads it, or if it outlives the step.
void anas_step_remove_dead(struct anas_step *step) {
  struct anas_lowering *l = step->lowering;
  bool *needed = anas_calloc((size_t)l->num_buffers, sizeof *needed), *dead = anas_calloc((size_t)l->num_nests, 1);
  for (int b = 0; b < l->num_buffers; b++)
    needed[b] = l->buffers[b]->alias < 0 && l->buffers[b]->place != ANAS_PLACE_ARENA;
  for (int n = l->num_nests - 1; n >= 0; n--) {
    const struct anas_nest *nest = l->nests[n];
    dead[n] = true;
    for (int j = 0; j < nest->num_out; j++)
      if (needed[anas_lowering_storage(l, nest->out[j].buffer)]) dead[n] = false;
    for (int i = 0; i < nest->num_in && !dead[n]; i++)
      needed[anas_lowering_storage(l, nest->in[i].buffer)] = true;
    for (int j = 0; j < nest->num_out && !dead[n]; j++)
      needed[anas_lowering_storage(l, nest->out[j].buffer)] = true;
  }
  anas_lowering_remove(l, dead);
  free(needed);
  free(dead);
}

static bool touches_buffer(const struct anas_lowering *l, const struct anas_nest *nest, int buffer) {
  for (int i = 0; i < anas_nest_num_accesses(nest); i++)
    if (anas_lowering_overlap(l, anas_nest_access(nest, i)->buffer, buffer)) return true;
  return false;
}

// Whether a nest in [from, to) touches the buffer.
static bool touched(const struct anas_lowering *l, const struct anas_touches *touches, int from, int to, int buffer) {
  int storage = anas_lowering_storage(l, buffer);
  for (const struct anas_touch *t = anas_touches_after(touches, storage, from - 1); t->nest < to; t++)
    if (touches_buffer(l, l->nests[t->nest], buffer)) return true;
  return false;
}

// Input i of nest n dies there, and output j can take its storage.
static bool reusable(const struct anas_lowering *l, const struct anas_touches *touches, int n, int i, int j) {
  const struct anas_nest *nest = l->nests[n];
  int in = nest->in[i].buffer, out = nest->out[j].buffer;
  int in_storage = anas_lowering_storage(l, in), out_storage = anas_lowering_storage(l, out);
  const struct anas_shape *shape = anas_lower_shape(l, out);
  if (in_storage == out_storage || l->buffers[in_storage]->place != ANAS_PLACE_ARENA ||
      l->buffers[out_storage]->place != ANAS_PLACE_ARENA)
    return false;
  if (!anas_shape_equal(anas_lower_shape(l, in), shape) ||
      anas_lowering_bytes(l, in_storage) != anas_lowering_bytes(l, in) ||
      anas_lowering_bytes(l, out_storage) != anas_lowering_bytes(l, out) ||
      !anas_access_same_index(&nest->in[i], &nest->out[j], shape->rank))
    return false;
  for (int k = 0; k < anas_nest_num_accesses(nest); k++) // the only access of the nest to either
    if (k != i && k != nest->num_in + j &&
        (anas_lowering_overlap(l, anas_nest_access(nest, k)->buffer, in) ||
         anas_lowering_overlap(l, anas_nest_access(nest, k)->buffer, out)))
      return false;
  return !touched(l, touches, n + 1, l->num_nests, in) && !touched(l, touches, 0, n, out);
}

void anas_step_reuse_in_place(struct anas_step *step) {
  struct anas_lowering *l = step->lowering;
  struct anas_touches touches = {0};
  anas_touches_init(&touches, l);
  for (int n = 0; n < l->num_nests; n++) {
    const struct anas_nest *nest = l->nests[n];
    bool parallel = true;
    for (int k = 0; k < nest->num_loops; k++)
      parallel &= !nest->reduction[k] || nest->extent[k] == 1;
    for (int j = 0; j < nest->num_out && parallel; j++) {
      if (nest->fill[j] != ANAS_NO_FILL || !anas_access_bijective(l, nest, &nest->out[j])) continue;
      for (int i = 0; i < nest->num_in; i++)
        if (reusable(l, &touches, n, i, j)) {
          int in = anas_lowering_storage(l, nest->in[i].buffer), out = anas_lowering_storage(l, nest->out[j].buffer);
          anas_lowering_alias(l, out, in, 0);
          anas_touches_merge(&touches, out, in);
          break;
        }
    }
  }
  anas_touches_deinit(&touches);
}
