// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The command line of anas-opt: a table of flags; every pass, ours or MLIR's, is a flag too.
#include "tools/anas-opt/opt.h"

#include "passes/pass.h"
#include "runtime/support/memory.h"
#include "runtime/support/nearest.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum kind { SWITCH, INVERSE, VALUE, OPTIONAL_VALUE }; // INVERSE: a bool that is stored negated and defaults to true

struct flag {
  const char *name, *metavar;
  enum kind kind;
  size_t offset;
  const char *doc;
};

struct group {
  const char *title;
  const struct flag *flags; // ends with a null name
};

#define AT(member) offsetof(struct opt_flags, member)

static const struct flag general[] = {
    {"o", "FILE", VALUE, AT(output),
     "write the result to FILE (default: standard output); written only if all succeeds"},
    {"pass-pipeline", "TEXT", VALUE, AT(pipeline), "run a textual pipeline: 'a,b{x=1},func.func(c)'"},
    {"seed", "N", VALUE, AT(seed), "seed of every pass that has one and is not given its own"},
    {"split-input-file", NULL, SWITCH, AT(split), "process the parts between '// -----' lines on their own"},
    {"verify-diagnostics", NULL, SWITCH, AT(verify_diagnostics),
     "compare diagnostics with 'expected-error@+1 {{text}}' comments"},
    {"verify-each", "BOOL", INVERSE, AT(skip_verify_each), "verify the IR after each pass (default: true)"},
    {"allow-unregistered-dialect", NULL, SWITCH, AT(allow_unregistered), "accept ops of unknown dialects"},
    {"mlir-disable-threading", NULL, SWITCH, AT(disable_threading), "use one thread"},
    {0},
};
static const struct flag output[] = {
    {"emit-bytecode", NULL, SWITCH, AT(bytecode), "write MLIR bytecode instead of text"},
    {"mlir-print-op-generic", NULL, SWITCH, AT(generic), "print every op in generic form"},
    {"mlir-print-debuginfo", NULL, SWITCH, AT(debug_info), "print locations"},
    {"mlir-print-local-scope", NULL, SWITCH, AT(local_scope), "print attributes in place, without aliases"},
    {"mlir-elide-elementsattrs-if-larger", "N", VALUE, AT(elide), "shorten constants of more than N elements"},
    {0},
};
static const struct flag debugging[] = {
    {"mlir-print-ir-before-all", NULL, SWITCH, AT(print_before_all), "print the IR before each pass, on stderr"},
    {"mlir-print-ir-after-all", NULL, SWITCH, AT(print_after_all), "print the IR after each pass"},
    {"mlir-print-ir-after-change", NULL, SWITCH, AT(print_after_change), "print the IR after passes that changed it"},
    {"mlir-print-ir-after-failure", NULL, SWITCH, AT(print_after_failure), "print the IR after a pass that failed"},
    {"mlir-print-ir-module-scope", NULL, SWITCH, AT(print_module_scope), "print whole modules (implies one thread)"},
    {"mlir-print-ir-tree-dir", "DIR", VALUE, AT(print_tree), "print to one file a pass in DIR"},
    {"mlir-timing", NULL, SWITCH, AT(timing), "print the time of each pass"},
    {"mlir-pass-statistics", NULL, SWITCH, AT(statistics), "print counters of anas passes"},
    {"dump-pass-pipeline", NULL, SWITCH, AT(dump_pipeline), "print the pipeline that will run"},
    {0},
};
static const struct flag listing[] = {
    {"list-ops", "json|markdown", OPTIONAL_VALUE, AT(list_ops), "list the ops of the dialect, with attributes"},
    {"list-passes", "json|markdown", OPTIONAL_VALUE, AT(list_passes), "list the anas passes, with options"},
    {"show-irdl", NULL, SWITCH, AT(show_irdl), "print the IRDL definition (for mlir-opt --irdl-file=)"},
    {"help", NULL, SWITCH, AT(help), "print this text"},
    {"version", NULL, SWITCH, AT(version), "print versions"},
    {0},
};
static const struct group groups[] = {
    {"General", general},
    {"Output form", output},
    {"Looking inside", debugging},
    {"Information", listing},
};

static const struct flag *find_flag(const char *name, size_t size) {
  for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
    for (const struct flag *f = groups[g].flags; f->name; f++)
      if (strlen(f->name) == size && !memcmp(f->name, name, size)) return f;
  return size == 1 && *name == 'h' ? find_flag("help", 4) : NULL;
}

anas_status opt_unknown_argument(const char *argument) {
  const char *name = argument + strspn(argument, "-");
  size_t size = strcspn(name, "={");
  struct anas_nearest nearest = anas_nearest_make(name, size);
  for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
    for (const struct flag *f = groups[g].flags; f->name; f++)
      anas_nearest_offer(&nearest, f->name);
  int count;
  const struct anas_pass_def *const *table = anas_pass_table(&count);
  for (int i = 0; i < count; i++)
    anas_nearest_offer(&nearest, table[i]->argument);
  if (!nearest.best)
    return anas_fail(ANAS_INVALID, "unknown argument '--%s': no flag and no pass has this name; see --help", name);
  return anas_fail(ANAS_INVALID, "unknown argument '--%s'; did you mean '--%s'?", name, nearest.best);
}

// Is value one of "a|b|c"?
static bool is_choice(const char *value, const char *choices) {
  size_t size = strlen(value);
  for (; *choices; choices += strcspn(choices, "|"), choices += *choices == '|')
    if (strcspn(choices, "|") == size && !memcmp(value, choices, size)) return true;
  return false;
}

