// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-run-bundle: trains from a bundle of anas-export. Links nothing of the compiler.
#include "runtime/device/program.h"
#include "runtime/init.h"
#include "runtime/support/memory.h"
#include "runtime/support/parse.h"
#include "runtime/team.h"
#include "runtime/trainer.h"
#include "runtime/weights.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "OVERVIEW: anas bundle runner\n"
    "\n"
    "USAGE: anas-run-bundle FILE.bundle --dataset NAME [options]\n"
    "       anas-run-bundle FILE.bundle --synthetic [options]\n"
    "\n"
    "Trains a network that anas-export compiled, on a GPU; the same seed gives the run of anas-train. Prints one JSON\n"
    "object a line.\n"
    "\n"
    "DATA:\n"
    "  --dataset NAME      fashion-mnist, cifar10 or imagefolder\n"
    "  --data DIR          folder of its files\n"
    "  --limit N           use only N training images\n"
    "  --validation N      training images kept for validation\n"
    "  --synthetic         random images of the bundle's size and random labels instead, drawn from --seed\n"
    "  --no-augment        no random crops and flips\n"
    "\n"
    "TRAINING:\n"
    "  --epochs N, --max-steps N, --lr X, --warmup X, --schedule NAME, --seed N as in anas-train\n"
    "  --dump FILE         write the tensors after the last step (safetensors)\n"
    "\n"
    "MEASURING:\n"
    "  --time N            after training, launch the step N times and report the time of one\n"
    "  --profile N         then time each kernel, mean of N steps\n"
    "\n"
    "GENERAL:\n"
    "  --device NAME       cuda (default), or ptxsim: an interpreter of the same PTX on this machine's processors "
    "that\n"
    "                      reports races and bad accesses, slow\n"
    "  --gpu N             which GPU (default 0)\n"
    "  --help, --version\n";

struct settings {
  const char *bundle, *dataset, *data, *dump, *device;
  bool synthetic;
  int64_t limit, validation, time, profile, gpu;
  struct anas_train_options train;
  int64_t seed;
};

struct session {
  struct settings settings;
  struct anas_dataset *dataset;
  struct anas_device *device;
  struct anas_program *program;
};

// ---- synthetic data: what a data set of the format would be

static void draw_images(const struct anas_program_image *info, int64_t count, struct anas_rng *rng,
                        struct anas_images *out) {
  size_t bytes = (size_t)(count * info->height * info->width * info->channels);
  *out = (struct anas_images){.pixels = anas_alloc(bytes + 8),
                              .labels = anas_calloc((size_t)count, sizeof(int32_t)),
                              .count = count,
                              .height = info->height,
                              .width = info->width,
                              .channels = info->channels};
  for (size_t i = 0; i < bytes; i += 8) {
    uint64_t word = anas_rng_u64(rng);
    memcpy(out->pixels + i, &word, 8);
  }
  for (int64_t i = 0; i < count; i++)
    out->labels[i] = (int32_t)anas_rng_below(rng, (uint64_t)info->classes);
}

static struct anas_dataset *draw_dataset(const struct anas_program_image *info, uint64_t seed) {
  struct anas_dataset *dataset = anas_alloc(sizeof *dataset);
  struct anas_rng root = anas_rng_make(seed), rng = anas_rng_split_name(&root, "synthetic");
  *dataset = (struct anas_dataset){.name = "synthetic", .classes = info->classes, .flip = true};
  draw_images(info, 4 * info->batch, &rng, &dataset->train);
  draw_images(info, info->batch, &rng, &dataset->validation);
  for (int c = 0; c < 4; c++) {
    dataset->mean[c] = 0.5f;
    dataset->std[c] = 0.2887f;
  }
  return dataset;
}

// ---- running

static bool print_progress(const struct anas_progress *p, void *user) {
  (void)user;
  printf("{\"event\":\"step\",\"step\":%lld,\"loss\":%.9g,\"learning_rate\":%.9g", (long long)p->step, p->loss,
         p->learning_rate);
  if (p->epoch_done) printf(",\"val_loss\":%.9g,\"val_accuracy\":%.9g", p->val_loss, p->val_accuracy);
  printf("}\n");
  fflush(stdout);
  return true;
}

