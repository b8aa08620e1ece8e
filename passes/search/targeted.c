// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Who may become a parent, beyond being accurate enough: the targeted filter (spec 4.6) and ageing (4.5).
#include "passes/search/pareto.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define TOLERANCE 1e-6

void anas_targeted_filter(const struct anas_point *points, const bool *is_seed, int count, struct anas_rng *rng,
                          bool *out_kept, bool *out_candidate) {
  struct anas_point base = {-INFINITY, -INFINITY};
  bool any_seed = false;
  for (int i = 0; i < count; i++) {
    if (!is_seed[i]) continue;
    base.first = any_seed ? fmin(base.first, points[i].first) : points[i].first;
    base.second = any_seed ? fmin(base.second, points[i].second) : points[i].second;
    any_seed = true;
  }
  int kept = 0;
  for (int i = 0; i < count; i++) {
    out_kept[i] =
        is_seed[i] || (points[i].first >= base.first - TOLERANCE && points[i].second >= base.second - TOLERANCE);
    kept += out_kept[i];
  }
  double probability = kept < count ? fmin(1, (double)kept / (count - kept)) : 0;
  for (int i = 0; i < count; i++)
    out_candidate[i] = out_kept[i] || anas_rng_double(rng) < probability;
}

const char *const anas_ageing_names[] = {"impulse", "cyclic", "once", "step", "cyclic-step", NULL};

static double cosine(double progress) {
  return 0.5 * (1 + cos(3.14159265358979323846 * progress));
}

double anas_aged(double value, int64_t age, int64_t life, enum anas_ageing ageing) {
  if (life <= 0) return value;
  double n = (double)age, period = (double)life, position = fmod(n, 2 * period), factor = 1;
  switch (ageing) {
  case ANAS_AGEING_IMPULSE: factor = position < period ? 1 : cosine((position - period) / period); break;
  case ANAS_AGEING_CYCLIC: factor = position < period ? 1 : cosine(2 * (position - period) / period); break;
  case ANAS_AGEING_ONCE: factor = cosine(fmin(fmax(n / period - 1, 0), 1)); break;
  case ANAS_AGEING_STEP: factor = n > period ? 0 : 1; break;
  case ANAS_AGEING_CYCLIC_STEP: factor = position < period ? 1 : 0; break;
  }
  return 0.1 * value + 0.9 * value * factor;
}
