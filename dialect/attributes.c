// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading and printing attribute values by their definitions in the op table.
#include "dialect/attributes.h"

#include "dialect/context.h"
#include "runtime/support/nearest.h"

#include <math.h>
#include <mlir-c/AffineExpr.h>
#include <mlir-c/AffineMap.h>
#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static anas_status wrong_kind(const struct anas_attr_def *def, MlirAttribute attribute, const char *expected) {
  struct anas_strbuf text = {0};
  mlirAttributePrint(attribute, anas_print_to_strbuf, &text);
  anas_status status =
      anas_fail(ANAS_INVALID, "attribute '%s' expects %s, got %s", def->name, expected, anas_strbuf_text(&text));
  anas_strbuf_deinit(&text);
  return status;
}

static bool is_plain_integer(MlirAttribute attribute, int64_t *out) {
  if (!mlirAttributeIsAInteger(attribute)) return false;
  MlirType type = mlirAttributeGetType(attribute);
  if (mlirTypeIsAInteger(type)) {
    unsigned width = mlirIntegerTypeGetWidth(type);
    if (!mlirIntegerTypeIsSignless(type) || width < 2 || width > 64) return false;
  } else if (!mlirTypeIsAIndex(type)) {
    return false;
  }
  *out = mlirIntegerAttrGetValueInt(attribute);
  return true;
}

// The f32 attribute 0.1 stands for the decimal 0.1, not for the double nearest to its float: defaults in the op table
// are decimals too, and both spellings must compare equal.
static double decimal_of_float(double value) {
  char text[40];
  for (int digits = 6; digits <= 9; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, value);
    if (strtof(text, NULL) == (float)value) break;
  }
  return strtod(text, NULL);
}

static anas_status read_float(const struct anas_attr_def *def, MlirAttribute attribute, double *out) {
  int64_t integer;
  if (is_plain_integer(attribute, &integer)) {
    *out = (double)integer;
    return ANAS_OK;
  }
  if (!mlirAttributeIsAFloat(attribute)) return wrong_kind(def, attribute, "a number like 0.1 : f32");
  double value = mlirFloatAttrGetValueDouble(attribute);
  if (!isfinite(value)) return wrong_kind(def, attribute, "a finite number");
  *out = mlirTypeIsAF32(mlirAttributeGetType(attribute)) ? decimal_of_float(value) : value;
  return ANAS_OK;
}

static anas_status read_ints(const struct anas_attr_def *def, MlirAttribute attribute, struct anas_ints *out) {
  static const char expected[] = "an integer or array<i64: ...> of at most 8 entries";
  struct anas_ints ints = {0};
  intptr_t count = 1;
  if (is_plain_integer(attribute, &ints.value[0])) {
    ints.count = 1;
    *out = ints;
    return ANAS_OK;
  }
  bool is64 = mlirAttributeIsADenseI64Array(attribute), is32 = mlirAttributeIsADenseI32Array(attribute);
  bool list = mlirAttributeIsAArray(attribute);
  if (is64 || is32)
    count = mlirDenseArrayGetNumElements(attribute);
  else if (list)
    count = mlirArrayAttrGetNumElements(attribute);
  else
    return wrong_kind(def, attribute, expected);
  if (count < 1 || count > ANAS_MAX_RANK) return wrong_kind(def, attribute, expected);
  ints.count = (int)count;
  for (intptr_t i = 0; i < count; i++) {
    if (is64)
      ints.value[i] = mlirDenseI64ArrayGetElement(attribute, i);
    else if (is32)
      ints.value[i] = mlirDenseI32ArrayGetElement(attribute, i);
    else if (!is_plain_integer(mlirArrayAttrGetElement(attribute, i), &ints.value[i]))
      return wrong_kind(def, attribute, expected);
  }
  *out = ints;
  return ANAS_OK;
}

