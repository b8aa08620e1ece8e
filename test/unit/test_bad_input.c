// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Hostile modules: absurd sizes, more of everything than the model holds, endless or exploding calls, and random
// damage. Every one must end in an error message or a result; built with sanitizers, this is also a test for undefined
// behaviour and leaks.
#include "dialect/attributes.h"
#include "dialect/context.h"
#include "dialect/model.h"
#include "passes/analysis/analysis.h"
#include "passes/lower/lower.h"
#include "runtime/support/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <mlir-c/Diagnostics.h>

static MlirContext context;
static struct anas_strbuf diagnostics; // errors since the last module

static MlirLogicalResult collect(MlirDiagnostic diagnostic, void *data) {
  (void)data;
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

static anas_status analyse(struct anas_model *model) {
  struct anas_model_cost cost;
  char hash[33];
  anas_model_remove_dead(model);
  ANAS_RETURN_IF_ERROR(anas_model_verify(model));
  ANAS_RETURN_IF_ERROR(anas_model_infer_shapes(model));
  struct anas_properties *properties = anas_calloc((size_t)model->num_functions + 1, sizeof *properties);
  anas_status status = anas_infer_properties(model, properties);
  free(properties);
  ANAS_RETURN_IF_ERROR(status);
  ANAS_RETURN_IF_ERROR(anas_model_cost(model, 128, &cost));
  anas_model_hash(model, hash);
  struct anas_strbuf text = {0};
  anas_model_print(model, &text);
  anas_strbuf_deinit(&text);
  return ANAS_OK;
}

// Everything a module goes through before it is compiled.
static anas_status process(const char *text, size_t size) {
  MlirModule module;
  struct anas_model *model;
  anas_strbuf_clear(&diagnostics);
  ANAS_RETURN_IF_ERROR(anas_parse(context, text, size, "test", &module));
  anas_status status = anas_model_import(module, &model);
  if (status == ANAS_OK) {
    status = analyse(model);
    anas_model_destroy(model);
  }
  if (status == ANAS_OK) status = anas_build_train_step(module, 2, 0.9, 1e-4);
  mlirModuleDestroy(module);
  return status;
}

static void expect_rejected(const char *text, const char *message) {
  anas_status status = process(text, strlen(text));
  if (status == ANAS_OK) fail_msg("accepted: %.300s", text);
  if (!strstr(anas_strbuf_text(&diagnostics), message) && !strstr(anas_error_message(), message))
    fail_msg("expected \"%s\", got \"%s\" and \"%s\"", message, anas_strbuf_text(&diagnostics), anas_error_message());
}

// One op on one argument.
static void expect_op_rejected(const char *op, const char *type, const char *attrs, const char *message) {
  char *text = anas_format("func.func @main(%%x: tensor<%s>) -> tensor<*xf32> {\n"
                           "  %%0 = \"anas.%s\"(%%x) {anas.name = \"a\"%s} : (tensor<%s>) -> tensor<*xf32>\n"
                           "  return %%0 : tensor<*xf32>\n}\n",
                           type, op, attrs, type);
  expect_rejected(text, message);
  free(text);
}

#define HUGE "9223372036854775807"

static void test_sizes(void **state) {
  (void)state;
  static const struct {
    const char *op, *type, *attrs, *message;
  } cases[] = {
      {"dense", "?x8xf32", ", features = " HUGE " : i64", "output features, got " HUGE},
      {"dense", "?x8xf32", ", features = -5 : i64", "positive integer"},
      {"dense", "?x8xf32", ", features = affine_map<(n, c) -> (c * " HUGE ")>", "too large"},
      {"dense", "?x2000000000xf32", ", features = 16000000 : i64", "parameter 'kernel' of 'anas.dense'"},
      {"conv", "?x8x8x3xf32", ", features = " HUGE " : i64, kernel = 3 : i64", "output features, got " HUGE},
      {"conv", "?x8x8x3xf32", ", features = 4 : i64, kernel = 1000000 : i64", "kernel of 'anas.conv': "},
      {"conv", "?x8x8x3xf32", ", features = 4 : i64, kernel = " HUGE " : i64", "between 1 and"},
      {"conv", "?x8x8x3xf32", ", features = 4 : i64, kernel = 3 : i64, dilation = " HUGE " : i64", "between 1 and"},
      {"conv", "?x8x8x3xf32", ", features = 4 : i64, kernel = 3 : i64, groups = " HUGE " : i64", "groups"},
      {"avg_pool", "?x8x8x3xf32", ", window = " HUGE " : i64", "between 0 and"},
      {"avg_pool", "?x2x2x2x2x2x3xf32", ", window = 1000000 : i64, padding = \"SAME\"", "window of 'anas.avg_pool': "},
      {"avg_pool", "?x2x2x2x2x2x2x3xf32", ", window = 2 : i64", "at most 5"},
      {"avg_pool", "?x8x8x3xf32", ", window = 2 : i64, strides = 0 : i64", "between 1 and"},
      {"relu", "?x" HUGE "xf32", "", "too large"},
      {"relu", "?x70000x70000xf32", "", "too large"},
      {"relu", HUGE "x2xf32", "", "too large"},
      {"relu", "2000000000x2000000000xf32", "", "too large"},
      {"relu", "?x0x3xf32", "", "positive extent"},
      {"relu", "0x3xf32", "", "positive extent"},
      {"relu", "?x?x3xf32", "", "only the batch"},
      {"relu", "2x2x2x2x2x2x2x2x2x2x2x2xf32", "", "ranks go from 1 to 8"},
      {"relu", "f32", "", "ranks go from 1 to 8"},
      {"relu", "?x3xf64", "", "elements are f32, i32 or i64"},
      {"mean", "?x4xf32", ", axes = array<i64: " HUGE ">", "names axis " HUGE},
      {"mean", "?x4xf32", ", axes = array<i64>", "at most 8 entries"},
      {"mean", "?x4xf32", ", axes = array<i64: 1, 1, 1, 1, 1, 1, 1, 1, 1>", "at most 8 entries"},
      {"conv", "?x8x8x3xf32", ", features = \"S:-9\", kernel = 3 : i64", "no such axis"},
      {"conv", "?x8x8x3xf32", ", features = \"S:7:-1\", kernel = 3 : i64", "refers to operand 7"},
      {"conv", "?x8x8x3xf32", ", features = \"S:-1*999999999999999999999\", kernel = 3 : i64", "the factor must be"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    expect_op_rejected(cases[i].op, cases[i].type, cases[i].attrs, cases[i].message);
}

static void test_shape_text_never_overflows(void **state) {
  (void)state;
  struct anas_shape shape = {.rank = ANAS_MAX_RANK};
  for (int i = 0; i < ANAS_MAX_RANK; i++)
    shape.dim[i] = INT64_MIN;
  struct {
    char text[128];
    char guard;
  } out = {.guard = 7};
  anas_shape_text(&shape, out.text);
  assert_int_equal(out.guard, 7);
  assert_int_equal(strlen(out.text), sizeof out.text - 1);
}

static void test_batch_of_the_training_step(void **state) {
  (void)state;
  static const char text[] = "func.func @main(%x: tensor<?x4x4x3xf32>) -> tensor<?x48xf32> {\n"
                             "  %0 = \"anas.flatten\"(%x) : (tensor<?x4x4x3xf32>) -> tensor<?x48xf32>\n"
                             "  return %0 : tensor<?x48xf32>\n}\n";
  MlirModule module;
  anas_strbuf_clear(&diagnostics);
  assert_int_equal(anas_parse(context, text, strlen(text), "test", &module), ANAS_OK);
  assert_int_not_equal(anas_build_train_step(module, INT64_MAX, 0.9, 0), ANAS_OK);
  assert_non_null(strstr(anas_strbuf_text(&diagnostics), "too large"));
  mlirModuleDestroy(module);
}

static void test_counts(void **state) {
  (void)state;
  struct anas_strbuf text = {0};
  anas_strbuf_adds(&text, "func.func @main(%x0: tensor<?x3xf32>");
  for (int i = 1; i < 20; i++)
    anas_strbuf_addf(&text, ", %%x%d: tensor<?x3xf32>", i);
  anas_strbuf_adds(&text, ") -> tensor<?x3xf32> {\n  return %x0 : tensor<?x3xf32>\n}\n");
  expect_rejected(text.data, "has 20 arguments");
  anas_strbuf_clear(&text);

  anas_strbuf_adds(&text, "func.func @main(%x: tensor<?x3xf32>) -> tensor<*xf32> {\n  %0 = \"anas.add\"(%x");
  for (int i = 1; i < 9; i++)
    anas_strbuf_adds(&text, ", %x");
  anas_strbuf_adds(&text, ") : (tensor<?x3xf32>");
  for (int i = 1; i < 9; i++)
    anas_strbuf_adds(&text, ", tensor<?x3xf32>");
  anas_strbuf_adds(&text, ") -> tensor<*xf32>\n  return %0 : tensor<*xf32>\n}\n");
  // MLIR's own verifier or ours, whichever comes first.
  assert_int_not_equal(process(text.data, text.size), ANAS_OK);
  assert_true(diagnostics.size > 0);
  anas_strbuf_clear(&text);

  anas_strbuf_adds(&text, "func.func @main(%x: tensor<?x3xf32>) -> (tensor<?x3xf32>");
  for (int i = 1; i < 9; i++)
    anas_strbuf_adds(&text, ", tensor<?x3xf32>");
  anas_strbuf_adds(&text, ") {\n  return %x");
  for (int i = 1; i < 9; i++)
    anas_strbuf_adds(&text, ", %x");
  anas_strbuf_adds(&text, " : tensor<?x3xf32>");
  for (int i = 1; i < 9; i++)
    anas_strbuf_adds(&text, ", tensor<?x3xf32>");
  anas_strbuf_adds(&text, "\n}\n");
  expect_rejected(text.data, "9 results");
  anas_strbuf_deinit(&text);
}

// @f0 calls @f1 'calls' times in a row, and so on; the last function consists of ops without attributes, or, if
// features is given, of dense layers.
static void add_call_chain(struct anas_strbuf *text, int functions, int calls, const char *type, int features) {
  for (int f = 0; f < functions; f++) {
    anas_strbuf_addf(text, "func.func %s@f%d(%%v0: tensor<%s>) -> tensor<%s> {\n", f ? "private " : "", f, type, type);
    for (int c = 0; c < calls; c++) {
      if (f + 1 < functions)
        anas_strbuf_addf(text, "  %%v%d = call @f%d(%%v%d)", c + 1, f + 1, c);
      else if (features)
        anas_strbuf_addf(text, "  %%v%d = \"anas.dense\"(%%v%d) {anas.name = \"d%d\", features = %d : i64}", c + 1, c,
                         c, features);
      else
        anas_strbuf_addf(text, "  %%v%d = \"anas.relu\"(%%v%d)", c + 1, c);
      anas_strbuf_addf(text, " : (tensor<%s>) -> tensor<%s>\n", type, type);
    }
    anas_strbuf_addf(text, "  return %%v%d : tensor<%s>\n}\n", calls, type);
  }
}

static void test_calls(void **state) {
  (void)state;
  struct anas_strbuf text = {0};
  add_call_chain(&text, ANAS_MAX_CALL_DEPTH, 1, "?x3xf32", 0);
  if (process(text.data, text.size) != ANAS_OK) fail_msg("%s", anas_strbuf_text(&diagnostics));
  anas_strbuf_clear(&text);
  add_call_chain(&text, 3000, 1, "?x3xf32", 0);
  expect_rejected(text.data, "nested more than");
  anas_strbuf_clear(&text);
  add_call_chain(&text, 60, 2, "?x3xf32", 0);
  expect_rejected(text.data, "when its calls are expanded");
  anas_strbuf_deinit(&text);
  expect_rejected("func.func @main(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {\n"
                  "  %0 = call @main(%x) : (tensor<?x3xf32>) -> tensor<?x3xf32>\n"
                  "  return %0 : tensor<?x3xf32>\n}\n",
                  "calls itself");
}

// Each of the 2^17 layers is fine; their multiply-accumulates together do not fit in 64 bits.
static void test_cost_that_overflows(void **state) {
  (void)state;
  struct anas_strbuf text = {0};
  add_call_chain(&text, 17, 2, "?x46340x46340xf32", 46340);
  expect_rejected(text.data, "does not fit in 64 bits");
  anas_strbuf_deinit(&text);
}

static const char seed_module[] =
    "module @net attributes {anas.note = 3 : i64} {\n"
    "func.func @main(%x: tensor<?x8x8x3xf32>) -> tensor<?x4xf32> {\n"
    "  %0 = \"anas.conv\"(%x) {anas.name = \"c\", features = 8 : i64, kernel = array<i64: 3, 3>, strides = 2 : i64} : "
    "(tensor<?x8x8x3xf32>) -> tensor<?x4x4x8xf32>\n"
    "  %1 = call @b(%0) : (tensor<?x4x4x8xf32>) -> tensor<?x4x4x8xf32>\n"
    "  %2 = \"anas.max_pool\"(%1) {window = 2 : i64, strides = 2 : i64} : (tensor<?x4x4x8xf32>) -> tensor<*xf32>\n"
    "  %3 = \"anas.mean\"(%2) {axes = array<i64: 1, 2>} : (tensor<*xf32>) -> tensor<?x8xf32>\n"
    "  %4 = \"anas.dropout\"(%3) {rate = 0.5 : f32} : (tensor<?x8xf32>) -> tensor<?x8xf32>\n"
    "  %5 = \"anas.dense\"(%4) {anas.name = \"h\", features = \"S:-1%2\"} : (tensor<?x8xf32>) -> tensor<?x4xf32>\n"
    "  return %5 : tensor<?x4xf32>\n}\n"
    "func.func private @b(%x: tensor<?x4x4x8xf32>) -> tensor<?x4x4x8xf32> attributes {anas.block = \"b\"} {\n"
    "  %0 = \"anas.batch_norm\"(%x) {anas.name = \"n\"} : (tensor<?x4x4x8xf32>) -> tensor<?x4x4x8xf32>\n"
    "  %1 = \"anas.add\"(%0, %x) : (tensor<?x4x4x8xf32>, tensor<?x4x4x8xf32>) -> tensor<?x4x4x8xf32>\n"
    "  return %1 : tensor<?x4x4x8xf32>\n}\n"
    "}\n";

// Half of the time a digit becomes another number, which the parser lets through; else a stretch of the text is
// replaced by something that means something in the grammar, or by another part of the text.
static void damage(struct anas_rng *rng, struct anas_strbuf *text) {
  static const char *const numbers[] = {"0", "1", "2", "3", "4", "6", "8", "9", "16", "-1", "?", "1000000", HUGE};
  static const char *const pieces[] = {"99999999999999999999",
                                       "x",
                                       "f32",
                                       "i64",
                                       "%x",
                                       "array<",
                                       "\"S:-1\"",
                                       ">",
                                       "tensor<*xf32>",
                                       "@main",
                                       "@b",
                                       "1e400",
                                       "\"\"",
                                       "anas.relu",
                                       "nan",
                                       "\\00",
                                       "true"};
  size_t at = anas_rng_below(rng, text->size), length = anas_rng_below(rng, 12);
  struct anas_strbuf out = {0};
  const char *piece;
  if (anas_rng_below(rng, 2)) {
    at += strcspn(text->data + at, "0123456789");
    length = strspn(text->data + at, "0123456789");
    piece = numbers[anas_rng_below(rng, sizeof numbers / sizeof *numbers)];
  } else {
    if (length > text->size - at) length = text->size - at;
    piece = pieces[anas_rng_below(rng, sizeof pieces / sizeof *pieces)];
  }
  anas_strbuf_add(&out, text->data, at);
  if (anas_rng_below(rng, 8))
    anas_strbuf_adds(&out, piece);
  else
    anas_strbuf_adds(&out, text->data + anas_rng_below(rng, text->size));
  anas_strbuf_adds(&out, text->data + at + length);
  anas_strbuf_deinit(text);
  *text = out;
}

static void test_random_damage(void **state) {
  (void)state;
  assert_int_equal(process(seed_module, strlen(seed_module)), ANAS_OK);
  struct anas_rng root = anas_rng_make(11);
  int accepted = 0;
  for (uint64_t round = 0; round < 1500; round++) {
    struct anas_rng rng = anas_rng_split(&root, round);
    struct anas_strbuf text = {0};
    anas_strbuf_adds(&text, seed_module);
    for (uint64_t edits = 1 + anas_rng_below(&rng, 2); edits && text.size; edits--)
      damage(&rng, &text);
    anas_status status = process(anas_strbuf_text(&text), text.size);
    if (status == ANAS_OK) accepted++;
    if (status != ANAS_OK && !diagnostics.size && !*anas_error_message())
      fail_msg("rejected without a reason: %s", anas_strbuf_text(&text));
    anas_strbuf_deinit(&text);
  }
  // Few survive; if none did, the damage would never get past the parser.
  assert_true(accepted > 10 && accepted < 750);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sizes),
      cmocka_unit_test(test_shape_text_never_overflows),
      cmocka_unit_test(test_batch_of_the_training_step),
      cmocka_unit_test(test_counts),
      cmocka_unit_test(test_calls),
      cmocka_unit_test(test_cost_that_overflows),
      cmocka_unit_test(test_random_damage),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
