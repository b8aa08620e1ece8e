// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How many trials a search packs on a machine, and the prediction that this rests on.
#include "tools/anas-search/packing.h"

#include "dialect/context.h"
#include "dialect/zoo.h"
#include "passes/lower/compile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MB ((int64_t)1000000)

// Speed-ups of a step of which one thread does `serial` alone.
static struct packing_facts facts(int processors, double serial, double *speedup) {
  for (int t = 1; t <= processors; t++)
    speedup[t - 1] = 1 / (serial + (1 - serial) / t);
  return (struct packing_facts){
      .processors = processors, .speedup = speedup, .planned_bytes = 120 * MB, .free_bytes = 64000 * MB, .most = 1000};
}

static void test_speedup_decides(void **state) {
  (void)state;
  double speedup[64];
  struct packing_facts f = facts(16, 0, speedup);
  assert_int_equal(packing_trials(&f), 1); // all threads are worth their while
  f = facts(16, 0.5, speedup);
  assert_int_equal(packing_trials(&f), 16);
  f = facts(16, 0.02, speedup); // 0.9 of the ideal: up to 6 threads
  assert_true(speedup[5] >= 0.9 * 6 && speedup[6] < 0.9 * 7);
  assert_int_equal(packing_trials(&f), 2);
  f = facts(1, 0, speedup);
  assert_int_equal(packing_trials(&f), 1);
}

static void test_limits(void **state) {
  (void)state;
  double speedup[64];
  struct packing_facts f = facts(16, 0.5, speedup);
  f.free_bytes = 2000 * MB; // a trial is given twice 120 and 80 MB
  assert_int_equal(packing_trials(&f), 4);
  f.memory_limit = 200 * MB; // trials that need more end
  assert_int_equal(packing_trials(&f), 9);
  f.free_bytes = 10 * MB;
  assert_int_equal(packing_trials(&f), 1);
  f = facts(16, 0.5, speedup);
  f.most = 3;
  assert_int_equal(packing_trials(&f), 3);
  f = facts(16, 0, speedup); // what somebody said
  f.threads = 5;
  assert_int_equal(packing_trials(&f), 3);
  f.threads = 32;
  assert_int_equal(packing_trials(&f), 1);
}

static double predicted(const char *network, int64_t batch, int threads) {
  MlirContext context = anas_context_create(false);
  struct anas_model *model;
  MlirModule module;
  assert_int_equal(anas_zoo_build(network, 28, 28, 1, 10, &model), ANAS_OK);
  assert_int_equal(anas_model_export(model, context, &module), ANAS_OK);
  struct anas_compile_options options = {.batch = batch, .optimizer = {.momentum = 0.9}};
  struct anas_program_image image;
  assert_int_equal(anas_compile(module, &options, &image), ANAS_OK);
  double one = anas_predict_speedup(&image, 1), many = anas_predict_speedup(&image, threads);
  assert_true(one == 1);
  anas_program_image_deinit(&image);
  mlirModuleDestroy(module);
  anas_model_destroy(model);
  mlirContextDestroy(context);
  return many;
}

// Large batches keep threads busy, single images do not.
static void test_prediction(void **state) {
  (void)state;
  double small = predicted("cnn", 1, 16), large = predicted("cnn", 256, 16);
  print_message("cnn with 16 threads: batch 1 %.2f, batch 256 %.2f\n", small, large);
  assert_true(small > 0 && small < 0.7 * large);
  assert_true(large > 6 && large <= 16);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_speedup_decides),
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_prediction),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
