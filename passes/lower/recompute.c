// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Recomputation: values that the backward pass reads again are computed again instead of kept, until the step fits a
// limit.
//
// The rule. Look at the nest at which most lives. Of the temporaries that wait there for a later use, each can be
// dropped after its last use before and computed again right before its next one, by the same kernel functions from
// the same operands. Operands that have died by then are either kept longer or computed again, too, whichever takes
// less memory at the peak; so what is dropped may be a single elementwise value, a packed copy, or a segment of the
// network back to what is still there. Take the one that frees most bytes at the peak for a second of computation
// (estimated), as long as nothing exceeds the old peak anywhere; repeat. Cheap values go first because elementwise
// nests free most bytes a second; convolutions follow when they must.
//
// Values are equal bit by bit: a nest computed twice is one kernel function, called twice.
#include "passes/lower/step.h"

#include <stdlib.h>
#include <string.h>

#define MAX_WRITERS 8  // nests that make up one value
#define MAX_VALUES 12  // values computed again for one
#define FLOPS 50e9     // a second, for estimates: only the ratio to
#define BANDWIDTH 10e9 // bytes a second matters
#define MAX_GROWTH 6   // times as many nests as at the beginning

struct value { // storage that a nest before the gap writes, computed again
  int storage;
  int writers[MAX_WRITERS];
  int num_writers;
};

struct candidate {
  struct value values[MAX_VALUES]; // values[0] is dropped; those after it are operands of earlier ones
  int num_values;
  int kept[MAX_VALUES * MAX_WRITERS]; // operands that have to live longer
  int num_kept;
  int from, to; // last use before the gap, first after it
  double freed; // bytes at the peak
  double seconds;
};

struct search {
  struct anas_step *step;
  struct anas_lowering *l;
  int64_t *live; // bytes per nest
  struct anas_touches touches;
};

// ---- facts about the step

static int64_t storage_bytes(const struct search *s, int storage) {
  return anas_align(anas_lowering_bytes(s->l, storage));
}

static void find_live(struct search *s) {
  const struct anas_step *step = s->step;
  s->live = anas_realloc(s->live, ((size_t)s->l->num_nests + 1) * sizeof *s->live);
  memset(s->live, 0, ((size_t)s->l->num_nests + 1) * sizeof *s->live);
  for (int b = 0; b < s->l->num_buffers; b++)
    if (anas_step_is_temporary(step, b)) {
      s->live[step->first_use[b]] += storage_bytes(s, b);
      s->live[step->last_use[b] + 1] -= storage_bytes(s, b);
    }
  for (int n = 1; n <= s->l->num_nests; n++)
    s->live[n] += s->live[n - 1];
}

// Whether a nest between the writer and `to` changes what the writer reads in its input i.
static bool input_changes(const struct search *s, int writer, int i, int to) {
  int buffer = s->l->nests[writer]->in[i].buffer, storage = anas_lowering_storage(s->l, buffer);
  for (const struct anas_touch *t = anas_touches_after(&s->touches, storage, writer); t->nest < to; t++)
    if (t->writes && anas_nest_writes(s->l, s->l->nests[t->nest], buffer)) return true;
  return false;
}

static double nest_seconds(const struct anas_lowering *l, const struct anas_nest *nest) {
  double iterations = 1, bytes = 0;
  for (int k = 0; k < nest->num_loops; k++)
    iterations *= (double)nest->extent[k];
  for (int a = 0; a < anas_nest_num_accesses(nest); a++)
    bytes += (double)anas_lowering_bytes(l, anas_nest_access(nest, a)->buffer);
  return iterations * anas_body_flops(anas_strbuf_text(&nest->body)) / FLOPS + bytes / BANDWIDTH;
}

// ---- candidates

// The nests that write a storage, all of them before `before`. False if it cannot be computed again.
static bool find_writers(const struct search *s, int storage, int before, struct value *out) {
  const struct anas_lowering *l = s->l;
  *out = (struct value){.storage = storage};
  for (const struct anas_touch *t = anas_touches_after(&s->touches, storage, -1); t->nest < l->num_nests; t++) {
    const struct anas_nest *nest = l->nests[t->nest];
    if (!t->writes) continue;
    if (t->nest >= before || out->num_writers == MAX_WRITERS) return false;
    for (int j = 0; j < nest->num_out; j++)
      if (l->buffers[anas_lowering_storage(l, nest->out[j].buffer)]->place != ANAS_PLACE_ARENA) return false;
    out->writers[out->num_writers++] = t->nest;
  }
  return out->num_writers > 0;
}

