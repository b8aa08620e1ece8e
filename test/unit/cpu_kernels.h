// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// For tests of passes/cpu: compiles a kernel function with our emitters and with the stock lowering, runs both on the
// same operands and compares every element.
#ifndef ANAS_TEST_CPU_KERNELS_H
#define ANAS_TEST_CPU_KERNELS_H

#include "dialect/context.h"
#include "passes/cpu/cpu.h"
#include "runtime/jit.h"
#include "runtime/support/memory.h"
#include "runtime/support/rng.h"
#include "runtime/support/strbuf.h"
#include "runtime/team.h"

#include <math.h>
#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define KERNEL_MAX_OPERANDS 16

// ---- text of a kernel function
// ---------------------------------------------------------------------------------------

struct kernel_text {
  int num_in, num_out;
  const char *type[KERNEL_MAX_OPERANDS]; // "4x3xf32"
  const char *map[KERNEL_MAX_OPERANDS];  // "n, c"
  const char *fill[KERNEL_MAX_OPERANDS]; // "0.0"; null: not filled
  const char *loops;                     // "n, c, k"
  const char *kinds;                     // "ppr"
  const char *body;                      // uses %i0.., %o0..
  const char *yield;                     // "%s, %t"
};

static inline const char *kernel_element(const char *type) {
  const char *x = strrchr(type, 'x');
  return x ? x + 1 : type;
}

static inline char *kernel_text_print(const struct kernel_text *k) {
  struct anas_strbuf text = {0};
  int num = k->num_in + k->num_out;
  anas_strbuf_adds(&text, "func.func private @k(");
  for (int i = 0; i < num; i++)
    anas_strbuf_addf(&text, "%s%%a%d: memref<%s>", i ? ", " : "", i, k->type[i]);
  anas_strbuf_adds(&text, ") attributes {anas.kernel = \"test\"} {\n");
  for (int i = k->num_in; i < num; i++) {
    if (!k->fill[i]) continue;
    const char *element = kernel_element(k->type[i]);
    anas_strbuf_addf(&text, "  %%f%d = arith.constant %s : %s\n", i, k->fill[i], element);
    anas_strbuf_addf(&text, "  linalg.fill ins(%%f%d : %s) outs(%%a%d : memref<%s>)\n", i, element, i, k->type[i]);
  }
  anas_strbuf_adds(&text, "  linalg.generic {indexing_maps = [");
  for (int i = 0; i < num; i++)
    anas_strbuf_addf(&text, "%saffine_map<(%s) -> (%s)>", i ? ", " : "", k->loops, k->map[i]);
  anas_strbuf_adds(&text, "], iterator_types = [");
  for (const char *c = k->kinds; *c; c++)
    anas_strbuf_addf(&text, "%s\"%s\"", c > k->kinds ? ", " : "", *c == 'p' ? "parallel" : "reduction");
  anas_strbuf_adds(&text, "]}");
  for (int group = 0; group < 2; group++) {
    int first = group ? k->num_in : 0, last = group ? num : k->num_in;
    if (first == last) continue;
    anas_strbuf_adds(&text, group ? " outs(" : " ins(");
    for (int i = first; i < last; i++)
      anas_strbuf_addf(&text, "%s%%a%d", i > first ? ", " : "", i);
    anas_strbuf_adds(&text, " : ");
    for (int i = first; i < last; i++)
      anas_strbuf_addf(&text, "%smemref<%s>", i > first ? ", " : "", k->type[i]);
    anas_strbuf_adds(&text, ")");
  }
  anas_strbuf_adds(&text, " {\n  ^bb0(");
  for (int i = 0; i < num; i++)
    anas_strbuf_addf(&text, "%s%%%c%d: %s", i ? ", " : "", i < k->num_in ? 'i' : 'o', i < k->num_in ? i : i - k->num_in,
                     kernel_element(k->type[i]));
  anas_strbuf_addf(&text, "):\n%s    linalg.yield %s : ", k->body, k->yield);
  for (int i = k->num_in; i < num; i++)
    anas_strbuf_addf(&text, "%s%s", i > k->num_in ? ", " : "", kernel_element(k->type[i]));
  anas_strbuf_adds(&text, "\n  }\n  return\n}\n");
  return anas_strbuf_detach(&text);
}

