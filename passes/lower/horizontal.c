// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Horizontal ops (optimizers): their instances over tensors that lie one after another in memory become one nest over
// the whole stretch. Parameters and momenta are neighbours by the layout of the parameter buffer; gradients, which are
// temporaries, are put into one slab in the same order. Tensors are padded to ANAS_ALIGNMENT; the padding is updated
// along, with values that nothing reads.
// A stretch ends after UPDATE_BYTES, and its nest runs as soon as its last gradient is known and nothing reads the old
// parameters any more: gradients then die early, and are still in a cache when they are used. So large a launch costs
// milliseconds, beside which the microseconds of starting it do not count.
// The length of a stretch belongs to one network. Where code is to be found again for the next one, a stretch is cut
// into a few pieces, the lengths of which are those of every network (anas_update_piece).
#include "passes/lower/step.h"

#include <stdlib.h>
#include <string.h>

#define UPDATE_BYTES ((int64_t)4 << 20)

// Access a of an instance reads one element that all instances share, instead of running along.
static bool is_shared(const struct anas_lowering *l, const struct anas_nest *nest, int a) {
  if (a >= nest->num_in) return false;
  const struct anas_shape *shape = anas_lower_shape(l, nest->in[a].buffer);
  return shape->rank == 1 && shape->dim[0] == 1 && anas_linear_single_loop(&nest->in[a].index[0]) < 0;
}

// One loop nest that visits every element of its operands in memory order, or reads single elements.
static bool is_instance(const struct anas_lowering *l, const struct anas_nest *nest) {
  const struct anas_access *lead = &nest->out[0];
  const struct anas_shape *shape = anas_lower_shape(l, lead->buffer);
  if (shape->element != ANAS_F32 || !anas_access_bijective(l, nest, lead)) return false;
  for (int a = 0; a < anas_nest_num_accesses(nest); a++) {
    const struct anas_access *access = anas_nest_access(nest, a);
    if (!is_shared(l, nest, a) && (!anas_shape_equal(anas_lower_shape(l, access->buffer), shape) ||
                                   !anas_access_same_index(access, lead, shape->rank)))
      return false;
  }
  for (int j = 0; j < nest->num_out; j++) {
    int storage = anas_lowering_storage(l, nest->out[j].buffer); // outputs must be permanent
    if (nest->fill[j] != ANAS_NO_FILL || l->buffers[storage]->place != ANAS_PLACE_PARAMS) return false;
  }
  for (int k = 0; k < nest->num_loops; k++)
    if (nest->reduction[k]) return false;
  return !strstr(anas_strbuf_text(&nest->body), "linalg.index");
}

// Whether instance 'next' can follow 'previous' in a run: equal computation, neighbouring operands.
static bool follows(const struct anas_lowering *l, const struct anas_nest *previous, const struct anas_nest *next) {
  if (previous->num_in != next->num_in || previous->num_out != next->num_out ||
      strcmp(anas_strbuf_text(&previous->body), anas_strbuf_text(&next->body)) != 0)
    return false;
  for (int j = 0; j < next->num_out; j++)
    if (strcmp(previous->yield[j], next->yield[j]) != 0) return false;
  for (int a = 0; a < anas_nest_num_accesses(next); a++) {
    int before = anas_nest_access(previous, a)->buffer, after = anas_nest_access(next, a)->buffer;
    bool shared = is_shared(l, next, a);
    if (shared != is_shared(l, previous, a) || (shared && !anas_lowering_same(l, before, after))) return false;
    if (shared) continue;
    int64_t at_before, at_after;
    int storage_before = anas_lowering_locate(l, before, &at_before);
    int storage_after = anas_lowering_locate(l, after, &at_after);
    bool kept_before = l->buffers[storage_before]->place == ANAS_PLACE_PARAMS;
    bool kept_after = l->buffers[storage_after]->place == ANAS_PLACE_PARAMS;
    if (kept_before != kept_after) return false;
    if (kept_before &&
        (storage_before != storage_after || at_after != at_before + anas_align(anas_lowering_bytes(l, before))))
      return false;
  }
  return true;
}

