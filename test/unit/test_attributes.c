// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The symbolic grammar against the reference table (cases C1), attribute values and tensor types.
#include "dialect/attributes.h"
#include "dialect/context.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <mlir-c/BuiltinAttributes.h>

static MlirContext context;

static int start(void **state) {
  (void)state;
  context = anas_context_create(false);
  return 0;
}

static int stop(void **state) {
  (void)state;
  mlirContextDestroy(context);
  return 0;
}

static const struct anas_shape operands[] = {
    {.rank = 4, .dim = {5, 16, 16, 64}},
    {.rank = 4, .dim = {5, 8, 9, 3}},
};

static anas_status evaluate(const char *text, int64_t *out_value) {
  struct anas_dim_expr dim;
  ANAS_RETURN_IF_ERROR(anas_dim_parse(text, strlen(text), &dim));
  return anas_dim_resolve(&dim, operands, 2, out_value);
}

static void symbolic_values(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t value;
  } cases[] = {
      {"7", 7},       {"S:-1", 64}, {"S:-1*2", 128}, {"S:-1%4", 16}, {"S:-1%4*3", 48},
      {"S:0:-1", 64}, {"S:1", 16},  {"S:1:2", 9},    {"S:1:-1", 3},  {"S:0:0", 5},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int64_t value = 0;
    assert_int_equal(evaluate(cases[i].text, &value), ANAS_OK);
    assert_int_equal(value, cases[i].value);
    struct anas_dim_expr dim, again;
    char text[64], second[64];
    assert_int_equal(anas_dim_parse(cases[i].text, strlen(cases[i].text), &dim), ANAS_OK);
    anas_dim_text(&dim, text);
    assert_int_equal(anas_dim_parse(text, strlen(text), &again), ANAS_OK);
    anas_dim_text(&again, second);
    assert_string_equal(text, second);
  }
}

static void symbolic_errors(void **state) {
  (void)state;
  static const struct {
    const char *text, *message;
    anas_status status;
  } cases[] = {
      {"S:-1%3", "divides extent 64", ANAS_INVALID},
      {"S:-1*2%4", "in this order", ANAS_INVALID},
      {"S:-1*2*2", "at most one", ANAS_INVALID},
      {"S:-1%2%2", "at most one", ANAS_INVALID},
      {"S:-1%0", "divisor must be a positive", ANAS_INVALID},
      {"S:-1*0", "factor must be a positive", ANAS_INVALID},
      {"S:", "axis must be an integer", ANAS_INVALID},
      {"S:9", "no such axis", ANAS_INVALID},
      {"S:4", "refers to axis 4 of operand 0", ANAS_INVALID},
      {"S:2:0", "refers to operand 2", ANAS_INVALID},
      {"S:99999999999999999999", "axis must be an integer", ANAS_INVALID},
      {"S:conv1:-1", "named tensors", ANAS_UNSUPPORTED},
      {"K:num_heads", "named constants", ANAS_UNSUPPORTED},
      {"K:num_heads*2", "named constants", ANAS_UNSUPPORTED},
      {"Q:1", "must start with S:", ANAS_INVALID},
      {"abc", "must start with S:", ANAS_INVALID},
      {"2.5", "must start with S:", ANAS_INVALID},
      {"B", "must start with S:", ANAS_INVALID},
      {"", "must start with S:", ANAS_INVALID},
      {"0", "is positive", ANAS_INVALID},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int64_t value = 12345;
    if (evaluate(cases[i].text, &value) != cases[i].status || !strstr(anas_error_message(), cases[i].message))
      fail_msg("\"%s\": %s", cases[i].text, anas_error_message());
    assert_int_equal(value, 12345);
  }
  struct anas_shape dynamic = {.rank = 2, .dim = {ANAS_DYNAMIC, 4}};
  struct anas_dim_expr dim = {.relative = true, .axis = 0, .mul = 1, .div = 1};
  int64_t value;
  assert_int_equal(anas_dim_resolve(&dim, &dynamic, 1, &value), ANAS_INVALID);
}

