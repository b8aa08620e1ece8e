// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How far an actual property is from satisfying a required one: 0 means satisfied (spec 2.2, 2.3, 2.4).
#include "passes/analysis/analysis.h"

#define INFEASIBLE (-1.0)

double anas_mixing_distance(const struct anas_mixing *required, const struct anas_mixing *actual) {
  int missing = 0, demanded = 0;
  for (int i = 0; i < required->rows; i++)
    for (int j = 0; j < required->columns; j++) {
      uint8_t have = i < actual->rows && j < actual->columns ? actual->pair[i][j] : ANAS_PAIR_NONE;
      demanded += required->pair[i][j] != ANAS_PAIR_NONE;
      missing += required->pair[i][j] > have;
    }
  return (double)missing / (demanded ? demanded : 1);
}

double anas_depth_distance(int64_t required, int64_t actual) {
  if (actual >= required) return 0;
  if (actual < 0) return 1; // no path at all
  return (double)(required - actual) / (double)required;
}

double anas_properties_depth_distance(const struct anas_properties *required, const struct anas_properties *actual) {
  double sum = 0;
  int pairs = 0;
  for (int r = 0; r < required->num_results; r++)
    for (int a = 0; a < required->num_args; a++) {
      if (required->depth[r][a] < 0) continue;
      bool exists = r < actual->num_results && a < actual->num_args;
      sum += exists ? anas_depth_distance(required->depth[r][a], actual->depth[r][a]) : 1;
      pairs++;
    }
  return pairs ? sum / pairs : 0;
}

double anas_properties_mixing_distance(const struct anas_properties *required, const struct anas_properties *actual) {
  static const struct anas_mixing nothing;
  double sum = 0;
  int pairs = 0;
  for (int r = 0; r < required->num_results; r++)
    for (int a = 0; a < required->num_args; a++) {
      if (!required->mixing[r][a].rows) continue;
      bool exists = r < actual->num_results && a < actual->num_args;
      sum += anas_mixing_distance(&required->mixing[r][a], exists ? &actual->mixing[r][a] : &nothing);
      pairs++;
    }
  return pairs ? sum / pairs : 0;
}

// Spatial extents can only shrink, by one integer factor for all of them; an all-ones target is reached from any
// extents by a global pool.
static bool spatial_feasible(const struct anas_shape *required, const struct anas_shape *actual) {
  bool all_ones = true;
  for (int i = 1; i < required->rank - 1; i++)
    all_ones = all_ones && required->dim[i] == 1;
  if (all_ones) return true;
  int64_t factor = 0;
  for (int i = 1; i < required->rank - 1; i++) {
    int64_t from = actual->dim[i], to = required->dim[i];
    if (from == ANAS_DYNAMIC || to == ANAS_DYNAMIC || from <= 0 || to <= 0) {
      if (from != to) return false;
      continue;
    }
    if (from % to != 0) return false;
    if (factor && from / to != factor) return false;
    factor = from / to;
  }
  return true;
}

double anas_shape_distance(const struct anas_shape *required, const struct anas_shape *actual) {
  if (required->rank != actual->rank || required->element != actual->element) return INFEASIBLE;
  if (anas_shape_equal(required, actual)) return 0;
  if (required->rank < 2 || required->dim[0] != actual->dim[0]) return INFEASIBLE;
  if (!spatial_feasible(required, actual)) return INFEASIBLE;
  int different = 0;
  for (int i = 0; i < required->rank; i++)
    different += required->dim[i] != actual->dim[i];
  return (double)different / required->rank;
}
