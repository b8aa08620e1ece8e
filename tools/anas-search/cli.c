// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Options of a search: command line, help, and the JSON form that the study keeps.
#include "passes/cpu/cpu.h"
#include "passes/search/pareto.h"
#include "tools/anas-search/command.h"
#include "tools/anas-search/evaluators/evaluator.h"
#include "tools/anas-search/measure.h"
#include "tools/anas-search/pruners/pruner.h"
#include "tools/anas-search/target.h"

#include "runtime/support/memory.h"
#include "runtime/support/nearest.h"
#include "runtime/support/parse.h"

#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum kind { TEXT, PROCESSOR, INTEGER, WORKERS, SEED, REAL, DURATION, BYTES, SWITCH, OBJECTIVE, CONSTRAINT };

struct flag {
  const char *name, *metavar;
  enum kind kind;
  size_t offset;
  double low, high; // of numbers
  const char *doc;
};

struct group {
  const char *title;
  bool stored; // part of the study
  const struct flag *flags;
};

#define AT(member) offsetof(struct search_options, member)

static const struct flag what[] = {
    {"model", "NAME", TEXT, AT(model_name), 0, 0,
     "start from a network of the zoo instead of a file (anas-zoo --list)"},
    {"dataset", "NAME", TEXT, AT(dataset), 0, 0, "fashion-mnist, cifar10 or imagefolder"},
    {"data", "DIR", TEXT, AT(data_directory), 0, 0, "where the data set is (default: the system's place)"},
    {"limit", "N", INTEGER, AT(limit), 0, 1e12, "use only N training images (default 0: all)"},
    {"validation", "N", INTEGER, AT(validation), -1, 1e12,
     "hold out the last N training images (default -1: the set's rule)"},
    {"objective", "METRIC:max|min", OBJECTIVE, 0, 0, 0,
     "what to optimise, repeatable, see Metrics (default accuracy:max params:min)"},
    {"constraint", "'EXPR'", CONSTRAINT, 0, 0, 0,
     "never train a candidate that breaks this, repeatable: 'params < 0.5*seed.params and planned_bytes < 200MiB'"},
    {"metrics", "NAMES", TEXT, AT(metrics), 0, 0,
     "measure these too, e.g. snip,naswot, though no objective or constraint is about them"},
    {"latency-batch", "N", INTEGER, AT(latency_batch), 1, 1e6,
     "images an inference whose latency is measured (default 1)"},
    {"strategy", "NAME", TEXT, AT(strategy), 0, 0, "who decides what is tried next, see below (default alphanas)"},
    {"population", "N", INTEGER, AT(population), 1, 1e6, "candidates a strategy keeps (default 20)"},
    {"sample", "N", INTEGER, AT(sample), 1, 1e6, "candidates of a tournament (regularized; default 5)"},
    {"seed-trials", "N", INTEGER, AT(seed_trials), 1, 1e6, "how often the seed model itself is trained (default 1)"},
    {"min-accuracy", "X", REAL, AT(min_accuracy), 0, 1, "parents need this accuracy (default: 0.85 of the seed's)"},
    {"targeted", "on|off", TEXT, AT(targeted), 0, 0,
     "prefer parents no worse than the seed, half of the time (default off; imagenet: on, but for small resnets)"},
    {"generations-to-live", "N", INTEGER, AT(generations_to_live), 0, 1e9,
     "parents lose accuracy after N later trials (default 0: never)"},
    {"ageing", "NAME", TEXT, AT(ageing), 0, 0, "how: impulse (default), cyclic, once, step or cyclic-step"},
    {"synchronous", "N", INTEGER, AT(synchronous), 0, 1e6,
     "decide in generations of N trials: any number of workers then makes the same search (default 0: decide on the "
     "results of all trials but the last of each worker)"},
    {"retries", "N", INTEGER, AT(retries), 1, 1e6, "mutations tried for one trial (default 40)"},
    {"seed", "N", SEED, AT(seed), 0, 0, "seed of every decision, initial weight and data order (default 0)"},
    {0},
};
static const struct flag training[] = {
    {"epochs", "N", INTEGER, AT(epochs), 1, 1e9, "epochs a trial (default 1)"},
    {"max-steps", "N", INTEGER, AT(max_steps), 0, 1e12, "stop a trial after N steps (default 0: no limit)"},
    {"batch", "N", INTEGER, AT(batch), 1, 1e6, "examples a step (default 128)"},
    {"optimizer", "NAME", TEXT, AT(optimizer), 0, 0, "sgd (default), adam (decoupled decay of kernels) or rmsprop"},
    {"lr", "X", REAL, AT(learning_rate), 0, 1e6, "peak learning rate (default: sgd 0.05, adam 0.001, rmsprop 0.008)"},
    {"schedule", "NAME", TEXT, AT(schedule), 0, 0, "of the learning rate: cosine (default), constant or exponential"},
    {"momentum", "X", REAL, AT(momentum), 0, 1, "of sgd (default 0.9)"},
    {"beta1", "X", REAL, AT(beta1), 0, 1, "share of the old mean of the gradient: adam (default 0.9)"},
    {"beta2", "X", REAL, AT(beta2), 0, 1, "of the mean of its square: adam (default 0.999), rmsprop (0.9)"},
    {"epsilon", "X", REAL, AT(epsilon), 0, 1, "adam (default 1e-8, added to the root), rmsprop (1e-3, under it)"},
    {"weight-decay", "X", REAL, AT(weight_decay), 0, 1,
     "sgd: times the weight, added to the gradient (default 1e-4); adam (1e-2), rmsprop (1e-5): times weight and rate"},
    {"clip-norm", "X", REAL, AT(clip_norm), 0, 1e30, "scale gradients to a common norm of X at most (default 0: no)"},
    {"inherit-weights", NULL, SWITCH, AT(inherit_weights), 0, 0,
     "a child starts from its parent's trained weights, by path and shape; keeps weights of all trials"},
    {"warmup-epochs", "X", REAL, AT(warmup_epochs), 0, 1e6, "linear warm-up (default 0.1)"},
    {"pruner", "NAME", TEXT, AT(pruner), 0, 0, "who stops trials that promise little, see below (default none)"},
    {"reduction-factor", "N", INTEGER, AT(reduction_factor), 2, 100,
     "rungs are at epochs/N, epochs/N^2, ...; the best 1/N of the trials there go on (default 3)"},
    {"min-epochs", "X", REAL, AT(min_epochs), 0, 1e9,
     "no rung below X epochs, which may be a fraction of one (default 0: epochs/N^2; median: 1)"},
    {"patience", "N", INTEGER, AT(patience), 0, 1e9,
     "stop a trial whose accuracy has not risen for N epochs (default 0: never)"},
    {"precision", "NAME", TEXT, AT(precision), 0, 0,
     "of the operands of contractions: f32 (default), bf16 where that is faster, bf16-always"},
    {0},
};
static const struct flag budget[] = {
    {"trials", "N", INTEGER, AT(trials), 1, 1e9, "how many trials in all (default 50)"},
    {"target", "'EXPR'", TEXT, AT(target), 0, 0,
     "start no new trial when a trained one meets this: accuracy=0.8, or like --constraint"},
    {"time", "T", DURATION, AT(time_limit), 0, 0, "start no new trial after T: 90, 30m, 2h, 1d (default: no limit)"},
    {"workers", "N|auto", WORKERS, AT(workers), 0, 256,
     "trials at the same time (default auto: one a processor if the seed model is small, see docs/search.md); 0: leave "
     "them to anas-search worker"},
    {"threads", "N", INTEGER, AT(threads), 0, 256, "threads a trial (default 0: the workers share the processors)"},
    {"in-flight", "N", INTEGER, AT(in_flight), 0, 1e6,
     "without --synchronous, decide on the results of all trials but the last N - 1 (default 0: enough that no worker "
     "waits for the slowest: twice the workers, less one, and more with halving)"},
    {"lease", "T", DURATION, AT(lease), 0, 0,
     "with a study in PostgreSQL, a trial whose worker is not heard of for T is another's to claim (default 60s)"},
    {"trial-timeout", "T", DURATION, AT(trial_timeout), 0, 0, "end a trial after T (default: no limit)"},
    {"memory-limit", "SIZE", BYTES, AT(memory_limit), 0, 0,
     "end a trial that needs more memory: 512M, 4G (default: 90 % of the machine's, divided by the workers)"},
    {"disk-limit", "SIZE", BYTES, AT(disk_limit), 0, 0, "end a trial that writes more than this (default 16G)"},
    {"keep-weights", "front|all|none", TEXT, AT(keep_weights), 0, 0, "whose weights to keep (default front)"},
    {"evaluator", "NAME", TEXT, AT(evaluator), 0, 0, "where results come from, see below (default train)"},
    {"cpu", "NAME", PROCESSOR, AT(cpu), 0, 0,
     "generate code for this LLVM processor, e.g. x86-64-v3 (default: native)"},
    {"no-winograd", NULL, SWITCH, AT(no_winograd), 0, 0,
     "3x3 convolutions by direct sums everywhere: slower, smaller rounding errors"},
    {0},
};
static const struct flag running[] = {
    {"study", "DIR|postgresql://...", TEXT, AT(study), 0, 0,
     "directory of the study, or a database that many machines work on (required)"},
    {"artefacts", "DIR", TEXT, AT(artefacts), 0, 0,
     "of a study in a database: keep files in a directory that all machines see (default: in the database)"},
    {"resume", NULL, SWITCH, AT(resume), 0, 0, "go on with the study; flags come from it, budget flags may be changed"},
    {"compile-report", NULL, SWITCH, AT(compile_report), 0, 0,
     "where compile time went, by kernel function: trials/NNNN/compile.json"},
    {"tune", NULL, SWITCH, AT(tune), 0, 0,
     "measure alternative plans of contractions and keep the fastest in the object cache; with one worker"},
    {"json", NULL, SWITCH, AT(json), 0, 0, "one JSON object a line on standard output instead of text"},
    {"quiet", NULL, SWITCH, AT(quiet), 0, 0, "only the final front"},
    {"print-config", NULL, SWITCH, AT(print_config), 0, 0, "print the effective configuration as JSON and do nothing"},
    {0},
};
static const struct group groups[] = {
    {"What is searched", true, what},
    {"Training of a trial", true, training},
    {"Budget", true, budget},
    {"Running", false, running},
};
#define NUM_GROUPS (sizeof groups / sizeof *groups)

