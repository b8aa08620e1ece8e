// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The exact positions that a value reads (reads.h) against sets of input elements propagated one element at a time:
// random chains and joins of random dependencies, and what closed forms cost.
#include "runtime/support/rng.h"
#include "test/unit/pairing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MAX_ELEMENTS 512
#define WORDS (MAX_ELEMENTS / 64)

struct dependency { // [element of the value]: bits of elements of the input
  struct anas_shape shape;
  uint64_t set[MAX_ELEMENTS][WORDS];
};

static void split(const struct anas_shape *shape, int64_t element, int64_t *out) {
  for (int d = shape->rank - 1; d >= 0; d--) {
    out[d] = element % shape->dim[d];
    element /= shape->dim[d];
  }
}

static struct anas_dep chosen[ANAS_MAX_RANK];

static void give_chosen(const struct anas_op *op, int which, const struct anas_shape *result, struct anas_dep *out) {
  (void)result;
  memcpy(out, chosen, (size_t)op->operand[which].rank * sizeof *out);
}

static const struct anas_op_def sample_def = {.name = "sample", .num_operands = 1, .deps = give_chosen};

static struct anas_shape random_shape(struct anas_rng *rng) {
  for (;;) {
    struct anas_shape shape = {.rank = 1 + (int)anas_rng_below(rng, 3)};
    for (int d = 0; d < shape.rank; d++)
      shape.dim[d] = 1 + (int64_t)anas_rng_below(rng, 12);
    if (anas_shape_elements(&shape) <= MAX_ELEMENTS) return shape;
  }
}

// Dependencies of every kind, windows and single dimensions more often.
static void choose_deps(struct anas_rng *rng, const struct anas_shape *operand, const struct anas_shape *result) {
  for (int i = 0; i < operand->rank; i++) {
    int from = (int)anas_rng_below(rng, (uint64_t)result->rank);
    enum anas_dep_kind kind = (enum anas_dep_kind)anas_rng_below(rng, 7);
    bool plain = anas_rng_below(rng, 2);
    if (kind == ANAS_DEP_NONE || (plain && i < result->rank)) kind = ANAS_DEP_WINDOW;
    if (plain && i < result->rank) from = i;
    chosen[i] = (struct anas_dep){.kind = kind,
                                  .out_dim = from,
                                  .out_last = from + (int)anas_rng_below(rng, (uint64_t)(result->rank - from)),
                                  .window = 1 + (int64_t)anas_rng_below(rng, 3),
                                  .stride = 1 + (int64_t)anas_rng_below(rng, 3),
                                  .pad = (int64_t)anas_rng_below(rng, 3),
                                  .dilation = 1 + (int64_t)anas_rng_below(rng, 3),
                                  .out_group = 1 + (int64_t)anas_rng_below(rng, 4),
                                  .in_group = 1 + (int64_t)anas_rng_below(rng, 4),
                                  .div = 1 + (int64_t)anas_rng_below(rng, 6)};
    if (!plain && anas_rng_below(rng, 2)) chosen[i].window = chosen[i].stride = chosen[i].dilation = 1;
  }
}

static void input_dependency(const struct anas_shape *shape, struct dependency *out) {
  memset(out, 0, sizeof *out);
  out->shape = *shape;
  for (int64_t e = 0; e < anas_shape_elements(shape); e++)
    out->set[e][e / 64] |= UINT64_C(1) << (e % 64);
}

static void append(const struct dependency *before, const struct anas_shape *result, struct dependency *out) {
  memset(out, 0, sizeof *out);
  out->shape = *result;
  for (int64_t e = 0; e < anas_shape_elements(result); e++) {
    int64_t y[ANAS_MAX_RANK] = {0}, z[ANAS_MAX_RANK];
    split(result, e, y);
    for (int64_t m = 0; m < anas_shape_elements(&before->shape); m++) {
      bool reads = true;
      split(&before->shape, m, z);
      for (int k = 0; k < before->shape.rank && reads; k++)
        reads = test_reads(&chosen[k], before->shape.dim[k], result, y, z[k]);
      for (int w = 0; reads && w < WORDS; w++)
        out->set[e][w] |= before->set[m][w];
    }
  }
}

