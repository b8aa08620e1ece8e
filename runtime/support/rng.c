// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Counter-based random numbers.
#include "runtime/support/rng.h"

#include <math.h>

// Finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
static uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

struct anas_rng anas_rng_make(uint64_t seed) {
  return (struct anas_rng){.key = mix(seed + 0x9e3779b97f4a7c15u), .counter = 0};
}

struct anas_rng anas_rng_split(const struct anas_rng *rng, uint64_t stream) {
  return (struct anas_rng){.key = mix(rng->key ^ mix(stream + 0xd1b54a32d192ed03u)), .counter = 0};
}

struct anas_rng anas_rng_split_name(const struct anas_rng *rng, const char *name) {
  uint64_t hash = 0xcbf29ce484222325u; // FNV-1a
  for (const unsigned char *p = (const unsigned char *)name; *p; p++)
    hash = (hash ^ *p) * 0x100000001b3u;
  return anas_rng_split(rng, hash);
}

uint64_t anas_rng_u64(struct anas_rng *rng) {
  return mix(mix(rng->counter++ * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u) ^ rng->key);
}

uint64_t anas_rng_below(struct anas_rng *rng, uint64_t bound) {
  uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
  uint64_t value;
  do
    value = anas_rng_u64(rng);
  while (value >= limit);
  return value % bound;
}

double anas_rng_double(struct anas_rng *rng) {
  return (double)(anas_rng_u64(rng) >> 11) * 0x1p-53;
}

double anas_rng_normal(struct anas_rng *rng) {
  double u = 1.0 - anas_rng_double(rng); // (0, 1]: the logarithm is finite
  double v = anas_rng_double(rng);
  return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

void anas_rng_shuffle(struct anas_rng *rng, uint32_t *items, uint64_t count) {
  for (uint64_t i = count; i > 1; i--) {
    uint64_t j = anas_rng_below(rng, i);
    uint32_t t = items[i - 1];
    items[i - 1] = items[j];
    items[j] = t;
  }
}