void search_options_defaults(struct search_options *out) {
  *out = (struct search_options){
      .dataset = anas_strdup("fashion-mnist"),
      .strategy = anas_strdup("alphanas"),
      .evaluator = anas_strdup("train"),
      .pruner = anas_strdup("none"),
      .reduction_factor = 3,
      .keep_weights = anas_strdup("front"),
      .ageing = anas_strdup("impulse"),
      .cpu = anas_strdup("native"),
      .precision = anas_strdup("f32"),
      .objectives = {{METRIC_ACCURACY, true}, {METRIC_PARAMS, false}},
      .num_objectives = 2,
      .trials = 50,
      .seed_trials = 1,
      .epochs = 1,
      .batch = 128,
      .workers = WORKERS_AUTOMATIC,
      .lease = 60,
      .validation = -1,
      .retries = 40,
      .latency_batch = 1,
      .disk_limit = (int64_t)16 << 30,
      .population = 20,
      .sample = 5,
      .optimizer = anas_strdup("sgd"),
      .schedule = anas_strdup("cosine"),
      .learning_rate = -1,
      .momentum = -1,
      .beta1 = -1,
      .beta2 = -1,
      .epsilon = -1,
      .weight_decay = -1,
      .clip_norm = -1,
      .warmup_epochs = 0.1,
      .min_accuracy = -1,
  };
}

