// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Any nest: loops whose iterations write different elements are spread over threads, one output point or four
// neighbours a thread; the others run inside the thread. Overlapping windows that are summed into an output (gradients
// of pooling) are turned around: each thread looks for the windows that reach its point.
#include "passes/gpu/emit.h"

#include <stdlib.h>
#include <string.h>

// Loops that move the output together, by scale * window + tap: the point y belongs to tap t of window (y - t) / scale
// if that is a whole number of a window.
struct windows {
  int window, tap;
  int64_t scale;
};

struct plan {
  struct anas_cpu_nest points; // the nest with the extents of the points: that of a tap is the reach of all windows
  int num_windows;
  struct windows windows[4];
  int num_points, point[ANAS_CPU_LOOPS]; // slowest first; taps stand for their windows
  int num_inner, inner[ANAS_CPU_LOOPS];  // loops inside the thread
  bool in_memory[ANAS_CPU_OPERANDS];     // outputs that move in an inner loop
  int lanes;                             // of the fastest point loop
  int64_t threads;
  MlirValue at[ANAS_CPU_LOOPS]; // state of emission: the digits of the thread's point
};

static int64_t magnitude(int64_t x) {
  return x < 0 ? -x : x;
}

// Sorts loops by the distance an iteration moves in the output, the largest first.
static void sort_loops(const struct anas_cpu_nest *nest, int operand, int *loops, int num) {
  for (int i = 1; i < num; i++)
    for (int j = i; j > 0; j--) {
      int64_t a = magnitude(nest->operand[operand].stride[loops[j - 1]]),
              b = magnitude(nest->operand[operand].stride[loops[j]]);
      if (a >= b) break;
      int swap = loops[j];
      loops[j] = loops[j - 1];
      loops[j - 1] = swap;
    }
}

// Four elements a thread: everything the body touches moves by one element or not at all.
static bool can_vectorise(const struct anas_cpu_nest *nest, int loop) {
  for (int o = 0; o < nest->num_operands; o++) {
    if (o < nest->num_in && !anas_cpu_moves(nest, o, loop)) continue;
    if (!anas_gpu_aligned(nest, o, loop)) return false;
  }
  return true;
}

// True if the points of the plan are different elements of the output.
static bool distinct(const struct plan *plan, int output) {
  const struct anas_cpu_operand *operand = &plan->points.operand[output];
  int64_t span = 1;
  for (int i = plan->num_points - 1; i >= 0; i--) {
    int64_t stride = operand->stride[plan->point[i]];
    if (stride < span) return false;
    span += stride * (plan->points.extent[plan->point[i]] - 1);
  }
  return true;
}

// Pairs all loops that move the only output and are not split, from the smallest stride up; false if that fails.
static bool choose_windows(const struct anas_gpu_emit *emit, struct plan *plan) {
  const struct anas_cpu_nest *nest = &emit->nest;
  int output = nest->num_in, num = 0, loop[ANAS_CPU_LOOPS];
  if (nest->num_operands != output + 1 || !emit->combiner[output]) return false;
  for (int i = plan->num_inner - 1; i >= 0; i--)
    if (nest->operand[output].stride[plan->inner[i]] != 0) loop[num++] = plan->inner[i];
  sort_loops(nest, output, loop, num);
  if (num == 0 || num % 2 || num > 8) return false;
  for (int i = num - 1; i > 0; i -= 2) {
    struct windows *windows = &plan->windows[plan->num_windows++];
    int64_t small = nest->operand[output].stride[loop[i]], large = nest->operand[output].stride[loop[i - 1]];
    if (small <= 0 || large % small) return false;
    *windows = (struct windows){.window = loop[i - 1], .tap = loop[i], .scale = large / small};
    plan->points.extent[loop[i]] = windows->scale * (nest->extent[loop[i - 1]] - 1) + nest->extent[loop[i]];
    plan->point[plan->num_points++] = loop[i];
  }
  sort_loops(nest, output, plan->point, plan->num_points);
  int kept = 0;
  for (int i = 0; i < plan->num_inner; i++) {
    bool is_window = false;
    for (int w = 0; w < plan->num_windows; w++)
      if (plan->windows[w].window == plan->inner[i]) is_window = true;
    if (!is_window) plan->inner[kept++] = plan->inner[i];
  }
  plan->num_inner = kept;
  return distinct(plan, output);
}

