// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Command line of anas-train.
#include "tools/anas-train/options.h"

#include "passes/cpu/cpu.h"
#include "runtime/support/parse.h"

#include <float.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "Usage: anas-train MODEL.mlir --dataset NAME [options]\n"
    "\n"
    "Compiles the whole training step of one architecture and trains it. MODEL '-' reads standard input.\n"
    "\n"
    "Data:\n"
    "  --dataset NAME       fashion-mnist, cifar10, or imagefolder: JPEG files in DIR/<class>/, or in\n"
    "                       DIR/train/<class>/ and DIR/val/<class>/, scaled to the model's input\n"
    "  --data DIR           folder of its files (fashion-mnist: Debian's by default)\n"
    "  --limit N            use only N training images\n"
    "  --validation N       training images kept for validation (fashion-mnist 5000, cifar10 10000,\n"
    "                       imagefolder: all of val/, without it a tenth)\n"
    "  --no-augment         no random crops and flips\n"
    "  --no-shuffle         images in the order of the data set in every epoch\n"
    "\n"
    "Training:\n"
    "  --epochs N           passes over the training images (default 1)\n"
    "  --max-steps N        stop after N steps\n"
    "  --batch N            images a step (default 128)\n"
    "  --lr X               peak learning rate (default: sgd 0.05, adam 0.001, rmsprop 0.008)\n"
    "  --warmup X           epochs of linear warm-up (default 0.5)\n"
    "  --schedule NAME      cosine (default), constant or exponential (to 1.2 % of the peak)\n" ANAS_OPTIMIZER_HELP
    "  --seed N             initial values, order, augmentation, dropout (default 0)\n"
    "\n"
    "Weights (safetensors):\n"
    "  --save FILE          write weights and optimizer state at the end of every epoch\n"
    "  --resume             continue from the --save file if it exists\n"
    "  --weights FILE       start from these weights\n"
    "  --eval-only          no training: loss and accuracy of --weights\n"
    "\n"
    "Compilation and machine:\n"
    "  --device NAME        cpu (default), cuda: an NVIDIA GPU, through its driver, or ptxsim: the code of\n"
    "                       cuda, interpreted here; slow, reports races and bad accesses\n"
    "  --precision NAME     of the operands of convolutions and products: f32 (default); cpu: bf16 where that is\n"
    "                       faster, bf16-always wherever it is possible (processors with AVX512_BF16); cuda\n"
    "                       and ptxsim: tf32 or bf16 on tensor cores\n"
    "  --cpu NAME           generate code for this LLVM processor, e.g. x86-64-v3 (default: native)\n"
    "  --threads N          threads of the step (default: $ANAS_NUM_THREADS or all processors)\n"
    "  --no-winograd        3x3 convolutions by direct sums everywhere: slower, smaller rounding errors\n"
    "  --compile-report[=FILE]\n"
    "                       where compile time went, by kernel function: JSON, to standard output without FILE\n"
    "  --tune               measure alternative plans of contractions first and keep the fastest in the cache\n"
    "  --memory-limit SIZE  compute values again instead of keeping them until the process needs at most this\n"
    "                       much: 512M, 4G; an error if that is not enough (cpu only)\n"
    "  --no-cache           compile everything, keep nothing (cache: $ANAS_CACHE_DIR)\n"
    "  --reference          stock loop lowering instead of our kernels: slow, for comparison\n"
    "  --profile            after training, time each kernel function on one thread beside the FMA peak\n"
    "\n"
    "Output:\n"
    "  --json               one JSON object a line; the last one holds the result\n"
    "  --help, --version\n"
    "\n"
    "Examples:\n"
    "  anas-zoo cnn --input 28x28x1 --classes 10 -o cnn.mlir\n"
    "  anas-train cnn.mlir --dataset fashion-mnist --epochs 3 --save cnn.safetensors\n"
    "  anas-train cnn.mlir --dataset fashion-mnist --eval-only --weights cnn.safetensors\n";

