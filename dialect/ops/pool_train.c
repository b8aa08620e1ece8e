// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Training ops of pooling. Loops run over windows and the positions in them; SAME padding is a packed copy of the input
// with a border, so that every access is affine. Gradients are added to the elements of each window in the same order.
#include "dialect/op_support.h"
#include "dialect/ops/conv.h"
#include "dialect/ops/pool.h"

#include <stdio.h>

static const struct anas_attr_def pool_attrs[ANAS_POOL_ATTRS] = {
    [ANAS_POOL_WINDOW] = {.name = "window", .kind = ANAS_ATTR_INTS, .required = true, .doc = "window extents"},
    [ANAS_POOL_STRIDES] = {.name = "strides",
                           .kind = ANAS_ATTR_INTS,
                           .required = true,
                           .doc = "distance of neighbouring windows"},
    [ANAS_POOL_PADDING] = {.name = "padding",
                           .kind = ANAS_ATTR_ENUM,
                           .required = true,
                           .choices = anas_padding_choices,
                           .doc = "as in the architecture op"},
    [ANAS_POOL_SHAPE] = {.name = "shape",
                         .kind = ANAS_ATTR_INTS,
                         .required = true,
                         .list = true,
                         .doc = "extents of the tensor that was pooled"},
};

static anas_status geometry(const struct anas_op *op, const struct anas_shape *input, struct anas_pool *out) {
  return anas_pool_init(op, input, &op->attr[ANAS_POOL_WINDOW].value.ints, &op->attr[ANAS_POOL_STRIDES].value.ints,
                        op->attr[ANAS_POOL_PADDING].value.i == ANAS_PADDING_SAME, out);
}

// Extent of the input with its border: what the windows reach, and at least the input itself.
static int64_t bordered_extent(const struct anas_pool_dim *dim) {
  int64_t reach = (dim->out - 1) * dim->stride + dim->window;
  return reach > dim->pad + dim->in ? reach : dim->pad + dim->in;
}

static struct anas_shape bordered_shape(const struct anas_pool *pool, const struct anas_shape *input) {
  struct anas_shape shape = *input;
  for (int d = 0; d < pool->spatial; d++)
    shape.dim[1 + d] = bordered_extent(&pool->dim[d]);
  return shape;
}

static bool windows_overlap(const struct anas_pool_dim *dim) {
  return dim->out > 1 && dim->stride < dim->window;
}

// Loops of every pooling nest: those of the result first (batch, outputs..., feature), then the window positions.
// scatter: the nest writes the windows, so loops of overlapping windows are reductions; otherwise it writes the result
// and the window loops are.
static void window_loops(struct anas_nest *nest, const struct anas_pool *pool, const struct anas_shape *result,
                         bool scatter) {
  anas_nest_loop(nest, result->dim[0], false);
  for (int d = 0; d < pool->spatial; d++)
    anas_nest_loop(nest, pool->dim[d].out, scatter && windows_overlap(&pool->dim[d]));
  anas_nest_loop(nest, result->dim[result->rank - 1], false);
  for (int d = 0; d < pool->spatial; d++)
    anas_nest_loop(nest, pool->dim[d].window, !scatter || windows_overlap(&pool->dim[d]));
}

// The element of the bordered input at the current window position.
static void window_access(struct anas_access *access, const struct anas_pool *pool) {
  anas_access_add(access, 0, 0, 1);
  for (int d = 0; d < pool->spatial; d++) {
    anas_access_add(access, 1 + d, 1 + d, pool->dim[d].stride);
    anas_access_add(access, 1 + d, 2 + pool->spatial + d, 1);
  }
  anas_access_add(access, 1 + pool->spatial, 1 + pool->spatial, 1);
}

// i32 number of the current position in its window, row-major.
static int window_position(struct anas_nest *nest, const struct anas_pool *pool) {
  int position = -1;
  for (int d = 0; d < pool->spatial; d++) {
    int index = anas_nest_value(nest, "linalg.index %d : index", 2 + pool->spatial + d);
    int digit = anas_nest_value(nest, "arith.index_cast %%v%d : index to i32", index);
    if (d) {
      int extent = anas_nest_i32(nest, (int32_t)pool->dim[d].window);
      int before = anas_nest_value(nest, "arith.muli %%v%d, %%v%d : i32", position, extent);
      digit = anas_nest_value(nest, "arith.addi %%v%d, %%v%d : i32", before, digit);
    }
    position = digit;
  }
  return position;
}

