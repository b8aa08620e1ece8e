// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Summaries of functions by content. The key of a function covers its ops, its types and what the summaries of its
// callees say, so an edit in a callee that leaves its summary alone leaves the caller's key alone.
#include "passes/analysis/summary.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS 1024
#define MAX_SUMMARIES 8192 // a few kilobytes each

struct anas_property_cache {
  struct anas_summary *bucket[BUCKETS];
  int count;
  int64_t transfers;
};

struct anas_property_cache *anas_property_cache_create(void) {
  return anas_alloc(sizeof(struct anas_property_cache));
}

static void clear(struct anas_property_cache *cache) {
  for (int b = 0; b < BUCKETS; b++)
    while (cache->bucket[b]) {
      struct anas_summary *summary = cache->bucket[b];
      cache->bucket[b] = summary->next;
      anas_arena_deinit(&summary->arena);
      free(summary);
    }
  cache->count = 0;
}

void anas_property_cache_destroy(struct anas_property_cache *cache) {
  if (!cache) return;
  clear(cache);
  free(cache);
}

int64_t anas_property_cache_transfers(const struct anas_property_cache *cache) {
  return cache->transfers;
}

void anas_property_cache_count(struct anas_property_cache *cache, int64_t transfers) {
  cache->transfers += transfers;
}

void anas_property_cache_trim(struct anas_property_cache *cache) {
  if (cache->count > MAX_SUMMARIES) clear(cache);
}

struct anas_summary *anas_property_cache_find(const struct anas_property_cache *cache, XXH128_hash_t key,
                                              XXH128_hash_t body) {
  for (struct anas_summary *summary = cache->bucket[key.low64 % BUCKETS]; summary; summary = summary->next)
    if (XXH128_isEqual(summary->key, key) && (!summary->from_body || XXH128_isEqual(summary->body, body)))
      return summary;
  return NULL;
}

void anas_property_cache_add(struct anas_property_cache *cache, struct anas_summary *summary) {
  struct anas_summary **bucket = &cache->bucket[summary->key.low64 % BUCKETS];
  summary->next = *bucket;
  *bucket = summary;
  cache->count++;
}

// ---- keys

static void add(struct anas_strbuf *bytes, const void *data, size_t size) {
  anas_strbuf_add(bytes, data, size);
}

static void add_shape(struct anas_strbuf *bytes, const struct anas_shape *shape) {
  add(bytes, &shape->rank, sizeof shape->rank);
  add(bytes, &shape->element, sizeof shape->element);
  add(bytes, shape->dim, (size_t)shape->rank * sizeof *shape->dim);
}

// Attribute values go in as they are in memory: what differs in unused bytes only is computed twice, no more.
static void add_node(struct anas_strbuf *bytes, const struct anas_node *node) {
  add(bytes, &node->def, sizeof node->def);
  add(bytes, &node->num_operands, sizeof node->num_operands);
  add(bytes, node->operand, (size_t)node->num_operands * sizeof *node->operand);
  add(bytes, &node->num_results, sizeof node->num_results);
  for (int r = 0; r < node->num_results; r++)
    add_shape(bytes, &node->result[r]);
  for (int i = 0; node->def && i < node->def->num_attrs; i++) {
    add(bytes, &node->attr[i].present, sizeof node->attr[i].present);
    if (node->attr[i].present) add(bytes, &node->attr[i].value, sizeof node->attr[i].value);
  }
}

void anas_summary_keys(const struct anas_function *function, struct anas_summary *const *summaries,
                       struct anas_strbuf *scratch, XXH128_hash_t *out_key, XXH128_hash_t *out_body) {
  anas_strbuf_clear(scratch);
  add(scratch, &function->num_args, sizeof function->num_args);
  for (int a = 0; a < function->num_args; a++)
    add_shape(scratch, &function->arg[a]);
  add(scratch, &function->num_results, sizeof function->num_results);
  add(scratch, function->result, (size_t)function->num_results * sizeof *function->result);
  for (int n = 0; n < function->num_nodes; n++)
    add_node(scratch, &function->nodes[n]);
  XXH128_hash_t own = XXH3_128bits(anas_strbuf_text(scratch), scratch->size);
  for (int body = 0; body < 2; body++) {
    anas_strbuf_clear(scratch);
    add(scratch, &own, sizeof own);
    for (int n = 0; n < function->num_nodes; n++)
      if (!function->nodes[n].def) {
        const struct anas_summary *callee = summaries[function->nodes[n].callee];
        add(scratch, body ? &callee->body : &callee->content, sizeof callee->body);
      }
    *(body ? out_body : out_key) = XXH3_128bits(anas_strbuf_text(scratch), scratch->size);
  }
}

static void add_term(struct anas_strbuf *bytes, const struct anas_reads *reads, const struct anas_reads_term *term) {
  add(bytes, &term->row, sizeof term->row);
  if (!term->table) {
    add(bytes, &term->first, sizeof term->first);
    add(bytes, &term->last, sizeof term->last);
    add(bytes, &term->set, sizeof term->set);
    return;
  }
  int64_t words = anas_reads_words(reads->extent[term->row]);
  for (int j = 0; j < reads->columns; j++)
    if (term->mask >> j & 1) words *= reads->result[j];
  add(bytes, &term->mask, sizeof term->mask);
  add(bytes, term->table, (size_t)words * sizeof *term->table);
}

void anas_summary_digest(struct anas_summary *summary, struct anas_strbuf *scratch) {
  anas_strbuf_clear(scratch);
  for (int i = 0; i < summary->num_results * summary->num_args; i++) {
    const struct anas_dependence *relation = &summary->relations[i];
    const struct anas_reads *reads = relation->reads;
    add(scratch, &relation->paths, sizeof relation->paths);
    int terms = reads ? reads->num_terms : -1;
    add(scratch, &terms, sizeof terms);
    if (!reads) continue;
    add(scratch, reads->extent, sizeof reads->extent);
    add(scratch, reads->result, (size_t)reads->columns * sizeof *reads->result);
    uint8_t flags[] = {reads->exact, reads->total};
    add(scratch, flags, sizeof flags);
    for (int t = 0; t < terms; t++)
      add_term(scratch, reads, &reads->term[t]);
  }
  summary->content = XXH3_128bits(anas_strbuf_text(scratch), scratch->size);
}
