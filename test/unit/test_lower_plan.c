// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The memory plan, executed symbolically: every 64-byte line of the arena remembers which buffer owns it. A nest may
// only read lines that its buffer still owns, and the results must own theirs at the end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "dialect/zoo.h"
#include "test/unit/step_fixture.h"

#include <stdio.h>
#include <stdlib.h>

enum { NOBODY = -1 };

struct arena_lines {
  int *owner; // per line: buffer with own storage
  int64_t count;
};

// Lines of a buffer's storage that the buffer covers.
static void lines_of(const struct anas_step *step, int buffer, int *out_storage, int64_t *out_first, int64_t *out_end) {
  const struct anas_lowering *l = step->lowering;
  int64_t at;
  *out_storage = anas_lowering_locate(l, buffer, &at);
  int64_t start = l->buffers[*out_storage]->address + at;
  *out_first = start / ANAS_ALIGNMENT;
  *out_end = (start + anas_lowering_bytes(l, buffer) + ANAS_ALIGNMENT - 1) / ANAS_ALIGNMENT;
}

static bool owns(const struct anas_step *step, const struct arena_lines *lines, int buffer) {
  int storage;
  int64_t first, end;
  lines_of(step, buffer, &storage, &first, &end);
  if (step->lowering->buffers[storage]->place == ANAS_PLACE_PARAMS) return true;
  for (int64_t i = first; i < end; i++)
    if (i < 0 || i >= lines->count || lines->owner[i] != storage) return false;
  return true;
}

static void take(const struct anas_step *step, struct arena_lines *lines, int buffer) {
  int storage;
  int64_t first, end;
  lines_of(step, buffer, &storage, &first, &end);
  if (step->lowering->buffers[storage]->place == ANAS_PLACE_PARAMS) return;
  for (int64_t i = first; i < end && i < lines->count; i++)
    lines->owner[i] = storage;
}

// Whether two storages that nests of one group touch share memory: the nests take turns.
static bool group_overlaps(const struct anas_step *step, const struct anas_step_group *group) {
  for (int m = group->first; m <= group->last; m++)
    for (int n = group->first; n <= group->last; n++) {
      const struct anas_nest *a = step->lowering->nests[m], *b = step->lowering->nests[n];
      for (int i = 0; i < anas_nest_num_accesses(a); i++)
        for (int j = 0; j < anas_nest_num_accesses(b); j++) {
          int storage_a, storage_b;
          int64_t first_a, end_a, first_b, end_b;
          lines_of(step, anas_nest_access(a, i)->buffer, &storage_a, &first_a, &end_a);
          lines_of(step, anas_nest_access(b, j)->buffer, &storage_b, &first_b, &end_b);
          bool arena = step->lowering->buffers[storage_a]->place != ANAS_PLACE_PARAMS &&
                       step->lowering->buffers[storage_b]->place != ANAS_PLACE_PARAMS;
          if (arena && storage_a != storage_b && first_a < end_b && first_b < end_a) return true;
        }
    }
  return false;
}

// Null if the plan is right, else what is wrong (static text).
static const char *check_plan(const struct anas_step *step, const struct anas_layout *layout) {
  const struct anas_lowering *l = step->lowering;
  struct arena_lines lines = {.count = step->arena_bytes / ANAS_ALIGNMENT};
  lines.owner = anas_calloc((size_t)lines.count, sizeof *lines.owner);
  bool *written = anas_calloc((size_t)l->num_buffers, sizeof *written);
  const char *wrong = NULL;
  for (int64_t i = 0; i < lines.count; i++)
    lines.owner[i] = NOBODY;
  for (int io = 0; io < ANAS_NUM_IO; io++) // what the runtime writes before the step, and where results go
    if (step->io[io] >= 0) take(step, &lines, step->io[io]);
  for (int n = 0; n < l->num_nests && !wrong; n++) {
    const struct anas_nest *nest = l->nests[n];
    for (int i = 0; i < nest->num_in; i++)
      if (!owns(step, &lines, nest->in[i].buffer)) wrong = "a nest reads what another buffer has overwritten";
    for (int j = 0; j < nest->num_out; j++) {
      int out = nest->out[j].buffer, storage = anas_lowering_storage(l, out);
      // A later part of a buffer, or an update, needs the earlier parts.
      if (written[storage] && nest->fill[j] == ANAS_NO_FILL && anas_nest_uses_output(nest, j) &&
          !owns(step, &lines, out))
        wrong = "a nest updates what another buffer has overwritten";
      written[storage] = true;
    }
    for (int j = 0; j < nest->num_out; j++)
      take(step, &lines, nest->out[j].buffer);
    for (int j = 0; j < nest->num_out; j++) // outputs of one nest are disjoint
      if (!owns(step, &lines, nest->out[j].buffer)) wrong = "two outputs of a nest share memory";
    for (int i = 0; i < nest->num_in; i++) // no output lies on an input, but in its own storage
      if (!owns(step, &lines, nest->in[i].buffer)) wrong = "an output of a nest overwrites its input";
  }
  for (int n = 0; n < l->num_nests && step->groups && !wrong; n = step->groups[n].last + 1)
    if (group_overlaps(step, &step->groups[n])) wrong = "buffers of a group share memory";
  for (int io = 0; io < ANAS_NUM_IO && !wrong; io++)
    if (step->io[io] >= 0 && !owns(step, &lines, step->io[io])) wrong = "a result of the step was overwritten";
  for (int64_t i = 0; i < step->shape_bytes && !wrong; i += ANAS_ALIGNMENT)
    if (lines.owner[(step->shape_address + i) / ANAS_ALIGNMENT] != NOBODY) wrong = "shape operands share memory";
  for (int b = 0; b < l->num_buffers && !wrong; b++)
    if (l->buffers[b]->alias < 0 && l->buffers[b]->place == ANAS_PLACE_PARAMS &&
        anas_lowering_bytes(l, b) != layout->params_bytes)
      wrong = "the parameter buffer has another size";
  free(written);
  free(lines.owner);
  return wrong;
}