// Operand 0 with its border; the operand itself if no window leaves it.
static int bordered_input(const struct anas_op *op, struct anas_lowering *l, const struct anas_pool *pool,
                          enum anas_fill fill) {
  const struct anas_shape *x = &op->operand[0];
  struct anas_shape shape = bordered_shape(pool, x);
  int source = anas_lower_operand(l, 0);
  if (anas_shape_equal(&shape, x)) return source;
  char key[160];
  int length = snprintf(key, sizeof key, "pool_border %d", (int)fill);
  for (int d = 0; d < pool->spatial; d++)
    length += snprintf(key + length, sizeof key - (size_t)length, " %lld", (long long)pool->dim[d].pad);
  bool fresh;
  int packed = anas_lower_packed(l, source, key, &shape, &fresh);
  if (!fresh) return packed;
  struct anas_nest *nest = anas_lower_nest(l, "pool_border");
  anas_nest_loops(nest, x);
  anas_access_whole(anas_nest_in(nest, source), x->rank);
  struct anas_access *out = anas_nest_out(nest, packed, fill);
  anas_access_whole(out, x->rank);
  for (int d = 0; d < pool->spatial; d++)
    out->index[1 + d].constant = pool->dim[d].pad;
  anas_nest_yield(nest, 0, "%%i0");
  return packed;
}

// Where a gradient nest scatters to: the result, or a bordered scratch tensor that crop() copies from.
static int scatter_target(struct anas_lowering *l, const struct anas_pool *pool, const struct anas_shape *input) {
  struct anas_shape shape = bordered_shape(pool, input);
  return anas_shape_equal(&shape, input) ? anas_lower_result(l, 0) : anas_lower_scratch(l, &shape);
}

static void crop(struct anas_lowering *l, const struct anas_pool *pool, int bordered) {
  int result = anas_lower_result(l, 0);
  if (bordered == result) return;
  const struct anas_shape *shape = anas_lower_shape(l, result);
  struct anas_nest *nest = anas_lower_nest(l, "pool_crop");
  anas_nest_loops(nest, shape);
  struct anas_access *in = anas_nest_in(nest, bordered);
  anas_access_whole(in, shape->rank);
  for (int d = 0; d < pool->spatial; d++)
    in->index[1 + d].constant = pool->dim[d].pad;
  anas_access_whole(anas_nest_out(nest, result, ANAS_NO_FILL), shape->rank);
  anas_nest_yield(nest, 0, "%%i0");
}

// Adds %v<value> to the target, or stores it where every element belongs to at most one window.
static void yield_gradient(struct anas_nest *nest, const struct anas_pool *pool, int value) {
  bool overlap = false;
  for (int d = 0; d < pool->spatial; d++)
    overlap |= windows_overlap(&pool->dim[d]);
  if (overlap) value = anas_nest_value(nest, "arith.addf %%o0, %%v%d : f32", value);
  anas_nest_yield(nest, 0, "%%v%d", value);
}

// Elements in no window, and the start of sums, are zero.
static enum anas_fill gradient_fill(const struct anas_pool *pool) {
  for (int d = 0; d < pool->spatial; d++) {
    const struct anas_pool_dim *dim = &pool->dim[d];
    if (windows_overlap(dim) || dim->out * dim->window != bordered_extent(dim)) return ANAS_FILL_ZERO;
  }
  return ANAS_NO_FILL;
}

// ---- average

static anas_status avg_fwd_shape(const struct anas_op *op, struct anas_shape *out) {
  struct anas_pool pool;
  ANAS_RETURN_IF_ERROR(geometry(op, &op->operand[0], &pool));
  out[0] = anas_pool_result(&pool, &op->operand[0]);
  return ANAS_OK;
}

static anas_status avg_fwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  struct anas_pool pool;
  ANAS_RETURN_IF_ERROR(geometry(op, &op->operand[0], &pool));
  struct anas_shape result = anas_pool_result(&pool, &op->operand[0]);
  int input = bordered_input(op, l, &pool, ANAS_FILL_ZERO);
  struct anas_nest *nest = anas_lower_nest(l, "avg_pool_fwd");
  window_loops(nest, &pool, &result, false);
  window_access(anas_nest_in(nest, input), &pool);
  anas_access_whole(anas_nest_out(nest, anas_lower_result(l, 0), ANAS_FILL_ZERO), result.rank);
  int share = anas_nest_f32(nest, 1 / (double)anas_pool_positions(&pool));
  int part = anas_nest_value(nest, "arith.mulf %%i0, %%v%d " ANAS_CONTRACT " : f32", share);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%v%d " ANAS_CONTRACT " : f32", part));
  return ANAS_OK;
}

static const struct anas_op_def avg_pool_fwd = {
    .name = "avg_pool_fwd",
    .level = ANAS_TRAINING,
    .summary = "mean of each window",
    .num_operands = 1,
    .attrs = pool_attrs,
    .num_attrs = ANAS_POOL_SHAPE,
    .shape = avg_fwd_shape,
    .lower = avg_fwd_lower,
};

// Gradients have the type of the pooled tensor; all operands that of the result of pooling, in their element types.
static anas_status bwd_shape(const struct anas_op *op, struct anas_shape *out) {
  struct anas_shape input = anas_extents_shape(&op->attr[ANAS_POOL_SHAPE]);
  struct anas_pool pool;
  ANAS_RETURN_IF_ERROR(geometry(op, &input, &pool));
  struct anas_shape result = anas_pool_result(&pool, &input);
  char a[128], b[128];
  for (int i = 0; i < op->num_operands; i++) {
    result.element = i ? ANAS_I32 : ANAS_F32;
    if (!anas_shape_equal(&op->operand[i], &result))
      return anas_fail(ANAS_INVALID, "operand %d of 'anas.%s' must be tensor<%s>, got tensor<%s>", i, op->def->name,
                       anas_shape_text(&result, a), anas_shape_text(&op->operand[i], b));
  }
  out[0] = input;
  return ANAS_OK;
}

