// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Conditions of --constraint: values, precedence, unknown values, and where errors point.
#include "tools/anas-search/expression.h"

#include "runtime/support/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static double trial[METRIC_NUM], seed[METRIC_NUM];

static bool holds(const char *text) {
  struct expression *e;
  if (expression_parse("--constraint", text, &e) != ANAS_OK) fail_msg("%s", anas_error_message());
  bool result = expression_holds(e, trial, seed);
  expression_destroy(e);
  return result;
}

static void values_and_precedence(void **state) {
  (void)state;
  trial[METRIC_PARAMS] = 1000;
  trial[METRIC_MACS] = 50;
  seed[METRIC_PARAMS] = 3000;
  static const struct {
    const char *text;
    bool holds;
  } cases[] = {
      {"params<1000", false},
      {"params<=1000", true},
      {"params < 0.5*seed.params", true},
      {"params<0.3*seed.params", false},
      {"params == 1e3 and macs != 50", false},
      {"params == 1e3 or macs != 50", true},
      {"macs < 1 and macs < 1 or params > 1", true}, // and binds more
      {"macs < 1 and (macs < 1 or params > 1)", false},
      {"not macs < 1 and params > 1", true},
      {"not (macs < 1 or params > 1)", false},
      {"not not params > 1", true},
      {"2 + 3 * 4 == 14", true},
      {"(2 + 3) * 4 == 20", true},
      {"20 - 3 - 2 == 15", true}, // from the left
      {"48 / 4 / 2 == 6", true},
      {"-2 * -3 == 6 and - - 1 == 1", true},
      {"params / macs >= 20", true},
      {"params < 1KiB and 1MiB == 1024*1024 and 1GiB == 1024MiB", true},
      {"params < 1KiB and 1ms == 0.001 and 1000us == 1ms and 2s == 2", true},
      {"(((params))) > (1)", true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (holds(cases[i].text) != cases[i].holds) fail_msg("'%s' should be %d", cases[i].text, cases[i].holds);
}

static void unknown_values_compare_false(void **state) {
  (void)state;
  trial[METRIC_PLANNED_BYTES] = NAN;
  trial[METRIC_PARAMS] = 1;
  static const char *const comparisons[] = {"<", "<=", ">", ">=", "==", "!="};
  for (size_t i = 0; i < sizeof comparisons / sizeof *comparisons; i++) {
    char *text = anas_format("planned_bytes %s 5", comparisons[i]);
    assert_false(holds(text));
    free(text);
  }
  assert_true(holds("planned_bytes < 5 or params == 1"));
}

static void metrics_that_occur(void **state) {
  (void)state;
  struct expression *e;
  assert_int_equal(expression_parse("x", "params < 2*seed.macs", &e), ANAS_OK);
  assert_string_equal(expression_text(e), "params < 2*seed.macs");
  assert_true(expression_uses(e, METRIC_PARAMS, false));
  assert_false(expression_uses(e, METRIC_PARAMS, true));
  assert_true(expression_uses(e, METRIC_MACS, true));
  assert_false(expression_uses(e, METRIC_MACS, false));
  trial[METRIC_PARAMS] = 12;
  seed[METRIC_MACS] = 5;
  struct anas_strbuf text = {0};
  expression_explain(e, trial, seed, &text);
  assert_string_equal(anas_strbuf_text(&text), "params = 12, seed.macs = 5");
  anas_strbuf_deinit(&text);
  expression_destroy(e);
}

static void errors_point_at_the_column(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int column;
    const char *message;
  } cases[] = {
      {"", 1, "expected a number, a metric or '('"},
      {"params", 1, "a condition is needed"},
      {"parms < 1", 1, "there is no metric 'parms'; did you mean 'params'?"},
      {"params < seed.parms", 15, "did you mean 'params'?"},
      {"params < accuracy", 10, "only known after training"},
      {"params < 1 + ", 14, "expected a number"},
      {"params < (1 + 2", 16, "expected ')'"},
      {"params < 1)", 11, "expected an operator"},
      {"params < 1 < 2", 12, "expected an operator"},
      {"params < 1 KiB", 12, "expected an operator"}, // a unit belongs to its number
      {"params < 1kb", 11, "unknown unit"},
      {"params < 1e999", 10, "too large"},
      {"params < .", 10, "expected a number"},
      {"params + (macs < 1) < 2", 10, "a number or a metric is needed"},
      {"-(macs < 1) < 2", 2, "a number or a metric is needed"},
      {"not params", 5, "a condition is needed"},
      {"params < 1 or 2", 15, "a condition is needed"},
      {"params < 1 and macs or macs < 1", 16, "a condition is needed"},
      {"params < \x80", 10, "expected a number"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct expression *e;
    assert_int_equal(expression_parse("--constraint", cases[i].text, &e), ANAS_INVALID);
    char *start = anas_format("--constraint: column %d: ", cases[i].column);
    const char *message = anas_error_message();
    if (strncmp(message, start, strlen(start)) || !strstr(message, cases[i].message))
      fail_msg("'%s': expected column %d and '%s', got: %s", cases[i].text, cases[i].column, cases[i].message, message);
    free(start);
  }
  char deep[4096];
  memset(deep, '(', sizeof deep - 1);
  deep[sizeof deep - 1] = 0;
  struct expression *e;
  assert_int_equal(expression_parse("x", deep, &e), ANAS_INVALID);
  assert_non_null(strstr(anas_error_message(), "nested too deeply"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_and_precedence),
      cmocka_unit_test(unknown_values_compare_false),
      cmocka_unit_test(metrics_that_occur),
      cmocka_unit_test(errors_point_at_the_column),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
