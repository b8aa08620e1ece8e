// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reductions with few results: sums over rows or columns, statistics of a batch. A block has threads along the results
// and along the reduction, whichever lie next to each other in memory first; its threads combine in shared memory. Long
// reductions are split over blocks, whose partial results go through the workspace to a second kernel. The order of all
// combinations is fixed.
#include "passes/gpu/emit.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <string.h>

#define FEW_RESULTS 65536 // with more, a thread for each keeps a GPU busy
#define WANTED_BLOCKS 528

struct plan {
  int num_points, point[ANAS_CPU_LOOPS]; // loops, slowest first
  int num_terms, term[ANAS_CPU_LOOPS];
  int64_t points, terms;
  bool columns;         // neighbouring threads take neighbouring points, else neighbouring terms
  int64_t across, down; // threads of a block along points and terms; across * down = ANAS_GPU_BLOCK
  int lanes;            // points of a thread
  int64_t splits, terms_of_split;
};

static int64_t magnitude(int64_t x) {
  return x < 0 ? -x : x;
}

// Slowest first by the distance moved in the operand.
static void sort_loops(const struct anas_cpu_nest *nest, int operand, int *loops, int num) {
  for (int i = 1; i < num; i++)
    for (int j = i; j > 0 && magnitude(nest->operand[operand].stride[loops[j - 1]]) <
                                 magnitude(nest->operand[operand].stride[loops[j]]);
         j--) {
      int swap = loops[j];
      loops[j] = loops[j - 1];
      loops[j - 1] = swap;
    }
}

static bool classify(const struct anas_gpu_emit *emit, struct plan *plan) {
  const struct anas_cpu_nest *nest = &emit->nest;
  *plan = (struct plan){.points = 1, .terms = 1};
  for (int o = nest->num_in; o < nest->num_operands; o++) {
    MlirType element = nest->operand[o].element;
    bool word = mlirTypeIsAF32(element) || (mlirTypeIsAInteger(element) && mlirIntegerTypeGetWidth(element) == 32);
    if (!emit->combiner[o] || !word) return false;
  }
  for (int l = 0; l < nest->num_loops; l++) {
    bool moves = false, stands = false;
    for (int o = nest->num_in; o < nest->num_operands; o++)
      *(nest->operand[o].stride[l] ? &moves : &stands) = true;
    if (moves && (stands || !nest->split[l])) return false;
    if (moves) {
      plan->point[plan->num_points++] = l;
      plan->points *= nest->extent[l];
    } else {
      plan->term[plan->num_terms++] = l;
      plan->terms *= nest->extent[l];
    }
  }
  return plan->num_terms && plan->terms >= 32 && plan->points < FEW_RESULTS && plan->terms < INT32_MAX;
}

static int largest_input(const struct anas_cpu_nest *nest) {
  int largest = 0;
  for (int o = 1; o < nest->num_in; o++)
    if (nest->operand[o].elements > nest->operand[largest].elements) largest = o;
  return largest;
}

static int64_t power_of_two_above(int64_t x) {
  int64_t power = 1;
  while (power < x)
    power *= 2;
  return power;
}

static void choose(const struct anas_cpu_nest *nest, struct plan *plan) {
  int largest = largest_input(nest);
  sort_loops(nest, nest->num_in, plan->point, plan->num_points);
  sort_loops(nest, largest, plan->term, plan->num_terms);
  int fastest = plan->num_points ? plan->point[plan->num_points - 1] : -1;
  plan->columns = fastest >= 0 && nest->operand[largest].stride[fastest] == 1;
  plan->lanes = plan->columns ? 4 : 1;
  for (int o = 0; o < nest->num_operands && plan->lanes == 4; o++)
    if (!(o < nest->num_in && !anas_cpu_moves(nest, o, fastest)) && !anas_gpu_aligned(nest, o, fastest))
      plan->lanes = 1;
  int64_t limit = plan->columns ? 32 : ANAS_GPU_BLOCK / 32;
  plan->across = power_of_two_above((plan->points + plan->lanes - 1) / plan->lanes);
  if (plan->across > limit) plan->across = limit;
  if (!plan->columns && plan->terms >= 1024) plan->across = 1;
  plan->down = ANAS_GPU_BLOCK / plan->across;
  int64_t block = plan->across * plan->lanes, blocks = (plan->points + block - 1) / block;
  int64_t most = plan->terms / (plan->down * 4); // a thread takes at least four terms
  plan->splits = WANTED_BLOCKS / blocks;
  if (plan->splits > most) plan->splits = most;
  if (plan->splits < 1) plan->splits = 1;
  plan->terms_of_split = (plan->terms + plan->splits - 1) / plan->splits;
  plan->splits = (plan->terms + plan->terms_of_split - 1) / plan->terms_of_split;
}