// Reads text as an attribute of this kind and prints it again.
static const char *reprint(struct anas_attr_def *def, const char *text, int rank, struct anas_strbuf *out) {
  anas_strbuf_clear(out);
  struct anas_attr attr;
  MlirAttribute attribute = mlirAttributeParseGet(context, anas_ref_text(text));
  assert_false(mlirAttributeIsNull(attribute));
  if (anas_attr_from_mlir(def, attribute, rank, &attr)) return anas_error_message();
  anas_attr_print(def, &attr, rank, out);
  struct anas_attr again;
  assert_int_equal(anas_attr_from_mlir(def, mlirAttributeParseGet(context, anas_ref_text(out->data)), rank, &again),
                   ANAS_OK);
  assert_true(anas_attr_equal(def, &attr, &again));
  return anas_strbuf_text(out);
}

static void attribute_values(void **state) {
  (void)state;
  struct anas_strbuf out = {0};
  struct anas_attr_def number = {.name = "a", .kind = ANAS_ATTR_INT}, real = {.name = "a", .kind = ANAS_ATTR_FLOAT},
                       flag = {.name = "a", .kind = ANAS_ATTR_BOOL}, ints = {.name = "a", .kind = ANAS_ATTR_INTS},
                       list = {.name = "a", .kind = ANAS_ATTR_INTS, .list = true},
                       text = {.name = "a", .kind = ANAS_ATTR_TEXT}, dim = {.name = "a", .kind = ANAS_ATTR_DIM};
  assert_string_equal(reprint(&number, "-3", 4, &out), "-3 : i64");
  assert_string_equal(reprint(&number, "3 : index", 4, &out), "3 : i64");
  assert_non_null(strstr(reprint(&number, "true", 4, &out), "expects an integer"));
  assert_string_equal(reprint(&real, "0.1 : f32", 4, &out), "0.1 : f64");
  assert_string_equal(reprint(&real, "0.1", 4, &out), "0.1 : f64");
  assert_string_equal(reprint(&real, "1.0e-05 : f32", 4, &out), "1.0e-05 : f64");
  assert_string_equal(reprint(&real, "2 : i64", 4, &out), "2.0 : f64");
  assert_string_equal(reprint(&real, "1.2345678901234567", 4, &out), "1.2345678901234567 : f64");
  assert_non_null(strstr(reprint(&real, "0x7FC00000 : f32", 4, &out), "finite"));
  assert_string_equal(reprint(&flag, "false", 4, &out), "false");
  assert_string_equal(reprint(&ints, "3 : i64", 4, &out), "3 : i64");
  assert_string_equal(reprint(&ints, "array<i64: 3>", 4, &out), "3 : i64");
  assert_string_equal(reprint(&ints, "array<i32: 3, 1>", 4, &out), "array<i64: 3, 1>");
  assert_string_equal(reprint(&ints, "[3, 1]", 4, &out), "array<i64: 3, 1>");
  assert_string_equal(reprint(&list, "array<i64: 3>", 4, &out), "array<i64: 3>");
  assert_non_null(strstr(reprint(&ints, "array<i64: 1,1,1,1,1,1,1,1,1>", 4, &out), "at most 8"));
  assert_string_equal(reprint(&text, "\"...qhd, khd->hqk\"", 4, &out), "\"...qhd, khd->hqk\"");
  assert_string_equal(reprint(&text, "\"\"", 4, &out), "\"\"");
  assert_string_equal(reprint(&text, "\"a\\22\\0A\"", 4, &out), "\"a\\22\\0A\"");
  assert_non_null(strstr(reprint(&text, "7 : i64", 4, &out), "a string"));
  assert_non_null(strstr(reprint(&text, "\"a\\00b\"", 4, &out), "has 3 characters"));
  char longest[ANAS_MAX_TEXT + 3];
  memset(longest, 'x', sizeof longest);
  longest[0] = longest[ANAS_MAX_TEXT] = '"';
  longest[ANAS_MAX_TEXT + 1] = 0;
  assert_string_equal(reprint(&text, longest, 4, &out), longest);
  longest[ANAS_MAX_TEXT] = 'x';
  longest[ANAS_MAX_TEXT + 1] = '"';
  longest[ANAS_MAX_TEXT + 2] = 0;
  assert_non_null(strstr(reprint(&text, longest, 4, &out), "has 72 characters; it may have 71"));
  assert_string_equal(reprint(&dim, "64 : i64", 4, &out), "64 : i64");
  assert_string_equal(reprint(&dim, "\"S:-1*2\"", 4, &out), "affine_map<(d0, d1, d2, d3) -> (d3 * 2)>");
  assert_string_equal(reprint(&dim, "\"S:-1*2\"", 0, &out), "\"S:-1*2\"");
  assert_string_equal(reprint(&dim, "\"S:-1%4*3\"", 3, &out), "affine_map<(d0, d1, d2) -> ((d2 floordiv 4) * 3)>");
  assert_string_equal(reprint(&dim, "\"S:1%4\"", 3, &out), "affine_map<(d0, d1, d2) -> (d1 floordiv 4)>");
  assert_string_equal(reprint(&dim, "\"S:1:2\"", 4, &out), "\"S:1:2\"");
  assert_string_equal(reprint(&dim, "\"S:3\"", 4, &out), "\"S:3\"");
  assert_string_equal(reprint(&dim, "affine_map<(n, c) -> (c)>", 2, &out), "affine_map<(d0, d1) -> (d1)>");
  assert_string_equal(reprint(&dim, "affine_map<(n, c) -> (7)>", 2, &out), "7 : i64");
  assert_non_null(strstr(reprint(&dim, "affine_map<(n, c) -> (c, n)>", 2, &out), "one dimension"));
  assert_non_null(strstr(reprint(&dim, "affine_map<(n, c) -> (c mod 2)>", 2, &out), "one dimension"));
  assert_non_null(strstr(reprint(&dim, "affine_map<(n, c) -> (c * -2)>", 2, &out), "one dimension"));
  assert_non_null(strstr(reprint(&dim, "0 : i64", 2, &out), "positive integer"));
  anas_strbuf_deinit(&out);
}

