// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -split-input-file: one independent module per chunk.
#include "tools/anas-opt/opt.h"

#include "runtime/support/memory.h"

#include <stdlib.h>
#include <string.h>

static const char marker[] = "// -----";

static struct opt_chunk make_chunk(const char *text, size_t size, size_t newlines) {
  struct opt_chunk chunk = {.text = anas_alloc(newlines + size + 1), .size = newlines + size};
  memset(chunk.text, '\n', newlines);
  memcpy(chunk.text + newlines, text, size);
  return chunk;
}

void opt_split(const char *text, size_t size, bool split, struct opt_chunk **out_chunks, int *out_count) {
  struct opt_chunk *chunks = NULL;
  int count = 0;
  size_t capacity = 0, start = 0, start_line = 0, line = 0;
  bool bytecode = size >= 4 && !memcmp(text, "ML\xefR", 4);
  for (size_t at = 0; split && !bytecode && at < size;) {
    const char *newline = memchr(text + at, '\n', size - at);
    size_t next = newline ? (size_t)(newline - text) + 1 : size;
    line++;
    if (next - at >= sizeof marker - 1 && !memcmp(text + at, marker, sizeof marker - 1)) {
      chunks = anas_grow(chunks, (size_t)count, &capacity, sizeof *chunks);
      chunks[count++] = make_chunk(text + start, at - start, start_line);
      start = next;
      start_line = line;
    }
    at = next;
  }
  chunks = anas_grow(chunks, (size_t)count, &capacity, sizeof *chunks);
  chunks[count++] = make_chunk(text + start, size - start, start_line);
  *out_chunks = chunks;
  *out_count = count;
}

void opt_chunks_free(struct opt_chunk *chunks, int count) {
  for (int i = 0; i < count; i++)
    free(chunks[i].text);
  free(chunks);
}
