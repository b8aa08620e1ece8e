// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Symbolic extents (spec 1.5) and the conversion of tensor types.
#include "dialect/attributes.h"

#include "dialect/context.h"

#include <ctype.h>
#include <mlir-c/BuiltinTypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- symbolic extents

struct cursor {
  const char *at, *end;
};

static bool take(struct cursor *c, char symbol) {
  if (c->at == c->end || *c->at != symbol) return false;
  c->at++;
  return true;
}

// A decimal integer of at most nine digits: extents and factors are small, and nothing can overflow.
static bool take_int(struct cursor *c, bool sign_allowed, int64_t *out) {
  struct cursor start = *c;
  bool negative = sign_allowed && take(c, '-');
  int64_t value = 0;
  int digits = 0;
  while (c->at < c->end && isdigit((unsigned char)*c->at) && digits < 10) {
    value = value * 10 + (*c->at++ - '0');
    digits++;
  }
  if (!digits || digits == 10) {
    *c = start;
    return false;
  }
  *out = negative ? -value : value;
  return true;
}

static anas_status bad_dim(const char *text, size_t length, const char *why) {
  return anas_fail(ANAS_INVALID,
                   "\"%.*s\" is not a symbolic extent: %s; write S:AXIS or S:OPERAND:AXIS with an optional %%DIVISOR, "
                   "then an optional *FACTOR, e.g. \"S:-1%%4*3\"",
                   (int)length, text, why);
}

anas_status anas_dim_parse(const char *text, size_t length, struct anas_dim_expr *out) {
  struct cursor c = {text, text + length};
  struct anas_dim_expr dim = {.mul = 1, .div = 1};
  int64_t value;
  if (take_int(&c, false, &value) && c.at == c.end) {
    if (value < 1) return bad_dim(text, length, "an extent is positive");
    *out = (struct anas_dim_expr){.constant = value};
    return ANAS_OK;
  }
  if (length >= 2 && text[0] == 'K' && text[1] == ':')
    return anas_fail(ANAS_UNSUPPORTED,
                     "named constants (\"%.*s\") are not carried by the IR; write the integer instead", (int)length,
                     text);
  c = (struct cursor){text, text + length};
  if (!take(&c, 'S') || !take(&c, ':')) return bad_dim(text, length, "it must start with S:");
  if (!take_int(&c, true, &value)) {
    const char *colon = memchr(c.at, ':', (size_t)(c.end - c.at));
    if (colon && colon > c.at)
      return anas_fail(ANAS_UNSUPPORTED,
                       "extents of named tensors (\"%.*s\") are not carried by the IR; refer to an operand by number, "
                       "e.g. \"S:0:-1\"",
                       (int)length, text);
    return bad_dim(text, length, "the axis must be an integer");
  }
  dim.relative = true;
  if (take(&c, ':')) {
    if (value < 0 || value >= ANAS_MAX_OPERANDS) return bad_dim(text, length, "there is no such operand");
    dim.operand = (int)value;
    if (!take_int(&c, true, &value)) return bad_dim(text, length, "the axis must be an integer");
  }
  if (value < -ANAS_MAX_RANK || value >= ANAS_MAX_RANK) return bad_dim(text, length, "there is no such axis");
  dim.axis = (int)value;
  if (take(&c, '%') && (!take_int(&c, false, &dim.div) || dim.div < 1))
    return bad_dim(text, length, "the divisor must be a positive integer");
  if (take(&c, '*') && (!take_int(&c, false, &dim.mul) || dim.mul < 1))
    return bad_dim(text, length, "the factor must be a positive integer");
  if (c.at != c.end) return bad_dim(text, length, "at most one divisor and one factor are allowed, in this order");
  *out = dim;
  return ANAS_OK;
}

void anas_dim_text(const struct anas_dim_expr *dim, char out[64]) {
  if (!dim->relative) {
    snprintf(out, 64, "%lld", (long long)dim->constant);
    return;
  }
  int length =
      dim->operand ? snprintf(out, 64, "S:%d:%d", dim->operand, dim->axis) : snprintf(out, 64, "S:%d", dim->axis);
  if (dim->div > 1) length += snprintf(out + length, 64 - (size_t)length, "%%%lld", (long long)dim->div);
  if (dim->mul > 1) snprintf(out + length, 64 - (size_t)length, "*%lld", (long long)dim->mul);
}

