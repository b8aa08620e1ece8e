// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Opening a device by the name of its backend.
#include "runtime/device/device.h"

#include "runtime/support/memory.h"

#include <stdlib.h>
#include <string.h>

static const struct anas_device_ops *const backends[] = {&anas_device_cuda, &anas_device_ptxsim};

anas_status anas_device_open(const char *name, int ordinal, struct anas_device **out) {
  for (size_t i = 0; i < sizeof backends / sizeof *backends; i++) {
    if (strcmp(name, backends[i]->name) != 0) continue;
    void *state;
    ANAS_RETURN_IF_ERROR(backends[i]->open(ordinal, &state));
    struct anas_device *device = anas_alloc(sizeof *device);
    *device = (struct anas_device){backends[i], state};
    *out = device;
    return ANAS_OK;
  }
  return anas_fail(ANAS_INVALID, "unknown device '%s'; known are cuda and ptxsim", name);
}

void anas_device_close(struct anas_device *device) {
  if (!device) return;
  device->ops->close(device->state);
  free(device);
}
