// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Fusion: an elementwise nest whose result is only read element by element moves into its readers. What is gained is
// memory traffic: the result is neither written nor read again. With several readers it is computed several times, so
// it must be cheap and its inputs must cost less traffic than the result did.
#include "passes/lower/step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_READERS 6
#define CHEAP_FLOPS 8
#define MAX_STREAMS 6 // inputs as large as the result; more than that exceed what hardware prefetchers follow

struct fusion {
  struct anas_lowering *l;
  struct anas_touches *touches; // also of nests that no longer do
  int producer;
  int result; // buffer
  int readers[MAX_READERS];
  int num_readers;
};

static bool all_parallel(const struct anas_nest *nest) {
  for (int k = 0; k < nest->num_loops; k++)
    if (nest->reduction[k] && nest->extent[k] != 1) return false;
  return true;
}

// A map that writes every element of a temporary once, as its last writer. It may update the temporary in place.
static bool is_producer(const struct anas_lowering *l, const struct anas_touches *touches, int n, int *out_result) {
  const struct anas_nest *nest = l->nests[n];
  if (nest->num_out != 1 || nest->fill[0] != ANAS_NO_FILL || !all_parallel(nest) ||
      !anas_access_bijective(l, nest, &nest->out[0]))
    return false;
  int result = nest->out[0].buffer, storage = anas_lowering_storage(l, result);
  if (l->buffers[storage]->place != ANAS_PLACE_ARENA ||
      anas_lowering_bytes(l, storage) != anas_lowering_bytes(l, result))
    return false;
  bool updates = anas_nest_uses_output(nest, 0);
  for (int i = 0; i < nest->num_in; i++)
    if (anas_lowering_overlap(l, nest->in[i].buffer, result) || anas_access_bordered(&nest->in[i])) return false;
  for (const struct anas_touch *t = anas_touches_after(touches, storage, -1); t->nest < l->num_nests; t++)
    if (t->writes && t->nest != n && (t->nest > n || !updates) && anas_nest_writes(l, l->nests[t->nest], storage))
      return false;
  *out_result = result;
  return true;
}

// What each loop of the producer is in terms of the reader's loops: the index with which the reader reads the dimension
// that the loop writes; 0 for loops of extent 1.
static void match_loops(const struct anas_lowering *l, const struct anas_nest *producer, const struct anas_access *read,
                        struct anas_linear *out_loop) {
  const struct anas_access *write = &producer->out[0];
  memset(out_loop, 0, ANAS_MAX_LOOPS * sizeof *out_loop);
  for (int d = 0; d < anas_lower_shape(l, write->buffer)->rank; d++) {
    int loop = anas_linear_single_loop(&write->index[d]);
    if (loop >= 0) out_loop[loop] = read->index[d];
  }
}

static struct anas_access move_access(const struct anas_access *access, const struct anas_linear *loop) {
  struct anas_access moved = {.buffer = access->buffer};
  for (int d = 0; d < ANAS_MAX_RANK; d++) {
    moved.index[d].constant = access->index[d].constant;
    for (int k = 0; k < ANAS_MAX_LOOPS; k++) {
      int64_t coef = access->index[d].coef[k];
      if (!coef) continue;
      moved.index[d].constant += coef * loop[k].constant;
      for (int r = 0; r < ANAS_MAX_LOOPS; r++)
        moved.index[d].coef[r] += coef * loop[k].coef[r];
    }
  }
  return moved;
}

// Inputs of the fused nest that are about as large as the producer's result, unlike vectors over one dimension of it.
static int num_streams(const struct anas_lowering *l, const struct anas_nest *producer, const struct anas_nest *fused) {
  int streams = 0;
  for (int i = 0; i < fused->num_in; i++)
    if (anas_lowering_bytes(l, fused->in[i].buffer) * 2 >= anas_lowering_bytes(l, producer->out[0].buffer)) streams++;
  return streams;
}

