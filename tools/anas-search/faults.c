// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Faults on demand, for tests of the search: ANAS_TEST_FAULT=KIND:TRIAL[,...].
#include "tools/anas-search/search.h"

#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void crash(const char *folder) {
  (void)folder;
  abort();
}

static void segfault(const char *folder) {
  (void)folder;
  signal(SIGSEGV, SIG_DFL); // AddressSanitizer would make another exit of it
  raise(SIGSEGV);
}

static void leave(const char *folder) {
  (void)folder;
  _exit(7);
}

static void slow(const char *folder) {
  (void)folder;
  sleep(2);
}

static void hang(const char *folder) {
  (void)folder;
  signal(SIGTERM, SIG_IGN); // the hardest kind
  for (;;)
    pause();
}

static void exhaust_memory(const char *folder) {
  (void)folder;
  for (;;) {
    size_t size = (size_t)16 << 20;
    char *block = anas_alloc(size); // never freed: the limit ends this
    memset(block, 1, size);
    usleep(5000);
  }
}

// A bomb, were it not forbidden.
static void fork_forever(const char *folder) {
  (void)folder;
  for (;;)
    if (fork() < 0) _exit(errno == EPERM ? 8 : 9);
}

static void use_network(const char *folder) {
  (void)folder;
  _exit(socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM ? 8 : 9);
}

// Many files, each below any limit of one.
static void fill_disk(const char *folder) {
  static char block[1 << 20];
  for (int i = 0;; i++) {
    char *path = anas_format("%s/junk%d", folder, i);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    ssize_t wrote = write(file, block, sizeof block);
    close(file);
    free(path);
    if (wrote < 0) _exit(9);
    usleep(2000);
  }
}

static void write_one_file(const char *folder) {
  static char block[1 << 20];
  char *path = anas_format("%s/junk", folder);
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  while (write(file, block, sizeof block) > 0) {
  }
  _exit(9);
}

static const struct {
  const char *name;
  void (*happen)(const char *folder); // of the trial
} faults[] = {
    {"crash", crash},    {"segfault", segfault},   {"exit", leave},        {"slow", slow},
    {"hang", hang},      {"oom", exhaust_memory},  {"fork", fork_forever}, {"network", use_network},
    {"disk", fill_disk}, {"file", write_one_file},
};

static bool requested(const char *kind, int64_t number) {
  const char *text = getenv("ANAS_TEST_FAULT");
  for (const char *at = text; at && *at; at += strcspn(at, ","), at += *at == ',') {
    size_t size = strcspn(at, ":,");
    if (size == strlen(kind) && !memcmp(at, kind, size) && at[size] == ':' &&
        strtoll(at + size + 1, NULL, 10) == number)
      return true;
  }
  return false;
}

anas_status trial_fault(const struct search *search, int64_t number) {
  char *folder = study_trial_path(study_path(search->study), number, "");
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
    if (requested(faults[i].name, number)) faults[i].happen(folder);
  free(folder);
  if (requested("diverge", number)) return anas_fail(ANAS_DIVERGED, "the loss is nan at step 1 (requested fault)");
  return ANAS_OK;
}
