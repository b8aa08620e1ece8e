// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Synthesis methods compared: chains of 1 to 8 ops are cut out of zoo networks, and every method has to find a chain
// with the same shape, depth and mixing. One JSON line a method and length: success rate, candidates evaluated,
// microseconds of processor time. A last line a method says how candidates grow with the length; the lines
// synthesis-refute, what it costs to find that a target cannot be met.
// Arguments: [MODELS [RUNS [BUDGET [TARGETS]]]]; default cnn,resnet18,resnet50,b0 20 200000 12: networks, runs a target
// of methods that draw, most candidates of one run, most targets a length.
#include "dialect/zoo.h"
#include "passes/mutate/internal.h"
#include "passes/synthesis/synthesis.h"
#include "runtime/support/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LONGEST 8

static double thread_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// ---- chains

struct cut {
  const struct anas_node *nodes;
  int length;
  struct anas_target target;
};

struct cuts {
  struct cut *items;
  size_t capacity, count;
  struct anas_arena arena; // nodes
};

// Ops that each read the one before, across calls.
struct run {
  struct anas_node *nodes;
  struct anas_shape *inputs;
  size_t capacity_nodes, capacity_inputs;
  int length;
  bool input_linear;
};

static bool in_alphabet(const struct anas_node *node) {
  return node->def && node->def->synthesizable && node->num_operands == 1 && node->num_results == 1;
}

static int uses_of(const struct anas_function *function, struct anas_ref ref) {
  int uses = 0;
  for (int n = 0; n < function->num_nodes; n++)
    for (int o = 0; o < function->nodes[n].num_operands; o++) {
      struct anas_ref operand = function->nodes[n].operand[o];
      uses += operand.node == ref.node && operand.index == ref.index;
    }
  for (int r = 0; r < function->num_results; r++)
    uses += function->result[r].node == ref.node && function->result[r].index == ref.index;
  return uses;
}

static bool is_linear(const struct anas_function *function, struct anas_ref ref) {
  if (ref.node == ANAS_ARGUMENT) return function->arg_linear[ref.index];
  return function->nodes[ref.node].def && function->nodes[ref.node].def->linearity == ANAS_LINEAR;
}

// The properties of ops [first, first + length), where they stand.
static bool target_of(const struct run *run, int first, int length, struct anas_target *out) {
  const struct anas_node *nodes = run->nodes + first;
  *out = (struct anas_target){.input = run->inputs[first],
                              .input_linear = first ? nodes[-1].def->linearity == ANAS_LINEAR : run->input_linear,
                              .require_depth = true,
                              .require_mixing = true};
  struct anas_depth_state depth = {0, out->input_linear ? ANAS_LINEAR : ANAS_NONLINEAR};
  static struct anas_reads reads;
  anas_reads_of_input(&out->input, &reads);
  for (int n = 0; n < length; n++) {
    struct anas_op op;
    if (anas_node_resolve(&nodes[n], &run->inputs[first + n], &op) != ANAS_OK) return false;
    anas_reads_append(&reads, &op, 0, &nodes[n].result[0], NULL, &reads);
    depth = anas_depth_append(depth, nodes[n].def->linearity);
    out->output = nodes[n].result[0];
  }
  anas_reads_mixing(&reads, &out->mixing);
  out->depth = depth.depth;
  return out->input.rank >= 2 && out->input.rank == out->output.rank;
}

static bool same_target(const struct anas_target *a, const struct anas_target *b) {
  if (!anas_shape_equal(&a->input, &b->input) || !anas_shape_equal(&a->output, &b->output)) return false;
  if (a->depth != b->depth || a->input_linear != b->input_linear) return false;
  for (int i = 0; i < a->mixing.rows; i++)
    if (memcmp(a->mixing.pair[i], b->mixing.pair[i], (size_t)a->mixing.columns)) return false;
  return true;
}