// ---- compiled kernels
// ------------------------------------------------------------------------------------------------

struct kernel_code {
  struct anas_object object; // outlives the jit
  struct anas_jit *jit;
  int num_parts;
  anas_kernel_range part[ANAS_KERNEL_PARTS]; // each takes operands (and scratch memory), begin, end
  int64_t iterations[ANAS_KERNEL_PARTS];
  bool parallel[ANAS_KERNEL_PARTS];
  int64_t leading; // of the first part: struct anas_cpu_range
  void *scratch;   // null if the kernel needs none
  char *ir;        // the rewritten functions, for messages
};

struct kernel_operand {
  int64_t elements, bytes; // bytes of an element
  bool is_float;
};

// On huge pages, as in a program; not zero.
static inline void *kernel_scratch(size_t bytes) {
  size_t huge = (size_t)2 << 20, size = (bytes + huge - 1) / huge * huge;
  void *memory = aligned_alloc(huge, size);
  if (!memory) abort();
  madvise(memory, size, MADV_HUGEPAGE);
  memset(memory, 0xff, size); // NaN
  return memory;
}

// Compiles with our emitters for target, or with the stock lowering when target is null. False with a message on
// stderr. out_operands may be null.
static inline bool kernel_compile(MlirContext context, const char *text, const struct anas_cpu_target *target,
                                  struct kernel_code *out, struct kernel_operand *out_operands, int *out_num) {
  MlirModule module;
  struct anas_cpu_target host = {0};
  *out = (struct kernel_code){.num_parts = 1, .iterations = {1}};
  if (anas_parse(context, text, strlen(text), "kernel", &module) != ANAS_OK) {
    fprintf(stderr, "%s\n%s", anas_error_message(), text);
    return false;
  }
  MlirOperation function = mlirBlockGetFirstOperation(mlirModuleGetBody(module));
  MlirBlock entry = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  if (out_operands) {
    *out_num = (int)mlirBlockGetNumArguments(entry);
    for (int i = 0; i < *out_num; i++) {
      MlirType type = mlirValueGetType(mlirBlockGetArgument(entry, i)), element = mlirShapedTypeGetElementType(type);
      struct kernel_operand *operand = &out_operands[i];
      *operand = (struct kernel_operand){.elements = 1,
                                         .bytes = mlirTypeIsAF32(element) ? 4 : mlirIntegerTypeGetWidth(element) / 8,
                                         .is_float = mlirTypeIsAF32(element)};
      for (int d = 0; d < mlirShapedTypeGetRank(type); d++)
        operand->elements *= mlirShapedTypeGetDimSize(type, d);
    }
  }
  anas_status status = target ? anas_cpu_codegen(module, target) : ANAS_OK;
  if (status == ANAS_OK && target) {
    struct anas_strbuf ir = {0};
    anas_operation_text(mlirModuleGetOperation(module), &ir);
    out->ir = anas_strbuf_detach(&ir);
    out->num_parts = 0;
    MlirAttribute leading = mlirOperationGetAttributeByName(function, mlirStringRefCreateFromCString("anas.leading"));
    out->leading = mlirAttributeIsNull(leading) ? 0 : mlirIntegerAttrGetValueInt(leading);
    for (function = mlirBlockGetFirstOperation(mlirModuleGetBody(module)); !mlirOperationIsNull(function);
         function = mlirOperationGetNextInBlock(function), out->num_parts++) {
      out->iterations[out->num_parts] = mlirIntegerAttrGetValueInt(
          mlirOperationGetAttributeByName(function, mlirStringRefCreateFromCString("anas.range")));
      out->parallel[out->num_parts] = mlirBoolAttrGetValue(
          mlirOperationGetAttributeByName(function, mlirStringRefCreateFromCString("anas.parallel")));
    }
    if (!mlirOperationVerify(mlirModuleGetOperation(module)))
      status = anas_fail(ANAS_INTERNAL, "the emitted function does not verify");
  }
  if (status == ANAS_OK) status = target ? anas_cpu_to_llvm(module) : anas_cpu_reference_to_llvm(module);
  if (status == ANAS_OK && !target) status = anas_cpu_target_init(NULL, &host);
  if (status == ANAS_OK) status = anas_cpu_emit_object(module, target ? target : &host, &out->object);
  if (!target) anas_cpu_target_deinit(&host);
  mlirModuleDestroy(module);
  if (status == ANAS_OK && out->object.scratch_bytes) out->scratch = kernel_scratch(out->object.scratch_bytes);
  if (status == ANAS_OK) status = anas_jit_create(&out->object, 1, out->scratch, &out->jit);
  for (int i = 0; i < out->num_parts && status == ANAS_OK; i++) {
    char symbol[16];
    void *address = NULL;
    snprintf(symbol, sizeof symbol, i ? "k_range%d" : "k_range", i);
    status = anas_jit_lookup(out->jit, symbol, &address);
    out->part[i] = (anas_kernel_range)address;
  }
  if (status == ANAS_OK) return true;
  fprintf(stderr, "%s\n%s\n%s", anas_error_message(), text, out->ir ? out->ir : "");
  return false;
}

