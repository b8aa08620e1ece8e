// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Targets of functions, read from their attributes:
//   anas.target_shape  = array<i64: -1, 8, 8, 64>     result type, -1 for the batch '?'; default: the declared one
//   anas.target_depth  = 2 : i64                      or dense<2> : tensor<1x1xi64>
//   anas.target_mixing = dense<...> : tensor<4x4xi8>  or nested in arrays as anas-infer-properties writes it
#include "passes/synthesis/certificate.h"

#include "dialect/context.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

static anas_status bad_target(const struct anas_function *function, const char *prefix, const char *name,
                              const char *expected) {
  return anas_fail(ANAS_INVALID, "attribute '%s%s' of function '@%s' must be %s", prefix, name, function->name,
                   expected);
}

static anas_status read_shape(const struct anas_function *function, const char *prefix, MlirAttribute attr,
                              struct anas_shape *out) {
  static const char *const expected = "array<i64: ...> with an extent for each dimension of the argument, -1 only for "
                                      "the batch";
  if (!mlirAttributeIsADenseI64Array(attr)) return bad_target(function, prefix, "shape", expected);
  struct anas_shape shape = {.element = function->arg[0].element};
  intptr_t rank = mlirDenseArrayGetNumElements(attr);
  if (rank < 1 || rank > ANAS_MAX_RANK) return bad_target(function, prefix, "shape", expected);
  shape.rank = (int)rank;
  for (int i = 0; i < shape.rank; i++) {
    shape.dim[i] = mlirDenseI64ArrayGetElement(attr, i);
    if (shape.dim[i] < 1 && !(i == 0 && shape.dim[i] == ANAS_DYNAMIC))
      return bad_target(function, prefix, "shape", expected);
  }
  *out = shape;
  return ANAS_OK;
}

static anas_status read_depth(const struct anas_function *function, const char *prefix, MlirAttribute attr,
                              int64_t *out) {
  int64_t depth;
  if (mlirAttributeIsAInteger(attr)) {
    depth = mlirIntegerAttrGetValueInt(attr);
  } else if (mlirAttributeIsADenseElements(attr) && mlirElementsAttrGetNumElements(attr) == 1 &&
             mlirTypeIsAInteger(mlirShapedTypeGetElementType(mlirAttributeGetType(attr))) &&
             mlirIntegerTypeGetWidth(mlirShapedTypeGetElementType(mlirAttributeGetType(attr))) == 64) {
    depth = mlirDenseElementsAttrGetInt64Value(attr, 0);
  } else {
    return bad_target(function, prefix, "depth", "an integer or dense<...> : tensor<1x1xi64>");
  }
  if (depth < 0) return bad_target(function, prefix, "depth", "0 or more");
  *out = depth;
  return ANAS_OK;
}

static anas_status read_mixing(const struct anas_function *function, const char *prefix,
                               const struct anas_shape *output, MlirAttribute attr, struct anas_mixing *out) {
  static const char *const expected =
      "dense<...> : tensor<RxCxi8> of values 0 to 3, R the rank of the argument and C that of the result";
  while (mlirAttributeIsAArray(attr) && mlirArrayAttrGetNumElements(attr) == 1)
    attr = mlirArrayAttrGetElement(attr, 0);
  struct anas_mixing mixing = {.rows = function->arg[0].rank, .columns = output->rank};
  if (!mlirAttributeIsADenseElements(attr)) return bad_target(function, prefix, "mixing", expected);
  MlirType type = mlirAttributeGetType(attr), element = mlirShapedTypeGetElementType(type);
  if (!mlirTypeIsAInteger(element) || mlirIntegerTypeGetWidth(element) != 8 || mlirShapedTypeGetRank(type) != 2 ||
      mlirShapedTypeGetDimSize(type, 0) != mixing.rows || mlirShapedTypeGetDimSize(type, 1) != mixing.columns)
    return bad_target(function, prefix, "mixing", expected);
  for (int i = 0; i < mixing.rows; i++)
    for (int j = 0; j < mixing.columns; j++) {
      int8_t value = mlirDenseElementsAttrGetInt8Value(attr, i * mixing.columns + j);
      if (value < ANAS_PAIR_NONE || value > ANAS_PAIR_ALL) return bad_target(function, prefix, "mixing", expected);
      mixing.pair[i][j] = (uint8_t)value;
    }
  *out = mixing;
  return ANAS_OK;
}

static MlirAttribute parse_extra(MlirContext context, const struct anas_function *function, const char *name) {
  const char *text = anas_function_extra(function, name);
  return text ? mlirAttributeParseGet(context, anas_ref_text(text)) : mlirAttributeGetNull();
}

bool anas_function_has_targets(const struct anas_function *function) {
  return anas_function_extra(function, "anas.target_shape") || anas_function_extra(function, "anas.target_depth") ||
         anas_function_extra(function, "anas.target_mixing");
}

anas_status anas_target_parse(const struct anas_function *function, const char *prefix, MlirAttribute shape,
                              MlirAttribute depth, MlirAttribute mixing, struct anas_target *out) {
  if (function->num_args != 1 || function->num_results != 1)
    return anas_fail(
        ANAS_INVALID,
        "function '@%s' carries synthesis targets but has %d arguments and %d results; a chain has exactly "
        "one input and exactly one output",
        function->name, function->num_args, function->num_results);
  struct anas_target target = {
      .input = function->arg[0], .output = function->result_type[0], .input_linear = function->arg_linear[0]};
  if (!mlirAttributeIsNull(shape)) ANAS_RETURN_IF_ERROR(read_shape(function, prefix, shape, &target.output));
  target.require_depth = !mlirAttributeIsNull(depth);
  if (target.require_depth) ANAS_RETURN_IF_ERROR(read_depth(function, prefix, depth, &target.depth));
  target.require_mixing = !mlirAttributeIsNull(mixing);
  if (target.require_mixing)
    ANAS_RETURN_IF_ERROR(read_mixing(function, prefix, &target.output, mixing, &target.mixing));
  *out = target;
  return ANAS_OK;
}

anas_status anas_target_read(MlirContext context, const struct anas_function *function, struct anas_target *out) {
  return anas_target_parse(function, "anas.target_", parse_extra(context, function, "anas.target_shape"),
                           parse_extra(context, function, "anas.target_depth"),
                           parse_extra(context, function, "anas.target_mixing"), out);
}

void anas_properties_text(const struct anas_shape *shape, const int64_t *depth, const struct anas_mixing *mixing,
                          struct anas_strbuf *out) {
  anas_strbuf_adds(out, "{shape = array<i64: ");
  for (int i = 0; i < shape->rank; i++)
    anas_strbuf_addf(out, "%s%lld", i ? ", " : "", (long long)shape->dim[i]);
  anas_strbuf_adds(out, ">");
  if (depth) anas_strbuf_addf(out, ", depth = %lld : i64", (long long)*depth);
  if (mixing) {
    anas_strbuf_adds(out, ", mixing = dense<[");
    for (int i = 0; i < mixing->rows; i++) {
      anas_strbuf_adds(out, i ? ", [" : "[");
      for (int j = 0; j < mixing->columns; j++)
        anas_strbuf_addf(out, "%s%d", j ? ", " : "", mixing->pair[i][j]);
      anas_strbuf_adds(out, "]");
    }
    anas_strbuf_addf(out, "]> : tensor<%dx%dxi8>", mixing->rows, mixing->columns);
  }
  anas_strbuf_adds(out, "}");
}
