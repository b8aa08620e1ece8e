// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Graph synthesis and splicing: branches are dropped exactly where the rest satisfies, residual connections, weakened
// requirements, free shapes, chosen chains, the error cases of splicing (C16), and what every rewritten body owes.
#include "dialect/context.h"
#include "dialect/zoo.h"
#include "passes/mutate/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static MlirContext context;

static int set_up(void **state) {
  (void)state;
  context = anas_context_create(false);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  mlirContextDestroy(context);
  return 0;
}

static struct anas_model *load(const char *text) {
  MlirModule module;
  struct anas_model *model;
  if (anas_parse(context, text, strlen(text), "test", &module)) fail_msg("%s", anas_error_message());
  assert_int_equal(anas_model_import(module, &model), ANAS_OK);
  assert_int_equal(anas_model_infer_shapes(model), ANAS_OK);
  mlirModuleDestroy(module);
  return model;
}

static struct anas_model *zoo(const char *name) {
  struct anas_model *model;
  assert_int_equal(anas_zoo_build(name, 32, 32, 3, 10, &model), ANAS_OK);
  return model;
}

static struct anas_mutation_options configure(const char *text) {
  struct anas_mutation_options options;
  if (anas_mutation_configure(text, &options)) fail_msg("%s", anas_error_message());
  return options;
}

#define X "tensor<*xf32>"
#define T "tensor<?x8x8x4xf32>"
#define UNARY(result, op, operand, attrs) "  " result " = \"anas." op "\"(" operand ") {" attrs "} : (" X ") -> " X "\n"
#define BINARY(result, op, a, b) "  " result " = \"anas." op "\"(" a ", " b ") : (" X ", " X ") -> " X "\n"
#define CONV(result, operand, name)                                                                                    \
  UNARY(result, "conv", operand, "anas.name = \"" name "\", features = \"S:-1\", kernel = 3 : i64")
// A network that calls one block, whose body is given.
#define NETWORK(body, result)                                                                                          \
  "func.func @main(%i: " T ") -> " T " {\n  %x = \"anas.identity\"(%i) : (" T ") -> " X                                \
  "\n  %0 = call @block(%x) : (" X ") -> " X "\n  %1 = \"anas.relu\"(%0) : (" X ") -> " T "\n  return %1 : " T         \
  "\n}\nfunc.func private @block(%x: " X ") -> " X " attributes {anas.block = \"b\"} {\n" body "  return " result      \
  " : " X "\n}\n"

// ---- dropping branches

struct dropped {
  bool happened;
  int kept_node; // of the old body, ANAS_ARGUMENT for the argument
};

// Rewrites the block with one selected node.
static struct dropped try_drop(const char *text, int node, const char *settings, uint64_t seed) {
  struct anas_model *model = load(text);
  int function = anas_model_find(model, "block");
  const struct anas_function *old = &model->functions[function];
  struct anas_mutation_options options = configure(settings);
  struct anas_rng rng = anas_rng_make(seed);
  struct anas_strbuf description = {0};
  struct anas_mutation_report report = {0};
  struct anas_draft draft;
  bool selected[16] = {false};
  selected[node] = true;
  anas_draft_init(&draft, model, &function, 1, true);
  struct anas_rewrite rewrite = {.options = &options,
                                 .rng = &rng,
                                 .selected = selected,
                                 .draft = &draft,
                                 .report = &report,
                                 .description = &description};
  anas_status status = anas_rewrite_body(&rewrite);
  struct dropped out = {.happened = report.dropped == 1};
  assert_int_equal(status, out.happened ? ANAS_OK : ANAS_INFEASIBLE); // nothing else could happen
  if (out.happened) {
    assert_int_equal(old->result[0].node, node);
    struct anas_ref kept = draft.results[0];
    out.kept_node = kept.node == ANAS_ARGUMENT ? ANAS_ARGUMENT : draft.nodes[kept.node].old;
  }
  anas_draft_deinit(&draft);
  anas_strbuf_deinit(&description);
  anas_model_destroy(model);
  return out;
}