static void extents_and_initialisers(void **state) {
  (void)state;
  struct anas_strbuf out = {0};
  struct anas_attr_def dims = {.name = "a", .kind = ANAS_ATTR_DIMS}, init = {.name = "a", .kind = ANAS_ATTR_INIT};
  static const struct {
    const char *text, *printed; // printed starting with '!': part of the message
  } lists[] = {
      {"[\"B\", -1, 3, \"S:-1%3\"]", "[\"B\", -1, 3, \"S:-1%3\"]"},
      {"[7 : index, \"12\", \"-1\"]", "[7, 12, -1]"},
      {"array<i64: 1, 196, 192>", "[1, 196, 192]"},
      {"[\"S:1:-2%4*16777215\"]", "[\"S:1:-2%4*16777215\"]"},
      {"[affine_map<(n, h, w, c) -> (c floordiv 2)>]", "[\"S:-1%2\"]"},
      {"[affine_map<(n, h, w, c) -> (h * 3)>]", "[\"S:1*3\"]"},
      {"[3, \"B\"]", "!can only be the first"},
      {"[0]", "!0 is no extent"},
      {"[-2]", "!-2 is no extent"},
      {"[2147483648]", "!is no extent"},
      {"array<i64: 0>", "!0 is no extent"},
      {"[]", "!a list of 1 to 8 extents"},
      {"[1,1,1,1,1,1,1,1,1]", "!a list of 1 to 8 extents"},
      {"7 : i64", "[7]"},
      {"affine_map<(n, h, w, c) -> (c)>", "[\"S:-1\"]"},
      {"0 : i64", "!0 is no extent"},
      {"\"7\"", "!a list of 1 to 8 extents"},
      {"[\"S:-1%16777216\"]", "!may be 16777215 at most"},
      {"[\"S:-1%\"]", "!divisor must be a positive"},
      {"[1.5]", "!a positive integer"},
  };
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
    const char *printed = reprint(&dims, lists[i].text, 4, &out);
    if (lists[i].printed[0] == '!' ? !strstr(printed, lists[i].printed + 1) : strcmp(printed, lists[i].printed) != 0)
      fail_msg("%s: %s", lists[i].text, printed);
  }
  static const char *const inits[][2] = {
      {"zeros", "zeros"},
      {"ones", "ones"},
      {"he_normal", "he_normal"},
      {"constant(1.0)", "ones"},
      {"constant(-0.5)", "constant(-0.5)"},
      {"normal(0.020)", "normal(0.02)"},
      {"normal( 1e-6 )", "normal(1e-06)"},
      {"truncated_normal(0.02)", "truncated_normal(0.02)"},
      {"uniform(0.1)", "uniform(0.1)"},
      {"variance_scaling(1, fan_in, truncated_normal)", "lecun_normal"},
      {"variance_scaling(1,fan_avg,uniform)", "xavier_uniform"},
      {"variance_scaling(2.0, fan_out, truncated_normal)", "variance_scaling(2, fan_out, truncated_normal)"},
      {"", "!unknown"},
      {"normal", "!unknown"},
      {"normal()", "!unknown"},
      {"normal(x)", "!unknown"},
      {"normal(inf)", "!unknown"},
      {"normal(-1)", "!negative"},
      {"normal(1,2)", "!unknown"},
      {"normal(1", "!unknown"},
      {"glorot", "!unknown"},
      {"variance_scaling(1, fan, normal)", "!unknown"},
      {"variance_scaling(1, fan_in, constant)", "!unknown"},
      {"variance_scaling(1, fan_in, normal, 3)", "!unknown"},
      {"normal(111111111111111111111111111111111111111111111111111111111111111111111111111111111111111)", "!unknown"},
  };
  for (size_t i = 0; i < sizeof inits / sizeof *inits; i++) {
    char quoted[128], want[128];
    snprintf(quoted, sizeof quoted, "\"%s\"", inits[i][0]);
    snprintf(want, sizeof want, "\"%s\"", inits[i][1]);
    const char *printed = reprint(&init, quoted, 4, &out);
    if (inits[i][1][0] == '!' ? !strstr(printed, inits[i][1] + 1) : strcmp(printed, want) != 0)
      fail_msg("%s: %s", quoted, printed);
  }
  assert_non_null(strstr(reprint(&init, "3 : i64", 4, &out), "an initialiser like"));
  anas_strbuf_deinit(&out);
}

