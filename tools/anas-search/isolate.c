// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a trial's process may not do, however broken its candidate is: use more memory than its share, write a file of
// any size, start processes or programs, or talk to the network.
#include "tools/anas-search/search.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER 1
#endif
#endif
#ifndef ADDRESS_SANITIZER
#define ADDRESS_SANITIZER 0
#endif

static void limit(int resource, rlim_t bytes) {
  struct rlimit value = {bytes, bytes};
  setrlimit((__rlimit_resource_t)resource, &value);
}

// Threads are allowed, processes are not. The flags of clone3 cannot be seen from a filter; where it does not exist,
// the C library uses clone.
static int add_rules(scmp_filter_ctx filter) {
  const struct scmp_arg_cmp no_thread = SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0);
  int failed = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
  failed |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1, no_thread);
  const int forbidden[] = {SCMP_SYS(fork),   SCMP_SYS(vfork),  SCMP_SYS(execve), SCMP_SYS(execveat),
                           SCMP_SYS(socket), SCMP_SYS(ptrace), SCMP_SYS(setsid)};
  for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
    failed |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), forbidden[i], 0);
  return failed;
}

static void filter_system_calls(void) {
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  if (!filter || add_rules(filter) || seccomp_load(filter))
    fprintf(stderr, "note: this system allows no filter of system calls; the trial runs without\n");
  if (filter) seccomp_release(filter);
}

void trial_isolate(int64_t memory_bytes, int64_t disk_bytes) {
  // Private writable memory; not the address space, which large sparse mappings of libraries would exhaust. The shadow
  // memory of AddressSanitizer counts too and has no useful bound: there the parent watches alone.
  if (!ADDRESS_SANITIZER) limit(RLIMIT_DATA, (rlim_t)memory_bytes);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_FSIZE, (rlim_t)disk_bytes); // of one file; the parent watches the sum
  filter_system_calls();
}
