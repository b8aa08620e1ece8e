// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Memory: checked heap allocation for bookkeeping, and arenas for everything that dies together.
// Bookkeeping allocations are small; when one fails the process cannot continue and says so. Large buffers (tensors,
// data sets) are allocated by their owners, who report ANAS_NO_MEMORY.
#ifndef ANAS_RUNTIME_SUPPORT_MEMORY_H
#define ANAS_RUNTIME_SUPPORT_MEMORY_H

#include <stddef.h>

// Never return null; zero-sized requests return a unique pointer. Free with free().
void *anas_alloc(size_t size);                  // zeroed
void *anas_calloc(size_t count, size_t size);   // zeroed, overflow-checked
void *anas_realloc(void *pointer, size_t size); // like realloc
char *anas_strdup(const char *text);
__attribute__((format(printf, 1, 2))) char *anas_format(const char *format, ...); // malloc'ed printf

// Grows *items (element size in bytes) so that index count is writable; doubles the capacity.
void *anas_grow(void *items, size_t count, size_t *capacity, size_t element_size);

// Arena: allocation by bumping a pointer, freed all at once. {0} is a valid empty arena.
struct anas_arena_chunk;
struct anas_arena {
  struct anas_arena_chunk *chunk;
};
void *anas_arena_alloc(struct anas_arena *arena, size_t size); // zeroed, 16-byte aligned
char *anas_arena_strdup(struct anas_arena *arena, const char *text);
char *anas_arena_strndup(struct anas_arena *arena, const char *text, size_t size);
__attribute__((format(printf, 2, 3))) char *anas_arena_format(struct anas_arena *arena, const char *format, ...);
void anas_arena_deinit(struct anas_arena *arena);

#endif
