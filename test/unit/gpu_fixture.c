// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/gpu_fixture.h"

#include "dialect/context.h"
#include "runtime/support/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CHECK(expr)                                                                                                    \
  do {                                                                                                                 \
    if ((expr) != ANAS_OK) fail_msg("%s", anas_error_message());                                                       \
  } while (0)

void gpu_compile(const char *text, const char *precision, struct gpu_kernel *out) {
  MlirContext context = anas_context_create(false);
  MlirModule module;
  struct anas_gpu_target target;
  CHECK(anas_gpu_target_init(NULL, precision, &target));
  CHECK(anas_parse(context, text, strlen(text), "test", &module));
  CHECK(anas_gpu_codegen(mlirBlockGetFirstOperation(mlirModuleGetBody(module)), &target, &out->code));
  CHECK(anas_gpu_to_nvvm(out->code.module));
  CHECK(anas_gpu_emit_ptx(out->code.module, &target, &out->ptx));
  mlirModuleDestroy(out->code.module);
  out->code.module = (MlirModule){0};
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
}

anas_status gpu_run(const struct gpu_kernel *kernel, const uint64_t *operands, struct anas_device *device) {
  const struct anas_device_ops *ops = device->ops;
  void *module, *function;
  uint64_t workspace;
  ANAS_RETURN_IF_ERROR(ops->load(device->state, kernel->ptx, &module));
  CHECK(ops->allocate(device->state, (size_t)kernel->code.workspace, &workspace));
  anas_status status = ANAS_OK;
  for (int l = 0; l < kernel->code.num_launches && status == ANAS_OK; l++) {
    const struct anas_gpu_launch *launch = &kernel->code.launch[l];
    uint64_t value[ANAS_GPU_MAX_ARGUMENTS];
    void *arguments[ANAS_GPU_MAX_ARGUMENTS];
    if (launch->fill) {
      status =
          ops->fill(device->state, operands[launch->fill_argument], launch->fill_value, (size_t)launch->fill_count);
      continue;
    }
    for (int i = 0; i < launch->num_arguments; i++) {
      value[i] = launch->argument[i] < 0 ? workspace : operands[launch->argument[i]];
      arguments[i] = &value[i];
    }
    CHECK(ops->find(device->state, module, launch->symbol, &function));
    const uint32_t grid[] = {(uint32_t)launch->grid[0], (uint32_t)launch->grid[1], (uint32_t)launch->grid[2]};
    status = ops->launch(device->state, function, grid, (uint32_t)launch->block, arguments);
  }
  ops->unload(device->state, module);
  ops->release(device->state, workspace);
  return status;
}

uint64_t gpu_upload(struct anas_device *device, const float *values, size_t count) {
  uint64_t address;
  CHECK(device->ops->allocate(device->state, count * sizeof(float), &address));
  CHECK(device->ops->copy_in(device->state, address, values, count * sizeof(float)));
  return address;
}

float *gpu_random_values(size_t count, struct anas_rng *rng) {
  float *values = anas_calloc(count, sizeof *values);
  for (size_t i = 0; i < count; i++)
    values[i] = (float)anas_rng_normal(rng);
  return values;
}

// ---- contractions

// The factor of a loop in a dimension's index: "y*2+i" has 2 for y.
static int factor(const char *index, size_t length, char loop) {
  for (size_t i = 0; i < length; i++)
    if (index[i] == loop) return i + 2 < length && index[i + 1] == '*' ? index[i + 2] - '0' : 1;
  return 0;
}

static int dimension(const struct gpu_contraction *c, const char *index, size_t length) {
  int size = 1;
  for (int l = 0; c->loops[l]; l++)
    size += (c->extent[l] - 1) * factor(index, length, c->loops[l]);
  return size;
}

static const char *next_index(const char *index) {
  index += strcspn(index, ",");
  return index + strspn(index, ", ");
}

size_t gpu_contraction_elements(const struct gpu_contraction *c, int operand) {
  size_t elements = 1;
  for (const char *at = c->map[operand]; *at; at = next_index(at))
    elements *= (size_t)dimension(c, at, strcspn(at, ","));
  return elements;
}

int64_t gpu_contraction_stride(const struct gpu_contraction *c, int operand, int loop) {
  int64_t stride = 0;
  for (const char *at = c->map[operand]; *at; at = next_index(at)) {
    size_t length = strcspn(at, ",");
    stride = stride * dimension(c, at, length) + factor(at, length, c->loops[loop]);
  }
  return stride;
}

static void add_type(const struct gpu_contraction *c, int operand, struct anas_strbuf *text) {
  anas_strbuf_adds(text, "memref<");
  for (const char *at = c->map[operand]; *at; at = next_index(at))
    anas_strbuf_addf(text, "%dx", dimension(c, at, strcspn(at, ",")));
  anas_strbuf_adds(text, "f32>");
}

static void add_loops(const struct gpu_contraction *c, struct anas_strbuf *text) {
  for (int l = 0; c->loops[l]; l++)
    anas_strbuf_addf(text, "%s%c", l ? ", " : "", c->loops[l]);
}

void gpu_contraction_text(const struct gpu_contraction *c, struct anas_strbuf *text) {
  static const char *const names[] = {"%a", "%b", "%c"};
  anas_strbuf_adds(text, "func.func private @k_product(");
  for (int o = 0; o < 3; o++) {
    anas_strbuf_addf(text, "%s%s: ", o ? ", " : "", names[o]);
    add_type(c, o, text);
  }
  anas_strbuf_adds(text, ") attributes {anas.kernel = \"product\"} {\n");
  if (c->fill) {
    anas_strbuf_adds(text, "%z = arith.constant 0.0 : f32\nlinalg.fill ins(%z : f32) outs(%c : ");
    add_type(c, 2, text);
    anas_strbuf_adds(text, ")\n");
  }
  anas_strbuf_adds(text, "linalg.generic {indexing_maps = [");
  for (int o = 0; o < 3; o++) {
    anas_strbuf_addf(text, "%saffine_map<(", o ? ", " : "");
    add_loops(c, text);
    anas_strbuf_addf(text, ") -> (%s)>", c->map[o]);
  }
  anas_strbuf_adds(text, "], iterator_types = [");
  for (int l = 0; c->loops[l]; l++)
    anas_strbuf_addf(text, "%s\"%s\"", l ? ", " : "", strchr(c->map[2], c->loops[l]) ? "parallel" : "reduction");
  anas_strbuf_adds(text, "]} ins(%a, %b : ");
  add_type(c, 0, text);
  anas_strbuf_adds(text, ", ");
  add_type(c, 1, text);
  anas_strbuf_adds(text, ") outs(%c : ");
  add_type(c, 2, text);
  anas_strbuf_adds(text, ") {\n^bb0(%x: f32, %y: f32, %o: f32):\n%p = arith.mulf %x, %y fastmath<contract> : f32\n"
                         "%s = arith.addf %o, %p fastmath<contract> : f32\nlinalg.yield %s : f32\n}\nreturn\n}\n");
}
