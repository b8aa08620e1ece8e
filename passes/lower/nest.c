// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Recording of buffers and loop nests: the interface of dialect/kernel.h that op files describe themselves with.
#include "passes/lower/lowering.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- lowering

struct anas_lowering *anas_lowering_create(void) {
  struct anas_lowering *l = anas_alloc(sizeof *l);
  l->canonical = anas_canonical_create();
  return l;
}

static void nest_free(struct anas_nest *nest) {
  anas_strbuf_deinit(&nest->body);
  free(nest);
}

void anas_lowering_destroy(struct anas_lowering *l) {
  if (!l) return;
  for (int i = 0; i < l->num_nests; i++)
    nest_free(l->nests[i]);
  free(l->nests);
  free(l->nest_op);
  free(l->buffers);
  anas_arena_deinit(&l->arena);
  anas_canonical_destroy(l->canonical);
  free(l);
}

void anas_lowering_remove(struct anas_lowering *l, const bool *dead) {
  int kept = 0;
  for (int i = 0; i < l->num_nests; i++) {
    if (dead[i]) {
      nest_free(l->nests[i]);
      continue;
    }
    l->nests[kept] = l->nests[i];
    l->nest_op[kept++] = l->nest_op[i];
  }
  l->num_nests = kept;
}

void anas_lowering_reorder(struct anas_lowering *l, const int *key, int num_keys) {
  size_t count = (size_t)l->num_nests;
  struct anas_nest **nests = anas_calloc(count, sizeof *nests);
  int *ops = anas_calloc(count, sizeof *ops), *start = anas_calloc((size_t)num_keys + 1, sizeof *start);
  for (size_t i = 0; i < count; i++)
    start[key[i] + 1]++;
  for (int k = 0; k < num_keys; k++)
    start[k + 1] += start[k];
  for (size_t i = 0; i < count; i++) {
    int at = start[key[i]]++;
    nests[at] = l->nests[i];
    ops[at] = l->nest_op[i];
  }
  memcpy(l->nests, nests, count * sizeof *nests);
  memcpy(l->nest_op, ops, count * sizeof *ops);
  free(nests);
  free(ops);
  free(start);
}

int anas_lowering_buffer(struct anas_lowering *l, const struct anas_shape *shape) {
  l->buffers = anas_grow(l->buffers, (size_t)l->num_buffers, &l->capacity_buffers, sizeof *l->buffers);
  struct anas_buffer *buffer = anas_arena_alloc(&l->arena, sizeof *buffer);
  *buffer = (struct anas_buffer){.shape = *shape, .alias = -1, .source = -1};
  l->buffers[l->num_buffers] = buffer;
  return l->num_buffers++;
}

int anas_lowering_locate(const struct anas_lowering *l, int buffer, int64_t *out_offset) {
  int64_t offset = 0;
  for (; l->buffers[buffer]->alias >= 0; buffer = l->buffers[buffer]->alias)
    offset += l->buffers[buffer]->offset;
  *out_offset = offset;
  return buffer;
}

int anas_lowering_storage(const struct anas_lowering *l, int buffer) {
  int64_t offset;
  return anas_lowering_locate(l, buffer, &offset);
}

bool anas_lowering_overlap(const struct anas_lowering *l, int a, int b) {
  int64_t start_a, start_b;
  if (anas_lowering_locate(l, a, &start_a) != anas_lowering_locate(l, b, &start_b)) return false;
  return start_a < start_b + anas_lowering_bytes(l, b) && start_b < start_a + anas_lowering_bytes(l, a);
}

bool anas_lowering_same(const struct anas_lowering *l, int a, int b) {
  int64_t start_a, start_b;
  return anas_lowering_locate(l, a, &start_a) == anas_lowering_locate(l, b, &start_b) && start_a == start_b &&
         anas_shape_equal(&l->buffers[a]->shape, &l->buffers[b]->shape);
}

int64_t anas_lowering_bytes(const struct anas_lowering *l, int buffer) {
  const struct anas_shape *shape = &l->buffers[buffer]->shape;
  return anas_shape_elements(shape) * anas_element_bytes(shape->element);
}

int anas_lowering_num_results(const struct anas_op *op) {
  return op->def->num_results ? op->def->num_results : 1;
}

anas_status anas_lowering_run(struct anas_lowering *l, const struct anas_op *op, const int *operands,
                              int *out_results) {
  const char *name = op->def->name;
  if (!op->def->lower) return anas_fail(ANAS_UNSUPPORTED, "'anas.%s' has no lowering to kernels", name);
  struct anas_shape shapes[ANAS_MAX_RESULTS] = {0};
  ANAS_RETURN_IF_ERROR(op->def->shape(op, shapes));
  for (int i = 0; i < op->num_operands; i++) {
    if (!anas_shape_equal(&op->operand[i], &l->buffers[operands[i]]->shape))
      return anas_fail(ANAS_INTERNAL, "operand %d of 'anas.%s' does not have the type of its buffer", i, name);
    l->operand[i] = operands[i];
  }
  int results = anas_lowering_num_results(op), first_nest = l->num_nests;
  for (int i = 0; i < results; i++)
    l->result[i] = anas_lowering_buffer(l, &shapes[i]);
  l->op = op;
  anas_status status = op->def->lower(op, l);
  l->op = NULL;
  if (status != ANAS_OK) return status;
  l->num_ops++;
  for (int i = first_nest; i < l->num_nests; i++)
    ANAS_RETURN_IF_ERROR(anas_nest_check(l, l->nests[i]));
  for (int i = 0; i < results; i++) {
    int alias = l->buffers[l->result[i]]->alias;
    if (alias >= 0 && anas_lowering_bytes(l, alias) != anas_lowering_bytes(l, l->result[i]))
      return anas_fail(ANAS_INTERNAL, "result %d of 'anas.%s' cannot be the storage of an operand of another size", i,
                       name);
    out_results[i] = l->result[i];
  }
  return ANAS_OK;
}