enum {
  DATASET = 256,
  DATA,
  LIMIT,
  VALIDATION,
  NO_AUGMENT,
  NO_SHUFFLE,
  EPOCHS,
  MAX_STEPS,
  BATCH,
  LR,
  WARMUP,
  SCHEDULE,
  OPTIMIZER, // and its constants
  SEED,
  SAVE,
  RESUME,
  WEIGHTS,
  EVAL_ONLY,
  DEVICE,
  PRECISION,
  CPU,
  THREADS,
  COMPILE_REPORT,
  TUNE,
  MEMORY_LIMIT,
  NO_CACHE,
  NO_WINOGRAD,
  REFERENCE,
  PROFILE,
  JSON,
  HELP,
  VERSION,
};

static const struct option flags[] = {
    {"dataset", required_argument, NULL, DATASET},
    {"data", required_argument, NULL, DATA},
    {"limit", required_argument, NULL, LIMIT},
    {"validation", required_argument, NULL, VALIDATION},
    {"no-augment", no_argument, NULL, NO_AUGMENT},
    {"no-shuffle", no_argument, NULL, NO_SHUFFLE},
    {"epochs", required_argument, NULL, EPOCHS},
    {"max-steps", required_argument, NULL, MAX_STEPS},
    {"batch", required_argument, NULL, BATCH},
    {"lr", required_argument, NULL, LR},
    {"warmup", required_argument, NULL, WARMUP},
    {"schedule", required_argument, NULL, SCHEDULE},
    ANAS_OPTIMIZER_FLAGS(OPTIMIZER),
    {"seed", required_argument, NULL, SEED},
    {"save", required_argument, NULL, SAVE},
    {"resume", no_argument, NULL, RESUME},
    {"weights", required_argument, NULL, WEIGHTS},
    {"eval-only", no_argument, NULL, EVAL_ONLY},
    {"device", required_argument, NULL, DEVICE},
    {"precision", required_argument, NULL, PRECISION},
    {"cpu", required_argument, NULL, CPU},
    {"threads", required_argument, NULL, THREADS},
    {"compile-report", optional_argument, NULL, COMPILE_REPORT},
    {"tune", no_argument, NULL, TUNE},
    {"memory-limit", required_argument, NULL, MEMORY_LIMIT},
    {"no-cache", no_argument, NULL, NO_CACHE},
    {"no-winograd", no_argument, NULL, NO_WINOGRAD},
    {"reference", no_argument, NULL, REFERENCE},
    {"profile", no_argument, NULL, PROFILE},
    {"json", no_argument, NULL, JSON},
    {"help", no_argument, NULL, HELP},
    {"version", no_argument, NULL, VERSION},
    {0},
};

// index: of the flag, in flags.
static anas_status parse_flag(int flag, int index, const char *text, struct options *o) {
  switch (flag) {
  case DATASET: o->dataset = text; return ANAS_OK;
  case DATA: o->data = text; return ANAS_OK;
  case LIMIT: return anas_parse_int("--limit", text, 1, INT32_MAX, &o->limit);
  case VALIDATION: return anas_parse_int("--validation", text, 1, INT32_MAX, &o->validation);
  case NO_AUGMENT: o->augment = false; return ANAS_OK;
  case NO_SHUFFLE: o->no_shuffle = true; return ANAS_OK;
  case EPOCHS: return anas_parse_int("--epochs", text, 1, 1000000, &o->epochs);
  case MAX_STEPS: return anas_parse_int("--max-steps", text, 1, INT64_MAX, &o->max_steps);
  case BATCH: return anas_parse_int("--batch", text, 1, 65536, &o->batch);
  case LR: return anas_parse_double("--lr", text, 0, 1e6, &o->learning_rate);
  case WARMUP: return anas_parse_double("--warmup", text, 0, 1e6, &o->warmup);
  case SCHEDULE: return anas_schedule_parse("--schedule", text, &o->schedule);
  case OPTIMIZER: return anas_optimizer_set(&o->optimizer, flags[index].name, text);
  case SEED: return anas_parse_int("--seed", text, 0, INT64_MAX, &o->seed);
  case SAVE: o->save = text; return ANAS_OK;
  case RESUME: o->resume = true; return ANAS_OK;
  case WEIGHTS: o->weights = text; return ANAS_OK;
  case EVAL_ONLY: o->eval_only = true; return ANAS_OK;
  case DEVICE: o->device = text; return ANAS_OK;
  case PRECISION: o->precision = text; return ANAS_OK;
  case CPU: return anas_cpu_parse("--cpu", text, true, &o->compile_cpu);
  case THREADS: return anas_parse_int("--threads", text, 1, 1024, &o->threads);
  case COMPILE_REPORT:
    o->compile_report = true;
    o->report_path = text;
    return ANAS_OK;
  case TUNE: o->tune = true; return ANAS_OK;
  case MEMORY_LIMIT: return anas_parse_bytes("--memory-limit", text, &o->memory_limit);
  case NO_CACHE: o->no_cache = true; return ANAS_OK;
  case NO_WINOGRAD: o->no_winograd = true; return ANAS_OK;
  case REFERENCE: o->reference = true; return ANAS_OK;
  case PROFILE: o->profile = true; return ANAS_OK;
  case JSON: o->json = true; return ANAS_OK;
  default: return anas_fail(ANAS_INVALID, "see anas-train --help");
  }
}

