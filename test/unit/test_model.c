// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Models: import, printing, export, resolution, shape inference, errors.
#include "dialect/attributes.h"
#include "dialect/context.h"
#include "dialect/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <mlir-c/Diagnostics.h>

static MlirContext context;
static struct anas_strbuf diagnostics; // every error seen since the last clear

static MlirLogicalResult collect(MlirDiagnostic diagnostic, void *data) {
  (void)data;
  MlirLocation location = mlirDiagnosticGetLocation(diagnostic);
  if (mlirLocationIsAFileLineColRange(location))
    anas_strbuf_addf(&diagnostics, "%d: ", mlirLocationFileLineColRangeGetStartLine(location));
  mlirDiagnosticPrint(diagnostic, anas_print_to_strbuf, &diagnostics);
  anas_strbuf_adds(&diagnostics, "\n");
  return mlirLogicalResultSuccess();
}

static int start(void **state) {
  (void)state;
  context = anas_context_create(false);
  mlirContextAttachDiagnosticHandler(context, collect, NULL, NULL);
  return 0;
}

static int stop(void **state) {
  (void)state;
  mlirContextDestroy(context);
  anas_strbuf_deinit(&diagnostics);
  return 0;
}

static anas_status load(const char *text, struct anas_model **out_model) {
  anas_strbuf_clear(&diagnostics);
  MlirModule module;
  ANAS_RETURN_IF_ERROR(anas_parse(context, text, strlen(text), "test.mlir", &module));
  anas_status status = anas_model_import(module, out_model);
  mlirModuleDestroy(module);
  return status;
}

static char *print(const struct anas_model *model) {
  struct anas_strbuf text = {0};
  anas_model_print(model, &text);
  return anas_strbuf_detach(&text);
}

static void expect_text(const char *text, const char *part) {
  if (!strstr(text, part)) fail_msg("expected \"%s\" in:\n%s", part, text);
}

// Import must fail, or succeed and inference fail, with this text in the diagnostics.
static void expect_error(const char *text, const char *part) {
  struct anas_model *model = NULL;
  anas_status status = load(text, &model);
  if (!status) status = anas_model_infer_shapes(model);
  anas_model_destroy(model);
  assert_int_not_equal(status, ANAS_OK);
  expect_text(anas_strbuf_text(&diagnostics), part);
}

static const char network[] =
    "module @net attributes {anas.seed = 3 : i64, anas.tag} {\n"
    "  func.func @main(%arg0: tensor<?x32x32x3xf32> {anas.producer = \"linear\"}) -> tensor<?x10xf32> attributes "
    "{anas.target_depth = dense<2> : tensor<1x1xi64>} {\n"
    "    %0 = \"anas.conv\"(%arg0) {anas.name = \"stem/conv\", features = 32 : i64, kernel = array<i64: 3, 3>, "
    "use_bias = false} : (tensor<?x32x32x3xf32>) -> tensor<?x32x32x32xf32>\n"
    "    %1 = call @stage0(%0) : (tensor<?x32x32x32xf32>) -> tensor<?x16x16x64xf32>\n"
    "    %2 = \"anas.batch_norm\"(%1) {anas.name = \"bn\", epsilon = 1.0e-05 : f64, momentum = 0.9 : f64} : "
    "(tensor<?x16x16x64xf32>) -> tensor<?x16x16x64xf32>\n"
    "    %3 = \"anas.add\"(%1, %2) : (tensor<?x16x16x64xf32>, tensor<?x16x16x64xf32>) -> tensor<?x16x16x64xf32>\n"
    "    %4 = \"anas.mean\"(%3) {axes = array<i64: 1, 2>} : (tensor<?x16x16x64xf32>) -> tensor<?x64xf32>\n"
    "    %5 = \"anas.dense\"(%4) {anas.name = \"head\", features = 10 : i64} : (tensor<?x64xf32>) -> "
    "tensor<?x10xf32>\n"
    "    return %5 : tensor<?x10xf32>\n"
    "  }\n"
    "  func.func private @stage0(%arg0: tensor<?x32x32x32xf32>) -> tensor<?x16x16x64xf32> attributes {anas.block = "
    "\"down\"} {\n"
    "    %0 = \"anas.conv\"(%arg0) {anas.name = \"conv\", features = affine_map<(d0, d1, d2, d3) -> (d3 * 2)>, kernel "
    "= 3 : i64, strides = 2 : i64} : (tensor<?x32x32x32xf32>) -> tensor<?x16x16x64xf32>\n"
    "    %1 = \"anas.relu\"(%0) : (tensor<?x16x16x64xf32>) -> tensor<?x16x16x64xf32>\n"
    "    return %1 : tensor<?x16x16x64xf32>\n"
    "  }\n"
    "}\n";

