// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Vector code for every nest that is not a tiled contraction: maps, row and column reductions, windows, scatters and
// data movement.
//
// One loop, the lane loop, runs over vector lanes. Loops in which every output moves ("free") are outside; loops in
// which some output stands still ("accumulating") are inside, with that output in registers across them. An output
// that moves in an accumulating loop (a scatter) is loaded and stored in every iteration.
#include "passes/cpu/nest.h"

#include <math.h>
#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <string.h>

#define MAX_VECTORS 4
#define MAX_ACCUMULATORS (ANAS_CPU_OPERANDS * MAX_VECTORS)

struct combiner { // yield = op(accumulator, something)
  const char *op;
  bool is_float;
  double neutral;
};

static const struct combiner combiners[] = {
    {"arith.addf", true, 0.0},           {"arith.mulf", true, 1.0},         {"arith.maxnumf", true, -INFINITY},
    {"arith.maximumf", true, -INFINITY}, {"arith.minnumf", true, INFINITY}, {"arith.minimumf", true, INFINITY},
    {"arith.addi", false, 0.0},          {"arith.muli", false, 1.0},
};

struct plan {
  struct anas_code *code;
  struct anas_cpu_nest nest;
  MlirValue flat[ANAS_CPU_OPERANDS];
  bool used[ANAS_CPU_OPERANDS];      // the body reads the operand
  bool in_memory[ANAS_CPU_OPERANDS]; // output that is loaded and stored in every iteration
  const struct combiner *combiner[ANAS_CPU_OPERANDS];
  int lane, lanes, vectors;
  bool lane_reduces;
  int num_outer, outer[ANAS_CPU_LOOPS];    // digits of the range, slowest first; may end with the lane loop
  int num_free, free_loop[ANAS_CPU_LOOPS]; // further free loops, without the lane loop
  int num_accumulating, accumulating[ANAS_CPU_LOOPS];
  bool lane_outer;
  int fill_loop; // slab loop of the fills, -1: none
  // state of emission
  MlirValue iv[ANAS_CPU_LOOPS];
  int num_accumulators;
  MlirValue accumulator[MAX_ACCUMULATORS];
};

static const char *name_of(MlirOperation op) {
  return mlirIdentifierStr(mlirOperationGetName(op)).data;
}

static bool is_free(const struct anas_cpu_nest *nest, int loop) {
  for (int o = nest->num_in; o < nest->num_operands; o++)
    if (nest->operand[o].stride[loop] == 0) return false;
  return true;
}

static bool stands_still(const struct anas_cpu_nest *nest, int loop) {
  for (int o = nest->num_in; o < nest->num_operands; o++)
    if (nest->operand[o].stride[loop] != 0) return false;
  return true;
}

// The combiner of output o if its accumulator is used exactly once, by an op whose result is yielded for it.
static const struct combiner *find_combiner(const struct anas_cpu_nest *nest, int o) {
  MlirValue accumulator = mlirBlockGetArgument(nest->body, nest->operand[o].argument);
  MlirOpOperand use = mlirValueGetFirstUse(accumulator);
  if (mlirOpOperandIsNull(use) || !mlirOpOperandIsNull(mlirOpOperandGetNextUse(use))) return NULL;
  MlirOperation op = mlirOpOperandGetOwner(use), yield = mlirBlockGetTerminator(nest->body);
  if (mlirOperationGetNumResults(op) != 1) return NULL;
  if (!mlirValueEqual(mlirOperationGetOperand(yield, o - nest->num_in), mlirOperationGetResult(op, 0))) return NULL;
  MlirOpOperand result_use = mlirValueGetFirstUse(mlirOperationGetResult(op, 0));
  if (!mlirOpOperandIsNull(mlirOpOperandGetNextUse(result_use))) return NULL;
  for (size_t i = 0; i < sizeof combiners / sizeof *combiners; i++)
    if (strcmp(combiners[i].op, name_of(op)) == 0) return &combiners[i];
  return NULL;
}

// ---- choosing the loops
// ----------------------------------------------------------------------------------------------

static double body_cost(const struct anas_cpu_nest *nest) {
  double cost = 0;
  for (MlirOperation op = mlirBlockGetFirstOperation(nest->body); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op))
    cost += strncmp(name_of(op), "math.", 5) == 0 ? 16 : 1;
  return cost;
}

