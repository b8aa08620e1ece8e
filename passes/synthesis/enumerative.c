// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Enumerative synthesis (spec 3.6): all chains in order of length, lexicographically within one length; the first that
// satisfies the targets. Chains with a common prefix share its state, and what follows an ill-typed prefix is skipped.
//
// With options->prune the search goes level by level over states instead. Of the prefixes of one length with the same
// state in every context only the first is continued: each completion of another is a completion of the first, which
// comes earlier. Prefixes that cannot reach the target any more are dropped. The chain found is the same; if the
// minimum length is 1 or less, states that a shorter prefix had are dropped as well, because a shorter chain would have
// been found.
#include "passes/synthesis/internal.h"

#include "runtime/support/memory.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

// ---- depth first, nothing left out

struct walk {
  struct anas_synthesizer *s;
  struct anas_prefix *state; // [depth][target]
  int length;                // of the chains in question
};

static bool walk_from(struct walk *w, int depth) {
  struct anas_synthesizer *s = w->s;
  const struct anas_prefix *before = w->state + (size_t)depth * (size_t)s->num_targets;
  struct anas_prefix *after = w->state + (size_t)(depth + 1) * (size_t)s->num_targets;
  struct anas_exact exact = anas_exact_at(s->targets, s->num_targets, before);
  for (int i = 0; i < s->alphabet.count && !s->out_of_budget; i++) {
    struct anas_node scratch;
    const struct anas_node *op = anas_symbol_op(&s->alphabet, i, &exact, &scratch);
    if (!op || !anas_synthesizer_try(s, before, op, after)) continue;
    if (depth + 1 < w->length ? !walk_from(w, depth + 1) : anas_synthesizer_distance(s, after) != 0) continue;
    s->chain[depth] = *op;
    return true;
  }
  return false;
}

static bool walk_all(struct anas_synthesizer *s, int first_length) {
  struct walk walk = {.s = s, .state = anas_synthesizer_states(s, (size_t)s->options->max_length + 1)};
  anas_synthesizer_start(s, walk.state);
  bool found = false;
  for (walk.length = first_length; walk.length <= s->options->max_length && !found && !s->out_of_budget;
       walk.length++) {
    found = walk_from(&walk, 0);
    if (found) s->length = walk.length;
  }
  free(walk.state);
  return found;
}

// ---- level by level over distinct states

struct entry {
  size_t parent; // index of the prefix without its last op
  int symbol;    // the last op
  int length;
};

struct levels {
  struct anas_synthesizer *s;
  size_t state_size; // bytes of one state
  struct entry *entries;
  size_t capacity_entries;
  struct anas_prefix *states, *keys; // keys: canonical; [entry][target]
  size_t capacity_states, capacity_keys;
  size_t count;
  size_t *table; // open addressing, entry index + 1
  size_t table_size;
};

static struct anas_prefix *state_at(const struct levels *l, struct anas_prefix *states, size_t index) {
  return states + index * (size_t)l->s->num_targets;
}

static size_t slot_of(const struct levels *l, const struct anas_prefix *key, int from_length) {
  size_t slot = XXH3_64bits(key, l->state_size) & (l->table_size - 1);
  for (; l->table[slot]; slot = (slot + 1) & (l->table_size - 1)) {
    size_t index = l->table[slot] - 1;
    if (l->entries[index].length >= from_length && !memcmp(state_at(l, l->keys, index), key, l->state_size)) break;
  }
  return slot;
}

static void grow_table(struct levels *l) {
  free(l->table);
  l->table_size = l->table_size ? 2 * l->table_size : 1024;
  l->table = anas_calloc(l->table_size, sizeof *l->table);
  for (size_t i = 0; i < l->count; i++) {
    size_t slot = XXH3_64bits(state_at(l, l->keys, i), l->state_size) & (l->table_size - 1);
    while (l->table[slot])
      slot = (slot + 1) & (l->table_size - 1);
    l->table[slot] = i + 1;
  }
}

