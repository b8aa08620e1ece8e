// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-bench kernels: the speed of every distinct convolution and product of the training steps of some networks, on
// one thread and on all, beside oneDNN and OpenBLAS. Alternatives take turns, so that whatever else the machine does
// meets all of them. With --functions, the kernel functions of whole steps instead.
#include "tools/anas-bench/layer.h"
#include "tools/anas-bench/peer.h"

#include "dialect/context.h"
#include "passes/lower/lower.h"
#include "runtime/profile.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/team.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 5
#define EVICT_BYTES ((size_t)96 << 20)

// ---- alternatives

// OURS in f32, and with --precision bf16 also in that. CHOSEN: if it is another primitive of oneDNN than DIRECT.
enum { OURS, OURS_BF16, DIRECT, CHOSEN, PRODUCT, NUM_SIDES };

struct contest {
  const struct options *options;
  double peak;
  char *evict; // memory to walk over before every run; null: caches stay as they are
  // Second index of everything: [0] one thread, [1] all.
  struct anas_program *program[2];      // of OURS and OURS_BF16
  struct dnnl_conv *conv[NUM_SIDES][2]; // of DIRECT and CHOSEN
  struct blas_product *product[2];
  struct samples seconds[NUM_SIDES][2], packing[2];
};

static bool takes_part(const struct contest *contest, int side) {
  return side == OURS || (side == OURS_BF16 && contest->program[side]) || contest->conv[side][0] ||
         (side == PRODUCT && contest->product[0]);
}

static bool is_packing(const struct anas_kernel *kernel) {
  return !strncmp(kernel->kind, "pack", 4);
}

// Seconds of the computing kernel functions; operands are packed in the same run, but oneDNN's come packed.
static void run_ours(struct contest *contest, int side, int team) {
  struct anas_program *program = contest->program[side];
  const struct anas_program_image *info = anas_program_info(program);
  double computing = 0, packing = 0, seconds;
  int64_t calls;
  anas_program_profile(program, true);
  anas_program_train_step(program);
  for (int k = 0; k < info->num_kernels; k++) {
    anas_program_profile_get(program, k, &seconds, &calls);
    *(is_packing(&info->kernels[k]) ? &packing : &computing) += seconds;
  }
  anas_program_profile(program, false);
  samples_add(&contest->seconds[side][team], computing);
  if (side == OURS) samples_add(&contest->packing[team], packing);
}

static void run_side(struct contest *contest, int side, int team) {
  if (contest->evict)
    for (size_t i = 0; i < EVICT_BYTES; i += 64)
      contest->evict[i]++;
  double (*now)(void) = team ? anas_now : anas_thread_time, start = now();
  switch (side) {
  case OURS:
  case OURS_BF16: run_ours(contest, side, team); return;
  case PRODUCT: blas_product_run(contest->product[team]); break;
  default: dnnl_conv_run(contest->conv[side][team]);
  }
  samples_add(&contest->seconds[side][team], now() - start);
}

// Runs a side for some time. The first run finds the caches as another side left them and is not counted.
static void take_turn(struct contest *contest, int side, int team, double seconds) {
  double start = anas_now();
  size_t kept = contest->seconds[side][team].count, packed = contest->packing[team].count;
  run_side(contest, side, team);
  contest->seconds[side][team].count = kept;
  contest->packing[team].count = packed;
  do
    run_side(contest, side, team);
  while (anas_now() - start < seconds);
}

static void compete(struct contest *contest) {
  int threads = anas_team_size(), sides = 0;
  for (int side = 0; side < NUM_SIDES; side++)
    sides += takes_part(contest, side);
  for (int round = 0; round < ROUNDS; round++)
    for (int turn = 0; turn < 2 * NUM_SIDES; turn++) {
      int team = turn / NUM_SIDES, side = turn % NUM_SIDES;
      if (!takes_part(contest, side)) continue;
      anas_team_set_size(team ? threads : 1);
      take_turn(contest, side, team, contest->options->seconds / (2 * ROUNDS * sides));
    }
  anas_team_set_size(threads);
}

// ---- one layer

