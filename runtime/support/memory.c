// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Checked heap allocation and arenas.
#include "runtime/support/memory.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES 16384

struct anas_arena_chunk {
  struct anas_arena_chunk *next;
  size_t used, size;
  _Alignas(16) unsigned char data[];
};

static void *checked(void *pointer, size_t size) {
  if (pointer) return pointer;
  fprintf(stderr, "anas: out of memory (%zu bytes)\n", size);
  abort();
}

void *anas_alloc(size_t size) {
  return checked(calloc(1, size ? size : 1), size);
}

void *anas_calloc(size_t count, size_t size) {
  if (!count || !size) count = size = 1;
  return checked(calloc(count, size), count * size);
}

void *anas_realloc(void *pointer, size_t size) {
  return checked(realloc(pointer, size ? size : 1), size);
}

char *anas_strdup(const char *text) {
  size_t size = strlen(text) + 1;
  return memcpy(anas_alloc(size), text, size);
}

char *anas_format(const char *format, ...) {
  va_list args;
  va_start(args, format);
  char *text = NULL;
  if (vasprintf(&text, format, args) < 0) text = checked(NULL, 0);
  va_end(args);
  return text;
}

void *anas_grow(void *items, size_t count, size_t *capacity, size_t element_size) {
  if (count < *capacity) return items;
  size_t larger = *capacity ? *capacity * 2 : 8;
  while (larger <= count)
    larger *= 2;
  items = anas_realloc(items, larger * element_size);
  memset((char *)items + *capacity * element_size, 0, (larger - *capacity) * element_size);
  *capacity = larger;
  return items;
}

void *anas_arena_alloc(struct anas_arena *arena, size_t size) {
  size = (size + 15) & ~(size_t)15;
  struct anas_arena_chunk *chunk = arena->chunk;
  if (!chunk || chunk->size - chunk->used < size) {
    size_t bytes = size > CHUNK_BYTES ? size : CHUNK_BYTES;
    struct anas_arena_chunk *fresh = anas_alloc(sizeof *fresh + bytes);
    fresh->size = bytes;
    fresh->next = chunk;
    arena->chunk = chunk = fresh;
  }
  void *pointer = chunk->data + chunk->used;
  chunk->used += size;
  return pointer;
}

char *anas_arena_strndup(struct anas_arena *arena, const char *text, size_t size) {
  char *copy = anas_arena_alloc(arena, size + 1);
  memcpy(copy, text, size);
  return copy;
}

char *anas_arena_strdup(struct anas_arena *arena, const char *text) {
  return anas_arena_strndup(arena, text, strlen(text));
}

char *anas_arena_format(struct anas_arena *arena, const char *format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int length = vsnprintf(NULL, 0, format, args);
  char *text = anas_arena_alloc(arena, (size_t)(length > 0 ? length : 0) + 1);
  if (length > 0) vsnprintf(text, (size_t)length + 1, format, again);
  va_end(again);
  va_end(args);
  return text;
}

void anas_arena_deinit(struct anas_arena *arena) {
  while (arena->chunk) {
    struct anas_arena_chunk *next = arena->chunk->next;
    free(arena->chunk);
    arena->chunk = next;
  }
}