static void add_cut(struct cuts *cuts, struct cut cut) {
  for (size_t i = 0; i < cuts->count; i++) {
    bool same = cuts->items[i].length == cut.length && same_target(&cuts->items[i].target, &cut.target);
    for (int n = 0; n < cut.length && same; n++)
      same = cuts->items[i].nodes[n].def == cut.nodes[n].def;
    if (same) return;
  }
  struct anas_node *nodes = anas_arena_alloc(&cuts->arena, (size_t)cut.length * sizeof *nodes);
  memcpy(nodes, cut.nodes, (size_t)cut.length * sizeof *nodes);
  cut.nodes = nodes;
  cuts->items = anas_grow(cuts->items, cuts->count, &cuts->capacity, sizeof *cuts->items);
  cuts->items[cuts->count++] = cut;
}

// Cuts out every part of the run, and starts anew.
static void flush(struct run *run, struct cuts *cuts) {
  for (int first = 0; first < run->length; first++)
    for (int length = 1; length <= LONGEST && first + length <= run->length; length++) {
      struct cut cut = {.nodes = run->nodes + first, .length = length};
      if (target_of(run, first, length, &cut.target)) add_cut(cuts, cut);
    }
  run->length = 0;
}

// Follows the ops of a function; *tail is the value at which the run ends, or nothing (node -2).
static void follow(const struct anas_model *model, const struct anas_function *function, struct run *run,
                   struct anas_ref *tail, struct cuts *cuts) {
  for (int n = 0; n < function->num_nodes; n++) {
    const struct anas_node *node = &function->nodes[n];
    bool continues = node->num_operands == 1 && node->operand[0].node == tail->node &&
                     node->operand[0].index == tail->index && uses_of(function, *tail) == 1;
    if (!continues) {
      flush(run, cuts);
      *tail = (struct anas_ref){-2, 0};
    }
    if (in_alphabet(node)) {
      if (!run->length) run->input_linear = is_linear(function, node->operand[0]);
      run->nodes = anas_grow(run->nodes, (size_t)run->length, &run->capacity_nodes, sizeof *run->nodes);
      run->inputs = anas_grow(run->inputs, (size_t)run->length, &run->capacity_inputs, sizeof *run->inputs);
      run->nodes[run->length] = *node;
      run->inputs[run->length++] = *anas_value_type(function, node->operand[0]);
      *tail = (struct anas_ref){n, 0};
    } else if (!node->def && node->num_operands == 1 && node->num_results == 1) {
      const struct anas_function *callee = &model->functions[node->callee];
      struct anas_ref inner = continues ? (struct anas_ref){ANAS_ARGUMENT, 0} : (struct anas_ref){-2, 0};
      follow(model, callee, run, &inner, cuts);
      bool through = inner.node >= 0 && callee->result[0].node == inner.node && uses_of(callee, inner) == 1;
      if (!through) flush(run, cuts);
      *tail = through ? (struct anas_ref){n, 0} : (struct anas_ref){-2, 0};
    } else {
      flush(run, cuts);
      *tail = (struct anas_ref){-2, 0};
    }
  }
}

static void cut_model(const struct anas_model *model, struct cuts *cuts) {
  struct run run = {0};
  struct anas_ref tail = {-2, 0};
  follow(model, &model->functions[anas_model_entry(model)], &run, &tail, cuts);
  flush(&run, cuts);
  free(run.nodes);
  free(run.inputs);
}

// The longest chain of the zoo has seven ops; with a block more, as the search would make it, there are ten.
static void cut_longer(struct anas_model *model, struct cuts *cuts) {
  struct anas_function *entry = &model->functions[anas_model_entry(model)];
  int call = 0;
  while (call < entry->num_nodes && entry->nodes[call].def)
    call++;
  if (call == entry->num_nodes || anas_duplicate_block(model, call, 1) != ANAS_OK) return;
  if (anas_model_infer_shapes(model) == ANAS_OK) cut_model(model, cuts);
}

// ---- methods

struct method {
  const char *name;
  bool draws; // different seeds, different results
  bool production;
  struct anas_synthesis_options options;
};