static anas_status compile_layer(const struct layer *layer, const struct options *options, const char *precision,
                                 MlirContext context, struct anas_program **out) {
  MlirModule module;
  struct anas_program_image image;
  struct anas_compile_options compile = options_compile(options);
  compile.precision = precision;
  ANAS_RETURN_IF_ERROR(anas_parse(context, layer->program, strlen(layer->program), layer->name, &module));
  anas_status status = anas_lower_to_kernels(module);
  if (status == ANAS_OK) status = anas_compile_kernels(module, &compile, &image);
  mlirModuleDestroy(module);
  ANAS_RETURN_IF_ERROR(status);
  ANAS_RETURN_IF_ERROR(anas_program_load(&image, out));
  fill_floats(anas_program_params(*out), anas_program_info(*out)->params_bytes);
  return ANAS_OK;
}

// Ratios of a kind, for the summary: to the direct algorithm or the product, and to the best of the other library.
struct ratios {
  double log_sum, lowest;
};
struct group {
  char *kind;
  int layers, compared;
  double peak_sum;
  struct ratios direct[2], best[2];
};

static void add_ratio(struct ratios *ratios, bool first, double ratio) {
  ratios->log_sum += log(ratio);
  if (first || ratio < ratios->lowest) ratios->lowest = ratio;
}

static json_t *speeds(double flops, const double seconds[2]) {
  return json_pack("{s:o, s:o, s:o, s:o}", "gflops_1", json_rate(flops / seconds[0] / 1e9), "gflops",
                   json_rate(flops / seconds[1] / 1e9), "ms_1", json_rate(seconds[0] * 1e3), "ms",
                   json_rate(seconds[1] * 1e3));
}

// What the computing kernel functions do, one after the other.
static json_t *plans(const struct anas_program *program) {
  const struct anas_program_image *info = anas_program_info(program);
  json_t *list = json_array();
  for (int k = 0; k < info->num_kernels; k++)
    if (!is_packing(&info->kernels[k])) json_array_append_new(list, json_string(info->objects[k].plan));
  return list;
}

static void report_layer(const struct layer *layer, struct contest *contest, struct group *group) {
  static const char *const names[NUM_SIDES] = {"ours", "ours_bf16", "onednn_direct", "onednn_chosen", "openblas"};
  double seconds[NUM_SIDES][2], rival[2] = {0}, best[2] = {0};
  json_t *line = json_pack("{s:s, s:s, s:s, s:s, s:i, s:f}", "bench", "layer", "kind", layer->kind, "layer",
                           layer->name, "model", layer->model, "uses", layer->uses, "gflop", layer->flops / 1e9);
  for (int side = 0; side < NUM_SIDES; side++) {
    if (!takes_part(contest, side)) continue;
    for (int team = 0; team < 2; team++) {
      double median = seconds[side][team] = samples_median(&contest->seconds[side][team]);
      if (side == OURS || side == OURS_BF16) continue;
      if (side != CHOSEN) rival[team] = median;
      if (!(best[team] > 0) || median < best[team]) best[team] = median;
    }
    json_t *speed = speeds(layer->flops, seconds[side]);
    if (side <= OURS_BF16) json_object_set_new(speed, "plans", plans(contest->program[side]));
    if (side == OURS) {
      double peak = layer->flops / seconds[OURS][0] / 1e9 / contest->peak;
      json_object_set_new(speed, "peak_1", json_real(peak));
      json_object_set_new(speed, "packing_ms_1", json_real(samples_median(&contest->packing[0]) * 1e3));
      json_object_set_new(speed, "packing_ms", json_real(samples_median(&contest->packing[1]) * 1e3));
      group->peak_sum += peak;
    } else if (side == OURS_BF16) {
      json_object_set_new(line, "ratio_bf16_1", json_real(seconds[OURS][0] / seconds[side][0]));
      json_object_set_new(line, "ratio_bf16", json_real(seconds[OURS][1] / seconds[side][1]));
    } else if (side != PRODUCT) {
      json_object_set_new(speed, "implementation", json_string(dnnl_conv_implementation(contest->conv[side][0])));
    }
    json_object_set_new(line, names[side], speed);
  }
  static const char *const keys[2][2] = {{"ratio_1", "ratio_best_1"}, {"ratio", "ratio_best"}};
  for (int team = 0; team < 2; team++) {
    bool compared = rival[team] > 0;
    double direct = rival[team] / seconds[OURS][team], all = best[team] / seconds[OURS][team];
    json_object_set_new(line, keys[team][0], compared ? json_real(direct) : json_null());
    json_object_set_new(line, keys[team][1], compared ? json_real(all) : json_null());
    if (!compared) continue;
    add_ratio(&group->direct[team], !group->compared, direct);
    add_ratio(&group->best[team], !group->compared, all);
  }
  group->layers++;
  group->compared += rival[1] > 0;
  json_object_set_new(line, "load", json_real(load_average()));
  print_json(line);
}