static void plan_network(const char *text, const struct anas_lower_options *options) {
  MlirContext context = anas_context_create(false);
  MlirModule module;
  if (fixture_train_step(context, text, &module) != ANAS_OK) fail_msg("%s", anas_error_message());
  struct anas_layout layout;
  assert_int_equal(anas_layout_read(fixture_function(module, 0), &layout), ANAS_OK);
  for (int s = 0; s < 2; s++) {
    struct anas_step step;
    if (anas_step_read(fixture_function(module, s), &layout, &step) != ANAS_OK) fail_msg("%s", anas_error_message());
    assert_int_equal(fixture_transform(&step, options), ANAS_OK);
    step.shape_bytes = 100;
    if (anas_step_plan(&step, &layout) != ANAS_OK) fail_msg("%s", anas_error_message());
    const char *wrong = check_plan(&step, &layout);
    if (wrong) fail_msg("step %d: %s", s, wrong);
    int64_t total = 0, peak = 0;
    for (int n = 0; n < step.lowering->num_nests; n++) {
      int64_t live = 0;
      for (int b = 0; b < step.lowering->num_buffers; b++) {
        if (step.lowering->buffers[b]->alias >= 0 || step.lowering->buffers[b]->place != ANAS_PLACE_ARENA ||
            step.first_use[b] < 0)
          continue;
        int64_t bytes = anas_align(anas_lowering_bytes(step.lowering, b));
        if (!n) total += bytes;
        if (step.first_use[b] <= n && n <= step.last_use[b]) live += bytes;
      }
      peak = live > peak ? live : peak;
    }
    int64_t used = step.arena_bytes - layout.io_end - anas_align(step.shape_bytes);
    assert_int_equal(step.live_bytes - layout.io_end - anas_align(step.shape_bytes), peak);
    assert_true(used >= peak);
    assert_true(used <= total);
    assert_true(step.arena_bytes <= step.live_bytes + step.live_bytes * 15 / 100); // fragmentation
    anas_step_deinit(&step);
  }
  anas_layout_deinit(&layout);
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
}

static void no_live_buffer_is_overwritten(void **state) {
  (void)state;
  for (int bits = 0; bits < 8; bits++) {
    struct anas_lower_options options = {.no_fusion = bits & 1,
                                         .no_merging = bits & 2,
                                         .no_reuse = bits & 4,
                                         .update_pieces = bits & 4,
                                         .update_bytes = bits & 1 ? 256 : 0,
                                         .group_bytes = 1};
    plan_network(fixture_cnn, &options);
    plan_network(fixture_mlp, &options);
    plan_network(fixture_attention, &options);
  }
}

