// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Contraction equations: what they accept, and messages that name the label and the character that is wrong.
#include "dialect/attributes.h"
#include "dialect/equation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static anas_status bind(const char *equation, const char *a, const char *b, const char *result,
                        struct anas_equation *out) {
  struct anas_op op = {.def = anas_op_find("einsum", 6), .num_operands = 2};
  struct anas_shape type;
  assert_non_null(op.def);
  assert_int_equal(anas_shape_parse(a, &op.operand[0]), ANAS_OK);
  assert_int_equal(anas_shape_parse(b, &op.operand[1]), ANAS_OK);
  if (result) assert_int_equal(anas_shape_parse(result, &type), ANAS_OK);
  return anas_equation_bind(&op, equation, result ? &type : NULL, out);
}

static void equations_bind(void **state) {
  (void)state;
  static const struct {
    const char *equation, *a, *b, *result, *text, *gradient;
    int64_t macs;
  } cases[] = {
      {"...qhd,...khd->...hqk", "?x196x6x64xf32", "?x196x6x64xf32", "?x6x196x196xf32", "Aqhd,Akhd->Ahqk",
       "Ahqk,Akhd->Aqhd", 196 * 196 * 6 * 64},
      {" i j , j k -> i k ", "2x3xf32", "3x4xf32", "2x4xf32", "ij,jk->ik", "ik,jk->ij", 12},
      {"A...B,...B->...A", "7x2x1x3xf32", "5x3xf32", "2x5x7xf32", "ACEB,DB->CDA", "CDA,DB->ACEB", 7 * 3 * 5},
      {"...,...->...", "2x1xf32", "3xf32", "2x3xf32", "AC,B->AB", "AB,B->AC", 3},
      {"i...,k->i...k", "2xf32", "5xf32", "2x5xf32", "i,k->ik", "ik,k->i", 5},
      {"abcdefgh,abcdefgh->a", "2x1x2x1x2x1x2x3xf32", "2x1x2x1x2x1x2x3xf32", "2xf32", "abcdefgh,abcdefgh->a",
       "a,abcdefgh->abcdefgh", 24},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct anas_equation equation;
    char text[ANAS_MAX_TEXT], shape[128];
    if (bind(cases[i].equation, cases[i].a, cases[i].b, NULL, &equation) != ANAS_OK)
      fail_msg("%s", anas_error_message());
    struct anas_shape result = anas_equation_result(&equation);
    assert_string_equal(anas_shape_text(&result, shape), cases[i].result);
    anas_equation_text(&equation, 0, 1, ANAS_EQUATION_RESULT, text);
    assert_string_equal(text, cases[i].text);
    anas_equation_text(&equation, ANAS_EQUATION_RESULT, 1, 0, text);
    assert_string_equal(text, cases[i].gradient);
    assert_int_equal(anas_equation_macs(&equation), cases[i].macs);
  }
}