static anas_status read_enum(const struct anas_attr_def *def, MlirAttribute attribute, int64_t *out) {
  struct anas_strbuf choices = {0};
  anas_strbuf_adds(&choices, "one of");
  MlirStringRef text = {0};
  bool is_string = mlirAttributeIsAString(attribute);
  if (is_string) text = mlirStringAttrGetValue(attribute);
  for (int i = 0; def->choices && def->choices[i]; i++) {
    if (is_string && strlen(def->choices[i]) == text.length && !memcmp(def->choices[i], text.data, text.length)) {
      anas_strbuf_deinit(&choices);
      *out = i;
      return ANAS_OK;
    }
    anas_strbuf_addf(&choices, "%s \"%s\"", i ? "," : "", def->choices[i]);
  }
  anas_status status = wrong_kind(def, attribute, anas_strbuf_text(&choices));
  anas_strbuf_deinit(&choices);
  return status;
}

static anas_status read_text(const struct anas_attr_def *def, MlirAttribute attribute, char *out) {
  if (!mlirAttributeIsAString(attribute)) return wrong_kind(def, attribute, "a string in double quotes");
  MlirStringRef text = mlirStringAttrGetValue(attribute);
  if (!text.length) text.data = ""; // MLIR's empty string has no characters to point to
  if (text.length >= ANAS_MAX_TEXT || memchr(text.data, 0, text.length))
    return anas_fail(ANAS_INVALID, "attribute '%s' has %zu characters; it may have %d, none of them zero", def->name,
                     text.length, ANAS_MAX_TEXT - 1);
  memcpy(out, text.data, text.length);
  out[text.length] = 0;
  return ANAS_OK;
}

// d, d * m, d floordiv k, (d floordiv k) * m: the forms MLIR's own simplification leaves of those.
static bool read_affine(MlirAffineExpr expr, struct anas_dim_expr *out) {
  struct anas_dim_expr dim = {.relative = true, .mul = 1, .div = 1};
  if (mlirAffineExprIsAConstant(expr)) {
    *out = (struct anas_dim_expr){.constant = mlirAffineConstantExprGetValue(expr)};
    return true;
  }
  if (mlirAffineExprIsAMul(expr)) {
    MlirAffineExpr factor = mlirAffineBinaryOpExprGetRHS(expr);
    if (!mlirAffineExprIsAConstant(factor)) return false;
    dim.mul = mlirAffineConstantExprGetValue(factor);
    expr = mlirAffineBinaryOpExprGetLHS(expr);
  }
  if (mlirAffineExprIsAFloorDiv(expr)) {
    MlirAffineExpr divisor = mlirAffineBinaryOpExprGetRHS(expr);
    if (!mlirAffineExprIsAConstant(divisor)) return false;
    dim.div = mlirAffineConstantExprGetValue(divisor);
    expr = mlirAffineBinaryOpExprGetLHS(expr);
  }
  if (!mlirAffineExprIsADim(expr) || dim.div < 1 || dim.mul < 1) return false;
  dim.axis = (int)mlirAffineDimExprGetPosition(expr);
  *out = dim;
  return true;
}

