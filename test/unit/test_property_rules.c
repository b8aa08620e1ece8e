// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rules of the properties on plain values: depth along chains, composition and join of mixing, the three distances, and
// the pairing of one op against a literal enumeration of its dependencies.
#include "test/unit/pairing.h"

#include "runtime/support/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

// ---- depth: L linear, N non-linear, '.' neutral; first column from a graph input, second from a linear producer

static int64_t depth_of(const char *chain, enum anas_linearity producer) {
  struct anas_depth_state state = {0, producer};
  for (; *chain; chain++)
    state = anas_depth_append(state, *chain == 'L' ? ANAS_LINEAR : *chain == 'N' ? ANAS_NONLINEAR : ANAS_NEUTRAL);
  return state.depth;
}

static void test_depth_of_chains(void **state) {
  (void)state;
  static const struct {
    const char *chain;
    int external, linear;
  } cases[] = {
      {"L", 1, 0},   {"N", 0, 1},   {"LN", 2, 1},     {"NL", 1, 2},  {"LLN", 2, 1},   {"NN", 0, 1},
      {"LNL", 3, 2}, {"NLN", 2, 3}, {"LNLLNL", 5, 4}, {"LLL", 1, 0}, {"NNNNN", 0, 1}, {"LNLN", 4, 3},
      {".", 0, 0},   {"N.N", 0, 1}, {"L.N", 2, 1},    {".LN", 2, 1}, {"", 0, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(depth_of(cases[i].chain, ANAS_NONLINEAR), cases[i].external);
    assert_int_equal(depth_of(cases[i].chain, ANAS_LINEAR), cases[i].linear);
  }
}

// D5: the number of runs of one kind, less one if the first run is of the producer's kind; appending never lowers it.
static void test_depth_of_random_chains(void **state) {
  (void)state;
  struct anas_rng rng = anas_rng_make(23);
  for (int round = 0; round < 2000; round++) {
    char chain[24] = "";
    enum anas_linearity producer = anas_rng_below(&rng, 2) ? ANAS_LINEAR : ANAS_NONLINEAR;
    int length = 1 + (int)anas_rng_below(&rng, 20), runs = 0;
    int64_t before = 0;
    for (int i = 0; i < length; i++) {
      chain[i] = anas_rng_below(&rng, 2) ? 'L' : 'N';
      runs += !i || chain[i] != chain[i - 1];
      bool same = (chain[0] == 'L') == (producer == ANAS_LINEAR);
      assert_int_equal(depth_of(chain, producer), runs - same);
      assert_true(depth_of(chain, producer) >= before);
      before = depth_of(chain, producer);
    }
  }
}

// ---- distances

static struct anas_shape shape(int rank, int64_t a, int64_t b, int64_t c, int64_t d) {
  return (struct anas_shape){.rank = rank, .dim = {a, b, c, d}};
}

static void test_shape_distance(void **state) {
  (void)state;
  static const struct {
    int64_t required[4], actual[4];
    double distance;
  } cases[] = {
      {{5, 16, 16, 128}, {5, 16, 16, 128}, 0},     {{5, 16, 16, 128}, {5, 16, 16, 64}, 0.25},
      {{5, 8, 8, 128}, {5, 16, 16, 64}, 0.75},     {{5, 8, 8, 128}, {5, 16, 16, 128}, 0.5},
      {{5, 16, 16, 128}, {5, 8, 8, 128}, -1},      {{5, 8, 8, 128}, {5, 12, 12, 128}, -1},
      {{5, 8, 4, 128}, {5, 16, 16, 128}, -1},      {{5, 1, 1, 128}, {5, 7, 5, 128}, 0.5},
      {{5, 16, 16, 128}, {4, 16, 16, 128}, -1},    {{ANAS_DYNAMIC, 8, 8, 4}, {ANAS_DYNAMIC, 8, 8, 2}, 0.25},
      {{ANAS_DYNAMIC, 8, 8, 4}, {2, 8, 8, 4}, -1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const int64_t *r = cases[i].required, *a = cases[i].actual;
    struct anas_shape required = shape(4, r[0], r[1], r[2], r[3]), actual = shape(4, a[0], a[1], a[2], a[3]);
    double distance = anas_shape_distance(&required, &actual);
    if (cases[i].distance < 0)
      assert_true(distance < 0);
    else
      assert_true(distance == cases[i].distance);
  }
  struct anas_shape flat = shape(2, 5, 10, 0, 0), image = shape(4, 5, 16, 16, 10);
  assert_true(anas_shape_distance(&flat, &image) < 0);
}

static void test_depth_distance(void **state) {
  (void)state;
  assert_true(anas_depth_distance(2, 0) == 1);
  assert_true(anas_depth_distance(2, 1) == 0.5);
  assert_true(anas_depth_distance(2, 2) == 0);
  assert_true(anas_depth_distance(2, 9) == 0);
  assert_true(anas_depth_distance(0, 0) == 0);
  assert_true(anas_depth_distance(3, -1) == 1);
}

static struct anas_mixing matrix(int rows, int columns, const char *digits) {
  struct anas_mixing m = {.rows = rows, .columns = columns};
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < columns; j++)
      m.pair[i][j] = (uint8_t)(*digits++ - '0');
  return m;
}

static void assert_matrix(const struct anas_mixing *actual, const struct anas_mixing *expected) {
  assert_int_equal(actual->rows, expected->rows);
  assert_int_equal(actual->columns, expected->columns);
  for (int i = 0; i < actual->rows; i++)
    for (int j = 0; j < actual->columns; j++)
      assert_int_equal(actual->pair[i][j], expected->pair[i][j]);
}

static void test_mixing_distance(void **state) {
  (void)state;
  struct anas_mixing conv = matrix(4, 4, "1000020000203333");
  struct anas_mixing identity, depthwise = matrix(4, 4, "1000020000200001"), dense = matrix(4, 4, "1000010000103333");
  anas_mixing_identity(4, &identity);
  // 7 entries are required; 6, 4, 2 and 0 of them are missing.
  assert_true(anas_mixing_distance(&conv, &identity) == 6.0 / 7);
  assert_true(anas_mixing_distance(&conv, &depthwise) == 4.0 / 7);
  assert_true(anas_mixing_distance(&conv, &dense) == 2.0 / 7);
  assert_true(anas_mixing_distance(&conv, &conv) == 0);
  struct anas_mixing nothing = {.rows = 4, .columns = 4};
  assert_true(anas_mixing_distance(&nothing, &identity) == 0);
  // A2.3 and A2.4: a softmax is satisfied by a convolution, not the other way round.
  struct anas_mixing softmax = matrix(3, 3, "100010333"), window = matrix(3, 3, "200020333");
  assert_true(anas_mixing_distance(&softmax, &window) == 0);
  assert_true(anas_mixing_distance(&window, &softmax) > 0);
}

// ---- composition

static void test_compose_table(void **state) {
  (void)state;
  static const char *const table[] = {"0000", "0123", "0223", "3333"};
  for (int a = 0; a < 4; a++)
    for (int q = 0; q < 4; q++) {
      struct anas_mixing first = {.rows = 1, .columns = 1, .pair = {{(uint8_t)a}}};
      struct anas_mixing then = {.rows = 1, .columns = 1, .pair = {{(uint8_t)q}}};
      struct anas_mixing out;
      anas_mixing_compose(&first, &then, &out);
      assert_int_equal(out.pair[0][0], table[a][q] - '0');
    }
}

static void test_compose_chains(void **state) {
  (void)state;
  struct anas_mixing conv3 = matrix(4, 4, "1000020000203333"), strided1 = matrix(4, 4, "1000000000003333");
  struct anas_mixing group_norm = matrix(4, 4, "1000333333333333"), flatten = matrix(4, 2, "10010101");
  struct anas_mixing dense = matrix(2, 2, "1033"), out;
  anas_mixing_compose(&conv3, &strided1, &out);
  assert_matrix(&out, &strided1);
  anas_mixing_compose(&group_norm, &strided1, &out);
  assert_matrix(&out, &group_norm);
  out = conv3;
  for (int i = 0; i < 7; i++)
    anas_mixing_compose(&out, &conv3, &out);
  assert_matrix(&out, &conv3);
  anas_mixing_compose(&conv3, &flatten, &out);
  anas_mixing_compose(&out, &dense, &out);
  struct anas_mixing expected = matrix(4, 2, "10333333");
  assert_matrix(&out, &expected);
}

static struct anas_mixing random_matrix(struct anas_rng *rng, int rows, int columns) {
  struct anas_mixing m = {.rows = rows, .columns = columns};
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < columns; j++)
      m.pair[i][j] = (uint8_t)anas_rng_below(rng, 4);
  return m;
}

