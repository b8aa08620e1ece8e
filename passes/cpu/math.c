// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Transcendental functions on vectors of f32 as arithmetic: LLVM would call libm once per lane.
//
// Error bounds against the exact result (checked in test/unit/test_cpu_math.c):
//   exp, exp2   2e-7 relative where the result is a normal number, 0 and inf beyond; expm1 4e-7 relative
//   tanh        5e-7 relative     erf  5e-7 absolute, relative below 3/4
//   log         2e-7 relative or 1e-7 absolute; -inf at 0, NaN below; log1p likewise
// NaN propagates.
#include "dialect/context.h"
#include "passes/cpu/nest.h"

#include <math.h>
#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <string.h>

static MlirValue number(struct anas_code *code, int lanes, double value) {
  return anas_code_splat_f32(code, lanes, value);
}

static MlirValue binary(struct anas_code *code, const char *name, MlirValue a, MlirValue b) {
  return anas_code_binary(code, name, a, b);
}

static MlirValue bits(struct anas_code *code, MlirValue x, int lanes) {
  return anas_code_unary(code, "arith.bitcast", x, anas_code_vector(lanes, code->i32));
}

static MlirValue from_bits(struct anas_code *code, MlirValue x, int lanes) {
  return anas_code_unary(code, "arith.bitcast", x, anas_code_vector(lanes, code->f32));
}

// The operand order makes these single minps/maxps instructions and lets NaN in x through.
static MlirValue at_most(struct anas_code *code, MlirValue x, MlirValue limit) {
  return anas_code_select(code, anas_code_compare(code, true, ANAS_CMPF_OLT, limit, x), limit, x);
}

static MlirValue at_least(struct anas_code *code, MlirValue x, MlirValue limit) {
  return anas_code_select(code, anas_code_compare(code, true, ANAS_CMPF_OGT, limit, x), limit, x);
}

static MlirValue absolute(struct anas_code *code, MlirValue x, int lanes) {
  MlirValue mask = anas_code_splat_i32(code, lanes, 0x7fffffff);
  return from_bits(code, binary(code, "arith.andi", bits(code, x, lanes), mask), lanes);
}

static MlirValue copy_sign(struct anas_code *code, MlirValue magnitude, MlirValue sign, int lanes) {
  MlirValue mask = anas_code_splat_i32(code, lanes, INT32_MIN);
  MlirValue bit = binary(code, "arith.andi", bits(code, sign, lanes), mask);
  return from_bits(code, binary(code, "arith.ori", bits(code, magnitude, lanes), bit), lanes);
}

static MlirValue horner(struct anas_code *code, int lanes, MlirValue x, const double *coefficients, int num) {
  MlirValue p = number(code, lanes, coefficients[0]);
  for (int i = 1; i < num; i++)
    p = anas_code_fma(code, p, x, number(code, lanes, coefficients[i]));
  return p;
}

// 2^k for vectors of integers -126 <= k <= 127
static MlirValue power_of_two(struct anas_code *code, MlirValue k, int lanes) {
  MlirValue biased = binary(code, "arith.addi", k, anas_code_splat_i32(code, lanes, 127));
  return from_bits(code, binary(code, "arith.shli", biased, anas_code_splat_i32(code, lanes, 23)), lanes);
}

struct power { // an integer k as a float and as an integer
  MlirValue real, whole;
};

// x * scale rounded to an integer, for |x * scale| < 2^22: adding 1.5 * 2^23 leaves the integer in the low bits of the
// sum.
static struct power round_to(struct anas_code *code, MlirValue x, MlirValue scale, int lanes) {
  MlirValue magic = number(code, lanes, 12582912.0);
  MlirValue shifted = anas_code_fma(code, x, scale, magic);
  return (struct power){.real = binary(code, "arith.subf", shifted, magic),
                        .whole = binary(code, "arith.subi", bits(code, shifted, lanes), bits(code, magic, lanes))};
}