static anas_status read_dim(const struct anas_attr_def *def, MlirAttribute attribute, int operand0_rank,
                            struct anas_dim_expr *out) {
  static const char expected[] = "a positive integer, an affine map like affine_map<(n, h, w, c) -> (c * 2)>, or text "
                                 "like \"S:-1*2\"";
  struct anas_dim_expr dim = {0};
  if (is_plain_integer(attribute, &dim.constant)) {
    if (dim.constant < 1) return wrong_kind(def, attribute, expected);
  } else if (mlirAttributeIsAAffineMap(attribute)) {
    MlirAffineMap map = mlirAffineMapAttrGetValue(attribute);
    intptr_t dims = mlirAffineMapGetNumDims(map);
    if (mlirAffineMapGetNumResults(map) != 1 || !read_affine(mlirAffineMapGetResult(map, 0), &dim) ||
        (!dim.relative && dim.constant < 1))
      return wrong_kind(def, attribute, "an affine map of one dimension: d, d * m, d floordiv k or d floordiv k * m");
    if (operand0_rank && dims != operand0_rank)
      return anas_fail(ANAS_INVALID, "the affine map of attribute '%s' has %d dimensions, but operand 0 has rank %d",
                       def->name, (int)dims, operand0_rank);
    // The last dimension stays the last one when the rank changes.
    if (dim.relative && dim.axis == dims - 1) dim.axis = -1;
  } else if (mlirAttributeIsAString(attribute)) {
    MlirStringRef text = mlirStringAttrGetValue(attribute);
    anas_status status = anas_dim_parse(text.data, text.length, &dim);
    if (status) return anas_fail_context(status, "attribute '%s': ", def->name);
  } else {
    return wrong_kind(def, attribute, expected);
  }
  *out = dim;
  return ANAS_OK;
}

static anas_status read_dims_entry(const struct anas_attr_def *def, MlirAttribute attribute, int operand0_rank,
                                   bool first, int64_t *out) {
  if (mlirAttributeIsAString(attribute)) {
    MlirStringRef text = mlirStringAttrGetValue(attribute);
    return anas_dims_parse_entry(text.data, text.length, first, out);
  }
  int64_t number;
  if (is_plain_integer(attribute, &number)) {
    ANAS_RETURN_IF_ERROR(anas_dims_check_entry(number));
    *out = number;
    return ANAS_OK;
  }
  struct anas_dim_expr dim;
  ANAS_RETURN_IF_ERROR(read_dim(def, attribute, operand0_rank, &dim));
  if (dim.div > ANAS_MAX_DIMS_FACTOR || dim.mul > ANAS_MAX_DIMS_FACTOR)
    return wrong_kind(def, attribute, "a smaller divisor and factor");
  *out = dim.relative ? anas_dims_pack(&dim) : dim.constant;
  return ANAS_OK;
}

static anas_status read_dims(const struct anas_attr_def *def, MlirAttribute attribute, int operand0_rank,
                             struct anas_ints *out) {
  struct anas_ints dims = {0};
  intptr_t count = mlirAttributeIsAArray(attribute) ? mlirArrayAttrGetNumElements(attribute) : 0;
  if (mlirAttributeIsADenseI64Array(attribute)) {
    ANAS_RETURN_IF_ERROR(read_ints(def, attribute, &dims));
    for (int i = 0; i < dims.count; i++)
      ANAS_RETURN_IF_ERROR(anas_dims_check_entry(dims.value[i]));
    *out = dims;
    return ANAS_OK;
  }
  if (mlirAttributeIsAInteger(attribute) || mlirAttributeIsAAffineMap(attribute)) { // a list of one
    ANAS_RETURN_IF_ERROR(read_dims_entry(def, attribute, operand0_rank, true, &dims.value[0]));
    dims.count = 1;
    *out = dims;
    return ANAS_OK;
  }
  if (count < 1 || count > ANAS_MAX_RANK)
    return wrong_kind(def, attribute, "a list of 1 to 8 extents like [\"B\", -1, \"S:-1%3\"]");
  for (intptr_t i = 0; i < count; i++) {
    anas_status status =
        read_dims_entry(def, mlirArrayAttrGetElement(attribute, i), operand0_rank, i == 0, &dims.value[i]);
    if (status) return anas_fail_context(status, "entry %d of attribute '%s': ", (int)i, def->name);
  }
  dims.count = (int)count;
  *out = dims;
  return ANAS_OK;
}

static anas_status read_init(const struct anas_attr_def *def, MlirAttribute attribute, struct anas_init *out) {
  if (!mlirAttributeIsAString(attribute)) return wrong_kind(def, attribute, "an initialiser like \"normal(0.02)\"");
  MlirStringRef text = mlirStringAttrGetValue(attribute);
  anas_status status = anas_init_parse(text.data, text.length, out);
  return status ? anas_fail_context(status, "attribute '%s': ", def->name) : ANAS_OK;
}

