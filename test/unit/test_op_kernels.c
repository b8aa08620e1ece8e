// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Generated from the op table: the kernel functions of every sample of every op, forward and backward, as the emitters
// compile them for every vector width this machine can run, against the stock lowering of the same functions.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "passes/lower/lowering.h"
#include "runtime/support/file.h"
#include "test/unit/cpu_fixture.h"
#include "test/unit/op_program.h"

#define TOLERANCE 1e-4 // of 1 + |reference|

static char (*seen)[35]; // names of kernel functions, which are hashes of their text
static size_t num_seen, capacity_seen;

static bool is_new(const char *name) {
  for (size_t i = 0; i < num_seen; i++)
    if (!strcmp(seen[i], name)) return false;
  seen = anas_grow(seen, num_seen, &capacity_seen, sizeof *seen);
  snprintf(seen[num_seen++], sizeof *seen, "%s", name);
  return true;
}

// Away from zero, where quotients and logarithms would magnify rounding.
static void fill(struct kernel_buffer *buffer, const struct kernel_operand *operand, struct anas_rng *rng,
                 bool positive) {
  for (int64_t i = 0; i < operand->elements; i++) {
    double size = 0.5 + anas_rng_double(rng);
    if (operand->is_float)
      ((float *)buffer->data)[i] = (float)(positive || anas_rng_below(rng, 2) ? size : -size);
    else if (operand->bytes == 4)
      ((int32_t *)buffer->data)[i] = (int32_t)anas_rng_below(rng, 3);
    else
      ((int64_t *)buffer->data)[i] = (int64_t)anas_rng_below(rng, 1000);
  }
}

static double element(const void *data, const struct kernel_operand *operand, int64_t i) {
  if (operand->is_float) return ((const float *)data)[i];
  return operand->bytes == 4 ? ((const int32_t *)data)[i] : (double)((const int64_t *)data)[i];
}

// Both are no number: the root of a negative input.
static bool agree(double a, double b) {
  return a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= TOLERANCE * (1 + fabs(b));
}

static void check_kernel(const char *op, const char *name, const char *function) {
  struct anas_strbuf renamed = {0}; // the runner looks for @k
  const char *at = strstr(function, name);
  assert_non_null(at);
  anas_strbuf_addf(&renamed, "%.*sk%s", (int)(at - function), function, at + strlen(name));
  const char *text = anas_strbuf_text(&renamed);
  struct kernel_operand operand[KERNEL_MAX_OPERANDS];
  struct kernel_code reference, code;
  int num;
  assert_true(kernel_compile(cpu.context, text, NULL, &reference, operand, &num));
  struct kernel_buffer input[KERNEL_MAX_OPERANDS], want[KERNEL_MAX_OPERANDS], got[KERNEL_MAX_OPERANDS];
  void *pointers[KERNEL_MAX_OPERANDS];
  for (int i = 0; i < num; i++) {
    kernel_buffer_init(&input[i], &operand[i]);
    kernel_buffer_init(&want[i], &operand[i]);
    kernel_buffer_init(&got[i], &operand[i]);
  }
  for (int t = 0; t < cpu.num_targets; t++) {
    assert_true(kernel_compile(cpu.context, text, &cpu.targets[t], &code, NULL, NULL));
    for (int positive = 0; positive < 2; positive++) {
      struct anas_rng rng = anas_rng_make(11);
      for (int i = 0; i < num; i++) {
        fill(&input[i], &operand[i], &rng, positive);
        memcpy(want[i].data, input[i].data, input[i].bytes);
        memcpy(got[i].data, input[i].data, input[i].bytes);
        pointers[i] = want[i].data;
      }
      kernel_run(&reference, pointers, num, 1);
      for (int i = 0; i < num; i++)
        pointers[i] = got[i].data;
      kernel_run(&code, pointers, num, 2);
      for (int i = 0; i < num; i++) {
        for (int64_t e = 0; e < operand[i].elements; e++)
          if (!agree(element(got[i].data, &operand[i], e), element(want[i].data, &operand[i], e)))
            fail_msg("%s, %s: operand %d, element %lld is %.9g, expected %.9g\n%s", op, cpu.targets[t].cpu, i,
                     (long long)e, element(got[i].data, &operand[i], e), element(want[i].data, &operand[i], e), text);
        assert_true(kernel_buffer_intact(&got[i]));
      }
    }
    kernel_release(&code);
  }
  for (int i = 0; i < num; i++) {
    kernel_buffer_deinit(&input[i]);
    kernel_buffer_deinit(&want[i]);
    kernel_buffer_deinit(&got[i]);
  }
  kernel_release(&reference);
  anas_strbuf_deinit(&renamed);
}

static int check_sample(const struct anas_op_def *def, const struct anas_sample *sample) {
  struct instance instance;
  struct program program;
  int checked = 0;
  instance_init(cpu.context, def, sample, &instance);
  program_init(cpu.context, &instance, true, def->backward != NULL, &program);
  for (int i = 0; i < program.lowering->num_nests; i++) {
    struct anas_kernel_function kernel;
    assert_int_equal(anas_kernel_function_print(program.lowering, program.lowering->nests[i], &kernel), ANAS_OK);
    if (is_new(kernel.name)) {
      check_kernel(def->name, kernel.name, kernel.text);
      checked++;
    }
    anas_kernel_function_deinit(&kernel);
  }
  program_deinit(&program);
  instance_deinit(&instance);
  return checked;
}

static void kernels_of_every_op(void **state) {
  (void)state;
  int count, checked = 0;
  const struct anas_op_def *const *defs = anas_op_table(&count);
  for (int d = 0; d < count; d++)
    for (int i = 0; defs[d]->forward && i < defs[d]->num_samples; i++)
      checked += check_sample(defs[d], &defs[d]->samples[i]);
  print_message("%d kernel functions, %d targets\n", checked, cpu.num_targets);
  assert_true(checked > 100);
}

static int tear_down(void **state) {
  free(seen);
  return cpu_tear_down(state);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(kernels_of_every_op)};
  return cmocka_run_group_tests(tests, cpu_set_up, tear_down);
}
