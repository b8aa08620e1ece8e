// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The kernel stage computes what the training ops say: fused, merged and in-place steps against the plain ones in the
// interpreter (double precision), and the printed module, compiled, against the interpreter.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "runtime/support/rng.h"
#include "test/unit/kernel_runner.h"
#include "test/unit/nest_interpreter.h"
#include "test/unit/step_fixture.h"

#include <math.h>
#include <mlir-c/BuiltinAttributes.h>

#define SEED_VALUE 77

// Values of the parameter buffer and of the inputs before a step, the same for every run.
struct inputs {
  float *params, *image;
  int32_t label[FIXTURE_BATCH];
  float rate;
};

static void inputs_init(const struct anas_layout *layout, int64_t classes, struct inputs *out) {
  struct anas_rng rng = anas_rng_make(5);
  out->params = anas_calloc(1, (size_t)layout->params_bytes);
  for (int t = 0; t < layout->num_tensors; t++) {
    const struct anas_step_tensor *tensor = &layout->tensors[t];
    bool variance = !strcmp(tensor->role, "state");
    for (int64_t i = 0; i < anas_shape_elements(&tensor->shape); i++)
      out->params[tensor->offset / 4 + i] =
          (float)(variance ? 0.5 + anas_rng_double(&rng) : anas_rng_normal(&rng) * 0.5);
  }
  int64_t pixels = layout->io_bytes[ANAS_IO_IMAGE] / 4;
  out->image = anas_calloc((size_t)pixels, sizeof(float));
  for (int64_t i = 0; i < pixels; i++)
    out->image[i] = (float)anas_rng_normal(&rng);
  for (int i = 0; i < FIXTURE_BATCH; i++)
    out->label[i] = (int32_t)anas_rng_below(&rng, (uint64_t)classes);
  out->rate = 0.05f;
}

static void inputs_deinit(struct inputs *inputs) {
  free(inputs->params);
  free(inputs->image);
}

struct outputs {
  double *params; // padding included
  double loss, logits[64];
  int64_t correct;
};

// Interprets a group slab by slab, the last slab first: slabs may go to different threads. Returns the nest after it.
static int interpret_group(struct nest_memory *memory, const struct anas_step *step, int first) {
  const struct anas_step_group *group = &step->groups[first];
  assert_int_equal(group->first, first);
  for (int64_t slab = group->slabs - 1; slab >= 0; slab--)
    for (int n = group->first; n <= group->last; n++) {
      const struct anas_nest *nest = step->lowering->nests[n];
      int64_t part = nest->num_loops ? nest->extent[0] / group->slabs : 1;
      assert_true(group->last == group->first || (nest->num_loops > 0 && nest->extent[0] % group->slabs == 0));
      if (nest_interpret_part(memory, nest, slab * part, (slab + 1) * part, slab == group->slabs - 1) != ANAS_OK)
        fail_msg("%s", anas_error_message());
    }
  return group->last + 1;
}

// Interprets the nests of a step.
static void interpret(struct anas_step *step, const struct anas_layout *layout, const struct inputs *in,
                      struct outputs *out) {
  struct nest_memory memory;
  nest_memory_init(&memory, step->lowering);
  int64_t count = layout->params_bytes / 4;
  union nest_cell *params = nest_memory_buffer(&memory, step->params);
  for (int64_t i = 0; i < count; i++)
    params[i].f = in->params[i];
  union nest_cell *image = nest_memory_buffer(&memory, step->io[ANAS_IO_IMAGE]);
  for (int64_t i = 0; i < layout->io_bytes[ANAS_IO_IMAGE] / 4; i++)
    image[i].f = in->image[i];
  union nest_cell *label = nest_memory_buffer(&memory, step->io[ANAS_IO_LABEL]);
  for (int i = 0; i < FIXTURE_BATCH; i++)
    label[i].i = in->label[i];
  if (step->io[ANAS_IO_LEARNING_RATE] >= 0) {
    nest_memory_buffer(&memory, step->io[ANAS_IO_LEARNING_RATE])->f = in->rate;
    nest_memory_buffer(&memory, step->io[ANAS_IO_SEED])->i = SEED_VALUE;
  }
  if (!step->groups && nest_interpret_from(&memory, 0) != ANAS_OK) fail_msg("%s", anas_error_message());
  for (int n = 0; step->groups && n < step->lowering->num_nests;)
    n = interpret_group(&memory, step, n);
  params = nest_memory_buffer(&memory, step->params);
  out->params = anas_calloc((size_t)count, sizeof(double));
  for (int64_t i = 0; i < count; i++)
    out->params[i] = params[i].f;
  out->loss = nest_memory_buffer(&memory, step->io[ANAS_IO_LOSS])->f;
  out->correct = nest_memory_buffer(&memory, step->io[ANAS_IO_CORRECT])->i;
  for (int64_t i = 0; i < layout->io_bytes[ANAS_IO_LOGITS] / 4; i++)
    out->logits[i] = nest_memory_buffer(&memory, step->io[ANAS_IO_LOGITS])[i].f;
  nest_memory_deinit(&memory);
}

