// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Random graphs over every architecture op against the properties' definitions:
//   shape   inferred types are those of the executed values (every --execute-th graph is run), also after printing;
//   mixing  is never stronger than the dependencies that the definition enumerates, and how often it is equal;
//   depth   equals the enumeration of all paths;
//   text    printing, parsing and printing again gives the same text.
// Graph number i of seed s is the same everywhere: --only repeats one. Exits with 1 at the first wrong graph.
#include "dialect/context.h"
#include "test/fuzz/brute_force.h"
#include "test/fuzz/execute.h"
#include "test/fuzz/random_graph.h"
#include "test/unit/op_program.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct options {
  int64_t count, seed, execute, only;
  int max_ops, max_elements;
  bool show;
};

struct tally {
  int64_t graphs, ops, calls, dynamic, executed, perturbed;
  int64_t pairs, exact, inexact_known; // matrices: all, equal to the truth, weaker and said so
  int64_t strict_exact, strict_stronger;
  int64_t strict_class[4][4]; // entries: what the published composition says, what is true
  int64_t paths_skipped;
  int64_t *uses; // by op of the table
};

struct fuzzer {
  MlirContext context;
  struct options options;
  struct graph_source *source;
  struct anas_property_cache *cache;
  struct tally tally;
};

static void print_mixing(const struct anas_mixing *m) {
  for (int i = 0; i < m->rows; i++)
    for (int j = 0; j < m->columns; j++)
      fprintf(stderr, "%s%d", j ? "" : i ? "," : "", m->pair[i][j]);
}

static void print_model(const struct anas_model *model) {
  struct anas_strbuf text = {0};
  anas_model_print(model, &text);
  fprintf(stderr, "%s\n", anas_strbuf_text(&text));
  anas_strbuf_deinit(&text);
}

static bool wrong(const struct anas_model *model, const char *what) {
  fprintf(stderr, "fuzz_properties: %s\n", what);
  print_model(model);
  return false;
}

// ---- text

static bool check_text(const struct fuzzer *fuzzer, const struct anas_model *model) {
  struct anas_strbuf first = {0}, second = {0};
  MlirModule module;
  struct anas_model *again;
  anas_model_print(model, &first);
  if (anas_parse(fuzzer->context, anas_strbuf_text(&first), first.size, "graph", &module) != ANAS_OK)
    return wrong(model, "the printed module does not parse");
  if (anas_model_import(module, &again) != ANAS_OK) return wrong(model, "the printed module is not accepted");
  mlirModuleDestroy(module);
  anas_model_print(again, &second);
  bool same = !strcmp(anas_strbuf_text(&first), anas_strbuf_text(&second));
  // The types are what inference finds, and not only what was printed.
  anas_model_clear_types(again);
  again->quiet = true;
  bool typed = anas_model_infer_shapes(again) == ANAS_OK;
  anas_strbuf_clear(&second);
  if (typed) anas_model_print(again, &second);
  bool same_types = typed && !strcmp(anas_strbuf_text(&first), anas_strbuf_text(&second));
  anas_model_destroy(again);
  anas_strbuf_deinit(&first);
  anas_strbuf_deinit(&second);
  if (!same) return wrong(model, "printed, parsed and printed again, the module reads differently");
  if (!same_types) return wrong(model, "inference from the argument types gives other types");
  return true;
}

// ---- mixing and depth

static bool is_stronger(const struct anas_mixing *claim, const struct anas_mixing *truth) {
  for (int i = 0; i < truth->rows; i++)
    for (int j = 0; j < truth->columns; j++)
      if (claim->pair[i][j] > truth->pair[i][j]) return true;
  return false;
}

static bool is_equal(const struct anas_mixing *a, const struct anas_mixing *b) {
  return !is_stronger(a, b) && !is_stronger(b, a);
}