static void drop_constraints(struct search_options *options) {
  for (int i = 0; i < options->num_constraints; i++)
    expression_destroy(options->constraints[i]);
  options->num_constraints = 0;
}

void search_options_deinit(struct search_options *options) {
  free(options->model_path);
  free(options->mutation_text);
  free(options->preset);
  drop_constraints(options);
  for (size_t g = 0; g < NUM_GROUPS; g++)
    for (const struct flag *f = groups[g].flags; f->name; f++)
      if (f->kind == TEXT || f->kind == PROCESSOR) free(*(char **)((char *)options + f->offset));
}

// ---- values

// "; did you mean 'params'?" for a metric that does not exist.
static const char *metric_hint(const char *name, char out[128]) {
  struct anas_nearest nearest = anas_nearest_make(name, strlen(name));
  for (int m = 0; m < METRIC_NUM; m++)
    anas_nearest_offer(&nearest, study_metrics[m].name);
  out[0] = 0;
  return nearest.best ? anas_nearest_hint(&nearest, out) : out;
}

static anas_status parse_objective(const char *text, struct search_options *out, bool *replace) {
  if (*replace) out->num_objectives = 0; // the first one written replaces the defaults
  *replace = false;
  size_t size = strcspn(text, ":");
  char *name = anas_format("%.*s", (int)size, text);
  int metric = study_metric_find(name);
  char hint[128];
  metric_hint(name, hint);
  free(name);
  const char *direction = text[size] ? text + size + 1 : NULL;
  if (metric < 0 || (direction && strcmp(direction, "max") && strcmp(direction, "min")))
    return anas_fail(ANAS_INVALID, "--objective is METRIC:max or METRIC:min with a metric of --help, got '%s'%s", text,
                     metric < 0 ? hint : "");
  if (out->num_objectives == MAX_OBJECTIVES) return anas_fail(ANAS_INVALID, "at most %d objectives", MAX_OBJECTIVES);
  for (int i = 0; i < out->num_objectives; i++)
    if (out->objectives[i].metric == (enum study_metric)metric)
      return anas_fail(ANAS_INVALID, "two objectives for '%s'", study_metrics[metric].name);
  bool maximize = direction ? !strcmp(direction, "max") : study_metrics[metric].maximize;
  out->objectives[out->num_objectives++] = (struct search_objective){(enum study_metric)metric, maximize};
  return ANAS_OK;
}

