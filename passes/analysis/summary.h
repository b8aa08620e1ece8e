// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to passes/analysis: what a function says about its arguments, and where such summaries are kept.
#ifndef ANAS_PASSES_ANALYSIS_SUMMARY_H
#define ANAS_PASSES_ANALYSIS_SUMMARY_H

#include "passes/analysis/analysis.h"

#include <xxhash.h>

#define ANAS_NO_PATH (-1)
enum { ANAS_DEPTH_KINDS = 2 }; // ANAS_LINEAR, ANAS_NONLINEAR

// Longest paths from one argument to one value: depth[p][k] with a producer of kind p and a last op of kind k.
struct anas_paths {
  int64_t depth[ANAS_DEPTH_KINDS][ANAS_DEPTH_KINDS];
};

// What one value says about one argument. reads == null: the value does not depend on it.
struct anas_dependence {
  struct anas_paths paths;
  const struct anas_reads *reads;
};

struct anas_summary {
  XXH128_hash_t key;     // of the function's ops and types, and of the content of the summaries of its callees
  XXH128_hash_t body;    // of its ops and types and those of everything it calls
  bool from_body;        // the ops of a callee were looked into: valid only where body is equal too
  XXH128_hash_t content; // of the relations
  int num_results, num_args;
  struct anas_dependence *relations; // [result][argument]
  struct anas_arena arena;           // owns the relations
  struct anas_summary *next;         // in the cache
};

// Keys of a function whose callees are summarised.
void anas_summary_keys(const struct anas_function *function, struct anas_summary *const *summaries,
                       struct anas_strbuf *scratch, XXH128_hash_t *out_key, XXH128_hash_t *out_body);
void anas_summary_digest(struct anas_summary *summary, struct anas_strbuf *scratch);

struct anas_summary *anas_property_cache_find(const struct anas_property_cache *cache, XXH128_hash_t key,
                                              XXH128_hash_t body);
// The cache takes ownership.
void anas_property_cache_add(struct anas_property_cache *cache, struct anas_summary *summary);
void anas_property_cache_count(struct anas_property_cache *cache, int64_t transfers);
// Forgets everything if there is too much; what was found before is then gone.
void anas_property_cache_trim(struct anas_property_cache *cache);

// ---- inference over a model (properties.c)

struct anas_property_inference {
  const struct anas_model *model;
  struct anas_property_cache *cache; // owns the summaries
  struct anas_summary **summaries;   // by function; null: not known (any more)
  bool *open;                        // callees are being summarised
  int64_t expanded;                  // ops of callees evaluated in place
  struct anas_strbuf scratch;
};

void anas_property_inference_init(const struct anas_model *model, struct anas_property_cache *cache,
                                  struct anas_property_inference *out);
void anas_property_inference_deinit(struct anas_property_inference *inference);
// Fills the summary of a function, and those of its callees that are null.
anas_status anas_property_summarise(struct anas_property_inference *inference, int function);
void anas_property_report(const struct anas_function *function, const struct anas_summary *summary,
                          struct anas_properties *out);

// reference.c
anas_status anas_infer_properties_strictly(const struct anas_model *model, struct anas_properties *out);

#endif
