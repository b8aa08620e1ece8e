// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Vector code for every nest that is not a tiled contraction: maps, row and column reductions, windows, scatters and
// data movement.
//
// One loop, the lane loop, runs over vector lanes. Loops in which every output moves ("free") are outside; loops in
// which some output stands still ("accumulating") are inside, with that output in registers across them. An output
// that moves in an accumulating loop (a scatter) is loaded and stored in every iteration.
#include "passes/cpu/vector.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <string.h>

// ---- emission
// --------------------------------------------------------------------------------------------------------

static MlirNamedAttribute int_array(struct anas_code *code, const char *name, int num, const int64_t *values) {
  return anas_code_attribute(code, name, mlirDenseI64ArrayGet(code->context, num, values));
}

static MlirValue extract(struct anas_code *code, MlirValue vector, int64_t lane) {
  MlirNamedAttribute position = int_array(code, "static_position", 1, &lane);
  MlirType element = mlirShapedTypeGetElementType(mlirValueGetType(vector));
  return anas_code_op(code, "vector.extract", 1, &vector, element, 1, &position);
}

static MlirValue load_lanes(struct anas_vector_plan *plan, int o, struct anas_address a, int active) {
  struct anas_code *code = plan->code;
  const struct anas_cpu_operand *operand = &plan->nest.operand[o];
  MlirType type = anas_code_vector(plan->lanes, operand->element);
  int64_t stride = operand->stride[plan->lane];
  if (stride == 1) return anas_code_vector_load(code, plan->flat[o], a, type, active);
  if (stride == 0) return anas_code_broadcast(code, anas_code_load(code, plan->flat[o], a), plan->lanes);
  MlirValue elements[64];
  for (int i = 0; i < plan->lanes; i++)
    elements[i] = i < active ? anas_code_load(code, plan->flat[o], anas_address_offset(a, i * stride)) : elements[0];
  return anas_code_op(code, "vector.from_elements", plan->lanes, elements, type, 0, NULL);
}

static void store_lanes(struct anas_vector_plan *plan, int o, MlirValue value, struct anas_address a, int active) {
  int64_t stride = plan->nest.operand[o].stride[plan->lane];
  if (stride == 1) {
    anas_code_vector_store(plan->code, value, plan->flat[o], a, active);
    return;
  }
  for (int i = 0; i < active; i++)
    anas_code_store(plan->code, extract(plan->code, value, i), plan->flat[o], anas_address_offset(a, i * stride));
}

struct place { // addresses of the current iteration, one per operand
  struct anas_address at[ANAS_CPU_OPERANDS];
};

static struct place step_place(struct anas_vector_plan *plan, struct place place, int loop, MlirValue iv) {
  plan->iv[loop] = iv;
  for (int o = 0; o < plan->nest.num_operands; o++)
    place.at[o] = anas_address_step(plan->code, place.at[o], iv, plan->nest.operand[o].stride[loop]);
  return place;
}

static bool in_register(const struct anas_vector_plan *plan, int o) {
  return o >= plan->nest.num_in && !plan->in_memory[o];
}

static int active_lanes(const struct anas_vector_plan *plan, int64_t count, int vector) {
  int64_t left = count - (int64_t)vector * plan->lanes;
  return left > plan->lanes ? plan->lanes : left < 0 ? 0 : (int)left;
}

// Addresses of copy `copy` of the tile.
static struct place copy_place(struct anas_vector_plan *plan, struct place place, int copy) {
  for (int i = 0; i < plan->num_tiled; i++) {
    int loop = plan->tiled[i];
    int64_t digit = copy % plan->tile[loop];
    copy /= (int)plan->tile[loop];
    for (int o = 0; o < plan->nest.num_operands; o++)
      place.at[o].offset += digit * plan->nest.operand[o].stride[loop];
  }
  return place;
}

static struct anas_address vector_address(const struct anas_vector_plan *plan, const struct place *place, int o,
                                          int vector) {
  return anas_address_offset(place->at[o], (int64_t)vector * plan->lanes * plan->nest.operand[o].stride[plan->lane]);
}

// Loop indices as the body of one vector of one copy sees them.
static void copy_indices(struct anas_vector_plan *plan, int copy, int vector, MlirValue *iv) {
  memcpy(iv, plan->iv, sizeof plan->iv);
  for (int i = 0; i < plan->num_tiled; i++) {
    int loop = plan->tiled[i];
    if (plan->nest.indexed[loop]) iv[loop] = anas_code_add_const(plan->code, iv[loop], copy % plan->tile[loop]);
    copy /= (int)plan->tile[loop];
  }
  iv[plan->lane] = anas_code_add_const(plan->code, plan->iv[plan->lane], (int64_t)vector * plan->lanes);
}

