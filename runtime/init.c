// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Parameter initialisers.
#include "runtime/init.h"

#include "runtime/support/rng.h"

#include <math.h>
#include <string.h>

// Deviation of a standard normal truncated to [-2, 2]; dividing by it restores the wanted variance.
#define TRUNCATED_DEVIATION 0.87962566103423978

struct init_rule {
  const char *name;
  void (*fill)(const struct anas_tensor *tensor, struct anas_rng rng, float *values);
};

static void fill_constant(const struct anas_tensor *tensor, float value, float *values) {
  for (size_t i = 0; i < tensor->count; i++)
    values[i] = value;
}

static void fill_zeros(const struct anas_tensor *tensor, struct anas_rng rng, float *values) {
  (void)rng;
  fill_constant(tensor, 0.0f, values);
}

static void fill_ones(const struct anas_tensor *tensor, struct anas_rng rng, float *values) {
  (void)rng;
  fill_constant(tensor, 1.0f, values);
}

static void fill_truncated(const struct anas_tensor *tensor, struct anas_rng rng, double variance, float *values) {
  double scale = sqrt(variance) / TRUNCATED_DEVIATION;
  for (size_t i = 0; i < tensor->count; i++) {
    double z;
    do
      z = anas_rng_normal(&rng);
    while (fabs(z) > 2.0);
    values[i] = (float)(z * scale);
  }
}

static double at_least_one(int64_t fan) {
  return fan > 1 ? (double)fan : 1.0;
}

static void fill_lecun(const struct anas_tensor *tensor, struct anas_rng rng, float *values) {
  fill_truncated(tensor, rng, 1.0 / at_least_one(tensor->fan_in), values);
}

static void fill_he(const struct anas_tensor *tensor, struct anas_rng rng, float *values) {
  fill_truncated(tensor, rng, 2.0 / at_least_one(tensor->fan_in), values);
}

static void fill_xavier(const struct anas_tensor *tensor, struct anas_rng rng, float *values) {
  double limit = sqrt(6.0 / at_least_one(tensor->fan_in + tensor->fan_out));
  for (size_t i = 0; i < tensor->count; i++)
    values[i] = (float)((2.0 * anas_rng_double(&rng) - 1.0) * limit);
}

static const struct init_rule rules[] = {
    {"zeros", fill_zeros},           {"ones", fill_ones}, {"lecun_normal", fill_lecun}, {"he_normal", fill_he},
    {"xavier_uniform", fill_xavier},
};

anas_status anas_init_params(const struct anas_program_image *image, uint64_t seed, void *params) {
  struct anas_rng root = anas_rng_make(seed);
  for (int t = 0; t < image->num_tensors; t++) {
    const struct anas_tensor *tensor = &image->tensors[t];
    const struct init_rule *rule = NULL;
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++)
      if (!strcmp(rules[r].name, tensor->init)) rule = &rules[r];
    if (!rule)
      return anas_fail(ANAS_INVALID,
                       "parameter '%s' has unknown initialiser '%s'; known are zeros, ones, lecun_normal, he_normal, "
                       "xavier_uniform",
                       tensor->name, tensor->init);
    rule->fill(tensor, anas_rng_split_name(&root, tensor->name), (float *)((char *)params + tensor->offset));
  }
  return ANAS_OK;
}
