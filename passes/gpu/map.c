// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Any nest: loops whose iterations write different elements are spread over threads, one output point or four
// neighbours a thread; the others run inside the thread.
#include "passes/gpu/emit.h"

#include <stdlib.h>
#include <string.h>

struct plan {
  int num_points, point[ANAS_CPU_LOOPS]; // slowest first
  int num_inner, inner[ANAS_CPU_LOOPS];  // loops inside the thread
  bool in_memory[ANAS_CPU_OPERANDS];     // outputs that move in an inner loop
  int lanes;                             // of the fastest point loop
  int64_t threads;
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
    if (o < nest->num_in && nest->operand[o].stride[loop] == 0) continue;
    if (!anas_gpu_aligned(nest, o, loop)) return false;
  }
  return true;
}

static void choose(const struct anas_cpu_nest *nest, struct plan *plan) {
  *plan = (struct plan){.lanes = 1, .threads = 1};
  for (int l = 0; l < nest->num_loops; l++) {
    if (nest->split[l])
      plan->point[plan->num_points++] = l;
    else
      plan->inner[plan->num_inner++] = l;
  }
  sort_loops(nest, nest->num_in, plan->point, plan->num_points);
  sort_loops(nest, 0, plan->inner, plan->num_inner);
  if (plan->num_points && can_vectorise(nest, plan->point[plan->num_points - 1])) plan->lanes = 4;
  for (int i = 0; i < plan->num_points; i++)
    plan->threads *= nest->extent[plan->point[i]];
  plan->threads /= plan->lanes;
  for (int o = nest->num_in; o < nest->num_operands; o++)
    for (int i = 0; i < plan->num_inner; i++)
      if (nest->operand[o].stride[plan->inner[i]] != 0) plan->in_memory[o] = true;
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

static anas_status emit_inner(struct anas_gpu_function *f, const struct plan *plan, int depth, MlirValue *digit,
                              MlirValue *value) {
  if (depth == plan->num_inner) return emit_body(f, plan, digit, value);
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

static anas_status emit_point(struct anas_gpu_function *f, const struct plan *plan, MlirValue number) {
  const struct anas_cpu_nest *nest = &f->emit->nest;
  MlirValue digit[ANAS_CPU_LOOPS] = {{0}}, value[ANAS_CPU_OPERANDS] = {{0}};
  if (plan->lanes > 1) number = anas_gpu_scale(f, number, plan->lanes);
  anas_gpu_digits(f, number, nest, plan->point, plan->num_points, digit);
  for (int o = nest->num_in; o < nest->num_operands; o++) {
    if (plan->in_memory[o]) continue;
    const struct anas_cpu_operand *output = &nest->operand[o];
    if (output->filled)
      value[o] = anas_gpu_fill_vector(f, output, plan->lanes);
    else if (anas_gpu_reads(nest, o) || plan->num_inner)
      value[o] = load_operand(f, plan, o, digit);
  }
  ANAS_RETURN_IF_ERROR(emit_inner(f, plan, 0, digit, value));
  for (int o = nest->num_in; o < nest->num_operands; o++)
    if (!plan->in_memory[o])
      anas_gpu_store(f, value[o], f->operand[o], anas_gpu_address(f, &nest->operand[o], digit, nest->num_loops));
  return ANAS_OK;
}

anas_status anas_gpu_map(struct anas_gpu_emit *emit) {
  struct plan plan;
  choose(&emit->nest, &plan);
  emit->out->form = plan.lanes > 1 ? "map x4" : plan.num_inner ? "map, loops in the thread" : "map";
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