#define STRICT "drop-branch=1 depth=0 mixing=0 weaken=0 residual=0"

static void branches_drop_where_the_rest_satisfies(void **state) {
  (void)state;
  // conv relu conv + x: depth 3 and the pairing are those of the branch, so the connection may go, the branch not.
  static const char deep[] = NETWORK(
      CONV("%0", "%x", "a") UNARY("%1", "relu", "%0", "") CONV("%2", "%1", "b") BINARY("%3", "add", "%2", "%x"), "%3");
  // conv relu + x: the sum is one more linear op after relu, depth 3, which the branch alone does not have.
  static const char shallow[] =
      NETWORK(CONV("%0", "%x", "a") UNARY("%1", "relu", "%0", "") BINARY("%2", "add", "%1", "%x"), "%2");
  // Two branches of equal depth, one of which mixes channels and space, the other nothing.
  static const char mixing[] = NETWORK(
      CONV("%0", "%x", "a") UNARY("%1", "batch_norm", "%x", "anas.name = \"n\"") BINARY("%2", "mul", "%0", "%1"), "%2");
  int kept_branch = 0, kept_connection = 0;
  for (uint64_t seed = 0; seed < 40; seed++) {
    struct dropped d = try_drop(deep, 3, STRICT, seed);
    assert_true(d.happened);
    assert_int_equal(d.kept_node, 2);
    assert_false(try_drop(shallow, 2, STRICT, seed).happened);
    d = try_drop(mixing, 2, STRICT, seed);
    assert_true(d.happened);
    assert_int_equal(d.kept_node, 0);
    // without demands on depth the mixing still needs the branch; without any, either may stay
    d = try_drop(shallow, 2, STRICT " property=depth=no", seed);
    assert_true(d.happened && d.kept_node == 1);
    d = try_drop(shallow, 2, STRICT " property=depth=no,mixing=no", seed);
    assert_true(d.happened);
    kept_branch += d.kept_node == 1;
    kept_connection += d.kept_node == ANAS_ARGUMENT;
    assert_false(try_drop(deep, 3, STRICT " drop-branch=0", seed).happened);
  }
  assert_true(kept_branch > 0 && kept_connection > 0);
}

static void branches_of_other_shapes_stay(void **state) {
  (void)state;
  // The second operand is broadcast: alone it has another shape.
  static const char text[] = NETWORK(
      CONV("%0", "%x", "a") UNARY("%1", "avg_pool", "%0", "window = 0 : i64") BINARY("%2", "mul", "%1", "%0"), "%2");
  for (uint64_t seed = 0; seed < 20; seed++) {
    struct dropped d = try_drop(text, 2, STRICT " property=depth=no,mixing=no", seed);
    assert_true(d.happened && d.kept_node == 0);
  }
  // Neither operand has the shape of the result.
  static const char outer[] =
      NETWORK(UNARY("%0", "avg_pool", "%x", "window = array<i64: 8, 1>")
                  UNARY("%1", "avg_pool", "%x", "window = array<i64: 1, 8>") BINARY("%2", "mul", "%0", "%1"),
              "%2");
  assert_false(try_drop(outer, 2, STRICT " property=depth=no,mixing=no", 1).happened);
}

// ---- whole mutations of blocks with junctions

#define RESIDUAL_BLOCK                                                                                                 \
  NETWORK(CONV("%0", "%x", "a") UNARY("%1", "batch_norm", "%0", "anas.name = \"n\"") UNARY("%2", "relu", "%1", "")     \
              CONV("%3", "%2", "b") BINARY("%4", "add", "%3", "%x") UNARY("%5", "gelu", "%4", "")                      \
                  UNARY("%6", "avg_pool", "%5", "window = 0 : i64") UNARY("%7", "sigmoid", "%6", "")                   \
                      BINARY("%8", "mul", "%5", "%7"),                                                                 \
          "%8")