// As little as recomputation reaches: values come from copies of nests, everything stays in order.
static void recomputed_values_are_not_overwritten(void **state) {
  (void)state;
  const char *const networks[] = {fixture_cnn, fixture_mlp, fixture_attention};
  for (int i = 0; i < 3; i++)
    for (int bits = 0; bits < 4; bits++) {
      MlirContext context = anas_context_create(false);
      MlirModule module;
      if (fixture_train_step(context, networks[i], &module) != ANAS_OK) fail_msg("%s", anas_error_message());
      struct anas_layout layout;
      struct anas_step step;
      assert_int_equal(anas_layout_read(fixture_function(module, 0), &layout), ANAS_OK);
      assert_int_equal(anas_step_read(fixture_function(module, 0), &layout, &step), ANAS_OK);
      struct anas_lower_options options = {.no_fusion = bits & 1,
                                           .no_reuse = true,
                                           .no_groups = true,
                                           .update_pieces = bits & 1,
                                           .update_bytes = bits & 2 ? 256 : 0};
      assert_int_equal(fixture_transform(&step, &options), ANAS_OK);
      assert_int_equal(anas_step_find_lives(&step, &layout), ANAS_OK);
      int64_t before = step.live_bytes;
      assert_int_equal(anas_step_recompute(&step, &layout, 0), ANAS_OK);
      assert_true(step.live_bytes <= before);
      if (!i) assert_true(step.recomputed > 0 && step.live_bytes < before);
      anas_step_reuse_in_place(&step);
      assert_int_equal(anas_step_plan(&step, &layout), ANAS_OK);
      const char *wrong = check_plan(&step, &layout);
      if (wrong) fail_msg("network %d: %s", i, wrong);
      anas_step_deinit(&step);
      anas_layout_deinit(&layout);
      mlirModuleDestroy(module);
      mlirContextDestroy(context);
    }
}

// What training and inference of every network of the zoo need is close to what lives at one time.
static void zoo_plans_are_tight(void **state) {
  (void)state;
  int count;
  const struct anas_zoo_entry *const *entries = anas_zoo_table(&count);
  for (int i = 0; i < count; i++) {
    MlirContext context = anas_context_create(false);
    struct anas_model *model;
    MlirModule module;
    assert_int_equal(anas_zoo_build(entries[i]->name, 32, 32, 3, 10, &model), ANAS_OK);
    assert_int_equal(anas_model_export(model, context, &module), ANAS_OK);
    anas_model_destroy(model);
    if (anas_build_train_step(module, 128, 0.9, 1e-4) != ANAS_OK) fail_msg("%s", anas_error_message());
    struct anas_layout layout;
    assert_int_equal(anas_layout_read(fixture_function(module, 0), &layout), ANAS_OK);
    for (int s = 0; s < 2; s++) {
      struct anas_step step;
      if (anas_step_read(fixture_function(module, s), &layout, &step) != ANAS_OK) fail_msg("%s", anas_error_message());
      assert_int_equal(fixture_transform(&step, &(struct anas_lower_options){0}), ANAS_OK);
      if (anas_step_plan(&step, &layout) != ANAS_OK) fail_msg("%s", anas_error_message());
      double share = (double)step.arena_bytes / (double)step.live_bytes;
      if (share < 1 || share > 1.15)
        fail_msg("%s, step %d: the arena is %.3f x the live size", entries[i]->name, s, share);
      anas_step_deinit(&step);
    }
    anas_layout_deinit(&layout);
    mlirModuleDestroy(module);
    mlirContextDestroy(context);
  }
}

// Two temporaries on one address while both are live: the checker must object.
static void checker_finds_overlap(void **state) {
  (void)state;
  MlirContext context = anas_context_create(false);
  MlirModule module;
  if (fixture_train_step(context, fixture_cnn, &module) != ANAS_OK) fail_msg("%s", anas_error_message());
  struct anas_layout layout;
  struct anas_step step;
  assert_int_equal(anas_layout_read(fixture_function(module, 0), &layout), ANAS_OK);
  assert_int_equal(anas_step_read(fixture_function(module, 0), &layout, &step), ANAS_OK);
  anas_step_remove_dead(&step);
  assert_int_equal(anas_step_plan(&step, &layout), ANAS_OK);
  assert_null(check_plan(&step, &layout));
  struct anas_lowering *l = step.lowering;
  int found = 0;
  for (int a = 0; a < l->num_buffers; a++)
    for (int b = 0; b < l->num_buffers; b++) {
      if (l->buffers[a]->alias >= 0 || l->buffers[a]->place != ANAS_PLACE_ARENA || step.first_use[a] < 0 ||
          l->buffers[b]->alias >= 0 || l->buffers[b]->place != ANAS_PLACE_ARENA || step.first_use[b] < 0)
        continue;
      if (step.first_use[a] >= step.first_use[b] || step.last_use[a] <= step.first_use[b]) continue;
      int64_t kept = l->buffers[b]->address;
      l->buffers[b]->address = l->buffers[a]->address; // b is written while a is still to be read
      const char *wrong = check_plan(&step, &layout);
      l->buffers[b]->address = kept;
      if (!wrong) fail_msg("overlap of buffers %d and %d went unnoticed", a, b);
      found++;
    }
  assert_true(found > 10);
  anas_step_deinit(&step);
  anas_layout_deinit(&layout);
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_live_buffer_is_overwritten),
      cmocka_unit_test(recomputed_values_are_not_overwritten),
      cmocka_unit_test(zoo_plans_are_tight),
      cmocka_unit_test(checker_finds_overlap),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
