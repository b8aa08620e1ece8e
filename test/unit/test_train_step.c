// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-train-step: the gradients that the optimizer gets are those of the loss (finite differences of the whole network
// in double precision), and what cannot be trained is refused with a message that helps.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "runtime/support/rng.h"
#include "test/unit/nest_interpreter.h"
#include "test/unit/step_fixture.h"

#include <math.h>
#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/Diagnostics.h>
#include <stdio.h>
#include <stdlib.h>

// ---- gradients

// Runs the training step on the given parameters; they come back updated. Returns the loss.
static double train(struct anas_step *step, const struct anas_layout *layout, double *params) {
  struct nest_memory memory;
  struct anas_rng rng = anas_rng_make(11);
  nest_memory_init(&memory, step->lowering);
  union nest_cell *cells = nest_memory_buffer(&memory, step->params);
  for (int64_t i = 0; i < layout->params_bytes / 4; i++)
    cells[i].f = params[i];
  union nest_cell *image = nest_memory_buffer(&memory, step->io[ANAS_IO_IMAGE]);
  for (int64_t i = 0; i < layout->io_bytes[ANAS_IO_IMAGE] / 4; i++)
    image[i].f = anas_rng_normal(&rng);
  for (int i = 0; i < FIXTURE_BATCH; i++)
    nest_memory_buffer(&memory, step->io[ANAS_IO_LABEL])[i].i = i;
  nest_memory_buffer(&memory, step->io[ANAS_IO_LEARNING_RATE])->f = 0.01;
  nest_memory_buffer(&memory, step->io[ANAS_IO_SEED])->i = 3;
  if (nest_interpret_from(&memory, 0) != ANAS_OK) fail_msg("%s", anas_error_message());
  for (int64_t i = 0; i < layout->params_bytes / 4; i++)
    params[i] = cells[i].f;
  double loss = nest_memory_buffer(&memory, step->io[ANAS_IO_LOSS])->f;
  nest_memory_deinit(&memory);
  return loss;
}

static void gradients_of_a_network(void **state) {
  (void)state;
  MlirContext context = anas_context_create(false);
  MlirModule module;
  if (fixture_train_step(context, fixture_cnn, &module) != ANAS_OK) fail_msg("%s", anas_error_message());
  struct anas_layout layout;
  struct anas_step step;
  assert_int_equal(anas_layout_read(fixture_function(module, 0), &layout), ANAS_OK);
  assert_int_equal(anas_step_read(fixture_function(module, 0), &layout, &step), ANAS_OK);
  int64_t count = layout.params_bytes / 4;
  double *start = anas_calloc((size_t)count, sizeof *start), *work = anas_calloc((size_t)count, sizeof *work);
  double *after = anas_calloc((size_t)count, sizeof *after);
  struct anas_rng rng = anas_rng_make(23);
  for (int64_t i = 0; i < count; i++)
    start[i] = 0.5 + 0.5 * anas_rng_normal(&rng);
  memcpy(after, start, (size_t)count * sizeof *after);
  train(&step, &layout, after);
  int checked = 0, trainable = 0;
  while (trainable < layout.num_tensors && !strcmp(layout.tensors[trainable].role, "param"))
    trainable++;
  for (int t = 0; t < trainable; t++) {
    const struct anas_step_tensor *tensor = &layout.tensors[t], *momentum = &layout.tensors[t + trainable];
    int64_t elements = anas_shape_elements(&tensor->shape);
    assert_true(anas_shape_equal(&tensor->shape, &momentum->shape));
    for (int64_t i = 0; i<elements; i += elements> 8 ? elements / 5 : 1) {
      int64_t p = tensor->offset / 4 + i, m = momentum->offset / 4 + i;
      // The velocity after the step holds the gradient (momentum 0.9, weight decay 0.01).
      double gradient = after[m] - (double)0.9f * start[m] - (double)0.01f * start[p], step_size = 1e-5, loss[2];
      for (int side = 0; side < 2; side++) {
        memcpy(work, start, (size_t)count * sizeof *work);
        work[p] += side ? step_size : -step_size;
        loss[side] = train(&step, &layout, work);
      }
      double expected = (loss[1] - loss[0]) / (2 * step_size);
      if (!(fabs(gradient - expected) <= 1e-7 + 1e-6 * fabs(expected)))
        fail_msg("gradient of %s[%d] is %.9g, differences say %.9g", tensor->name, (int)i, gradient, expected);
      assert_true(fabs(after[p] - (start[p] - (double)0.01f * after[m])) < 1e-7); // the step follows the velocity
      checked++;
    }
  }
  assert_true(checked > 30);
  free(start);
  free(work);
  free(after);
  anas_step_deinit(&step);
  anas_layout_deinit(&layout);
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
}

// ---- the functions

static void unneeded_gradients_are_left_out(void **state) {
  (void)state;
  MlirContext context = anas_context_create(false);
  MlirModule module;
  if (fixture_train_step(context, fixture_mlp, &module) != ANAS_OK) fail_msg("%s", anas_error_message());
  struct anas_strbuf text = {0};
  anas_operation_text(mlirModuleGetOperation(module), &text);
  char *first = strstr(text.data, "anas.dense_bwd_data"); // of the head; nobody wants the gradient of the image
  assert_non_null(first);
  assert_null(strstr(first + 1, "anas.dense_bwd_data"));
  assert_non_null(strstr(text.data, "anas.param = \"main/hidden/kernel\""));
  assert_non_null(strstr(text.data, "anas.param = \"main/head/bias:momentum\", anas.state = \"momentum\""));
  anas_strbuf_deinit(&text);
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
}