// exp(r) - 1 for |r| <= ln 2 / 2: r + r^2 p(r) with the polynomial p of degree 4 that makes the largest error relative
// to exp(r) the least, 3.1e-9 (Remez' exchange).
static MlirValue exp_polynomial(struct anas_code *code, MlirValue r, int lanes) {
  static const double minimax[] = {0.0013814583952468362, 0.008368723934706824, 0.0416683887311581, 0.16666520573582788,
                                   0.49999993443874746};
  MlirValue p = horner(code, lanes, r, minimax, sizeof minimax / sizeof *minimax);
  return anas_code_fma(code, binary(code, "arith.mulf", r, r), p, r);
}

// exp(x) = 2^k (1 + q), by Cody and Waite's reduction: ln 2 in two parts, the first exact in products with k.
static MlirValue exp_parts(struct anas_code *code, MlirValue x, int lanes, struct power *out_k) {
  struct power k = round_to(code, x, number(code, lanes, 1.4426950408889634), lanes);
  MlirValue r = anas_code_fma(code, k.real, number(code, lanes, -0.693359375), x);
  r = anas_code_fma(code, k.real, number(code, lanes, 2.1219444005469057e-4), r);
  *out_k = k;
  return exp_polynomial(code, r, lanes);
}

// a * 2^k in one instruction of AVX-512, k any float that is an integer
static MlirValue scalef(struct anas_code *code, MlirValue a, MlirValue k) {
  MlirContext context = code->context;
  MlirType i16 = mlirIntegerTypeGet(context, 16), type = mlirValueGetType(a);
  const int current_rounding = 4; // that of the control register
  MlirValue all_lanes = anas_code_constant(code, i16, mlirIntegerAttrGet(i16, -1));
  MlirValue rounding = anas_code_constant(code, code->i32, mlirIntegerAttrGet(code->i32, current_rounding));
  MlirNamedAttribute attributes[] = {
      anas_code_attribute(code, "intrin",
                          mlirStringAttrGet(context, anas_ref_text("llvm.x86.avx512.mask.scalef.ps.512"))),
      anas_code_attribute(code, "operandSegmentSizes", mlirDenseI32ArrayGet(context, 2, (const int32_t[]){5, 0})),
      anas_code_attribute(code, "op_bundle_sizes", mlirDenseI32ArrayGet(context, 0, NULL)),
  };
  MlirValue operands[] = {a, k, a, all_lanes, rounding};
  return anas_code_op(code, "llvm.call_intrinsic", 5, operands, type, 3, attributes);
}

// 2^k (1 + q) for |k| <= 152; without AVX-512 in two factors, because 2^k itself leaves the range of normal numbers at
// both ends.
static MlirValue scale_by_power(struct anas_code *code, MlirValue q, struct power k, int lanes) {
  MlirValue p = binary(code, "arith.addf", q, number(code, lanes, 1.0));
  if (lanes == 16) return scalef(code, p, k.real);
  MlirValue half = binary(code, "arith.shrsi", k.whole, anas_code_splat_i32(code, lanes, 1));
  MlirValue rest = binary(code, "arith.subi", k.whole, half);
  p = binary(code, "arith.mulf", p, power_of_two(code, half, lanes));
  return binary(code, "arith.mulf", p, power_of_two(code, rest, lanes));
}

static MlirValue emit_exp(struct anas_code *code, MlirValue x, int lanes) {
  x = at_least(code, at_most(code, x, number(code, lanes, 89.0)), number(code, lanes, -104.0));
  struct power k;
  MlirValue q = exp_parts(code, x, lanes, &k);
  return scale_by_power(code, q, k, lanes);
}

static MlirValue emit_exp2(struct anas_code *code, MlirValue x, int lanes) {
  x = at_least(code, at_most(code, x, number(code, lanes, 129.0)), number(code, lanes, -151.0));
  struct power k = round_to(code, x, number(code, lanes, 1.0), lanes);
  MlirValue r =
      binary(code, "arith.mulf", binary(code, "arith.subf", x, k.real), number(code, lanes, 0.6931471805599453));
  return scale_by_power(code, exp_polynomial(code, r, lanes), k, lanes);
}

// expm1 for -20 <= x <= 80: 2^k q + (2^k - 1), exact to rounding near 0
static MlirValue expm1_bounded(struct anas_code *code, MlirValue x, int lanes) {
  struct power k;
  MlirValue q = exp_parts(code, x, lanes, &k);
  MlirValue scale = power_of_two(code, k.whole, lanes);
  return anas_code_fma(code, scale, q, binary(code, "arith.subf", scale, number(code, lanes, 1.0)));
}

