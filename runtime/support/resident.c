// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Giving memory back to the system that a phase of the process no longer needs.
#include "runtime/support/resident.h"

#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define LARGE ((size_t)4 << 20) // libraries below this are not worth a system call

// Segments that were never written are copies of the file: a page that is needed again comes from the page cache.
static int drop_object(struct dl_phdr_info *info, size_t size, void *data) {
  (void)size;
  uintptr_t page = *(const uintptr_t *)data;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
    if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) || segment->p_filesz < LARGE) continue;
    uintptr_t start = (info->dlpi_addr + segment->p_vaddr + page - 1) / page * page;
    uintptr_t end = (info->dlpi_addr + segment->p_vaddr + segment->p_filesz) / page * page;
    if (end > start) madvise((void *)start, end - start, MADV_DONTNEED); // advice: failing costs memory only
  }
  return 0;
}

void anas_resident_drop(void) {
  malloc_trim(0);
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  dl_iterate_phdr(drop_object, &page);
}