static anas_status avg_bwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  struct anas_shape input = anas_extents_shape(&op->attr[ANAS_POOL_SHAPE]);
  struct anas_pool pool;
  ANAS_RETURN_IF_ERROR(geometry(op, &input, &pool));
  int target = scatter_target(l, &pool, &input);
  struct anas_nest *nest = anas_lower_nest(l, "avg_pool_bwd");
  window_loops(nest, &pool, &op->operand[0], true);
  anas_access_whole(anas_nest_in(nest, anas_lower_operand(l, 0)), input.rank);
  window_access(anas_nest_out(nest, target, gradient_fill(&pool)), &pool);
  int share = anas_nest_f32(nest, 1 / (double)anas_pool_positions(&pool));
  yield_gradient(nest, &pool, anas_nest_value(nest, "arith.mulf %%i0, %%v%d " ANAS_CONTRACT " : f32", share));
  crop(l, &pool, target);
  return ANAS_OK;
}

static const struct anas_op_def avg_pool_bwd = {
    .name = "avg_pool_bwd",
    .level = ANAS_TRAINING,
    .summary = "dy / window elements, added to every element of the window",
    .num_operands = 1,
    .attrs = pool_attrs,
    .num_attrs = ANAS_POOL_ATTRS,
    .shape = bwd_shape,
    .lower = avg_bwd_lower,
};

// ---- maximum

static anas_status max_fwd_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(avg_fwd_shape(op, out));
  out[1] = out[0];
  out[1].element = ANAS_I32;
  return ANAS_OK;
}

static anas_status max_fwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  struct anas_pool pool;
  ANAS_RETURN_IF_ERROR(geometry(op, &op->operand[0], &pool));
  struct anas_shape result = anas_pool_result(&pool, &op->operand[0]);
  int input = bordered_input(op, l, &pool, ANAS_FILL_NEGATIVE_INFINITY);
  struct anas_nest *nest = anas_lower_nest(l, "max_pool_fwd");
  window_loops(nest, &pool, &result, false);
  window_access(anas_nest_in(nest, input), &pool);
  anas_access_whole(anas_nest_out(nest, anas_lower_result(l, 0), ANAS_FILL_NEGATIVE_INFINITY), result.rank);
  anas_access_whole(anas_nest_out(nest, anas_lower_result(l, 1), ANAS_FILL_ZERO), result.rank);
  int position = window_position(nest, &pool);
  int larger = anas_nest_value(nest, "arith.cmpf ogt, %%i0, %%o0 : f32");
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.select %%v%d, %%i0, %%o0 : f32", larger));
  anas_nest_yield(nest, 1, "%%v%d", anas_nest_value(nest, "arith.select %%v%d, %%v%d, %%o1 : i32", larger, position));
  return ANAS_OK;
}

static const struct anas_op_def max_pool_fwd = {
    .name = "max_pool_fwd",
    .level = ANAS_TRAINING,
    .summary = "maximum of each window, and the row-major number of the first position that has it",
    .num_operands = 1,
    .num_results = 2,
    .attrs = pool_attrs,
    .num_attrs = ANAS_POOL_SHAPE,
    .shape = max_fwd_shape,
    .lower = max_fwd_lower,
};

static anas_status max_bwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  struct anas_shape input = anas_extents_shape(&op->attr[ANAS_POOL_SHAPE]);
  struct anas_pool pool;
  ANAS_RETURN_IF_ERROR(geometry(op, &input, &pool));
  int target = scatter_target(l, &pool, &input);
  struct anas_nest *nest = anas_lower_nest(l, "max_pool_bwd");
  window_loops(nest, &pool, &op->operand[0], true);
  for (int i = 0; i < 2; i++)
    anas_access_whole(anas_nest_in(nest, anas_lower_operand(l, i)), input.rank);
  window_access(anas_nest_out(nest, target, gradient_fill(&pool)), &pool);
  int position = window_position(nest, &pool), zero = anas_nest_f32(nest, 0);
  int winner = anas_nest_value(nest, "arith.cmpi eq, %%v%d, %%i1 : i32", position);
  yield_gradient(nest, &pool, anas_nest_value(nest, "arith.select %%v%d, %%i0, %%v%d : f32", winner, zero));
  crop(l, &pool, target);
  return ANAS_OK;
}

static const struct anas_op_def max_pool_bwd = {
    .name = "max_pool_bwd",
    .level = ANAS_TRAINING,
    .summary = "dy, added to the element of the window that was the maximum",
    .num_operands = 2,
    .attrs = pool_attrs,
    .num_attrs = ANAS_POOL_ATTRS,
    .shape = bwd_shape,
    .lower = max_bwd_lower,
};

ANAS_OP_FAMILY(pool_train, &avg_pool_fwd, &avg_pool_bwd, &max_pool_fwd, &max_pool_bwd);