static void compare(const struct anas_layout *layout, const struct outputs *got, const struct outputs *want,
                    double tolerance) {
  assert_true(isfinite(want->loss));
  if (fabs(got->loss - want->loss) > tolerance) fail_msg("loss %.9g instead of %.9g", got->loss, want->loss);
  assert_int_equal(got->correct, want->correct);
  for (int64_t i = 0; i < layout->io_bytes[ANAS_IO_LOGITS] / 4; i++)
    if (!(fabs(got->logits[i] - want->logits[i]) <= tolerance * 10))
      fail_msg("logit %d is %.9g instead of %.9g", (int)i, got->logits[i], want->logits[i]);
  for (int t = 0; t < layout->num_tensors; t++) {
    const struct anas_step_tensor *tensor = &layout->tensors[t];
    for (int64_t i = 0; i < anas_shape_elements(&tensor->shape); i++) {
      double a = got->params[tensor->offset / 4 + i], b = want->params[tensor->offset / 4 + i];
      if (!(fabs(a - b) <= tolerance * 10)) fail_msg("%s[%d] is %.9g instead of %.9g", tensor->name, (int)i, a, b);
    }
  }
}

static int run_step(MlirModule module, const struct anas_layout *layout, int number, const struct inputs *in,
                    const struct anas_lower_options *options, struct outputs *out) {
  struct anas_step step;
  if (anas_step_read(fixture_function(module, number), layout, &step) != ANAS_OK) fail_msg("%s", anas_error_message());
  assert_int_equal(fixture_transform(&step, options), ANAS_OK);
  interpret(&step, layout, in, out);
  int nests = step.lowering->num_nests;
  anas_step_deinit(&step);
  return nests;
}

static const struct anas_lower_options plain = {
    .no_fusion = true, .no_merging = true, .no_reuse = true, .no_groups = true};

// Compiles the printed kernel stage and runs one function of it on an arena full of NaN.
static void run_compiled(const char *text, const char *name, const struct anas_layout *layout, int64_t arena_bytes,
                         const struct inputs *in, struct outputs *out) {
  struct kernel_runner runner;
  assert_true(runner_init(&runner, text));
  void (*step)(void *, void *) = (void (*)(void *, void *))runner_symbol(&runner, name);
  assert_non_null(step);
  char *arena = aligned_alloc(64, (size_t)arena_bytes), *params = aligned_alloc(64, (size_t)layout->params_bytes);
  assert_non_null(arena);
  assert_non_null(params);
  memset(arena, 0xff, (size_t)arena_bytes); // NaN
  memcpy(params, in->params, (size_t)layout->params_bytes);
  memcpy(arena + layout->io_offset[ANAS_IO_IMAGE], in->image, (size_t)layout->io_bytes[ANAS_IO_IMAGE]);
  memcpy(arena + layout->io_offset[ANAS_IO_LABEL], in->label, sizeof in->label);
  memcpy(arena + layout->io_offset[ANAS_IO_LEARNING_RATE], &in->rate, sizeof in->rate);
  memcpy(arena + layout->io_offset[ANAS_IO_SEED], &(int64_t){SEED_VALUE}, sizeof(int64_t));
  step(arena, params);
  out->params = anas_calloc((size_t)layout->params_bytes / 4, sizeof(double));
  for (int64_t i = 0; i < layout->params_bytes / 4; i++)
    out->params[i] = ((const float *)(const void *)params)[i];
  out->loss = *(const float *)(const void *)(arena + layout->io_offset[ANAS_IO_LOSS]);
  out->correct = *(const int32_t *)(const void *)(arena + layout->io_offset[ANAS_IO_CORRECT]);
  for (int64_t i = 0; i < layout->io_bytes[ANAS_IO_LOGITS] / 4; i++)
    out->logits[i] = ((const float *)(const void *)(arena + layout->io_offset[ANAS_IO_LOGITS]))[i];
  free(arena);
  free(params);
  runner_deinit(&runner);
}

static int64_t module_int(MlirModule module, const char *name) {
  return mlirIntegerAttrGetValueInt(
      mlirOperationGetAttributeByName(mlirModuleGetOperation(module), anas_ref_text(name)));
}