static bool is_value(const struct candidate *c, int storage) {
  for (int i = 0; i < c->num_values; i++)
    if (c->values[i].storage == storage) return true;
  return false;
}

static bool is_kept(const struct candidate *c, int storage) {
  for (int i = 0; i < c->num_kept; i++)
    if (c->kept[i] == storage) return true;
  return false;
}

// Looks at the operands of value number v: what is alive at the end of the gap is used, what is not is computed again
// or kept.
static bool add_operands(const struct search *s, struct candidate *c, int v) {
  const struct anas_step *step = s->step;
  for (int w = 0; w < c->values[v].num_writers; w++) {
    int writer = c->values[v].writers[w];
    const struct anas_nest *nest = s->l->nests[writer];
    c->seconds += nest_seconds(s->l, nest);
    for (int i = 0; i < nest->num_in; i++) {
      int storage = anas_lowering_storage(s->l, nest->in[i].buffer);
      if (storage == c->values[v].storage) continue;
      // It must come out of the recomputation as the writer saw it.
      if (input_changes(s, writer, i, c->to)) return false;
      if (s->l->buffers[storage]->place != ANAS_PLACE_ARENA || step->last_use[storage] >= c->to ||
          is_value(c, storage) || is_kept(c, storage))
        continue;
      // Operands that are small, that live beyond the peak anyway, or that cannot be computed again are kept.
      bool large = storage_bytes(s, storage) * 16 > storage_bytes(s, c->values[0].storage);
      if (large && step->last_use[storage] < step->peak && c->num_values < MAX_VALUES &&
          find_writers(s, storage, writer, &c->values[c->num_values])) {
        c->num_values++;
        continue;
      }
      if (c->num_kept == MAX_VALUES * MAX_WRITERS) return false;
      c->kept[c->num_kept++] = storage;
    }
  }
  return true;
}

// Nothing may exceed the old peak: operands live longer, and during the recomputation its values and their operands do.
static bool within_peak(const struct search *s, const struct candidate *c, int64_t peak) {
  int64_t dropped = storage_bytes(s, c->values[0].storage), again = 0, longer = 0;
  for (int i = 1; i < c->num_values; i++)
    again += storage_bytes(s, c->values[i].storage);
  for (int k = 0; k < c->num_kept; k++) {
    int64_t bytes = storage_bytes(s, c->kept[k]);
    longer += bytes;
    for (int n = s->step->last_use[c->kept[k]] + 1; n < c->to; n++)
      if (s->live[n] + longer - (n > c->from ? dropped : 0) > peak) return false;
  }
  return s->live[c->to - 1] + longer + again <= peak;
}

// Dropping a storage over the peak, if it waits there.
static bool make_candidate(const struct search *s, int storage, struct candidate *out) {
  const struct anas_step *step = s->step;
  int peak = step->peak;
  if (step->first_use[storage] >= peak || step->last_use[storage] <= peak) return false;
  const struct anas_touch *next = anas_touches_after(&s->touches, storage, peak);
  if (next[-1].nest == peak) return false;
  *out = (struct candidate){.from = next[-1].nest, .to = next->nest};
  if (!find_writers(s, storage, out->from + 1, &out->values[0])) return false;
  out->num_values = 1;
  for (int v = 0; v < out->num_values; v++)
    if (!add_operands(s, out, v)) return false;
  out->freed = (double)storage_bytes(s, storage);
  for (int k = 0; k < out->num_kept; k++)
    if (step->last_use[out->kept[k]] < peak) out->freed -= (double)storage_bytes(s, out->kept[k]);
  return out->freed > 0 && within_peak(s, out, s->live[peak]);
}

static bool best_candidate(const struct search *s, struct candidate *out) {
  double best = 0;
  for (int b = 0; b < s->l->num_buffers; b++) {
    struct candidate c;
    if (!anas_step_is_temporary(s->step, b) || !make_candidate(s, b, &c) || c.freed / c.seconds <= best) continue;
    best = c.freed / c.seconds;
    *out = c;
  }
  return best > 0;
}

// ---- rewriting

