// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-to-kernels: training ops to the kernel stage (format: lower.h).
#include "passes/lower/lower.h"

#include "dialect/attributes.h"
#include "dialect/context.h"
#include "passes/lower/step.h"
#include "passes/pass.h"
#include "runtime/support/file.h"

#include <inttypes.h>
#include <mlir-c/BuiltinAttributes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUM_STEPS 2
static const char *const step_names[NUM_STEPS] = {"train_step", "infer"};

struct stage {
  struct anas_layout layout;
  struct anas_step step[NUM_STEPS];
  int num_steps; // read so far
  struct anas_kernel_function *calls[NUM_STEPS];
  int num_calls[NUM_STEPS];
  int64_t arena_bytes;
};

static void clear_calls(struct stage *stage, int s) {
  for (int i = 0; i < stage->num_calls[s]; i++)
    anas_kernel_function_deinit(&stage->calls[s][i]);
  free(stage->calls[s]);
  stage->calls[s] = NULL;
  stage->num_calls[s] = 0;
}

static void stage_deinit(struct stage *stage) {
  for (int s = 0; s < stage->num_steps; s++) {
    clear_calls(stage, s);
    anas_step_deinit(&stage->step[s]);
  }
  anas_layout_deinit(&stage->layout);
}

// ---- building

static MlirOperation find_function(MlirModule module, const char *name) {
  MlirBlock body = mlirModuleGetBody(module);
  for (MlirOperation op = mlirBlockGetFirstOperation(body); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op)) {
    MlirAttribute symbol = mlirOperationGetAttributeByName(op, anas_ref_text("sym_name"));
    if (!mlirAttributeIsNull(symbol) && mlirAttributeIsAString(symbol) &&
        mlirStringRefEqual(mlirStringAttrGetValue(symbol), anas_ref_text(name)))
      return op;
  }
  return (MlirOperation){0};
}

// In-place reuse, kernel functions, addresses: everything after the nests are what they are.
static anas_status finish_step(struct stage *stage, int s, const struct anas_lower_options *options, bool groups) {
  struct anas_step *step = &stage->step[s];
  struct anas_lowering *l = step->lowering;
  if (!options->no_reuse) anas_step_reuse_in_place(step);
  if (groups && !options->no_groups) anas_step_group(step, options->group_bytes);
  stage->calls[s] = anas_calloc((size_t)l->num_nests, sizeof *stage->calls[s]);
  for (int n = 0; n < l->num_nests; n++) {
    struct anas_kernel_function *call = &stage->calls[s][n];
    ANAS_RETURN_IF_ERROR(anas_nest_check(l, l->nests[n]));
    ANAS_RETURN_IF_ERROR(anas_kernel_function_print(l, l->nests[n], call));
    stage->num_calls[s]++;
    int64_t bytes = anas_shape_elements(&call->shape) * anas_element_bytes(call->shape.element);
    if (call->shape.rank && bytes > step->shape_bytes) step->shape_bytes = bytes;
  }
  return anas_step_plan(step, &stage->layout);
}

static int *save_aliases(const struct anas_lowering *l) {
  int *aliases = anas_calloc((size_t)l->num_buffers, sizeof *aliases);
  for (int b = 0; b < l->num_buffers; b++)
    aliases[b] = l->buffers[b]->alias;
  return aliases;
}

// Finishes the step in an arena of at most `limit` bytes. How much in-place reuse saves is known afterwards, so that it
// is undone and more is recomputed while that is not enough. *out_first, *out_smallest: the arena without
// recomputation, the smallest one seen.
static anas_status fit_step(struct stage *stage, int s, const struct anas_lower_options *options, int64_t limit,
                            int64_t *out_first, int64_t *out_smallest) {
  struct anas_step *step = &stage->step[s];
  struct anas_lowering *l = step->lowering;
  int64_t target = INT64_MAX, smallest = INT64_MAX;
  for (;;) {
    int before = step->recomputed;
    if (target != INT64_MAX) ANAS_RETURN_IF_ERROR(anas_step_recompute(step, &stage->layout, target));
    ANAS_RETURN_IF_ERROR(anas_step_find_lives(step, &stage->layout));
    int64_t live = step->live_bytes;
    int *aliases = save_aliases(l);
    // Groups keep more alive: none once memory is short.
    anas_status status = finish_step(stage, s, options, target == INT64_MAX);
    bool again = status == ANAS_OK && step->arena_bytes > limit && (target == INT64_MAX || step->recomputed > before);
    if (target == INT64_MAX) *out_first = step->arena_bytes;
    if (step->arena_bytes < smallest) smallest = step->arena_bytes;
    for (int b = 0; b < l->num_buffers && again; b++)
      anas_lowering_alias(l, b, aliases[b], l->buffers[b]->offset);
    free(aliases);
    ANAS_RETURN_IF_ERROR(status);
    if (!again) break;
    clear_calls(stage, s);
    free(step->groups);
    step->groups = NULL;
    // What lives now, less what the plan is over the limit.
    target = live - (step->arena_bytes - limit);
  }
  *out_smallest = smallest;
  return ANAS_OK;
}