static int count_ops(const struct anas_model *model, const char *op) {
  int count = 0;
  for (int f = 0; f < model->num_functions; f++)
    for (int n = 0; n < model->functions[f].num_nodes; n++)
      count += model->functions[f].nodes[n].def && !strcmp(model->functions[f].nodes[n].def->name, op);
  return count;
}

static void junctions_are_rewired(void **state) {
  (void)state;
  struct anas_model *model = load(RESIDUAL_BLOCK);
  struct anas_mutation_options options =
      configure("duplicate=0 delete=0 grow=0.95 max-fraction=1 residual=0.3 drop-branch=0.5");
  int dropped = 0, residuals = 0, chains = 0;
  for (uint64_t seed = 0; seed < 300; seed++) {
    struct anas_rng rng = anas_rng_make(seed);
    struct anas_mutation_report report;
    struct anas_model *child;
    assert_int_equal(anas_mutate(model, &options, &rng, &child, &report), ANAS_OK);
    assert_int_equal(anas_model_verify(child), ANAS_OK);
    assert_true(report.chains + report.dropped > 0);
    int before = count_ops(model, "add") + count_ops(model, "mul");
    int after = count_ops(child, "add") + count_ops(child, "mul");
    assert_true(after <= before - report.dropped + report.residuals); // a dropped branch may take others with it
    dropped += report.dropped;
    residuals += report.residuals;
    chains += report.chains;
    assert_int_equal(strstr(report.description, "dropped") != NULL, report.dropped > 0);
    anas_model_destroy(child);
  }
  assert_true(chains > 300 && dropped > 20 && residuals > 50);
  anas_model_destroy(model);
}

// What the finished function has is never less than the function had before, if nothing is mutated.
static void unmutated_requirements_hold_for_the_whole(void **state) {
  (void)state;
  const char *const texts[] = {RESIDUAL_BLOCK, NETWORK(CONV("%0", "%x", "a") UNARY("%1", "relu", "%0", "")
                                                           CONV("%2", "%1", "b") BINARY("%3", "add", "%2", "%x")
                                                               CONV("%4", "%3", "c") BINARY("%5", "mul", "%4", "%1"),
                                                       "%5")};
  struct anas_mutation_options options =
      configure("duplicate=0 delete=0 grow=0.9 max-fraction=1 depth=0 mixing=0 weaken=0 drop-branch=0.5 residual=0.2");
  for (int t = 0; t < 2; t++) {
    struct anas_model *model = load(texts[t]);
    struct anas_properties before[2], after[2];
    int block = anas_model_find(model, "block");
    assert_int_equal(anas_infer_properties(model, before), ANAS_OK);
    for (uint64_t seed = 0; seed < 100; seed++) {
      struct anas_rng rng = anas_rng_make(seed);
      struct anas_mutation_report report;
      struct anas_model *child;
      assert_int_equal(anas_mutate(model, &options, &rng, &child, &report), ANAS_OK);
      assert_int_equal(anas_infer_properties(child, after), ANAS_OK);
      int now = anas_model_find(child, "block");
      assert_true(after[now].depth[0][0] >= before[block].depth[0][0]);
      for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
          assert_true(after[now].mixing[0][0].pair[i][j] >= before[block].mixing[0][0].pair[i][j]);
      anas_model_destroy(child);
    }
    anas_model_destroy(model);
  }
}

