// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tuning: every alternative plan of a contraction computes what the stock lowering does, plans survive in the cache,
// and what is damaged there is measured again.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "passes/lower/compile.h"
#include "passes/lower/tune.h"
#include "test/unit/cpu_kernels.h"
#include "test/unit/scratch.h"

#define ROWS 67
#define FEATURES 100
#define STEPS 1100 // several blocks of the reduction with the smallest panels

static const struct kernel_text product = {.num_in = 2,
                                           .num_out = 1,
                                           .type = {"67x1100xf32", "1100x100xf32", "67x100xf32"},
                                           .map = {"i, k", "k, j", "i, j"},
                                           .fill = {NULL, NULL, "0.0"},
                                           .loops = "i, j, k",
                                           .kinds = "ppr",
                                           .body = "    %p = arith.mulf %i0, %i1 : f32\n    %s = arith.addf %o0, %p "
                                                   ": f32\n",
                                           .yield = "%s"};
// A filter gradient: few results of a long reduction, which is streamed.
static const struct kernel_text gradient = {.num_in = 2,
                                            .num_out = 1,
                                            .type = {"9000x19xf32", "9000x48xf32", "19x48xf32"},
                                            .map = {"k, i", "k, j", "i, j"},
                                            .fill = {NULL, NULL, "0.0"},
                                            .loops = "i, j, k",
                                            .kinds = "ppr",
                                            .body = "    %p = arith.mulf %i0, %i1 : f32\n    %s = arith.addf %o0, %p "
                                                    ": f32\n",
                                            .yield = "%s"};

static MlirContext context;

static void run(const char *text, const struct anas_cpu_target *target, const struct kernel_buffer *input, int num,
                float *out_result, size_t bytes, struct anas_strbuf *plans) {
  struct kernel_code code;
  void *pointers[KERNEL_MAX_OPERANDS];
  assert_true(kernel_compile(context, text, target, &code, NULL, NULL));
  for (int i = 0; i < num; i++)
    pointers[i] = i == num - 1 ? (void *)out_result : input[i].data;
  memset(out_result, 0xff, bytes);
  kernel_run(&code, pointers, num, 1);
  anas_strbuf_addf(plans, "%s\n", code.object.plan);
  kernel_release(&code);
}

// tolerance is relative to 1 + |reference|; the number of different plans is returned.
static int check_choices(const struct kernel_text *kernel, double tolerance) {
  struct anas_cpu_target targets[3];
  int num_targets = kernel_targets(targets), num, plans = 0;
  assert_true(num_targets > 0);
  char *text = kernel_text_print(kernel);
  struct kernel_operand operand[KERNEL_MAX_OPERANDS];
  struct kernel_code reference;
  assert_true(kernel_compile(context, text, NULL, &reference, operand, &num));
  kernel_release(&reference);
  struct kernel_buffer input[KERNEL_MAX_OPERANDS];
  struct anas_rng rng = anas_rng_make(3);
  for (int i = 0; i < num; i++) {
    kernel_buffer_init(&input[i], &operand[i]);
    for (int64_t e = 0; e < operand[i].elements; e++)
      ((float *)input[i].data)[e] = (float)(2 * anas_rng_double(&rng) - 1);
  }
  size_t bytes = input[num - 1].bytes;
  float *want = anas_alloc(bytes), *got = anas_alloc(bytes);
  struct anas_strbuf seen = {0};
  run(text, NULL, input, num, want, bytes, &seen);
  static const struct anas_cpu_choice choices[] = {
      {0},
      {.vectors = 1},
      {.vectors = 2},
      {.vectors = 3},
      {.vectors = 4},
      {.vectors = 99}, // no tile has that many: the model's
      {.panel = 0.25},
      {.panel = 2},
      {.chunk = 0.25},
      {.chunk = 2},
      {.columns = 1},
      {.columns = -1},
      {.no_stream = true},
      {.vectors = 3, .panel = 0.25, .chunk = 0.5, .columns = 1, .no_stream = true},
  };
  for (int t = 0; t < num_targets; t++) {
    struct anas_strbuf known = {0};
    for (size_t c = 0; c < sizeof choices / sizeof *choices; c++) {
      struct anas_strbuf plan = {0};
      targets[t].choice = choices[c];
      run(text, &targets[t], input, num, got, bytes, &plan);
      for (size_t i = 0; i < bytes / sizeof *got; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= tolerance * (1 + fabs((double)want[i]))))
          fail_msg("%s, choice %zu (%s): element %zu is %.9g, expected %.9g", targets[t].cpu, c,
                   anas_strbuf_text(&plan), i, (double)got[i], (double)want[i]);
      if (!strstr(anas_strbuf_text(&known), anas_strbuf_text(&plan))) {
        anas_strbuf_adds(&known, anas_strbuf_text(&plan));
        plans++;
      }
      anas_strbuf_deinit(&plan);
    }
    anas_strbuf_deinit(&known);
    anas_cpu_target_deinit(&targets[t]);
  }
  plans /= num_targets;
  for (int i = 0; i < num; i++)
    kernel_buffer_deinit(&input[i]);
  anas_strbuf_deinit(&seen);
  free(want);
  free(got);
  free(text);
  return plans;
}