anas_status anas_attr_from_mlir(const struct anas_attr_def *def, MlirAttribute attribute, int operand0_rank,
                                struct anas_attr *out) {
  struct anas_attr attr = {.present = true};
  switch (def->kind) {
  case ANAS_ATTR_INT:
    if (!is_plain_integer(attribute, &attr.value.i)) return wrong_kind(def, attribute, "an integer like 3 : i64");
    break;
  case ANAS_ATTR_FLOAT: ANAS_RETURN_IF_ERROR(read_float(def, attribute, &attr.value.f)); break;
  case ANAS_ATTR_BOOL:
    if (!mlirAttributeIsABool(attribute)) return wrong_kind(def, attribute, "true or false");
    attr.value.b = mlirBoolAttrGetValue(attribute);
    break;
  case ANAS_ATTR_INTS: ANAS_RETURN_IF_ERROR(read_ints(def, attribute, &attr.value.ints)); break;
  case ANAS_ATTR_ENUM: ANAS_RETURN_IF_ERROR(read_enum(def, attribute, &attr.value.i)); break;
  case ANAS_ATTR_TEXT: ANAS_RETURN_IF_ERROR(read_text(def, attribute, attr.value.text)); break;
  case ANAS_ATTR_DIM: ANAS_RETURN_IF_ERROR(read_dim(def, attribute, operand0_rank, &attr.value.dim)); break;
  case ANAS_ATTR_DIMS: ANAS_RETURN_IF_ERROR(read_dims(def, attribute, operand0_rank, &attr.value.ints)); break;
  case ANAS_ATTR_INIT: ANAS_RETURN_IF_ERROR(read_init(def, attribute, &attr.value.init)); break;
  }
  *out = attr;
  return ANAS_OK;
}

// ---- whole dictionaries

static anas_status unknown_attribute(const struct anas_op_def *def, MlirStringRef name) {
  const char *nearest = NULL;
  int best = 0;
  for (int i = 0; i < def->num_attrs; i++) {
    int distance = anas_edit_distance(name.data, name.length, def->attrs[i].name, strlen(def->attrs[i].name));
    if (nearest && distance >= best) continue;
    best = distance;
    nearest = def->attrs[i].name;
  }
  if (!nearest)
    return anas_fail(ANAS_INVALID, "'anas.%s' has no attribute '%.*s'; it takes none but anas.name", def->name,
                     (int)name.length, name.data);
  return anas_fail(ANAS_INVALID, "'anas.%s' has no attribute '%.*s'; did you mean '%s'?", def->name, (int)name.length,
                   name.data, nearest);
}

static anas_status read_named(const struct anas_op_def *def, MlirNamedAttribute named, int operand0_rank,
                              struct anas_attr *out) {
  MlirStringRef name = mlirIdentifierStr(named.name);
  if (mlirStringRefEqual(name, anas_ref_text("anas.name"))) return ANAS_OK;
  for (int i = 0; i < def->num_attrs; i++)
    if (mlirStringRefEqual(name, anas_ref_text(def->attrs[i].name))) {
      anas_status status = anas_attr_from_mlir(&def->attrs[i], named.attribute, operand0_rank, &out[i]);
      return status ? anas_fail_context(status, "'anas.%s': ", def->name) : ANAS_OK;
    }
  return unknown_attribute(def, name);
}

static anas_status check_required(const struct anas_op_def *def, const struct anas_attr *attrs) {
  for (int i = 0; i < def->num_attrs; i++)
    if (def->attrs[i].required && !attrs[i].present)
      return anas_fail(ANAS_INVALID, "'anas.%s' needs attribute '%s' (%s)", def->name, def->attrs[i].name,
                       def->attrs[i].doc ? def->attrs[i].doc : "required");
  return ANAS_OK;
}