static void a_false_claim_is_found(void **state) {
  (void)state;
  struct anas_model *model = load(RESIDUAL_BLOCK);
  struct anas_properties properties[2];
  int block = anas_model_find(model, "block");
  assert_int_equal(anas_infer_properties(model, properties), ANAS_OK);
  struct anas_relation *required = anas_calloc(ANAS_MAX_RESULTS * ANAS_MAX_ARGS, sizeof *required);
  struct anas_claim claim = {.num_functions = 1, .functions = &block, .required = required};
  required[0].required_depth = properties[block].depth[0][0];
  required[0].required_mixing = properties[block].mixing[0][0];
  assert_int_equal(anas_claim_verify(&claim, model), ANAS_OK);
  required[0].required_depth++;
  assert_int_equal(anas_claim_verify(&claim, model), ANAS_INFEASIBLE);
  assert_non_null(strstr(anas_error_message(), "depth"));
  required[0].required_depth--;
  required[0].required_mixing.pair[0][1] = 1;
  assert_int_equal(anas_claim_verify(&claim, model), ANAS_INFEASIBLE);
  free(required);
  anas_model_destroy(model);
}

// ---- properties

static void mutated_properties(void **state) {
  (void)state;
  struct anas_mutation_options options = configure("depth=0.5 depth-delta=2 mixing=0.5 weaken=0.25 shape=0.3");
  struct anas_rng rng = anas_rng_make(3);
  int deltas[5] = {0}, dropped = 0, lowered = 0, kept = 0, free_shapes = 0, rounds = 20000;
  for (int i = 0; i < rounds; i++) {
    struct anas_property_change change;
    anas_draw_change(&options, true, &rng, &change);
    deltas[change.depth_delta + 2]++;
    dropped += change.drop_mixing;
    free_shapes += change.any_shape;
    struct anas_mixing mixing = {.rows = 1, .columns = 4, .pair = {{0, 1, 2, 3}}};
    anas_change_mixing(&change, &mixing);
    for (int j = 0; j < 4; j++) {
      if (change.drop_mixing) {
        assert_int_equal(mixing.pair[0][j], 0);
        continue;
      }
      int lower = j - mixing.pair[0][j];
      assert_true(lower == 0 || (lower == 1 && j > 0));
      lowered += lower;
      kept += j > 0 && !lower;
    }
  }
  // |delta| is 0, 1, 2 with 0.5, 0.25, 0.25 (spec 2.3), both signs alike.
  assert_true(abs(deltas[2] - rounds / 2) < 400);
  for (int d = 0; d < 5; d++)
    if (d != 2) assert_true(abs(deltas[d] - rounds / 8) < 300);
  assert_true(abs(dropped - rounds / 2) < 400);
  assert_true(abs(lowered * 3 - kept) < 1500);
  assert_true(abs(free_shapes - rounds * 3 / 10) < 400);
  int64_t depth = 1;
  anas_change_depth(&(struct anas_property_change){.depth_delta = -2}, &depth);
  assert_int_equal(depth, 0);
  // Only results of the selection have their shapes mutated.
  for (int i = 0; i < 100; i++) {
    struct anas_property_change change;
    anas_draw_change(&options, false, &rng, &change);
    assert_false(change.any_shape);
  }
}

// With free shapes a block of the chain network may change what it passes on; the classes stay.
static void free_shapes(void **state) {
  (void)state;
  struct anas_model *model = zoo("cnn");
  struct anas_mutation_options options = configure("duplicate=0 delete=0 shape=1 retries=64");
  int changed = 0;
  for (uint64_t seed = 0; seed < 60; seed++) {
    struct anas_rng rng = anas_rng_make(seed);
    struct anas_mutation_report report;
    struct anas_model *child;
    assert_int_equal(anas_mutate(model, &options, &rng, &child, &report), ANAS_OK);
    assert_int_equal(anas_model_verify(child), ANAS_OK);
    for (int f = 0; f < child->num_functions; f++) {
      const struct anas_function *before = &model->functions[anas_model_find(model, child->functions[f].name)];
      changed +=
          child->functions[f].block && !anas_shape_equal(&child->functions[f].result_type[0], &before->result_type[0]);
      if (!child->functions[f].is_private)
        assert_true(anas_shape_equal(&child->functions[f].result_type[0], &before->result_type[0]));
    }
    anas_model_destroy(child);
  }
  assert_true(changed > 10);
  anas_model_destroy(model);
}

