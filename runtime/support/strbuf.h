// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Growable text buffer. Allocation failure aborts: a compiler that cannot hold its own text cannot go on.
#ifndef ANAS_RUNTIME_SUPPORT_STRBUF_H
#define ANAS_RUNTIME_SUPPORT_STRBUF_H

#include <stddef.h>

struct anas_strbuf {
  char *data; // NUL-terminated once anything was added; null before
  size_t size, capacity;
};

// Zero initialisation ({0}) is a valid empty buffer.
void anas_strbuf_deinit(struct anas_strbuf *buf);
void anas_strbuf_clear(struct anas_strbuf *buf);
void anas_strbuf_add(struct anas_strbuf *buf, const char *text, size_t size);
void anas_strbuf_adds(struct anas_strbuf *buf, const char *text);
void anas_strbuf_addi(struct anas_strbuf *buf, long long value); // "%lld", faster
__attribute__((format(printf, 2, 3))) void anas_strbuf_addf(struct anas_strbuf *buf, const char *format, ...);
// Text of the buffer, "" when empty; owned by the buffer.
const char *anas_strbuf_text(const struct anas_strbuf *buf);
// Hands the (malloc'ed, NUL-terminated) text to the caller and leaves the buffer empty.
char *anas_strbuf_detach(struct anas_strbuf *buf);

#endif
