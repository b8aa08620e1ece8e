// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-mutate: replaces the module by one mutated child. The lineage goes to attributes of the module: anas.generation,
// anas.parent (canonical hash) and anas.mutation (what was done).
#include "passes/mutate/mutate.h"
#include "passes/pass.h"

extern const struct anas_pass_def anas_pass_mutate;

static const struct anas_pass_option mutate_options[] = {
    {"seed", ANAS_OPTION_INT, "0", "seed of all random decisions"},
    {"duplicate", ANAS_OPTION_FLOAT, "0.2", "probability of duplicating a block"},
    {"delete", ANAS_OPTION_FLOAT, "0.2", "probability of deleting a block; the rest mutates one"},
    {"propagate", ANAS_OPTION_FLOAT, "0.2", "probability that another instance of the block follows"},
    {"grow", ANAS_OPTION_FLOAT, "0.75", "probability that the selected subgraph grows by one more op"},
    {"max-fraction", ANAS_OPTION_FLOAT, "0.8", "largest share of a block's ops that is replaced"},
    {"depth", ANAS_OPTION_FLOAT, "0.5", "probability of each step of the required depth"},
    {"depth-delta", ANAS_OPTION_INT, "2", "most steps of the required depth"},
    {"mixing", ANAS_OPTION_FLOAT, "0.5", "probability that a chain's mixing is not required"},
    {"max-delta", ANAS_OPTION_INT, "2", "how much longer a chain may become"},
    {"min-delta", ANAS_OPTION_INT, "2", "a chain stays longer than its old length less this"},
    {"retries", ANAS_OPTION_INT, "16", "attempts before giving up"},
    {0},
};

static anas_status read_options(const struct anas_pass_options *options, struct anas_mutation_options *out) {
  struct anas_mutation_options o = anas_mutation_defaults();
  const struct {
    const char *name;
    double *value;
  } probabilities[] = {
      {"duplicate", &o.duplicate_probability}, {"delete", &o.delete_probability},
      {"propagate", &o.propagate_probability}, {"grow", &o.grow_probability},
      {"max-fraction", &o.max_fraction},       {"depth", &o.depth_probability},
      {"mixing", &o.mixing_probability},
  };
  for (size_t i = 0; i < sizeof probabilities / sizeof *probabilities; i++) {
    *probabilities[i].value = anas_option_float(options, probabilities[i].name);
    if (!(*probabilities[i].value >= 0 && *probabilities[i].value <= 1))
      return anas_fail(ANAS_INVALID, "option '%s' of anas-mutate must lie in [0, 1], got %g", probabilities[i].name,
                       *probabilities[i].value);
  }
  const struct {
    const char *name;
    int *value;
  } counts[] = {{"depth-delta", &o.depth_delta_max},
                {"max-delta", &o.max_delta},
                {"min-delta", &o.min_delta},
                {"retries", &o.retries}};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    int64_t value = anas_option_int(options, counts[i].name);
    if (value < 0 || value > 1000)
      return anas_fail(ANAS_INVALID, "option '%s' of anas-mutate must lie in [0, 1000], got %lld", counts[i].name,
                       (long long)value);
    *counts[i].value = (int)value;
  }
  *out = o;
  return ANAS_OK;
}

static anas_status run(MlirModule module, const struct anas_pass_options *options) {
  struct anas_mutation_options mutation;
  ANAS_RETURN_IF_ERROR(read_options(options, &mutation));
  struct anas_model *parent, *child = NULL;
  ANAS_RETURN_IF_ERROR(anas_model_import(module, &parent));
  anas_status status = anas_model_infer_shapes(parent);
  struct anas_rng rng = anas_rng_make((uint64_t)anas_option_int(options, "seed"));
  struct anas_mutation_report report;
  if (status == ANAS_OK) status = anas_mutate(parent, &mutation, &rng, &child, &report);
  if (status == ANAS_OK) status = anas_model_write_back(child, module);
  anas_model_destroy(child);
  anas_model_destroy(parent);
  return status;
}

const struct anas_pass_def anas_pass_mutate = {
    .argument = "anas-mutate",
    .summary = "one mutation by properties: a block is duplicated, deleted, or partly replaced by a synthesised graph",
    .options = mutate_options,
    .run = run,
};
