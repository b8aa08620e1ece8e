// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// State of a prefix: shape, depth and mixing advance by one transfer function each, so a candidate costs the same
// whatever precedes it (spec 3.1, 3.11).
#include "passes/synthesis/internal.h"

#include "runtime/support/memory.h"

#include <stdlib.h>
#include <string.h>

void anas_prefix_start(const struct anas_target *target, struct anas_prefix *out) {
  memset(out, 0, sizeof *out);
  out->shape = target->input;
  out->depth.last = target->input_linear ? ANAS_LINEAR : ANAS_NONLINEAR;
  anas_mixing_of_input(&target->input, &out->mixing);
}

bool anas_prefix_append(const struct anas_target *targets, int num_targets, const struct anas_prefix *before,
                        const struct anas_node *node, struct anas_prefix *out_after) {
  for (int t = 0; t < num_targets; t++) {
    struct anas_op op;
    struct anas_shape result[ANAS_MAX_RESULTS];
    if (anas_node_resolve(node, &before[t].shape, &op) != ANAS_OK) return false;
    if (op.def->shape(&op, result) != ANAS_OK) return false;
    if (anas_shape_check(&result[0], false) != ANAS_OK) return false;
    out_after[t].shape = result[0];
    out_after[t].depth = anas_depth_append(before[t].depth, op.def->linearity);
    if (targets[t].require_mixing) {
      struct anas_mixing pairing;
      anas_mixing_of_op(&op, 0, &result[0], &pairing);
      anas_mixing_compose(&before[t].mixing, &pairing, &out_after[t].mixing);
    }
  }
  return true;
}

// Under the prime-factor scale the wrong feature count weighs as much as the share of factors still missing: 1 at the
// start as under the 0/1 rule, and every factor counts.
static double shape_distance(const struct anas_target *target, const struct anas_shape *actual) {
  double distance = anas_shape_distance(&target->output, actual);
  int last = target->output.rank - 1;
  if (distance <= 0 || !target->feature_steps || target->output.dim[last] == actual->dim[last]) return distance;
  double missing = anas_missing_factors(actual->dim[last], target->output.dim[last]);
  return distance + (missing / target->feature_steps - 1) / target->output.rank;
}

double anas_prefix_distance(const struct anas_target *targets, int num_targets, const struct anas_prefix *prefix) {
  double shape = 0, depth = 0, mixing = 0;
  for (int t = 0; t < num_targets; t++) {
    double s = targets[t].any_shape ? 0 : shape_distance(&targets[t], &prefix[t].shape);
    if (s < 0) return s;
    if (s > shape) shape = s;
    if (targets[t].require_depth) {
      double d = anas_depth_distance(targets[t].depth, prefix[t].depth.depth);
      if (d > depth) depth = d;
    }
    if (targets[t].require_mixing) {
      double m = anas_mixing_distance(&targets[t].mixing, &prefix[t].mixing);
      if (m > mixing) mixing = m;
    }
  }
  return shape + depth + mixing;
}

static bool is_zero(const uint8_t *row, int count) {
  for (int j = 0; j < count; j++)
    if (row[j] != ANAS_PAIR_NONE) return false;
  return true;
}

bool anas_prefix_is_dead_end(const struct anas_target *targets, int num_targets, const struct anas_prefix *prefix) {
  for (int t = 0; t < num_targets; t++) {
    const struct anas_mixing *required = &targets[t].mixing, *actual = &prefix[t].mixing;
    if (!targets[t].require_mixing) continue;
    for (int i = 0; i < required->rows; i++)
      if (is_zero(actual->pair[i], actual->columns) && !is_zero(required->pair[i], required->columns)) return true;
  }
  return false;
}

bool anas_prefix_is_too_small(const struct anas_target *targets, int num_targets, const struct anas_prefix *prefix) {
  for (int t = 0; t < num_targets; t++) {
    const struct anas_shape *required = &targets[t].output, *actual = &prefix[t].shape;
    if (targets[t].any_shape) continue;
    if (required->rank != actual->rank || required->dim[0] != actual->dim[0]) return true;
    for (int i = 1; i < required->rank - 1; i++)
      if (actual->dim[i] < required->dim[i]) return true;
  }
  return false;
}

void anas_prefix_canonicalize(const struct anas_target *targets, int num_targets, struct anas_prefix *prefix) {
  for (int t = 0; t < num_targets; t++) {
    struct anas_prefix clean;
    memset(&clean, 0, sizeof clean); // padding too
    clean.shape.rank = prefix[t].shape.rank;
    clean.shape.element = prefix[t].shape.element;
    memcpy(clean.shape.dim, prefix[t].shape.dim, (size_t)clean.shape.rank * sizeof clean.shape.dim[0]);
    if (targets[t].require_depth) { // more than required is as good as required
      bool enough = prefix[t].depth.depth >= targets[t].depth;
      clean.depth.depth = enough ? targets[t].depth : prefix[t].depth.depth;
      clean.depth.last = enough ? ANAS_LINEAR : prefix[t].depth.last;
    }
    if (targets[t].require_mixing) clean.mixing = prefix[t].mixing;
    memcpy(&prefix[t], &clean, sizeof clean);
  }
}

double anas_chain_distance(const struct anas_target *targets, int num_targets, const struct anas_node *chain,
                           int num_nodes) {
  struct anas_prefix *prefix = anas_calloc((size_t)num_targets, sizeof *prefix);
  for (int t = 0; t < num_targets; t++)
    anas_prefix_start(&targets[t], &prefix[t]);
  double distance = -1;
  int n = 0;
  while (n < num_nodes && anas_prefix_append(targets, num_targets, prefix, &chain[n], prefix))
    n++;
  if (n == num_nodes) distance = anas_prefix_distance(targets, num_targets, prefix);
  free(prefix);
  return distance;
}