// Estimated vector instructions of the whole nest with `loop` in the lanes; infinite if impossible.
static double lane_cost(const struct plan *plan, int loop) {
  const struct anas_cpu_nest *nest = &plan->nest;
  bool reduces = stands_still(nest, loop);
  if (!reduces && !is_free(nest, loop)) return INFINITY;
  double once = body_cost(nest);
  for (int o = 0; o < nest->num_operands; o++) {
    if (reduces && o >= nest->num_in && !plan->combiner[o]) return INFINITY;
    int64_t stride = nest->operand[o].stride[loop];
    if (!plan->used[o] && o < nest->num_in) continue;
    once += stride == 1 ? 1 : stride == 0 ? 0.5 : 1.5 * plan->lanes;
  }
  double iterations = (double)anas_cpu_nest_iterations(nest), extent = (double)nest->extent[loop];
  double cost = iterations / extent * ceil(extent / plan->lanes) * once;
  if (reduces) {
    double results = 1; // times a horizontal reduction
    for (int l = 0; l < nest->num_loops; l++)
      if (!stands_still(nest, l)) results *= (double)nest->extent[l];
    cost += results * 12 * (nest->num_operands - nest->num_in);
  }
  return cost;
}

static void add_unit_loop(struct anas_cpu_nest *nest) {
  int l = nest->num_loops++;
  nest->extent[l] = 1;
  nest->split[l] = true;
  nest->reduction[l] = nest->indexed[l] = false;
  for (int o = 0; o < nest->num_operands; o++) {
    nest->operand[o].stride[l] = 1;
    nest->operand[o].slab[l] = false;
  }
}

static double choose_lane(struct plan *plan) {
  double best = INFINITY;
  for (int l = 0; l < plan->nest.num_loops; l++) {
    double cost = lane_cost(plan, l);
    if (cost >= best) continue;
    best = cost;
    plan->lane = l;
  }
  if (isinf(best)) { // only loops that cannot be vectorised: one lane
    plan->lane = plan->nest.num_loops;
    add_unit_loop(&plan->nest);
    best = lane_cost(plan, plan->lane);
  }
  plan->lane_reduces = stands_still(&plan->nest, plan->lane);
  return best;
}

// Distance the outputs move in a loop: slow loops go outside.
static int64_t output_stride(const struct anas_cpu_nest *nest, int loop) {
  int64_t sum = 0;
  for (int o = nest->num_in; o < nest->num_operands; o++) {
    int64_t stride = nest->operand[o].stride[loop];
    sum += stride < 0 ? -stride : stride;
  }
  return sum;
}

static bool slab_for_fills(const struct anas_cpu_nest *nest, int loop) {
  for (int o = nest->num_in; o < nest->num_operands; o++) {
    const struct anas_cpu_operand *operand = &nest->operand[o];
    if (operand->filled && !operand->covered && !operand->slab[loop]) return false;
  }
  return nest->split[loop];
}

// Loops whose iterations may go to different threads come first, each group by falling stride of the outputs.
static void order_loops(struct plan *plan) {
  const struct anas_cpu_nest *nest = &plan->nest;
  for (int l = 0; l < nest->num_loops; l++) {
    if (l == plan->lane) continue;
    if (!is_free(nest, l)) {
      plan->accumulating[plan->num_accumulating++] = l;
      continue;
    }
    int at = plan->num_free++;
    for (; at > 0; at--) {
      int other = plan->free_loop[at - 1];
      bool before =
          nest->split[l] != nest->split[other] ? nest->split[l] : output_stride(nest, l) > output_stride(nest, other);
      if (!before) break;
      plan->free_loop[at] = other;
    }
    plan->free_loop[at] = l;
  }
}

static void take_outer(struct plan *plan, int position) {
  plan->outer[plan->num_outer++] = plan->free_loop[position];
  plan->num_free--;
  memmove(&plan->free_loop[position], &plan->free_loop[position + 1],
          sizeof plan->free_loop[0] * (size_t)(plan->num_free - position));
}