// The reader with the producer's computation in place of its input number 'input'. False if that cannot be.
static bool compose(struct anas_lowering *l, const struct anas_nest *producer, const struct anas_nest *reader,
                    int input, struct anas_nest *out) {
  struct anas_linear loop[ANAS_MAX_LOOPS];
  int number[ANAS_MAX_LOOPS], inputs = producer->num_in + (anas_nest_uses_output(producer, 0) ? 1 : 0);
  if (reader->num_in - 1 + inputs > ANAS_MAX_ACCESSES) return false;
  match_loops(l, producer, &reader->in[input], loop);
  for (int k = 0; k < ANAS_MAX_LOOPS; k++)
    number[k] = anas_linear_single_loop(&loop[k]); // for linalg.index; -1 where it is no single loop
  struct anas_nest fused = *reader;
  fused.body = (struct anas_strbuf){0};
  fused.num_in = 0;
  memset(fused.in, 0, sizeof fused.in);
  char producer_in[ANAS_MAX_ACCESSES][16], producer_out[1][16], reader_in[ANAS_MAX_ACCESSES][16];
  for (int i = 0; i < reader->num_in; i++) {
    if (i == input) continue;
    snprintf(reader_in[i], sizeof reader_in[i], "%%i%d", fused.num_in);
    fused.in[fused.num_in++] = reader->in[i];
  }
  for (int i = 0; i < inputs; i++) { // the last one may be the old value of an updated result
    bool old = i == producer->num_in;
    snprintf(old ? producer_out[0] : producer_in[i], sizeof producer_in[i], "%%i%d", fused.num_in);
    fused.in[fused.num_in++] = move_access(old ? &producer->out[0] : &producer->in[i], loop);
  }
  bool ok = anas_body_rewrite(anas_strbuf_text(&producer->body), producer_in, producer_out, 0, number, &fused.body);
  struct anas_strbuf value = {0};
  anas_body_rewrite(producer->yield[0], producer_in, producer_out, 0, NULL, &value);
  snprintf(reader_in[input], sizeof reader_in[input], "%s", anas_strbuf_text(&value));
  anas_strbuf_clear(&value);
  anas_body_rewrite(anas_strbuf_text(&reader->body), reader_in, NULL, producer->next_local, NULL, &fused.body);
  for (int j = 0; j < reader->num_out; j++) {
    anas_body_rewrite(reader->yield[j], reader_in, NULL, producer->next_local, NULL, &value);
    snprintf(fused.yield[j], sizeof fused.yield[j], "%s", anas_strbuf_text(&value));
    anas_strbuf_clear(&value);
  }
  anas_strbuf_deinit(&value);
  fused.next_local = producer->next_local + reader->next_local;
  ok = ok && anas_nest_simplify(l, &fused) == ANAS_OK && num_streams(l, producer, &fused) <= MAX_STREAMS;
  if (ok) {
    fused.kind = anas_arena_format(&l->arena, "%s+%s", producer->kind, reader->kind);
    *out = fused;
  } else {
    anas_strbuf_deinit(&fused.body);
  }
  return ok;
}

// The one input of a nest that reads the result, if the nest reads it element by element; -1 otherwise.
static int fusible_input(const struct fusion *f, int n) {
  const struct anas_nest *reader = f->l->nests[n];
  int input = -1;
  for (int i = 0; i < reader->num_in; i++) {
    if (!anas_lowering_overlap(f->l, reader->in[i].buffer, f->result)) continue;
    if (input >= 0 && !anas_access_same_index(&reader->in[i], &reader->in[input], ANAS_MAX_RANK)) return -1;
    if (!anas_lowering_same(f->l, reader->in[i].buffer, f->result) ||
        !anas_access_injective(reader, &reader->in[i], anas_lower_shape(f->l, f->result)->rank))
      return -1;
    input = i;
  }
  return input;
}

// What the producer reads is unchanged until the reader runs.
static bool inputs_survive(const struct fusion *f, int reader) {
  const struct anas_nest *producer = f->l->nests[f->producer];
  for (int i = 0; i < producer->num_in; i++) {
    int buffer = producer->in[i].buffer, storage = anas_lowering_storage(f->l, buffer);
    for (const struct anas_touch *t = anas_touches_after(f->touches, storage, f->producer); t->nest < reader; t++)
      if (t->writes && anas_nest_writes(f->l, f->l->nests[t->nest], buffer)) return false;
  }
  return true;
}