static bool check_pair(struct fuzzer *fuzzer, const struct anas_model *model, const struct anas_properties *found,
                       const struct anas_properties *strict, const struct brute *truth, int r, int a) {
  struct tally *tally = &fuzzer->tally;
  const struct anas_mixing *claim = &found->mixing[r][a], *actual = &truth->mixing[r][a];
  if (claim->rows != actual->rows || claim->columns != actual->columns)
    return wrong(model, "a mixing matrix has the wrong size");
  bool equal = is_equal(claim, actual);
  tally->pairs++;
  tally->exact += equal;
  tally->inexact_known += !equal && !found->exact;
  tally->strict_exact += is_equal(&strict->mixing[r][a], actual);
  for (int i = 0; i < actual->rows; i++)
    for (int j = 0; j < actual->columns; j++)
      tally->strict_class[strict->mixing[r][a].pair[i][j]][actual->pair[i][j]]++;
  tally->strict_stronger += is_stronger(&strict->mixing[r][a], actual);
  if (!equal) {
    fprintf(stderr, "result %d, argument %d: claimed ", r, a);
    print_mixing(claim);
    fprintf(stderr, ", truth ");
    print_mixing(actual);
    fprintf(stderr, "\n");
    if (is_stronger(claim, actual)) return wrong(model, "mixing claims a dependency that does not exist");
    if (found->exact) return wrong(model, "mixing is weaker than the truth and claims to be exact");
  }
  if (anas_mixing_distance(claim, claim) != 0) return wrong(model, "a mixing does not satisfy itself");
  if (truth->depth[r][a] == -2) {
    tally->paths_skipped++;
  } else if (found->depth[r][a] != truth->depth[r][a]) {
    fprintf(stderr, "result %d, argument %d: depth %" PRId64 ", by paths %" PRId64 "\n", r, a, found->depth[r][a],
            truth->depth[r][a]);
    return wrong(model, "depth is not what the paths give");
  }
  return true;
}

static bool same_properties(const struct anas_properties *a, const struct anas_properties *b) {
  for (int r = 0; r < a->num_results; r++)
    for (int i = 0; i < a->num_args; i++)
      if (a->depth[r][i] != b->depth[r][i] || !is_equal(&a->mixing[r][i], &b->mixing[r][i])) return false;
  return a->exact == b->exact;
}

static bool check_properties(struct fuzzer *fuzzer, const struct anas_model *model, const struct anas_model *typed,
                             struct brute *truth) {
  struct anas_properties found[2], cached[2], strict[2];
  struct anas_property_options with_cache = {.cache = fuzzer->cache}, reference = {.strict_reference = true};
  if (anas_infer_properties(typed, found) != ANAS_OK ||
      anas_infer_properties_with(typed, &with_cache, cached) != ANAS_OK ||
      anas_infer_properties_with(typed, &reference, strict) != ANAS_OK)
    return wrong(typed, "properties cannot be inferred");
  for (int f = 0; f < model->num_functions; f++) {
    if (!same_properties(&found[f], &cached[f])) return wrong(typed, "the cache gives other properties");
    for (int r = 0; r < found[f].num_results; r++)
      for (int a = 0; a < found[f].num_args; a++)
        if (!check_pair(fuzzer, typed, &found[f], &strict[f], &truth[f], r, a)) return false;
  }
  return true;
}

// ---- execution

