// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The table of sub-commands, their help, and the walk through their arguments.
#include "tools/anas-search/command.h"

#include "runtime/support/memory.h"
#include "runtime/support/nearest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct command *const commands[] = {&command_status,  &command_top,    &command_show,    &command_pareto,
                                                 &command_compare, &command_report, &command_proxies, &command_replay,
                                                 &command_fsck,    &command_gc,     &command_worker};
#define NUM_COMMANDS (sizeof commands / sizeof *commands)

void command_list(struct anas_strbuf *out) {
  for (size_t i = 0; i < NUM_COMMANDS; i++)
    anas_strbuf_addf(out, "  %-28s %s\n", commands[i]->name, commands[i]->purpose);
}

static void print_help(const struct command *command, struct anas_strbuf *out) {
  anas_strbuf_addf(out, "usage: anas-search %s %s\n%s.\n", command->name, command->arguments, command->purpose);
  if (command->notes) anas_strbuf_adds(out, command->notes);
  anas_strbuf_adds(out, "\nFlags:\n");
  for (const struct command_flag *f = command->flags; f->name; f++) {
    const char *dashes = f->name[1] ? "--" : "-";
    char *left = f->metavar ? anas_format("%s%s %s", dashes, f->name, f->metavar) : anas_format("--%s", f->name);
    anas_strbuf_addf(out, "  %-24s %s\n", left, f->doc);
    free(left);
  }
  anas_strbuf_adds(out, "  --help                   this text\n\nExamples:\n");
  for (const char *const *example = command->examples; *example; example++)
    anas_strbuf_addf(out, "  %s\n", *example);
}

static bool asks_for_help(int argc, char **argv) {
  for (int i = 1; i < argc; i++)
    if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-help") || !strcmp(argv[i], "-h")) return true;
  return false;
}

// A word that is neither a flag nor a file, but nearly the name of a command.
static bool suggest(const char *word) {
  struct anas_nearest nearest = anas_nearest_make(word, strlen(word));
  for (size_t i = 0; i < NUM_COMMANDS; i++)
    anas_nearest_offer(&nearest, commands[i]->name);
  if (word[0] == '-' || !nearest.best || !access(word, F_OK)) return false;
  char hint[128];
  fprintf(stderr, "anas-search: error: there is no sub-command and no model file '%s'%s\n", word,
          anas_nearest_hint(&nearest, hint));
  return true;
}

bool command_dispatch(int argc, char **argv, int *out_exit_code) {
  const struct command *command = NULL;
  for (size_t i = 0; argc > 1 && i < NUM_COMMANDS; i++)
    if (!strcmp(argv[1], commands[i]->name)) command = commands[i];
  *out_exit_code = EXIT_FAILURE;
  if (!command) return argc > 1 && suggest(argv[1]);
  if (asks_for_help(argc - 1, argv + 1)) {
    struct anas_strbuf text = {0};
    print_help(command, &text);
    fputs(anas_strbuf_text(&text), stdout);
    anas_strbuf_deinit(&text);
    *out_exit_code = EXIT_SUCCESS;
    return true;
  }
  anas_status status = command->run(command, argc - 1, argv + 1);
  if (status != ANAS_OK) fprintf(stderr, "anas-search: error: %s\n", anas_error_message());
  if (status == ANAS_OK) *out_exit_code = EXIT_SUCCESS;
  return true;
}

static const struct command_flag *find_flag(const struct command *command, const char *name, size_t size) {
  for (const struct command_flag *f = command->flags; f->name; f++)
    if (strlen(f->name) == size && !memcmp(f->name, name, size)) return f;
  return NULL;
}

static anas_status unknown_flag(const struct command *command, const char *argument, const char *name, size_t size) {
  struct anas_nearest nearest = anas_nearest_make(name, size);
  for (const struct command_flag *f = command->flags; f->name; f++)
    anas_nearest_offer(&nearest, f->name);
  char hint[128];
  if (nearest.best)
    return anas_fail(ANAS_INVALID, "%s: unknown argument '%s'%s", command->name, argument,
                     anas_nearest_hint(&nearest, hint));
  return anas_fail(ANAS_INVALID, "%s: unknown argument '%s'; see anas-search %s --help", command->name, argument,
                   command->name);
}

anas_status command_next(struct command_arguments *arguments, const char **out_flag) {
  const struct command *command = arguments->command;
  *out_flag = NULL;
  if (arguments->at + 1 >= arguments->argc) return ANAS_OK;
  const char *argument = arguments->value = arguments->argv[++arguments->at];
  if (argument[0] != '-' || !argument[1]) {
    *out_flag = "";
    return ANAS_OK;
  }
  const char *name = argument + 1 + (argument[1] == '-');
  size_t size = strcspn(name, "=");
  const struct command_flag *flag = find_flag(command, name, size);
  if (!flag) return unknown_flag(command, argument, name, size);
  arguments->value = name[size] ? name + size + 1 : NULL;
  if (!flag->metavar && arguments->value)
    return anas_fail(ANAS_INVALID, "%s: --%s takes no value", command->name, flag->name);
  if (flag->metavar && !arguments->value) {
    if (arguments->at + 1 == arguments->argc)
      return anas_fail(ANAS_INVALID, "%s: %s needs a value: %s", command->name, argument, flag->metavar);
    arguments->value = arguments->argv[++arguments->at];
  }
  *out_flag = flag->name;
  return ANAS_OK;
}

anas_status command_take_study(const struct command_arguments *arguments, const char **path) {
  if (*path)
    return anas_fail(ANAS_INVALID, "unexpected argument '%s'; see anas-search %s --help", arguments->value,
                     arguments->command->name);
  *path = arguments->value;
  return ANAS_OK;
}

anas_status command_need_study(const struct command *command, const char *path) {
  return path ? ANAS_OK : anas_fail(ANAS_INVALID, "which study? see anas-search %s --help", command->name);
}