static anas_status parse_constraint(const char *text, struct search_options *out) {
  if (out->num_constraints == MAX_CONSTRAINTS)
    return anas_fail(ANAS_INVALID, "at most %d constraints", MAX_CONSTRAINTS);
  ANAS_RETURN_IF_ERROR(expression_parse("--constraint", text, &out->constraints[out->num_constraints]));
  out->num_constraints++;
  return ANAS_OK;
}

static anas_status set_value(struct search_options *out, const struct flag *flag, const char *text, bool *replace) {
  char *field = (char *)out + flag->offset;
  char *option = anas_format("--%s", flag->name);
  anas_status status = ANAS_OK;
  switch (flag->kind) {
  case TEXT:
    free(*(char **)field);
    *(char **)field = anas_strdup(text);
    break;
  case PROCESSOR: {
    const char *cpu;
    status = anas_cpu_parse(option, text, true, &cpu);
    if (status != ANAS_OK) break;
    free(*(char **)field);
    *(char **)field = anas_strdup(text);
    break;
  }
  case INTEGER: status = anas_parse_int(option, text, (int64_t)flag->low, (int64_t)flag->high, (int64_t *)field); break;
  case WORKERS:
    if (!strcmp(text, "auto")) {
      *(int64_t *)field = WORKERS_AUTOMATIC;
    } else {
      status = anas_parse_int(option, text, (int64_t)flag->low, (int64_t)flag->high, (int64_t *)field);
      if (status != ANAS_OK) status = anas_fail_context(status, "auto or a number: ");
    }
    break;
  case SEED: {
    int64_t seed;
    status = anas_parse_int(option, text, 0, INT64_MAX, &seed);
    if (status == ANAS_OK) *(uint64_t *)field = (uint64_t)seed;
    break;
  }
  case REAL: status = anas_parse_double(option, text, flag->low, flag->high, (double *)field); break;
  case DURATION: status = anas_parse_duration(option, text, (double *)field); break;
  case BYTES: {
    uint64_t bytes;
    status = anas_parse_bytes(option, text, &bytes);
    if (status == ANAS_OK) *(int64_t *)field = (int64_t)bytes;
    break;
  }
  case SWITCH: *(bool *)field = true; break;
  case OBJECTIVE: status = parse_objective(text, out, replace); break;
  case CONSTRAINT: status = parse_constraint(text, out); break;
  }
  free(option);
  return status;
}

static const struct flag *find_flag(const char *name, size_t size) {
  for (size_t g = 0; g < NUM_GROUPS; g++)
    for (const struct flag *f = groups[g].flags; f->name; f++)
      if (strlen(f->name) == size && !memcmp(f->name, name, size)) return f;
  return NULL;
}