static const struct method methods[] = {
    {"greedy", true, false, {.mode = ANAS_GREEDY, .filter_progress = true}},
    {"uniform", true, false, {.mode = ANAS_UNIFORM, .filter_progress = true}},
    {"weighted", true, false, {.mode = ANAS_WEIGHTED, .filter_progress = true}},
    {"production", true, true, {.mode = ANAS_WEIGHTED}},
    {"production-retries", true, true, {.mode = ANAS_WEIGHTED, .attempts = 16}},
    {"enumerative", false, false, {.method = ANAS_ENUMERATIVE}},
    {"enumerative-prune", false, false, {.method = ANAS_ENUMERATIVE, .prune = true}},
    {"random-enum", true, false, {.method = ANAS_RANDOM_ENUM}},
    {"random", true, false, {.method = ANAS_RANDOM}},
    {"primer", true, false, {.method = ANAS_PRIMER, .attempts = 16}},
    {"automl-zero", true, false, {.method = ANAS_AUTOML_ZERO, .attempts = 16}},
};

// Production: the settings of spec 3.7.
static struct anas_synthesis_options options_for(const struct method *method, int length, int64_t budget) {
  struct anas_synthesis_options options = method->options;
  options.min_length = 1;
  options.max_length = length + 2;
  options.max_candidates = budget;
  options.epsilon = 0.1;
  options.exponent = 2;
  if (method->production) {
    options.min_length = length > 2 ? length - 1 : 1;
    options.grow_probability = 0.2;
    options.randomize_attributes = true;
  }
  return options;
}

struct tally {
  int targets, runs, successes, out_of_budget;
  int64_t candidates, most;
  double seconds, ops;
};

static void run_method(const struct method *method, const struct cut *cut, int runs, int64_t budget,
                       struct tally *tally) {
  for (int seed = 0; seed < (method->draws ? runs : 1); seed++) {
    struct anas_synthesis_effort effort;
    struct anas_synthesis_options options = options_for(method, cut->length, budget);
    options.effort = &effort;
    struct anas_rng rng = anas_rng_make((uint64_t)seed);
    struct anas_synthesis_result result;
    double start = thread_seconds();
    anas_status status = anas_synthesize_chain(&cut->target, 1, cut->nodes, cut->length, &options, &rng, &result);
    tally->seconds += thread_seconds() - start;
    tally->runs++;
    tally->candidates += effort.candidates;
    if (effort.candidates > tally->most) tally->most = effort.candidates;
    tally->out_of_budget += effort.out_of_budget;
    if (status != ANAS_OK) continue;
    if (result.distance == 0) {
      tally->successes++;
      tally->ops += result.num_nodes;
    }
    anas_synthesis_result_deinit(&result);
  }
}

static void print_tally(const char *method, int length, const struct tally *t) {
  printf("{\"bench\":\"synthesis\",\"method\":\"%s\",\"length\":%d,\"targets\":%d,\"runs\":%d,\"success_rate\":%.4f,"
         "\"candidates\":%.1f,\"most_candidates\":%lld,\"us\":%.1f,\"result_length\":",
         method, length, t->targets, t->runs, (double)t->successes / t->runs, (double)t->candidates / t->runs,
         (long long)t->most, t->seconds / t->runs * 1e6);
  if (t->successes)
    printf("%.2f", t->ops / t->successes);
  else
    printf("null");
  printf(",\"stopped_by_budget\":%d}\n", t->out_of_budget);
  fflush(stdout);
}

// Over the lengths at which no run was stopped by the budget: candidates an op if they are linear, and the factor from
// one length to the next (geometric mean) if they are exponential.
static void print_growth(const char *method, const struct tally *tallies, int64_t budget) {
  int last = 0;
  while (last < LONGEST && tallies[last].runs && !tallies[last].out_of_budget)
    last++;
  printf("{\"bench\":\"synthesis-growth\",\"method\":\"%s\",\"budget\":%lld,\"lengths_within_budget\":%d", method,
         (long long)budget, last);
  if (last > 1) {
    double first = (double)tallies[0].candidates / tallies[0].runs;
    double final = (double)tallies[last - 1].candidates / tallies[last - 1].runs;
    printf(",\"candidates_first\":%.1f,\"candidates_last\":%.1f,\"candidates_per_op_last\":%.1f,\"factor_per_op\":%.2f",
           first, final, final / last, pow(final / first, 1.0 / (last - 1)));
  }
  printf("}\n");
}