static void compare(const struct dependency *truth, const struct anas_shape *input, const struct anas_reads *reads) {
  assert_true(reads->exact);
  bool total = true;
  for (int64_t e = 0; e < anas_shape_elements(&truth->shape); e++) {
    int64_t y[ANAS_MAX_RANK] = {0}, x[ANAS_MAX_RANK] = {0};
    uint64_t expected[ANAS_MAX_RANK] = {0};
    bool any = false;
    split(&truth->shape, e, y);
    for (int64_t f = 0; f < anas_shape_elements(input); f++) {
      if (!(truth->set[e][f / 64] >> (f % 64) & 1)) continue;
      any = true;
      split(input, f, x);
      for (int i = 0; i < input->rank; i++)
        expected[i] |= UINT64_C(1) << x[i];
    }
    total = total && any;
    for (int i = 0; i < input->rank; i++) {
      uint64_t actual = 0;
      anas_reads_positions(reads, i, y, &actual);
      assert_int_equal(actual, expected[i]);
    }
  }
  assert_true(total || !reads->total);
}

// How many terms had to become tables says whether the closed forms are worth anything.
static void test_random_chains(void **state) {
  (void)state;
  static struct dependency a, b, first, branch;
  struct anas_rng rng = anas_rng_make(3);
  int tables = 0, terms = 0;
  for (int round = 0; round < 1500; round++) {
    struct anas_arena arena = {0};
    struct anas_shape input = random_shape(&rng);
    struct anas_reads reads, side;
    input_dependency(&input, &a);
    anas_reads_of_input(&input, &reads);
    compare(&a, &input, &reads);
    int length = 1 + (int)anas_rng_below(&rng, 4);
    for (int n = 0; n < length; n++) {
      struct anas_op op = {.def = &sample_def, .num_operands = 1, .operand = {a.shape}};
      struct anas_shape result = random_shape(&rng);
      choose_deps(&rng, &a.shape, &result);
      append(&a, &result, &b);
      bool joined = anas_rng_below(&rng, 3) == 0;
      if (joined) { // a second way through other dependencies
        anas_reads_append(&reads, &op, 0, &result, &arena, &side);
        first = a;
        branch = b;
        choose_deps(&rng, &first.shape, &result);
        append(&first, &result, &b);
      }
      anas_reads_append(&reads, &op, 0, &result, &arena, &reads);
      if (joined) {
        anas_reads_join(&reads, &side, &arena);
        for (int64_t e = 0; e < anas_shape_elements(&result); e++)
          for (int w = 0; w < WORDS; w++)
            b.set[e][w] |= branch.set[e][w];
      }
      a = b;
      compare(&a, &input, &reads);
    }
    for (int t = 0; t < reads.num_terms; t++)
      tables += reads.term[t].table != NULL;
    terms += reads.num_terms;
    anas_arena_deinit(&arena);
  }
  assert_true(terms > 1500);
  assert_true(tables < terms);
}

// A summary appended in one piece says the same as its ops one by one.
static void test_summaries(void **state) {
  (void)state;
  static struct dependency a, b;
  struct anas_rng rng = anas_rng_make(9);
  int summarised = 0;
  for (int round = 0; round < 2000; round++) {
    struct anas_arena arena = {0};
    struct anas_shape input = random_shape(&rng);
    struct anas_reads before, callee, whole;
    input_dependency(&input, &a);
    anas_reads_of_input(&input, &before);
    for (int n = 0; n < 4; n++) {
      struct anas_op op = {.def = &sample_def, .num_operands = 1, .operand = {a.shape}};
      struct anas_shape result = random_shape(&rng);
      choose_deps(&rng, &a.shape, &result);
      append(&a, &result, &b);
      if (n == 2) anas_reads_of_input(&a.shape, &callee);
      anas_reads_append(n < 2 ? &before : &callee, &op, 0, &result, &arena, n < 2 ? &before : &callee);
      a = b;
    }
    if (anas_reads_append_call(&before, &callee, false, &arena, &whole)) {
      summarised++;
      compare(&a, &input, &whole);
    }
    anas_arena_deinit(&arena);
  }
  assert_true(summarised > 100);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_random_chains),
      cmocka_unit_test(test_summaries),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