// Changes one element of each argument and looks at what changes: nothing outside of the enumerated dependencies.
static bool check_execution(struct fuzzer *fuzzer, const struct anas_model *model, const struct brute *truth,
                            struct anas_rng *rng) {
  int entry = anas_model_entry(model);
  const struct anas_function *function = &model->functions[entry];
  double *args[ANAS_MAX_ARGS], *before[ANAS_MAX_RESULTS], *after[ANAS_MAX_RESULTS];
  bool fine = true;
  for (int a = 0; a < function->num_args; a++)
    args[a] = random_values(anas_shape_elements(&function->arg[a]), 0, 1, anas_rng_u64(rng));
  execute(fuzzer->context, model, entry, args, before);
  fuzzer->tally.executed++;
  for (int a = 0; a < function->num_args && fine; a++) {
    uint64_t x = anas_rng_below(rng, (uint64_t)anas_shape_elements(&function->arg[a]));
    double saved = args[a][x];
    args[a][x] += 3;
    execute(fuzzer->context, model, entry, args, after);
    args[a][x] = saved;
    fuzzer->tally.perturbed++;
    for (int r = 0; r < function->num_results; r++) {
      const struct brute_set *set = &truth->dependency[r][a];
      for (int64_t e = 0; e < anas_shape_elements(&function->result_type[r]); e++) {
        bool expected = set->bits && (set->bits[e * set->words + (int64_t)(x / 64)] >> (x % 64) & 1);
        bool changed = before[r][e] != after[r][e];
        fine = fine && (expected || !changed);
      }
      free(after[r]);
    }
  }
  for (int r = 0; r < function->num_results; r++)
    free(before[r]);
  for (int a = 0; a < function->num_args; a++)
    free(args[a]);
  return fine || wrong(model, "a result element changed that does not depend on what was changed");
}

// ---- one graph

static int64_t current; // for the message when something aborts

static void on_abort(int signal_number) {
  char text[128];
  int length = snprintf(text, sizeof text, "fuzz_properties: stopped in graph %" PRId64 "\n", current);
  if (write(STDERR_FILENO, text, (size_t)length) < 0) _exit(2);
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

static void count(struct fuzzer *fuzzer, const struct anas_model *model) {
  int num_defs;
  const struct anas_op_def *const *defs = anas_op_table(&num_defs);
  fuzzer->tally.graphs++;
  for (int f = 0; f < model->num_functions; f++)
    for (int n = 0; n < model->functions[f].num_nodes; n++) {
      const struct anas_op_def *def = model->functions[f].nodes[n].def;
      fuzzer->tally.ops += def != NULL;
      fuzzer->tally.calls += !def;
      for (int d = 0; d < num_defs; d++)
        fuzzer->tally.uses[d] += def == defs[d];
    }
}

static bool check_graph(struct fuzzer *fuzzer, int64_t number) {
  current = number;
  struct anas_rng base = anas_rng_make((uint64_t)fuzzer->options.seed);
  struct anas_rng rng = anas_rng_split(&base, (uint64_t)number);
  struct anas_model *model = graph_random(fuzzer->source, &rng, fuzzer->options.max_ops, fuzzer->options.max_elements);
  struct anas_model *dynamic = anas_rng_below(&rng, 2) ? graph_with_dynamic_batch(model) : NULL;
  struct brute truth[2] = {0};
  if (fuzzer->options.show) print_model(dynamic ? dynamic : model);
  count(fuzzer, model);
  fuzzer->tally.dynamic += dynamic != NULL;
  for (int f = 0; f < model->num_functions; f++)
    brute_init(model, f, &truth[f]);
  bool fine = check_text(fuzzer, dynamic ? dynamic : model) &&
              check_properties(fuzzer, model, dynamic ? dynamic : model, truth);
  if (fine && fuzzer->options.execute && number % fuzzer->options.execute == 0)
    fine = check_execution(fuzzer, model, &truth[anas_model_entry(model)], &rng);
  for (int f = 0; f < model->num_functions; f++)
    brute_deinit(&truth[f]);
  if (dynamic) anas_model_destroy(dynamic);
  anas_model_destroy(model);
  if (!fine)
    fprintf(stderr, "repeat with --seed=%" PRId64 " --only=%" PRId64 " --max-ops=%d --max-elements=%d\n",
            fuzzer->options.seed, number, fuzzer->options.max_ops, fuzzer->options.max_elements);
  return fine;
}

static void report(const struct fuzzer *fuzzer, double seconds) {
  const struct tally *t = &fuzzer->tally;
  int num_defs;
  const struct anas_op_def *const *defs = anas_op_table(&num_defs);
  printf("graphs %" PRId64 ", ops %" PRId64 ", calls %" PRId64 ", with '?' batch %" PRId64 ", seed %" PRId64
         ", %.1f s\n",
         t->graphs, t->ops, t->calls, t->dynamic, fuzzer->options.seed, seconds);
  printf("executed %" PRId64 ", single elements changed %" PRId64 "\n", t->executed, t->perturbed);
  printf("mixing: %" PRId64 " matrices, sound all, exact %" PRId64 " (%.4f %%), weaker and marked so %" PRId64 "\n",
         t->pairs, t->exact, 100.0 * (double)t->exact / (double)(t->pairs ? t->pairs : 1), t->inexact_known);
  printf("published composition: exact %.4f %%, too strong %.4f %%\n",
         100.0 * (double)t->strict_exact / (double)(t->pairs ? t->pairs : 1),
         100.0 * (double)t->strict_stronger / (double)(t->pairs ? t->pairs : 1));
  printf("its wrong entries (said > true):");
  for (int said = 0; said < 4; said++)
    for (int is = 0; is < 4; is++)
      if (said != is && t->strict_class[said][is]) printf(" %d>%d %" PRId64, said, is, t->strict_class[said][is]);
  printf("\ndepth: all equal, %" PRId64 " with too many paths to enumerate\n", t->paths_skipped);
  printf("uses:");
  for (int d = 0; d < num_defs; d++)
    if (defs[d]->level == ANAS_ARCHITECTURE) printf(" %s %" PRId64, defs[d]->name, t->uses[d]);
  printf("\n");
}

static bool read_options(int argc, char **argv, struct options *out) {
  static const struct option names[] = {
      {"count", required_argument, NULL, 'c'},        {"seed", required_argument, NULL, 's'},
      {"execute", required_argument, NULL, 'e'},      {"only", required_argument, NULL, 'o'},
      {"max-ops", required_argument, NULL, 'm'},      {"show", no_argument, NULL, 'v'},
      {"max-elements", required_argument, NULL, 'n'}, {0}};
  *out = (struct options){.count = 100000, .seed = 1, .execute = 50, .only = -1, .max_ops = 12, .max_elements = 192};
  for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
    long long value = optarg ? strtoll(optarg, NULL, 10) : 0;
    switch (option) {
    case 'c': out->count = value; break;
    case 's': out->seed = value; break;
    case 'e': out->execute = value; break;
    case 'o': out->only = value; break;
    case 'm': out->max_ops = (int)value; break;
    case 'n': out->max_elements = (int)value; break;
    case 'v': out->show = true; break;
    default: return false;
    }
  }
  return optind == argc && out->max_ops >= 1 && out->max_ops <= 64 && out->max_elements >= 160 &&
         out->max_elements <= GRAPH_LARGEST;
}