static bool find_readers(const struct anas_step *step, struct fusion *f) {
  struct anas_lowering *l = f->l;
  int storage = anas_lowering_storage(l, f->result);
  for (const struct anas_touch *t = anas_touches_after(f->touches, storage, f->producer); t->nest < l->num_nests; t++) {
    int n = t->nest;
    if (!anas_nest_reads(l, l->nests[n], f->result)) continue;
    bool horizontal = l->nest_op[n] < l->num_ops && step->op_defs[l->nest_op[n]]->horizontal;
    if (horizontal || f->num_readers == MAX_READERS || !inputs_survive(f, n)) return false;
    f->readers[f->num_readers++] = n;
  }
  return f->num_readers > 0;
}

static double access_bytes(const struct anas_lowering *l, const struct anas_nest *nest, int inputs) {
  double bytes = 0;
  for (int i = 0; i < inputs; i++)
    bytes += (double)anas_lowering_bytes(l, nest->in[i].buffer);
  return bytes;
}

// Share of the result that a reader reads: packing may take it in pieces.
static double share_read(const struct fusion *f, const struct anas_nest *reader) {
  double iterations = 1;
  for (int k = 0; k < reader->num_loops; k++)
    iterations *= (double)reader->extent[k];
  double share = iterations / (double)anas_shape_elements(anas_lower_shape(f->l, f->result));
  return share < 1 ? share : 1;
}

static bool worthwhile(const struct fusion *f, const struct anas_nest *fused) {
  const struct anas_nest *producer = f->l->nests[f->producer];
  const char *body = anas_strbuf_text(&producer->body);
  double result = (double)anas_lowering_bytes(f->l, f->result), added = 0;
  double saved = access_bytes(f->l, producer, producer->num_in) + result;
  if (anas_nest_uses_output(producer, 0)) saved += result;
  for (int r = 0; r < f->num_readers; r++) {
    const struct anas_nest *reader = f->l->nests[f->readers[r]];
    added += share_read(f, reader) *
             (access_bytes(f->l, &fused[r], fused[r].num_in) - access_bytes(f->l, reader, reader->num_in));
  }
  if (added >= saved) return false;
  return f->num_readers == 1 ||
         (!strstr(body, "math.") && !strstr(body, "divf") && anas_body_flops(body) <= CHEAP_FLOPS);
}

// The producer's nest is dead afterwards.
static bool fuse_producer(const struct anas_step *step, struct anas_touches *touches, int n) {
  struct fusion f = {.l = step->lowering, .touches = touches, .producer = n};
  struct anas_nest fused[MAX_READERS];
  int composed = 0;
  if (!is_producer(f.l, touches, n, &f.result) || !find_readers(step, &f)) return false;
  for (; composed < f.num_readers; composed++) {
    struct anas_nest *reader = f.l->nests[f.readers[composed]];
    if (anas_nest_simplify(f.l, reader) != ANAS_OK) break;
    int input = fusible_input(&f, f.readers[composed]);
    if (input < 0 || !compose(f.l, f.l->nests[n], reader, input, &fused[composed])) break;
  }
  bool ok = composed == f.num_readers && worthwhile(&f, fused);
  for (int r = 0; r < composed; r++) {
    if (!ok) {
      anas_strbuf_deinit(&fused[r].body);
      continue;
    }
    struct anas_nest *reader = f.l->nests[f.readers[r]];
    anas_strbuf_deinit(&reader->body);
    *reader = fused[r];
    anas_touches_add_nest(touches, f.l, f.readers[r]);
  }
  return ok;
}

void anas_step_fuse(struct anas_step *step) {
  struct anas_lowering *l = step->lowering;
  bool *dead = anas_calloc((size_t)l->num_nests, sizeof *dead);
  struct anas_touches touches = {0};
  anas_touches_init(&touches, l);
  for (int n = 0; n < l->num_nests; n++) {
    dead[n] = fuse_producer(step, &touches, n);
    if (dead[n]) { // takes no part in later questions about readers and writers
      l->nests[n]->num_in = 0;
      l->nests[n]->num_out = 0;
    }
  }
  anas_lowering_remove(l, dead);
  anas_touches_deinit(&touches);
  free(dead);
}
