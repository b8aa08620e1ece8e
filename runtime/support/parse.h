// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Numbers on command lines: the whole text must be a number in range, or the message names option, text and range.
#ifndef ANAS_RUNTIME_SUPPORT_PARSE_H
#define ANAS_RUNTIME_SUPPORT_PARSE_H

#include "runtime/support/status.h"

#include <stdint.h>

anas_status anas_parse_int(const char *option, const char *text, int64_t min, int64_t max, int64_t *out);
anas_status anas_parse_double(const char *option, const char *text, double min, double max, double *out);
anas_status anas_parse_duration(const char *option, const char *text,
                                double *out_seconds); // "90", "90s", "30m", "2h", "1d"
anas_status anas_parse_bytes(const char *option, const char *text, uint64_t *out_bytes); // "4096", "512K", "300M", "4G"

#endif