static void round_trip(void **state) {
  (void)state;
  struct anas_model *model, *again;
  assert_int_equal(load(network, &model), ANAS_OK);
  char *text = print(model);
  assert_string_equal(text, network);
  assert_int_equal(load(text, &again), ANAS_OK);
  char *second = print(again);
  assert_string_equal(second, text);

  struct anas_model *copy = anas_model_clone(model);
  anas_model_destroy(model); // the clone shares nothing
  char *third = print(copy);
  assert_string_equal(third, text);
  free(text);
  free(second);
  free(third);
  anas_model_destroy(again);
  anas_model_destroy(copy);
}

static void infers_what_was_not_declared(void **state) {
  (void)state;
  struct anas_model *model;
  assert_int_equal(load(network, &model), ANAS_OK);
  anas_model_clear_types(model);
  const struct anas_function *main_function = &model->functions[0];
  assert_int_equal(main_function->nodes[0].result[0].rank, 0);
  assert_int_equal(model->functions[1].arg[0].rank, 0);
  assert_int_equal(anas_model_infer_shapes(model), ANAS_OK);
  char *text = print(model);
  assert_string_equal(text, network);
  free(text);
  anas_model_destroy(model);

  assert_int_equal(load("func.func @main(%x: tensor<?x8x8x3xf32>) -> tensor<*xf32> {\n"
                        "  %0 = \"anas.conv\"(%x) {anas.name = \"c\", features = \"S:1\", kernel = 3 : i64} : "
                        "(tensor<?x8x8x3xf32>) -> tensor<*xf32>\n"
                        "  return %0 : tensor<*xf32>\n}\n",
                        &model),
                   ANAS_OK);
  assert_int_equal(anas_model_infer_shapes(model), ANAS_OK);
  char shape[128];
  assert_string_equal(anas_shape_text(&model->functions[0].result_type[0], shape), "?x8x8x8xf32");
  anas_model_destroy(model);
}

static void writes_back(void **state) {
  (void)state;
  MlirModule module;
  assert_int_equal(anas_parse(context, network, strlen(network), "test.mlir", &module), ANAS_OK);
  struct anas_model *model;
  assert_int_equal(anas_model_import(module, &model), ANAS_OK);
  anas_model_set_extra(model, "anas.seed", "4 : i64");
  anas_function_set_extra(model, &model->functions[0], "anas.target_depth", NULL);
  assert_int_equal(anas_model_write_back(model, module), ANAS_OK);
  assert_true(mlirOperationVerify(mlirModuleGetOperation(module)));
  struct anas_strbuf text = {0};
  anas_operation_text(mlirModuleGetOperation(module), &text);
  expect_text(text.data, "anas.seed = 4 : i64");
  assert_null(strstr(text.data, "anas.target_depth"));
  MlirOperation first = mlirBlockGetFirstOperation(mlirModuleGetBody(module));
  assert_int_equal(mlirLocationFileLineColRangeGetStartLine(mlirOperationGetLocation(first)), 2);
  anas_strbuf_deinit(&text);
  anas_model_destroy(model);
  mlirModuleDestroy(module);
}