// Gives a temporary its place in the slab. If its storage is not free to move, the instance reads a copy.
static void put_into_slab(struct anas_step *step, struct anas_nest *nest, int input, int slab, int64_t offset) {
  struct anas_lowering *l = step->lowering;
  int buffer = nest->in[input].buffer, storage = anas_lowering_storage(l, buffer);
  if (l->buffers[storage]->place != ANAS_PLACE_ARENA || storage == slab ||
      anas_lowering_bytes(l, storage) != anas_lowering_bytes(l, buffer)) {
    storage = anas_lowering_buffer(l, anas_lower_shape(l, buffer));
    anas_step_append_copy(step, buffer, storage);
    nest->in[input].buffer = storage;
  }
  anas_lowering_alias(l, storage, slab, offset);
}

// Two lengths an octave: the largest that fits, so that few pieces make up a stretch.
int64_t anas_update_piece(int64_t elements) {
  const int64_t least = ANAS_ALIGNMENT / (int64_t)anas_element_bytes(ANAS_F32);
  int64_t size = least;
  if (elements <= least) return elements;
  while (2 * size <= elements)
    size *= 2;
  return size > least && size / 2 * 3 <= elements ? size / 2 * 3 : size;
}

// The computation of lead over elements [at, at + size) of whole stretches.
static void append_piece(struct anas_step *step, const struct anas_nest *lead, const int *whole, int64_t at,
                         int64_t size) {
  struct anas_lowering *l = step->lowering;
  struct anas_shape shape = {.rank = 1, .element = ANAS_F32, .dim = {size}};
  struct anas_nest *piece = anas_lower_nest(l, lead->kind);
  anas_nest_loop(piece, size, false);
  for (int a = 0; a < anas_nest_num_accesses(lead); a++) {
    bool shared = is_shared(l, lead, a);
    int operand = whole[a];
    if (!shared && size < anas_lower_shape(l, operand)->dim[0]) {
      int64_t offset;
      int storage = anas_lowering_locate(l, whole[a], &offset);
      operand = anas_lowering_buffer(l, &shape);
      anas_lowering_alias(l, operand, storage, offset + at * (int64_t)anas_element_bytes(ANAS_F32));
    }
    struct anas_access *access =
        a < lead->num_in ? anas_nest_in(piece, operand) : anas_nest_out(piece, operand, ANAS_NO_FILL);
    if (!shared) anas_access_add(access, 0, 0, 1);
  }
  anas_strbuf_adds(&piece->body, anas_strbuf_text(&lead->body));
  memcpy(piece->yield, lead->yield, sizeof piece->yield);
  piece->next_local = lead->next_local;
}

// The merged nests of instances[first..first+count), appended to the step (after the copies they need).
static void merge_run(struct anas_step *step, struct anas_nest *const *instances, int count, bool pieces) {
  struct anas_lowering *l = step->lowering;
  const struct anas_nest *lead = instances[0];
  int64_t bytes = 0;
  for (int i = 0; i < count; i++)
    bytes += anas_align(anas_lowering_bytes(l, instances[i]->out[0].buffer));
  struct anas_shape flat = {.rank = 1, .element = ANAS_F32, .dim = {bytes / anas_element_bytes(ANAS_F32)}};
  int operand[ANAS_MAX_ACCESSES + ANAS_MAX_RESULTS];
  for (int a = 0; a < anas_nest_num_accesses(lead); a++) {
    operand[a] = anas_nest_access(lead, a)->buffer;
    if (is_shared(l, lead, a)) continue;
    int64_t at;
    int storage = anas_lowering_locate(l, operand[a], &at), whole = anas_lowering_buffer(l, &flat);
    if (l->buffers[storage]->place == ANAS_PLACE_PARAMS) {
      anas_lowering_alias(l, whole, storage, at);
    } else {
      int64_t offset = 0;
      for (int i = 0; i < count; i++) {
        put_into_slab(step, instances[i], a, whole, offset);
        offset += anas_align(anas_lowering_bytes(l, instances[i]->out[0].buffer));
      }
    }
    operand[a] = whole;
  }
  for (int64_t at = 0, size; at < flat.dim[0]; at += size) {
    size = pieces ? anas_update_piece(flat.dim[0] - at) : flat.dim[0];
    append_piece(step, lead, operand, at, size);
  }
}