static MlirValue emit_expm1(struct anas_code *code, MlirValue x, int lanes) {
  MlirValue clamped = at_least(code, at_most(code, x, number(code, lanes, 80.0)), number(code, lanes, -20.0));
  MlirValue large = anas_code_compare(code, true, ANAS_CMPF_OGT, x, number(code, lanes, 80.0));
  return anas_code_select(code, large, emit_exp(code, x, lanes), expm1_bounded(code, clamped, lanes));
}

// tanh a = e / (e + 2) with e = expm1(2a); 1 to rounding from a = 10 on
static MlirValue emit_tanh(struct anas_code *code, MlirValue x, int lanes) {
  MlirValue a = at_most(code, absolute(code, x, lanes), number(code, lanes, 10.0));
  MlirValue e = expm1_bounded(code, binary(code, "arith.addf", a, a), lanes);
  MlirValue t = binary(code, "arith.divf", e, binary(code, "arith.addf", e, number(code, lanes, 2.0)));
  return copy_sign(code, t, x, lanes);
}

// The Maclaurin series below 3/4, so that small arguments keep their relative precision; Abramowitz and Stegun 7.1.26
// above.
static MlirValue emit_erf(struct anas_code *code, MlirValue x, int lanes) {
  static const double p[] = {1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592, 0.0};
  const double scale = 1.1283791670955126; // 2 / sqrt(pi)
  const double series[] = {-scale / 75600, scale / 9360, -scale / 1320, scale / 216,
                           -scale / 42,    scale / 10,   -scale / 3,    scale};
  MlirValue one = number(code, lanes, 1.0);
  MlirValue a = at_most(code, absolute(code, x, lanes), number(code, lanes, 9.0));
  MlirValue square = binary(code, "arith.mulf", a, a);
  MlirValue t = binary(code, "arith.divf", one, anas_code_fma(code, a, number(code, lanes, 0.3275911), one));
  MlirValue poly = horner(code, lanes, t, p, sizeof p / sizeof *p);
  MlirValue e = emit_exp(code, binary(code, "arith.subf", number(code, lanes, 0.0), square), lanes);
  MlirValue large = binary(code, "arith.subf", one, binary(code, "arith.mulf", poly, e));
  MlirValue small = binary(code, "arith.mulf", a, horner(code, lanes, square, series, sizeof series / sizeof *series));
  MlirValue is_small = anas_code_compare(code, true, ANAS_CMPF_OLT, a, number(code, lanes, 0.75));
  return copy_sign(code, anas_code_select(code, is_small, small, large), x, lanes);
}

// x = 2^k (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2); with s = f / (2 + f), log(1 + f) = f - s (f - R) where
// R = 2/3 s^2 + 2/5 s^4 + ...; written with f^2/2 so that the leading terms are exact.
static MlirValue emit_log(struct anas_code *code, MlirValue x, int lanes) {
  static const double odd[] = {2.0 / 11, 2.0 / 9, 2.0 / 7, 2.0 / 5, 2.0 / 3};
  MlirValue zero = number(code, lanes, 0.0), half = number(code, lanes, 0.5);
  MlirValue tiny = anas_code_compare(code, true, ANAS_CMPF_OLT, x, number(code, lanes, 0x1p-126));
  MlirValue scaled = anas_code_select(code, tiny, binary(code, "arith.mulf", x, number(code, lanes, 0x1p23)), x);
  MlirValue pattern = bits(code, scaled, lanes);
  MlirValue shifted = binary(code, "arith.subi", pattern, anas_code_splat_i32(code, lanes, 0x3f3504f3));
  MlirValue exponent = binary(code, "arith.shrsi", shifted, anas_code_splat_i32(code, lanes, 23));
  MlirValue field = binary(code, "arith.shli", exponent, anas_code_splat_i32(code, lanes, 23));
  MlirValue m = from_bits(code, binary(code, "arith.subi", pattern, field), lanes);
  MlirValue k = anas_code_unary(code, "arith.sitofp", exponent, anas_code_vector(lanes, code->f32));
  k = binary(code, "arith.subf", k, anas_code_select(code, tiny, number(code, lanes, 23.0), zero));
  MlirValue f = binary(code, "arith.subf", m, number(code, lanes, 1.0));
  MlirValue s = binary(code, "arith.divf", f, binary(code, "arith.addf", f, number(code, lanes, 2.0)));
  MlirValue z = binary(code, "arith.mulf", s, s);
  MlirValue r = binary(code, "arith.mulf", z, horner(code, lanes, z, odd, sizeof odd / sizeof *odd));
  MlirValue square = binary(code, "arith.mulf", binary(code, "arith.mulf", f, f), half);
  MlirValue low = binary(code, "arith.mulf", k, number(code, lanes, -2.1219444005469057e-4));
  low = anas_code_fma(code, s, binary(code, "arith.addf", square, r), low);
  MlirValue result = binary(code, "arith.subf", f, binary(code, "arith.subf", square, low));
  result = anas_code_fma(code, k, number(code, lanes, 0.693359375), result);
  MlirValue finite = anas_code_compare(code, true, ANAS_CMPF_OLT, x, number(code, lanes, INFINITY));
  result = anas_code_select(code, finite, result, x); // inf and NaN
  MlirValue is_zero = anas_code_compare(code, true, ANAS_CMPF_OEQ, x, zero);
  result = anas_code_select(code, is_zero, number(code, lanes, -INFINITY), result);
  MlirValue negative = anas_code_compare(code, true, ANAS_CMPF_OLT, x, zero);
  return anas_code_select(code, negative, number(code, lanes, NAN), result);
}

