// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Numbers on command lines.
#include "runtime/support/parse.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

anas_status anas_parse_int(const char *option, const char *text, int64_t min, int64_t max, int64_t *out) {
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (end == text || *end || errno || value < min || value > max)
    return anas_fail(ANAS_INVALID, "%s: '%s' is not an integer from %lld to %lld", option, text, (long long)min,
                     (long long)max);
  *out = value;
  return ANAS_OK;
}

anas_status anas_parse_double(const char *option, const char *text, double min, double max, double *out) {
  char *end;
  double value = strtod(text, &end);
  if (end == text || *end || !(value >= min && value <= max))
    return anas_fail(ANAS_INVALID, "%s: '%s' is not a number from %g to %g", option, text, min, max);
  *out = value;
  return ANAS_OK;
}

// A number with one optional unit letter; factors[i] belongs to units[i].
static bool scaled(const char *text, const char *units, const double *factors, double *out) {
  char *end;
  double value = strtod(text, &end);
  if (end == text || !isfinite(value) || value < 0) return false;
  if (*end) {
    const char *unit = strchr(units, *end);
    if (!unit || end[1]) return false;
    value *= factors[unit - units];
  }
  *out = value;
  return true;
}

anas_status anas_parse_duration(const char *option, const char *text, double *out_seconds) {
  static const double factors[] = {1, 60, 3600, 86400};
  double value;
  if (!scaled(text, "smhd", factors, &value))
    return anas_fail(ANAS_INVALID, "%s: '%s' is not a duration; write 90s, 30m, 2h or 1d", option, text);
  *out_seconds = value;
  return ANAS_OK;
}

anas_status anas_parse_bytes(const char *option, const char *text, uint64_t *out_bytes) {
  static const double factors[] = {1024.0, 1048576.0, 1073741824.0, 1099511627776.0};
  double value;
  if (!scaled(text, "KMGT", factors, &value) || value > 9e18)
    return anas_fail(ANAS_INVALID, "%s: '%s' is not a size; write 512K, 300M or 4G", option, text);
  *out_bytes = (uint64_t)value;
  return ANAS_OK;
}