int main(int argc, char **argv) {
  struct fuzzer fuzzer = {0};
  struct timespec from, to;
  int num_defs;
  if (!read_options(argc, argv, &fuzzer.options)) {
    fprintf(stderr, "usage: fuzz_properties [--count=N] [--seed=N] [--max-ops=N] [--max-elements=N] [--execute=EVERY] "
                    "[--only=GRAPH] [--show]\n");
    return 1;
  }
  anas_op_table(&num_defs);
  fuzzer.tally.uses = anas_calloc((size_t)num_defs, sizeof *fuzzer.tally.uses);
  fuzzer.context = anas_context_create(false);
  fuzzer.source = graph_source_create(fuzzer.context);
  fuzzer.cache = anas_property_cache_create();
  signal(SIGABRT, on_abort);
  signal(SIGSEGV, on_abort);
  clock_gettime(CLOCK_MONOTONIC, &from);
  bool fine = true;
  if (fuzzer.options.only >= 0)
    fine = check_graph(&fuzzer, fuzzer.options.only);
  else
    for (int64_t i = 0; i < fuzzer.options.count && fine; i++)
      fine = check_graph(&fuzzer, i);
  clock_gettime(CLOCK_MONOTONIC, &to);
  if (fine) report(&fuzzer, (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec));
  anas_property_cache_destroy(fuzzer.cache);
  graph_source_destroy(fuzzer.source);
  mlirContextDestroy(fuzzer.context);
  free(fuzzer.tally.uses);
  return fine ? 0 : 1;
}
