// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The fixture of the tests of the CPU emitters.
#include "test/unit/cpu_fixture.h"

struct cpu_fixture cpu;

int cpu_set_up(void **state) {
  (void)state;
  cpu.context = anas_context_create(false);
  cpu.num_targets = kernel_targets(cpu.targets);
  return cpu.num_targets > 0 ? 0 : -1;
}

int cpu_set_up_bf16(void **state) {
  if (cpu_set_up(state)) return -1;
  for (int i = 0; i < cpu.num_targets; i++)
    anas_cpu_target_deinit(&cpu.targets[i]);
  cpu.num_targets = 0;
  cpu.num_paired = 0;
  cpu.bf16 = true;
  for (int lanes = 8; lanes <= 16; lanes *= 2) {
    struct anas_cpu_target *target = &cpu.targets[cpu.num_targets];
    if (anas_cpu_target_init(NULL, target) != ANAS_OK) return -1;
    if (target->bf16_speed == 0) {
      anas_cpu_target_deinit(target);
      printf("# skipped: %s has no instructions for bf16\n", target->cpu);
      break;
    }
    target->bf16 = ANAS_BF16_ALWAYS;
    target->winograd = ANAS_WINOGRAD_OFF;
    target->lanes = lanes;
    target->registers = lanes == 16 ? 32 : 16;
    cpu.num_targets++;
  }
  return 0;
}

int cpu_tear_down(void **state) {
  (void)state;
  for (int i = 0; i < cpu.num_targets; i++)
    anas_cpu_target_deinit(&cpu.targets[i]);
  mlirContextDestroy(cpu.context);
  return 0;
}

static void fill_inputs(struct kernel_buffer *buffer, const struct kernel_operand *operand, struct anas_rng *rng) {
  for (int64_t i = 0; i < operand->elements; i++) {
    if (operand->is_float)
      ((float *)buffer->data)[i] = (float)(2 * anas_rng_double(rng) - 1);
    else if (operand->bytes == 4)
      ((int32_t *)buffer->data)[i] = (int32_t)anas_rng_below(rng, 7);
    else
      ((int64_t *)buffer->data)[i] = (int64_t)anas_rng_below(rng, 1000);
  }
}

// tolerance is relative to 1 + |reference|.
static void compare(const char *text, const struct kernel_code *code, const struct anas_cpu_target *target, int which,
                    const struct kernel_operand *operand, const void *got, const void *expected, double tolerance) {
  for (int64_t i = 0; i < operand->elements; i++) {
    double a, b;
    if (operand->is_float)
      a = ((const float *)got)[i], b = ((const float *)expected)[i];
    else if (operand->bytes == 4)
      a = ((const int32_t *)got)[i], b = ((const int32_t *)expected)[i];
    else
      a = (double)((const int64_t *)got)[i], b = (double)((const int64_t *)expected)[i];
    if (a == b || fabs(a - b) <= tolerance * (1 + fabs(b))) continue;
    fail_msg("%s: operand %d, element %lld is %.9g, expected %.9g\n%s\n%s", target->cpu, which, (long long)i, a, b,
             text, code->ir);
  }
}

// Operand o has the first loop as its first index.
static bool starts_with_first_loop(const struct kernel_text *kernel, int o) {
  size_t length = strcspn(kernel->loops, ",");
  return length > 0 && !strncmp(kernel->map[o], kernel->loops, length) &&
         (kernel->map[o][length] == ',' || !kernel->map[o][length]);
}

// Part p of a kernel that says how it can be cut computes what belongs to iteration p of the first loop, and nothing
// else.
static void check_part(const struct kernel_text *kernel, const char *text, const struct kernel_code *code, int64_t p,
                       const struct kernel_operand *operand, void *const *input, void *const *whole) {
  int num = kernel->num_in + kernel->num_out;
  void *got[KERNEL_MAX_OPERANDS];
  for (int i = 0; i < num; i++) {
    size_t bytes = (size_t)(operand[i].elements * operand[i].bytes);
    got[i] = anas_alloc(bytes);
    memcpy(got[i], input[i], bytes);
  }
  int64_t part = code->iterations[0] / code->leading;
  code->part[0](got, p * part, (p + 1) * part);
  for (int i = 0; i < num; i++) {
    size_t share = (size_t)(operand[i].elements / code->leading * operand[i].bytes), at = (size_t)p * share;
    size_t rest = (size_t)(operand[i].elements * operand[i].bytes) - at - share;
    const char *g = got[i], *in = input[i], *all = whole[i];
    if (i >= kernel->num_in && starts_with_first_loop(kernel, i) &&
        (memcmp(g, in, at) || memcmp(g + at, all + at, share) || memcmp(g + at + share, in + at + share, rest)))
      fail_msg("operand %d: part %d of %d is not iteration %d of the first loop\n%s\n%s", i, (int)p, (int)code->leading,
               (int)p, text, code->ir);
    free(got[i]);
  }
}