static anas_status print_profile(struct session *session) {
  const struct anas_device_program *program = anas_device_program_of(session->program);
  double *seconds = anas_calloc((size_t)program->num_functions, sizeof *seconds);
  anas_status status = anas_device_program_profile(session->program, (int)session->settings.profile, seconds);
  for (int f = 0; f < program->num_functions && status == ANAS_OK; f++)
    if (seconds[f] > 0)
      printf("{\"event\":\"kernel\",\"function\":\"%s\",\"kind\":\"%s\",\"microseconds\":%.2f}\n",
             program->functions[f].symbol, program->functions[f].kind, seconds[f] * 1e6);
  free(seconds);
  return status;
}

static double contraction_flops(const struct anas_program_image *info) {
  double flops = 0;
  for (int k = 0; k < info->num_kernels; k++)
    if (!strncmp(info->kernels[k].kind, "conv", 4) || !strncmp(info->kernels[k].kind, "dense", 5))
      flops += info->kernels[k].flops * info->kernels[k].calls;
  return flops;
}

static anas_status print_time(struct session *session) {
  const struct anas_program_image *info = anas_program_info(session->program);
  int steps = (int)session->settings.time;
  double seconds, best = INFINITY;
  ANAS_RETURN_IF_ERROR(anas_device_program_time(session->program, steps < 3 ? steps : 3, &seconds)); // warm up
  for (int i = 0; i < 5; i++) {
    ANAS_RETURN_IF_ERROR(anas_device_program_time(session->program, steps, &seconds));
    if (seconds < best) best = seconds;
  }
  printf("{\"event\":\"time\",\"batch\":%lld,\"milliseconds\":%.4f,\"best_milliseconds\":%.4f,"
         "\"images_per_second\":%.0f,\"contraction_gflop\":%.2f,\"launches\":%zu}\n",
         (long long)info->batch, seconds * 1e3, best * 1e3, (double)info->batch / seconds,
         contraction_flops(info) / 1e9, anas_device_program_of(session->program)->num_launches[ANAS_ENTRY_TRAIN_STEP]);
  return ANAS_OK;
}

static anas_status run(struct session *session) {
  const struct settings *settings = &session->settings;
  struct anas_device_program bundle;
  ANAS_RETURN_IF_ERROR(anas_bundle_read(settings->bundle, &bundle));
  anas_status status = anas_device_open(settings->device, (int)settings->gpu, &session->device);
  if (status == ANAS_OK) status = anas_device_program_load(&bundle, session->device, &session->program);
  if (status != ANAS_OK) {
    anas_device_program_deinit(&bundle);
    return status;
  }
  const struct anas_program_image *info = anas_program_info(session->program);
  printf("{\"event\":\"loaded\",\"device\":\"%s\",\"batch\":%lld,\"kernels\":%d}\n",
         session->device->ops->describe(session->device->state), (long long)info->batch, info->num_kernels);
  const struct anas_dataset_options data = {.directory = settings->data,
                                            .validation_count = settings->validation,
                                            .limit = settings->limit,
                                            .height = info->height,
                                            .width = info->width};
  if (settings->synthetic)
    session->dataset = draw_dataset(info, settings->train.seed);
  else
    ANAS_RETURN_IF_ERROR(anas_dataset_open(settings->dataset, &data, &session->dataset));
  ANAS_RETURN_IF_ERROR(anas_init_params(info, settings->train.seed, anas_program_params(session->program)));
  struct anas_train_result result;
  ANAS_RETURN_IF_ERROR(anas_train(session->program, session->dataset, &settings->train, print_progress, NULL, &result));
  printf("{\"event\":\"result\",\"val_accuracy\":%.9g,\"val_loss\":%.9g,\"images_per_second\":%.1f,\"seconds\":%.2f}\n",
         result.val_accuracy, result.val_loss, result.images_per_second, result.seconds);
  if (settings->dump)
    ANAS_RETURN_IF_ERROR(anas_weights_save(settings->dump, info, anas_program_params(session->program), true, NULL));
  ANAS_RETURN_IF_ERROR(anas_program_status(session->program));
  if (settings->time) ANAS_RETURN_IF_ERROR(print_time(session));
  return settings->profile ? print_profile(session) : ANAS_OK;
}

// ---- command line