// log(1 + x) = log(u) + (x - (u - 1)) / u with u the rounded 1 + x: the second term restores what rounding lost
static MlirValue emit_log1p(struct anas_code *code, MlirValue x, int lanes) {
  MlirValue one = number(code, lanes, 1.0);
  MlirValue u = binary(code, "arith.addf", x, one);
  MlirValue lost = binary(code, "arith.subf", x, binary(code, "arith.subf", u, one));
  MlirValue corrected = binary(code, "arith.addf", emit_log(code, u, lanes), binary(code, "arith.divf", lost, u));
  // u = 0 or inf: the correction is NaN
  MlirValue large = anas_code_compare(code, true, ANAS_CMPF_OGT, u, number(code, lanes, 1e30));
  corrected = anas_code_select(code, large, emit_log(code, u, lanes), corrected);
  MlirValue is_zero = anas_code_compare(code, true, ANAS_CMPF_OEQ, u, number(code, lanes, 0.0));
  return anas_code_select(code, is_zero, number(code, lanes, -INFINITY), corrected);
}

static MlirValue emit_log2(struct anas_code *code, MlirValue x, int lanes) {
  return binary(code, "arith.mulf", emit_log(code, x, lanes), number(code, lanes, 1.4426950408889634));
}

static MlirValue emit_rsqrt(struct anas_code *code, MlirValue x, int lanes) {
  MlirValue root = anas_code_unary(code, "math.sqrt", x, mlirValueGetType(x));
  return binary(code, "arith.divf", number(code, lanes, 1.0), root);
}

MlirValue anas_cpu_math(struct anas_code *code, const char *name, int num_operands, const MlirValue *operands,
                        int lanes) {
  static const struct {
    const char *name;
    MlirValue (*emit)(struct anas_code *code, MlirValue x, int lanes);
  } table[] = {
      {"math.exp", emit_exp},  {"math.expm1", emit_expm1}, {"math.tanh", emit_tanh}, {"math.erf", emit_erf},
      {"math.log", emit_log},  {"math.log1p", emit_log1p}, {"math.exp2", emit_exp2}, {"math.log2", emit_log2},
      {"math.absf", absolute}, {"math.rsqrt", emit_rsqrt},
  };
  if (num_operands < 1 || !mlirTypeIsAF32(mlirShapedTypeGetElementType(mlirValueGetType(operands[0]))))
    return (MlirValue){0};
  if (num_operands == 2 && strcmp(name, "math.copysign") == 0)
    return copy_sign(code, absolute(code, operands[0], lanes), operands[1], lanes);
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (num_operands == 1 && strcmp(name, table[i].name) == 0) return table[i].emit(code, operands[0], lanes);
  return (MlirValue){0};
}
