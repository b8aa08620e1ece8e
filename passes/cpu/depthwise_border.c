// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Depthwise convolutions whose windows leave the images (and data gradients with strides, whose windows have gaps):
// reading the condition under which an element exists, and which iterations satisfy it.
#include "passes/cpu/depthwise.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <string.h>

struct linear { // of loops of the nest
  int64_t constant, coef[ANAS_CPU_LOOPS];
};

static bool named(MlirValue value, const char *name) {
  return mlirValueIsAOpResult(value) &&
         strcmp(mlirIdentifierStr(mlirOperationGetName(mlirOpResultGetOwner(value))).data, name) == 0;
}

static MlirValue operand(MlirValue value, int i) {
  return mlirOperationGetOperand(mlirOpResultGetOwner(value), i);
}

static MlirAttribute attribute(MlirValue value, const char *name) {
  return mlirOperationGetAttributeByName(mlirOpResultGetOwner(value), mlirStringRefCreateFromCString(name));
}

static bool constant_of(MlirValue value, int64_t *out) {
  if (!named(value, "arith.constant") || !mlirAttributeIsAInteger(attribute(value, "value"))) return false;
  *out = mlirIntegerAttrGetValueInt(attribute(value, "value"));
  return true;
}

// Adds scale * value to out; false if it is not linear in the loops.
static bool add_linear(const struct anas_cpu_nest *nest, MlirValue value, int64_t scale, struct linear *out) {
  int64_t constant;
  if (constant_of(value, &constant)) {
    out->constant += scale * constant;
    return true;
  }
  if (named(value, "linalg.index")) {
    int loop = nest->loop_of_dim[mlirIntegerAttrGetValueInt(attribute(value, "dim"))];
    if (loop >= 0) out->coef[loop] += scale;
    return true;
  }
  if (named(value, "arith.addi"))
    return add_linear(nest, operand(value, 0), scale, out) && add_linear(nest, operand(value, 1), scale, out);
  if (named(value, "arith.subi"))
    return add_linear(nest, operand(value, 0), scale, out) && add_linear(nest, operand(value, 1), -scale, out);
  if (named(value, "arith.muli") && constant_of(operand(value, 1), &constant))
    return add_linear(nest, operand(value, 0), scale * constant, out);
  return false;
}

static bool compares(MlirValue value, int predicate) {
  return named(value, "arith.cmpi") && mlirIntegerAttrGetValueInt(attribute(value, "predicate")) == predicate;
}

static bool same_loops(const struct linear *linear, const struct anas_cpu_border *border) {
  for (int l = 0; l < ANAS_CPU_LOOPS; l++)
    if ((linear->coef[l] != 0) != border->loop[l]) return false;
  return true;
}

bool anas_depthwise_exists(const struct anas_depthwise_axis *axis, int64_t point, int64_t tap, int64_t *out_index) {
  int64_t e = axis->constant + axis->point_coef * point + axis->tap_coef * tap;
  *out_index = e / axis->every;
  return e >= 0 && e % axis->every == 0 && e / axis->every < axis->limit;
}

// The map gives the elements that the condition lets through.
static bool agree(const struct anas_depthwise *d, const struct anas_depthwise_axis *axis,
                  const struct anas_cpu_border *border) {
  int64_t at[ANAS_CPU_LOOPS] = {0}, points = axis->point < 0 ? 1 : d->nest->extent[axis->point],
          taps = axis->tap < 0 ? 1 : d->nest->extent[axis->tap], index;
  for (int64_t p = 0; p < points; p++)
    for (int64_t t = 0; t < taps; t++) {
      if (axis->point >= 0) at[axis->point] = p;
      if (axis->tap >= 0) at[axis->tap] = t;
      if (anas_depthwise_exists(axis, p, t, &index) && anas_cpu_border_at(d->nest, border, at) != index) return false;
    }
  return true;
}

// Reads the conditions that must hold: 0 <= e < limit * every, as one comparison without sign, and perhaps that every
// divides e. At most two borders, so at most four conditions.
struct conditions {
  int num;
  MlirValue value[4];
};

static bool collect(MlirValue value, struct conditions *out) {
  if (named(value, "arith.andi")) return collect(operand(value, 0), out) && collect(operand(value, 1), out);
  if (out->num == 4) return false;
  out->value[out->num++] = value;
  return true;
}

