// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sub-commands: a table entry each, from which dispatch, help and "did you mean" come. One file a command.
#ifndef ANAS_TOOLS_ANAS_SEARCH_COMMAND_H
#define ANAS_TOOLS_ANAS_SEARCH_COMMAND_H

#include "runtime/support/status.h"
#include "runtime/support/strbuf.h"

#include <stdbool.h>

struct command_flag {
  const char *name;    // without dashes
  const char *metavar; // null: a switch
  const char *doc;
};

struct command {
  const char *name;
  const char *arguments; // "STUDY [flags]"
  const char *purpose;   // one line
  const char *notes;     // lines; may be null
  const struct command_flag *flags;
  // Command lines that work as they are where there is a study s1; ends with a null.
  const char *const *examples;
  anas_status (*run)(const struct command *command, int argc, char **argv); // argv[0] is the sub-command
};

extern const struct command command_status, command_top, command_pareto, command_show, command_compare, command_report,
    command_proxies, command_replay, command_fsck, command_gc, command_worker;

// Runs the sub-command argv[1], or prints its help. False: argv[1] is none, and does not look like one either.
bool command_dispatch(int argc, char **argv, int *out_exit_code);
void command_list(struct anas_strbuf *out); // name and purpose of all of them

// Walks through the arguments of a command.
struct command_arguments {
  const struct command *command;
  int argc;
  char **argv;
  int at;            // the last one taken
  const char *value; // of the flag, or the argument itself; null for switches
};
// out_flag: its name as in the table, "" for an argument that is no flag, null at the end. Unknown flags and missing
// values are errors.
anas_status command_next(struct command_arguments *arguments, const char **out_flag);
// For commands that take one study: the first argument that is no flag goes to *path, another one is an error.
anas_status command_take_study(const struct command_arguments *arguments, const char **path);
anas_status command_need_study(const struct command *command, const char *path);

#endif