enum {
  DATASET = 256,
  DATA,
  LIMIT,
  VALIDATION,
  SYNTHETIC,
  NO_AUGMENT,
  EPOCHS,
  MAX_STEPS,
  LR,
  WARMUP,
  SCHEDULE,
  SEED,
  DUMP,
  TIME,
  PROFILE,
  DEVICE,
  GPU,
  HELP,
  VERSION
};
static const struct option flags[] = {
    {"dataset", required_argument, NULL, DATASET},
    {"data", required_argument, NULL, DATA},
    {"limit", required_argument, NULL, LIMIT},
    {"validation", required_argument, NULL, VALIDATION},
    {"synthetic", no_argument, NULL, SYNTHETIC},
    {"no-augment", no_argument, NULL, NO_AUGMENT},
    {"epochs", required_argument, NULL, EPOCHS},
    {"max-steps", required_argument, NULL, MAX_STEPS},
    {"lr", required_argument, NULL, LR},
    {"warmup", required_argument, NULL, WARMUP},
    {"schedule", required_argument, NULL, SCHEDULE},
    {"seed", required_argument, NULL, SEED},
    {"dump", required_argument, NULL, DUMP},
    {"time", required_argument, NULL, TIME},
    {"profile", required_argument, NULL, PROFILE},
    {"device", required_argument, NULL, DEVICE},
    {"gpu", required_argument, NULL, GPU},
    {"help", no_argument, NULL, HELP},
    {"version", no_argument, NULL, VERSION},
    {NULL, 0, NULL, 0},
};

static anas_status parse_flag(int flag, const char *text, struct settings *s) {
  switch (flag) {
  case DATASET: s->dataset = text; return ANAS_OK;
  case DATA: s->data = text; return ANAS_OK;
  case LIMIT: return anas_parse_int("--limit", text, 1, INT32_MAX, &s->limit);
  case VALIDATION: return anas_parse_int("--validation", text, 1, INT32_MAX, &s->validation);
  case SYNTHETIC: s->synthetic = true; return ANAS_OK;
  case NO_AUGMENT: s->train.augment = false; return ANAS_OK;
  case EPOCHS: return anas_parse_int("--epochs", text, 1, 1000000, &s->train.epochs);
  case MAX_STEPS: return anas_parse_int("--max-steps", text, 1, INT64_MAX, &s->train.max_steps);
  case LR: return anas_parse_double("--lr", text, 0, 1e6, &s->train.learning_rate);
  case WARMUP: return anas_parse_double("--warmup", text, 0, 1e6, &s->train.warmup_epochs);
  case SCHEDULE: return anas_schedule_parse("--schedule", text, &s->train.schedule);
  case SEED: return anas_parse_int("--seed", text, 0, INT64_MAX, &s->seed);
  case DUMP: s->dump = text; return ANAS_OK;
  case TIME: return anas_parse_int("--time", text, 1, 1000000, &s->time);
  case PROFILE: return anas_parse_int("--profile", text, 1, 1000, &s->profile);
  case DEVICE: s->device = text; return ANAS_OK;
  case GPU: return anas_parse_int("--gpu", text, 0, 1024, &s->gpu);
  default: return anas_fail(ANAS_INVALID, "see anas-run-bundle --help");
  }
}

static anas_status parse(int argc, char **argv, struct settings *s, bool *out_exit) {
  *s = (struct settings){
      .device = "cuda",
      .validation = -1,
      .train = {
          .epochs = 1, .learning_rate = 0.05, .warmup_epochs = 0.5, .schedule = ANAS_SCHEDULE_COSINE, .augment = true}};
  for (int flag; (flag = getopt_long(argc, argv, "", flags, NULL)) != -1;) {
    if (flag == HELP || flag == VERSION) {
      fputs(flag == HELP ? help : "anas-run-bundle " ANAS_VERSION "\n", stdout);
      *out_exit = true;
      return ANAS_OK;
    }
    ANAS_RETURN_IF_ERROR(parse_flag(flag, optarg, s));
  }
  s->train.seed = (uint64_t)s->seed;
  if (optind < argc) s->bundle = argv[optind++];
  if (optind < argc) return anas_fail(ANAS_INVALID, "unexpected argument '%s'", argv[optind]);
  if (!s->bundle) return anas_fail(ANAS_INVALID, "no bundle given; see anas-run-bundle --help");
  if (!s->dataset && !s->synthetic)
    return anas_fail(ANAS_INVALID, "--dataset NAME or --synthetic is required; known are fashion-mnist and cifar10");
  return ANAS_OK;
}

int main(int argc, char **argv) {
  struct session session = {0};
  bool done = false;
  anas_status status = parse(argc, argv, &session.settings, &done);
  if (status == ANAS_OK && !done) status = run(&session);
  if (status != ANAS_OK) fprintf(stderr, "anas-run-bundle: error: %s\n", anas_error_message());
  anas_program_destroy(session.program);
  anas_device_close(session.device);
  anas_dataset_close(session.dataset);
  anas_team_shutdown();
  return status == ANAS_OK ? 0 : 1;
}
