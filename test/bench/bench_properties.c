// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Speed of property inference on networks of the zoo, one JSON line each: microseconds of one inference of the whole
// network, of one with a warm cache, and of one after an edit in one block, which the block's summary shows or not, and
// the same by a session that is told what was edited; how many transfer functions each evaluated; and nanoseconds to
// append an op to a prefix. Instructions are those of user space where the machine counts them (perf_event_open); else
// callgrind counts those of one whole inference, if valgrind is there. Arguments: [--once] NAME...   (--once: one
// inference and no output, for profilers)
#include "dialect/zoo.h"
#include "passes/analysis/analysis.h"

#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RUNS 201

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + 1e-3 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static int open_counter(void) {
  struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE,
                                 .size = sizeof attr,
                                 .config = PERF_COUNT_HW_INSTRUCTIONS,
                                 .exclude_kernel = 1,
                                 .exclude_hv = 1};
  return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static int64_t instructions(int counter) {
  int64_t value = -1;
  if (counter < 0 || read(counter, &value, sizeof value) != sizeof value) return -1;
  return value;
}

struct timing {
  double best, median;  // microseconds
  int64_t instructions; // of the last run; -1: not counted
  int64_t transfers;    // a run
};

enum mode { COLD, WARM, EDITED, EDITED_DEPTH };

static void fail(void) {
  fprintf(stderr, "bench_properties: %s\n", anas_error_message());
  exit(1);
}

// A block function with something to edit: the first op with an attribute that leaves types alone.
static struct anas_node *editable(struct anas_model *model) {
  const struct anas_op_def *relu = anas_op_find("relu", 4), *swish = anas_op_find("swish", 5);
  for (int f = model->num_functions - 1; f >= 0; f--)
    for (int n = 0; n < model->functions[f].num_nodes; n++) {
      struct anas_node *node = &model->functions[f].nodes[n];
      if (node->def == relu || node->def == swish) return node;
    }
  return NULL;
}

static struct timing measure(struct anas_model *model, enum mode mode, int counter, struct anas_properties *out) {
  struct timing timing = {0};
  double times[RUNS];
  struct anas_property_cache *cache = anas_property_cache_create();
  struct anas_property_options options = {.cache = cache};
  struct anas_node *node = editable(model);
  const struct anas_op_def *saved = node ? node->def : NULL;
  if (anas_infer_properties_with(model, &options, out) != ANAS_OK) fail();
  for (int i = 0; i < RUNS; i++) {
    if (mode == EDITED || mode == EDITED_DEPTH) { // the edit must be new to the cache
      anas_property_cache_destroy(cache);
      options.cache = cache = anas_property_cache_create();
      if (node) node->def = saved;
      if (anas_infer_properties_with(model, &options, out) != ANAS_OK) fail();
      if (node) node->def = mode == EDITED ? anas_op_find("gelu", 4) : anas_op_find("identity", 8);
    }
    int64_t before = anas_property_cache_transfers(cache), counted = instructions(counter);
    double start = now();
    anas_status status =
        mode == COLD ? anas_infer_properties(model, out) : anas_infer_properties_with(model, &options, out);
    times[i] = now() - start;
    timing.instructions = counted < 0 ? -1 : instructions(counter) - counted;
    timing.transfers = anas_property_cache_transfers(cache) - before;
    if (status != ANAS_OK) fail();
  }
  if (node) node->def = saved;
  if (mode == COLD) timing.transfers = anas_property_cache_transfers(cache); // of the first one
  anas_property_cache_destroy(cache);
  qsort(times, RUNS, sizeof *times, by_value);
  timing.best = times[0];
  timing.median = times[RUNS / 2];
  return timing;
}

// An update of a session after an edit that is new to it: what the edit costs, without the rest of the network.
static struct timing measure_session(struct anas_model *model, enum mode mode) {
  struct timing timing = {.instructions = -1};
  double times[RUNS];
  struct anas_node *node = editable(model);
  const struct anas_op_def *saved = node ? node->def : NULL;
  int edited = 0;
  for (int f = 0; node && f < model->num_functions; f++)
    if (node >= model->functions[f].nodes && node < model->functions[f].nodes + model->functions[f].num_nodes)
      edited = f;
  for (int i = 0; i < RUNS; i++) {
    struct anas_property_session *session;
    if (anas_property_session_create(model, &session) != ANAS_OK) fail();
    if (node) node->def = mode == EDITED ? anas_op_find("gelu", 4) : anas_op_find("identity", 8);
    int64_t before = anas_property_session_transfers(session);
    double start = now();
    if (anas_property_session_update(session, model, &edited, 1) != ANAS_OK) fail();
    times[i] = now() - start;
    timing.transfers = anas_property_session_transfers(session) - before;
    if (node) node->def = saved;
    anas_property_session_destroy(session);
  }
  qsort(times, RUNS, sizeof *times, by_value);
  timing.best = times[0];
  timing.median = times[RUNS / 2];
  return timing;
}