static anas_status lower_step(struct stage *stage, int s, const struct anas_lower_options *options) {
  struct anas_step *step = &stage->step[s];
  anas_step_remove_dead(step);
  if (!options->no_fusion) anas_step_fuse(step);
  if (!options->no_merging)
    ANAS_RETURN_IF_ERROR(anas_step_merge_horizontal(step, options->update_bytes, options->update_pieces));
  if (!options->memory_limit) {
    ANAS_RETURN_IF_ERROR(finish_step(stage, s, options, true));
  } else {
    int64_t first = 0, smallest = 0, params = stage->layout.params_bytes;
    ANAS_RETURN_IF_ERROR(fit_step(stage, s, options, options->memory_limit - params, &first, &smallest));
    if (step->arena_bytes + params > options->memory_limit)
      return anas_fail(
          ANAS_NO_MEMORY,
          "@%s needs %.1f MB, %.1f MB if it computes again what it can (%.1f MB are parameters and optimizer "
          "state); the memory limit leaves %.1f MB; use a smaller batch",
          step_names[s], (double)(first + params) / 1e6, (double)(smallest + params) / 1e6, (double)params / 1e6,
          (double)options->memory_limit / 1e6);
  }
  if (step->arena_bytes > stage->arena_bytes) stage->arena_bytes = step->arena_bytes;
  return ANAS_OK;
}

// {"params_bytes":..., "arena_bytes":..., "steps":[...]}
static void report_plan(const struct stage *stage, struct anas_strbuf *out) {
  anas_strbuf_addf(out, "{\"params_bytes\":%" PRId64 ",\"arena_bytes\":%" PRId64 ",\"steps\":[",
                   stage->layout.params_bytes, stage->arena_bytes);
  for (int s = 0; s < NUM_STEPS; s++) {
    if (s) anas_strbuf_adds(out, ",");
    anas_step_report(&stage->step[s], &stage->layout, step_names[s], out);
  }
  anas_strbuf_adds(out, "]}\n");
}

static anas_status build_stage(MlirModule module, const struct anas_lower_options *options, struct stage *stage) {
  for (int s = 0; s < NUM_STEPS; s++) {
    MlirOperation function = find_function(module, step_names[s]);
    if (mlirOperationIsNull(function))
      return anas_fail(ANAS_INVALID, "the module has no function '@%s'; run anas-train-step first", step_names[s]);
    if (s == 0) ANAS_RETURN_IF_ERROR(anas_layout_read(function, &stage->layout));
    ANAS_RETURN_IF_ERROR(anas_step_read(function, &stage->layout, &stage->step[s]));
    stage->num_steps++;
    ANAS_RETURN_IF_ERROR(lower_step(stage, s, options));
  }
  return ANAS_OK;
}

// ---- printing

// An attribute the training level put on the module, as text.
static anas_status print_module_attr(MlirModule module, const char *name, struct anas_strbuf *out) {
  MlirAttribute attribute = mlirOperationGetAttributeByName(mlirModuleGetOperation(module), anas_ref_text(name));
  if (mlirAttributeIsNull(attribute))
    return anas_fail(ANAS_INVALID, "the module has no attribute '%s'; run anas-train-step first", name);
  anas_strbuf_addf(out, "%s = ", name);
  mlirAttributePrint(attribute, anas_print_to_strbuf, out);
  anas_strbuf_adds(out, ", ");
  return ANAS_OK;
}

static void print_tensors(const struct anas_layout *layout, struct anas_strbuf *out) {
  anas_strbuf_adds(out, "anas.tensors = [");
  for (int i = 0; i < layout->num_tensors; i++) {
    const struct anas_step_tensor *t = &layout->tensors[i];
    anas_strbuf_adds(out, i ? ",\n  {name = " : "\n  {name = ");
    anas_print_quoted(t->name, out);
    anas_strbuf_addf(out, ", role = \"%s\", init = ", t->role);
    anas_print_quoted(t->init, out);
    anas_strbuf_addf(out, ", fan_in = %" PRId64 " : i64, fan_out = %" PRId64 " : i64, shape = array<i64", t->fan_in,
                     t->fan_out);
    for (int d = 0; d < t->shape.rank; d++)
      anas_strbuf_addf(out, "%s %" PRId64, d ? "," : ":", t->shape.dim[d]);
    anas_strbuf_addf(out, ">, offset = %" PRId64 " : i64}", t->offset);
  }
  anas_strbuf_adds(out, "],\n  anas.io = {");
  for (int io = 0; io < ANAS_NUM_IO; io++)
    anas_strbuf_addf(out, "%s%s = array<i64: %" PRId64 ", %" PRId64 ">", io ? ", " : "", anas_io_names[io],
                     layout->io_offset[io], layout->io_bytes[io]);
  anas_strbuf_adds(out, "}");
}

