// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The throw-away op of prelu.c is an op like any other: in the table, in the IRDL definition, in the alphabet of the
// synthesisers, and a network that has it can be read, printed, hashed and made into a training step. (That its
// passes compute the right thing is for the tests generated from the table.)
#include "dialect/context.h"
#include "dialect/model.h"
#include "passes/lower/lower.h"
#include "passes/synthesis/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void op_is_in_the_table(void **state) {
  (void)state;
  struct anas_strbuf irdl = {0};
  assert_non_null(anas_op_find("prelu", 5));
  assert_string_equal(anas_op_nearest("prelo", 5)->name, "prelu");
  anas_irdl_text(&irdl);
  assert_non_null(strstr(anas_strbuf_text(&irdl), "irdl.operation @prelu {"));
  anas_strbuf_deinit(&irdl);
}

static void synthesisers_use_it(void **state) {
  (void)state;
  struct anas_alphabet alphabet;
  struct anas_value_source source = {.rank = 4, .single_context = true};
  int found = 0;
  anas_alphabet_init(&alphabet, &source, ANAS_VALUES_TEST, false);
  for (int i = 0; i < alphabet.count; i++)
    found += !strcmp(alphabet.symbols[i].op.def->name, "prelu");
  assert_int_equal(found, 1);
  anas_alphabet_deinit(&alphabet);
}

static void networks_have_it(void **state) {
  (void)state;
  static const char text[] =
      "func.func @main(%x: tensor<?x6x4x1xf32>) -> tensor<?x3xf32> {\n"
      "  %0 = \"anas.conv\"(%x) {anas.name = \"c\", features = 5 : i64, kernel = 3 : i64} : (tensor<?x6x4x1xf32>) -> "
      "tensor<*xf32>\n"
      "  %1 = \"anas.prelu\"(%0) {anas.name = \"p\"} : (tensor<*xf32>) -> tensor<*xf32>\n"
      "  %2 = \"anas.mean\"(%1) {axes = [1, 2]} : (tensor<*xf32>) -> tensor<*xf32>\n"
      "  %3 = \"anas.dense\"(%2) {anas.name = \"head\", features = 3 : i64} : (tensor<*xf32>) -> tensor<?x3xf32>\n"
      "  return %3 : tensor<?x3xf32>\n"
      "}\n";
  MlirContext context = anas_context_create(false);
  MlirModule module = {0}, again = {0};
  struct anas_model *model = NULL;
  char hash[33], other[33];
  if (anas_parse(context, text, strlen(text), "test", &module) || anas_model_import(module, &model) ||
      anas_model_infer_shapes(model) || anas_model_verify(model) || anas_model_export(model, context, &again))
    fail_msg("%s", anas_error_message());
  anas_model_hash(model, hash);
  anas_model_destroy(model);
  assert_int_equal(anas_model_import(again, &model), ANAS_OK);
  anas_model_hash(model, other);
  assert_string_equal(hash, other);
  anas_model_destroy(model);
  if (anas_build_train_step(again, 2, 0.9, 1e-4) || anas_lower_to_kernels(again)) fail_msg("%s", anas_error_message());
  struct anas_strbuf kernels = {0};
  anas_operation_text(mlirModuleGetOperation(again), &kernels);
  assert_non_null(strstr(anas_strbuf_text(&kernels), "main/p/slope"));
  anas_strbuf_deinit(&kernels);
  mlirModuleDestroy(again);
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(op_is_in_the_table),
      cmocka_unit_test(synthesisers_use_it),
      cmocka_unit_test(networks_have_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
