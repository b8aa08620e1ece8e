// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Thread-local message behind anas_status.
#include "runtime/support/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_BYTES 2048

static _Thread_local char message[MESSAGE_BYTES];

const char *anas_status_name(anas_status status) {
  switch (status) {
  case ANAS_OK: return "ok";
  case ANAS_INVALID: return "invalid";
  case ANAS_NOT_FOUND: return "not-found";
  case ANAS_IO: return "io";
  case ANAS_CORRUPT: return "corrupt";
  case ANAS_UNSUPPORTED: return "unsupported";
  case ANAS_INFEASIBLE: return "infeasible";
  case ANAS_DIVERGED: return "diverged";
  case ANAS_NO_MEMORY: return "no-memory";
  case ANAS_INTERNAL: return "internal";
  }
  return "unknown";
}

anas_status anas_fail(anas_status status, const char *format, ...) {
  // Arguments may point into the current message, so it is formatted aside.
  char text[MESSAGE_BYTES];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  memcpy(message, text, strlen(text) + 1);
  return status;
}

anas_status anas_fail_context(anas_status status, const char *format, ...) {
  char text[MESSAGE_BYTES];
  va_list args;
  va_start(args, format);
  int length = vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (length < 0) length = 0;
  if ((size_t)length < sizeof text) snprintf(text + length, sizeof text - (size_t)length, "%s", message);
  memcpy(message, text, strlen(text) + 1);
  return status;
}

const char *anas_error_message(void) {
  return message;
}
