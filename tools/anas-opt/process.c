// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One chunk: context, pass manager, parse, verify, run, print.
#include "tools/anas-opt/opt.h"

#include "dialect/context.h"
#include "passes/pass.h"
#include "passes/verify.h"

#include "runtime/support/memory.h"

#include <mlir-c/Pass.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static MlirOpPrintingFlags printing_flags(const struct opt_flags *flags) {
  MlirOpPrintingFlags printing = mlirOpPrintingFlagsCreate();
  if (flags->generic) mlirOpPrintingFlagsPrintGenericOpForm(printing);
  if (flags->debug_info) mlirOpPrintingFlagsEnableDebugInfo(printing, true, false);
  if (flags->local_scope) mlirOpPrintingFlagsUseLocalScope(printing);
  if (flags->elide) mlirOpPrintingFlagsElideLargeElementsAttrs(printing, strtoll(flags->elide, NULL, 10));
  return printing;
}

// A pass flag needs no nesting on the command line: MLIR says what the pass is restricted to, and we nest.
static anas_status add_flag_element(MlirPassManager manager, const char *element,
                                    const struct anas_pipeline_config *config) {
  anas_status status = anas_pipeline_parse_config(manager, element, config);
  if (status == ANAS_OK) return status;
  static const char restricted[] = "restricted to '";
  const char *message = anas_error_message(), *anchor = strstr(message, restricted);
  if (anchor) {
    anchor += sizeof restricted - 1;
    char *nested = anas_format("%.*s(%s)", (int)strcspn(anchor, "'"), anchor, element);
    status = anas_pipeline_parse_config(manager, nested, config);
    free(nested);
    return status;
  }
  if (strstr(message, "does not refer to a registered pass")) return opt_unknown_argument(element);
  const char *reason = strstr(message, ": ");
  return anas_fail(status, "--%s: %s", element, reason ? reason + 2 : message);
}

static anas_status build(MlirPassManager manager, const struct opt_flags *flags, struct anas_statistics *statistics) {
  char *defaults = flags->seed ? anas_format("seed=%s", flags->seed) : NULL;
  struct anas_pipeline_config config = {.defaults = defaults, .statistics = statistics};
  anas_status status = ANAS_OK;
  if (flags->pipeline) status = anas_pipeline_parse_config(manager, flags->pipeline, &config);
  for (int i = 0; i < flags->num_elements && status == ANAS_OK; i++)
    status = add_flag_element(manager, flags->elements[i], &config);
  free(defaults);
  if (status != ANAS_OK) return status;

  mlirPassManagerEnableVerifier(manager, !flags->skip_verify_each);
  if (flags->print_before_all || flags->print_after_all || flags->print_after_change || flags->print_after_failure) {
    MlirOpPrintingFlags printing = printing_flags(flags);
    mlirPassManagerEnableIRPrinting(manager, flags->print_before_all,
                                    flags->print_after_all || flags->print_after_change || flags->print_after_failure,
                                    flags->print_module_scope, flags->print_after_change, flags->print_after_failure,
                                    printing, anas_ref_text(flags->print_tree ? flags->print_tree : ""));
    mlirOpPrintingFlagsDestroy(printing);
  }
  if (flags->timing) mlirPassManagerEnableTiming(manager);
  return ANAS_OK;
}

static void print_module(const struct opt_flags *flags, MlirModule module, struct anas_strbuf *out) {
  MlirOperation operation = mlirModuleGetOperation(module);
  if (flags->bytecode) {
    mlirOperationWriteBytecode(operation, anas_print_to_strbuf, out);
    return;
  }
  MlirOpPrintingFlags printing = printing_flags(flags);
  mlirOperationPrintWithFlags(operation, printing, anas_print_to_strbuf, out);
  mlirOpPrintingFlagsDestroy(printing);
  anas_strbuf_adds(out, "\n");
}

static bool parse_and_run(const struct opt_flags *flags, const char *file, const struct opt_chunk *chunk,
                          MlirContext context, MlirPassManager manager, struct anas_strbuf *out) {
  MlirModule module;
  if (anas_parse(context, chunk->text, chunk->size, file, &module) != ANAS_OK) return false;
  bool ok = anas_verify_module(module) == ANAS_OK &&
            mlirLogicalResultIsSuccess(mlirPassManagerRunOnOp(manager, mlirModuleGetOperation(module)));
  if (ok) print_module(flags, module, out);
  mlirModuleDestroy(module);
  return ok;
}

static bool process(const struct opt_flags *flags, const char *file, const struct opt_chunk *chunk, MlirContext context,
                    MlirPassManager manager, struct anas_strbuf *out) {
  if (flags->verify_diagnostics) {
    struct opt_expectations *expectations;
    if (opt_expectations_attach(context, file, chunk, &expectations) != ANAS_OK) {
      fprintf(stderr, "anas-opt: error: %s\n", anas_error_message());
      return false;
    }
    parse_and_run(flags, file, chunk, context, manager, out); // only the diagnostics matter
    return opt_expectations_finish(expectations) == 0;
  }
  bool bytecode = chunk->size >= 4 && !memcmp(chunk->text, "ML\xefR", 4);
  struct anas_diagnostics *diagnostics = anas_diagnostics_attach(context, file, bytecode ? NULL : chunk->text);
  bool ok = parse_and_run(flags, file, chunk, context, manager, out);
  ok = ok && anas_diagnostics_errors(diagnostics) == 0;
  anas_diagnostics_detach(diagnostics);
  return ok;
}

bool opt_process(const struct opt_flags *flags, const char *file, const struct opt_chunk *chunk,
                 struct anas_strbuf *out) {
  // IR printing at module scope aborts with threads; printing of any scope would interleave.
  bool printing =
      flags->print_before_all || flags->print_after_all || flags->print_after_change || flags->print_after_failure;
  MlirContext context = anas_context_create(!flags->disable_threading && !printing);
  if (flags->allow_unregistered) mlirContextSetAllowUnregisteredDialects(context, true);
  MlirPassManager manager = mlirPassManagerCreateOnOperation(context, anas_ref_text("builtin.module"));
  struct anas_statistics *statistics = flags->statistics ? anas_statistics_create() : NULL;
  bool ok = build(manager, flags, statistics) == ANAS_OK;
  if (!ok) {
    fprintf(stderr, "anas-opt: error: %s\n", anas_error_message());
  } else {
    if (flags->dump_pipeline) {
      struct anas_strbuf text = {0};
      mlirPrintPassPipeline(mlirPassManagerGetAsOpPassManager(manager), anas_print_to_strbuf, &text);
      fprintf(stderr, "%s\n", anas_strbuf_text(&text));
      anas_strbuf_deinit(&text);
    }
    ok = process(flags, file, chunk, context, manager, out);
  }
  mlirPassManagerDestroy(manager); // prints the timing
  if (statistics && ok) {
    struct anas_strbuf text = {0};
    anas_statistics_print(statistics, &text);
    fprintf(stderr, "%s", anas_strbuf_text(&text));
    anas_strbuf_deinit(&text);
  }
  anas_statistics_destroy(statistics);
  mlirContextDestroy(context);
  return ok;
}