static anas_status unknown_flag(const char *argument, const char *name, size_t size) {
  struct anas_nearest nearest = anas_nearest_make(name, size);
  for (size_t g = 0; g < NUM_GROUPS; g++)
    for (const struct flag *f = groups[g].flags; f->name; f++)
      anas_nearest_offer(&nearest, f->name);
  search_mutation_offer(&nearest);
  char hint[128];
  return anas_fail(ANAS_INVALID, "unknown argument '%s'%s", argument,
                   nearest.best ? anas_nearest_hint(&nearest, hint) : "; see --help");
}

static anas_status one_of(const char *flag, const char *value, const char *first, const char *second,
                          const char *third) {
  if (!strcmp(value, first) || !strcmp(value, second) || (third && !strcmp(value, third))) return ANAS_OK;
  return anas_fail(ANAS_INVALID, "--%s is %s%s%s%s%s, got '%s'", flag, first, third ? ", " : " or ", second,
                   third ? " or " : "", third ? third : "", value);
}

int search_ageing(const struct search_options *options) {
  for (int i = 0; anas_ageing_names[i]; i++)
    if (!strcmp(anas_ageing_names[i], options->ageing)) return i;
  return -1;
}

static anas_status check_precision(const struct search_options *options) {
  struct anas_cpu_target target;
  const char *cpu;
  ANAS_RETURN_IF_ERROR(anas_cpu_parse("--cpu", options->cpu, true, &cpu));
  ANAS_RETURN_IF_ERROR(anas_cpu_target_init(cpu, &target));
  anas_status status = anas_cpu_target_set_precision(&target, options->precision);
  anas_cpu_target_deinit(&target);
  return status == ANAS_OK ? status : anas_fail_context(status, "--precision: ");
}

// --metrics a,b,c: names of metrics.
static anas_status check_metrics(const char *list) {
  for (const char *at = list; at && *at; at += strcspn(at, ","), at += *at == ',') {
    char *name = anas_format("%.*s", (int)strcspn(at, ","), at), hint[128];
    bool known = study_metric_find(name) >= 0;
    if (!known) anas_fail(ANAS_INVALID, "--metrics: there is no metric '%s'%s", name, metric_hint(name, hint));
    free(name);
    if (!known) return ANAS_INVALID;
  }
  return ANAS_OK;
}

static anas_status validate(const struct search_options *options) {
  ANAS_RETURN_IF_ERROR(check_metrics(options->metrics));
  if (!options->study && !options->print_config) return anas_fail(ANAS_INVALID, "--study DIR is required");
  ANAS_RETURN_IF_ERROR(check_precision(options));
  ANAS_RETURN_IF_ERROR(one_of("keep-weights", options->keep_weights, "front", "all", "none"));
  if (options->inherit_weights && !strcmp(options->keep_weights, "none"))
    return anas_fail(ANAS_INVALID, "--inherit-weights needs weights of parents: --keep-weights none drops them");
  ANAS_RETURN_IF_ERROR(one_of("targeted", options->targeted, "on", "off", NULL));
  if (search_ageing(options) < 0)
    return anas_fail(ANAS_INVALID, "--ageing is impulse, cyclic, once, step or cyclic-step, got '%s'", options->ageing);
  const struct evaluator *evaluator;
  const char *argument;
  ANAS_RETURN_IF_ERROR(evaluator_find(options->evaluator, &evaluator, &argument));
  if (evaluator && evaluator->check) ANAS_RETURN_IF_ERROR(evaluator->check(argument));
  for (int m = 0; evaluator && m < METRIC_NUM; m++)
    if (study_metrics[m].known == METRIC_BEFORE_TRAINING && metric_wanted(options, (enum study_metric)m))
      return anas_fail(ANAS_INVALID, "%s is measured on compiled programs: only --evaluator train knows it",
                       study_metrics[m].name);
  ANAS_RETURN_IF_ERROR(pruner_check(options));
  ANAS_RETURN_IF_ERROR(target_check(options->target));
  if (options->tune && options->workers > 1)
    return anas_fail(ANAS_INVALID, "--tune measures: other workers would disturb it; use --workers 1");
  if (!search_strategy_find(options->strategy)) {
    struct anas_strbuf known = {0};
    struct anas_nearest nearest = anas_nearest_make(options->strategy, strlen(options->strategy));
    int count;
    const struct search_strategy *const *all = search_strategies(&count);
    for (int i = 0; i < count; i++) {
      anas_strbuf_addf(&known, "%s%s", i ? ", " : "", all[i]->name);
      anas_nearest_offer(&nearest, all[i]->name);
    }
    char hint[128];
    anas_fail(ANAS_INVALID, "unknown strategy '%s'; there are: %s%s", options->strategy, anas_strbuf_text(&known),
              nearest.best ? anas_nearest_hint(&nearest, hint) : "");
    anas_strbuf_deinit(&known);
    return ANAS_INVALID;
  }
  if (options->resume) return ANAS_OK;
  if (options->model_path && options->model_name)
    return anas_fail(ANAS_INVALID, "a model file ('%s') and --model %s exclude each other", options->model_path,
                     options->model_name);
  if (!options->model_path && !options->model_name)
    return anas_fail(ANAS_INVALID, "nothing to start from: give a model file or --model NAME (or --resume)");
  return ANAS_OK;
}