static bool read_axis(struct anas_depthwise *d, const struct anas_cpu_border *border, struct conditions *conditions,
                      struct anas_depthwise_axis *axis) {
  *axis = (struct anas_depthwise_axis){
      .point = -1, .tap = -1, .point_coef = 0, .tap_coef = 1, .every = 1, .weight = border->weight};
  struct linear e = {0};
  int bound = -1, rest = -1;
  for (int i = 0; i < conditions->num && bound < 0; i++) {
    MlirValue value = conditions->value[i];
    if (mlirValueIsNull(value) || !compares(value, ANAS_CMPI_ULT) || !constant_of(operand(value, 1), &axis->limit))
      continue;
    memset(&e, 0, sizeof e);
    if (add_linear(d->nest, operand(value, 0), 1, &e) && same_loops(&e, border)) bound = i;
  }
  if (bound < 0) return false;
  for (int i = 0; i < conditions->num && rest < 0; i++) {
    MlirValue value = conditions->value[i];
    int64_t zero, every;
    if (mlirValueIsNull(value) || !compares(value, ANAS_CMPI_EQ) || !constant_of(operand(value, 1), &zero) ||
        zero != 0 || !named(operand(value, 0), "arith.remui") || !constant_of(operand(operand(value, 0), 1), &every))
      continue;
    struct linear lifted = {0};
    if (!add_linear(d->nest, operand(operand(value, 0), 0), 1, &lifted) || every < 1 ||
        memcmp(lifted.coef, e.coef, sizeof e.coef) != 0 || (lifted.constant - e.constant) % every != 0)
      continue;
    rest = i;
    axis->every = every;
  }
  conditions->value[bound] = (MlirValue){0};
  if (rest >= 0) conditions->value[rest] = (MlirValue){0};
  if (axis->limit % axis->every) return false;
  axis->limit /= axis->every;
  axis->constant = e.constant;
  for (int l = 0; l < d->nest->num_loops; l++) {
    if (e.coef[l] == 0) continue;
    bool reduced = d->nest->operand[2].stride[l] == 0;
    int *loop = reduced ? &axis->tap : &axis->point;
    if (*loop >= 0 || anas_cpu_moves(d->nest, d->still, l) != reduced) return false;
    *loop = l;
    *(reduced ? &axis->tap_coef : &axis->point_coef) = e.coef[l];
  }
  return agree(d, axis, border);
}

bool anas_depthwise_read_axes(struct anas_depthwise *d, MlirValue value) {
  const struct anas_cpu_operand *dense = &d->nest->operand[d->dense];
  d->num_axes = dense->num_borders;
  if (d->nest->operand[d->still].num_borders) return false;
  if (dense->num_borders == 0) return mlirValueIsABlockArgument(value);
  if (!named(value, "arith.select") || !mlirValueIsABlockArgument(operand(value, 1))) return false;
  MlirValue zero = operand(value, 2);
  if (!named(zero, "arith.constant") || mlirFloatAttrGetValueDouble(attribute(zero, "value")) != 0) return false;
  struct conditions conditions = {0};
  if (!collect(operand(value, 0), &conditions)) return false;
  for (int b = 0; b < dense->num_borders; b++)
    if (!read_axis(d, &dense->border[b], &conditions, &d->axis[b])) return false;
  for (int i = 0; i < conditions.num; i++)
    if (!mlirValueIsNull(conditions.value[i])) return false;
  return true;
}

// ---- the iterations of one loop for an iteration of the other

static int64_t floor_div(int64_t a, int64_t b) {
  return a >= 0 ? a / b : -((b - 1 - a) / b);
}

// floor(a / b) of a number that is at least `least`: divided without sign.
static MlirValue divide(struct anas_code *code, MlirValue a, int64_t b, int64_t least) {
  if (b == 1) return a;
  int64_t rounds = least < 0 ? -floor_div(least, b) : 0;
  MlirValue lifted = anas_code_add_const(code, a, rounds * b);
  return anas_code_add_const(code, anas_code_binary(code, "arith.divui", lifted, anas_code_index(code, b)), -rounds);
}

static MlirValue negative(struct anas_code *code, MlirValue a) {
  return anas_code_binary(code, "arith.subi", anas_code_index(code, 0), a);
}