// What it costs to refute a target that no chain up to a length has: all of them for an enumeration, the best of each
// step for greedy.
static void print_exhaustion(const struct cut *cut, int64_t budget) {
  static const struct method compared[] = {
      {"greedy", false, false, {.mode = ANAS_GREEDY, .filter_progress = true}},
      {"enumerative", false, false, {.method = ANAS_ENUMERATIVE}},
      {"enumerative-prune", false, false, {.method = ANAS_ENUMERATIVE, .prune = true}},
      {"random-enum", false, false, {.method = ANAS_RANDOM_ENUM}}};
  for (size_t m = 0; m < sizeof compared / sizeof *compared; m++)
    for (int length = 1; length <= LONGEST; length++) {
      struct cut beyond = *cut;
      beyond.target.depth += 100;
      struct anas_synthesis_effort effort;
      struct anas_synthesis_options options = options_for(&compared[m], length, budget);
      options.max_length = length;
      options.effort = &effort;
      struct anas_rng rng = anas_rng_make(1);
      struct anas_synthesis_result result;
      double start = thread_seconds();
      anas_status status = anas_synthesize_chain(&beyond.target, 1, cut->nodes, cut->length, &options, &rng, &result);
      double seconds = thread_seconds() - start;
      if (status == ANAS_OK) anas_synthesis_result_deinit(&result);
      printf("{\"bench\":\"synthesis-refute\",\"method\":\"%s\",\"length\":%d,\"candidates\":%lld,\"us\":%.1f,"
             "\"stopped_by_budget\":%s}\n",
             compared[m].name, length, (long long)effort.candidates, seconds * 1e6,
             effort.out_of_budget ? "true" : "false");
      if (effort.out_of_budget) break;
    }
}

int main(int argc, char **argv) {
  char *names = anas_strdup(argc > 1 ? argv[1] : "cnn,resnet18,resnet50,b0");
  int runs = argc > 2 ? atoi(argv[2]) : 20;
  int64_t budget = argc > 3 ? atoll(argv[3]) : 200000;
  int most = argc > 4 ? atoi(argv[4]) : 12;
  if (runs < 1 || budget < 1 || most < 1) {
    fprintf(stderr, "RUNS, BUDGET and TARGETS must be positive\n");
    return 1;
  }
  struct cuts cuts = {0};
  for (char *name = strtok(names, ","); name; name = strtok(NULL, ",")) {
    bool large = name[0] == 'b' || strchr(name, '/');
    int64_t side = large ? 224 : 32, classes = large ? 1000 : 10;
    struct anas_model *model;
    if (anas_zoo_build(name, side, side, 3, classes, &model) != ANAS_OK) {
      fprintf(stderr, "%s\n", anas_error_message());
      return 1;
    }
    cut_model(model, &cuts);
    if (!strcmp(name, "cnn")) cut_longer(model, &cuts);
    anas_model_destroy(model);
  }
  for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
    struct tally tallies[LONGEST] = {{0}};
    for (int length = 1; length <= LONGEST; length++) {
      struct tally *tally = &tallies[length - 1];
      size_t available = 0, seen = 0;
      for (size_t i = 0; i < cuts.count; i++)
        available += cuts.items[i].length == length;
      for (size_t i = 0; i < cuts.count; i++) {
        if (cuts.items[i].length != length) continue;
        size_t turn = seen++; // evenly spread over what there is
        if (available > (size_t)most && turn * (size_t)most / available == (turn + 1) * (size_t)most / available)
          continue;
        tally->targets++;
        run_method(&methods[m], &cuts.items[i], runs, budget, tally);
      }
      if (tally->runs) print_tally(methods[m].name, length, tally);
    }
    print_growth(methods[m].name, tallies, budget);
  }
  for (size_t i = 0; i < cuts.count; i++)
    if (cuts.items[i].length == 3) {
      print_exhaustion(&cuts.items[i], budget);
      break;
    }
  free(cuts.items);
  anas_arena_deinit(&cuts.arena);
  free(names);
  return 0;
}