static void choose(const struct anas_gpu_emit *emit, struct plan *plan) {
  const struct anas_cpu_nest *nest = &emit->nest;
  *plan = (struct plan){.points = *nest, .lanes = 1, .threads = 1};
  for (int l = 0; l < nest->num_loops; l++) {
    if (nest->split[l])
      plan->point[plan->num_points++] = l;
    else
      plan->inner[plan->num_inner++] = l;
  }
  struct plan with_windows = *plan;
  if (choose_windows(emit, &with_windows)) *plan = with_windows;
  sort_loops(nest, nest->num_in, plan->point, plan->num_points);
  sort_loops(nest, 0, plan->inner, plan->num_inner);
  int fastest = plan->num_points ? plan->point[plan->num_points - 1] : -1;
  if (fastest >= 0 && nest->split[fastest] && can_vectorise(nest, fastest)) plan->lanes = 4;
  for (int i = 0; i < plan->num_points; i++)
    plan->threads *= plan->points.extent[plan->point[i]];
  plan->threads /= plan->lanes;
  for (int o = nest->num_in; o < nest->num_operands; o++)
    for (int i = 0; i < plan->num_inner; i++)
      if (nest->operand[o].stride[plan->inner[i]] != 0 && !plan->num_windows) plan->in_memory[o] = true;
}

static MlirValue load_operand(struct anas_gpu_function *f, const struct plan *plan, int o, const MlirValue *digit) {
  const struct anas_cpu_nest *nest = &f->emit->nest;
  const struct anas_cpu_operand *operand = &nest->operand[o];
  MlirValue address = anas_gpu_address(f, operand, digit, nest->num_loops);
  bool moves = plan->lanes > 1 && operand->stride[plan->point[plan->num_points - 1]] != 0;
  if (moves || plan->lanes == 1) return anas_gpu_load(f, f->operand[o], address, plan->lanes);
  MlirValue scalar = anas_gpu_extract(f, anas_gpu_load(f, f->operand[o], address, 1), 0);
  return anas_gpu_splat(f, scalar, plan->lanes);
}

// The body for one point of the inner loops; value holds the outputs that are kept in registers.
static anas_status emit_body(struct anas_gpu_function *f, const struct plan *plan, const MlirValue *digit,
                             MlirValue *value) {
  const struct anas_cpu_nest *nest = &f->emit->nest;
  struct anas_cpu_body body = {.code = &f->code, .nest = nest, .lanes = plan->lanes, .lane_loop = -1};
  if (plan->lanes > 1) body.lane_loop = plan->point[plan->num_points - 1];
  for (int l = 0; l < nest->num_loops; l++)
    if (nest->indexed[l]) body.iv[l] = anas_gpu_index(f, digit[l]);
  for (int o = 0; o < nest->num_operands; o++) {
    if (o < nest->num_in || (plan->in_memory[o] && anas_gpu_reads(nest, o)))
      body.arg[o] = load_operand(f, plan, o, digit);
    else
      body.arg[o] = value[o];
  }
  MlirValue yield[ANAS_CPU_OPERANDS];
  ANAS_RETURN_IF_ERROR(anas_cpu_body_emit(&body, yield));
  for (int o = nest->num_in; o < nest->num_operands; o++) {
    if (plan->in_memory[o])
      anas_gpu_store(f, yield[o - nest->num_in], f->operand[o],
                     anas_gpu_address(f, &nest->operand[o], digit, nest->num_loops));
    else
      value[o] = yield[o - nest->num_in];
  }
  return ANAS_OK;
}

// The body if all windows of the taps exist; else the accumulators stay. Points are in digit[tap] of the caller, taps
// in digit[tap] here.
static anas_status emit_if_reached(struct anas_gpu_function *f, const struct plan *plan, MlirValue *digit,
                                   MlirValue *value) {
  if (!plan->num_windows) return emit_body(f, plan, digit, value);
  const struct anas_cpu_nest *nest = &f->emit->nest;
  MlirValue reached = {0};
  for (int w = 0; w < plan->num_windows; w++) {
    const struct windows *windows = &plan->windows[w];
    MlirValue distance = anas_gpu_sub(f, plan->at[windows->tap], digit[windows->tap]);
    MlirValue window = anas_gpu_div(f, distance, windows->scale); // of a negative distance: too large
    MlirValue rest = anas_gpu_sub(f, distance, anas_gpu_scale(f, window, windows->scale));
    MlirValue exists =
        anas_code_compare(&f->code, false, ANAS_CMPI_ULT, window, anas_gpu_i32(f, nest->extent[windows->window]));
    MlirValue whole = anas_code_compare(&f->code, false, ANAS_CMPI_EQ, rest, anas_gpu_i32(f, 0));
    exists = anas_code_binary(&f->code, "arith.andi", exists, whole);
    reached = mlirValueIsNull(reached) ? exists : anas_code_binary(&f->code, "arith.andi", reached, exists);
    digit[windows->window] = anas_code_select(&f->code, exists, window, anas_gpu_i32(f, 0));
  }
  MlirValue before = value[nest->num_in];
  ANAS_RETURN_IF_ERROR(emit_body(f, plan, digit, value));
  value[nest->num_in] = anas_code_select(&f->code, reached, value[nest->num_in], before);
  return ANAS_OK;
}

