// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tuning: alternative plans of contractions, measured on their real shapes. The winner is an entry of the object cache
// beside the objects, found by kernel text, code generator and processor, and used by every later compilation.
#ifndef ANAS_PASSES_TUNE_H
#define ANAS_PASSES_TUNE_H

#include "passes/lower/cache.h"
#include "passes/lower/image.h"

// Looks for the plan of a unit whose key is set. If one is known, changes choice and key; false if none is.
bool anas_tune_find(struct anas_cache *cache, struct anas_unit *unit);

// Measures the alternatives for every contraction of at least a million operations whose plan is not known yet, on
// the calling thread, at most a second each and until all took limit_seconds; keeps the winners in the cache and sets
// choices and keys. kernels: those of the units.
anas_status anas_tune(struct anas_unit *units, const struct anas_kernel *kernels, int num_units,
                      const struct anas_cpu_target *target, double limit_seconds, struct anas_cache *cache);

// Text form of a choice: "vectors=2 panel=0.5 chunk=1 columns=0 stream=1 direct=0". Parsing is false for anything else.
void anas_choice_print(const struct anas_cpu_choice *choice, char out[96]);
bool anas_choice_parse(const char *text, size_t size, struct anas_cpu_choice *out);

#endif
