// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The alphabet of the synthesisers (spec 3.5): every synthesisable op with every combination of searched attribute
// values. Which attributes are searched, and their sets, come from the op table; values that occur in the replaced
// chain join the set of the attribute of the same name, whatever op they are on.
#include "passes/synthesis/internal.h"

#include "runtime/support/memory.h"

#include <stdlib.h>
#include <string.h>

static bool same_ints(const struct anas_ints *a, const struct anas_ints *b) {
  return a->count == b->count && !memcmp(a->value, b->value, (size_t)a->count * sizeof a->value[0]);
}

static bool same_dim(const struct anas_dim_expr *a, const struct anas_dim_expr *b) {
  if (a->relative != b->relative) return false;
  if (!a->relative) return a->constant == b->constant;
  return a->operand == b->operand && a->axis == b->axis && a->div == b->div && a->mul == b->mul;
}

bool anas_attr_same(const struct anas_attr_def *def, const struct anas_attr *a, const struct anas_attr *b) {
  if (a->present != b->present) return false;
  if (!a->present) return true;
  switch (def->kind) {
  case ANAS_ATTR_INT:
  case ANAS_ATTR_ENUM: return a->value.i == b->value.i;
  case ANAS_ATTR_FLOAT: return a->value.f == b->value.f;
  case ANAS_ATTR_TEXT: return !strcmp(a->value.text, b->value.text);
  case ANAS_ATTR_BOOL: return a->value.b == b->value.b;
  case ANAS_ATTR_INIT: return anas_init_equal(&a->value.init, &b->value.init);
  case ANAS_ATTR_DIMS:
  case ANAS_ATTR_INTS: return same_ints(&a->value.ints, &b->value.ints);
  case ANAS_ATTR_DIM: return same_dim(&a->value.dim, &b->value.dim);
  }
  return false;
}

bool anas_attr_is_size(const struct anas_attr_def *def) {
  return def->kind == ANAS_ATTR_DIM && def->required && def->num_test == 0;
}

// Brings a value to the one form that equal values share, and choices to the numbering of def. False: not applicable.
static bool normalize(const struct anas_value_source *source, const struct anas_attr_def *from,
                      const struct anas_attr_def *def, struct anas_attr *value) {
  if (def->kind == ANAS_ATTR_INTS) {
    struct anas_ints *ints = &value->value.ints;
    bool uniform = true;
    for (int i = 1; i < ints->count; i++)
      uniform = uniform && ints->value[i] == ints->value[0];
    if (uniform && ints->count > 1) ints->count = 1;
    return ints->count == 1 || ints->count == source->rank - 2;
  }
  if (def->kind == ANAS_ATTR_DIM && value->value.dim.relative) {
    struct anas_dim_expr *dim = &value->value.dim;
    if (dim->operand != 0) return false; // the new op has one operand
    if (dim->axis >= 0) dim->axis -= source->rank;
    if (dim->axis >= 0 || dim->axis < -source->rank) return false;
    int64_t common = anas_gcd(dim->mul, dim->div);
    dim->mul /= common;
    dim->div /= common;
  }
  if (def->kind == ANAS_ATTR_ENUM && from->choices != def->choices) {
    for (int i = 0; def->choices[i]; i++)
      if (!strcmp(def->choices[i], from->choices[value->value.i])) {
        value->value.i = i;
        return true;
      }
    return false;
  }
  return true;
}

static void add_value(const struct anas_attr_def *def, const struct anas_attr *value, struct anas_attr *out,
                      int *count) {
  for (int i = 0; i < *count; i++)
    if (anas_attr_same(def, &out[i], value)) return;
  if (*count < ANAS_MAX_VALUES) out[(*count)++] = *value;
}

// base * mul / div for the factors of spec 3.5; absolute bases only where div divides them.
static void add_size(const struct anas_attr_def *def, const struct anas_attr *base, const int64_t factor[2],
                     struct anas_attr *out, int *count) {
  struct anas_attr value = *base;
  struct anas_dim_expr *dim = &value.value.dim;
  if (dim->relative) {
    dim->mul *= factor[0];
    dim->div *= factor[1];
    int64_t common = anas_gcd(dim->mul, dim->div);
    dim->mul /= common;
    dim->div /= common;
  } else {
    if (dim->constant % factor[1]) return;
    dim->constant = dim->constant / factor[1] * factor[0];
  }
  add_value(def, &value, out, count);
}

