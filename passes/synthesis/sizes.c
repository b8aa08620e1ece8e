// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Feature counts: the exact one for a prefix (feature adjustment, spec 3.4), and the prime factors between two.
//
// The reference rewrites the last dense or conv op of a finished chain. Here the exact count is one more symbol of
// these ops, computed for the prefix it is appended to. The alphabet's other ops keep the feature count, so both reach
// the same chains; the op's own factor never enters the ratio (B7), and a ratio prints in lowest terms (B8).
#include "passes/synthesis/internal.h"

int64_t anas_gcd(int64_t a, int64_t b) {
  while (b) {
    int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

bool anas_exact_size(const struct anas_target *targets, int num_targets, const struct anas_prefix *prefix,
                     struct anas_attr *out) {
  int64_t mul = 0, div = 0, constant = 0;
  bool relative = true, absolute = true;
  for (int t = 0; t < num_targets; t++) {
    if (targets[t].any_shape) continue;
    int64_t have = prefix[t].shape.dim[prefix[t].shape.rank - 1],
            need = targets[t].output.dim[targets[t].output.rank - 1];
    if (have < 1 || need < 1) return false;
    int64_t common = anas_gcd(have, need);
    if (mul == 0) {
      mul = need / common;
      div = have / common;
      constant = need;
    }
    relative = relative && mul == need / common && div == have / common;
    absolute = absolute && constant == need;
  }
  if (mul == 0) return false; // any count will do
  // A ratio that is neither a multiple nor a fraction says less than the count itself, if that serves everywhere.
  if (relative && !(absolute && mul != 1 && div != 1)) {
    *out = (struct anas_attr){.present = true, .value.dim = {.relative = true, .axis = -1, .div = div, .mul = mul}};
    return true;
  }
  if (!absolute) return false;
  *out = (struct anas_attr){.present = true, .value.dim = {.constant = constant, .div = 1, .mul = 1}};
  return true;
}

struct anas_exact anas_exact_at(const struct anas_target *targets, int num_targets, const struct anas_prefix *prefix) {
  struct anas_exact exact = {.type = -1};
  exact.available = anas_exact_size(targets, num_targets, prefix, &exact.size);
  return exact;
}

const struct anas_node *anas_symbol_op(const struct anas_alphabet *alphabet, int s, struct anas_exact *exact,
                                       struct anas_node *scratch) {
  const struct anas_symbol *symbol = &alphabet->symbols[s];
  int attr = symbol->exact_attr;
  if (attr < 0) return &symbol->op;
  if (!exact->available) return NULL;
  if (exact->type != symbol->type) {
    exact->type = symbol->type;
    exact->regular = false;
    for (int i = s; i >= 0 && alphabet->symbols[i].type == symbol->type; i--)
      if (alphabet->symbols[i].exact_attr < 0 &&
          anas_attr_same(&symbol->op.def->attrs[attr], &alphabet->symbols[i].op.attr[attr], &exact->size))
        exact->regular = true;
    for (int i = s; i < alphabet->count && alphabet->symbols[i].type == symbol->type; i++)
      if (alphabet->symbols[i].exact_attr < 0 &&
          anas_attr_same(&symbol->op.def->attrs[attr], &alphabet->symbols[i].op.attr[attr], &exact->size))
        exact->regular = true;
  }
  if (exact->regular) return NULL;
  *scratch = symbol->op;
  scratch->attr[attr] = exact->size;
  return scratch;
}

int anas_missing_factors(int64_t have, int64_t need) {
  if (have < 1 || need < 1) return 0;
  int64_t common = anas_gcd(have, need), part[2] = {have / common, need / common};
  int count = 0;
  for (int i = 0; i < 2; i++) {
    for (int64_t p = 2; p <= part[i] / p; p++)
      for (; part[i] % p == 0; part[i] /= p)
        count++;
    count += part[i] > 1;
  }
  return count;
}