struct view {
  bool params;
  int64_t offset;
  struct anas_shape shape;
};

struct body_printer {
  const struct stage *stage;
  const struct anas_step *step;
  struct view *views;
  int num_views;
  size_t capacity_views;
  int64_t params_bytes;
  struct anas_strbuf *out;
};

// Number of the view of a buffer; prints it at its first use.
static int print_view(struct body_printer *p, const struct anas_kernel_function *call, int operand) {
  struct view view = {.shape = call->shape, .offset = p->step->shape_address};
  if (call->buffer[operand] != ANAS_SHAPE_OPERAND) {
    const struct anas_lowering *l = p->step->lowering;
    int64_t at;
    int storage = anas_lowering_locate(l, call->buffer[operand], &at);
    view.params = l->buffers[storage]->place == ANAS_PLACE_PARAMS;
    view.offset = l->buffers[storage]->address + at;
    view.shape = *anas_lower_shape(l, call->buffer[operand]);
  }
  for (int i = 0; i < p->num_views; i++)
    if (p->views[i].params == view.params && p->views[i].offset == view.offset &&
        anas_shape_equal(&p->views[i].shape, &view.shape))
      return i;
  p->views = anas_grow(p->views, (size_t)p->num_views, &p->capacity_views, sizeof *p->views);
  p->views[p->num_views] = view;
  anas_strbuf_addf(p->out,
                   "  %%o%d = arith.constant %" PRId64 " : index\n  %%v%d = memref.view %%%s[%%o%d][] : memref<%" PRId64
                   "xi8> to ",
                   p->num_views, view.offset, p->num_views, view.params ? "params" : "arena", p->num_views,
                   view.params ? p->params_bytes : p->stage->arena_bytes);
  anas_memref_text(&view.shape, p->out);
  anas_strbuf_adds(p->out, "\n");
  return p->num_views++;
}

static void print_call(struct body_printer *p, const struct anas_kernel_function *call,
                       const struct anas_step_group *group) {
  int views[ANAS_MAX_ACCESSES + ANAS_MAX_RESULTS + 1];
  for (int i = 0; i < call->num_operands; i++)
    views[i] = print_view(p, call, i);
  anas_strbuf_addf(p->out, "  call @%s(", call->name);
  for (int i = 0; i < call->num_operands; i++)
    anas_strbuf_addf(p->out, "%s%%v%d", i ? ", " : "", views[i]);
  anas_strbuf_adds(p->out, ")");
  if (group && group->last > group->first)
    anas_strbuf_addf(p->out, " {anas.group = array<i64: %d, %" PRId64 ">}", group->first + 1, group->slabs);
  anas_strbuf_adds(p->out, " : (");
  for (int i = 0; i < call->num_operands; i++) {
    if (i) anas_strbuf_adds(p->out, ", ");
    anas_memref_text(&p->views[views[i]].shape, p->out);
  }
  anas_strbuf_adds(p->out, ") -> ()\n");
}

static void print_step(const struct stage *stage, int s, struct anas_strbuf *out) {
  struct body_printer p = {
      .stage = stage, .step = &stage->step[s], .params_bytes = stage->layout.params_bytes, .out = out};
  anas_strbuf_addf(out,
                   "func.func @%s(%%arena: memref<%" PRId64 "xi8>, %%params: memref<%" PRId64
                   "xi8>) attributes {anas.entry} {\n",
                   step_names[s], stage->arena_bytes, p.params_bytes);
  for (int i = 0; i < stage->num_calls[s]; i++)
    print_call(&p, &stage->calls[s][i], p.step->groups ? &p.step->groups[i] : NULL);
  anas_strbuf_adds(out, "  return\n}\n");
  free(p.views);
}

// Each distinct kernel function once, in the order of first use.
static void print_kernels(const struct stage *stage, struct anas_strbuf *out) {
  const char **printed = anas_calloc((size_t)(stage->num_calls[0] + stage->num_calls[1]), sizeof *printed);
  int count = 0;
  for (int s = 0; s < NUM_STEPS; s++)
    for (int i = 0; i < stage->num_calls[s]; i++) {
      const struct anas_kernel_function *call = &stage->calls[s][i];
      bool known = false;
      for (int k = 0; k < count && !known; k++)
        known = !strcmp(printed[k], call->name);
      if (known) continue;
      printed[count++] = call->name;
      anas_strbuf_adds(out, call->text);
    }
  free(printed);
}