anas_status anas_attrs_from_dictionary(const struct anas_op_def *def, MlirAttribute dictionary, int operand0_rank,
                                       struct anas_attr *out) {
  struct anas_attr attrs[ANAS_MAX_ATTRS] = {0};
  if (!mlirAttributeIsADictionary(dictionary))
    return anas_fail(ANAS_INVALID, "attributes of 'anas.%s' must be a dictionary", def->name);
  for (intptr_t i = 0; i < mlirDictionaryAttrGetNumElements(dictionary); i++)
    ANAS_RETURN_IF_ERROR(read_named(def, mlirDictionaryAttrGetElement(dictionary, i), operand0_rank, attrs));
  ANAS_RETURN_IF_ERROR(check_required(def, attrs));
  memcpy(out, attrs, sizeof attrs);
  return ANAS_OK;
}

anas_status anas_attrs_from_operation(const struct anas_op_def *def, MlirOperation operation, int operand0_rank,
                                      struct anas_attr *out) {
  struct anas_attr attrs[ANAS_MAX_ATTRS] = {0};
  for (intptr_t i = 0; i < mlirOperationGetNumAttributes(operation); i++)
    ANAS_RETURN_IF_ERROR(read_named(def, mlirOperationGetAttribute(operation, i), operand0_rank, attrs));
  ANAS_RETURN_IF_ERROR(check_required(def, attrs));
  memcpy(out, attrs, sizeof attrs);
  return ANAS_OK;
}

// ---- printing

void anas_print_quoted(const char *text, struct anas_strbuf *out) {
  anas_strbuf_adds(out, "\"");
  for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
    if (*c == '\\')
      anas_strbuf_adds(out, "\\\\");
    else if (*c == '"' || *c < 0x20 || *c >= 0x7f)
      anas_strbuf_addf(out, "\\%02X", *c);
    else
      anas_strbuf_add(out, (const char *)c, 1);
  }
  anas_strbuf_adds(out, "\"");
}

// Shortest decimal that reads back as the same double, in MLIR's grammar (the point is mandatory).
static void print_float(double value, struct anas_strbuf *out) {
  char text[40];
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, value);
    if (strtod(text, NULL) == value) break;
  }
  size_t mantissa = strcspn(text, "e");
  anas_strbuf_add(out, text, mantissa);
  if (!memchr(text, '.', mantissa)) anas_strbuf_adds(out, ".0");
  anas_strbuf_adds(out, text + mantissa);
  anas_strbuf_adds(out, " : f64");
}

static void add_i64(struct anas_strbuf *out, int64_t value) {
  anas_strbuf_addi(out, value);
  anas_strbuf_adds(out, " : i64");
}

static void print_dim(const struct anas_dim_expr *dim, int operand0_rank, struct anas_strbuf *out) {
  if (!dim->relative) {
    add_i64(out, dim->constant);
    return;
  }
  int axis = dim->axis < 0 ? dim->axis + operand0_rank : dim->axis;
  // A positive last axis would be read back as -1, so it keeps the textual form, like axes of other operands.
  if (dim->operand || !operand0_rank || axis < 0 || axis >= operand0_rank ||
      (dim->axis < 0) != (axis == operand0_rank - 1)) {
    char text[64];
    anas_dim_text(dim, text);
    anas_strbuf_addf(out, "\"%s\"", text);
    return;
  }
  anas_strbuf_adds(out, "affine_map<(");
  for (int i = 0; i < operand0_rank; i++)
    anas_strbuf_addf(out, "%sd%d", i ? ", " : "", i);
  anas_strbuf_adds(out, ") -> (");
  if (dim->div > 1 && dim->mul > 1)
    anas_strbuf_addf(out, "(d%d floordiv %lld) * %lld", axis, (long long)dim->div, (long long)dim->mul);
  else if (dim->div > 1)
    anas_strbuf_addf(out, "d%d floordiv %lld", axis, (long long)dim->div);
  else if (dim->mul > 1)
    anas_strbuf_addf(out, "d%d * %lld", axis, (long long)dim->mul);
  else
    anas_strbuf_addf(out, "d%d", axis);
  anas_strbuf_adds(out, ")>");
}