// ---- sequential selection (A11)

static void sequences_are_chains(void **state) {
  (void)state;
  struct anas_model *model = zoo("cnn");
  const struct anas_function *f = &model->functions[anas_model_find(model, "conv_layer0")];
  struct anas_mutation_options options = configure("selection=sequential grow=0.5 max-ops=3");
  struct anas_rng rng = anas_rng_make(0);
  int sizes[4] = {0};
  for (int i = 0; i < 200; i++) {
    bool selected[16];
    int storage[16];
    struct anas_chain chains[16];
    anas_select_sequence(f, &options, &rng, selected);
    assert_int_equal(anas_find_chains(f, selected, storage, chains), 1); // one input, one exposed result
    assert_in_range(chains[0].length, 1, 3);
    sizes[chains[0].length]++;
  }
  assert_true(sizes[1] > 50 && sizes[2] > 20 && sizes[3] > 20);
  // Length drawn when there is no probability of growing.
  options = configure("selection=sequential grow=0 max-ops=3");
  memset(sizes, 0, sizeof sizes);
  for (int i = 0; i < 300; i++) {
    bool selected[16];
    int size = 0;
    anas_select_sequence(f, &options, &rng, selected);
    for (int n = 0; n < f->num_nodes; n++)
      size += selected[n];
    sizes[size]++;
  }
  assert_true(sizes[1] > 50 && sizes[2] > 50 && sizes[3] > 50);
  anas_model_destroy(model);
}

static void sequential_mutations(void **state) {
  (void)state;
  // A11: F1 as one function, 20 mutations of one chain each.
  struct anas_model *model = zoo("cnn");
  struct anas_mutation_options options = configure(
      "scope=function selection=sequential grow=0.5 max-ops=3 depth=0 mixing=0 weaken=0 residual=0 drop-branch=0");
  struct anas_rng rng = anas_rng_make(0);
  for (int i = 0; i < 20; i++) {
    struct anas_mutation_report report;
    struct anas_model *child;
    assert_int_equal(anas_mutate(model, &options, &rng, &child, &report), ANAS_OK);
    assert_string_equal(report.kind, "mutate");
    assert_int_equal(report.chains, 1);
    anas_model_destroy(child);
  }
  anas_model_destroy(model);
}

// ---- splicing (C16)

static struct anas_draft_node kept(int old, struct anas_ref operand) {
  struct anas_draft_node node = {.old = old, .op = {.num_operands = 1, .num_results = 1, .operand = {operand}}};
  return node;
}

static struct anas_draft_node fresh(const char *op, const char *name, struct anas_ref operand) {
  struct anas_draft_node node = {.old = -1};
  node.op = (struct anas_node){
      .def = anas_op_find(op, strlen(op)), .name = name, .num_operands = 1, .num_results = 1, .operand = {operand}};
  return node;
}

