// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Command line of anas-bench.
#include "passes/cpu/cpu.h"
#include "runtime/support/nearest.h"
#include "runtime/support/parse.h"
#include "tools/anas-bench/bench.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "Usage: anas-bench COMMAND [MODEL...] [options]\n"
    "\n"
    "Measures speed and prints JSON, one object a line; the first describes the machine: processor, FMA peak,\n"
    "memory bandwidth, load. MODEL is a file, '-', or the name of a network of the zoo (anas-zoo --list).\n"
    "docs/benchmarks.md says what every figure means.\n"
    "\n"
    "Commands:\n"
    "  kernels MODEL...     every distinct convolution and product of their training steps, on one thread and\n"
    "                       on all, beside oneDNN and OpenBLAS where these are installed\n"
    "  model MODEL...       training steps: images/s with and without data loading, compile time with an empty\n"
    "                       and a full cache, memory\n"
    "  threads              latency of the thread team\n"
    "  child MODEL          compile time of mutated children of a network with a warm cache\n"
    "\n"
    "Network:\n"
    "  --input HxWxC        image size of networks of the zoo (default: the one anas-zoo --list shows)\n"
    "  --classes N          their number of classes\n"
    "  --batch N            images a step (default 128)\n"
    "\n"
    "Compilation and machine:\n"
    "  --cpu NAME           generate code for this LLVM processor, e.g. x86-64-v3 (default: native)\n"
    "  --precision NAME     of the operands of contractions: f32 (default), bf16 where that is faster, or\n"
    "                       bf16-always; kernels measures f32 beside it\n"
    "  --threads N          threads (default: $ANAS_NUM_THREADS or all processors)\n"
    "  --no-cache           compile everything, keep nothing (cache: $ANAS_CACHE_DIR)\n"
    "  --no-winograd        3x3 convolutions by direct sums everywhere\n"
    "  --tune               measure alternative plans of contractions first and keep the fastest in the cache\n"
    "\n"
    "Of kernels:\n"
    "  --filter TEXT        only layers with TEXT in kind or name: 'conv_fwd', '3x3', '-> 64'\n"
    "  --seconds X          time for each layer and all its alternatives (default 1)\n"
    "  --cold               put the operands out of the caches before every run, on both sides\n"
    "  --functions          every kernel function of whole steps instead, without comparison\n"
    "\n"
    "Of model:\n"
    "  --steps N            timed steps (default 20)\n"
    "  --dataset NAME       measure with this data set as well: fashion-mnist, cifar10, imagefolder\n"
    "  --data DIR           its folder\n"
    "\n"
    "Of child:\n"
    "  --children N         (default 20)\n"
    "  --seed N             of the mutations (default 0)\n"
    "  --mutation TEXT      settings 'name=value ...' of the mutations (docs/mutation.md)\n"
    "\n"
    "  --help, --version\n"
    "\n"
    "Examples:\n"
    "  anas-bench kernels resnet18 b0 vit-ti/4 --input 32x32x3 --batch 64\n"
    "  anas-bench kernels resnet50 --input 224x224x3 --batch 16 --filter '3x3'\n"
    "  anas-bench kernels resnet18 --functions | jq -r 'select(.ms) | [.ms, .kind] | @tsv'\n"
    "  anas-bench model cnn --batch 64 --dataset fashion-mnist --input 28x28x1\n"
    "  anas-bench child resnet18 --children 50 --seed 1\n";

static const struct command *const commands[] = {&command_kernels, &command_model, &command_threads, &command_child};
enum { NUM_COMMANDS = sizeof commands / sizeof *commands };

enum {
  FIRST_FLAG = 256,
  INPUT = FIRST_FLAG,
  CLASSES,
  BATCH,
  CPU,
  PRECISION,
  THREADS,
  NO_CACHE,
  NO_WINOGRAD,
  TUNE,
  FILTER,
  SECONDS,
  COLD,
  FUNCTIONS,
  STEPS,
  DATASET,
  DATA,
  CHILDREN,
  SEED,
  MUTATION,
  HELP,
  VERSION
};

static const struct option flags[] = {
    {"input", required_argument, NULL, INPUT},
    {"classes", required_argument, NULL, CLASSES},
    {"batch", required_argument, NULL, BATCH},
    {"cpu", required_argument, NULL, CPU},
    {"precision", required_argument, NULL, PRECISION},
    {"threads", required_argument, NULL, THREADS},
    {"no-cache", no_argument, NULL, NO_CACHE},
    {"no-winograd", no_argument, NULL, NO_WINOGRAD},
    {"tune", no_argument, NULL, TUNE},
    {"filter", required_argument, NULL, FILTER},
    {"seconds", required_argument, NULL, SECONDS},
    {"cold", no_argument, NULL, COLD},
    {"functions", no_argument, NULL, FUNCTIONS},
    {"steps", required_argument, NULL, STEPS},
    {"dataset", required_argument, NULL, DATASET},
    {"data", required_argument, NULL, DATA},
    {"children", required_argument, NULL, CHILDREN},
    {"seed", required_argument, NULL, SEED},
    {"mutation", required_argument, NULL, MUTATION},
    {"help", no_argument, NULL, HELP},
    {"version", no_argument, NULL, VERSION},
    {0},
};

// The command that alone knows a flag; null: all do.
static const struct command *owner_of(int flag) {
  switch (flag) {
  case FILTER:
  case SECONDS:
  case COLD:
  case FUNCTIONS: return &command_kernels;
  case STEPS:
  case DATASET:
  case DATA: return &command_model;
  case CHILDREN:
  case SEED:
  case MUTATION: return &command_child;
  default: return NULL;
  }
}