// A view of the new storage like `buffer`, a view of the old one.
static int rebind(struct anas_lowering *l, int buffer, int storage) {
  int64_t at;
  if (anas_lowering_locate(l, buffer, &at) == buffer) return storage;
  struct anas_shape shape = *anas_lower_shape(l, buffer);
  int view = anas_lowering_buffer(l, &shape);
  anas_lowering_alias(l, view, storage, at);
  return view;
}

static void rebind_access(struct anas_lowering *l, struct anas_access *access, const struct candidate *c,
                          const int *storages) {
  int storage = anas_lowering_storage(l, access->buffer);
  for (int v = 0; v < c->num_values; v++)
    if (c->values[v].storage == storage) {
      access->buffer = rebind(l, access->buffer, storages[v]);
      return;
    }
}

static struct anas_nest *copy_nest(struct anas_lowering *l, int n) {
  struct anas_nest *copy = anas_lower_nest(l, l->nests[n]->kind);
  *copy = *l->nests[n];
  copy->body = (struct anas_strbuf){0};
  anas_strbuf_adds(&copy->body, anas_strbuf_text(&l->nests[n]->body));
  l->nest_op[l->num_nests - 1] = l->nest_op[n];
  return copy;
}

static int compare_ints(const void *a, const void *b) {
  return *(const int *)a - *(const int *)b;
}

// Appends the nests of all values, in their order in the step: operands come before what is made of them.
static void append_copies(struct anas_lowering *l, const struct candidate *c, const int *storages) {
  int writers[MAX_VALUES * MAX_WRITERS], count = 0;
  for (int v = 0; v < c->num_values; v++)
    for (int w = 0; w < c->values[v].num_writers; w++)
      writers[count++] = c->values[v].writers[w];
  qsort(writers, (size_t)count, sizeof *writers, compare_ints);
  for (int w = 0; w < count; w++) {
    if (w && writers[w] == writers[w - 1]) continue; // writes several of the values
    struct anas_nest *copy = copy_nest(l, writers[w]);
    for (int i = 0; i < copy->num_in; i++)
      rebind_access(l, &copy->in[i], c, storages);
    for (int j = 0; j < copy->num_out; j++) {
      int old = anas_lowering_storage(l, copy->out[j].buffer);
      if (is_value(c, old)) {
        rebind_access(l, &copy->out[j], c, storages);
      } else { // a result that nobody wants again
        struct anas_shape shape = *anas_lower_shape(l, old);
        copy->out[j].buffer = rebind(l, copy->out[j].buffer, anas_lowering_buffer(l, &shape));
      }
    }
  }
}

static void apply(struct search *s, const struct candidate *c) {
  struct anas_lowering *l = s->l;
  int storages[MAX_VALUES], num_nests = l->num_nests, dropped = c->values[0].storage;
  for (int v = 0; v < c->num_values; v++) {
    struct anas_shape shape = *anas_lower_shape(l, c->values[v].storage);
    storages[v] = anas_lowering_buffer(l, &shape);
  }
  append_copies(l, c, storages);
  struct candidate only = {.values = {{.storage = dropped}}, .num_values = 1};
  for (int n = c->to; n < num_nests; n++) {
    struct anas_nest *nest = l->nests[n];
    for (int i = 0; i < nest->num_in; i++)
      if (anas_lowering_storage(l, nest->in[i].buffer) == dropped) rebind_access(l, &nest->in[i], &only, storages);
  }
  int *key = anas_calloc((size_t)l->num_nests, sizeof *key);
  for (int n = 0; n < l->num_nests; n++)
    key[n] = n < num_nests ? 2 * n + 1 : 2 * c->to;
  anas_lowering_reorder(l, key, 2 * num_nests + 2);
  free(key);
}

anas_status anas_step_recompute(struct anas_step *step, const struct anas_layout *layout, int64_t limit) {
  struct search s = {.step = step, .l = step->lowering};
  int most = s.l->num_nests * MAX_GROWTH, before = s.l->num_nests;
  anas_status status;
  while ((status = anas_step_find_lives(step, layout)) == ANAS_OK) {
    struct candidate c;
    if (step->live_bytes <= limit || s.l->num_nests > most) break;
    anas_touches_init(&s.touches, s.l);
    find_live(&s);
    if (!best_candidate(&s, &c)) break;
    apply(&s, &c);
  }
  step->recomputed += s.l->num_nests - before;
  free(s.live);
  anas_touches_deinit(&s.touches);
  return status;
}
