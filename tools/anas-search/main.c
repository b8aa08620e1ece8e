// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-search: evolves networks; sub-commands look at a study.
#include "tools/anas-search/command.h"
#include "tools/anas-search/search.h"

#include <llvm-c/Core.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool has_flag(int argc, char **argv, const char *name) {
  for (int i = 1; i < argc; i++)
    if (argv[i][0] == '-' && !strcmp(argv[i] + 1 + (argv[i][1] == '-'), name)) return true;
  return false;
}

int main(int argc, char **argv) {
  // Decisions come and go with some MiB of working memory. Giving it back each time would make the kernel clear it
  // again each time, and copy it once more after every fork.
  mallopt(M_TRIM_THRESHOLD, 16 << 20);
  int exit_code;
  if (command_dispatch(argc, argv, &exit_code)) return exit_code;
  if (argc < 2 || has_flag(argc, argv, "help") || has_flag(argc, argv, "h")) {
    struct anas_strbuf text = {0};
    search_help(&text);
    fputs(anas_strbuf_text(&text), argc < 2 ? stderr : stdout);
    anas_strbuf_deinit(&text);
    return argc < 2 ? EXIT_FAILURE : EXIT_SUCCESS;
  }
  if (has_flag(argc, argv, "version")) {
    unsigned major, minor, patch;
    LLVMGetVersion(&major, &minor, &patch);
    printf("anas-search %s (LLVM/MLIR %u.%u.%u)\n", ANAS_VERSION, major, minor, patch);
    return EXIT_SUCCESS;
  }
  struct search_options options;
  search_options_defaults(&options);
  if (search_options_parse(argc, argv, &options) != ANAS_OK) {
    fprintf(stderr, "anas-search: error: %s\n", anas_error_message());
    search_options_deinit(&options);
    return EXIT_FAILURE;
  }
  if (options.print_config) {
    char *text = search_options_to_json(&options);
    puts(text);
    free(text);
    search_options_deinit(&options);
    return EXIT_SUCCESS;
  }
  return search_run(argc, argv, &options);
}