static void open_peers(const struct layer *layer, struct contest *contest) {
  for (int team = 0; team < 2; team++) {
    int threads = team ? anas_team_size() : 1;
    contest->conv[DIRECT][team] = dnnl_conv_create(layer, false, threads);
    contest->conv[CHOSEN][team] = dnnl_conv_create(layer, true, threads);
    contest->product[team] = blas_product_create(layer, threads);
  }
  struct dnnl_conv **direct = contest->conv[DIRECT], **chosen = contest->conv[CHOSEN];
  if (!chosen[0] || !direct[0] || strcmp(dnnl_conv_implementation(direct[0]), dnnl_conv_implementation(chosen[0])))
    return;
  for (int team = 0; team < 2; team++) {
    dnnl_conv_destroy(chosen[team]);
    chosen[team] = NULL;
  }
}

static void close_peers(struct contest *contest) {
  for (int team = 0; team < 2; team++) {
    for (int side = 0; side < NUM_SIDES; side++) {
      dnnl_conv_destroy(contest->conv[side][team]);
      contest->conv[side][team] = NULL;
      samples_deinit(&contest->seconds[side][team]);
    }
    blas_product_destroy(contest->product[team]);
    contest->product[team] = NULL;
    samples_deinit(&contest->packing[team]);
  }
}

static void close_programs(struct contest *contest) {
  for (int side = OURS; side <= OURS_BF16; side++) {
    anas_program_destroy(contest->program[side]);
    contest->program[side] = NULL;
  }
}

static anas_status bench_layer(const struct layer *layer, struct contest *contest, MlirContext context,
                               struct group *group) {
  const char *precision = contest->options->precision;
  ANAS_RETURN_IF_ERROR(compile_layer(layer, contest->options, NULL, context, &contest->program[OURS]));
  if (precision && strcmp(precision, "f32") != 0)
    ANAS_RETURN_IF_ERROR(compile_layer(layer, contest->options, precision, context, &contest->program[OURS_BF16]));
  open_peers(layer, contest);
  compete(contest);
  report_layer(layer, contest, group);
  close_peers(contest);
  close_programs(contest);
  return ANAS_OK;
}

// ---- all layers

static struct group *find_group(struct group *groups, int *count, const char *kind) {
  for (int i = 0; i < *count; i++)
    if (!strcmp(groups[i].kind, kind)) return &groups[i];
  groups[*count] = (struct group){.kind = anas_strdup(kind)};
  return &groups[(*count)++];
}

static void report_groups(struct group *groups, int count) {
  for (int i = 0; i < count; i++) {
    const struct group *g = &groups[i];
    json_t *line = json_pack("{s:s, s:s, s:i, s:f}", "bench", "layer-summary", "kind", g->kind, "layers", g->layers,
                             "mean_peak_1", g->peak_sum / g->layers);
    static const char *const names[2][4] = {
        {"geomean_ratio_1", "lowest_ratio_1", "geomean_ratio_best_1", "lowest_ratio_best_1"},
        {"geomean_ratio", "lowest_ratio", "geomean_ratio_best", "lowest_ratio_best"}};
    for (int team = 0; team < 2; team++)
      for (int best = 0; best < 2; best++) {
        const struct ratios *ratios = best ? &g->best[team] : &g->direct[team];
        json_object_set_new(line, names[team][2 * best],
                            g->compared ? json_real(exp(ratios->log_sum / g->compared)) : json_null());
        json_object_set_new(line, names[team][2 * best + 1], g->compared ? json_real(ratios->lowest) : json_null());
      }
    print_json(line);
    free(groups[i].kind);
  }
}

static anas_status collect(const struct options *options, MlirContext context, struct layers *layers) {
  for (int i = 0; i < options->num_models; i++) {
    MlirModule module;
    ANAS_RETURN_IF_ERROR(load_model(options, options->models[i], context, &module));
    char *name = model_name(options->models[i]);
    anas_status status = anas_build_train_step(module, options->batch, 0.9, 1e-4);
    if (status == ANAS_OK) status = layers_collect(layers, module, name);
    free(name);
    mlirModuleDestroy(module);
    ANAS_RETURN_IF_ERROR(status);
  }
  return ANAS_OK;
}

