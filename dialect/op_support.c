// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Helpers for op files: checks of operands and axes, dependencies, element counts, pieces of loop nests.
#include "dialect/op_support.h"

#define MAX_WINDOW_INT (1 << 20) // keeps every product of window, stride and dilation far from overflow

struct anas_dep anas_dep_same(int out_dim) {
  return (struct anas_dep){.kind = ANAS_DEP_WINDOW, .out_dim = out_dim, .window = 1, .stride = 1, .dilation = 1};
}

int64_t anas_example_elements(const struct anas_shape *shape) {
  int64_t count = 1;
  for (int i = 1; i < shape->rank; i++)
    if (shape->dim[i] != ANAS_DYNAMIC) count *= shape->dim[i];
  return count;
}

anas_status anas_check_extents(const struct anas_op *op, const struct anas_shape *x) {
  char text[128];
  for (int i = 1; i < x->rank; i++)
    if (x->dim[i] < 1)
      return anas_fail(ANAS_INVALID,
                       "dimension %d of the operand of 'anas.%s', tensor<%s>, must be a positive extent; only the "
                       "batch may be '?'",
                       i, op->def->name, anas_shape_text(x, text));
  return ANAS_OK;
}

anas_status anas_check_ints(const struct anas_op *op, const char *name, const struct anas_ints *ints, int64_t least,
                            int spatial) {
  if (ints->count != 1 && ints->count != spatial)
    return anas_fail(ANAS_INVALID,
                     "attribute '%s' of 'anas.%s' has %d entries but the operand has %d spatial dimension%s; give one "
                     "entry for each, or a single one for all",
                     name, op->def->name, ints->count, spatial, spatial == 1 ? "" : "s");
  for (int i = 0; i < ints->count; i++)
    if (ints->value[i] < least || ints->value[i] > MAX_WINDOW_INT)
      return anas_fail(ANAS_INVALID, "entry %d of attribute '%s' of 'anas.%s' must be between %lld and %d, got %lld", i,
                       name, op->def->name, (long long)least, MAX_WINDOW_INT, (long long)ints->value[i]);
  return ANAS_OK;
}

anas_status anas_check_tensor(const struct anas_op *op, int min_rank) {
  const struct anas_shape *x = &op->operand[0];
  char text[128];
  if (x->element != ANAS_F32 || x->rank < min_rank)
    return anas_fail(ANAS_INVALID, "'anas.%s' needs an f32 tensor of rank %d or more, got tensor<%s>", op->def->name,
                     min_rank, anas_shape_text(x, text));
  return anas_check_extents(op, x);
}

anas_status anas_check_axis(const struct anas_op *op, const char *attr, int64_t axis, int *out_axis) {
  int rank = op->operand[0].rank;
  char text[128];
  if (axis < -rank || axis >= rank)
    return anas_fail(ANAS_INVALID,
                     "attribute '%s' of 'anas.%s' names axis %lld, but the operand tensor<%s> has axes %d to %d", attr,
                     op->def->name, (long long)axis, anas_shape_text(&op->operand[0], text), -rank, rank - 1);
  *out_axis = (int)(axis < 0 ? axis + rank : axis);
  return ANAS_OK;
}

struct anas_attr anas_attr_extents(const struct anas_shape *shape) {
  struct anas_attr attr = {.present = true};
  attr.value.ints.count = shape->rank;
  for (int i = 0; i < shape->rank; i++)
    attr.value.ints.value[i] = shape->dim[i];
  return attr;
}

struct anas_shape anas_extents_shape(const struct anas_attr *attr) {
  struct anas_shape shape = {.rank = attr->value.ints.count, .element = ANAS_F32};
  for (int i = 0; i < shape.rank; i++)
    shape.dim[i] = attr->value.ints.value[i];
  return shape;
}

int anas_nest_f32(struct anas_nest *nest, double value) {
  return anas_nest_value(nest, "arith.constant %.8e : f32", (double)(float)value);
}

int anas_nest_i32(struct anas_nest *nest, int32_t value) {
  return anas_nest_value(nest, "arith.constant %d : i32", value);
}

void anas_nest_loops(struct anas_nest *nest, const struct anas_shape *shape) {
  for (int d = 0; d < shape->rank; d++)
    anas_nest_loop(nest, shape->dim[d], false);
}

void anas_access_whole(struct anas_access *access, int rank) {
  for (int d = 0; d < rank; d++)
    anas_access_add(access, d, d, 1);
}
