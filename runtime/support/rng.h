// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Counter-based random numbers (SplitMix64 finaliser over key and counter): same seed, same sequence on every machine;
// independent streams by key. Passed explicitly; there is no global generator.
#ifndef ANAS_RUNTIME_SUPPORT_RNG_H
#define ANAS_RUNTIME_SUPPORT_RNG_H

#include <stdint.h>

struct anas_rng {
  uint64_t key, counter; // the whole state: store it to resume
};

struct anas_rng anas_rng_make(uint64_t seed);
// Independent generator derived from rng's key (not its position) and a stream label.
struct anas_rng anas_rng_split(const struct anas_rng *rng, uint64_t stream);
struct anas_rng anas_rng_split_name(const struct anas_rng *rng, const char *name);
uint64_t anas_rng_u64(struct anas_rng *rng);
uint64_t anas_rng_below(struct anas_rng *rng, uint64_t bound); // uniform in [0, bound); bound > 0; unbiased
double anas_rng_double(struct anas_rng *rng);                  // uniform in [0, 1)
double anas_rng_normal(struct anas_rng *rng);                  // mean 0, variance 1
// Uniformly random order (Fisher-Yates).
void anas_rng_shuffle(struct anas_rng *rng, uint32_t *items, uint64_t count);

#endif
