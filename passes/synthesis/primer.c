// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The baselines that ignore properties (spec 3.10): one random edit of the replaced chain, as Primer does; AutoML-Zero
// also replaces the whole chain by a random one. Whether the child is well-typed shows afterwards.
#include "passes/synthesis/internal.h"

#include "runtime/support/memory.h"

#include <stdlib.h>
#include <string.h>

#define LENGTH_WINDOW 2 // a random chain is at most this much longer or shorter

static anas_status no_chain(void) {
  return anas_fail(ANAS_INFEASIBLE, "the baselines edit an existing chain, and there is none");
}

static void delete_at(struct anas_synthesizer *s, int at) {
  memmove(&s->chain[at], &s->chain[at + 1], (size_t)(--s->length - at) * sizeof s->chain[0]);
}

static bool delete_op(struct anas_synthesizer *s) {
  if (s->length == 0) return false;
  delete_at(s, (int)anas_rng_below(s->rng, (uint64_t)s->length));
  return true;
}

// Inserted ops come from the FULL sets alone, not from the replaced chain.
static bool insert_op(struct anas_synthesizer *s) {
  struct anas_value_source source = {.rank = s->source.rank, .strict = s->source.strict};
  if (s->length == ANAS_MAX_CHAIN) return false;
  int at = (int)anas_rng_below(s->rng, (uint64_t)s->length + 1);
  memmove(&s->chain[at + 1], &s->chain[at], (size_t)(s->length++ - at) * sizeof s->chain[0]);
  anas_full_draw(&source, s->rng, &s->chain[at]);
  return true;
}

// One attribute of one op takes a value that occurs in the chain; it may be the one it has.
static bool change_attribute(struct anas_synthesizer *s) {
  struct anas_attr values[ANAS_MAX_VALUES];
  uint32_t *choices = anas_calloc((size_t)s->length * ANAS_MAX_ATTRS + 1, sizeof *choices);
  uint64_t count = 0;
  for (int n = 0; n < s->length; n++)
    for (int a = 0; a < s->chain[n].def->num_attrs; a++)
      if (anas_attr_values(&s->source, &s->chain[n].def->attrs[a], ANAS_VALUES_OBSERVED, values) > 1)
        choices[count++] = (uint32_t)(n * ANAS_MAX_ATTRS + a);
  if (count > 0) {
    uint32_t choice = choices[anas_rng_below(s->rng, count)];
    int n = (int)choice / ANAS_MAX_ATTRS, a = (int)choice % ANAS_MAX_ATTRS;
    int num_values = anas_attr_values(&s->source, &s->chain[n].def->attrs[a], ANAS_VALUES_OBSERVED, values);
    s->chain[n].attr[a] = values[anas_rng_below(s->rng, (uint64_t)num_values)];
  }
  free(choices);
  return count > 0;
}

static bool replace_op(struct anas_synthesizer *s) {
  return delete_op(s) && insert_op(s);
}

static bool swap_ops(struct anas_synthesizer *s) {
  if (s->length < 2) return false;
  uint64_t a = anas_rng_below(s->rng, (uint64_t)s->length), b = anas_rng_below(s->rng, (uint64_t)s->length - 1);
  b += b >= a;
  struct anas_node op = s->chain[a];
  s->chain[a] = s->chain[b];
  s->chain[b] = op;
  return true;
}

static bool randomize_chain(struct anas_synthesizer *s) {
  int least = s->length - LENGTH_WINDOW, most = s->length + LENGTH_WINDOW;
  if (least < 1) least = 1;
  if (most > ANAS_MAX_CHAIN) most = ANAS_MAX_CHAIN;
  s->length = least + (int)anas_rng_below(s->rng, (uint64_t)(most - least) + 1);
  for (int n = 0; n < s->length;) { // any TEST instance is as likely as another
    const struct anas_symbol *symbol = &s->alphabet.symbols[anas_rng_below(s->rng, (uint64_t)s->alphabet.count)];
    if (symbol->exact_attr < 0) s->chain[n++] = symbol->op;
  }
  return true;
}

typedef bool edit(struct anas_synthesizer *s);
static edit *const edits[] = {delete_op, insert_op, change_attribute, replace_op, swap_ops, randomize_chain};

static anas_status mutate_chain(struct anas_synthesizer *s, uint32_t num_edits) {
  if (s->num_reference < 1 || s->num_reference > ANAS_MAX_CHAIN) return no_chain();
  if (s->options->max_candidates > 0 && s->candidates >= s->options->max_candidates) {
    s->out_of_budget = true;
    return anas_synthesizer_failed(s);
  }
  s->candidates++;
  memcpy(s->chain, s->reference, (size_t)s->num_reference * sizeof s->chain[0]);
  s->length = s->num_reference;
  uint32_t order[] = {0, 1, 2, 3, 4, 5};
  anas_rng_shuffle(s->rng, order, num_edits);
  uint32_t e = 0;
  while (e < num_edits && !edits[order[e]](s)) // the next one if it does not apply
    e++;
  if (s->length == 0) {
    s->chain[0] = (struct anas_node){.def = anas_op_find("identity", 8), .num_operands = 1, .num_results = 1};
    s->length = 1;
  }
  return ANAS_OK;
}

static anas_status primer_search(struct anas_synthesizer *s) {
  return mutate_chain(s, 5);
}

static anas_status automl_zero_search(struct anas_synthesizer *s) {
  return mutate_chain(s, 6);
}

const struct anas_strategy anas_strategy_primer = {.repeats = true, .blind = true, .search = primer_search};
const struct anas_strategy anas_strategy_automl_zero = {.repeats = true, .blind = true, .search = automl_zero_search};
