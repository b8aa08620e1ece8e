// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Buffers with the same bytes and the same type are one operand of a kernel: each is known by the first of them.
#include "passes/lower/lowering.h"

#include <stdlib.h>
#include <xxhash.h>

// Valid for the first num_buffers buffers while no alias changes (anas_lowering_alias).
struct anas_canonical {
  int *first, num_buffers; // per buffer
  int64_t num_aliases;
};

static uint64_t hash_of(const struct anas_lowering *l, int buffer) {
  const struct anas_shape *shape = &l->buffers[buffer]->shape;
  int64_t facts[3 + ANAS_MAX_RANK];
  facts[0] = anas_lowering_locate(l, buffer, &facts[1]);
  facts[2] = shape->element;
  for (int d = 0; d < shape->rank; d++)
    facts[3 + d] = shape->dim[d];
  return XXH3_64bits(facts, sizeof *facts * (size_t)(3 + shape->rank));
}

static void find_all(const struct anas_lowering *l, struct anas_canonical *canonical) {
  size_t slots = 16;
  while (slots < 2 * (size_t)l->num_buffers)
    slots *= 2;
  int *table = anas_calloc(slots, sizeof *table); // buffer + 1; 0: empty
  canonical->first = anas_realloc(canonical->first, sizeof *canonical->first * (size_t)(l->num_buffers + 1));
  for (int b = 0; b < l->num_buffers; b++) {
    size_t slot = hash_of(l, b) & (slots - 1);
    while (table[slot] && !anas_lowering_same(l, table[slot] - 1, b))
      slot = (slot + 1) & (slots - 1);
    if (!table[slot]) table[slot] = b + 1;
    canonical->first[b] = table[slot] - 1;
  }
  canonical->num_buffers = l->num_buffers;
  canonical->num_aliases = l->num_aliases;
  free(table);
}

int anas_lowering_canonical(const struct anas_lowering *l, int buffer) {
  struct anas_canonical *canonical = l->canonical;
  if (canonical->num_aliases != l->num_aliases || buffer >= canonical->num_buffers) find_all(l, canonical);
  return canonical->first[buffer];
}

void anas_lowering_alias(struct anas_lowering *l, int buffer, int target, int64_t offset) {
  l->buffers[buffer]->alias = target;
  l->buffers[buffer]->offset = offset;
  l->num_aliases++;
}

struct anas_canonical *anas_canonical_create(void) {
  return anas_calloc(1, sizeof(struct anas_canonical));
}

void anas_canonical_destroy(struct anas_canonical *canonical) {
  free(canonical->first);
  free(canonical);
}