// Value of a flag wherever it stands; null if it is not given.
static const char *flag_value(int argc, char **argv, const char *flag) {
  size_t size = strlen(flag);
  const char *found = NULL;
  for (int i = 1; i < argc; i++) {
    const char *name = argv[i] + strspn(argv[i], "-");
    if (name == argv[i] || strncmp(name, flag, size) || (name[size] && name[size] != '=')) continue;
    found = name[size] ? name + size + 1 : i + 1 < argc ? argv[i + 1] : NULL;
  }
  return found;
}

// A preset gives defaults: it applies before the other flags, wherever it stands.
static anas_status apply_preset(int argc, char **argv, struct search_options *out) {
  const char *preset = flag_value(argc, argv, "preset");
  if (!preset) return ANAS_OK;
  ANAS_RETURN_IF_ERROR(search_preset(out, preset));
  search_preset_recipe(out, flag_value(argc, argv, "model"), flag_value(argc, argv, "optimizer"));
  free(out->preset);
  out->preset = anas_strdup(preset);
  return ANAS_OK;
}

static anas_status parse(int argc, char **argv, struct search_options *out) {
  bool replace = true;
  ANAS_RETURN_IF_ERROR(apply_preset(argc, argv, out));
  for (int i = 1; i < argc; i++) {
    const char *argument = argv[i];
    if (argument[0] != '-' || !argument[1]) {
      if (out->model_path) return anas_fail(ANAS_INVALID, "two models: '%s' and '%s'", out->model_path, argument);
      out->model_path = anas_strdup(argument);
      continue;
    }
    const char *name = argument + (argument[1] == '-' ? 2 : 1);
    size_t size = strcspn(name, "=");
    const struct flag *flag = find_flag(name, size);
    const char *setting = flag ? NULL : search_mutation_setting(name, size);
    if (!flag && !setting) return unknown_flag(argument, name, size);
    const char *value = name[size] ? name + size + 1 : NULL;
    if (setting) {
      if (!value && i + 1 == argc) return anas_fail(ANAS_INVALID, "--%.*s needs a value", (int)size, name);
      ANAS_RETURN_IF_ERROR(search_mutation_add(out, setting, value ? value : argv[++i]));
      continue;
    }
    if (flag->kind == SWITCH && value) return anas_fail(ANAS_INVALID, "--%s takes no value", flag->name);
    if (flag->kind != SWITCH && !value) {
      if (i + 1 == argc) return anas_fail(ANAS_INVALID, "--%s needs a value: %s", flag->name, flag->metavar);
      value = argv[++i];
    }
    ANAS_RETURN_IF_ERROR(set_value(out, flag, value, &replace));
  }
  ANAS_RETURN_IF_ERROR(search_mutation_finish(out));
  search_preset_model(out);
  ANAS_RETURN_IF_ERROR(search_recipe_finish(out));
  return validate(out);
}

anas_status search_options_parse(int argc, char **argv, struct search_options *out) {
  return parse(argc, argv, out);
}

