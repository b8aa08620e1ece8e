// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Contractions in bf16: which reduction to take by twos, whether it pays, and the parts of the kernel.
#include "passes/cpu/bf16.h"

#include "passes/cpu/contraction.h"

#include <mlir-c/BuiltinTypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- planning

static int64_t gcd(int64_t a, int64_t b) {
  while (b) {
    int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

static int64_t num_pairs(const struct anas_bf16_copy *copy) {
  return (copy->extent + 1) / 2;
}

static int64_t copy_elements(const struct anas_bf16_copy *copy) {
  return copy->outer * num_pairs(copy) * copy->inner;
}

// Whether the buffer can be seen as pairs of neighbours: everything moves by even numbers of elements.
static bool is_even(const struct anas_cpu_nest *nest, const struct anas_cpu_operand *operand, int loop) {
  if (operand->stride[loop] != 1 || nest->extent[loop] % 2 || operand->elements % 2 || operand->offset % 2)
    return false;
  for (int l = 0; l < nest->num_loops; l++)
    if (l != loop && operand->stride[l] % 2) return false;
  return true;
}

// Sees an operand as [outer][depth][inner] with `loop` going through depth, and all others through either of the
// others. False if they overlap, like positions and taps of a convolution.
static bool plan_copy(const struct anas_cpu_nest *nest, int o, int loop, struct anas_bf16_copy *out) {
  const struct anas_cpu_operand *operand = &nest->operand[o];
  int64_t inner = operand->stride[loop], extent = nest->extent[loop];
  if (inner <= 0) return false;
  if (is_even(nest, operand, loop)) {
    *out = (struct anas_bf16_copy){.operand = o, .outer = 1, .depth = operand->elements, .inner = 1};
    out->extent = out->depth;
    return true;
  }
  int64_t period = operand->elements, low = operand->offset % inner, high = low;
  for (int l = 0; l < nest->num_loops; l++) {
    int64_t stride = operand->stride[l];
    if (l == loop || stride == 0) continue;
    if (llabs(stride) >= inner)
      period = gcd(period, llabs(stride));
    else
      *(stride < 0 ? &low : &high) += stride * (nest->extent[l] - 1);
  }
  int64_t depth = period / inner, first = operand->offset % period / inner;
  if (period % inner || low < 0 || high >= inner || first + extent > depth) return false;
  *out = (struct anas_bf16_copy){o, operand->elements / period, depth, inner, first, extent, 0};
  return true;
}

// The operand of the nest of pairs.
static void set_operand(struct anas_bf16_plan *plan, const struct anas_bf16_copy *copy) {
  struct anas_cpu_nest *nest = &plan->nest;
  struct anas_cpu_operand *operand = &nest->operand[copy->operand];
  operand->elements = plan->scratch;
  bool even = copy->outer == 1 && copy->inner == 1 && copy->extent == copy->depth;
  int64_t period = copy->depth * copy->inner, copied = num_pairs(copy) * copy->inner;
  for (int l = 0; l < nest->num_loops; l++) {
    int64_t *stride = &operand->stride[l];
    if (l == plan->loop) continue; // the same number of elements, now pairs
    if (even)
      *stride /= 2;
    else if (llabs(*stride) >= copy->inner)
      *stride = *stride / period * copied;
  }
  operand->offset =
      copy->at + (even ? operand->offset / 2 : operand->offset / period * copied + operand->offset % copy->inner);
}

static bool plan_pairs(const struct anas_cpu_nest *nest, int loop, struct anas_bf16_plan *out) {
  memset(out, 0, sizeof *out);
  out->loop = loop;
  for (int i = 0; i < 2; i++)
    if (!plan_copy(nest, i, loop, &out->copy[i])) return false;
  // Copies start at a cache line, and not where the other one would compete for the same cache sets.
  for (int i = 0; i < 2; i++) {
    out->copy[i].at = out->scratch;
    out->scratch += (copy_elements(&out->copy[i]) + 31) / 16 * 16;
  }
  out->nest = *nest;
  out->nest.pairs = true;
  out->nest.extent[loop] = (nest->extent[loop] + 1) / 2;
  for (int i = 0; i < 2; i++)
    set_operand(out, &out->copy[i]);
  return true;
}

// ---- choice

// Cycles of a thread.
#define COPY_CYCLES 0.5 // of an element that is rounded: it comes from memory, and half of it goes back there
#define PARTS_CYCLES 4000.0
#define GAIN 0.95 // expected time, of the product in f32, below which it is done

// Multiplications, with those of lanes that are not used.
static double padded_macs(const struct anas_cpu_nest *nest, const struct anas_contraction *contraction) {
  int64_t lane = nest->extent[contraction->lane], lanes = contraction->lanes;
  return (double)anas_cpu_nest_iterations(nest) / (double)lane * (double)((lane + lanes - 1) / lanes * lanes);
}

static double f32_cycles(const struct anas_cpu_nest *nest, const struct anas_contraction *contraction) {
  return padded_macs(nest, contraction) / (2.0 * contraction->lanes);
}

static void set_cycles(struct anas_bf16_plan *plan, const struct anas_contraction *contraction,
                       const struct anas_cpu_target *target) {
  plan->cycles = 2 / target->bf16_speed * f32_cycles(&plan->nest, contraction) + PARTS_CYCLES;
  for (int i = 0; i < 2; i++)
    plan->cycles += COPY_CYCLES * 2 * (double)copy_elements(&plan->copy[i]);
}

bool anas_bf16_plan(const struct anas_cpu_nest *nest, const struct anas_cpu_target *target,
                    struct anas_bf16_plan *out) {
  struct anas_contraction contraction;
  bool found = false;
  if (target->bf16 == ANAS_BF16_OFF || !anas_contraction_plan(nest, target, &contraction)) return false;
  double limit = target->bf16 == ANAS_BF16_ALWAYS ? 1e300 : GAIN * f32_cycles(nest, &contraction);
  for (int l = 0; l < nest->num_loops; l++) {
    struct anas_bf16_plan plan;
    if (!nest->reduction[l] || !plan_pairs(nest, l, &plan) || !anas_contraction_plan(&plan.nest, target, &contraction))
      continue;
    set_cycles(&plan, &contraction, target);
    if (plan.cycles >= limit) continue;
    limit = plan.cycles;
    *out = plan;
    found = true;
  }
  return found;
}

// ---- as an algorithm of the code generator

static anas_status emit(struct anas_code *code, const struct anas_cpu_nest *nest, const struct anas_cpu_part *part,
                        struct anas_cpu_range *out) {
  struct anas_bf16_plan plan;
  if (!anas_bf16_plan(nest, code->target, &plan))
    return anas_fail(ANAS_INTERNAL, "a contraction was planned in bf16 and then was not");
  if (part->index == 2) {
    for (int i = 0; i < 2; i++)
      plan.nest.operand[i].memref = part->scratch;
    if (!anas_cpu_contraction(code, &plan.nest, part->begin, part->end, out))
      return anas_fail(ANAS_INTERNAL, "the contraction of pairs of bf16 was planned and then was not");
    return ANAS_OK;
  }
  const struct anas_bf16_copy *copy = &plan.copy[part->index];
  const struct anas_cpu_operand *operand = &nest->operand[copy->operand];
  MlirValue source = anas_code_flatten(code, operand->memref, operand->elements, operand->element);
  anas_bf16_copy_emit(code, copy, source, part->scratch, part->begin, part->end);
  out->iterations = anas_bf16_copy_items(copy);
  out->parallel = out->iterations > 1 && (double)copy_elements(copy) * 2 * COPY_CYCLES > PARTS_CYCLES;
  snprintf(out->plan, sizeof out->plan, "pairs of bf16: %lld x %lld x %lld", (long long)copy->outer,
           (long long)num_pairs(copy), (long long)copy->inner);
  return ANAS_OK;
}

bool anas_cpu_bf16(const struct anas_cpu_nest *nest, const struct anas_cpu_target *target,
                   struct anas_cpu_algorithm *out) {
  struct anas_bf16_plan plan;
  if (!anas_bf16_plan(nest, target, &plan)) return false;
  *out = (struct anas_cpu_algorithm){.num_parts = 3, .scratch_bytes = 4 * plan.scratch, .emit = emit};
  return true;
}

double anas_cpu_direct_cycles(const struct anas_cpu_nest *nest, const struct anas_cpu_target *target) {
  struct anas_bf16_plan plan;
  if (anas_bf16_plan(nest, target, &plan)) return plan.cycles;
  return (double)anas_cpu_nest_iterations(nest) / (2.0 * target->lanes);
}
