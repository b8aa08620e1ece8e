// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Parameter initialisers.
#include "runtime/init.h"

#include "runtime/support/initializer.h"
#include "runtime/support/rng.h"

#include <math.h>
#include <string.h>

// Deviation of a standard normal truncated to [-2, 2]; dividing by it restores the wanted variance.
#define TRUNCATED_DEVIATION 0.87962566103423978

static double at_least_one(int64_t fan) {
  return fan > 1 ? (double)fan : 1.0;
}

static double fan_of(const struct anas_tensor *tensor, enum anas_init_fan fan) {
  switch (fan) {
  case ANAS_INIT_ABSOLUTE: break;
  case ANAS_INIT_FAN_IN: return at_least_one(tensor->fan_in);
  case ANAS_INIT_FAN_OUT: return at_least_one(tensor->fan_out);
  case ANAS_INIT_FAN_AVG: return at_least_one(tensor->fan_in + tensor->fan_out) / 2;
  }
  return 1;
}

static double draw_truncated(struct anas_rng *rng) {
  double z;
  do
    z = anas_rng_normal(rng);
  while (fabs(z) > 2.0);
  return z;
}

static void fill(const struct anas_tensor *tensor, const struct anas_init *init, struct anas_rng rng, float *values) {
  bool absolute = init->fan == ANAS_INIT_ABSOLUTE;
  double deviation = absolute ? init->value : sqrt(init->value / fan_of(tensor, init->fan));
  double limit = absolute ? init->value : sqrt(3.0 * init->value / fan_of(tensor, init->fan));
  for (size_t i = 0; i < tensor->count; i++)
    switch (init->kind) {
    case ANAS_INIT_CONSTANT: values[i] = (float)init->value; break;
    case ANAS_INIT_NORMAL: values[i] = (float)(anas_rng_normal(&rng) * deviation); break;
    case ANAS_INIT_TRUNCATED_NORMAL:
      values[i] = (float)(draw_truncated(&rng) * (deviation / TRUNCATED_DEVIATION));
      break;
    case ANAS_INIT_UNIFORM: values[i] = (float)((2.0 * anas_rng_double(&rng) - 1.0) * limit); break;
    }
}

anas_status anas_init_params(const struct anas_program_image *image, uint64_t seed, void *params) {
  struct anas_rng root = anas_rng_make(seed);
  for (int t = 0; t < image->num_tensors; t++) {
    const struct anas_tensor *tensor = &image->tensors[t];
    struct anas_init init;
    anas_status status = anas_init_parse(tensor->init, strlen(tensor->init), &init);
    if (status) return anas_fail_context(status, "parameter '%s': ", tensor->name);
    fill(tensor, &init, anas_rng_split_name(&root, tensor->name), (float *)((char *)params + tensor->offset));
  }
  return ANAS_OK;
}