static int64_t gcd(int64_t a, int64_t b) {
  while (b) {
    int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a < 0 ? -a : a;
}

// The first iteration from `low` on, which is at most `most`, that makes every | start + coef * iteration.
static MlirValue align(struct anas_code *code, MlirValue low, int64_t most, MlirValue start, int64_t coef,
                       int64_t common, int64_t step) {
  int64_t factor = 0; // iteration = factor * start / common modulo step
  while (((coef / common) * factor + 1) % step != 0)
    factor++;
  MlirValue share = anas_code_binary(code, "arith.divui", start, anas_code_index(code, common));
  MlirValue residue =
      anas_code_binary(code, "arith.remui", anas_code_mul_const(code, share, factor), anas_code_index(code, step));
  MlirValue ahead = anas_code_add_const(code, residue, (most + step - 1) / step * step);
  ahead = anas_code_binary(code, "arith.subi", ahead, low);
  return anas_code_add(code, low, anas_code_binary(code, "arith.remui", ahead, anas_code_index(code, step)));
}

struct anas_depthwise_span anas_depthwise_span(const struct anas_depthwise *d, const struct anas_depthwise_axis *axis,
                                               int given, MlirValue iv) {
  struct anas_code *code = d->code;
  bool from_point = given == axis->point;
  int free_loop = from_point ? axis->tap : axis->point;
  int64_t coef = from_point ? axis->tap_coef : axis->point_coef;
  int64_t given_coef = from_point ? axis->point_coef : axis->tap_coef;
  int64_t most = free_loop < 0 ? 1 : d->nest->extent[free_loop];
  int64_t reach = given < 0 ? 0 : given_coef * (d->nest->extent[given] - 1), top = (axis->limit - 1) * axis->every;
  int64_t least = axis->constant + (reach < 0 ? reach : 0), greatest = axis->constant + (reach > 0 ? reach : 0);
  if (free_loop < 0) coef = 1;
  int64_t magnitude = coef < 0 ? -coef : coef;
  // start + coef * iteration is between 0 and top
  MlirValue start = anas_code_add_const(code, anas_code_mul_const(code, iv, given_coef), axis->constant);
  MlirValue down = coef > 0 ? negative(code, start) : anas_code_add_const(code, start, -top);
  MlirValue up = coef > 0 ? anas_code_add_const(code, negative(code, start), top) : start;
  int64_t least_down = coef > 0 ? -greatest : least - top, least_up = coef > 0 ? top - greatest : least;
  MlirValue low = divide(code, anas_code_add_const(code, down, magnitude - 1), magnitude, least_down + magnitude - 1);
  MlirValue high = divide(code, up, magnitude, least_up);
  low = anas_code_min(code, anas_code_max(code, low, anas_code_index(code, 0)), anas_code_index(code, most));
  high = anas_code_min(code, high, anas_code_index(code, most - 1));
  int64_t common = gcd(magnitude, axis->every), step = axis->every / common;
  struct anas_depthwise_span span = {.loop = free_loop, .step = step};
  MlirValue lifted = start;
  if (axis->every > 1) {
    int64_t rounds = least < 0 ? -floor_div(least, axis->every) : 0;
    lifted = anas_code_add_const(code, start, rounds * axis->every);
    if (step > 1) low = align(code, low, most, lifted, coef, common, step);
  }
  MlirValue count = anas_code_add_const(code, anas_code_binary(code, "arith.subi", high, low), step);
  count = anas_code_max(code, count, anas_code_index(code, 0));
  if (step > 1) count = anas_code_binary(code, "arith.divui", count, anas_code_index(code, step));
  if (common > 1) {
    MlirValue rest = anas_code_binary(code, "arith.remui", lifted, anas_code_index(code, common));
    MlirValue zero = anas_code_index(code, 0);
    count = anas_code_select(code, anas_code_compare(code, false, ANAS_CMPI_EQ, rest, zero), count, zero);
  }
  MlirValue first = anas_code_add(code, start, anas_code_mul_const(code, low, coef)); // used if there is one
  if (axis->every > 1) first = anas_code_binary(code, "arith.divui", first, anas_code_index(code, axis->every));
  span.count = count;
  span.dense = anas_code_mul_const(code, first, axis->weight);
  span.dense_step = coef * step / axis->every * axis->weight;
  for (int o = 0; o < 3 && free_loop >= 0; o++)
    if (o != d->dense) span.start[o] = anas_code_mul_const(code, low, d->nest->operand[o].stride[free_loop]);
  return span;
}

struct anas_depthwise_place anas_depthwise_along(const struct anas_depthwise *d, struct anas_depthwise_place place,
                                                 const struct anas_depthwise_span *span, MlirValue iv) {
  struct anas_code *code = d->code;
  for (int o = 0; o < 3; o++) {
    int64_t step = o == d->dense    ? span->dense_step
                   : span->loop < 0 ? 0
                                    : span->step * d->nest->operand[o].stride[span->loop];
    place.at[o].value = anas_code_add(code, place.at[o].value, o == d->dense ? span->dense : span->start[o]);
    place.at[o] = anas_address_step(code, place.at[o], iv, step);
    if (d->fetch_lines[o] && span->loop >= 0)
      place.fetch[o] = anas_address_step(code, place.fetch[o], iv, d->fetch_step[o][span->loop]);
  }
  return place;
}