// Nothing learns through anas.none, whose value passes all the same; a parameter that is a value of its own does learn.
static void gradients_stop(void **state) {
  (void)state;
  static const char text_of_net[] =
      "func.func @main(%x: tensor<?x6x4x1xf32>) -> tensor<?x3xf32> {\n"
      "  %0 = \"anas.flatten\"(%x) : (tensor<?x6x4x1xf32>) -> tensor<?x24xf32>\n"
      "  %1 = \"anas.dense\"(%0) {anas.name = \"frozen\", features = 5 : i64} : (tensor<?x24xf32>) -> tensor<?x5xf32>\n"
      "  %2 = \"anas.none\"(%1) : (tensor<?x5xf32>) -> tensor<?x5xf32>\n"
      "  %3 = \"anas.param\"() {anas.name = \"shift\", shape = [1, 5]} : () -> tensor<1x5xf32>\n"
      "  %4 = \"anas.add\"(%2, %3) : (tensor<?x5xf32>, tensor<1x5xf32>) -> tensor<?x5xf32>\n"
      "  %5 = \"anas.dense\"(%4) {anas.name = \"head\", features = 3 : i64} : (tensor<?x5xf32>) -> tensor<?x3xf32>\n"
      "  return %5 : tensor<?x3xf32>\n"
      "}\n";
  MlirContext context = anas_context_create(false);
  MlirModule module;
  if (fixture_train_step(context, text_of_net, &module) != ANAS_OK) fail_msg("%s", anas_error_message());
  struct anas_strbuf text = {0};
  anas_operation_text(mlirModuleGetOperation(module), &text);
  int updates = 0, filters = 0;
  for (char *at = text.data; (at = strstr(at, "\"anas.sgd\"")); at++)
    updates++;
  for (char *at = text.data; (at = strstr(at, "\"anas.dense_bwd_filter\"")); at++)
    filters++;
  assert_int_equal(updates, 3); // kernel and bias of the head, and the shift
  assert_int_equal(filters, 1);
  anas_strbuf_deinit(&text);
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
}

// ---- refusals

static MlirLogicalResult keep_message(MlirDiagnostic diagnostic, void *buffer) {
  mlirDiagnosticPrint(diagnostic, anas_print_to_strbuf, buffer);
  return mlirLogicalResultSuccess();
}

static void refused(const char *text, const char *expected) {
  MlirContext context = anas_context_create(false);
  MlirModule module;
  struct anas_strbuf messages = {0};
  assert_int_equal(anas_parse(context, text, strlen(text), "test", &module), ANAS_OK);
  MlirDiagnosticHandlerID handler = mlirContextAttachDiagnosticHandler(context, keep_message, &messages, NULL);
  assert_int_not_equal(anas_build_train_step(module, FIXTURE_BATCH, 0.9, 0), ANAS_OK);
  anas_strbuf_adds(&messages, anas_error_message());
  if (!strstr(anas_strbuf_text(&messages), expected))
    fail_msg("no '%s' in '%s'", expected, anas_strbuf_text(&messages));
  // Nothing was changed.
  assert_true(mlirOperationVerify(mlirModuleGetOperation(module)));
  assert_true(mlirAttributeIsNull(
      mlirOperationGetAttributeByName(mlirModuleGetOperation(module), anas_ref_text("anas.batch"))));
  mlirContextDetachDiagnosticHandler(context, handler);
  anas_strbuf_deinit(&messages);
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
}

static void what_cannot_be_trained(void **state) {
  (void)state;
  refused("func.func @main(%x: tensor<?x4x4x3xf32>) -> tensor<?x4x4x3xf32> {\n"
          "  %0 = \"anas.relu\"(%x) : (tensor<?x4x4x3xf32>) -> tensor<?x4x4x3xf32>\n"
          "  return %0 : tensor<?x4x4x3xf32>\n}\n",
          "must return (batch, classes)");
  refused("func.func @main(%x: tensor<?x6xf32>, %y: tensor<?x6xf32>) -> tensor<?x6xf32> {\n"
          "  return %x : tensor<?x6xf32>\n}\n",
          "must take one tensor of images");
  refused("func.func @main(%x: tensor<8x6xf32>) -> tensor<8x6xf32> {\n"
          "  return %x : tensor<8x6xf32>\n}\n",
          "fixes another batch than 3");
  refused("func.func @main(%x: tensor<?x6xf32>) -> tensor<?x6xf32> {\n"
          "  %0 = call @f(%x) : (tensor<?x6xf32>) -> tensor<?x6xf32>\n"
          "  %1 = call @f(%0) : (tensor<?x6xf32>) -> tensor<?x6xf32>\n"
          "  return %1 : tensor<?x6xf32>\n}\n"
          "func.func private @f(%x: tensor<?x6xf32>) -> tensor<?x6xf32> {\n"
          "  %0 = \"anas.dense\"(%x) {anas.name = \"d\", features = 6 : i64} : (tensor<?x6xf32>) -> tensor<?x6xf32>\n"
          "  return %0 : tensor<?x6xf32>\n}\n",
          "can be called only once");
  refused("func.func private @main(%x: tensor<?x6xf32>) -> tensor<?x6xf32> {\n"
          "  return %x : tensor<?x6xf32>\n}\n",
          "no public function");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradients_of_a_network),
      cmocka_unit_test(unneeded_gradients_are_left_out),
      cmocka_unit_test(gradients_stop),
      cmocka_unit_test(what_cannot_be_trained),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