static void add_sizes(const struct anas_value_source *source, const struct anas_attr_def *def,
                      const struct anas_attr *base, struct anas_attr *out, int *count) {
  static const int64_t factors[][2] = {{1, 1}, {2, 1}, {4, 1}, {1, 2}, {1, 4}}; // mul, div
  for (size_t f = 0; f < sizeof factors / sizeof *factors; f++)
    add_size(def, base, factors[f], out, count);
  for (int f = 0; f < source->num_factors; f++)
    add_size(def, base, source->factor[f], out, count);
}

// The reference keeps strides and windows in one set (B5).
static bool shares_values(const struct anas_value_source *source, const char *a, const char *b) {
  if (!strcmp(a, b)) return true;
  return source->strict && (!strcmp(a, "strides") || !strcmp(a, "window")) &&
         (!strcmp(b, "strides") || !strcmp(b, "window"));
}

static void add_set(const struct anas_attr_def *def, bool full, struct anas_attr *out, int *count) {
  for (int i = 0; i < (full ? def->num_full : def->num_test); i++)
    add_value(def, full ? &def->full_set[i] : &def->test_set[i], out, count);
}

static void add_shared_sets(const struct anas_value_source *source, const struct anas_attr_def *def, bool full,
                            struct anas_attr *out, int *count) {
  int num_defs;
  const struct anas_op_def *const *defs = anas_op_table(&num_defs);
  for (int d = 0; d < num_defs; d++)
    for (int a = 0; a < defs[d]->num_attrs; a++)
      if (defs[d]->synthesizable && defs[d]->attrs[a].kind == def->kind &&
          shares_values(source, def->name, defs[d]->attrs[a].name))
        add_set(&defs[d]->attrs[a], full, out, count);
}

// Adds what node, an op of the replaced chain, has under the name of def.
static void add_observed(const struct anas_value_source *source, const struct anas_attr_def *def,
                         const struct anas_node *node, struct anas_attr *out, int *count) {
  bool is_size = anas_attr_is_size(def);
  for (int a = 0; node->def && a < node->def->num_attrs; a++) {
    const struct anas_attr_def *from = &node->def->attrs[a];
    if (from->kind != def->kind || !shares_values(source, def->name, from->name)) continue;
    struct anas_attr value = node->attr[a];
    if (!value.present && !source->strict) value = from->fallback;
    if (!value.present || !normalize(source, from, def, &value)) continue;
    if (!is_size)
      add_value(def, &value, out, count);
    else if (value.value.dim.relative || source->single_context)
      add_sizes(source, def, &value, out, count);
  }
}

int anas_attr_values(const struct anas_value_source *source, const struct anas_attr_def *def, enum anas_value_set set,
                     struct anas_attr out[ANAS_MAX_VALUES]) {
  static const struct anas_attr same_size = {.present = true,
                                             .value.dim = {.relative = true, .axis = -1, .div = 1, .mul = 1}};
  bool is_size = anas_attr_is_size(def), full = set == ANAS_VALUES_FULL;
  int count = 0;
  if (!is_size && (full ? def->num_full : def->num_test) == 0) {
    out[0] = (struct anas_attr){.present = false};
    return 1;
  }
  if (set != ANAS_VALUES_OBSERVED) {
    add_set(def, full, out, &count);
    if (source->strict) add_shared_sets(source, def, full, out, &count);
  }
  if (is_size) add_sizes(source, def, &same_size, out, &count);
  for (int n = 0; n < source->num_reference; n++)
    add_observed(source, def, &source->reference[n], out, &count);
  return count;
}

static bool is_candidate(const struct anas_op_def *def) {
  if (def->level != ANAS_ARCHITECTURE || !def->synthesizable) return false;
  if (def->num_operands != 1 || def->variadic || def->num_results > 1) return false;
  for (int a = 0; a < def->num_attrs; a++) // a required attribute without values cannot be filled in
    if (def->attrs[a].required && !anas_attr_is_size(&def->attrs[a]) && def->attrs[a].num_test == 0) return false;
  return true;
}