static void alternatives_compute_the_same(void **state) {
  (void)state;
  assert_true(check_choices(&product, 2e-4) >= 5);
  assert_true(check_choices(&gradient, 1e-3) >= 4);
}

static void choices_as_text(void **state) {
  (void)state;
  static const struct anas_cpu_choice choices[] = {
      {0}, {.vectors = 3, .panel = 0.5, .chunk = 2, .columns = -1, .no_stream = true, .direct = true}, {.columns = 1}};
  for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
    char text[96];
    struct anas_cpu_choice back;
    anas_choice_print(&choices[i], text);
    assert_true(anas_choice_parse(text, strlen(text), &back));
    assert_int_equal(back.vectors, choices[i].vectors);
    assert_true(back.panel == choices[i].panel && back.chunk == choices[i].chunk);
    assert_int_equal(back.columns, choices[i].columns);
    assert_int_equal(back.no_stream, choices[i].no_stream);
    assert_int_equal(back.direct, choices[i].direct);
    assert_false(anas_choice_parse(text, strlen(text) - 1, &back));
  }
  static const char *const bad[] = {"", "vectors=1", "vectors=1 panel=nan chunk=1 columns=0 stream=1 direct=0",
                                    "vectors=1 panel=1 chunk=1 columns=0 stream=1 direct=0 ",
                                    "vectors=01 panel=1 chunk=1 columns=0 stream=1 direct=0"};
  struct anas_cpu_choice back;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_false(anas_choice_parse(bad[i], strlen(bad[i]), &back));
}

// A unit as the compiler makes it, with a key.
static struct anas_unit make_unit(const struct kernel_text *kernel, const char *kind) {
  struct anas_unit unit = {.symbol = anas_strdup("k"), .kind = anas_strdup(kind)};
  unit.text = kernel_text_print(kernel);
  unit.size = strlen(unit.text);
  const char *parts[] = {unit.text};
  anas_cache_key(parts, &unit.size, 1, unit.key);
  return unit;
}

static void destroy_unit(struct anas_unit *unit) {
  free(unit->symbol);
  free(unit->kind);
  free(unit->text);
}

static void results_are_kept(void **state) {
  (void)state;
  char *directory = scratch_create();
  struct anas_cache *cache;
  struct anas_cpu_target target;
  assert_int_equal(anas_cache_open(directory, 0, &cache), ANAS_OK);
  assert_int_equal(anas_cpu_target_init(NULL, &target), ANAS_OK);
  struct anas_kernel kernel = {.symbol = "k", .kind = "dense_fwd", .flops = 2.0 * ROWS * FEATURES * STEPS, .calls = 1};
  struct anas_unit unit = make_unit(&product, "dense_fwd"), again = make_unit(&product, "dense_fwd");
  assert_false(anas_tune_find(cache, &unit));
  assert_int_equal(anas_tune(&unit, &kernel, 1, &target, 0, cache), ANAS_OK); // no time: nothing is measured
  assert_false(anas_tune_find(cache, &unit));
  assert_int_equal(anas_tune(&unit, &kernel, 1, &target, 60, cache), ANAS_OK);
  assert_true(anas_tune_find(cache, &again));
  assert_string_equal(unit.key, again.key);
  assert_int_equal(unit.choice.vectors, again.choice.vectors);
  // Neither small ones nor other kernels are measured.
  struct anas_unit other = make_unit(&gradient, "relu_fwd"), small = make_unit(&gradient, "dense_fwd");
  assert_int_equal(anas_tune(&other, &kernel, 1, &target, 60, cache), ANAS_OK);
  kernel.flops = 1000;
  assert_int_equal(anas_tune(&small, &kernel, 1, &target, 60, cache), ANAS_OK);
  assert_false(anas_tune_find(cache, &small));
  destroy_unit(&unit);
  destroy_unit(&again);
  destroy_unit(&other);
  destroy_unit(&small);
  anas_cpu_target_deinit(&target);
  anas_cache_close(cache);
  scratch_destroy(directory);
}

static int setup(void **state) {
  (void)state;
  context = anas_context_create(false);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  mlirContextDestroy(context);
  anas_team_shutdown();
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(alternatives_compute_the_same),
      cmocka_unit_test(choices_as_text),
      cmocka_unit_test(results_are_kept),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