static anas_status set_flag(struct opt_flags *out, const struct flag *flag, const char *value) {
  char *field = (char *)out + flag->offset;
  switch (flag->kind) {
  case SWITCH:
  case INVERSE: {
    bool yes = !value || !strcmp(value, "true") || !strcmp(value, "1");
    if (!yes && strcmp(value, "false") && strcmp(value, "0"))
      return anas_fail(ANAS_INVALID, "--%s is true or false, got '%s'", flag->name, value);
    *(bool *)field = yes != (flag->kind == INVERSE);
    return ANAS_OK;
  }
  case OPTIONAL_VALUE:
    if (value && !is_choice(value, flag->metavar))
      return anas_fail(ANAS_INVALID, "--%s takes no value or '=%s', got '%s'", flag->name, flag->metavar, value);
    *(const char **)field = value ? value : "";
    return ANAS_OK;
  case VALUE: *(const char **)field = value; return ANAS_OK;
  }
  return ANAS_INTERNAL;
}

// "anas-x", "anas-x{a=1}" or "anas-x=a=1 b=2" becomes a pipeline element.
static void add_element(struct opt_flags *out, const char *text) {
  size_t size = strcspn(text, "={");
  char *element = text[size] == '=' ? anas_format("%.*s{%s}", (int)size, text, text + size + 1) : anas_strdup(text);
  out->elements = anas_grow(out->elements, (size_t)out->num_elements, &out->capacity_elements, sizeof *out->elements);
  out->elements[out->num_elements++] = element;
}

static anas_status check_number(const char *flag, const char *text) {
  char *end;
  if (!text) return ANAS_OK;
  strtoull(text, &end, 10);
  if (*text && !*end && isdigit((unsigned char)*text)) return ANAS_OK;
  return anas_fail(ANAS_INVALID, "--%s needs a non-negative integer, got '%s'", flag, text);
}

static anas_status parse(int argc, char **argv, struct opt_flags *out) {
  for (int i = 1; i < argc; i++) {
    const char *argument = argv[i];
    if (argument[0] != '-' || !argument[1]) {
      if (out->input) return anas_fail(ANAS_INVALID, "two input files: '%s' and '%s'", out->input, argument);
      out->input = argument;
      continue;
    }
    const char *name = argument + (argument[1] == '-' ? 2 : 1);
    size_t size = strcspn(name, "={");
    const char *value = name[size] == '=' ? name + size + 1 : NULL;
    const struct flag *flag = find_flag(name, size);
    if (!flag) {
      if (!isalpha((unsigned char)*name)) return opt_unknown_argument(argument);
      bool ours = size > 5 && !memcmp(name, "anas-", 5);
      if (ours && !anas_pass_find(name, size)) return opt_unknown_argument(argument);
      add_element(out, name); // ours, or MLIR decides when the pipeline is built
      continue;
    }
    if (flag->kind == VALUE && !value) {
      if (i + 1 == argc) return anas_fail(ANAS_INVALID, "%s needs a value: %s %s", argument, argument, flag->metavar);
      value = argv[++i];
    }
    ANAS_RETURN_IF_ERROR(set_flag(out, flag, value));
  }
  if (out->pipeline && out->num_elements)
    return anas_fail(ANAS_INVALID, "--pass-pipeline and pass flags ('--%s') exclude each other", out->elements[0]);
  ANAS_RETURN_IF_ERROR(check_number("seed", out->seed));
  return check_number("mlir-elide-elementsattrs-if-larger", out->elide);
}

anas_status opt_flags_parse(int argc, char **argv, struct opt_flags *out) {
  struct opt_flags flags = {0};
  anas_status status = parse(argc, argv, &flags);
  if (status != ANAS_OK) {
    opt_flags_deinit(&flags);
    return status;
  }
  if (!flags.input) flags.input = "-";
  if (!flags.output) flags.output = "-";
  *out = flags;
  return ANAS_OK;
}

void opt_flags_deinit(struct opt_flags *flags) {
  for (int i = 0; i < flags->num_elements; i++)
    free(flags->elements[i]);
  free(flags->elements);
}

void opt_help(struct anas_strbuf *out) {
  anas_strbuf_adds(out,
                   "usage: anas-opt [FILE] [flags] [--PASS[=option=value ...] ...]\n"
                   "Reads an MLIR module (text or bytecode; '-' or nothing: standard input), checks it, runs passes "
                   "and prints the result.\n");
  for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
    anas_strbuf_addf(out, "\n%s:\n", groups[g].title);
    for (const struct flag *f = groups[g].flags; f->name; f++) {
      char *left = !f->metavar                 ? anas_format("--%s", f->name)
                   : f->kind == OPTIONAL_VALUE ? anas_format("--%s[=%s]", f->name, f->metavar)
                   : strlen(f->name) == 1      ? anas_format("-%s %s", f->name, f->metavar)
                                               : anas_format("--%s=%s", f->name, f->metavar);
      anas_strbuf_addf(out, "  %-38s %s\n", left, f->doc);
      free(left);
    }
  }
  anas_strbuf_adds(out, "\nPasses (options as --PASS='name=value name=value' or --PASS{name=value}; MLIR's own passes "
                        "work by name, e.g. --canonicalize):\n");
  opt_list_passes(false, out);
  anas_strbuf_adds(out, "\nExamples:\n"
                        "  anas-opt model.mlir                                        check and print\n"
                        "  anas-opt model.mlir --anas-infer-shapes -o typed.mlir\n"
                        "  anas-opt model.mlir --pass-pipeline='anas-infer-shapes,anas-remove-dead' --mlir-timing\n"
                        "  anas-opt kernels.mlir --canonicalize --cse\n"
                        "  anas-opt --show-irdl > anas.irdl.mlir && mlir-opt-22 --irdl-file=anas.irdl.mlir model.mlir\n"
                        "\nErrors are printed as file:line:col: error: ...; the exit code is then 1 and nothing is "
                        "written.\n");
}
