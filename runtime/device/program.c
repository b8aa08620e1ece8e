// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Device programs as data: release and bounds.
#include "runtime/device/program.h"

#include "runtime/backend.h"

#include <stdlib.h>
#include <string.h>

void anas_device_program_deinit(struct anas_device_program *program) {
  for (int i = 0; i < program->num_modules; i++)
    free(program->modules[i].ptx);
  free(program->modules);
  free(program->functions);
  for (int entry = 0; entry < ANAS_NUM_ENTRIES; entry++)
    free(program->launches[entry]);
  anas_program_image_deinit(&program->image);
  memset(program, 0, sizeof *program);
}

static anas_status check_launch(const struct anas_device_program *program, const struct anas_device_launch *launch) {
  const size_t bytes[] = {program->image.arena_bytes, program->image.params_bytes, program->workspace_bytes};
  if (launch->function < -1 || launch->function >= program->num_functions)
    return anas_fail(ANAS_CORRUPT, "a launch of function %d of %d", launch->function, program->num_functions);
  if (launch->num_arguments < 1 || launch->num_arguments > ANAS_DEVICE_MAX_ARGUMENTS)
    return anas_fail(ANAS_CORRUPT, "a launch with %d arguments", launch->num_arguments);
  for (int i = 0; i < launch->num_arguments; i++) {
    const struct anas_device_pointer *pointer = &launch->argument[i];
    if ((unsigned)pointer->base > ANAS_BASE_WORKSPACE || pointer->offset > bytes[pointer->base] || pointer->offset % 16)
      return anas_fail(ANAS_CORRUPT, "a launch with an argument outside its buffer or off a 16-byte boundary");
  }
  if (launch->function < 0) {
    size_t room = bytes[launch->argument[0].base] - launch->argument[0].offset;
    if (launch->count > room / 4) return anas_fail(ANAS_CORRUPT, "a fill that ends outside its buffer");
    return ANAS_OK;
  }
  if (launch->block < 1 || launch->block > 1024 || !launch->grid[0] || !launch->grid[1] || !launch->grid[2] ||
      launch->grid[0] > INT32_MAX || launch->grid[1] > 65535 || launch->grid[2] > 65535)
    return anas_fail(ANAS_CORRUPT, "a launch of an impossible number of blocks or threads");
  return ANAS_OK;
}

anas_status anas_device_program_check(const struct anas_device_program *program) {
  anas_status status = anas_program_image_check(&program->image);
  if (status != ANAS_OK) return status;
  for (int i = 0; i < program->num_functions; i++)
    if (program->functions[i].module < 0 || program->functions[i].module >= program->num_modules)
      return anas_fail(ANAS_CORRUPT, "function '%s' of module %d of %d", program->functions[i].symbol,
                       program->functions[i].module, program->num_modules);
  for (int entry = 0; entry < ANAS_NUM_ENTRIES; entry++)
    for (size_t i = 0; i < program->num_launches[entry]; i++)
      ANAS_RETURN_IF_ERROR(check_launch(program, &program->launches[entry][i]));
  return ANAS_OK;
}
