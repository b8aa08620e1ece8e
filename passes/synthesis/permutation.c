// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A random permutation of an index range that is computed, not stored: a Feistel network over the smallest even number
// of bits that holds the range, walked until it lands inside (each element is reached once because the network is a
// bijection; fewer than four steps on average).
#include "passes/synthesis/internal.h"

#include "runtime/support/rng.h"

#define ROUNDS 6

uint64_t anas_permuted(uint64_t key, uint64_t count, uint64_t index) {
  int half = 1; // bits of one side
  while (half < 31 && (UINT64_C(1) << (2 * half)) < count)
    half++;
  uint64_t mask = (UINT64_C(1) << half) - 1;
  do {
    uint64_t left = index >> half, right = index & mask;
    for (int round = 0; round < ROUNDS; round++) {
      struct anas_rng f = {.key = key, .counter = (uint64_t)round << 32 | right};
      uint64_t next = left ^ (anas_rng_u64(&f) & mask);
      left = right;
      right = next;
    }
    index = left << half | right;
  } while (index >= count);
  return index;
}