static void equations_rejected(void **state) {
  (void)state;
  static const struct {
    const char *equation, *a, *b, *message;
  } cases[] = {
      {"", "2xf32", "2xf32", "no '->'"},
      {"i,i", "2xf32", "2xf32", "no '->'"},
      {"i->i", "2xf32", "2xf32", "'->' at character 2 follows one operand"},
      {"i,i->i->i", "2xf32", "2xf32", "a second '->' at character 7"},
      {"i,i,i->i", "2xf32", "2xf32", "',' at character 4 begins a third operand"},
      {"i,i->i,i", "2xf32", "2xf32", "',' at character 7 begins a second result"},
      {"i,1->i", "2xf32", "2xf32", "unexpected '1' at character 3"},
      {"i,..->i", "2xf32", "2xf32", "unexpected '.' at character 3"},
      {"i-i", "2xf32", "2xf32", "unexpected '-' at character 2"},
      {"ii,i->i", "2x2xf32", "2xf32", "label 'i' at character 2 occurs in operand 0 before, at character 1; diagonals"},
      {"i,i->ii", "2xf32", "2xf32", "label 'i' at character 7 occurs in the result before, at character 6"},
      {"i......,i->i", "2xf32", "2xf32", "a second '...' in operand 0, at character 5; the first is at character 2"},
      {"ij,j->i", "2x3xf32", "2xf32", "label 'j' is 3 in operand 0 (character 2) and 2 in operand 1 (character 4)"},
      {"...ij,j->...i", "9x2x3xf32", "2xf32", "label 'j' is 3 in operand 0 (character 5) and 2 in operand 1"},
      {"ij,jk->ik", "?x3xf32", "3xf32", "operand 1 has 2 labels but is tensor<3xf32> of rank 1"},
      {"...ij,jk->ik", "3xf32", "3x4xf32", "operand 0 has '...' and 2 labels but is tensor<3xf32> of rank 1"},
      {"ij,jk->iz", "2x3xf32", "3x4xf32", "label 'z' at character 9 of the result occurs in no operand"},
      {"...j,jk->k", "2x3xf32", "3x4xf32", "the result has no '...', but that of the operands stands for 1 dimension"},
      {"ij,jk->...ik", "2x3xf32", "3x4xf32", "'...' at character 8 of the result stands for nothing"},
      {"...j,...j->...", "2x3x5xf32", "2x4x5xf32",
       "do not broadcast: dimension 1 of tensor<2x3x5xf32> and dimension 1"},
      {"i,i->", "2xf32", "2xf32", "the result has rank 0"},
      {"ij,jk->ki", "?x3xf32", "3x4xf32", "label 'i' is the batch '?' and must come first"},
      {"ij,ik->jk", "?x3xf32", "?x4xf32", "label 'i' is the batch '?' and must come first"},
      {"ij,ij->i", "?x3xf32", "5x3xf32", "label 'i' is ? in operand 0 (character 1) and 5 in operand 1"},
      {"abcdefg,hijklmn->abcdefg", "2x2x2x2x2x2x2xf32", "2x2x2x2x2x2x2xf32", "14 labels have an extent above 1"},
      {"abc,def->abcdef", "65536x16384x2xf32", "65536x16384x2xf32", "products"},
      {"abcdefgh,i->abcdefghi", "1x1x1x1x1x1x1x1xf32", "1xf32", "label 'i' at character 21 is one too many"},
      {"abcdefgh...,...i->a...bcdefghi", "1x1x1x1x1x1x1x1xf32", "1xf32", "one too many"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct anas_equation equation;
    anas_status status = bind(cases[i].equation, cases[i].a, cases[i].b, NULL, &equation);
    if (status != ANAS_INVALID) fail_msg("\"%s\" was accepted", cases[i].equation);
    if (!strstr(anas_error_message(), cases[i].message))
      fail_msg("'%s' lacks '%s'", anas_error_message(), cases[i].message);
    assert_non_null(strstr(anas_error_message(), "of 'anas.einsum'"));
  }
}

// A given result adds labels; it must agree with the others.
static void given_results(void **state) {
  (void)state;
  struct anas_equation equation;
  assert_int_equal(bind("i,j->ik", "2xf32", "3xf32", "2x4xf32", &equation), ANAS_OK);
  assert_int_equal(anas_equation_macs(&equation), 12);
  assert_int_equal(bind("i,j->ik", "2xf32", "3xf32", "5x4xf32", &equation), ANAS_INVALID);
  assert_non_null(strstr(anas_error_message(), "label 'i' is 2 in the operands but dimension 0 of the result"));
  assert_int_equal(bind("i,j->ik", "2xf32", "3xf32", "2xf32", &equation), ANAS_INVALID);
  assert_non_null(strstr(anas_error_message(), "the result has 2 labels"));
}

// ---- the ops that are contractions with other names

static struct anas_op make_op(const char *name, const char *a, const char *b) {
  struct anas_op op = {.def = anas_op_find(name, strlen(name)), .num_operands = b ? 2 : 1};
  assert_non_null(op.def);
  for (int i = 0; i < op.def->num_attrs; i++)
    op.attr[i] = op.def->attrs[i].fallback;
  assert_int_equal(anas_shape_parse(a, &op.operand[0]), ANAS_OK);
  if (b) assert_int_equal(anas_shape_parse(b, &op.operand[1]), ANAS_OK);
  return op;
}

static struct anas_attr *attr_of(struct anas_op *op, const char *name) {
  int index = anas_op_attr_index(op->def, name);
  assert_true(index >= 0);
  op->attr[index].present = true;
  return &op->attr[index];
}

static void set(struct anas_op *op, const char *name, int count, int64_t first, int64_t second) {
  attr_of(op, name)->value.ints = (struct anas_ints){.count = count, .value = {first, second}};
}

static void assert_rejected(const struct anas_op *op, const char *message) {
  struct anas_shape result;
  assert_int_equal(op->def->shape(op, &result), ANAS_INVALID);
  if (!strstr(anas_error_message(), message)) fail_msg("'%s' lacks '%s'", anas_error_message(), message);
}

static void dimension_numbers_rejected(void **state) {
  (void)state;
  struct anas_op op = make_op("dot_general", "?x5x6xf32", "?x6x7xf32");
  assert_rejected(&op, "is the batch '?' and must come first"); // free in both operands
  set(&op, "lhs_contracting", 1, 3, 0);
  assert_rejected(&op, "'lhs_contracting' of 'anas.dot_general' names dimension 3, but operand 0 is");
  set(&op, "lhs_contracting", 2, 1, -2);
  assert_rejected(&op, "names dimension 1 of operand 0, which is in a list before");
  set(&op, "lhs_contracting", 1, 1, 0);
  assert_rejected(&op, "'lhs_contracting' of 'anas.dot_general' has 1 entries, but 'rhs_contracting' has 0");
  set(&op, "rhs_contracting", 1, 1, 0);
  assert_rejected(&op, "pairs dimension 1 of tensor<?x5x6xf32> with dimension 1 of tensor<?x6x7xf32>");

  op = make_op("dense_general", "?x5x6xf32", NULL);
  set(&op, "features", 1, 4, 0);
  set(&op, "axis", 1, 0, 0);
  assert_rejected(&op, "names dimension 0, the batch");
  set(&op, "axis", 2, 1, 1);
  assert_rejected(&op, "names dimension 1, which is named before");
  set(&op, "axis", 1, 3, 0);
  assert_rejected(&op, "names axis 3");
  set(&op, "axis", 1, -1, 0);
  set(&op, "batch_dims", 1, 2, 0);
  assert_rejected(&op, "'batch_dims' of 'anas.dense_general' names dimension 2, which is named before");
  set(&op, "batch_dims", 1, 1, 0);
  set(&op, "features", 2, 4, -1);
  assert_rejected(&op, "entry 1 of attribute 'features'");
  set(&op, "features", 2, 1 << 20, 1 << 20);
  assert_rejected(&op, "fewer than 2^31");

  op = make_op("self_attention", "?x5x6xf32", NULL);
  static const char *const sizes[] = {"num_heads", "qkv_features", "out_features"};
  for (int i = 0; i < 3; i++)
    attr_of(&op, sizes[i])->value.dim = (struct anas_dim_expr){.constant = 6};
  attr_of(&op, "num_heads")->value.dim.constant = 4;
  assert_rejected(&op, "'num_heads' of 'anas.self_attention', 4, must divide 'qkv_features', 6");
  attr_of(&op, "num_heads")->value.dim.constant = 3;
  attr_of(&op, "rate")->value.f = 1;
  assert_rejected(&op, "[0, 1)");
  attr_of(&op, "rate")->value.f = 0;
  assert_int_equal(anas_shape_parse("?x65536x6xf32", &op.operand[0]), ANAS_OK);
  assert_rejected(&op, "attention weights of 'anas.self_attention'");
  assert_int_equal(anas_shape_parse("?x6xf32", &op.operand[0]), ANAS_OK);
  assert_rejected(&op, "needs (batch, positions..., features)");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(equations_bind),
      cmocka_unit_test(equations_rejected),
      cmocka_unit_test(given_results),
      cmocka_unit_test(dimension_numbers_rejected),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
