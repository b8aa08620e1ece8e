// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sets of positions in closed form, as a function of one index y: with u = (y / quot) mod mod (mod 0: no modulus),
//
//   set(y) = { u * stride - pad + t * step : 0 <= t < window } within [low, high].
//
// Windows, groups of channels, and the pieces of a flattened index have this form, and mostly keep it when they are
// composed. Where they do not, the functions below say so and the caller falls back to tables (reads_table.c).
#ifndef ANAS_PASSES_ANALYSIS_PROGRESSION_H
#define ANAS_PASSES_ANALYSIS_PROGRESSION_H

#include <stdbool.h>
#include <stdint.h>

struct anas_progression {
  int64_t quot, mod;
  int64_t stride, pad, window, step;
  int64_t low, high;
};

// The set that does not depend on y: [first, last].
struct anas_progression anas_progression_interval(int64_t first, int64_t last);
// { y }, for positions in [0, extent).
struct anas_progression anas_progression_identity(int64_t extent);

// First member at y and how many there are, step apart.
int64_t anas_progression_at(const struct anas_progression *set, int64_t y, int64_t *out_first);
// Values that u takes for y in [0, domain).
int64_t anas_progression_values(const struct anas_progression *set, int64_t domain);
bool anas_progression_is_constant(const struct anas_progression *set);
// Is the set empty for some y in [0, domain)? True also where too many windows would have to be looked at.
bool anas_progression_has_gap(const struct anas_progression *set, int64_t domain);

// The same function on [0, domain) with positions in [0, extent), with bounded numbers, and constant if it is.
void anas_progression_normalise(struct anas_progression *set, int64_t domain, int64_t extent);

// Union of outer(z) over z in inner(y), for y in [0, domain); every inner(y) is nonempty and within outer's domain.
// False: no closed form is known, or its numbers would be too large.
bool anas_progression_compose(const struct anas_progression *outer, const struct anas_progression *inner,
                              int64_t domain, struct anas_progression *out);
// Is b(y) a subset of a(y) for every y? May answer false where it is one.
bool anas_progression_contains(const struct anas_progression *a, const struct anas_progression *b);
// a(y) and b(y) together, if that is one progression in a way that is easy to see.
bool anas_progression_unite(const struct anas_progression *a, const struct anas_progression *b,
                            struct anas_progression *out);

#endif
