// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Questions about accesses, and the check that a nest an op described makes sense.
#include "passes/lower/lowering.h"

#include <string.h>

bool anas_linear_equal(const struct anas_linear *a, const struct anas_linear *b) {
  return a->constant == b->constant && !memcmp(a->coef, b->coef, sizeof a->coef);
}

bool anas_access_same_index(const struct anas_access *a, const struct anas_access *b, int rank) {
  for (int d = 0; d < rank; d++)
    if (a->border[d] != b->border[d] || !anas_linear_equal(&a->index[d], &b->index[d])) return false;
  return true;
}

bool anas_access_bordered(const struct anas_access *access) {
  for (int d = 0; d < ANAS_MAX_RANK; d++)
    if (access->border[d]) return true;
  return false;
}

int anas_linear_single_loop(const struct anas_linear *index) {
  int found = -1;
  if (index->constant) return -1;
  for (int l = 0; l < ANAS_MAX_LOOPS; l++) {
    if (!index->coef[l]) continue;
    if (found >= 0 || index->coef[l] != 1) return -1;
    found = l;
  }
  return found;
}

bool anas_access_bijective(const struct anas_lowering *l, const struct anas_nest *nest,
                           const struct anas_access *access) {
  const struct anas_shape *shape = anas_lower_shape(l, access->buffer);
  bool used[ANAS_MAX_LOOPS] = {false};
  if (anas_access_bordered(access)) return false;
  for (int d = 0; d < shape->rank; d++) {
    const struct anas_linear *index = &access->index[d];
    int loop = anas_linear_single_loop(index);
    if (loop < 0) {
      for (int k = 0; k < nest->num_loops; k++)
        if (index->coef[k]) return false;
      if (index->constant || shape->dim[d] != 1) return false;
      continue;
    }
    if (used[loop] || nest->extent[loop] != shape->dim[d]) return false;
    used[loop] = true;
  }
  for (int k = 0; k < nest->num_loops; k++)
    if (!used[k] && nest->extent[k] != 1) return false;
  return true;
}

bool anas_access_injective(const struct anas_nest *nest, const struct anas_access *access, int rank) {
  bool used[ANAS_MAX_LOOPS] = {false};
  if (anas_access_bordered(access)) return false;
  for (int d = 0; d < rank; d++) {
    int64_t reach = 0; // of the loops taken so far, in order of their coefficients
    for (int64_t smallest = 0;;) {
      int next = -1;
      for (int k = 0; k < nest->num_loops; k++) {
        int64_t coef = access->index[d].coef[k];
        if (!coef || nest->extent[k] == 1) continue;
        if (coef < 0) return false;
        if (coef > smallest && (next < 0 || coef < access->index[d].coef[next]))
          next = k;
        else if (coef == smallest && !used[k])
          return false; // two loops with one coefficient
      }
      if (next < 0) break;
      if (used[next] || access->index[d].coef[next] <= reach) return false;
      used[next] = true;
      smallest = access->index[d].coef[next];
      reach += smallest * (nest->extent[next] - 1);
    }
  }
  for (int k = 0; k < nest->num_loops; k++)
    if (!used[k] && nest->extent[k] != 1) return false;
  return true;
}

void anas_linear_range(const struct anas_nest *nest, const struct anas_linear *index, int64_t *out_low,
                       int64_t *out_high) {
  int64_t low = index->constant, high = index->constant;
  for (int k = 0; k < nest->num_loops; k++) {
    int64_t reach = index->coef[k] * (nest->extent[k] - 1);
    *(reach < 0 ? &low : &high) += reach;
  }
  *out_low = low;
  *out_high = high;
}