static inline void kernel_release(struct kernel_code *code) {
  if (code->jit) anas_jit_destroy(code->jit);
  free(code->object.data);
  free(code->scratch);
  free(code->ir);
}

// Runs a kernel on this thread, the range of every part in so many pieces, the last one first.
static inline void kernel_run(const struct kernel_code *code, void *const *operands, int num, int pieces) {
  void *all[KERNEL_MAX_OPERANDS + 1];
  memcpy(all, operands, (size_t)num * sizeof *all);
  all[num] = code->scratch;
  for (int i = 0; i < code->num_parts; i++)
    for (int p = pieces - 1; p >= 0; p--)
      code->part[i](all, code->iterations[i] * p / pieces, code->iterations[i] * (p + 1) / pieces);
}

// Processors with 4, 8 and 16 lanes, as far as this machine can run their code; 0 with a message on stderr if something
// is wrong.
static inline int kernel_targets(struct anas_cpu_target out[3]) {
  static const char *const names[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
  static const int lanes[] = {4, 8, 16};
  struct anas_cpu_target host;
  if (anas_cpu_target_init(NULL, &host) != ANAS_OK) {
    fprintf(stderr, "%s\n", anas_error_message());
    return 0;
  }
  int num = 0;
  for (; num < 3 && lanes[num] <= host.lanes; num++) {
    if (anas_cpu_target_init(names[num], &out[num]) == ANAS_OK && out[num].lanes == lanes[num]) continue;
    fprintf(stderr, "%s is not the processor expected: %s\n", names[num], anas_error_message());
    return 0;
  }
  anas_cpu_target_deinit(&host);
  return num;
}

// ---- operands
// --------------------------------------------------------------------------------------------------------

// An operand ends where an unmapped page begins and starts after one filled with a pattern: reading or writing outside
// is found.
struct kernel_buffer {
  char *map;
  size_t map_bytes, bytes;
  char *data;
};

static inline void kernel_buffer_init(struct kernel_buffer *buffer, const struct kernel_operand *operand) {
  buffer->bytes = (size_t)(operand->elements * operand->bytes);
  size_t pages = (buffer->bytes + 4095) / 4096;
  buffer->map_bytes = (pages + 2) * 4096;
  buffer->map = mmap(NULL, buffer->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (buffer->map == MAP_FAILED) abort();
  mprotect(buffer->map + (pages + 1) * 4096, 4096, PROT_NONE);
  buffer->data = buffer->map + (pages + 1) * 4096 - buffer->bytes;
  memset(buffer->map, 0x5a, (size_t)(buffer->data - buffer->map));
}

static inline bool kernel_buffer_intact(const struct kernel_buffer *buffer) {
  for (const char *p = buffer->map; p < buffer->data; p++)
    if (*p != 0x5a) return false;
  return true;
}

static inline void kernel_buffer_deinit(struct kernel_buffer *buffer) {
  munmap(buffer->map, buffer->map_bytes);
}

#endif
