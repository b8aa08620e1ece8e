// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Convolutions of narrow groups, depthwise above all, whose windows leave the images: the kernel functions of the
// training ops at awkward sizes, for every vector width this machine can run, against the stock lowering.
#include "test/unit/cpu_fixture.h"

#include "passes/lower/lowering.h"

#include <stdlib.h>
#include <string.h>

struct conv {
  int64_t batch, extent[2], window[2], stride[2], dilation[2], channels, features, groups;
  bool valid;
};

static struct anas_attr *attr_of(struct anas_op *op, const char *name) {
  int index = anas_op_attr_index(op->def, name);
  assert_true(index >= 0);
  op->attr[index].present = true;
  return &op->attr[index];
}

static void set_ints(struct anas_op *op, const char *name, const int64_t *values) {
  attr_of(op, name)->value.ints = (struct anas_ints){.count = 2, .value = {values[0], values[1]}};
}

// As the interface of passes/lower prints them, under the name the runner looks for.
static void check_kernels(const struct anas_op *op) {
  struct anas_lowering *l = anas_lowering_create();
  int operands[ANAS_MAX_OPERANDS], out[ANAS_MAX_RESULTS];
  for (int i = 0; i < op->num_operands; i++)
    operands[i] = anas_lowering_buffer(l, &op->operand[i]);
  if (anas_lowering_run(l, op, operands, out) != ANAS_OK) fail_msg("%s", anas_error_message());
  for (int i = 0; i < l->num_nests; i++) {
    struct anas_kernel_function kernel;
    if (anas_kernel_function_print(l, l->nests[i], &kernel) != ANAS_OK) fail_msg("%s", anas_error_message());
    const char *at = strstr(kernel.text, kernel.name);
    assert_non_null(at);
    struct anas_strbuf text = {0};
    anas_strbuf_addf(&text, "%.*sk%s", (int)(at - kernel.text), kernel.text, at + strlen(kernel.name));
    kernel_check_text(anas_strbuf_text(&text), NULL, 2e-5);
    anas_strbuf_deinit(&text);
    anas_kernel_function_deinit(&kernel);
  }
  anas_lowering_destroy(l);
}

static void check_op(const char *name, const struct conv *c, const struct anas_shape *a, const struct anas_shape *b,
                     const char *extents, const int64_t *values) {
  struct anas_op op = {.def = anas_op_find(name, strlen(name)), .num_operands = 2, .operand = {*a, *b}};
  assert_non_null(op.def);
  for (int i = 0; i < op.def->num_attrs; i++)
    op.attr[i] = op.def->attrs[i].fallback;
  set_ints(&op, "strides", c->stride);
  set_ints(&op, "dilation", c->dilation);
  attr_of(&op, "padding")->value.i = c->valid;
  attr_of(&op, "groups")->value.i = c->groups;
  if (extents) set_ints(&op, extents, values);
  check_kernels(&op);
}

static void check_conv(const struct conv *c) {
  struct anas_shape x = {.rank = 4, .element = ANAS_F32, .dim = {c->batch, c->extent[0], c->extent[1], c->channels}};
  struct anas_shape k = x, y = x;
  for (int d = 0; d < 2; d++) {
    int64_t reach = (c->window[d] - 1) * c->dilation[d] + 1;
    k.dim[d] = c->window[d];
    y.dim[1 + d] = ((c->valid ? c->extent[d] - reach + 1 : c->extent[d]) + c->stride[d] - 1) / c->stride[d];
  }
  k.dim[2] = c->channels / c->groups;
  k.dim[3] = y.dim[3] = c->features;
  check_op("conv_fwd", c, &x, &k, NULL, NULL);
  check_op("conv_bwd_data", c, &y, &k, "input", c->extent);
  check_op("conv_bwd_filter", c, &x, &y, "kernel", c->window);
}

// Planes from one position to rows of several tiles with all borders, channels with and without a partial vector.
static void depthwise(void **state) {
  (void)state;
  static const int64_t extents[][2] = {{1, 1}, {2, 2}, {4, 4}, {3, 7}, {7, 1}, {1, 9}, {9, 30}, {5, 57}};
  static const int64_t channels[] = {16, 35, 3};
  int number = 0;
  for (size_t e = 0; e < sizeof extents / sizeof *extents; e++)
    for (int64_t window = 3; window <= 5; window += 2)
      for (int64_t stride = 1; stride <= 2; stride++) {
        int64_t c = channels[number++ % 3];
        check_conv(&(struct conv){
            3, {extents[e][0], extents[e][1]}, {window, window}, {stride, stride}, {1, 1}, c, c, c, false});
      }
}

static void uneven_windows(void **state) {
  (void)state;
  static const struct conv cases[] = {
      {2, {9, 11}, {3, 1}, {1, 1}, {1, 1}, 20, 20, 20, false}, {2, {9, 11}, {1, 4}, {1, 1}, {1, 1}, 20, 20, 20, false},
      {2, {9, 11}, {2, 3}, {3, 2}, {1, 1}, 20, 20, 20, false}, {2, {9, 11}, {3, 3}, {2, 2}, {2, 2}, 20, 20, 20, false},
      {2, {9, 23}, {3, 3}, {3, 3}, {2, 2}, 17, 17, 17, false}, {2, {9, 11}, {3, 5}, {4, 6}, {2, 4}, 17, 17, 17, false},
      {2, {9, 11}, {1, 1}, {2, 1}, {1, 1}, 20, 20, 20, false}, {2, {6, 35}, {3, 3}, {1, 1}, {1, 13}, 4, 4, 4, false},
      {2, {9, 40}, {7, 9}, {1, 2}, {1, 1}, 20, 20, 20, false}, {2, {9, 11}, {3, 3}, {1, 1}, {1, 1}, 20, 20, 20, true},
      {2, {9, 11}, {3, 4}, {2, 3}, {1, 1}, 20, 20, 20, true},  {2, {8, 9}, {2, 3}, {2, 3}, {1, 1}, 18, 18, 18, true},
      {2, {3, 40}, {2, 37}, {1, 1}, {1, 1}, 5, 5, 5, false},   {2, {5, 20}, {2, 33}, {1, 2}, {1, 1}, 5, 5, 5, false},
      {1, {2, 3}, {3, 3}, {1, 1}, {1, 1}, 16, 16, 16, false},  {17, {2, 3}, {3, 3}, {1, 1}, {1, 1}, 16, 16, 16, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    check_conv(&cases[i]);
}

// Several channels or features a group.
static void narrow_groups(void **state) {
  (void)state;
  static const int64_t groups[][3] = {// channels, features, groups
                                      {16, 32, 16}, {32, 16, 16}, {64, 64, 16}, {12, 12, 6}, {6, 30, 6},
                                      {48, 48, 12}, {21, 9, 3},   {40, 24, 8},  {18, 54, 18}};
  for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
    check_conv(&(struct conv){
        2, {5, 9}, {3, 3}, {1, 1 + (int64_t)i % 2}, {1, 1}, groups[i][0], groups[i][1], groups[i][2], false});
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(depthwise), cmocka_unit_test(uneven_windows),
                                     cmocka_unit_test(narrow_groups)};
  return cmocka_run_group_tests(tests, cpu_set_up, cpu_tear_down);
}