// Round to nearest, ties to even, as bf16.
static float round_to_bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
  memcpy(&value, &bits, sizeof bits);
  return value;
}

// Runs the stock lowering of the kernel in double precision on inputs rounded to bf16.
static void run_rounded(const char *text, const struct kernel_text *kernel, const struct kernel_operand *operand,
                        int num, const struct kernel_buffer *input, struct kernel_buffer *expected) {
  struct anas_strbuf wide = {0};
  for (const char *c = text; *c; c++) {
    bool element = !strncmp(c, "f32", 3);
    anas_strbuf_adds(&wide, element ? "f64" : (char[]){*c, 0});
    if (element) c += 2;
  }
  struct kernel_code code;
  assert_true(kernel_compile(cpu.context, wide.data, NULL, &code, NULL, NULL));
  void *pointers[KERNEL_MAX_OPERANDS];
  for (int i = 0; i < num; i++) {
    double *values = calloc((size_t)operand[i].elements, sizeof *values);
    for (int64_t j = 0; j < operand[i].elements; j++) {
      float value = ((const float *)input[i].data)[j];
      values[j] = i < kernel->num_in ? round_to_bf16(value) : value;
    }
    pointers[i] = values;
  }
  kernel_run(&code, pointers, num, 1);
  for (int i = 0; i < num; i++) {
    for (int64_t j = 0; j < operand[i].elements && i >= kernel->num_in; j++)
      ((float *)expected[i].data)[j] = (float)((const double *)pointers[i])[j];
    free(pointers[i]);
  }
  kernel_release(&code);
  anas_strbuf_deinit(&wide);
}

void kernel_check_text(const char *text, const struct kernel_text *kernel, double tolerance) {
  struct kernel_operand operand[KERNEL_MAX_OPERANDS];
  struct kernel_code reference;
  int num;
  assert_true(kernel_compile(cpu.context, text, NULL, &reference, operand, &num));
  struct kernel_buffer input[KERNEL_MAX_OPERANDS], expected[KERNEL_MAX_OPERANDS], rounded[KERNEL_MAX_OPERANDS],
      got[KERNEL_MAX_OPERANDS];
  void *pointers[KERNEL_MAX_OPERANDS];
  struct anas_rng rng = anas_rng_make(7);
  for (int i = 0; i < num; i++) {
    kernel_buffer_init(&input[i], &operand[i]);
    kernel_buffer_init(&expected[i], &operand[i]);
    kernel_buffer_init(&rounded[i], &operand[i]);
    kernel_buffer_init(&got[i], &operand[i]);
    fill_inputs(&input[i], &operand[i], &rng);
    memcpy(expected[i].data, input[i].data, input[i].bytes);
    memcpy(rounded[i].data, input[i].data, input[i].bytes);
    pointers[i] = expected[i].data;
  }
  kernel_run(&reference, pointers, num, 1);
  if (cpu.bf16) run_rounded(text, kernel, operand, num, input, rounded);
  for (int t = 0; t < cpu.num_targets; t++) {
    struct kernel_code code;
    assert_true(kernel_compile(cpu.context, text, &cpu.targets[t], &code, NULL, NULL));
    bool paired = cpu.bf16 && code.num_parts == 3;
    const struct kernel_buffer *right = paired ? rounded : expected;
    cpu.num_paired += paired;
    // In one piece, then in pieces from the back: iterations must not depend on each other.
    for (int pieces = 1; pieces <= 3; pieces += 2) {
      for (int i = 0; i < num; i++) {
        memcpy(got[i].data, input[i].data, input[i].bytes);
        pointers[i] = got[i].data;
      }
      kernel_run(&code, pointers, num, pieces);
      for (int i = 0; i < num; i++) {
        compare(text, &code, &cpu.targets[t], i, &operand[i], got[i].data, right[i].data, tolerance);
        assert_true(kernel_buffer_intact(&got[i]));
      }
    }
    assert_true(code.leading == 0 || code.iterations[0] % code.leading == 0);
    cpu.num_cut += code.leading > 1;
    void *in[KERNEL_MAX_OPERANDS];
    for (int i = 0; i < num; i++)
      in[i] = input[i].data;
    for (int64_t p = 0; p < code.leading && kernel; p++)
      check_part(kernel, text, &code, p, operand, in, pointers);
    kernel_release(&code);
  }
  for (int i = 0; i < num; i++) {
    kernel_buffer_deinit(&input[i]);
    kernel_buffer_deinit(&expected[i]);
    kernel_buffer_deinit(&rounded[i]);
    kernel_buffer_deinit(&got[i]);
  }
  kernel_release(&reference);
}

void kernel_check(const struct kernel_text *kernel, double tolerance) {
  char *text = kernel_text_print(kernel);
  kernel_check_text(text, kernel, tolerance);
  free(text);
}