// Adds a prefix unless one of at least from_length ops has its state.
static void add_state(struct levels *l, const struct anas_prefix *state, struct entry entry, int from_length) {
  if (2 * (l->count + 1) > l->table_size) grow_table(l);
  size_t targets = (size_t)l->s->num_targets;
  l->entries = anas_grow(l->entries, l->count, &l->capacity_entries, sizeof *l->entries);
  l->states = anas_grow(l->states, l->count, &l->capacity_states, l->state_size);
  l->keys = anas_grow(l->keys, l->count, &l->capacity_keys, l->state_size);
  struct anas_prefix *key = state_at(l, l->keys, l->count);
  memcpy(key, state, targets * sizeof *key);
  anas_prefix_canonicalize(l->s->targets, l->s->num_targets, key);
  size_t slot = slot_of(l, key, from_length);
  if (l->table[slot]) return;
  memcpy(state_at(l, l->states, l->count), state, l->state_size);
  l->entries[l->count] = entry;
  l->table[slot] = ++l->count;
}

// The op of entry index: its exact size is that of the state before.
static struct anas_node op_of(struct levels *l, size_t parent, int symbol) {
  struct anas_exact exact = anas_exact_at(l->s->targets, l->s->num_targets, state_at(l, l->states, parent));
  struct anas_node scratch;
  return *anas_symbol_op(&l->s->alphabet, symbol, &exact, &scratch);
}

static void read_back(struct levels *l, size_t parent, int symbol) {
  l->s->length = l->entries[parent].length + 1;
  for (int n = l->s->length - 1; n >= 0; n--) {
    l->s->chain[n] = op_of(l, parent, symbol);
    symbol = l->entries[parent].symbol;
    parent = l->entries[parent].parent;
  }
}

// Continues every entry of [begin, end) by one op. True if that satisfies the targets.
static bool expand(struct levels *l, size_t begin, size_t end, struct anas_prefix *after) {
  struct anas_synthesizer *s = l->s;
  for (size_t e = begin; e < end; e++) {
    int length = l->entries[e].length + 1;
    struct anas_exact exact = anas_exact_at(s->targets, s->num_targets, state_at(l, l->states, e));
    for (int i = 0; i < s->alphabet.count; i++) {
      struct anas_node scratch;
      const struct anas_node *op = anas_symbol_op(&s->alphabet, i, &exact, &scratch);
      if (!op || !anas_synthesizer_try(s, state_at(l, l->states, e), op, after)) {
        if (s->out_of_budget) return false;
        continue;
      }
      if (length >= s->options->min_length && anas_synthesizer_distance(s, after) == 0) {
        read_back(l, e, i);
        return true;
      }
      if (length == s->options->max_length || anas_prefix_is_dead_end(s->targets, s->num_targets, after) ||
          anas_prefix_is_too_small(s->targets, s->num_targets, after))
        continue;
      add_state(l, after, (struct entry){e, i, length}, s->options->min_length <= 1 ? 0 : length);
    }
  }
  return false;
}

static bool search_levels(struct anas_synthesizer *s) {
  struct levels l = {.s = s, .state_size = (size_t)s->num_targets * sizeof *l.states};
  struct anas_prefix *state = anas_synthesizer_states(s, 1);
  anas_synthesizer_start(s, state);
  add_state(&l, state, (struct entry){0, -1, 0}, 0);
  bool found = false;
  size_t begin = 0;
  for (int length = 1; length <= s->options->max_length && !found && !s->out_of_budget; length++) {
    size_t end = l.count;
    found = expand(&l, begin, end, state);
    begin = end;
  }
  free(state);
  free(l.entries);
  free(l.states);
  free(l.keys);
  free(l.table);
  return found;
}

static anas_status enumerative_search(struct anas_synthesizer *s) {
  struct anas_prefix *start = anas_synthesizer_states(s, 1);
  anas_synthesizer_start(s, start);
  bool found = s->options->min_length == 0 && anas_synthesizer_distance(s, start) == 0; // the empty chain
  free(start);
  if (!found)
    found = s->options->prune ? search_levels(s) : walk_all(s, s->options->min_length > 1 ? s->options->min_length : 1);
  return found ? ANAS_OK : anas_synthesizer_failed(s);
}

const struct anas_strategy anas_strategy_enumerative = {.search = enumerative_search};