// One iteration of one vector of one copy.
static anas_status emit_vector(struct anas_vector_plan *plan, const struct place *place, int copy, int vector,
                               int active) {
  const struct anas_cpu_nest *nest = &plan->nest;
  struct anas_code *code = plan->code;
  int per_output = plan->copies * plan->vectors, slot = copy * plan->vectors + vector;
  MlirValue yields[ANAS_CPU_OPERANDS];
  struct anas_cpu_body body = {.code = code, .nest = nest, .lanes = plan->lanes, .lane_loop = plan->lane};
  copy_indices(plan, copy, vector, body.iv);
  for (int o = 0, from = slot; o < nest->num_operands; o++) {
    if (!plan->used[o]) continue;
    if (in_register(plan, o)) {
      body.arg[o] = plan->accumulator[from];
      from += per_output;
    } else {
      struct anas_address at = vector_address(plan, place, o, vector);
      for (int b = 0; b < nest->operand[o].num_borders; b++)
        at.value =
            anas_code_add(code, at.value, anas_cpu_border_address(code, nest, &nest->operand[o].border[b], body.iv));
      body.arg[o] = load_lanes(plan, o, at, active);
    }
  }
  ANAS_RETURN_IF_ERROR(anas_cpu_body_emit(&body, yields));
  for (int o = nest->num_in; o < nest->num_operands; o++) {
    MlirValue value = yields[o - nest->num_in];
    if (plan->in_memory[o] || !plan->used[o]) {
      store_lanes(plan, o, value, vector_address(plan, place, o, vector), active);
      continue;
    }
    if (plan->lane_reduces && active < plan->lanes)
      value = anas_code_select(code, anas_code_mask(code, plan->lanes, active), value, plan->accumulator[slot]);
    plan->accumulator[slot] = value;
    slot += per_output;
  }
  return ANAS_OK;
}

// One iteration on `count` consecutive lanes of every copy; accumulators are updated in place.
static anas_status emit_innermost(struct anas_vector_plan *plan, const struct place *place, int64_t count) {
  for (int copy = 0; copy < plan->copies; copy++) {
    struct place at = copy_place(plan, *place, copy);
    for (int v = 0; v < plan->vectors && active_lanes(plan, count, v) > 0; v++)
      ANAS_RETURN_IF_ERROR(emit_vector(plan, &at, copy, v, active_lanes(plan, count, v)));
  }
  return ANAS_OK;
}

static void open_loop(struct anas_vector_plan *plan, int64_t upper, int64_t step, struct anas_code_scope *out) {
  *out = anas_code_for(plan->code, (MlirValue){0}, anas_code_index(plan->code, upper), step, plan->num_accumulators,
                       plan->accumulator);
  for (int i = 0; i < plan->num_accumulators; i++)
    plan->accumulator[i] = anas_code_iter(out, i);
}

static void close_loop(struct anas_vector_plan *plan, const struct anas_code_scope *scope) {
  anas_code_end(plan->code, scope, plan->num_accumulators, plan->accumulator);
  for (int i = 0; i < plan->num_accumulators; i++)
    plan->accumulator[i] = anas_code_result(scope, i);
}

static anas_status emit_accumulating(struct anas_vector_plan *plan, int level, struct place place, int64_t count) {
  struct anas_code_scope scope;
  if (level < plan->num_accumulating) {
    int loop = plan->accumulating[level];
    if (level >= plan->unrolled_from) {
      for (int64_t i = 0; i < plan->nest.extent[loop]; i++) {
        struct place at = place;
        for (int o = 0; o < plan->nest.num_operands; o++)
          at.at[o].offset += i * plan->nest.operand[o].stride[loop];
        if (plan->nest.indexed[loop]) plan->iv[loop] = anas_code_index(plan->code, i);
        ANAS_RETURN_IF_ERROR(emit_accumulating(plan, level + 1, at, count));
      }
      return ANAS_OK;
    }
    open_loop(plan, plan->nest.extent[loop], 1, &scope);
    ANAS_RETURN_IF_ERROR(emit_accumulating(plan, level + 1, step_place(plan, place, loop, scope.iv), count));
    close_loop(plan, &scope);
    return ANAS_OK;
  }
  if (!plan->lane_reduces) return emit_innermost(plan, &place, count);
  int64_t step = (int64_t)plan->vectors * plan->lanes, extent = plan->nest.extent[plan->lane];
  int64_t whole = extent / step * step;
  if (whole > 0) {
    open_loop(plan, whole, step, &scope);
    struct place inner = step_place(plan, place, plan->lane, scope.iv);
    ANAS_RETURN_IF_ERROR(emit_innermost(plan, &inner, step));
    close_loop(plan, &scope);
  }
  if (whole == extent) return ANAS_OK;
  struct place tail = step_place(plan, place, plan->lane, anas_code_index(plan->code, whole));
  return emit_innermost(plan, &tail, extent - whole);
}