static void test_compose_laws(void **state) {
  (void)state;
  struct anas_rng rng = anas_rng_make(17);
  for (int round = 0; round < 40000; round++) {
    int n[4];
    for (int i = 0; i < 4; i++)
      n[i] = 1 + (int)anas_rng_below(&rng, 4);
    struct anas_mixing a = random_matrix(&rng, n[0], n[1]), b = random_matrix(&rng, n[1], n[2]);
    struct anas_mixing c = random_matrix(&rng, n[2], n[3]), left, right, identity, out;
    anas_mixing_compose(&a, &b, &left);
    anas_mixing_compose(&left, &c, &left);
    anas_mixing_compose(&b, &c, &right);
    anas_mixing_compose(&a, &right, &right);
    assert_matrix(&left, &right);
    anas_mixing_identity(n[0], &identity);
    anas_mixing_compose(&identity, &a, &out);
    assert_matrix(&out, &a);
    // D4: the join, and the identity as right unit of matrices in which a row is all 3 or has none.
    struct anas_mixing d = random_matrix(&rng, n[0], n[1]), other = d;
    left = a;
    anas_mixing_join(&left, &d);
    anas_mixing_join(&other, &a);
    assert_matrix(&left, &other);
    anas_mixing_join(&left, &a);
    assert_matrix(&left, &other);
    for (int i = 0; i < a.rows; i++)
      for (int j = 0; j < a.columns; j++)
        if (memchr(a.pair[i], ANAS_PAIR_ALL, (size_t)a.columns)) a.pair[i][j] = ANAS_PAIR_ALL;
    anas_mixing_identity(n[1], &identity);
    anas_mixing_compose(&a, &identity, &out);
    assert_matrix(&out, &a);
  }
}

