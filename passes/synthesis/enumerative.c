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
  struct anas_prefix_key key;
};

struct states { // of the prefixes of one length
  struct anas_prefix *items;
  size_t capacity, count;
};

struct levels {
  struct anas_synthesizer *s;
  struct entry *entries; // of every length
  size_t capacity, count;
  size_t *table; // open addressing, entry index + 1
  size_t table_size;
};

static size_t slot_of(const struct levels *l, const struct entry *entry, int from_length) {
  size_t slot = (size_t)entry->key.bits[0] & (l->table_size - 1);
  for (; l->table[slot]; slot = (slot + 1) & (l->table_size - 1)) {
    const struct entry *other = &l->entries[l->table[slot] - 1];
    if (other->length >= from_length && !memcmp(&other->key, &entry->key, sizeof entry->key)) break;
  }
  return slot;
}

static void grow_table(struct levels *l) {
  free(l->table);
  l->table_size = l->table_size ? 2 * l->table_size : 1024;
  l->table = anas_calloc(l->table_size, sizeof *l->table);
  for (size_t i = 0; i < l->count; i++) {
    size_t slot = (size_t)l->entries[i].key.bits[0] & (l->table_size - 1);
    while (l->table[slot])
      slot = (slot + 1) & (l->table_size - 1);
    l->table[slot] = i + 1;
  }
}

// Adds a prefix unless one of at least from_length ops has its state.
static void add_state(struct levels *l, struct states *level, const struct anas_prefix *state, struct entry entry,
                      int from_length) {
  size_t targets = (size_t)l->s->num_targets;
  if (2 * (l->count + 1) > l->table_size) grow_table(l);
  entry.key = anas_prefix_key_of(l->s->targets, l->s->num_targets, state);
  size_t slot = slot_of(l, &entry, from_length);
  if (l->table[slot]) return;
  l->entries = anas_grow(l->entries, l->count, &l->capacity, sizeof *l->entries);
  l->entries[l->count] = entry;
  l->table[slot] = ++l->count;
  level->items = anas_grow(level->items, level->count, &level->capacity, targets * sizeof *state);
  memcpy(level->items + level->count++ * targets, state, targets * sizeof *state);
}

// The chain of an entry's prefix and one op more, replayed because exact sizes depend on the state before.
static void read_back(struct levels *l, size_t parent, int symbol) {
  struct anas_synthesizer *s = l->s;
  int symbols[ANAS_MAX_CHAIN];
  s->length = l->entries[parent].length + 1;
  for (int n = s->length - 1; n >= 0; n--) {
    symbols[n] = symbol;
    symbol = l->entries[parent].symbol;
    parent = l->entries[parent].parent;
  }
  struct anas_prefix *state = anas_synthesizer_states(s, 1);
  anas_synthesizer_start(s, state);
  for (int n = 0; n < s->length; n++) {
    struct anas_exact exact = anas_exact_at(s->targets, s->num_targets, state);
    struct anas_node scratch;
    s->chain[n] = *anas_symbol_op(&s->alphabet, symbols[n], &exact, &scratch);
    anas_prefix_append(s->targets, s->num_targets, state, &s->chain[n], state);
  }
  free(state);
}

// Continues entry e by one op. True if that satisfies the targets.
static bool expand(struct levels *l, size_t e, const struct anas_prefix *before, struct anas_prefix *after,
                   struct states *next) {
  struct anas_synthesizer *s = l->s;
  int length = l->entries[e].length + 1;
  struct anas_exact exact = anas_exact_at(s->targets, s->num_targets, before);
  for (int i = 0; i < s->alphabet.count && !s->out_of_budget; i++) {
    struct anas_node scratch;
    const struct anas_node *op = anas_symbol_op(&s->alphabet, i, &exact, &scratch);
    if (!op || !anas_synthesizer_try(s, before, op, after)) continue;
    if (length >= s->options->min_length && anas_synthesizer_distance(s, after) == 0) {
      read_back(l, e, i);
      return true;
    }
    if (length == s->options->max_length || anas_prefix_is_dead_end(s->targets, s->num_targets, after) ||
        anas_prefix_is_too_small(s->targets, s->num_targets, after))
      continue;
    add_state(l, next, after, (struct entry){.parent = e, .symbol = i, .length = length},
              s->options->min_length <= 1 ? 0 : length);
  }
  return false;
}

static bool search_levels(struct anas_synthesizer *s) {
  struct levels l = {.s = s};
  struct states level[2] = {0}; // this length and the next
  struct anas_prefix *state = anas_synthesizer_states(s, 1);
  anas_synthesizer_start(s, state);
  add_state(&l, &level[0], state, (struct entry){.symbol = -1}, 0);
  bool found = false;
  for (int length = 1; length <= s->options->max_length && !found && !s->out_of_budget; length++) {
    struct states *now = &level[(length - 1) % 2], *next = &level[length % 2];
    size_t first = l.count - now->count;
    next->count = 0;
    for (size_t i = 0; i < now->count && !found && !s->out_of_budget; i++)
      found = expand(&l, first + i, now->items + i * (size_t)s->num_targets, state, next);
  }
  free(state);
  free(level[0].items);
  free(level[1].items);
  free(l.entries);
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