static MlirAttribute neutral_of(struct anas_vector_plan *plan, int o) {
  MlirType element = plan->nest.operand[o].element;
  return plan->combiner[o]->is_float ? mlirFloatAttrDoubleGet(plan->code->context, element, plan->combiner[o]->neutral)
                                     : mlirIntegerAttrGet(element, (int64_t)plan->combiner[o]->neutral);
}

// Combines all vectors of an output and all their lanes into one scalar, halving the width each time.
static MlirValue reduce_lanes(struct anas_vector_plan *plan, int o, const MlirValue *vectors) {
  struct anas_code *code = plan->code;
  const char *op = plan->combiner[o]->op;
  MlirValue value = vectors[0];
  for (int v = 1; v < plan->vectors; v++)
    value = anas_code_binary(code, op, value, vectors[v]);
  for (int width = plan->lanes / 2; width >= 1; width /= 2) {
    int64_t low[64], high[64];
    for (int i = 0; i < width; i++) {
      low[i] = i;
      high[i] = i + width;
    }
    MlirNamedAttribute low_mask = int_array(code, "mask", width, low), high_mask = int_array(code, "mask", width, high);
    MlirType type = anas_code_vector(width, plan->nest.operand[o].element);
    MlirValue a = anas_code_op(code, "vector.shuffle", 2, (MlirValue[]){value, value}, type, 1, &low_mask);
    MlirValue b = anas_code_op(code, "vector.shuffle", 2, (MlirValue[]){value, value}, type, 1, &high_mask);
    value = anas_code_binary(code, op, a, b);
  }
  return extract(code, value, 0);
}

static MlirAttribute zero_of(struct anas_vector_plan *plan, MlirType element) {
  return mlirTypeIsAF32(element) ? mlirFloatAttrDoubleGet(plan->code->context, element, 0)
                                 : mlirIntegerAttrGet(element, 0);
}

static MlirValue initial(struct anas_vector_plan *plan, const struct place *place, int o, int vector, int active) {
  struct anas_code *code = plan->code;
  const struct anas_cpu_operand *operand = &plan->nest.operand[o];
  MlirType type = anas_code_vector(plan->lanes, operand->element);
  if (plan->lane_reduces) return anas_code_splat(code, type, neutral_of(plan, o));
  if (operand->filled && operand->covered && (plan->starts || !plan->by_rows))
    return anas_code_splat(code, type, operand->fill);
  if (active == 0) return anas_code_splat(code, type, zero_of(plan, operand->element));
  return load_lanes(plan, o, vector_address(plan, place, o, vector), active);
}

static void store_scalar(struct anas_vector_plan *plan, const struct place *place, int o, const MlirValue *vectors) {
  struct anas_code *code = plan->code;
  const struct anas_cpu_operand *operand = &plan->nest.operand[o];
  MlirValue value = reduce_lanes(plan, o, vectors);
  MlirValue before = operand->filled && operand->covered ? anas_code_constant(code, operand->element, operand->fill)
                                                         : anas_code_load(code, plan->flat[o], place->at[o]);
  value = anas_code_binary(code, plan->combiner[o]->op, before, value);
  anas_code_store(code, value, plan->flat[o], place->at[o]);
}

