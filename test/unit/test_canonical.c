// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Canonical hash: what must not change it and what must; dead code; verification of whole models.
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
static struct anas_strbuf diagnostics;

static MlirLogicalResult collect(MlirDiagnostic diagnostic, void *data) {
  (void)data;
  mlirDiagnosticPrint(diagnostic, anas_print_to_strbuf, &diagnostics);
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

static struct anas_model *load(const char *text) {
  MlirModule module;
  struct anas_model *model = NULL;
  anas_strbuf_clear(&diagnostics);
  if (anas_parse(context, text, strlen(text), "test.mlir", &module)) fail_msg("%s", anas_error_message());
  if (anas_model_import(module, &model)) fail_msg("%s", anas_error_message());
  mlirModuleDestroy(module);
  return model;
}

#define T "tensor<?x4x4x8xf32>"
#define RELU(out, in) "  " out " = \"anas.relu\"(" in ") : (" T ") -> " T "\n"
#define IDENTITY(out, in) "  " out " = \"anas.identity\"(" in ") : (" T ") -> " T "\n"
#define ADD(out, a, b) "  " out " = \"anas.add\"(" a ", " b ") : (" T ", " T ") -> " T "\n"
#define CONV(out, in, name, features)                                                                                  \
  "  " out " = \"anas.conv\"(" in ") {anas.name = \"" name "\", features = " features ", kernel = 3 : i64} : (" T      \
  ") -> " T "\n"
#define CALL(out, name, in) "  " out " = call @" name "(" in ") : (" T ") -> " T "\n"
#define FUNCTION(kind, name, body, result)                                                                             \
  "func.func " kind "@" name "(%x: " T ") -> " T " {\n" body "  return " result " : " T "\n}\n"
#define MAIN(body, result) FUNCTION("", "main", body, result)

static void hash(const char *text, char out[33]) {
  struct anas_model *model = load(text);
  anas_model_hash(model, out);
  anas_model_destroy(model);
}

static void expect_same(const char *a, const char *b) {
  char x[33], y[33];
  hash(a, x);
  hash(b, y);
  if (strcmp(x, y) != 0) fail_msg("hashes differ:\n%s\n%s", a, b);
}

static void expect_different(const char *a, const char *b) {
  char x[33], y[33];
  hash(a, x);
  hash(b, y);
  if (!strcmp(x, y)) fail_msg("hashes agree:\n%s\n%s", a, b);
}

static const char plain[] = MAIN(CONV("%0", "%x", "c", "8 : i64") RELU("%1", "%0") ADD("%2", "%1", "%x"), "%2");

static void hash_ignores_writing(void **state) {
  (void)state;
  char hex[33];
  hash(plain, hex);
  assert_int_equal(strlen(hex), 32);
  assert_int_equal(strspn(hex, "0123456789abcdef"), 32);
  // names, symbolic values, defaults, operand order of commutative ops
  expect_same(plain, MAIN(CONV("%a", "%x", "other", "\"S:-1\"") RELU("%b", "%a") ADD("%c", "%x", "%b"), "%c"));
  expect_same(plain, FUNCTION("", "net",
                              CONV("%0", "%x", "c", "8 : i64, strides = 1 : i64, use_bias = true") RELU("%1", "%0")
                                  ADD("%2", "%1", "%x"),
                              "%2"));
  // dead code and identities
  expect_same(plain, MAIN(CONV("%0", "%x", "c", "8 : i64") CONV("%d", "%x", "dead", "8 : i64") IDENTITY("%i", "%0")
                              RELU("%1", "%i") ADD("%2", "%1", "%x"),
                          "%2"));
  // blocks
  expect_same(plain, MAIN(CALL("%0", "block", "%x") ADD("%1", "%0", "%x"), "%1")
                         FUNCTION("private ", "block", CONV("%0", "%x", "c", "8 : i64") RELU("%1", "%0"), "%1"));
  // unrelated order
  expect_same(MAIN(RELU("%0", "%x") CONV("%1", "%x", "c", "8 : i64") ADD("%2", "%0", "%1"), "%2"),
              MAIN(CONV("%1", "%x", "c", "8 : i64") RELU("%0", "%x") ADD("%2", "%0", "%1"), "%2"));
}

static void hash_sees_changes(void **state) {
  (void)state;
  expect_different(plain, MAIN(CONV("%0", "%x", "c", "8 : i64") RELU("%1", "%0") ADD("%2", "%1", "%0"), "%2"));
  expect_different(
      plain, MAIN(CONV("%0", "%x", "c", "8 : i64, use_bias = false") RELU("%1", "%0") ADD("%2", "%1", "%x"), "%2"));
  expect_different(
      plain, MAIN(CONV("%0", "%x", "c", "8 : i64, groups = 2 : i64") RELU("%1", "%0") ADD("%2", "%1", "%x"), "%2"));
  expect_different(MAIN(RELU("%0", "%x"), "%0"), MAIN("  %0 = \"anas.gelu\"(%x) : (" T ") -> " T "\n", "%0"));
  expect_different("func.func @main(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {\n  return %x : tensor<?x4xf32>\n}",
                   "func.func @main(%x: tensor<?x5xf32>) -> tensor<?x5xf32> {\n  return %x : tensor<?x5xf32>\n}");
  // two layers are not one layer used twice, whether the use is of its value or of its parameters
  expect_different(MAIN(CONV("%0", "%x", "c", "8 : i64") CONV("%1", "%x", "d", "8 : i64") ADD("%2", "%0", "%1"), "%2"),
                   MAIN(CONV("%0", "%x", "c", "8 : i64") ADD("%2", "%0", "%0"), "%2"));
  // a dropped operand is not the other one; trained tensors of one shape are not one tensor
#define DROP(out, a, b)                                                                                                \
  "  " out " = \"anas.add\"(" a ", " b ") {layer_drop_rate = 0.1 : f32} : (" T ", " T ") -> " T "\n"
  expect_different(MAIN(RELU("%0", "%x") DROP("%1", "%0", "%x"), "%1"),
                   MAIN(RELU("%0", "%x") DROP("%1", "%x", "%0"), "%1"));
  expect_different(MAIN(RELU("%0", "%x") DROP("%1", "%0", "%x"), "%1"),
                   MAIN(RELU("%0", "%x") ADD("%1", "%0", "%x"), "%1"));
#define PARAM(out, name, shape)                                                                                        \
  "  " out " = \"anas.param\"() {anas.name = \"" name "\", shape = array<i64: " shape ">} : () -> tensor<*xf32>\n"
#define PLUS(out, a, p) "  " out " = \"anas.add\"(" a ", " p ") : (" T ", tensor<*xf32>) -> " T "\n"
  expect_different(
      MAIN(PARAM("%p", "p", "8") PLUS("%0", "%x", "%p") PLUS("%1", "%0", "%p"), "%1"),
      MAIN(PARAM("%p", "p", "8") PARAM("%q", "q", "8") PLUS("%0", "%x", "%p") PLUS("%1", "%0", "%q"), "%1"));
  expect_different(MAIN(PARAM("%p", "p", "8") PLUS("%0", "%x", "%p"), "%0"),
                   MAIN(PARAM("%p", "p", "1, 8") PLUS("%0", "%x", "%p"), "%0"));
  expect_same(MAIN(PARAM("%p", "p", "8") PARAM("%q", "q", "8") PLUS("%0", "%x", "%p") PLUS("%1", "%0", "%q"), "%1"),
              MAIN(PARAM("%q", "a", "8") PLUS("%0", "%x", "%q") PARAM("%p", "b", "8") PLUS("%1", "%0", "%p"), "%1"));
#define BLOCK(name) FUNCTION("private ", name, CONV("%0", "%x", "c", "8 : i64"), "%0")
  expect_different(MAIN(CALL("%0", "a", "%x") CALL("%1", "a", "%0"), "%1") BLOCK("a"),
                   MAIN(CALL("%0", "a", "%x") CALL("%1", "b", "%0"), "%1") BLOCK("a") BLOCK("b"));
  expect_same(MAIN(CALL("%0", "b", "%x") CALL("%1", "a", "%0"), "%1") BLOCK("a") BLOCK("b"),
              MAIN(CALL("%0", "a", "%x") CALL("%1", "b", "%0"), "%1") BLOCK("a") BLOCK("b"));
}

// Layers that only their use tells apart: (a + b)(a + b) is not (a + a)(b + b), whatever they are called.
static void hash_tells_layers_apart(void **state) {
  (void)state;
#define PAIR CONV("%a", "%x", "a", "8 : i64") CONV("%b", "%x", "b", "8 : i64")
#define MUL(out, a, b) "  " out " = \"anas.mul\"(" a ", " b ") : (" T ", " T ") -> " T "\n"
  static const char mixed[] = MAIN(PAIR ADD("%0", "%a", "%b") ADD("%1", "%a", "%b") MUL("%2", "%0", "%1"), "%2");
  expect_different(mixed, MAIN(PAIR ADD("%0", "%a", "%a") ADD("%1", "%b", "%b") MUL("%2", "%0", "%1"), "%2"));
  expect_same(mixed, MAIN(CONV("%b", "%x", "p", "8 : i64") CONV("%a", "%x", "q", "8 : i64") ADD("%1", "%b", "%a")
                              ADD("%0", "%a", "%b") MUL("%2", "%1", "%0"),
                          "%2"));
  expect_same(mixed, MAIN(PAIR ADD("%0", "%a", "%b") MUL("%2", "%0", "%0"), "%2"));
  // What is done with them tells them apart, also if a part of it is written twice.
  static const char used[] = MAIN(PAIR RELU("%0", "%a") ADD("%1", "%a", "%b") ADD("%2", "%0", "%1"), "%2");
  expect_different(used, MAIN(PAIR RELU("%0", "%a") ADD("%1", "%b", "%b") ADD("%2", "%0", "%1"), "%2"));
  expect_same(used, MAIN(PAIR RELU("%0", "%b") ADD("%1", "%a", "%b") ADD("%2", "%1", "%0"), "%2"));
  expect_same(MAIN(PAIR RELU("%0", "%a") ADD("%1", "%0", "%b") ADD("%2", "%0", "%1"), "%2"),
              MAIN(PAIR RELU("%0", "%b") RELU("%3", "%b") ADD("%1", "%0", "%a") ADD("%2", "%3", "%1"), "%2"));
  // Three alike: a chain of uses a-b, b-c is not a-b, a-b.
#define THREE PAIR CONV("%c", "%x", "c", "8 : i64")
  static const char chain[] = MAIN(THREE ADD("%0", "%a", "%b") ADD("%1", "%b", "%c") ADD("%2", "%a", "%c")
                                       MUL("%3", "%0", "%1") MUL("%4", "%3", "%2"),
                                   "%4");
  expect_different(chain, MAIN(THREE ADD("%0", "%a", "%b") ADD("%1", "%b", "%c") ADD("%2", "%b", "%b")
                                   MUL("%3", "%0", "%1") MUL("%4", "%3", "%2"),
                               "%4"));
  expect_same(chain, MAIN(THREE ADD("%0", "%c", "%b") ADD("%1", "%b", "%a") ADD("%2", "%c", "%a") MUL("%3", "%0", "%1")
                              MUL("%4", "%3", "%2"),
                          "%4"));
}

// The value is part of the interface: studies store it. Changing it means changing the study format.
static void hash_is_stable(void **state) {
  (void)state;
  char hex[33];
  hash(plain, hex);
  assert_string_equal(hex, "5a0fac53b7523acbb71b1758ea0b694b");
}

static void dead_code_goes(void **state) {
  (void)state;
  struct anas_model *model =
      load(FUNCTION("private ", "unused", CALL("%0", "used_by_dead", "%x"), "%0")
               MAIN(RELU("%d", "%x") CONV("%0", "%x", "c", "8 : i64") CALL("%e", "used_by_dead", "%0")
                        CALL("%1", "block", "%0") ADD("%2", "%1", "%0"),
                    "%2") FUNCTION("private ", "used_by_dead", RELU("%0", "%x"), "%0")
                   FUNCTION("private ", "block", RELU("%0", "%x"), "%0"));
  char before[33], after[33];
  anas_model_hash(model, before);
  anas_model_remove_dead(model);
  anas_model_hash(model, after);
  assert_string_equal(before, after);
  assert_int_equal(model->num_functions, 2);
  assert_string_equal(model->functions[0].name, "main");
  assert_string_equal(model->functions[1].name, "block");
  const struct anas_function *function = &model->functions[0];
  assert_int_equal(function->num_nodes, 3);
  assert_int_equal(function->nodes[1].callee, 1);
  assert_int_equal(function->nodes[1].operand[0].node, 0);
  assert_int_equal(function->nodes[2].operand[0].node, 1);
  assert_int_equal(function->nodes[2].operand[1].node, 0);
  assert_int_equal(function->result[0].node, 2);
  assert_int_equal(anas_model_verify(model), ANAS_OK);
  anas_model_destroy(model);
}

static void expect_invalid(struct anas_model *model, const char *part) {
  anas_strbuf_clear(&diagnostics);
  assert_int_equal(anas_model_verify(model), ANAS_INVALID);
  const char *text = anas_strbuf_text(&diagnostics);
  if (!strstr(text, part)) fail_msg("expected \"%s\" in \"%s\"", part, text);
  anas_model_destroy(model);
}

static void verification(void **state) {
  (void)state;
  struct anas_model *model = load(plain);
  assert_int_equal(anas_model_verify(model), ANAS_OK);
  model->functions[0].nodes[0].name = NULL;
  expect_invalid(model, "'anas.conv' has parameters and needs a name");

  expect_invalid(load(MAIN(CONV("%0", "%x", "c", "8 : i64") CONV("%1", "%0", "c", "8 : i64"), "%1")),
                 "anas.name = \"c\" is used twice in function 'main'");

  model = load(plain);
  model->functions[0].nodes[0].operand[0] = (struct anas_ref){2, 0};
  expect_invalid(model, "operand 0 of 'conv' in function 'main' is not defined before its use");

  model = load(plain);
  model->functions[0].result[0].index = 1;
  expect_invalid(model, "result 0 of function 'main' is not defined");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(hash_ignores_writing),    cmocka_unit_test(hash_sees_changes),
      cmocka_unit_test(hash_tells_layers_apart), cmocka_unit_test(hash_is_stable),
      cmocka_unit_test(dead_code_goes),          cmocka_unit_test(verification),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