static void add_symbols(struct anas_alphabet *alphabet, const struct anas_op_def *def, const struct anas_attr *values,
                        const int *num_values, int size_attr, bool exact) {
  int choice[ANAS_MAX_ATTRS] = {0};
  for (;;) {
    alphabet->symbols =
        anas_grow(alphabet->symbols, (size_t)alphabet->count, &alphabet->capacity, sizeof *alphabet->symbols);
    struct anas_symbol *symbol = &alphabet->symbols[alphabet->count++];
    memset(symbol, 0, sizeof *symbol);
    symbol->type = alphabet->num_types;
    symbol->exact_attr = -1;
    symbol->op = (struct anas_node){.def = def, .num_operands = 1, .num_results = 1};
    symbol->op.operand[0] = (struct anas_ref){ANAS_ARGUMENT, 0};
    for (int a = 0; a < def->num_attrs; a++) {
      if (a == size_attr && choice[a] == num_values[a])
        symbol->exact_attr = a; // filled in for the prefix at hand
      else
        symbol->op.attr[a] = values[a * ANAS_MAX_VALUES + choice[a]];
    }
    int a = def->num_attrs - 1; // the last attribute varies fastest
    while (a >= 0 && ++choice[a] == num_values[a] + (exact && a == size_attr))
      choice[a--] = 0;
    if (a < 0) return;
  }
}

void anas_alphabet_init(struct anas_alphabet *alphabet, const struct anas_value_source *source, enum anas_value_set set,
                        bool exact) {
  *alphabet = (struct anas_alphabet){0};
  int num_defs;
  const struct anas_op_def *const *defs = anas_op_table(&num_defs);
  struct anas_attr *values = anas_calloc(ANAS_MAX_ATTRS * ANAS_MAX_VALUES, sizeof *values);
  for (int d = 0; d < num_defs; d++) {
    if (!is_candidate(defs[d])) continue;
    int num_values[ANAS_MAX_ATTRS] = {0}, size_attr = -1;
    for (int a = 0; a < defs[d]->num_attrs; a++) {
      num_values[a] = anas_attr_values(source, &defs[d]->attrs[a], set, values + a * ANAS_MAX_VALUES);
      if (anas_attr_is_size(&defs[d]->attrs[a])) size_attr = a;
    }
    add_symbols(alphabet, defs[d], values, num_values, size_attr, exact);
    alphabet->num_types++;
  }
  free(values);
}

void anas_alphabet_deinit(struct anas_alphabet *alphabet) {
  free(alphabet->symbols);
  *alphabet = (struct anas_alphabet){0};
}

int anas_alphabet_draw(const struct anas_alphabet *alphabet, struct anas_rng *rng) {
  int type = (int)anas_rng_below(rng, (uint64_t)alphabet->num_types), first = 0, count = 0;
  while (alphabet->symbols[first].type != type)
    first++;
  while (first + count < alphabet->count && alphabet->symbols[first + count].type == type)
    count++;
  return first + (int)anas_rng_below(rng, (uint64_t)count);
}

void anas_full_draw(const struct anas_value_source *source, struct anas_rng *rng, struct anas_node *out) {
  int num_defs;
  const struct anas_op_def *const *defs = anas_op_table(&num_defs);
  struct anas_attr values[ANAS_MAX_VALUES];
  uint64_t total = 0, *instances = anas_calloc((size_t)num_defs, sizeof *instances);
  for (int d = 0; d < num_defs; d++) {
    if (!is_candidate(defs[d])) continue;
    instances[d] = 1;
    for (int a = 0; a < defs[d]->num_attrs; a++)
      instances[d] *= (uint64_t)anas_attr_values(source, &defs[d]->attrs[a], ANAS_VALUES_FULL, values);
    total += instances[d];
  }
  uint64_t draw = anas_rng_below(rng, total);
  int d = 0;
  for (; draw >= instances[d]; d++)
    draw -= instances[d];
  free(instances);
  *out = (struct anas_node){.def = defs[d], .num_operands = 1, .num_results = 1};
  for (int a = 0; a < defs[d]->num_attrs; a++) {
    uint64_t count = (uint64_t)anas_attr_values(source, &defs[d]->attrs[a], ANAS_VALUES_FULL, values);
    out->attr[a] = values[draw % count];
    draw /= count;
  }
}