// Everything for `count` lanes of the lane loop (all of it when the lanes are a reduction) at one iteration of the
// free loops.
static anas_status emit_step(struct anas_vector_plan *plan, struct place place, int64_t count) {
  const struct anas_cpu_nest *nest = &plan->nest;
  plan->num_accumulators = 0;
  for (int o = nest->num_in; o < nest->num_operands; o++) {
    if (!in_register(plan, o) || !plan->used[o]) continue;
    for (int copy = 0; copy < plan->copies; copy++) {
      struct place at = copy_place(plan, place, copy);
      for (int v = 0; v < plan->vectors; v++)
        plan->accumulator[plan->num_accumulators++] = initial(plan, &at, o, v, active_lanes(plan, count, v));
    }
  }
  if (!plan->starts)
    ANAS_RETURN_IF_ERROR(emit_accumulating(plan, plan->by_rows ? plan->num_accumulating : 0, place, count));
  int slot = 0;
  for (int o = nest->num_in; o < nest->num_operands; o++) {
    if (!in_register(plan, o) || !plan->used[o]) continue;
    if (plan->lane_reduces) store_scalar(plan, &place, o, &plan->accumulator[slot]);
    for (int copy = 0; copy < plan->copies && !plan->lane_reduces; copy++) {
      struct place at = copy_place(plan, place, copy);
      for (int v = 0; v < plan->vectors; v++) {
        int active = active_lanes(plan, count, v);
        MlirValue value = plan->accumulator[slot + copy * plan->vectors + v];
        if (active > 0) store_lanes(plan, o, value, vector_address(plan, &at, o, v), active);
      }
    }
    slot += plan->copies * plan->vectors;
  }
  plan->num_accumulators = 0;
  return ANAS_OK;
}

static anas_status emit_lane_steps(struct anas_vector_plan *plan, struct place place) {
  struct anas_code *code = plan->code;
  if (plan->lane_reduces) return emit_step(plan, place, 0);
  int64_t step = (int64_t)plan->vectors * plan->lanes, extent = plan->nest.extent[plan->lane];
  int64_t whole = extent / step * step;
  if (whole == step) {
    ANAS_RETURN_IF_ERROR(emit_step(plan, step_place(plan, place, plan->lane, anas_code_index(code, 0)), step));
  } else if (whole > 0) {
    struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, anas_code_index(code, whole), step, 0, NULL);
    ANAS_RETURN_IF_ERROR(emit_step(plan, step_place(plan, place, plan->lane, scope.iv), step));
    anas_code_end(code, &scope, 0, NULL);
  }
  if (whole == extent) return ANAS_OK;
  return emit_step(plan, step_place(plan, place, plan->lane, anas_code_index(code, whole)), extent - whole);
}

static bool any_filled(const struct anas_vector_plan *plan) {
  for (int o = plan->nest.num_in; o < plan->nest.num_operands; o++)
    if (plan->nest.operand[o].filled) return true;
  return false;
}

static anas_status emit_rows(struct anas_vector_plan *plan, int level, struct place place) {
  struct anas_code *code = plan->code;
  if (level == 0 && any_filled(plan)) {
    plan->starts = true;
    ANAS_RETURN_IF_ERROR(emit_lane_steps(plan, place));
    plan->starts = false;
  }
  if (level == plan->num_accumulating) return emit_lane_steps(plan, place);
  int loop = plan->accumulating[level];
  struct anas_code_scope scope =
      anas_code_for(code, (MlirValue){0}, anas_code_index(code, plan->nest.extent[loop]), 1, 0, NULL);
  ANAS_RETURN_IF_ERROR(emit_rows(plan, level + 1, step_place(plan, place, loop, scope.iv)));
  anas_code_end(code, &scope, 0, NULL);
  return ANAS_OK;
}

static anas_status emit_free(struct anas_vector_plan *plan, int level, struct place place, MlirValue lane_step) {
  struct anas_code *code = plan->code;
  if (level < plan->num_free) {
    int loop = plan->free_loop[level];
    struct anas_code_scope scope =
        anas_code_for(code, (MlirValue){0}, anas_code_index(code, plan->nest.extent[loop]), plan->tile[loop], 0, NULL);
    ANAS_RETURN_IF_ERROR(emit_free(plan, level + 1, step_place(plan, place, loop, scope.iv), lane_step));
    anas_code_end(code, &scope, 0, NULL);
    return ANAS_OK;
  }
  if (mlirValueIsNull(lane_step)) return plan->by_rows ? emit_rows(plan, 0, place) : emit_lane_steps(plan, place);
  // lane_step counts steps; the last one may be partial.
  int64_t step = (int64_t)plan->vectors * plan->lanes, extent = plan->nest.extent[plan->lane];
  int64_t whole = extent / step;
  MlirValue first = anas_code_mul_const(code, lane_step, step);
  if (whole * step == extent) return emit_step(plan, step_place(plan, place, plan->lane, first), step);
  if (whole == 0) return emit_step(plan, step_place(plan, place, plan->lane, first), extent);
  MlirValue is_whole = anas_code_compare(code, false, ANAS_CMPI_SLT, lane_step, anas_code_index(code, whole));
  struct anas_code_scope branch = anas_code_if(code, is_whole, true);
  ANAS_RETURN_IF_ERROR(emit_step(plan, step_place(plan, place, plan->lane, first), step));
  anas_code_else(code, &branch);
  ANAS_RETURN_IF_ERROR(emit_step(plan, step_place(plan, place, plan->lane, first), extent - whole * step));
  anas_code_end(code, &branch, 0, NULL);
  return ANAS_OK;
}