// ---- pairing of one op

static struct anas_dep sample_deps[ANAS_MAX_RANK];

static void give_sample_deps(const struct anas_op *op, int which, const struct anas_shape *result,
                             struct anas_dep *out) {
  (void)result;
  memcpy(out, sample_deps, (size_t)op->operand[which].rank * sizeof *out);
}

static void test_pairing_of_random_dependencies(void **state) {
  (void)state;
  static const struct anas_op_def def = {.name = "sample", .num_operands = 1, .deps = give_sample_deps};
  struct anas_rng rng = anas_rng_make(5);
  int seen[4] = {0};
  for (int round = 0; round < 20000; round++) {
    struct anas_op op = {.def = &def, .num_operands = 1};
    struct anas_shape result = {.rank = 1 + (int)anas_rng_below(&rng, 3)};
    op.operand[0].rank = 1 + (int)anas_rng_below(&rng, 3);
    for (int j = 0; j < result.rank; j++)
      result.dim[j] = 1 + (int64_t)anas_rng_below(&rng, 7);
    for (int i = 0; i < op.operand[0].rank; i++) {
      struct anas_dep *dep = &sample_deps[i];
      int from = (int)anas_rng_below(&rng, (uint64_t)result.rank);
      *dep = (struct anas_dep){.kind = (enum anas_dep_kind)anas_rng_below(&rng, 7),
                               .out_dim = from,
                               .out_last = from + (int)anas_rng_below(&rng, (uint64_t)(result.rank - from)),
                               .window = 1 + (int64_t)anas_rng_below(&rng, 3),
                               .stride = 1 + (int64_t)anas_rng_below(&rng, 3),
                               .pad = (int64_t)anas_rng_below(&rng, 3),
                               .dilation = 1 + (int64_t)anas_rng_below(&rng, 3),
                               .out_group = 1 + (int64_t)anas_rng_below(&rng, 3),
                               .in_group = 1 + (int64_t)anas_rng_below(&rng, 3),
                               .div = 1 + (int64_t)anas_rng_below(&rng, 3)};
      op.operand[0].dim[i] = 1 + (int64_t)anas_rng_below(&rng, 7);
      if (dep->kind == ANAS_DEP_NONE && anas_rng_below(&rng, 4)) dep->kind = ANAS_DEP_WINDOW;
      if (dep->kind == ANAS_DEP_GROUP) // groups tile the operand exactly
        op.operand[0].dim[i] = ((result.dim[dep->out_dim] - 1) / dep->out_group + 1) * dep->in_group;
    }
    struct anas_mixing actual, expected;
    anas_mixing_of_op(&op, 0, &result, &actual);
    test_literal_pairing(sample_deps, &op.operand[0], &result, &expected);
    assert_matrix(&actual, &expected);
    for (int i = 0; i < expected.rows; i++)
      for (int j = 0; j < expected.columns; j++)
        seen[expected.pair[i][j]]++;
  }
  for (int class = 0; class < 4; class ++)
    assert_true(seen[class] > 1000);
}

static void test_pairing_of_elementwise(void **state) {
  (void)state;
  static const struct anas_op_def def = {.name = "sample", .num_operands = 2};
  struct anas_op op = {
      .def = &def, .num_operands = 2, .operand = {shape(4, ANAS_DYNAMIC, 8, 8, 16), shape(3, 8, 1, 16, 0)}};
  struct anas_shape result = op.operand[0];
  struct anas_mixing out, expected;
  anas_mixing_of_op(&op, 0, &result, &out);
  anas_mixing_identity(4, &expected);
  assert_matrix(&out, &expected);
  anas_mixing_of_op(&op, 1, &result, &out);
  expected = matrix(3, 4, "010033330001");
  assert_matrix(&out, &expected);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_depth_of_chains),
      cmocka_unit_test(test_depth_of_random_chains),
      cmocka_unit_test(test_shape_distance),
      cmocka_unit_test(test_depth_distance),
      cmocka_unit_test(test_mixing_distance),
      cmocka_unit_test(test_compose_table),
      cmocka_unit_test(test_compose_chains),
      cmocka_unit_test(test_compose_laws),
      cmocka_unit_test(test_pairing_of_random_dependencies),
      cmocka_unit_test(test_pairing_of_elementwise),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