int anas_lower_operand(struct anas_lowering *l, int i) {
  assert(l->op && i >= 0 && i < l->op->num_operands);
  return l->operand[i];
}

int anas_lower_result(struct anas_lowering *l, int i) {
  assert(l->op && i >= 0 && i < anas_lowering_num_results(l->op));
  return l->result[i];
}

int anas_lower_scratch(struct anas_lowering *l, const struct anas_shape *shape) {
  return anas_lowering_buffer(l, shape);
}

const struct anas_shape *anas_lower_shape(const struct anas_lowering *l, int buffer) {
  return &l->buffers[buffer]->shape;
}

void anas_lower_alias(struct anas_lowering *l, int result, int operand) {
  anas_lowering_alias(l, anas_lower_result(l, result), anas_lower_operand(l, operand), 0);
}

int anas_lower_packed(struct anas_lowering *l, int source, const char *key, const struct anas_shape *shape,
                      bool *out_fresh) {
  for (int i = 0; i < l->num_buffers; i++) {
    const struct anas_buffer *b = l->buffers[i];
    if (b->source == source && !strcmp(b->key, key) && anas_shape_equal(&b->shape, shape)) {
      *out_fresh = false;
      return i;
    }
  }
  int packed = anas_lowering_buffer(l, shape);
  l->buffers[packed]->source = source;
  l->buffers[packed]->key = anas_arena_strdup(&l->arena, key);
  *out_fresh = true;
  return packed;
}

// ---- nests

struct anas_nest *anas_lower_nest(struct anas_lowering *l, const char *kind) {
  l->nests = anas_grow(l->nests, (size_t)l->num_nests, &l->capacity_nests, sizeof *l->nests);
  l->nest_op = anas_grow(l->nest_op, (size_t)l->num_nests, &l->capacity_nest_op, sizeof *l->nest_op);
  struct anas_nest *nest = anas_alloc(sizeof *nest);
  nest->kind = kind;
  l->nest_op[l->num_nests] = l->num_ops;
  l->nests[l->num_nests++] = nest;
  return nest;
}

int anas_nest_loop(struct anas_nest *nest, int64_t extent, bool reduction) {
  assert(nest->num_loops < ANAS_MAX_LOOPS && extent > 0);
  nest->extent[nest->num_loops] = extent;
  nest->reduction[nest->num_loops] = reduction;
  return nest->num_loops++;
}

struct anas_access *anas_nest_in(struct anas_nest *nest, int buffer) {
  assert(nest->num_in < ANAS_MAX_ACCESSES);
  nest->in[nest->num_in].buffer = buffer;
  return &nest->in[nest->num_in++];
}

struct anas_access *anas_nest_out(struct anas_nest *nest, int buffer, enum anas_fill fill) {
  assert(nest->num_out < ANAS_MAX_RESULTS);
  nest->out[nest->num_out].buffer = buffer;
  nest->fill[nest->num_out] = fill;
  return &nest->out[nest->num_out++];
}

void anas_access_add(struct anas_access *access, int dim, int loop, int64_t coef) {
  assert(dim >= 0 && dim < ANAS_MAX_RANK && loop >= 0 && loop < ANAS_MAX_LOOPS);
  access->index[dim].coef[loop] += coef;
}

int anas_nest_value(struct anas_nest *nest, const char *format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  int size = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  char *text = anas_alloc((size_t)size + 1);
  vsnprintf(text, (size_t)size + 1, format, again);
  va_end(again);
  anas_strbuf_addf(&nest->body, "%%v%d = %s\n", nest->next_local, text);
  free(text);
  return nest->next_local++;
}

void anas_nest_yield(struct anas_nest *nest, int output, const char *format, ...) {
  assert(output >= 0 && output < nest->num_out);
  va_list arguments;
  va_start(arguments, format);
  int size = vsnprintf(nest->yield[output], sizeof nest->yield[output], format, arguments);
  va_end(arguments);
  assert(size > 0 && (size_t)size < sizeof nest->yield[output]);
  (void)size;
}

struct anas_nest *anas_lower_map(struct anas_lowering *l, const char *kind, const int *in, int num_in, int out) {
  const struct anas_shape *result = anas_lower_shape(l, out);
  struct anas_nest *nest = anas_lower_nest(l, kind);
  for (int d = 0; d < result->rank; d++)
    anas_nest_loop(nest, result->dim[d], false);
  for (int k = 0; k < num_in; k++) {
    const struct anas_shape *operand = anas_lower_shape(l, in[k]);
    struct anas_access *access = anas_nest_in(nest, in[k]);
    assert(operand->rank <= result->rank);
    for (int d = 0; d < operand->rank; d++) {
      int loop = result->rank - operand->rank + d; // numpy: aligned from the last dimension
      if (operand->dim[d] != 1 || result->dim[loop] == 1) anas_access_add(access, d, loop, 1);
    }
  }
  struct anas_access *access = anas_nest_out(nest, out, ANAS_NO_FILL);
  for (int d = 0; d < result->rank; d++)
    anas_access_add(access, d, d, 1);
  return nest;
}
