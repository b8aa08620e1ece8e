// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-export: compiles a network's training step for a machine that has no compiler.
#include "dialect/context.h"
#include "passes/gpu/gpu.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/support/parse.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "OVERVIEW: anas export\n"
    "\n"
    "USAGE: anas-export MODEL.mlir --to cuda-bundle -o FILE [options]\n"
    "\n"
    "Compiles the whole training step of one architecture and writes it to a file that anas-run-bundle trains from on\n"
    "a machine with nothing but a driver. MODEL '-' reads standard input.\n"
    "\n"
    "OUTPUT:\n"
    "  --to FORMAT         cuda-bundle: kernels as PTX, launch plan and memory layout in one file\n"
    "  -o FILE             where to write it\n"
    "  --ptx DIR           also write each kernel function's PTX to DIR/SYMBOL.ptx\n"
    "\n"
    "STEP:\n"
    "  --batch N           images a step (default 128)\n" ANAS_OPTIMIZER_HELP "\n"
    "GPU:\n"
    "  --chip NAME         sm_80, sm_86, sm_89, sm_90 (default) or sm_100\n"
    "  --precision NAME    f32 (default), tf32 or bf16: contractions on tensor cores\n"
    "\n"
    "GENERAL:\n"
    "  --help, --version\n"
    "\n"
    "EXAMPLE:\n"
    "  anas-zoo resnet18 | anas-export - --to cuda-bundle --batch 256 -o resnet18.bundle\n";

struct settings {
  const char *model, *to, *output, *ptx, *chip, *precision;
  int64_t batch;
  struct anas_optimizer optimizer;
};

static anas_status write_ptx(const struct anas_device_program *program, const char *directory) {
  ANAS_RETURN_IF_ERROR(anas_make_directories(directory));
  for (int f = 0; f < program->num_functions; f++) {
    const struct anas_device_module *module = &program->modules[program->functions[f].module];
    char *path = anas_format("%s/%s.ptx", directory, program->functions[f].symbol);
    anas_status status = anas_file_write(path, module->ptx, module->size);
    free(path);
    ANAS_RETURN_IF_ERROR(status);
    while (f + 1 < program->num_functions && program->functions[f + 1].module == program->functions[f].module)
      f++;
  }
  return ANAS_OK;
}

static anas_status compile(MlirModule module, const struct settings *settings, struct anas_device_program *out) {
  struct anas_gpu_target target;
  ANAS_RETURN_IF_ERROR(anas_gpu_target_init(settings->chip, settings->precision, &target));
  return anas_gpu_compile(module, settings->batch, &settings->optimizer, &target, out);
}

static anas_status export(const struct settings *settings) {
  MlirContext context = anas_context_create(false);
  struct anas_diagnostics *diagnostics = anas_diagnostics_attach(context, settings->model, NULL);
  MlirModule module;
  struct anas_device_program program = {0};
  anas_status status = anas_parse_file(context, settings->model, &module);
  if (status == ANAS_OK) {
    status = compile(module, settings, &program);
    mlirModuleDestroy(module);
  }
  if (status == ANAS_OK && settings->ptx) status = write_ptx(&program, settings->ptx);
  if (status == ANAS_OK) status = anas_bundle_write(settings->output, &program);
  if (status == ANAS_OK)
    fprintf(stderr, "%s: %d kernel functions, %d launches a step, %.1f MB on the device; compiled in %.1f s\n",
            settings->output, program.num_modules, (int)program.num_launches[ANAS_ENTRY_TRAIN_STEP],
            (double)(program.image.arena_bytes + program.image.params_bytes + program.workspace_bytes) / 1e6,
            program.image.compile_seconds);
  anas_device_program_deinit(&program);
  anas_diagnostics_detach(diagnostics);
  mlirContextDestroy(context);
  return status;
}

enum { TO = 256, PTX, BATCH, OPTIMIZER, CHIP, PRECISION, HELP, VERSION };
static const struct option flags[] = {
    {"to", required_argument, NULL, TO},
    {"ptx", required_argument, NULL, PTX},
    {"batch", required_argument, NULL, BATCH},
    ANAS_OPTIMIZER_FLAGS(OPTIMIZER),
    {"chip", required_argument, NULL, CHIP},
    {"precision", required_argument, NULL, PRECISION},
    {"help", no_argument, NULL, HELP},
    {"version", no_argument, NULL, VERSION},
    {NULL, 0, NULL, 0},
};

// index: of the flag, in flags.
static anas_status parse_flag(int flag, int index, const char *text, struct settings *s) {
  switch (flag) {
  case 'o': s->output = text; return ANAS_OK;
  case TO: s->to = text; return ANAS_OK;
  case PTX: s->ptx = text; return ANAS_OK;
  case BATCH: return anas_parse_int("--batch", text, 1, 65536, &s->batch);
  case OPTIMIZER: return anas_optimizer_set(&s->optimizer, flags[index].name, text);
  case CHIP: s->chip = text; return ANAS_OK;
  case PRECISION: s->precision = text; return ANAS_OK;
  default: return anas_fail(ANAS_INVALID, "see anas-export --help");
  }
}

static anas_status parse(int argc, char **argv, struct settings *s, bool *out_exit) {
  for (int flag, index = 0; (flag = getopt_long(argc, argv, "o:", flags, &index)) != -1;) {
    if (flag == HELP || flag == VERSION) {
      fputs(flag == HELP ? help : "anas-export " ANAS_VERSION "\n", stdout);
      *out_exit = true;
      return ANAS_OK;
    }
    ANAS_RETURN_IF_ERROR(parse_flag(flag, index, optarg, s));
  }
  if (optind < argc) s->model = argv[optind++];
  if (optind < argc) return anas_fail(ANAS_INVALID, "unexpected argument '%s'", argv[optind]);
  if (!s->model) return anas_fail(ANAS_INVALID, "no model given; see anas-export --help");
  if (!s->to) return anas_fail(ANAS_INVALID, "--to is required; known is cuda-bundle");
  if (strcmp(s->to, "cuda-bundle") != 0)
    return anas_fail(ANAS_UNSUPPORTED, "--to: '%s' is not a format this version writes; known is cuda-bundle", s->to);
  if (!s->output) return anas_fail(ANAS_INVALID, "-o FILE is required");
  return anas_optimizer_resolve(&s->optimizer);
}

int main(int argc, char **argv) {
  struct settings settings = {.batch = 128, .optimizer = anas_optimizer_unset()};
  bool done = false;
  anas_status status = parse(argc, argv, &settings, &done);
  if (status == ANAS_OK && !done) status = export(&settings);
  if (status != ANAS_OK) fprintf(stderr, "anas-export: error: %s\n", anas_error_message());
  return status == ANAS_OK ? 0 : 1;
}
