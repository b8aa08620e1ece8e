// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Initialisers of parameters as values and as text: what op table, attributes and program images share. runtime/init.h
// draws the numbers.
#ifndef ANAS_RUNTIME_SUPPORT_INITIALIZER_H
#define ANAS_RUNTIME_SUPPORT_INITIALIZER_H

#include "runtime/support/status.h"

#include <stdbool.h>
#include <stddef.h>

enum anas_init_kind {
  ANAS_INIT_CONSTANT,         // value
  ANAS_INIT_NORMAL,           // mean 0
  ANAS_INIT_TRUNCATED_NORMAL, // a normal distribution cut at two of its deviations; the deviation is that of the result
  ANAS_INIT_UNIFORM,          // symmetric around 0
};
enum anas_init_fan { ANAS_INIT_ABSOLUTE, ANAS_INIT_FAN_IN, ANAS_INIT_FAN_OUT, ANAS_INIT_FAN_AVG };

// All zeros: the constant 0.
struct anas_init {
  enum anas_init_kind kind;
  // ANAS_INIT_ABSOLUTE: value is the constant, the deviation, or the limit of the uniform distribution. Otherwise the
  // variance is value / fan.
  enum anas_init_fan fan;
  double value;
};

// For static tables.
#define ANAS_ZEROS                                                                                                     \
  { ANAS_INIT_CONSTANT, ANAS_INIT_ABSOLUTE, 0 }
#define ANAS_ONES                                                                                                      \
  { ANAS_INIT_CONSTANT, ANAS_INIT_ABSOLUTE, 1 }
#define ANAS_LECUN_NORMAL                                                                                              \
  { ANAS_INIT_TRUNCATED_NORMAL, ANAS_INIT_FAN_IN, 1 }

// "zeros", "ones", "lecun_normal", "he_normal", "xavier_uniform", "constant(C)", "normal(DEVIATION)",
// "truncated_normal(DEVIATION)", "uniform(LIMIT)", "variance_scaling(SCALE, fan_in|fan_out|fan_avg,
// normal|truncated_normal|uniform)". ANAS_INVALID says what there is.
anas_status anas_init_parse(const char *text, size_t length, struct anas_init *out);
// The shortest such text.
void anas_init_text(const struct anas_init *init, char out[96]);
bool anas_init_equal(const struct anas_init *a, const struct anas_init *b);

#endif