static const char *dim_text(const struct anas_dim_expr *dim, char out[64]) {
  anas_dim_text(dim, out);
  return out;
}

anas_status anas_dim_resolve(const struct anas_dim_expr *dim, const struct anas_shape *operands, int num_operands,
                             int64_t *out_value) {
  if (!dim->relative) {
    *out_value = dim->constant;
    return ANAS_OK;
  }
  char text[64], type[128]; // written for messages only: this runs for every candidate of a synthesis
  if (dim->operand >= num_operands)
    return anas_fail(ANAS_INVALID, "\"%s\" refers to operand %d, but there are %d", dim_text(dim, text), dim->operand,
                     num_operands);
  const struct anas_shape *shape = &operands[dim->operand];
  int axis = dim->axis < 0 ? dim->axis + shape->rank : dim->axis;
  if (axis < 0 || axis >= shape->rank)
    return anas_fail(ANAS_INVALID, "\"%s\" refers to axis %d of operand %d, which is tensor<%s>", dim_text(dim, text),
                     dim->axis, dim->operand, anas_shape_text(shape, type));
  int64_t extent = shape->dim[axis];
  if (extent == ANAS_DYNAMIC)
    return anas_fail(ANAS_INVALID, "\"%s\" refers to the unknown extent of axis %d of tensor<%s>", dim_text(dim, text),
                     axis, anas_shape_text(shape, type));
  if (extent % dim->div)
    return anas_fail(ANAS_INVALID, "\"%s\" divides extent %lld of axis %d of tensor<%s> by %lld, which leaves a rest",
                     dim_text(dim, text), (long long)extent, axis, anas_shape_text(shape, type), (long long)dim->div);
  if (__builtin_mul_overflow(extent / dim->div, dim->mul, out_value))
    return anas_fail(ANAS_INVALID, "\"%s\" of tensor<%s> is too large an extent", dim_text(dim, text),
                     anas_shape_text(shape, type));
  return ANAS_OK;
}

// ---- entries of shapes

#define PACKED (INT64_C(1) << 62)

int64_t anas_dims_pack(const struct anas_dim_expr *dim) {
  return PACKED | (int64_t)dim->operand << 56 | (int64_t)(dim->axis + ANAS_MAX_RANK) << 48 | dim->div << 24 | dim->mul;
}

bool anas_dims_is_packed(int64_t entry) {
  return entry >= PACKED;
}

struct anas_dim_expr anas_dims_unpack(int64_t entry) {
  return (struct anas_dim_expr){.relative = true,
                                .operand = (int)(entry >> 56 & 0xf),
                                .axis = (int)(entry >> 48 & 0xff) - ANAS_MAX_RANK,
                                .div = entry >> 24 & ANAS_MAX_DIMS_FACTOR,
                                .mul = entry & ANAS_MAX_DIMS_FACTOR};
}

anas_status anas_dims_check_entry(int64_t entry) {
  if (entry != ANAS_DIMS_REST && (entry < 1 || entry > ANAS_MAX_EXAMPLE_ELEMENTS))
    return anas_fail(ANAS_INVALID,
                     "%lld is no extent; write a positive integer, -1 for what is left, or \"B\" in front",
                     (long long)entry);
  return ANAS_OK;
}

anas_status anas_dims_parse_entry(const char *text, size_t length, bool first, int64_t *out) {
  struct anas_dim_expr dim;
  if (length == 1 && text[0] == 'B') {
    if (!first) return anas_fail(ANAS_INVALID, "\"B\", the batch, can only be the first extent");
    *out = ANAS_DIMS_BATCH;
    return ANAS_OK;
  }
  if (length == 2 && !memcmp(text, "-1", 2)) {
    *out = ANAS_DIMS_REST;
    return ANAS_OK;
  }
  ANAS_RETURN_IF_ERROR(anas_dim_parse(text, length, &dim));
  if (!dim.relative) {
    *out = dim.constant;
    return ANAS_OK;
  }
  if (dim.div > ANAS_MAX_DIMS_FACTOR || dim.mul > ANAS_MAX_DIMS_FACTOR)
    return anas_fail(ANAS_INVALID, "divisor and factor of \"%.*s\" may be %d at most", (int)length, text,
                     ANAS_MAX_DIMS_FACTOR);
  *out = anas_dims_pack(&dim);
  return ANAS_OK;
}

