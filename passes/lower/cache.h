// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Object cache: a directory of files named by content hash, shared by threads and processes. An entry is a header
// (magic, version, payload size, scratch bytes, xxh3 checksum, plan, key) and the object. An entry that does not verify
// is a miss.
#ifndef ANAS_PASSES_CACHE_H
#define ANAS_PASSES_CACHE_H

#include "runtime/program.h"

#define ANAS_CACHE_DEFAULT_LIMIT ((int64_t)1 << 30) // bytes

struct anas_cache;

// directory: created if missing; null: "objects" in the cache directory of the user. limit_bytes: what anas_cache_trim
// keeps; 0: the default.
anas_status anas_cache_open(const char *directory, int64_t limit_bytes, struct anas_cache **out);
void anas_cache_close(struct anas_cache *cache);

// Key of an entry: hash over the parts, which are kept apart (("ab", "c") differs from ("a", "bc")).
void anas_cache_key(const char *const *parts, const size_t *sizes, int count, char out_key[33]);

// False on a miss; else *out_object is malloc'ed and the entry counts as used now.
bool anas_cache_get(struct anas_cache *cache, const char *key, struct anas_object *out_object);
// Concurrent writers of one key leave one complete entry.
anas_status anas_cache_put(struct anas_cache *cache, const char *key, const struct anas_object *object);
// If the entries exceed the limit, removes the least recently used ones down to 90 % of it.
void anas_cache_trim(struct anas_cache *cache);

#endif