static anas_status print_stage(MlirModule module, const struct stage *stage, struct anas_strbuf *out) {
  anas_strbuf_adds(out, "module attributes {");
  ANAS_RETURN_IF_ERROR(print_module_attr(module, "anas.batch", out));
  ANAS_RETURN_IF_ERROR(print_module_attr(module, "anas.classes", out));
  ANAS_RETURN_IF_ERROR(print_module_attr(module, "anas.image", out));
  anas_strbuf_addf(out, "anas.arena_bytes = %" PRId64 " : i64, anas.params_bytes = %" PRId64 " : i64,\n  ",
                   stage->arena_bytes, stage->layout.params_bytes);
  print_tensors(&stage->layout, out);
  anas_strbuf_adds(out, "} {\n");
  for (int s = 0; s < NUM_STEPS; s++)
    print_step(stage, s, out);
  print_kernels(stage, out);
  anas_strbuf_adds(out, "}\n");
  return ANAS_OK;
}

// ---- the pass

// Moves the functions and attributes of 'from' (destroyed) into 'module'.
static void replace_module(MlirModule module, MlirModule from) {
  MlirBlock body = mlirModuleGetBody(module);
  for (MlirOperation op = mlirBlockGetFirstOperation(body), next; !mlirOperationIsNull(op); op = next) {
    next = mlirOperationGetNextInBlock(op);
    mlirOperationDestroy(op);
  }
  MlirBlock source = mlirModuleGetBody(from);
  for (MlirOperation op = mlirBlockGetFirstOperation(source), next; !mlirOperationIsNull(op); op = next) {
    next = mlirOperationGetNextInBlock(op);
    mlirOperationRemoveFromParent(op);
    mlirBlockAppendOwnedOperation(body, op);
  }
  MlirOperation operation = mlirModuleGetOperation(from);
  for (intptr_t i = 0; i < mlirOperationGetNumDiscardableAttributes(operation); i++) {
    MlirNamedAttribute attribute = mlirOperationGetDiscardableAttribute(operation, i);
    mlirOperationSetDiscardableAttributeByName(mlirModuleGetOperation(module), mlirIdentifierStr(attribute.name),
                                               attribute.attribute);
  }
  mlirModuleDestroy(from);
}

anas_status anas_lower_to_kernels_with(MlirModule module, const struct anas_lower_options *options) {
  struct stage stage = {0};
  struct anas_strbuf text = {0};
  MlirModule kernels;
  anas_status status = build_stage(module, options, &stage);
  if (status == ANAS_OK) status = print_stage(module, &stage, &text);
  if (status == ANAS_OK && options->report) report_plan(&stage, options->report);
  if (status == ANAS_OK) {
    status = anas_parse(mlirModuleGetContext(module), text.data, text.size, "kernel stage", &kernels);
    if (status == ANAS_OK)
      replace_module(module, kernels);
    else
      status = anas_fail_context(ANAS_INTERNAL, "the kernel stage does not parse: ");
  }
  anas_strbuf_deinit(&text);
  stage_deinit(&stage);
  return status;
}

anas_status anas_lower_to_kernels(MlirModule module) {
  return anas_lower_to_kernels_with(module, &(struct anas_lower_options){0});
}

static anas_status write_report(const struct anas_strbuf *report, const char *path) {
  if (!strcmp(path, "-")) {
    fwrite(report->data, 1, report->size, stdout);
    return fflush(stdout) ? anas_fail(ANAS_IO, "cannot write the memory report") : ANAS_OK;
  }
  return anas_file_write(path, report->data, report->size);
}

static anas_status run(MlirModule module, const struct anas_pass_options *options) {
  struct anas_strbuf report = {0};
  const char *path = anas_option_string(options, "memory-report");
  int64_t limit = anas_option_int(options, "memory-limit");
  if (limit < 0) return anas_fail(ANAS_INVALID, "option 'memory-limit' must not be negative");
  struct anas_lower_options lower = {.memory_limit = limit, .report = *path ? &report : NULL};
  anas_status status = anas_lower_to_kernels_with(module, &lower);
  if (status == ANAS_OK && *path) status = write_report(&report, path);
  anas_strbuf_deinit(&report);
  return status;
}

static const struct anas_pass_option kernels_options[] = {
    {"memory-limit", ANAS_OPTION_INT, "0",
     "bytes of arena and parameters; values are computed again instead of kept until the step fits; 0: no limit"},
    {"memory-report", ANAS_OPTION_STRING, "", "file for the memory plan as JSON; -: standard output"},
    {0},
};

const struct anas_pass_def anas_pass_to_kernels = {
    .argument = "anas-to-kernels",
    .summary = "lower the training step to calls of kernel functions with a static memory plan",
    .options = kernels_options,
    .run = run,
};