static int64_t steps(const struct plan *plan) {
  int64_t step = (int64_t)plan->vectors * plan->lanes;
  return (plan->nest.extent[plan->lane] + step - 1) / step;
}

static void choose_outer(struct plan *plan, int64_t *out_range) {
  const int64_t enough = 64;
  *out_range = 1;
  plan->fill_loop = -1;
  if (anas_cpu_needs_fill(&plan->nest)) {
    for (int i = 0; i < plan->num_free; i++) {
      int loop = plan->free_loop[i];
      if (!slab_for_fills(&plan->nest, loop)) continue;
      plan->fill_loop = loop;
      *out_range = plan->nest.extent[loop];
      take_outer(plan, i);
      break;
    }
    return;
  }
  while (plan->num_free > 0 && *out_range < enough && plan->nest.split[plan->free_loop[0]]) {
    *out_range *= plan->nest.extent[plan->free_loop[0]];
    take_outer(plan, 0);
  }
  if (*out_range < enough && !plan->lane_reduces && plan->nest.split[plan->lane]) {
    plan->lane_outer = true;
    *out_range *= steps(plan);
  }
}

// Vectors per step: enough independent work to hide latency, within the registers; for column reductions no more than
// leaves every thread of a small team a share.
static void choose_vectors(struct plan *plan) {
  const struct anas_cpu_nest *nest = &plan->nest;
  int64_t blocks = (nest->extent[plan->lane] + plan->lanes - 1) / plan->lanes, others = 1;
  for (int i = 0; i < plan->num_free; i++)
    if (nest->split[plan->free_loop[i]]) others *= nest->extent[plan->free_loop[i]];
  int vectors = plan->num_accumulating > 0 || plan->lane_reduces ? 4 : 2;
  if (body_cost(nest) > 24) vectors = 1;
  while (vectors > 1 && vectors * (nest->num_operands + 1) > plan->code->target->registers)
    vectors--;
  if (blocks < vectors) vectors = (int)blocks;
  if (plan->num_accumulating > 0 && !plan->lane_reduces)
    while (vectors > 1 && others * ((blocks + vectors - 1) / vectors) < 2)
      vectors = (vectors + 1) / 2;
  plan->vectors = vectors;
}

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

