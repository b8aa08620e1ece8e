// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-bench: speed of kernel functions, training steps, compilation and threads.
#include "dialect/context.h"
#include "runtime/team.h"
#include "tools/anas-bench/bench.h"

#include <stdio.h>
#include <string.h>

// A wrong name or file is found before anything is measured. Standard input can be read only once.
static anas_status check_models(const struct options *options) {
  MlirContext context = anas_context_create(false);
  anas_status status = ANAS_OK;
  for (int i = 0; i < options->num_models && status == ANAS_OK; i++) {
    MlirModule module;
    if (!strcmp(options->models[i], "-")) continue;
    status = load_model(options, options->models[i], context, &module);
    if (status == ANAS_OK) mlirModuleDestroy(module);
  }
  mlirContextDestroy(context);
  return status;
}

int main(int argc, char **argv) {
  struct options options;
  bool done = false;
  anas_status status = options_parse(argc, argv, &options, &done);
  if (status == ANAS_OK && done) return 0;
  if (status == ANAS_OK && options.threads) anas_team_set_size((int)options.threads);
  if (status == ANAS_OK) status = check_models(&options);
  if (status == ANAS_OK) status = options.command->run(&options);
  if (status != ANAS_OK) fprintf(stderr, "anas-bench: error: %s\n", anas_error_message());
  anas_team_shutdown();
  return status == ANAS_OK ? 0 : 1;
}