static void tensor_types(void **state) {
  (void)state;
  static const char *const good[] = {"?x32x32x3xf32", "1xi64", "2x3x4x5x6x7x8x9xi32"};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    struct anas_shape shape, again;
    char text[128];
    assert_int_equal(anas_shape_parse(good[i], &shape), ANAS_OK);
    assert_string_equal(anas_shape_text(&shape, text), good[i]);
    assert_int_equal(anas_shape_from_type(anas_shape_to_type(context, &shape), &again), ANAS_OK);
    assert_true(anas_shape_equal(&shape, &again));
  }
  static const char *const bad[] = {"", "2x", "2xf16", "2f32", "xf32", "1x1x1x1x1x1x1x1x1xf32", "-2xf32"};
  struct anas_shape shape;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (anas_shape_parse(bad[i], &shape) == ANAS_OK) fail_msg("\"%s\" was accepted", bad[i]);
  assert_int_equal(anas_shape_from_type(mlirTypeParseGet(context, anas_ref_text("tensor<f32>")), &shape),
                   ANAS_UNSUPPORTED);
  assert_int_equal(anas_shape_from_type(mlirTypeParseGet(context, anas_ref_text("i32")), &shape), ANAS_UNSUPPORTED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(symbolic_values),          cmocka_unit_test(symbolic_errors), cmocka_unit_test(attribute_values),
      cmocka_unit_test(extents_and_initialisers), cmocka_unit_test(tensor_types),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
