// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// State of a prefix: shape, depth and mixing advance by one transfer function each, so a candidate costs the same
// whatever precedes it (spec 3.1, 3.11).
#include "passes/synthesis/internal.h"

#include "runtime/support/memory.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

void anas_prefix_start(const struct anas_target *target, struct anas_prefix *out) {
  memset(out, 0, sizeof *out);
  out->shape = target->input;
  out->depth.last = target->input_linear ? ANAS_LINEAR : ANAS_NONLINEAR;
  if (!target->require_mixing) return;
  anas_mixing_of_input(&target->input, &out->mixing);
  if (!target->lattice_mixing) anas_reads_of_input(&target->input, &out->reads);
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
    if (targets[t].require_mixing && targets[t].lattice_mixing) {
      struct anas_mixing pairing;
      anas_mixing_of_op(&op, 0, &result[0], &pairing);
      anas_mixing_compose(&before[t].mixing, &pairing, &out_after[t].mixing);
    } else if (targets[t].require_mixing) {
      anas_reads_append(&before[t].reads, &op, 0, &result[0], NULL, &out_after[t].reads);
      anas_reads_mixing(&out_after[t].reads, &out_after[t].mixing);
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
    // Ops of the alphabet read along single dimensions: what no slice reads, nothing reads, unless the slice through
    // the centre is one that lies in padding altogether.
    if (!targets[t].lattice_mixing && !prefix[t].reads.total) continue;
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

// The state as numbers, without what does not matter.
static int reads_numbers(const struct anas_reads *reads, int64_t *out) {
  int n = 0;
  out[n++] = reads->exact;
  out[n++] = reads->total;
  for (int t = 0; t < reads->num_terms; t++) {
    const struct anas_reads_term *term = &reads->term[t];
    const struct anas_progression *set = &term->set;
    const int64_t numbers[] = {term->row, term->first, term->last, set->quot, set->mod, set->stride,
                               set->pad,  set->window, set->step,  set->low,  set->high};
    memcpy(out + n, numbers, sizeof numbers);
    n += (int)(sizeof numbers / sizeof *numbers);
  }
  return n;
}

struct anas_prefix_key anas_prefix_key_of(const struct anas_target *targets, int num_targets,
                                          const struct anas_prefix *prefix) {
  struct anas_prefix_key key = {{0, 0}};
  for (int t = 0; t < num_targets; t++) {
    int64_t numbers[ANAS_MAX_RANK + ANAS_MAX_RANK * ANAS_MAX_RANK + 8 + 11 * ANAS_READS_TERMS];
    int n = 0;
    numbers[n++] = (int64_t)key.bits[0];
    numbers[n++] = (int64_t)key.bits[1];
    for (int i = 0; i < prefix[t].shape.rank; i++)
      numbers[n++] = prefix[t].shape.dim[i];
    if (targets[t].require_depth) { // more than required is as good as required
      bool enough = prefix[t].depth.depth >= targets[t].depth;
      numbers[n++] = enough ? targets[t].depth : prefix[t].depth.depth;
      numbers[n++] = enough ? ANAS_LINEAR : prefix[t].depth.last;
    }
    if (targets[t].require_mixing && targets[t].lattice_mixing) {
      for (int i = 0; i < prefix[t].mixing.rows; i++)
        for (int j = 0; j < prefix[t].mixing.columns; j++)
          numbers[n++] = prefix[t].mixing.pair[i][j];
    } else if (targets[t].require_mixing) {
      n += reads_numbers(&prefix[t].reads, numbers + n);
    }
    XXH128_hash_t hash = XXH3_128bits(numbers, (size_t)n * sizeof *numbers);
    key = (struct anas_prefix_key){{hash.low64, hash.high64}};
  }
  return key;
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