static void explains_errors(void **state) {
  (void)state;
#define ONE_OP(op)                                                                                                     \
  "func.func @main(%x: tensor<?x8x8x3xf32>) -> tensor<?x8x8x3xf32> {\n  %0 = " op                                      \
  " : (tensor<?x8x8x3xf32>) -> tensor<?x8x8x3xf32>\n  return %0 : tensor<?x8x8x3xf32>\n}\n"
  expect_error(ONE_OP("\"anas.conv\"(%x) {features = 3 : i64, kernel = 3 : i64, stride = 2 : i64}"),
               "2: 'anas.conv' has no attribute 'stride'; did you mean 'strides'?");
  expect_error(ONE_OP("\"anas.relu\"(%x) {slope = 1}"), "'anas.relu' has no attribute 'slope'; it takes none");
  expect_error(ONE_OP("\"anas.conv\"(%x) {features = 3 : i64, kernel = 3 : i64, padding = \"FULL\"}"),
               "attribute 'padding' expects one of \"SAME\", \"VALID\", got \"FULL\"");
  expect_error(ONE_OP("\"anas.conv\"(%x) {features = 4 : i64, kernel = 3 : i64}"),
               "2: result 0 of 'anas.conv' is declared as tensor<?x8x8x3xf32> but has type tensor<?x8x8x4xf32>");
  expect_error(ONE_OP("\"anas.conv\"(%x) {features = \"S:-1%2\", kernel = 3 : i64}"),
               "divides extent 3 of axis 3 of tensor<?x8x8x3xf32> by 2, which leaves a rest");
  expect_error(ONE_OP("\"anas.conv\"(%x) {features = affine_map<(h, w, c) -> (c)>, kernel = 3 : i64}"),
               "has 3 dimensions, but operand 0 has rank 4");
  expect_error(ONE_OP("\"anas.conv\"(%x) {features = affine_map<(n, h, w, c) -> (c + 1)>, kernel = 3 : i64}"),
               "an affine map of one dimension");
  expect_error(ONE_OP("\"anas.conv\"(%x) {features = 3 : i64, kernel = array<i64: 3, 3, 3>}"),
               "attribute 'kernel' of 'anas.conv' has 3 entries, but operand 0 is tensor<?x8x8x3xf32> with 2 spatial");
  expect_error(ONE_OP("\"math.exp\"(%x)"), "2: 'math.exp' cannot be part of a model");
  expect_error(ONE_OP("\"anas.relu_fwd\"(%x)"), "'anas.relu_fwd' is a training operation");
  expect_error("func.func private @f(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {\n"
               "  %0 = call @f(%x) : (tensor<?x8xf32>) -> tensor<?x8xf32>\n  return %0 : tensor<?x8xf32>\n}\n",
               "'f' calls itself");
  expect_error("func.func @f(%x: tensor<?x8xf64>) -> tensor<?x8xf64> {\n  return %x : tensor<?x8xf64>\n}\n",
               "argument 0 of function 'f': tensor<?x8xf64>: elements are f32, i32 or i64");
#undef ONE_OP
}

static void no_parse_fails_silently(void **state) {
  (void)state;
  MlirModule module;
  static const char pretty[] = "// anas.relu(%x)\nfunc.func @f(%x: tensor<2xf32>) -> tensor<2xf32> {\n"
                               "  %0 = anas.relu %x : tensor<2xf32>\n  return %0 : tensor<2xf32>\n}\n";
  anas_strbuf_clear(&diagnostics);
  assert_int_equal(anas_parse(context, pretty, strlen(pretty), "net.mlir", &module), ANAS_INVALID);
  expect_text(anas_strbuf_text(&diagnostics), "3: 'anas.relu' has no custom syntax");
  expect_text(anas_error_message(), "net.mlir:3:8: 'anas.relu' has no custom syntax");

  static const char unknown[] = "func.func @f(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {\n"
                                "  %0 = \"anas.rleu\"(%x) : (tensor<2x2xf32>) -> tensor<2x2xf32>\n"
                                "  return %0 : tensor<2x2xf32>\n}\n";
  assert_int_equal(anas_parse(context, unknown, strlen(unknown), "net.mlir", &module), ANAS_INVALID);
  expect_text(anas_error_message(), "net.mlir:2:");
  expect_text(anas_error_message(), "did you mean 'anas.relu'?");
}

static void quiet_clones_do_not_report(void **state) {
  (void)state;
  struct anas_model *model;
  assert_int_equal(load(network, &model), ANAS_OK);
  struct anas_model *copy = anas_model_clone(model);
  copy->functions[0].nodes[5].attr[0].value.dim.constant = 11;
  assert_int_equal(anas_model_infer_shapes(copy), ANAS_INVALID);
  assert_string_equal(anas_strbuf_text(&diagnostics), "");
  expect_text(anas_error_message(), "result 0 of 'anas.dense' is declared as tensor<?x10xf32>");
  anas_model_destroy(copy);
  anas_model_destroy(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(round_trip),
      cmocka_unit_test(infers_what_was_not_declared),
      cmocka_unit_test(writes_back),
      cmocka_unit_test(explains_errors),
      cmocka_unit_test(no_parse_fails_silently),
      cmocka_unit_test(quiet_clones_do_not_report),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