static const char *flag_name(int flag) {
  const struct option *option = flags;
  while (option->val != flag)
    option++;
  return option->name;
}

static anas_status parse_input(const char *text, struct options *o) {
  long long size[3];
  int end = 0;
  if (sscanf(text, "%lldx%lldx%lld%n", &size[0], &size[1], &size[2], &end) != 3 || text[end] || size[0] < 1 ||
      size[1] < 1 || size[2] < 1)
    return anas_fail(ANAS_INVALID, "--input takes HxWxC, for example 32x32x3, not '%s'", text);
  o->height = size[0];
  o->width = size[1];
  o->channels = size[2];
  return ANAS_OK;
}

static anas_status parse_precision(const char *text, struct options *o) {
  struct anas_cpu_target target;
  ANAS_RETURN_IF_ERROR(anas_cpu_target_init(NULL, &target));
  anas_status status = anas_cpu_target_set_precision(&target, text);
  anas_cpu_target_deinit(&target);
  o->precision = text;
  return status == ANAS_OK ? status : anas_fail_context(status, "--precision: ");
}

static anas_status parse_flag(int flag, const char *text, struct options *o) {
  switch (flag) {
  case INPUT: return parse_input(text, o);
  case CLASSES: return anas_parse_int("--classes", text, 1, INT32_MAX, &o->classes);
  case BATCH: return anas_parse_int("--batch", text, 1, 65536, &o->batch);
  case CPU: return anas_cpu_parse("--cpu", text, true, &o->cpu);
  case PRECISION: return parse_precision(text, o);
  case THREADS: return anas_parse_int("--threads", text, 1, 1024, &o->threads);
  case NO_CACHE: o->no_cache = true; return ANAS_OK;
  case NO_WINOGRAD: o->no_winograd = true; return ANAS_OK;
  case TUNE: o->tune = true; return ANAS_OK;
  case FILTER: o->filter = text; return ANAS_OK;
  case SECONDS: return anas_parse_double("--seconds", text, 0, 3600, &o->seconds);
  case COLD: o->cold = true; return ANAS_OK;
  case FUNCTIONS: o->functions = true; return ANAS_OK;
  case STEPS: return anas_parse_int("--steps", text, 1, 1000000, &o->steps);
  case DATASET: o->dataset = text; return ANAS_OK;
  case DATA: o->data = text; return ANAS_OK;
  case CHILDREN: return anas_parse_int("--children", text, 1, 1000000, &o->children);
  case SEED: return anas_parse_int("--seed", text, 0, INT64_MAX, &o->seed);
  case MUTATION: o->mutation = text; return ANAS_OK;
  default: return anas_fail(ANAS_INVALID, "see anas-bench --help"); // getopt has named the option
  }
}

static anas_status find_command(const char *name, const struct command **out) {
  struct anas_nearest nearest = anas_nearest_make(name, strlen(name));
  char hint[128];
  for (int i = 0; i < NUM_COMMANDS; i++) {
    if (!strcmp(commands[i]->name, name)) {
      *out = commands[i];
      return ANAS_OK;
    }
    anas_nearest_offer(&nearest, commands[i]->name);
  }
  return anas_fail(ANAS_INVALID, "unknown command '%s'%s; commands are kernels, model, threads and child", name,
                   anas_nearest_hint(&nearest, hint));
}

anas_status options_parse(int argc, char **argv, struct options *out, bool *out_exit) {
  struct options o = {.batch = 128, .filter = "", .seconds = 1, .steps = 20, .children = 20, .mutation = ""};
  bool given[VERSION + 1 - FIRST_FLAG] = {0};
  int flag;
  while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
    if (flag == HELP || flag == VERSION) {
      fputs(flag == HELP ? help : "anas-bench " ANAS_VERSION "\n", stdout);
      *out_exit = true;
      return ANAS_OK;
    }
    ANAS_RETURN_IF_ERROR(parse_flag(flag, optarg, &o));
    given[flag - FIRST_FLAG] = true;
  }
  if (optind >= argc) return anas_fail(ANAS_INVALID, "no command given; see anas-bench --help");
  ANAS_RETURN_IF_ERROR(find_command(argv[optind++], &o.command));
  for (flag = FIRST_FLAG; flag <= VERSION; flag++)
    if (given[flag - FIRST_FLAG] && owner_of(flag) && owner_of(flag) != o.command)
      return anas_fail(ANAS_INVALID, "--%s is about anas-bench %s, not %s", flag_name(flag), owner_of(flag)->name,
                       o.command->name);
  o.models = argv + optind;
  o.num_models = argc - optind;
  if (o.command->needs_model && !o.num_models)
    return anas_fail(ANAS_INVALID, "which network? anas-bench %s takes a file or a name that anas-zoo --list shows",
                     o.command->name);
  if (!o.command->needs_model && o.num_models)
    return anas_fail(ANAS_INVALID, "anas-bench %s takes no network; '%s' is too many", o.command->name, o.models[0]);
  if (o.tune && o.no_cache)
    return anas_fail(ANAS_INVALID, "--tune keeps its results in the cache: not with --no-cache");
  if (o.data && !o.dataset) return anas_fail(ANAS_INVALID, "--data is the folder of a data set; add --dataset NAME");
  *out = o;
  return ANAS_OK;
}

struct anas_compile_options options_compile(const struct options *options) {
  return (struct anas_compile_options){
      .batch = options->batch,
      .optimizer = {.momentum = 0.9, .weight_decay = 1e-4},
      .cpu = options->cpu,
      .precision = options->precision,
      .no_cache = options->no_cache,
      .no_winograd = options->no_winograd,
      .tune = options->tune,
  };
}