static anas_status check_access(const struct anas_lowering *l, const struct anas_nest *nest,
                                const struct anas_access *access, const char *what, int number) {
  if (access->buffer < 0 || access->buffer >= l->num_buffers)
    return anas_fail(ANAS_INTERNAL, "nest '%s': %s %d has no buffer", nest->kind, what, number);
  const struct anas_shape *shape = anas_lower_shape(l, access->buffer);
  for (int d = 0; d < ANAS_MAX_RANK; d++) {
    const struct anas_linear *index = &access->index[d];
    for (int k = nest->num_loops; k < ANAS_MAX_LOOPS; k++)
      if (index->coef[k])
        return anas_fail(ANAS_INTERNAL, "nest '%s': %s %d uses loop %d of %d", nest->kind, what, number, k,
                         nest->num_loops);
    int64_t low, high;
    char text[128];
    anas_linear_range(nest, index, &low, &high);
    if (access->border[d]) {
      if (what[0] == 'o' || shape->element != ANAS_F32 || access->border[d] < 0 || d >= shape->rank)
        return anas_fail(ANAS_INTERNAL, "nest '%s': %s %d has a border in dimension %d; only inputs of f32 can",
                         nest->kind, what, number, d);
      continue;
    }
    if (low < 0 || high >= (d < shape->rank ? shape->dim[d] : 1))
      return anas_fail(ANAS_INTERNAL, "nest '%s': %s %d reaches %lld..%lld in dimension %d of tensor<%s>", nest->kind,
                       what, number, (long long)low, (long long)high, d, anas_shape_text(shape, text));
  }
  return ANAS_OK;
}

// Two iterations that differ in a parallel loop must not write one element: within each index the parallel loops must
// form a mixed-radix number (each coefficient exceeds what the smaller ones reach), and each must occur in some index.
static anas_status check_disjoint(const struct anas_lowering *l, const struct anas_nest *nest, int output) {
  const struct anas_access *access = &nest->out[output];
  bool used[ANAS_MAX_LOOPS] = {false};
  for (int d = 0; d < anas_lower_shape(l, access->buffer)->rank; d++) {
    int64_t reach = 0; // of the loops taken so far, in order of their coefficients
    bool taken[ANAS_MAX_LOOPS] = {false};
    for (;;) {
      int next = -1;
      int64_t smallest = 0;
      for (int k = 0; k < nest->num_loops; k++) {
        int64_t coef = access->index[d].coef[k] < 0 ? -access->index[d].coef[k] : access->index[d].coef[k];
        if (!coef || taken[k] || nest->reduction[k] || nest->extent[k] == 1) continue;
        if (next < 0 || coef < smallest) {
          next = k;
          smallest = coef;
        }
      }
      if (next < 0) break;
      if (smallest <= reach)
        return anas_fail(ANAS_INTERNAL,
                         "nest '%s': parallel loop %d writes elements of output %d that another parallel loop writes "
                         "too (dimension %d); it is a reduction",
                         nest->kind, next, output, d);
      reach += smallest * (nest->extent[next] - 1);
      taken[next] = used[next] = true;
    }
  }
  for (int k = 0; k < nest->num_loops; k++)
    if (!used[k] && !nest->reduction[k] && nest->extent[k] != 1)
      return anas_fail(ANAS_INTERNAL, "nest '%s': parallel loop %d does not occur in output %d; it is a reduction",
                       nest->kind, k, output);
  return ANAS_OK;
}

anas_status anas_nest_check(const struct anas_lowering *l, const struct anas_nest *nest) {
  if (!nest->num_out) return anas_fail(ANAS_INTERNAL, "nest '%s' writes nothing", nest->kind);
  for (int i = 0; i < nest->num_in; i++)
    ANAS_RETURN_IF_ERROR(check_access(l, nest, &nest->in[i], "input", i));
  for (int i = 0; i < nest->num_out; i++) {
    ANAS_RETURN_IF_ERROR(check_access(l, nest, &nest->out[i], "output", i));
    ANAS_RETURN_IF_ERROR(check_disjoint(l, nest, i));
    if (!nest->yield[i][0]) return anas_fail(ANAS_INTERNAL, "nest '%s': output %d has no value", nest->kind, i);
  }
  return ANAS_OK;
}