// ---- parts of both kernels

static MlirValue neutral(struct anas_gpu_function *f, int o, int lanes) {
  const struct anas_combiner *combiner = f->emit->combiner[o];
  MlirType element = f->emit->nest.operand[o].element;
  MlirAttribute value = combiner->is_float ? mlirFloatAttrDoubleGet(f->code.context, element, combiner->neutral)
                                           : mlirIntegerAttrGet(element, (int64_t)combiner->neutral);
  return anas_code_splat(&f->code, anas_code_vector(lanes, element), value);
}

static MlirValue combine(struct anas_gpu_function *f, int o, MlirValue a, MlirValue b) {
  return anas_code_binary(&f->code, f->emit->combiner[o]->op, a, b);
}

// Shared memory and the workspace hold f32; other words travel as their bits.
static MlirValue as_f32(struct anas_gpu_function *f, MlirValue vector) {
  int lanes = (int)mlirShapedTypeGetDimSize(mlirValueGetType(vector), 0);
  MlirType type = anas_code_vector(lanes, f->code.f32);
  return mlirTypeEqual(mlirValueGetType(vector), type) ? vector
                                                       : anas_code_unary(&f->code, "arith.bitcast", vector, type);
}

static MlirValue from_f32(struct anas_gpu_function *f, MlirValue vector, int o) {
  int lanes = (int)mlirShapedTypeGetDimSize(mlirValueGetType(vector), 0);
  MlirType type = anas_code_vector(lanes, f->emit->nest.operand[o].element);
  return mlirTypeEqual(mlirValueGetType(vector), type) ? vector
                                                       : anas_code_unary(&f->code, "arith.bitcast", vector, type);
}

struct place { // of a thread in its block
  MlirValue across, down;
};

static struct place locate(struct anas_gpu_function *f, const struct plan *plan, bool columns) {
  MlirValue fast = anas_gpu_rem(f, f->thread, columns ? plan->across : plan->down);
  MlirValue slow = anas_gpu_div(f, f->thread, columns ? plan->across : plan->down);
  return columns ? (struct place){fast, slow} : (struct place){slow, fast};
}

// Combines value[o] over the threads along the terms; those with down = 0 hold the result.
static void combine_block(struct anas_gpu_function *f, const struct plan *plan, struct place place, MlirValue *value) {
  const struct anas_cpu_nest *nest = &f->emit->nest;
  int64_t row = plan->across * plan->lanes, size = row * plan->down;
  MlirValue at = anas_gpu_add(f, anas_gpu_scale(f, place.down, row), anas_gpu_scale(f, place.across, plan->lanes));
  for (int o = nest->num_in; o < nest->num_operands; o++)
    anas_gpu_store(f, as_f32(f, value[o]), f->shared, anas_gpu_offset(f, at, (o - nest->num_in) * size));
  for (int64_t half = plan->down / 2; half >= 1; half /= 2) {
    anas_gpu_barrier(f);
    struct anas_code_scope guard = anas_code_if(&f->code, anas_gpu_less(f, place.down, half), false);
    for (int o = nest->num_in; o < nest->num_operands; o++) {
      MlirValue mine = anas_gpu_offset(f, at, (o - nest->num_in) * size);
      MlirValue a = from_f32(f, anas_gpu_load(f, f->shared, mine, plan->lanes), o);
      MlirValue b = from_f32(f, anas_gpu_load(f, f->shared, anas_gpu_offset(f, mine, half * row), plan->lanes), o);
      anas_gpu_store(f, as_f32(f, combine(f, o, a, b)), f->shared, mine);
    }
    anas_code_end(&f->code, &guard, 0, NULL);
  }
  for (int o = nest->num_in; o < nest->num_operands; o++)
    value[o] =
        from_f32(f, anas_gpu_load(f, f->shared, anas_gpu_offset(f, at, (o - nest->num_in) * size), plan->lanes), o);
}