static void print_timing(const char *name, const struct timing *timing) {
  printf("\"%s\": {\"us_median\": %.1f, \"us_best\": %.1f, \"transfers\": %lld, \"instructions\": ", name,
         timing->median, timing->best, (long long)timing->transfers);
  if (timing->instructions < 0)
    printf("null}");
  else
    printf("%lld}", (long long)timing->instructions);
}

// Nanoseconds to append each op of the entry's blocks to what its first operand reads.
static double append_ns(const struct anas_model *model) {
  double best = 1e30;
  for (int run = 0; run < 20; run++) {
    double total = 0;
    int64_t ops = 0;
    for (int f = 0; f < model->num_functions; f++) {
      const struct anas_function *function = &model->functions[f];
      for (int n = 0; n < function->num_nodes; n++) {
        const struct anas_node *node = &function->nodes[n];
        struct anas_shape operands[ANAS_MAX_OPERANDS];
        struct anas_op op;
        struct anas_reads before, after;
        if (!node->def || !node->num_operands) continue;
        for (int q = 0; q < node->num_operands; q++)
          operands[q] = *anas_value_type(function, node->operand[q]);
        if (anas_node_resolve(node, operands, &op) != ANAS_OK) fail();
        anas_reads_of_input(&operands[0], &before);
        double start = now();
        for (int i = 0; i < 100; i++)
          anas_reads_append(&before, &op, 0, &node->result[0], NULL, &after);
        total += now() - start;
        ops += 100;
      }
    }
    if (ops && total / (double)ops < best) best = total / (double)ops;
  }
  return best * 1e3;
}

static struct anas_model *build(const char *name) {
  const struct anas_zoo_entry *entry;
  struct anas_model *model;
  if (anas_zoo_find(name, &entry) != ANAS_OK) fail();
  const struct anas_zoo_size *size = &entry->reference;
  if (anas_zoo_build(name, size->height, size->width, size->channels, size->classes, &model) != ANAS_OK) fail();
  return model;
}

static void infer_once(const char *name) {
  struct anas_model *model = build(name);
  struct anas_properties *properties = anas_calloc((size_t)model->num_functions, sizeof *properties);
  if (anas_infer_properties(model, properties) != ANAS_OK) fail();
  free(properties);
  anas_model_destroy(model);
}

// Instructions of one inference in a run of this program under callgrind; -1: no valgrind.
static int64_t callgrind_instructions(const char *name) {
  char self[4096], command[8192], line[512];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  if (length < 0) return -1;
  self[length] = 0;
  snprintf(
      command, sizeof command,
      "valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect=anas_infer_properties '%s' --once "
      "'%s' 2>&1",
      self, name);
  FILE *output = popen(command, "r");
  if (!output) return -1;
  long long count = -1, value;
  while (fgets(line, sizeof line, output)) {
    const char *found = strstr(line, "Collected :");
    if (found && sscanf(found, "Collected : %lld", &value) == 1) count = value;
  }
  pclose(output);
  return count;
}

static void bench(const char *name, int counter) {
  struct anas_model *model = build(name);
  int ops = 0;
  for (int f = 0; f < model->num_functions; f++)
    ops += model->functions[f].num_nodes;
  struct anas_properties *properties = anas_calloc((size_t)model->num_functions, sizeof *properties);
  struct timing cold = measure(model, COLD, counter, properties);
  if (cold.instructions < 0) cold.instructions = callgrind_instructions(name);
  struct timing warm = measure(model, WARM, counter, properties);
  struct timing edited = measure(model, EDITED, counter, properties);
  struct timing deeper = measure(model, EDITED_DEPTH, counter, properties);
  printf("{\"bench\": \"properties\", \"model\": \"%s\", \"functions\": %d, \"ops\": %d, ", name, model->num_functions,
         ops);
  print_timing("whole", &cold);
  printf(", ");
  print_timing("unchanged", &warm);
  printf(", ");
  print_timing("after_edit", &edited);
  printf(", ");
  print_timing("after_edit_of_depth", &deeper);
  struct timing session = measure_session(model, EDITED), session_deeper = measure_session(model, EDITED_DEPTH);
  printf(", ");
  print_timing("session_edit", &session);
  printf(", ");
  print_timing("session_edit_of_depth", &session_deeper);
  printf(", \"append_ns\": %.0f}\n", append_ns(model));
  fflush(stdout);
  free(properties);
  anas_model_destroy(model);
}

int main(int argc, char **argv) {
  int counter = open_counter();
  static const char *const models[] = {"cnn", "resnet18", "resnet50", "resnet200", "b0"};
  bool once = argc > 1 && !strcmp(argv[1], "--once");
  for (int i = 1 + once; i < argc; i++)
    once ? infer_once(argv[i]) : bench(argv[i], counter);
  for (size_t i = 0; argc == 1 && i < sizeof models / sizeof *models; i++)
    bench(models[i], counter);
  return 0;
}