static void print_dims(const struct anas_ints *dims, struct anas_strbuf *out) {
  for (int i = 0; i < dims->count; i++) {
    char text[64];
    struct anas_dim_expr dim = anas_dims_unpack(dims->value[i]);
    anas_strbuf_adds(out, i ? ", " : "[");
    if (dims->value[i] == ANAS_DIMS_BATCH) {
      anas_strbuf_adds(out, "\"B\"");
    } else if (anas_dims_is_packed(dims->value[i])) {
      anas_dim_text(&dim, text);
      anas_strbuf_addf(out, "\"%s\"", text);
    } else {
      anas_strbuf_addi(out, dims->value[i]);
    }
  }
  anas_strbuf_adds(out, "]");
}

static void print_init(const struct anas_init *init, struct anas_strbuf *out) {
  char text[96];
  anas_init_text(init, text);
  anas_print_quoted(text, out);
}

void anas_attr_print(const struct anas_attr_def *def, const struct anas_attr *attr, int operand0_rank,
                     struct anas_strbuf *out) {
  switch (def->kind) {
  case ANAS_ATTR_INT: add_i64(out, attr->value.i); break;
  case ANAS_ATTR_FLOAT: print_float(attr->value.f, out); break;
  case ANAS_ATTR_BOOL: anas_strbuf_adds(out, attr->value.b ? "true" : "false"); break;
  case ANAS_ATTR_INTS:
    if (attr->value.ints.count == 1 && !def->list) {
      add_i64(out, attr->value.ints.value[0]);
      break;
    }
    anas_strbuf_adds(out, "array<i64");
    for (int i = 0; i < attr->value.ints.count; i++) {
      anas_strbuf_adds(out, i ? ", " : ": ");
      anas_strbuf_addi(out, attr->value.ints.value[i]);
    }
    anas_strbuf_adds(out, ">");
    break;
  case ANAS_ATTR_ENUM: anas_print_quoted(def->choices[attr->value.i], out); break;
  case ANAS_ATTR_TEXT: anas_print_quoted(attr->value.text, out); break;
  case ANAS_ATTR_DIM: print_dim(&attr->value.dim, operand0_rank, out); break;
  case ANAS_ATTR_DIMS: print_dims(&attr->value.ints, out); break;
  case ANAS_ATTR_INIT: print_init(&attr->value.init, out); break;
  }
}

bool anas_attr_equal(const struct anas_attr_def *def, const struct anas_attr *a, const struct anas_attr *b) {
  if (a->present != b->present) return false;
  if (!a->present) return true;
  switch (def->kind) {
  case ANAS_ATTR_INT:
  case ANAS_ATTR_ENUM: return a->value.i == b->value.i;
  case ANAS_ATTR_FLOAT: return a->value.f == b->value.f;
  case ANAS_ATTR_TEXT: return !strcmp(a->value.text, b->value.text);
  case ANAS_ATTR_BOOL: return a->value.b == b->value.b;
  case ANAS_ATTR_INIT: return anas_init_equal(&a->value.init, &b->value.init);
  case ANAS_ATTR_INTS:
  case ANAS_ATTR_DIMS:
    return a->value.ints.count == b->value.ints.count &&
           !memcmp(a->value.ints.value, b->value.ints.value, (size_t)a->value.ints.count * sizeof(int64_t));
  case ANAS_ATTR_DIM: {
    const struct anas_dim_expr *p = &a->value.dim, *q = &b->value.dim;
    if (p->relative != q->relative) return false;
    if (!p->relative) return p->constant == q->constant;
    return p->operand == q->operand && p->axis == q->axis && p->div == q->div && p->mul == q->mul;
  }
  }
  return false;
}