anas_status search_options_budget(int argc, char **argv, struct search_options *out) {
  for (int i = 1; i < argc; i++) {
    if (argv[i][0] != '-' || !argv[i][1]) continue;
    const char *name = argv[i] + (argv[i][1] == '-' ? 2 : 1);
    size_t size = strcspn(name, "=");
    const struct flag *flag = find_flag(name, size);
    if (!flag && search_mutation_setting(name, size))
      return anas_fail(ANAS_INVALID, "--%.*s belongs to the study and cannot be changed on --resume", (int)size, name);
    if (!flag || (flag->kind == SWITCH && flag->offset != AT(no_winograd) && flag->offset != AT(inherit_weights)))
      continue;
    const char *value = flag->kind == SWITCH ? NULL : name[size] ? name + size + 1 : argv[++i];
    bool changeable = false, replace = true;
    for (const struct flag *f = budget; f->name; f++)
      changeable |= f == flag && f->offset != AT(evaluator);
    if (changeable) ANAS_RETURN_IF_ERROR(set_value(out, flag, value, &replace));
    if (!changeable && flag->offset != AT(study))
      return anas_fail(ANAS_INVALID, "--%s belongs to the study and cannot be changed on --resume", flag->name);
  }
  return ANAS_OK;
}

// ---- JSON

char *search_options_to_json(const struct search_options *options) {
  json_t *object = json_object();
  for (size_t g = 0; g < NUM_GROUPS; g++)
    for (const struct flag *f = groups[g].flags; groups[g].stored && f->name; f++) {
      const char *field = (const char *)options + f->offset;
      json_t *value = NULL;
      switch (f->kind) {
      case TEXT:
      case PROCESSOR: value = *(char *const *)field ? json_string(*(char *const *)field) : NULL; break;
      case WORKERS: // also for --print-config
        value = *(const int64_t *)field == WORKERS_AUTOMATIC ? json_string("auto")
                                                             : json_integer((json_int_t) * (const int64_t *)field);
        break;
      case INTEGER:
      case BYTES: value = json_integer((json_int_t) * (const int64_t *)field); break;
      case SEED: value = json_integer((json_int_t) * (const uint64_t *)field); break;
      case REAL:
      case DURATION: value = json_real(*(const double *)field); break;
      case SWITCH: value = json_boolean(*(const bool *)field); break;
      case OBJECTIVE:
      case CONSTRAINT: break;
      }
      if (value) json_object_set_new(object, f->name, value);
    }
  json_t *objectives = json_array(), *constraints = json_array();
  for (int i = 0; i < options->num_objectives; i++) {
    const struct search_objective *o = &options->objectives[i];
    json_array_append_new(objectives,
                          json_sprintf("%s:%s", study_metrics[o->metric].name, o->maximize ? "max" : "min"));
  }
  for (int i = 0; i < options->num_constraints; i++)
    json_array_append_new(constraints, json_string(expression_text(options->constraints[i])));
  if (options->mutation_text) json_object_set_new(object, "mutation", json_string(options->mutation_text));
  json_object_set_new(object, "objectives", objectives);
  json_object_set_new(object, "constraints", constraints);
  if (options->model_path) json_object_set_new(object, "file", json_string(options->model_path));
  char *text = json_dumps(object, JSON_INDENT(1));
  json_decref(object);
  return text;
}

static anas_status read_json(const json_t *object, struct search_options *options) {
  for (size_t g = 0; g < NUM_GROUPS; g++)
    for (const struct flag *f = groups[g].flags; groups[g].stored && f->name; f++) {
      const json_t *value = json_object_get(object, f->name);
      char *field = (char *)options + f->offset;
      if (!value) continue;
      switch (f->kind) {
      case TEXT:
      case PROCESSOR:
        free(*(char **)field);
        *(char **)field = json_is_string(value) ? anas_strdup(json_string_value(value)) : NULL;
        break;
      case WORKERS:
      case INTEGER:
      case BYTES: *(int64_t *)field = json_integer_value(value); break;
      case SEED: *(uint64_t *)field = (uint64_t)json_integer_value(value); break;
      case REAL:
      case DURATION: *(double *)field = json_number_value(value); break;
      case SWITCH: *(bool *)field = json_is_true(value); break;
      case OBJECTIVE:
      case CONSTRAINT: break;
      }
    }
  bool replace = true;
  size_t i;
  const json_t *item;
  json_array_foreach(json_object_get(object, "objectives"), i, item)
      ANAS_RETURN_IF_ERROR(parse_objective(json_is_string(item) ? json_string_value(item) : "", options, &replace));
  drop_constraints(options);
  json_array_foreach(json_object_get(object, "constraints"), i, item)
      ANAS_RETURN_IF_ERROR(parse_constraint(json_is_string(item) ? json_string_value(item) : "", options));
  const json_t *mutation = json_object_get(object, "mutation"); // absent in older studies: the defaults
  free(options->mutation_text);
  options->mutation_text = json_is_string(mutation) ? anas_strdup(json_string_value(mutation)) : NULL;
  ANAS_RETURN_IF_ERROR(search_mutation_finish(options));
  search_preset_model(options);
  const json_t *file = json_object_get(object, "file");
  if (json_is_string(file)) {
    free(options->model_path);
    options->model_path = anas_strdup(json_string_value(file));
  }
  return ANAS_OK;
}