// Optimizer launches of all lengths are made of pieces of few lengths.
static void update_pieces(void **state) {
  (void)state;
  bool seen[1 << 16] = {0};
  int lengths = 0, most = 0;
  for (int64_t elements = 16; elements < 16 << 16; elements += 16) {
    int pieces = 0;
    for (int64_t left = elements, size; left > 0; left -= size, pieces++) {
      size = anas_update_piece(left);
      assert_true(size > 0 && size <= left && size % 16 == 0);
      lengths += !seen[size / 16];
      seen[size / 16] = true;
    }
    if (pieces > most) most = pieces;
  }
  print_message("%d lengths, at most %d pieces\n", lengths, most);
  assert_int_equal(lengths, 16 + 15);
  assert_true(most <= 8);
}

static void check_network(const char *architecture) {
  MlirContext context = anas_context_create(false);
  MlirModule module;
  if (fixture_train_step(context, architecture, &module) != ANAS_OK) fail_msg("%s", anas_error_message());
  struct anas_layout layout;
  struct inputs in;
  assert_int_equal(anas_layout_read(fixture_function(module, 0), &layout), ANAS_OK);
  inputs_init(&layout, module_int(module, "anas.classes"), &in);
  struct outputs reference[2], got;
  for (int s = 0; s < 2; s++) {
    int nests = run_step(module, &layout, s, &in, &plain, &reference[s]), fused = 0;
    for (int bits = 0; bits < 7; bits++) {
      struct anas_lower_options options = {
          .no_fusion = bits & 1, .no_merging = bits & 2, .no_reuse = bits & 4, .group_bytes = 1};
      options.update_pieces = bits & 1;
      if (bits >= 3) options.update_bytes = 256; // several launches of the optimizer, between other nests
      int count = run_step(module, &layout, s, &in, &options, &got);
      if (!bits) fused = count;
      compare(&layout, &got, &reference[s], 1e-12);
      free(got.params);
    }
    assert_true(fused < nests);
  }
  // The step moves the parameters, inference does not.
  double moved = 0;
  for (int64_t i = 0; i < layout.params_bytes / 4; i++) {
    assert_true(reference[1].params[i] == in.params[i]);
    moved += fabs(reference[0].params[i] - in.params[i]);
  }
  assert_true(moved > 1e-3);

  if (anas_lower_to_kernels_with(module, &(struct anas_lower_options){.group_bytes = 1}) != ANAS_OK)
    fail_msg("%s", anas_error_message());
  assert_true(mlirOperationVerify(mlirModuleGetOperation(module)));
  struct anas_strbuf text = {0};
  anas_operation_text(mlirModuleGetOperation(module), &text);
  static const char *const names[] = {"train_step", "infer"};
  for (int s = 0; s < 2; s++) {
    run_compiled(text.data, names[s], &layout, module_int(module, "anas.arena_bytes"), &in, &got);
    compare(&layout, &got, &reference[s], 1e-5);
    free(got.params);
    free(reference[s].params);
  }
  anas_strbuf_deinit(&text);
  inputs_deinit(&in);
  anas_layout_deinit(&layout);
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
}

static void convolutional_network(void **state) {
  (void)state;
  check_network(fixture_cnn);
}

static void dense_network(void **state) { // with tensors of one element, smaller than a line
  (void)state;
  check_network(fixture_mlp);
}

static void attention_network(void **state) {
  (void)state;
  check_network(fixture_attention);
}

static void output_is_deterministic(void **state) {
  (void)state;
  struct anas_strbuf text[2] = {{0}};
  for (int i = 0; i < 2; i++) {
    MlirContext context = anas_context_create(false);
    MlirModule module;
    if (fixture_train_step(context, fixture_cnn, &module) != ANAS_OK) fail_msg("%s", anas_error_message());
    assert_int_equal(anas_lower_to_kernels(module), ANAS_OK);
    anas_operation_text(mlirModuleGetOperation(module), &text[i]);
    mlirModuleDestroy(module);
    mlirContextDestroy(context);
  }
  assert_string_equal(text[0].data, text[1].data);
  // One optimizer launch, however many tensors.
  char *sgd = strstr(text[0].data, "anas.kernel = \"sgd\"");
  assert_non_null(sgd);
  assert_null(strstr(sgd + 1, "anas.kernel = \"sgd\""));
  anas_strbuf_deinit(&text[0]);
  anas_strbuf_deinit(&text[1]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(update_pieces),     cmocka_unit_test(convolutional_network),   cmocka_unit_test(dense_network),
      cmocka_unit_test(attention_network), cmocka_unit_test(output_is_deterministic),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