// ---- types

anas_status anas_shape_from_type(MlirType type, struct anas_shape *out) {
  struct anas_strbuf text = {0};
  struct anas_shape shape = {0};
  anas_status status = ANAS_OK;
  mlirTypePrint(type, anas_print_to_strbuf, &text);
  if (!mlirTypeIsARankedTensor(type) && !mlirTypeIsAUnrankedTensor(type)) {
    status = anas_fail(ANAS_UNSUPPORTED, "values are tensors, not %s", anas_strbuf_text(&text));
  } else {
    MlirType element = mlirShapedTypeGetElementType(type);
    bool i32 = mlirTypeIsAInteger(element) && mlirIntegerTypeGetWidth(element) == 32;
    bool i64 = mlirTypeIsAInteger(element) && mlirIntegerTypeGetWidth(element) == 64;
    if (!mlirTypeIsAF32(element) && !i32 && !i64)
      status = anas_fail(ANAS_UNSUPPORTED, "%s: elements are f32, i32 or i64", anas_strbuf_text(&text));
    shape.element = i32 ? ANAS_I32 : i64 ? ANAS_I64 : ANAS_F32;
  }
  if (!status && mlirTypeIsARankedTensor(type)) {
    int64_t rank = mlirShapedTypeGetRank(type);
    if (rank < 1 || rank > ANAS_MAX_RANK) {
      status = anas_fail(ANAS_UNSUPPORTED, "%s: ranks go from 1 to %d", anas_strbuf_text(&text), ANAS_MAX_RANK);
      rank = 0;
    }
    shape.rank = (int)rank;
    for (int i = 0; i < shape.rank; i++)
      shape.dim[i] = mlirShapedTypeIsDynamicDim(type, i) ? ANAS_DYNAMIC : mlirShapedTypeGetDimSize(type, i);
  }
  if (!status) status = anas_shape_check(&shape, true);
  anas_strbuf_deinit(&text);
  if (!status) *out = shape;
  return status;
}

static MlirType element_type(MlirContext context, enum anas_element element) {
  switch (element) {
  case ANAS_F32: return mlirF32TypeGet(context);
  case ANAS_I32: return mlirIntegerTypeGet(context, 32);
  case ANAS_I64: return mlirIntegerTypeGet(context, 64);
  }
  return mlirNoneTypeGet(context);
}

MlirType anas_shape_to_type(MlirContext context, const struct anas_shape *shape) {
  MlirType element = element_type(context, shape->element);
  if (!shape->rank) return mlirUnrankedTensorTypeGet(element);
  int64_t dims[ANAS_MAX_RANK];
  for (int i = 0; i < shape->rank; i++)
    dims[i] = shape->dim[i] == ANAS_DYNAMIC ? mlirShapedTypeGetDynamicSize() : shape->dim[i];
  return mlirRankedTensorTypeGet(shape->rank, dims, element, (MlirAttribute){NULL});
}

anas_status anas_shape_parse(const char *text, struct anas_shape *out) {
  struct cursor c = {text, text + strlen(text)};
  struct anas_shape shape = {0};
  int64_t extent;
  while (c.at < c.end && (*c.at == '?' || isdigit((unsigned char)*c.at))) {
    if (take(&c, '?'))
      extent = ANAS_DYNAMIC;
    else if (!take_int(&c, false, &extent))
      return anas_fail(ANAS_INVALID, "bad extent in shape '%s'", text);
    if (!take(&c, 'x') || shape.rank == ANAS_MAX_RANK)
      return anas_fail(ANAS_INVALID, "bad shape '%s'; write e.g. 2x32x32x3xf32", text);
    shape.dim[shape.rank++] = extent;
  }
  if (!strcmp(c.at, "f32"))
    shape.element = ANAS_F32;
  else if (!strcmp(c.at, "i32"))
    shape.element = ANAS_I32;
  else if (!strcmp(c.at, "i64"))
    shape.element = ANAS_I64;
  else
    return anas_fail(ANAS_INVALID, "bad element type '%s' in shape '%s'; f32, i32 and i64 exist", c.at, text);
  *out = shape;
  return ANAS_OK;
}