anas_status search_options_from_json(const char *text, struct search_options *options) {
  json_error_t error;
  json_t *object = json_loads(text, 0, &error);
  if (!object) return anas_fail(ANAS_CORRUPT, "the options stored in the study are damaged: %s", error.text);
  anas_status status = read_json(object, options);
  json_decref(object);
  return status;
}

// ---- help

void search_help(struct anas_strbuf *out) {
  anas_strbuf_adds(out,
                   "usage: anas-search MODEL.mlir|--model NAME --dataset NAME --study DIR [flags]\n"
                   "       anas-search --study DIR --resume [--trials N] [--time T] [--workers N] ...\n"
                   "       anas-search COMMAND STUDY ...   (each command below has --help)\n"
                   "Evolves a network by mutating its program properties; every candidate is compiled, trained in a "
                   "process of its own, and kept in the study.\n");
  for (size_t g = 0; g < NUM_GROUPS; g++) {
    anas_strbuf_addf(out, "\n%s:\n", groups[g].title);
    for (const struct flag *f = groups[g].flags; f->name; f++) {
      char *left = f->metavar ? anas_format("--%s %s", f->name, f->metavar) : anas_format("--%s", f->name);
      anas_strbuf_addf(out, "  %-28s %s\n", left, f->doc);
      free(left);
    }
  }
  search_mutation_help(out);
  anas_strbuf_adds(out, "\nCommands:\n");
  command_list(out);
  anas_strbuf_adds(out, "\nMetrics:\n");
  for (int m = 0; m < METRIC_NUM; m++)
    anas_strbuf_addf(out, "  %-28s %s\n", study_metrics[m].name, study_metrics[m].summary);
  anas_strbuf_adds(out, "\nStrategies:\n");
  int count;
  const struct search_strategy *const *strategies = search_strategies(&count);
  for (int i = 0; i < count; i++)
    anas_strbuf_addf(out, "  %-28s %s\n", strategies[i]->name, strategies[i]->summary);
  anas_strbuf_adds(out, "\nPruners:\n");
  pruner_help(out);
  anas_strbuf_adds(out, "\nEvaluators:\n");
  evaluator_help(out);
  anas_strbuf_adds(
      out,
      "\nExamples:\n"
      "  anas-search --model cnn --evaluator simulated --study s1 --trials 30   # made-up results, in seconds: to try "
      "commands "
      "on\n"
      "  anas-search --model cnn --dataset fashion-mnist --study s2 --trials 30 --epochs 2\n"
      "  anas-search net.mlir --dataset cifar10 --data ~/cifar --study s3 --time 8h --trial-timeout 20m \\\n"
      "      --memory-limit 4G --objective accuracy:max --objective macs:min --constraint 'params<1e6'\n"
      "  anas-search --study s3 --resume --trials 200\n"
      "  anas-search --model cnn --study postgresql://db/nas#s6 --workers 0 --in-flight 16   # see docs/search.md\n"
      "  anas-search --model resnet34 --preset cifar10 --data ~/cifar --study s4     # the published search\n"
      "  anas-search --model resnet34 --preset cifar10 --data ~/cifar --property mixing=no --study s5  # an ablation\n"
      "  anas-search pareto s1\n"
      "\nCtrl-C once lets the running trials finish; twice stops them (they run again on --resume).\n"
      "With the same flags and seed the same candidates are tried, for any speed of the workers.\n");
}
