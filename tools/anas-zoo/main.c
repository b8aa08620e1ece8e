// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-zoo: writes a network of the zoo as MLIR.
#include "dialect/zoo.h"
#include "runtime/support/file.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] = "OVERVIEW: anas network zoo\n"
                           "\n"
                           "USAGE: anas-zoo NAME [options]\n"
                           "       anas-zoo --list\n"
                           "\n"
                           "NETWORK:\n"
                           "  --input HxWxC   image size (default: the one --list shows)\n"
                           "  --classes N     number of classes (default: the one --list shows)\n"
                           "\n"
                           "OUTPUT:\n"
                           "  -o FILE         where to write the module; - is standard output (the default)\n"
                           "  --list          list the networks with parameters, image size and classes\n"
                           "\n"
                           "GENERAL:\n"
                           "  --help          this text\n"
                           "  --version       version of anas\n"
                           "\n"
                           "EXAMPLES:\n"
                           "  anas-zoo resnet18 -o resnet18.mlir\n"
                           "  anas-zoo vit-ti/4 --input 16x16x3 --classes 5 -o vit.mlir\n"
                           "  anas-zoo cnn --input 28x28x1 --classes 10 | anas-opt --anas-infer-properties\n";

static int fail(void) {
  fprintf(stderr, "anas-zoo: error: %s\n", anas_error_message());
  return 1;
}

static int usage(const char *format, const char *argument) {
  fprintf(stderr, "anas-zoo: error: ");
  fprintf(stderr, format, argument);
  fprintf(stderr, "; see anas-zoo --help\n");
  return 1;
}

// One positive decimal number followed by stop; null if there is none.
static const char *read_number(const char *text, char stop, int64_t *out) {
  char *end;
  if (*text < '0' || *text > '9') return NULL;
  long long value = strtoll(text, &end, 10);
  if (value < 1 || *end != stop) return NULL;
  *out = value;
  return stop ? end + 1 : end;
}

static bool read_input(const char *text, struct anas_zoo_size *size) {
  const char *at = read_number(text, 'x', &size->height);
  if (at) at = read_number(at, 'x', &size->width);
  return at && read_number(at, '\0', &size->channels);
}

static int list(void) {
  int count;
  const struct anas_zoo_entry *const *entries = anas_zoo_table(&count);
  printf("%-14s %11s  %-9s %7s  %s\n", "name", "parameters", "input", "classes", "");
  for (int i = 0; i < count; i++) {
    const struct anas_zoo_size *size = &entries[i]->reference;
    char input[64];
    snprintf(input, sizeof input, "%lldx%lldx%lld", (long long)size->height, (long long)size->width,
             (long long)size->channels);
    printf("%-14s %11lld  %-9s %7lld  %s\n", entries[i]->name, (long long)entries[i]->params, input,
           (long long)size->classes, entries[i]->summary);
  }
  printf("\nTrainable parameters for the image size and number of classes shown, which are the defaults.\n");
  return fflush(stdout) ? 1 : 0;
}

// size: 0 where the network's own applies.
static int write_network(const char *name, const struct anas_zoo_size *size, const char *output) {
  const struct anas_zoo_entry *entry;
  if (anas_zoo_find(name, &entry)) return fail();
  struct anas_zoo_size want = entry->reference;
  if (size->height) want = (struct anas_zoo_size){size->height, size->width, size->channels, want.classes};
  if (size->classes) want.classes = size->classes;
  struct anas_model *model;
  if (anas_zoo_build(name, want.height, want.width, want.channels, want.classes, &model)) return fail();
  struct anas_strbuf text = {0};
  anas_model_print(model, &text);
  anas_status status = anas_file_write(output, text.data, text.size);
  anas_strbuf_deinit(&text);
  anas_model_destroy(model);
  return status ? fail() : 0;
}

int main(int argc, char **argv) {
  enum { OPTION_INPUT = 256, OPTION_CLASSES, OPTION_LIST, OPTION_HELP, OPTION_VERSION };
  static const struct option options[] = {
      {"input", required_argument, NULL, OPTION_INPUT}, {"classes", required_argument, NULL, OPTION_CLASSES},
      {"list", no_argument, NULL, OPTION_LIST},         {"help", no_argument, NULL, OPTION_HELP},
      {"version", no_argument, NULL, OPTION_VERSION},   {NULL, 0, NULL, 0},
  };
  struct anas_zoo_size size = {0};
  const char *output = "-";
  opterr = 0;
  for (int option; (option = getopt_long(argc, argv, ":o:h", options, NULL)) != -1;) {
    switch (option) {
    case 'o': output = optarg; break;
    case OPTION_INPUT:
      if (!read_input(optarg, &size)) return usage("--input takes HxWxC, for example 32x32x3, not '%s'", optarg);
      break;
    case OPTION_CLASSES:
      if (!read_number(optarg, '\0', &size.classes))
        return usage("--classes takes a positive number, not '%s'", optarg);
      break;
    case OPTION_LIST: return list();
    case 'h':
    case OPTION_HELP: fputs(help, stdout); return fflush(stdout) ? 1 : 0;
    case OPTION_VERSION: printf("anas %s\n", ANAS_VERSION); return fflush(stdout) ? 1 : 0;
    case ':': return usage("option '%s' needs a value", argv[optind - 1]);
    default: return usage("unknown option '%s'", argv[optind - 1]);
    }
  }
  if (optind >= argc) return usage("%s", "which network?");
  if (optind + 1 < argc) return usage("one network at a time; '%s' is too many", argv[optind + 1]);
  return write_network(argv[optind], &size, output);
}