static anas_status emit_inner(struct anas_gpu_function *f, const struct plan *plan, int depth, MlirValue *digit,
                              MlirValue *value) {
  if (depth == plan->num_inner) return emit_if_reached(f, plan, digit, value);
  const struct anas_cpu_nest *nest = &f->emit->nest;
  int loop = plan->inner[depth], num = 0, kept[ANAS_CPU_OPERANDS];
  MlirValue inits[ANAS_CPU_OPERANDS];
  for (int o = nest->num_in; o < nest->num_operands; o++) {
    if (plan->in_memory[o]) continue;
    inits[num] = value[o];
    kept[num++] = o;
  }
  struct anas_code_scope scope =
      anas_gpu_for(f, anas_gpu_i32(f, 0), anas_gpu_i32(f, nest->extent[loop]), 1, num, inits);
  digit[loop] = scope.iv;
  for (int i = 0; i < num; i++)
    value[kept[i]] = anas_code_iter(&scope, i);
  ANAS_RETURN_IF_ERROR(emit_inner(f, plan, depth + 1, digit, value));
  for (int i = 0; i < num; i++)
    inits[i] = value[kept[i]];
  anas_code_end(&f->code, &scope, num, inits);
  for (int i = 0; i < num; i++)
    value[kept[i]] = anas_code_result(&scope, i);
  digit[loop] = (MlirValue){0};
  return ANAS_OK;
}

static anas_status emit_point(struct anas_gpu_function *f, struct plan *plan, MlirValue number) {
  const struct anas_cpu_nest *nest = &f->emit->nest;
  MlirValue digit[ANAS_CPU_LOOPS] = {{0}}, value[ANAS_CPU_OPERANDS] = {{0}};
  if (plan->lanes > 1) number = anas_gpu_scale(f, number, plan->lanes);
  anas_gpu_digits(f, number, &plan->points, plan->point, plan->num_points, digit);
  memcpy(plan->at, digit, sizeof plan->at);
  for (int o = nest->num_in; o < nest->num_operands; o++) {
    if (plan->in_memory[o]) continue;
    const struct anas_cpu_operand *output = &nest->operand[o];
    if (output->filled)
      value[o] = anas_gpu_fill_vector(f, output, plan->lanes);
    else if (anas_gpu_reads(nest, o) || plan->num_inner)
      value[o] = load_operand(f, plan, o, digit);
  }
  ANAS_RETURN_IF_ERROR(emit_inner(f, plan, 0, digit, value));
  memcpy(digit, plan->at, sizeof plan->at);
  for (int o = nest->num_in; o < nest->num_operands; o++)
    if (!plan->in_memory[o])
      anas_gpu_store(f, value[o], f->operand[o], anas_gpu_address(f, &nest->operand[o], digit, nest->num_loops));
  return ANAS_OK;
}

anas_status anas_gpu_map(struct anas_gpu_emit *emit) {
  struct plan plan;
  choose(emit, &plan);
  emit->out->form = plan.num_windows ? "map, windows turned around"
                    : plan.lanes > 1 ? "map x4"
                    : plan.num_inner ? "map, loops in the thread"
                                     : "map";
  ANAS_RETURN_IF_ERROR(anas_gpu_fill(emit, plan.in_memory));
  int64_t blocks = (plan.threads + ANAS_GPU_BLOCK - 1) / ANAS_GPU_BLOCK;
  struct anas_gpu_shape shape = {.suffix = "", .grid = {blocks, 1, 1}};
  struct anas_gpu_function f;
  ANAS_RETURN_IF_ERROR(anas_gpu_begin(emit, &shape, &f));
  MlirValue number = anas_gpu_add(&f, anas_gpu_scale(&f, f.block[0], ANAS_GPU_BLOCK), f.thread);
  struct anas_code_scope guard = anas_code_if(&f.code, anas_gpu_less(&f, number, plan.threads), false);
  anas_status status = emit_point(&f, &plan, number);
  anas_code_end(&f.code, &guard, 0, NULL);
  anas_gpu_end(&f);
  return status;
}
