// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The compile report as JSON.
#include "passes/lower/compile.h"

#include "runtime/support/file.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void anas_compile_report_deinit(struct anas_compile_report *report) {
  anas_arena_deinit(&report->memory);
  *report = (struct anas_compile_report){0};
}

static json_t *kernel_json(const struct anas_compiled_kernel *k) {
  return json_pack("{s:s, s:s, s:s, s:b, s:f, s:f, s:f, s:I, s:f, s:f, s:i}", "function", k->symbol, "kind", k->kind,
                   "plan", k->plan, "cached", k->cached, "codegen_seconds", k->codegen_seconds, "lowering_seconds",
                   k->lowering_seconds, "llvm_seconds", k->llvm_seconds, "object_bytes", (json_int_t)k->object_bytes,
                   "flops", k->flops, "bytes", k->bytes, "calls", k->calls);
}

static json_t *total_json(const struct anas_compile_report *report) {
  struct anas_compiled_kernel total = {0};
  for (int i = 0; i < report->num_kernels; i++) {
    const struct anas_compiled_kernel *k = &report->kernels[i];
    total.codegen_seconds += k->codegen_seconds;
    total.lowering_seconds += k->lowering_seconds;
    total.llvm_seconds += k->llvm_seconds;
    total.object_bytes += k->object_bytes;
    total.flops += k->flops * k->calls;
    total.bytes += k->bytes * k->calls;
  }
  return json_pack("{s:f, s:f, s:f, s:I, s:f, s:f}", "codegen_seconds", total.codegen_seconds, "lowering_seconds",
                   total.lowering_seconds, "llvm_seconds", total.llvm_seconds, "object_bytes",
                   (json_int_t)total.object_bytes, "flops", total.flops, "bytes", total.bytes);
}

anas_status anas_compile_report_write(const struct anas_compile_report *report, const char *model, const char *path) {
  json_t *stages = json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "train_step", report->train_step_seconds, "to_kernels",
                             report->to_kernels_seconds, "read", report->read_seconds, "look_up",
                             report->look_up_seconds, "tune", report->tune_seconds, "build", report->build_seconds);
  json_t *kernels = json_array();
  for (int i = 0; i < report->num_kernels; i++)
    json_array_append_new(kernels, kernel_json(&report->kernels[i]));
  json_t *object = json_pack("{s:s, s:s?, s:s, s:i, s:i, s:f, s:o, s:i, s:i, s:o, s:o}", "event", "compile_report",
                             "model", model, "cpu", report->cpu, "lanes", report->lanes, "threads", report->threads,
                             "seconds", report->seconds, "stages", stages, "cache_hits", report->cache_hits,
                             "cache_misses", report->cache_misses, "total", total_json(report), "kernels", kernels);
  char *text = json_dumps(object, (path ? JSON_INDENT(1) : JSON_COMPACT) | JSON_REAL_PRECISION(9));
  json_decref(object);
  if (!text) return anas_fail(ANAS_INTERNAL, "the compile report cannot be printed");
  anas_status status = ANAS_OK;
  if (path) {
    char *line = anas_format("%s\n", text);
    status = anas_file_write(path, line, strlen(line));
    free(line);
  } else {
    puts(text);
    fflush(stdout);
  }
  free(text);
  return status;
}
