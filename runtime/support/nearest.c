// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Nearest names for error messages.
#include "runtime/support/nearest.h"

#include <stdio.h>
#include <string.h>

#define MAX_NAME 126

int anas_edit_distance(const char *a, size_t size_a, const char *b, size_t size_b) {
  int row[MAX_NAME + 1];
  if (size_a > MAX_NAME || size_b > MAX_NAME) return (int)(size_a + size_b);
  for (size_t j = 0; j <= size_b; j++)
    row[j] = (int)j;
  for (size_t i = 1; i <= size_a; i++) {
    int diagonal = row[0]; // distance of the prefixes i-1 and j-1
    row[0] = (int)i;
    for (size_t j = 1; j <= size_b; j++) {
      int best = diagonal + (a[i - 1] != b[j - 1]);
      if (row[j] + 1 < best) best = row[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      diagonal = row[j];
      row[j] = best;
    }
  }
  return row[size_b];
}

struct anas_nearest anas_nearest_make(const char *wanted, size_t size) {
  // One edit in three characters, rounded up: "sede" finds "seed", "foo" does not find "o".
  return (struct anas_nearest){.wanted = wanted, .size = size, .distance = (int)((size + 2) / 3) + 1};
}

void anas_nearest_offer(struct anas_nearest *nearest, const char *name) {
  int distance = anas_edit_distance(nearest->wanted, nearest->size, name, strlen(name));
  if (distance >= nearest->distance) return;
  nearest->distance = distance;
  nearest->best = name;
}

const char *anas_nearest_hint(const struct anas_nearest *nearest, char out[128]) {
  out[0] = 0;
  if (nearest->best) snprintf(out, 128, "; did you mean '%s'?", nearest->best);
  return out;
}
