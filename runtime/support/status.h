// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Error reporting: every fallible function returns an anas_status; the text of the last failure is kept per thread.
#ifndef ANAS_RUNTIME_SUPPORT_STATUS_H
#define ANAS_RUNTIME_SUPPORT_STATUS_H

#include <stdbool.h>
#include <stddef.h>

typedef enum {
  ANAS_OK = 0,
  ANAS_INVALID,     // the input violates a rule (shape, attribute, format)
  ANAS_NOT_FOUND,   // file, symbol or record is missing
  ANAS_IO,          // the operating system refused a read or a write
  ANAS_CORRUPT,     // a file was recognised but its content is damaged
  ANAS_UNSUPPORTED, // valid, but this version does not do it
  ANAS_INFEASIBLE,  // no solution exists or none was found within the limits
  ANAS_DIVERGED,    // the loss is not finite
  ANAS_NO_MEMORY,   // memory limit or allocation failure
  ANAS_INTERNAL,    // a broken invariant of ours; please report
} anas_status;

// Name of a status ("invalid", "io", ...): stable, used in files and tests.
const char *anas_status_name(anas_status status);

// Records a printf-style message for the calling thread and returns status. The message should name op, operand,
// both shapes, and a hint; it does not end in a newline.
__attribute__((format(printf, 2, 3))) anas_status anas_fail(anas_status status, const char *format, ...);

// Prefixes the current message with a printf-style context ("reading 'x.bin': ") and returns status.
__attribute__((format(printf, 2, 3))) anas_status anas_fail_context(anas_status status, const char *format, ...);

// Text of the calling thread's last failure; valid until its next failure. Never null.
const char *anas_error_message(void);

#define ANAS_RETURN_IF_ERROR(expr)                                                                                     \
  do {                                                                                                                 \
    anas_status anas_status_ = (expr);                                                                                 \
    if (anas_status_ != ANAS_OK) return anas_status_;                                                                  \
  } while (0)

#endif
