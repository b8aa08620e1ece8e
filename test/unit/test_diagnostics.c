// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Diagnostics as users see them on stderr, with the source line, the caret and our hints.
#include "dialect/context.h"
#include "dialect/model.h"
#include "runtime/support/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

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

// Parses and imports text; returns what that printed (malloc'ed).
static char *printed(const char *text, int expected_errors) {
  FILE *file = tmpfile();
  assert_non_null(file);
  fflush(stderr);
  int saved = dup(STDERR_FILENO);
  dup2(fileno(file), STDERR_FILENO);
  struct anas_diagnostics *diagnostics = anas_diagnostics_attach(context, "net.mlir", text);
  MlirModule module;
  if (!anas_parse(context, text, strlen(text), "net.mlir", &module)) {
    struct anas_model *model = NULL;
    if (!anas_model_import(module, &model)) (void)anas_model_verify(model);
    anas_model_destroy(model);
    mlirModuleDestroy(module);
  }
  int errors = anas_diagnostics_errors(diagnostics);
  anas_diagnostics_detach(diagnostics);
  fflush(stderr);
  dup2(saved, STDERR_FILENO);
  close(saved);
  fseek(file, 0, SEEK_END);
  long size = ftell(file);
  rewind(file);
  char *output = anas_alloc((size_t)size + 1);
  assert_int_equal(fread(output, 1, (size_t)size, file), size);
  fclose(file);
  assert_int_equal(errors, expected_errors);
  return output;
}

static void expect(const char *text, int errors, const char *output) {
  char *actual = printed(text, errors);
  assert_string_equal(actual, output);
  free(actual);
}

static void messages(void **state) {
  (void)state;
  expect("func.func @f(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {\n"
         "  %0 = \"anas.relu\"(%x) {slope = 1} : (tensor<2x2xf32>) -> tensor<2x2xf32>\n"
         "  return %0 : tensor<2x2xf32>\n}\n",
         1,
         "net.mlir:2:8: error: 'anas.relu' has no attribute 'slope'; it takes none but anas.name\n"
         "  %0 = \"anas.relu\"(%x) {slope = 1} : (tensor<2x2xf32>) -> tensor<2x2xf32>\n"
         "       ^\n");
  expect(
      "func.func @f(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {\n"
      "  %0 = \"anas.rleu\"(%x) : (tensor<2x2xf32>) -> tensor<2x2xf32>\n"
      "  return %0 : tensor<2x2xf32>\n}\n",
      1,
      "net.mlir:2:8: error: unregistered operation 'anas.rleu' found in dialect ('anas') that does not allow unknown "
      "operations\n"
      "  %0 = \"anas.rleu\"(%x) : (tensor<2x2xf32>) -> tensor<2x2xf32>\n"
      "       ^\n"
      "net.mlir:2:8: note: did you mean 'anas.relu'?\n"
      "net.mlir:2:8: note: see current operation: %0 = \"anas.rleu\"(%arg0) : (tensor<2x2xf32>) -> tensor<2x2xf32>\n"
      "  %0 = \"anas.rleu\"(%x) : (tensor<2x2xf32>) -> tensor<2x2xf32>\n"
      "       ^\n");
  expect(
      "func.func @f(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {\n"
      "\t%0 = anas.relu %x : tensor<2x2xf32>\n  return %0 : tensor<2x2xf32>\n}\n",
      1,
      "net.mlir:2:7: error: 'anas.relu' has no custom syntax; write the generic form: \"anas.relu\"(%x) {...} : (...) "
      "-> ...\n"
      "\t%0 = anas.relu %x : tensor<2x2xf32>\n"
      "\t     ^\n");
  expect("func.func @f(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {\n  return %x : tensor<2x2xf32>\n}\n", 0, "");
}

static void required_attributes_are_checked_by_irdl(void **state) {
  (void)state;
  char *text = printed("func.func @f(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {\n"
                       "  %0 = \"anas.dense\"(%x) {anas.name = \"d\"} : (tensor<2x2xf32>) -> tensor<2x2xf32>\n"
                       "  return %0 : tensor<2x2xf32>\n}\n",
                       1);
  assert_non_null(strstr(text, "net.mlir:2:8: error:"));
  assert_non_null(strstr(text, "features"));
  free(text);
}

static void files(void **state) {
  (void)state;
  MlirModule module;
  assert_int_equal(anas_parse_file(context, "/nonexistent/net.mlir", &module), ANAS_NOT_FOUND);
  assert_non_null(strstr(anas_error_message(), "/nonexistent/net.mlir"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(messages),
      cmocka_unit_test(required_attributes_are_checked_by_irdl),
      cmocka_unit_test(files),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
