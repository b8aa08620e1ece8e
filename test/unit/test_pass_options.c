// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Option text of passes: values, defaults, quoting, errors; and the hints of misspelled names.
#include "passes/options.h"
#include "runtime/support/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct anas_pass_option table[] = {
    {"max-length", ANAS_OPTION_INT, "5", "length"},
    {"mode", ANAS_OPTION_STRING, "greedy", "mode"},
    {"epsilon", ANAS_OPTION_FLOAT, "0.25", "smoothing"},
    {"verbose", ANAS_OPTION_BOOL, "false", "talk"},
    {"seed", ANAS_OPTION_INT, "0", "seed"},
    {0},
};
static const struct anas_pass_def def = {.argument = "anas-test", .summary = "", .options = table};
static const struct anas_pass_def bare = {.argument = "anas-bare", .summary = ""};

static struct anas_pass_options *parse(const char *text, const char *defaults) {
  struct anas_pass_options *options = NULL;
  assert_int_equal(anas_pass_options_parse(&def, text, strlen(text), defaults, &options), ANAS_OK);
  return options;
}

static void test_defaults(void **state) {
  (void)state;
  struct anas_pass_options *o = parse("", NULL);
  assert_int_equal(anas_option_int(o, "max-length"), 5);
  assert_string_equal(anas_option_string(o, "mode"), "greedy");
  assert_true(anas_option_float(o, "epsilon") == 0.25);
  assert_false(anas_option_bool(o, "verbose"));
  anas_pass_options_destroy(o);
}

static void test_values(void **state) {
  (void)state;
  struct anas_pass_options *o = parse("  max-length=0x10 mode=\"two words\"\n epsilon=1e-3 verbose", NULL);
  assert_int_equal(anas_option_int(o, "max-length"), 16);
  assert_string_equal(anas_option_string(o, "mode"), "two words");
  assert_true(anas_option_float(o, "epsilon") == 1e-3);
  assert_true(anas_option_bool(o, "verbose"));
  anas_pass_options_destroy(o);
  o = parse("mode=any(cse, canonicalize) seed=7", NULL);
  assert_string_equal(anas_option_string(o, "mode"), "any(cse, canonicalize)");
  assert_int_equal(anas_option_int(o, "seed"), 7);
  anas_pass_options_destroy(o);
}

static void test_given_beats_default_text(void **state) {
  (void)state;
  struct anas_pass_options *o = parse("seed=4", "seed=9 max-length=2 unknown=1");
  assert_int_equal(anas_option_int(o, "seed"), 4);
  assert_int_equal(anas_option_int(o, "max-length"), 2);
  anas_pass_options_destroy(o);
}

static void test_print_parses_back(void **state) {
  (void)state;
  struct anas_pass_options *o = parse("mode='a b' seed=3", NULL), *clone = anas_pass_options_clone(o);
  anas_pass_options_destroy(o);
  struct anas_strbuf text = {0};
  anas_pass_options_print(clone, &text);
  assert_string_equal(anas_strbuf_text(&text), "anas-test{mode=\"a b\" seed=3}");
  anas_strbuf_clear(&text);
  anas_pass_options_destroy(clone);
  o = parse("", NULL);
  anas_pass_options_print(o, &text);
  assert_string_equal(anas_strbuf_text(&text), "anas-test");
  anas_strbuf_deinit(&text);
  anas_pass_options_destroy(o);
}

static void expect_error(const struct anas_pass_def *pass, const char *text, const char *message) {
  struct anas_pass_options *untouched = NULL;
  assert_int_equal(anas_pass_options_parse(pass, text, strlen(text), NULL, &untouched), ANAS_INVALID);
  assert_null(untouched);
  assert_string_equal(anas_error_message(), message);
}

static void test_errors(void **state) {
  (void)state;
  expect_error(
      &def, "max-lenght=3",
      "pass 'anas-test' has no option 'max-lenght'; did you mean 'max-length'? (its options: max-length, mode, "
      "epsilon, verbose, seed)");
  expect_error(&def, "seed=3x", "option 'seed' of pass 'anas-test' must be an integer, got '3x'");
  expect_error(&def, "seed=99999999999999999999",
               "option 'seed' of pass 'anas-test' must be an integer, got '99999999999999999999'");
  expect_error(&def, "epsilon=nan", "option 'epsilon' of pass 'anas-test' must be a number, got 'nan'");
  expect_error(&def, "verbose=maybe", "option 'verbose' of pass 'anas-test' must be true or false, got 'maybe'");
  expect_error(&def, "seed", "option 'seed' of pass 'anas-test' needs a value: seed=<an integer>");
  expect_error(&def, "mode=\"open", "value of option 'mode' has no closing quote");
  expect_error(&def, "mode=(open", "value of option 'mode' has an unclosed bracket");
  expect_error(&bare, "seed=3", "pass 'anas-bare' has no options, but was given 'seed'");
}

static void test_edit_distance(void **state) {
  (void)state;
  assert_int_equal(anas_edit_distance("kitten", 6, "sitting", 7), 3);
  assert_int_equal(anas_edit_distance("", 0, "abc", 3), 3);
  assert_int_equal(anas_edit_distance("abc", 3, "abc", 3), 0);
  struct anas_nearest nearest = anas_nearest_make("zzzzzz", 6);
  anas_nearest_offer(&nearest, "features");
  char hint[128];
  assert_string_equal(anas_nearest_hint(&nearest, hint), "");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_defaults),
      cmocka_unit_test(test_values),
      cmocka_unit_test(test_given_beats_default_text),
      cmocka_unit_test(test_print_parses_back),
      cmocka_unit_test(test_errors),
      cmocka_unit_test(test_edit_distance),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