static void splice_errors(void **state) {
  (void)state;
  const struct anas_ref x = {ANAS_ARGUMENT, 0};
  struct anas_model *model =
      load("func.func @main(%i: " T ") -> " T " {\n  %0 = \"anas.conv\"(%i) {anas.name = \"a\", features = 4 : i64, "
           "kernel = 3 : i64} : (" T ") -> " X "\n" UNARY("%1", "relu", "%0", "")
               UNARY("%2", "batch_norm", "%1", "anas.name = \"n\"") "  %3 = \"anas.gelu\"(%2) : (" X ") -> " T
                                                                    "\n  return %3 : " T "\n}\n");
  struct anas_function *f = &model->functions[0];
  char before[33], after[33];
  anas_model_hash(model, before);
  struct anas_draft_node same[] = {kept(0, x), kept(1, (struct anas_ref){0, 0}), kept(2, (struct anas_ref){1, 0}),
                                   kept(3, (struct anas_ref){2, 0})};
  struct anas_draft_node nodes[5];
  const struct anas_ref result = {3, 0};
  const struct {
    struct anas_draft_node node; // in place of node 2
    struct anas_ref result;
    const char *message;
  } errors[] = {
      {kept(2, (struct anas_ref){9, 0}), {3, 0}, "produces"},
      {kept(2, (struct anas_ref){1, 1}), {3, 0}, "produces"},
      {kept(2, (struct anas_ref){ANAS_ARGUMENT, 1}), {3, 0}, "produces"},
      {kept(2, (struct anas_ref){3, 0}), {3, 0}, "not topologically sorted"},
      {kept(7, (struct anas_ref){1, 0}), {3, 0}, "no node 7"},
      {fresh("batch_norm", "a", (struct anas_ref){1, 0}), {3, 0}, "not unique"},
      {fresh("batch_norm", "a:b", (struct anas_ref){1, 0}), {3, 0}, "delimiters"},
      {kept(2, (struct anas_ref){1, 0}), {4, 0}, "produces"},
  };
  for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
    memcpy(nodes, same, sizeof same);
    nodes[2] = errors[i].node;
    assert_int_equal(anas_splice(model, f, nodes, 4, &errors[i].result, 1), ANAS_INVALID);
    if (!strstr(anas_error_message(), errors[i].message)) fail_msg("%s", anas_error_message());
    anas_model_hash(model, after);
    assert_string_equal(before, after); // nothing was changed
  }
  // The same ops again: the same graph.
  assert_int_equal(anas_splice(model, f, same, 4, &result, 1), ANAS_OK);
  assert_int_equal(anas_model_infer_shapes(model), ANAS_OK);
  anas_model_hash(model, after);
  assert_string_equal(before, after);
  // An unused new op is pruned.
  memcpy(nodes, same, sizeof same);
  nodes[4] = fresh("batch_norm", NULL, (struct anas_ref){0, 0});
  assert_int_equal(anas_splice(model, f, nodes, 5, &result, 1), ANAS_OK);
  assert_int_equal(f->num_nodes, 4);
  assert_int_equal(anas_model_infer_shapes(model), ANAS_OK);
  anas_model_hash(model, after);
  assert_string_equal(before, after);
  // A new op gets a name that is free.
  memcpy(nodes, same, sizeof same);
  nodes[2] = fresh("batch_norm", NULL, (struct anas_ref){1, 0});
  assert_int_equal(anas_splice(model, f, nodes, 4, &result, 1), ANAS_OK);
  assert_string_equal(f->nodes[2].name, "gen1/batch_norm");
  assert_int_equal(anas_splice(model, f, nodes, 4, &result, 1), ANAS_OK);
  assert_string_equal(f->nodes[2].name, "gen1/batch_norm_1");
  assert_int_equal(anas_model_infer_shapes(model), ANAS_OK);
  anas_model_hash(model, after);
  assert_string_equal(before, after); // names do not count
  // The result of the function is the new op that replaces the last one.
  memcpy(nodes, same, sizeof same);
  nodes[3] = fresh("relu", NULL, (struct anas_ref){2, 0});
  assert_int_equal(anas_splice(model, f, nodes, 4, &result, 1), ANAS_OK);
  assert_int_equal(anas_model_infer_shapes(model), ANAS_OK);
  assert_int_equal(f->result[0].node, 3);
  assert_string_equal(f->nodes[3].def->name, "relu");
  anas_model_hash(model, after);
  assert_string_not_equal(before, after);
  anas_model_destroy(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(branches_drop_where_the_rest_satisfies),
      cmocka_unit_test(branches_of_other_shapes_stay),
      cmocka_unit_test(junctions_are_rewired),
      cmocka_unit_test(unmutated_requirements_hold_for_the_whole),
      cmocka_unit_test(a_false_claim_is_found),
      cmocka_unit_test(mutated_properties),
      cmocka_unit_test(free_shapes),
      cmocka_unit_test(sequences_are_chains),
      cmocka_unit_test(sequential_mutations),
      cmocka_unit_test(splice_errors),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