// One iteration of the range: decodes its digits, fills the slab, runs the rest of the nest.
static anas_status emit_range(struct anas_vector_plan *plan, struct place place, MlirValue p) {
  struct anas_code *code = plan->code;
  MlirValue digit[ANAS_CPU_LOOPS + 1], left = p;
  int num = plan->num_outer + plan->lane_outer;
  for (int i = num - 1; i >= 0; i--) {
    int64_t extent =
        i == plan->num_outer ? anas_vector_steps(plan) : plan->nest.extent[plan->outer[i]] / plan->tile[plan->outer[i]];
    MlirValue size = anas_code_index(code, extent);
    digit[i] = i > 0 ? anas_code_binary(code, "arith.remui", left, size) : left;
    if (i > 0) left = anas_code_binary(code, "arith.divui", left, size);
  }
  for (int i = 0; i < plan->num_outer; i++) {
    int loop = plan->outer[i];
    place = step_place(plan, place, loop, anas_code_mul_const(code, digit[i], plan->tile[loop]));
  }
  if (anas_cpu_needs_fill(&plan->nest)) {
    MlirValue next = plan->fill_loop >= 0 ? anas_code_add_const(code, p, 1) : p;
    anas_cpu_fill(code, &plan->nest, plan->flat, plan->fill_loop, p, next);
  }
  return emit_free(plan, 0, place, plan->lane_outer ? digit[num - 1] : (MlirValue){0});
}

static anas_status emit_all(struct anas_vector_plan *plan, MlirValue begin, MlirValue end) {
  struct anas_code *code = plan->code;
  struct place place = {0};
  for (int o = 0; o < plan->nest.num_operands; o++)
    place.at[o].offset = plan->nest.operand[o].offset;
  int64_t step = (int64_t)plan->vectors * plan->lanes, extent = plan->nest.extent[plan->lane];
  if (!plan->lane_outer || plan->num_outer > 0 || extent % step == 0 || extent < step || plan->num_free > 0) {
    struct anas_code_scope scope = anas_code_for(code, begin, end, 1, 0, NULL);
    ANAS_RETURN_IF_ERROR(emit_range(plan, place, scope.iv));
    anas_code_end(code, &scope, 0, NULL);
    return ANAS_OK;
  }
  // The range counts lane steps only: keep the partial last step out of the loop.
  MlirValue whole = anas_code_index(code, extent / step);
  struct anas_code_scope scope = anas_code_for(code, begin, anas_code_min(code, end, whole), 1, 0, NULL);
  MlirValue first = anas_code_mul_const(code, scope.iv, step);
  ANAS_RETURN_IF_ERROR(emit_step(plan, step_place(plan, place, plan->lane, first), step));
  anas_code_end(code, &scope, 0, NULL);
  scope = anas_code_if(code, anas_code_compare(code, false, ANAS_CMPI_SGT, end, whole), false);
  first = anas_code_index(code, extent / step * step);
  ANAS_RETURN_IF_ERROR(emit_step(plan, step_place(plan, place, plan->lane, first), extent % step));
  anas_code_end(code, &scope, 0, NULL);
  return ANAS_OK;
}

anas_status anas_cpu_vector(struct anas_code *code, const struct anas_cpu_nest *nest, MlirValue begin, MlirValue end,
                            struct anas_cpu_range *out) {
  struct anas_vector_plan plan = {.code = code, .nest = *nest};
  for (int o = 0; o < nest->num_operands; o++) {
    const struct anas_cpu_operand *operand = &nest->operand[o];
    plan.flat[o] = anas_code_flatten(code, operand->memref, operand->elements, operand->element);
  }
  double cost = anas_vector_plan(&plan, &out->iterations);
  ANAS_RETURN_IF_ERROR(emit_all(&plan, begin, end));
  out->parallel = out->iterations > 1 && cost > 30000;
  out->leading = anas_vector_leading(&plan);
  return ANAS_OK;
}
