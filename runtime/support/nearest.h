// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// "Did you mean": the nearest of a set of names by edit distance.
#ifndef ANAS_RUNTIME_SUPPORT_NEAREST_H
#define ANAS_RUNTIME_SUPPORT_NEAREST_H

#include <stddef.h>

// Levenshtein distance; names longer than 126 characters count as entirely different.
int anas_edit_distance(const char *a, size_t size_a, const char *b, size_t size_b);

// Feed names one by one; best is null until one is near enough to be a plausible typing error (a third of the length).
struct anas_nearest {
  const char *wanted;
  size_t size;
  const char *best;
  int distance;
};
struct anas_nearest anas_nearest_make(const char *wanted, size_t size);
void anas_nearest_offer(struct anas_nearest *nearest, const char *name); // keeps the pointer

// Writes "; did you mean 'x'?" or "" to out, and returns it.
const char *anas_nearest_hint(const struct anas_nearest *nearest, char out[128]);

#endif
