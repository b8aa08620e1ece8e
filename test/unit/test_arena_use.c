// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What compiled steps touch is what the plan says: the last byte that a step writes is the last one of the arena,
// hardly any line in between stays unused, and the rest of the last page, behind which accesses fail, is never written.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "dialect/context.h"
#include "dialect/zoo.h"
#include "passes/lower/compile.h"
#include "passes/lower/step.h"
#include "runtime/init.h"
#include "runtime/program.h"

#include <string.h>

#define BATCH 4
#define PAGE 4096
#define POISON 0xa5

static struct anas_program *load(const char *name) {
  MlirContext context = anas_context_create(false);
  struct anas_model *model;
  MlirModule module;
  assert_int_equal(anas_zoo_build(name, 32, 32, 3, 10, &model), ANAS_OK);
  assert_int_equal(anas_model_export(model, context, &module), ANAS_OK);
  anas_model_destroy(model);
  struct anas_compile_options options = {.batch = BATCH, .optimizer = {.momentum = 0.9, .weight_decay = 1e-4}};
  struct anas_program_image image;
  struct anas_program *program;
  if (anas_compile(module, &options, &image) != ANAS_OK) fail_msg("%s", anas_error_message());
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
  if (anas_program_load(&image, &program) != ANAS_OK) fail_msg("%s", anas_error_message());
  return program;
}

static void set_inputs(struct anas_program *program) {
  const struct anas_program_image *info = anas_program_info(program);
  char *arena = anas_program_arena(program);
  float *pixels = (float *)(arena + info->image.offset), rate = 0.01f;
  for (size_t i = 0; i < info->image.bytes / sizeof *pixels; i++)
    pixels[i] = (float)(i % 17) / 17;
  memset(arena + info->label.offset, 0, info->label.bytes);
  memset(arena + info->seed.offset, 1, info->seed.bytes);
  memcpy(arena + info->learning_rate.offset, &rate, sizeof rate);
}

static void check_network(const char *name) {
  struct anas_program *program = load(name);
  const struct anas_program_image *info = anas_program_info(program);
  unsigned char *arena = anas_program_arena(program);
  size_t mapped = (info->arena_bytes + PAGE - 1) / PAGE * PAGE;
  size_t planned = info->scratch.bytes ? info->scratch.offset : info->arena_bytes; // scratch is used in part
  assert_int_equal(anas_init_params(info, 1, anas_program_params(program)), ANAS_OK);
  memset(arena, POISON, mapped);
  set_inputs(program);
  anas_program_train_step(program);
  size_t unused = 0, last = 0;
  for (size_t line = 0; line < planned / ANAS_ALIGNMENT; line++) {
    bool used = false;
    for (size_t i = 0; i < ANAS_ALIGNMENT && !used; i++)
      used = arena[line * ANAS_ALIGNMENT + i] != POISON;
    unused += !used;
    if (used) last = line;
  }
  if (planned - (last + 1) * ANAS_ALIGNMENT >= (info->scratch.bytes ? PAGE : 1))
    fail_msg("%s: the last line of %zu planned bytes that is used is number %zu", name, planned, last);
  if (unused * ANAS_ALIGNMENT * 20 > planned)
    fail_msg("%s: %zu lines of %zu planned bytes are not used", name, unused, planned);
  for (size_t i = info->arena_bytes; i < mapped; i++)
    if (arena[i] != POISON) fail_msg("%s: byte %zu behind the arena was written", name, i - info->arena_bytes);
  anas_program_destroy(program);
}

static void steps_use_what_is_planned(void **state) {
  (void)state;
  check_network("cnn");
  check_network("resnet18");
  check_network("vit-ti/4");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(steps_use_what_is_planned)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