// Stores the combined values of a point where down = 0 and the point exists.
static void store_results(struct anas_gpu_function *f, const struct plan *plan, struct place place, MlirValue point,
                          MlirValue split, const MlirValue *value) {
  const struct anas_cpu_nest *nest = &f->emit->nest;
  MlirValue first = anas_gpu_less(f, place.down, 1), exists = anas_gpu_less(f, point, plan->points);
  MlirValue both = anas_code_binary(&f->code, "arith.andi", first, exists);
  struct anas_code_scope guard = anas_code_if(&f->code, both, false);
  MlirValue digit[ANAS_CPU_LOOPS] = {{0}};
  anas_gpu_digits(f, point, nest, plan->point, plan->num_points, digit);
  for (int o = nest->num_in; o < nest->num_operands; o++) {
    const struct anas_cpu_operand *output = &nest->operand[o];
    if (!mlirValueIsNull(split)) {
      MlirValue row = anas_gpu_offset(f, split, (o - nest->num_in) * plan->splits);
      anas_gpu_store(f, as_f32(f, value[o]), f->workspace,
                     anas_gpu_add(f, anas_gpu_scale(f, row, plan->points), point));
      continue;
    }
    MlirValue address = anas_gpu_address(f, output, digit, nest->num_loops);
    MlirValue initial = output->filled ? anas_gpu_fill_vector(f, output, plan->lanes)
                                       : anas_gpu_load(f, f->operand[o], address, plan->lanes);
    anas_gpu_store(f, combine(f, o, initial, value[o]), f->operand[o], address);
  }
  anas_code_end(&f->code, &guard, 0, NULL);
}

// ---- first kernel: terms of the nest

static anas_status emit_term(struct anas_gpu_function *f, const struct plan *plan, const MlirValue *digit,
                             const MlirValue *accumulator, MlirValue *yield) {
  const struct anas_cpu_nest *nest = &f->emit->nest;
  int fastest = plan->num_points ? plan->point[plan->num_points - 1] : -1;
  struct anas_cpu_body body = {.code = &f->code, .nest = nest, .lanes = plan->lanes, .lane_loop = -1};
  if (plan->lanes > 1) body.lane_loop = fastest;
  for (int l = 0; l < nest->num_loops; l++)
    if (nest->indexed[l]) body.iv[l] = anas_gpu_index(f, digit[l]);
  for (int o = 0; o < nest->num_in; o++) {
    MlirValue address = anas_gpu_address(f, &nest->operand[o], digit, nest->num_loops);
    bool vector = plan->lanes > 1 && nest->operand[o].stride[fastest] != 0;
    body.arg[o] = anas_gpu_load(f, f->operand[o], address, vector ? plan->lanes : 1);
    if (!vector && plan->lanes > 1) body.arg[o] = anas_gpu_splat(f, anas_gpu_extract(f, body.arg[o], 0), plan->lanes);
  }
  for (int o = nest->num_in; o < nest->num_operands; o++)
    body.arg[o] = accumulator[o - nest->num_in];
  return anas_cpu_body_emit(&body, yield);
}

static anas_status emit_terms(struct anas_gpu_emit *emit, const struct plan *plan) {
  const struct anas_cpu_nest *nest = &emit->nest;
  int num_out = nest->num_operands - nest->num_in;
  int64_t width = plan->across * plan->lanes;
  struct anas_gpu_shape shape = {.suffix = "",
                                 .grid = {(plan->points + width - 1) / width, plan->splits, 1},
                                 .shared = num_out * ANAS_GPU_BLOCK * plan->lanes,
                                 .workspace = plan->splits > 1 ? num_out * plan->splits * plan->points : 0};
  struct anas_gpu_function f;
  ANAS_RETURN_IF_ERROR(anas_gpu_begin(emit, &shape, &f));
  struct place place = locate(&f, plan, plan->columns);
  MlirValue point =
      anas_gpu_add(&f, anas_gpu_scale(&f, f.block[0], width), anas_gpu_scale(&f, place.across, plan->lanes));
  // Threads without a point work on the last one and do not store.
  MlirValue inside = anas_gpu_min(&f, point, plan->points - plan->lanes);
  MlirValue begin = anas_gpu_scale(&f, f.block[1], plan->terms_of_split), end = anas_gpu_i32(&f, plan->terms);
  if (plan->splits > 1) end = anas_gpu_min(&f, anas_gpu_offset(&f, begin, plan->terms_of_split), plan->terms);
  MlirValue digit[ANAS_CPU_LOOPS] = {{0}}, value[ANAS_CPU_OPERANDS], accumulator[ANAS_CPU_OPERANDS];
  anas_gpu_digits(&f, inside, nest, plan->point, plan->num_points, digit);
  for (int i = 0; i < num_out; i++)
    accumulator[i] = neutral(&f, nest->num_in + i, plan->lanes);
  struct anas_code_scope loop =
      anas_gpu_for(&f, anas_gpu_add(&f, begin, place.down), end, plan->down, num_out, accumulator);
  anas_gpu_digits(&f, loop.iv, nest, plan->term, plan->num_terms, digit);
  for (int i = 0; i < num_out; i++)
    accumulator[i] = anas_code_iter(&loop, i);
  MlirValue yield[ANAS_CPU_OPERANDS];
  anas_status status = emit_term(&f, plan, digit, accumulator, yield);
  if (status != ANAS_OK) return status;
  anas_code_end(&f.code, &loop, num_out, yield);
  for (int i = 0; i < num_out; i++)
    value[nest->num_in + i] = anas_code_result(&loop, i);
  combine_block(&f, plan, place, value);
  MlirValue none = {0};
  store_results(&f, plan, place, point, plan->splits > 1 ? f.block[1] : none, value);
  anas_gpu_end(&f);
  return ANAS_OK;
}

