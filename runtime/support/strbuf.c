// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Growable text buffer.
#include "runtime/support/strbuf.h"

#include "runtime/support/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void reserve(struct anas_strbuf *buf, size_t extra) {
  size_t need = buf->size + extra + 1;
  if (need <= buf->capacity) return;
  size_t capacity = buf->capacity ? buf->capacity : 64;
  while (capacity < need)
    capacity *= 2;
  buf->data = anas_realloc(buf->data, capacity);
  buf->capacity = capacity;
}

void anas_strbuf_deinit(struct anas_strbuf *buf) {
  free(buf->data);
  *buf = (struct anas_strbuf){0};
}

void anas_strbuf_clear(struct anas_strbuf *buf) {
  buf->size = 0;
  if (buf->data) buf->data[0] = '\0';
}

void anas_strbuf_add(struct anas_strbuf *buf, const char *text, size_t size) {
  reserve(buf, size);
  if (size) memcpy(buf->data + buf->size, text, size);
  buf->size += size;
  buf->data[buf->size] = '\0';
}

void anas_strbuf_adds(struct anas_strbuf *buf, const char *text) {
  anas_strbuf_add(buf, text, strlen(text));
}

void anas_strbuf_addi(struct anas_strbuf *buf, long long value) {
  char text[24], *at = text + sizeof text;
  unsigned long long rest = value < 0 ? -(unsigned long long)value : (unsigned long long)value;
  do
    *--at = (char)('0' + rest % 10);
  while (rest /= 10);
  if (value < 0) *--at = '-';
  anas_strbuf_add(buf, at, (size_t)(text + sizeof text - at));
}

void anas_strbuf_addf(struct anas_strbuf *buf, const char *format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  reserve(buf, 128);
  int length = vsnprintf(buf->data + buf->size, buf->capacity - buf->size, format, args);
  if (length > 0 && (size_t)length >= buf->capacity - buf->size) {
    reserve(buf, (size_t)length);
    vsnprintf(buf->data + buf->size, buf->capacity - buf->size, format, again);
  }
  if (length > 0) buf->size += (size_t)length;
  va_end(again);
  va_end(args);
}

const char *anas_strbuf_text(const struct anas_strbuf *buf) {
  return buf->data ? buf->data : "";
}

char *anas_strbuf_detach(struct anas_strbuf *buf) {
  reserve(buf, 0);
  buf->data[buf->size] = '\0';
  char *text = buf->data;
  *buf = (struct anas_strbuf){0};
  return text;
}