static anas_status bench_layers(const struct options *options, MlirContext context, double peak) {
  struct layers layers = {0};
  struct contest contest = {.options = options, .peak = peak};
  anas_status status = collect(options, context, &layers);
  struct group *groups = anas_calloc((size_t)layers.count + 1, sizeof *groups);
  int num_groups = 0;
  if (options->cold) contest.evict = huge_alloc(EVICT_BYTES);
  for (int i = 0; i < layers.count && status == ANAS_OK; i++) {
    const struct layer *layer = &layers.items[i];
    if (strstr(layer->kind, options->filter) || strstr(layer->name, options->filter))
      status = bench_layer(layer, &contest, context, find_group(groups, &num_groups, layer->kind));
  }
  if (status == ANAS_OK && !num_groups)
    status =
        anas_fail(ANAS_NOT_FOUND, "none of the %d layers has '%s' in its kind or name", layers.count, options->filter);
  report_groups(groups, num_groups);
  close_programs(&contest);
  huge_free(contest.evict);
  free(groups);
  layers_deinit(&layers);
  return status;
}

// ---- kernel functions of whole steps

static const struct anas_profile_row *find_row(const struct anas_profile_row *rows, int count,
                                               const struct anas_kernel *kernel) {
  for (int i = 0; i < count; i++)
    if (rows[i].kernel == kernel) return &rows[i];
  return NULL;
}

static void report_functions(const char *model, struct anas_program *program, const struct options *options,
                             double peak) {
  struct anas_profile_row *one, *team;
  int count = anas_profile_steps(program, ROUNDS, 1, &one);
  int team_count = anas_profile_steps(program, ROUNDS, anas_team_size(), &team);
  for (int i = 0; i < count; i++) {
    const struct anas_profile_row *row = &one[i], *other = find_row(team, team_count, row->kernel);
    if (!strstr(row->kernel->kind, options->filter) && !strstr(row->kernel->symbol, options->filter)) continue;
    json_t *line = json_pack("{s:s, s:s, s:s, s:s, s:i, s:f, s:f, s:f, s:f}", "bench", "function", "model", model,
                             "kind", row->kernel->kind, "function", row->kernel->symbol, "calls", row->kernel->calls,
                             "ms_1", row->seconds * 1e3, "ms", other ? other->seconds * 1e3 : 0.0, "gbytes_1",
                             row->gbytes, "gbytes", other ? other->gbytes : 0.0);
    if (row->contraction) {
      json_object_set_new(line, "gflops_1", json_real(row->gflops));
      json_object_set_new(line, "gflops", json_real(other ? other->gflops : 0.0));
      json_object_set_new(line, "peak_1", json_real(row->gflops / peak));
    }
    print_json(line);
  }
  free(one);
  free(team);
}

static anas_status bench_functions(const struct options *options, MlirContext context, double peak) {
  for (int i = 0; i < options->num_models; i++) {
    MlirModule module;
    struct anas_program_image image;
    struct anas_program *program;
    struct anas_compile_options compile = options_compile(options);
    ANAS_RETURN_IF_ERROR(load_model(options, options->models[i], context, &module));
    anas_status status = anas_compile(module, &compile, &image);
    mlirModuleDestroy(module);
    ANAS_RETURN_IF_ERROR(status);
    ANAS_RETURN_IF_ERROR(anas_program_load(&image, &program));
    status = start_program(program);
    char *name = model_name(options->models[i]);
    if (status == ANAS_OK) report_functions(name, program, options, peak);
    free(name);
    anas_program_destroy(program);
    ANAS_RETURN_IF_ERROR(status);
  }
  return ANAS_OK;
}

static anas_status run(const struct options *options) {
  struct anas_cpu_target host;
  ANAS_RETURN_IF_ERROR(anas_cpu_target_init(NULL, &host));
  peers_set_environment(host.lanes);
  anas_cpu_target_deinit(&host);
  double peak;
  ANAS_RETURN_IF_ERROR(print_machine(options, &peak));
  const char *dnnl = dnnl_describe(), *blas = blas_describe();
  if (!options->functions)
    print_json(json_pack("{s:s, s:s?, s:s?, s:b}", "bench", "libraries", "oneDNN", dnnl, "OpenBLAS", blas, "cold",
                         options->cold));
  MlirContext context = anas_context_create(false);
  anas_status status =
      options->functions ? bench_functions(options, context, peak) : bench_layers(options, context, peak);
  mlirContextDestroy(context);
  return status;
}

const struct command command_kernels = {
    .name = "kernels",
    .summary = "convolutions and products of networks beside oneDNN and OpenBLAS, or all kernel functions",
    .needs_model = true,
    .run = run,
};