// ---- second kernel: partial results of the splits

static anas_status emit_partials(struct anas_gpu_emit *emit, const struct plan *first) {
  const struct anas_cpu_nest *nest = &emit->nest;
  int num_out = nest->num_operands - nest->num_in;
  struct plan plan = *first;
  plan.lanes = 1;
  plan.columns = true;
  plan.across = plan.points < 32 ? power_of_two_above(plan.points) : 32;
  plan.down = ANAS_GPU_BLOCK / plan.across;
  struct anas_gpu_shape shape = {.suffix = "_sum",
                                 .grid = {(plan.points + plan.across - 1) / plan.across, 1, 1},
                                 .shared = num_out * ANAS_GPU_BLOCK,
                                 .workspace = num_out * plan.splits * plan.points};
  struct anas_gpu_function f;
  ANAS_RETURN_IF_ERROR(anas_gpu_begin(emit, &shape, &f));
  struct place place = locate(&f, &plan, true);
  MlirValue point = anas_gpu_add(&f, anas_gpu_scale(&f, f.block[0], plan.across), place.across);
  MlirValue inside = anas_gpu_min(&f, point, plan.points - 1);
  MlirValue value[ANAS_CPU_OPERANDS], carried[ANAS_CPU_OPERANDS], next[ANAS_CPU_OPERANDS];
  for (int i = 0; i < num_out; i++)
    carried[i] = neutral(&f, nest->num_in + i, 1);
  struct anas_code_scope loop =
      anas_gpu_for(&f, place.down, anas_gpu_i32(&f, plan.splits), plan.down, num_out, carried);
  for (int i = 0; i < num_out; i++) {
    MlirValue row = anas_gpu_offset(&f, loop.iv, i * plan.splits);
    MlirValue part = anas_gpu_load(&f, f.workspace, anas_gpu_add(&f, anas_gpu_scale(&f, row, plan.points), inside), 1);
    next[i] = combine(&f, nest->num_in + i, anas_code_iter(&loop, i), from_f32(&f, part, nest->num_in + i));
  }
  anas_code_end(&f.code, &loop, num_out, next);
  for (int i = 0; i < num_out; i++)
    value[nest->num_in + i] = anas_code_result(&loop, i);
  combine_block(&f, &plan, place, value);
  store_results(&f, &plan, place, point, (MlirValue){0}, value);
  anas_gpu_end(&f);
  return ANAS_OK;
}

anas_status anas_gpu_reduce(struct anas_gpu_emit *emit, bool *out_done) {
  static const bool in_registers[ANAS_CPU_OPERANDS];
  struct plan plan;
  *out_done = classify(emit, &plan);
  if (!*out_done) return ANAS_OK;
  choose(&emit->nest, &plan);
  emit->out->form = plan.columns ? "column reduction" : "row reduction";
  ANAS_RETURN_IF_ERROR(anas_gpu_fill(emit, in_registers));
  ANAS_RETURN_IF_ERROR(emit_terms(emit, &plan));
  return plan.splits > 1 ? emit_partials(emit, &plan) : ANAS_OK;
}
