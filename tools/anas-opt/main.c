// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-opt: the mlir-opt of the anas dialect.
#include "tools/anas-opt/opt.h"

#include "dialect/context.h"
#include "runtime/support/file.h"

#include <llvm-c/Core.h>
#include <llvm-c/ErrorHandling.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// MLIR calls this where it would abort; the message is all that is left to say.
static void fatal_error(const char *reason) {
  fprintf(stderr, "anas-opt: fatal error in LLVM: %s\n", reason);
  fflush(stderr);
  _Exit(1);
}

// True if an informational flag was answered.
static bool answer(const struct opt_flags *flags, struct anas_strbuf *out) {
  if (flags->help) {
    opt_help(out);
  } else if (flags->version) {
    unsigned major, minor, patch;
    LLVMGetVersion(&major, &minor, &patch);
    anas_strbuf_addf(out, "anas-opt %s (LLVM/MLIR %u.%u.%u)\n", ANAS_VERSION, major, minor, patch);
  } else if (flags->list_ops) {
    if (strcmp(flags->list_ops, "markdown") != 0)
      opt_list_ops(!strcmp(flags->list_ops, "json"), out);
    else
      opt_markdown_ops(out);
  } else if (flags->list_passes) {
    if (strcmp(flags->list_passes, "markdown") != 0)
      opt_list_passes(!strcmp(flags->list_passes, "json"), out);
    else
      opt_markdown_passes(out);
  } else if (flags->show_irdl) {
    anas_irdl_text(out);
  } else {
    return false;
  }
  return true;
}

static bool process_input(const struct opt_flags *flags, struct anas_strbuf *out) {
  char *text;
  size_t size;
  if (anas_file_read(flags->input, &text, &size) != ANAS_OK) {
    fprintf(stderr, "anas-opt: error: %s\n", anas_error_message());
    return false;
  }
  const char *file = strcmp(flags->input, "-") ? flags->input : "<stdin>";
  struct opt_chunk *chunks;
  int count;
  opt_split(text, size, flags->split, &chunks, &count);
  free(text);
  bool ok = true;
  for (int i = 0; i < count; i++) {
    size_t before = out->size;
    if (i && before) anas_strbuf_adds(out, "// -----\n");
    ok &= opt_process(flags, file, &chunks[i], out);
  }
  opt_chunks_free(chunks, count);
  return ok;
}

int main(int argc, char **argv) {
  LLVMInstallFatalErrorHandler(fatal_error);
  struct opt_flags flags;
  if (opt_flags_parse(argc, argv, &flags) != ANAS_OK) {
    fprintf(stderr, "anas-opt: error: %s\n", anas_error_message());
    return EXIT_FAILURE;
  }
  struct anas_strbuf out = {0};
  bool ok = answer(&flags, &out) || process_input(&flags, &out);
  if (ok && anas_file_write(flags.output, anas_strbuf_text(&out), out.size) != ANAS_OK) {
    fprintf(stderr, "anas-opt: error: %s\n", anas_error_message());
    ok = false;
  }
  anas_strbuf_deinit(&out);
  opt_flags_deinit(&flags);
  return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