// Before anything is read or compiled.
static anas_status check_precision(const struct options *o) {
  struct anas_cpu_target target;
  ANAS_RETURN_IF_ERROR(anas_cpu_target_init(o->compile_cpu, &target));
  anas_status status = anas_cpu_target_set_precision(&target, o->precision);
  if (status == ANAS_OK && target.bf16 && o->reference)
    status = anas_fail(ANAS_INVALID, "bf16 is about our kernels, not about --reference");
  anas_cpu_target_deinit(&target);
  return status == ANAS_OK ? status : anas_fail_context(status, "--precision: ");
}

static anas_status check(const struct options *o) {
  if (!o->model) return anas_fail(ANAS_INVALID, "no model given; see anas-train --help");
  if (!o->dataset)
    return anas_fail(ANAS_INVALID, "--dataset is required; known are fashion-mnist, cifar10 and imagefolder");
  if (strcmp(o->device, "cpu") && strcmp(o->device, "cuda") && strcmp(o->device, "ptxsim"))
    return anas_fail(ANAS_INVALID, "--device: '%s' is not cpu, cuda or ptxsim", o->device);
  if (o->on_device && (o->profile || o->reference || o->tune || o->compile_report))
    return anas_fail(ANAS_UNSUPPORTED, "--%s is about --device cpu",
                     o->profile     ? "profile"
                     : o->reference ? "reference"
                     : o->tune      ? "tune"
                                    : "compile-report");
  if (o->tune && (o->no_cache || o->reference))
    return anas_fail(ANAS_INVALID, "--tune keeps its results in the cache of our kernels: not with --%s",
                     o->no_cache ? "no-cache" : "reference");
  if (o->on_device && o->memory_limit) return anas_fail(ANAS_UNSUPPORTED, "--memory-limit is about --device cpu");
  if (o->precision && !o->on_device) ANAS_RETURN_IF_ERROR(check_precision(o));
  if (o->eval_only && !o->weights) return anas_fail(ANAS_INVALID, "--eval-only needs --weights FILE");
  if (o->resume && !o->save) return anas_fail(ANAS_INVALID, "--resume needs --save FILE, the file to continue from");
  return ANAS_OK;
}

anas_status options_parse(int argc, char **argv, struct options *out, bool *out_exit) {
  struct options o = {
      .device = "cpu",
      .augment = true,
      .epochs = 1,
      .batch = 128,
      .validation = -1,
      .learning_rate = -1,
      .warmup = 0.5,
      .optimizer = anas_optimizer_unset(),
  };
  int flag, index = 0;
  while ((flag = getopt_long(argc, argv, "", flags, &index)) != -1) {
    if (flag == HELP || flag == VERSION) {
      fputs(flag == HELP ? help : "anas-train " ANAS_VERSION "\n", stdout);
      *out_exit = true;
      return ANAS_OK;
    }
    ANAS_RETURN_IF_ERROR(parse_flag(flag, index, optarg, &o));
  }
  if (optind < argc) o.model = argv[optind++];
  if (optind < argc) return anas_fail(ANAS_INVALID, "unexpected argument '%s'", argv[optind]);
  o.on_device = strcmp(o.device, "cpu") != 0;
  ANAS_RETURN_IF_ERROR(anas_optimizer_resolve(&o.optimizer));
  if (o.learning_rate < 0) o.learning_rate = anas_optimizer_usual_rate(o.optimizer.kind);
  ANAS_RETURN_IF_ERROR(check(&o));
  *out = o;
  return ANAS_OK;
}