// The first position (number of the nest it comes before) at which an instance can run: after every other nest that
// touches what it writes or writes what it reads. Nests that follow it and do so, too, keep it where it is: -1.
static int earliest(const struct anas_lowering *l, const struct anas_touches *touches, const bool *is_one, int n) {
  const struct anas_nest *nest = l->nests[n];
  int last = -1;
  for (int a = 0; a < anas_nest_num_accesses(nest); a++) {
    int buffer = anas_nest_access(nest, a)->buffer, storage = anas_lowering_storage(l, buffer);
    bool writes = a >= nest->num_in;
    for (const struct anas_touch *t = anas_touches_before(touches, storage, l->num_nests); t->nest > last; t--)
      if (!is_one[t->nest] && ((t->writes && anas_nest_writes(l, l->nests[t->nest], buffer)) ||
                               (writes && anas_nest_reads(l, l->nests[t->nest], buffer))))
        last = t->nest;
  }
  return last > n ? -1 : last + 1;
}

// Number of instances, from the first on, that become one nest.
static int group_size(const struct anas_lowering *l, struct anas_nest *const *instances, int count,
                      int64_t update_bytes) {
  int64_t bytes = anas_lowering_bytes(l, instances[0]->out[0].buffer);
  int size = 1;
  while (size < count && bytes < update_bytes && follows(l, instances[size - 1], instances[size]))
    bytes += anas_lowering_bytes(l, instances[size++]->out[0].buffer);
  return size;
}

// Merges all instances and moves the merged nests to their places. position[i]: earliest one of instances[i].
static void merge_all(struct anas_step *step, struct anas_nest *const *instances, const int *position, int count,
                      const bool *is_one, int64_t update_bytes, bool pieces) {
  struct anas_lowering *l = step->lowering;
  int num_nests = l->num_nests, num_keys = 2 * num_nests + 2, *key = NULL;
  size_t capacity = 0;
  for (int n = 0; n < num_nests; n++) {
    key = anas_grow(key, (size_t)n, &capacity, sizeof *key);
    key[n] = 2 * n + 1;
  }
  for (int first = 0, size; first < count; first += size) {
    size = group_size(l, instances + first, count - first, update_bytes);
    int at = 0;
    for (int i = first; i < first + size; i++)
      at = position[i] > at ? position[i] : at;
    int before = l->num_nests;
    merge_run(step, instances + first, size, pieces);
    for (int n = before; n < l->num_nests; n++) {
      key = anas_grow(key, (size_t)n, &capacity, sizeof *key);
      key[n] = 2 * at;
    }
  }
  bool *dead = anas_calloc((size_t)l->num_nests, sizeof *dead);
  memcpy(dead, is_one, (size_t)num_nests);
  int kept = 0;
  for (int n = 0; n < l->num_nests; n++)
    if (!dead[n]) key[kept++] = key[n];
  anas_lowering_remove(l, dead);
  anas_lowering_reorder(l, key, num_keys);
  free(dead);
  free(key);
}

anas_status anas_step_merge_horizontal(struct anas_step *step, int64_t update_bytes, bool pieces) {
  struct anas_lowering *l = step->lowering;
  int num_nests = l->num_nests, count = 0;
  bool *is_one = anas_calloc((size_t)num_nests, sizeof *is_one);
  int *position = anas_calloc((size_t)num_nests, sizeof *position);
  struct anas_nest **instances = anas_calloc((size_t)num_nests, sizeof *instances);
  struct anas_touches touches = {0};
  anas_status status = ANAS_OK;
  for (int n = 0; n < num_nests && status == ANAS_OK; n++) {
    if (l->nest_op[n] >= l->num_ops || !step->op_defs[l->nest_op[n]]->horizontal) continue;
    status = anas_nest_simplify(l, l->nests[n]);
    is_one[n] = status == ANAS_OK && is_instance(l, l->nests[n]);
  }
  anas_touches_init(&touches, l);
  for (int n = num_nests - 1; n >= 0 && status == ANAS_OK; n--)
    if (is_one[n]) is_one[n] = earliest(l, &touches, is_one, n) >= 0;
  for (int n = 0; n < num_nests && status == ANAS_OK; n++)
    if (is_one[n]) {
      position[count] = earliest(l, &touches, is_one, n);
      instances[count++] = l->nests[n];
    }
  if (status == ANAS_OK && count)
    merge_all(step, instances, position, count, is_one, update_bytes ? update_bytes : UPDATE_BYTES, pieces);
  anas_touches_deinit(&touches);
  free(is_one);
  free(position);
  free(instances);
  return status;
}