static MlirValue load_lanes(struct plan *plan, int o, struct anas_address a, int active) {
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

static void store_lanes(struct plan *plan, int o, MlirValue value, struct anas_address a, int active) {
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

static struct place step_place(struct plan *plan, struct place place, int loop, MlirValue iv) {
  plan->iv[loop] = iv;
  for (int o = 0; o < plan->nest.num_operands; o++)
    place.at[o] = anas_address_step(plan->code, place.at[o], iv, plan->nest.operand[o].stride[loop]);
  return place;
}

static bool in_register(const struct plan *plan, int o) {
  return o >= plan->nest.num_in && !plan->in_memory[o];
}

static int active_lanes(const struct plan *plan, int64_t count, int vector) {
  int64_t left = count - (int64_t)vector * plan->lanes;
  return left > plan->lanes ? plan->lanes : left < 0 ? 0 : (int)left;
}

// One iteration on `count` consecutive lanes; accumulators are updated in place.
static anas_status emit_innermost(struct plan *plan, const struct place *place, int64_t count) {
  const struct anas_cpu_nest *nest = &plan->nest;
  struct anas_code *code = plan->code;
  MlirValue yields[MAX_VECTORS][ANAS_CPU_OPERANDS];
  for (int v = 0; v < plan->vectors && active_lanes(plan, count, v) > 0; v++) {
    int active = active_lanes(plan, count, v);
    struct anas_cpu_body body = {.code = code, .nest = nest, .lanes = plan->lanes, .lane_loop = plan->lane};
    memcpy(body.iv, plan->iv, sizeof body.iv);
    body.iv[plan->lane] = anas_code_add_const(code, plan->iv[plan->lane], (int64_t)v * plan->lanes);
    int slot = v;
    for (int o = 0; o < nest->num_operands; o++) {
      struct anas_address at =
          anas_address_offset(place->at[o], (int64_t)v * plan->lanes * nest->operand[o].stride[plan->lane]);
      if (in_register(plan, o) && plan->used[o]) {
        body.arg[o] = plan->accumulator[slot];
        slot += plan->vectors;
      } else if (plan->used[o]) {
        body.arg[o] = load_lanes(plan, o, at, active);
      }
    }
    ANAS_RETURN_IF_ERROR(anas_cpu_body_emit(&body, yields[v]));
    slot = v;
    for (int o = nest->num_in; o < nest->num_operands; o++) {
      MlirValue value = yields[v][o - nest->num_in];
      if (plan->in_memory[o] || !plan->used[o]) {
        struct anas_address at =
            anas_address_offset(place->at[o], (int64_t)v * plan->lanes * nest->operand[o].stride[plan->lane]);
        store_lanes(plan, o, value, at, active);
        continue;
      }
      if (plan->lane_reduces && active < plan->lanes)
        value = anas_code_select(code, anas_code_mask(code, plan->lanes, active), value, plan->accumulator[slot]);
      plan->accumulator[slot] = value;
      slot += plan->vectors;
    }
  }
  return ANAS_OK;
}

static void open_loop(struct plan *plan, int64_t upper, int64_t step, struct anas_code_scope *out) {
  *out = anas_code_for(plan->code, (MlirValue){0}, anas_code_index(plan->code, upper), step, plan->num_accumulators,
                       plan->accumulator);
  for (int i = 0; i < plan->num_accumulators; i++)
    plan->accumulator[i] = anas_code_iter(out, i);
}

static void close_loop(struct plan *plan, const struct anas_code_scope *scope) {
  anas_code_end(plan->code, scope, plan->num_accumulators, plan->accumulator);
  for (int i = 0; i < plan->num_accumulators; i++)
    plan->accumulator[i] = anas_code_result(scope, i);
}

static anas_status emit_accumulating(struct plan *plan, int level, struct place place, int64_t count) {
  struct anas_code_scope scope;
  if (level < plan->num_accumulating) {
    int loop = plan->accumulating[level];
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

static MlirAttribute neutral_of(struct plan *plan, int o) {
  MlirType element = plan->nest.operand[o].element;
  return plan->combiner[o]->is_float ? mlirFloatAttrDoubleGet(plan->code->context, element, plan->combiner[o]->neutral)
                                     : mlirIntegerAttrGet(element, (int64_t)plan->combiner[o]->neutral);
}

// Combines all vectors of an output and all their lanes into one scalar, halving the width each time.
static MlirValue reduce_lanes(struct plan *plan, int o, const MlirValue *vectors) {
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

// Everything for `count` lanes of the lane loop (all of it when the lanes are a reduction) at one iteration of the
// free loops.
static anas_status emit_step(struct plan *plan, struct place place, int64_t count) {
  const struct anas_cpu_nest *nest = &plan->nest;
  struct anas_code *code = plan->code;
  plan->num_accumulators = 0;
  for (int o = nest->num_in; o < nest->num_operands; o++) {
    const struct anas_cpu_operand *operand = &nest->operand[o];
    if (!in_register(plan, o) || !plan->used[o]) continue;
    MlirType type = anas_code_vector(plan->lanes, operand->element);
    for (int v = 0; v < plan->vectors; v++) {
      struct anas_address at = anas_address_offset(place.at[o], (int64_t)v * plan->lanes * operand->stride[plan->lane]);
      int active = active_lanes(plan, count, v);
      MlirValue init;
      if (plan->lane_reduces)
        init = anas_code_splat(code, type, neutral_of(plan, o));
      else if (operand->filled && operand->covered)
        init = anas_code_splat(code, type, operand->fill);
      else if (active == 0)
        init = anas_code_splat(code, type,
                               mlirTypeIsAF32(operand->element)
                                   ? mlirFloatAttrDoubleGet(code->context, operand->element, 0)
                                   : mlirIntegerAttrGet(operand->element, 0));
      else
        init = load_lanes(plan, o, at, active);
      plan->accumulator[plan->num_accumulators++] = init;
    }
  }
  ANAS_RETURN_IF_ERROR(emit_accumulating(plan, 0, place, count));
  int slot = 0;
  for (int o = nest->num_in; o < nest->num_operands; o++) {
    const struct anas_cpu_operand *operand = &nest->operand[o];
    if (!in_register(plan, o) || !plan->used[o]) continue;
    if (plan->lane_reduces) {
      MlirValue value = reduce_lanes(plan, o, &plan->accumulator[slot]);
      MlirValue before = operand->filled && operand->covered ? anas_code_constant(code, operand->element, operand->fill)
                                                             : anas_code_load(code, plan->flat[o], place.at[o]);
      anas_code_store(code, anas_code_binary(code, plan->combiner[o]->op, before, value), plan->flat[o], place.at[o]);
    } else {
      for (int v = 0; v < plan->vectors; v++) {
        int active = active_lanes(plan, count, v);
        if (active == 0) continue;
        struct anas_address at =
            anas_address_offset(place.at[o], (int64_t)v * plan->lanes * operand->stride[plan->lane]);
        store_lanes(plan, o, plan->accumulator[slot + v], at, active);
      }
    }
    slot += plan->vectors;
  }
  plan->num_accumulators = 0;
  return ANAS_OK;
}

static anas_status emit_lane_steps(struct plan *plan, struct place place) {
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

static anas_status emit_free(struct plan *plan, int level, struct place place, MlirValue lane_step) {
  struct anas_code *code = plan->code;
  if (level < plan->num_free) {
    int loop = plan->free_loop[level];
    struct anas_code_scope scope =
        anas_code_for(code, (MlirValue){0}, anas_code_index(code, plan->nest.extent[loop]), 1, 0, NULL);
    ANAS_RETURN_IF_ERROR(emit_free(plan, level + 1, step_place(plan, place, loop, scope.iv), lane_step));
    anas_code_end(code, &scope, 0, NULL);
    return ANAS_OK;
  }
  if (mlirValueIsNull(lane_step)) return emit_lane_steps(plan, place);
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
static anas_status emit_range(struct plan *plan, struct place place, MlirValue p) {
  struct anas_code *code = plan->code;
  MlirValue digit[ANAS_CPU_LOOPS + 1], left = p;
  int num = plan->num_outer + plan->lane_outer;
  for (int i = num - 1; i >= 0; i--) {
    int64_t extent = i == plan->num_outer ? steps(plan) : plan->nest.extent[plan->outer[i]];
    MlirValue size = anas_code_index(code, extent);
    digit[i] = i > 0 ? anas_code_binary(code, "arith.remui", left, size) : left;
    if (i > 0) left = anas_code_binary(code, "arith.divui", left, size);
  }
  for (int i = 0; i < plan->num_outer; i++)
    place = step_place(plan, place, plan->outer[i], digit[i]);
  if (anas_cpu_needs_fill(&plan->nest)) {
    MlirValue next = plan->fill_loop >= 0 ? anas_code_add_const(code, p, 1) : p;
    anas_cpu_fill(code, &plan->nest, plan->flat, plan->fill_loop, p, next);
  }
  return emit_free(plan, 0, place, plan->lane_outer ? digit[num - 1] : (MlirValue){0});
}

static anas_status emit_all(struct plan *plan, MlirValue begin, MlirValue end) {
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
  struct plan plan = {.code = code, .nest = *nest, .lanes = code->target->lanes};
  for (int o = 0; o < nest->num_operands; o++) {
    const struct anas_cpu_operand *operand = &nest->operand[o];
    plan.used[o] =
        !mlirOpOperandIsNull(mlirValueGetFirstUse(mlirBlockGetArgument(nest->body, nest->operand[o].argument)));
    plan.flat[o] = anas_code_flatten(code, operand->memref, operand->elements, operand->element);
    if (o >= nest->num_in) plan.combiner[o] = find_combiner(nest, o);
  }
  double cost = choose_lane(&plan);
  order_loops(&plan);
  for (int o = nest->num_in; o < nest->num_operands; o++)
    for (int i = 0; i < plan.num_accumulating; i++)
      if (plan.nest.operand[o].stride[plan.accumulating[i]] != 0) plan.in_memory[o] = true;
  choose_vectors(&plan);
  choose_outer(&plan, &out->iterations);
  ANAS_RETURN_IF_ERROR(emit_all(&plan, begin, end));
  out->parallel = out->iterations > 1 && cost > 30000;
  return ANAS_OK;
}
