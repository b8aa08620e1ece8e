// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// NVIDIA GPUs through the driver library, opened at run time: no toolkit is needed to build or to run. The declarations
// are those of the driver interface we use (64-bit, CUDA 11 and later).
#include "runtime/device/device.h"

#include "runtime/support/memory.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY "libcuda.so.1"

typedef int result; // CUresult
enum { OK = 0, NO_DEVICE = 100, ATTRIBUTE_MAJOR = 75, ATTRIBUTE_MINOR = 76, CAPTURE_THREAD_LOCAL = 1 };
enum { JIT_ERROR_LOG = 5, JIT_ERROR_LOG_SIZE = 6 };

struct driver {
  result (*Init)(unsigned flags);
  result (*GetErrorString)(result error, const char **text);
  result (*DeviceGetCount)(int *count);
  result (*DeviceGet)(int *device, int ordinal);
  result (*DeviceGetName)(char *name, int length, int device);
  result (*DeviceGetAttribute)(int *value, int attribute, int device);
  result (*PrimaryCtxRetain)(void **context, int device);
  result (*PrimaryCtxRelease)(int device);
  result (*CtxSetCurrent)(void *context);
  result (*ModuleLoadDataEx)(void **module, const void *image, unsigned num, int *options, void **values);
  result (*ModuleUnload)(void *module);
  result (*ModuleGetFunction)(void **function, void *module, const char *name);
  result (*MemAlloc)(uint64_t *address, size_t bytes);
  result (*MemFree)(uint64_t address);
  result (*MemcpyHtoDAsync)(uint64_t to, const void *from, size_t bytes, void *stream);
  result (*MemcpyDtoHAsync)(void *to, uint64_t from, size_t bytes, void *stream);
  result (*MemsetD32Async)(uint64_t to, unsigned value, size_t count, void *stream);
  result (*StreamCreate)(void **stream, unsigned flags);
  result (*StreamDestroy)(void *stream);
  result (*StreamSynchronize)(void *stream);
  result (*LaunchKernel)(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                         unsigned shared, void *stream, void **arguments, void **extra);
  result (*StreamBeginCapture)(void *stream, int mode);
  result (*StreamEndCapture)(void *stream, void **graph);
  result (*GraphInstantiate)(void **executable, void *graph, unsigned long long flags);
  result (*GraphDestroy)(void *graph);
  result (*GraphExecDestroy)(void *executable);
  result (*GraphLaunch)(void *executable, void *stream);
  result (*EventCreate)(void **event, unsigned flags);
  result (*EventDestroy)(void *event);
  result (*EventRecord)(void *event, void *stream);
  result (*EventSynchronize)(void *event);
  result (*EventElapsedTime)(float *milliseconds, void *from, void *to);
};

static const struct {
  const char *name;
  size_t offset;
} symbols[] = {
    {"cuInit", offsetof(struct driver, Init)},
    {"cuGetErrorString", offsetof(struct driver, GetErrorString)},
    {"cuDeviceGetCount", offsetof(struct driver, DeviceGetCount)},
    {"cuDeviceGet", offsetof(struct driver, DeviceGet)},
    {"cuDeviceGetName", offsetof(struct driver, DeviceGetName)},
    {"cuDeviceGetAttribute", offsetof(struct driver, DeviceGetAttribute)},
    {"cuDevicePrimaryCtxRetain", offsetof(struct driver, PrimaryCtxRetain)},
    {"cuDevicePrimaryCtxRelease_v2", offsetof(struct driver, PrimaryCtxRelease)},
    {"cuCtxSetCurrent", offsetof(struct driver, CtxSetCurrent)},
    {"cuModuleLoadDataEx", offsetof(struct driver, ModuleLoadDataEx)},
    {"cuModuleUnload", offsetof(struct driver, ModuleUnload)},
    {"cuModuleGetFunction", offsetof(struct driver, ModuleGetFunction)},
    {"cuMemAlloc_v2", offsetof(struct driver, MemAlloc)},
    {"cuMemFree_v2", offsetof(struct driver, MemFree)},
    {"cuMemcpyHtoDAsync_v2", offsetof(struct driver, MemcpyHtoDAsync)},
    {"cuMemcpyDtoHAsync_v2", offsetof(struct driver, MemcpyDtoHAsync)},
    {"cuMemsetD32Async", offsetof(struct driver, MemsetD32Async)},
    {"cuStreamCreate", offsetof(struct driver, StreamCreate)},
    {"cuStreamDestroy_v2", offsetof(struct driver, StreamDestroy)},
    {"cuStreamSynchronize", offsetof(struct driver, StreamSynchronize)},
    {"cuLaunchKernel", offsetof(struct driver, LaunchKernel)},
    {"cuStreamBeginCapture_v2", offsetof(struct driver, StreamBeginCapture)},
    {"cuStreamEndCapture", offsetof(struct driver, StreamEndCapture)},
    {"cuGraphInstantiateWithFlags", offsetof(struct driver, GraphInstantiate)},
    {"cuGraphDestroy", offsetof(struct driver, GraphDestroy)},
    {"cuGraphExecDestroy", offsetof(struct driver, GraphExecDestroy)},
    {"cuGraphLaunch", offsetof(struct driver, GraphLaunch)},
    {"cuEventCreate", offsetof(struct driver, EventCreate)},
    {"cuEventDestroy_v2", offsetof(struct driver, EventDestroy)},
    {"cuEventRecord", offsetof(struct driver, EventRecord)},
    {"cuEventSynchronize", offsetof(struct driver, EventSynchronize)},
    {"cuEventElapsedTime", offsetof(struct driver, EventElapsedTime)},
};

struct cuda {
  void *library;
  struct driver driver;
  int device;
  void *context, *stream, *event[2];
  char text[160];
};

static anas_status check(const struct cuda *cuda, result code, const char *what) {
  if (code == OK) return ANAS_OK;
  const char *text = NULL;
  cuda->driver.GetErrorString(code, &text);
  return anas_fail(code == 2 ? ANAS_NO_MEMORY : ANAS_INTERNAL, "cuda: %s: %s (error %d)", what,
                   text ? text : "unknown error", code);
}

static anas_status load_library(struct cuda *cuda) {
  cuda->library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (!cuda->library)
    return anas_fail(ANAS_NOT_FOUND, "cuda: no NVIDIA driver: " LIBRARY " cannot be loaded (%s); use --device cpu",
                     dlerror());
  for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
    void *address = dlsym(cuda->library, symbols[i].name);
    if (!address)
      return anas_fail(ANAS_UNSUPPORTED, "cuda: the driver has no function %s; it is too old", symbols[i].name);
    memcpy((char *)&cuda->driver + symbols[i].offset, &address, sizeof address);
  }
  return ANAS_OK;
}

static anas_status open_device(struct cuda *cuda, int ordinal) {
  struct driver *driver = &cuda->driver;
  int count = 0, major = 0, minor = 0;
  ANAS_RETURN_IF_ERROR(load_library(cuda));
  result code = driver->Init(0);
  if (code != NO_DEVICE) ANAS_RETURN_IF_ERROR(check(cuda, code, "cuInit"));
  if (code == OK) ANAS_RETURN_IF_ERROR(check(cuda, driver->DeviceGetCount(&count), "cuDeviceGetCount"));
  if (ordinal >= count)
    return anas_fail(ANAS_NOT_FOUND, "cuda: there is no GPU %d; the driver sees %d", ordinal, count);
  ANAS_RETURN_IF_ERROR(check(cuda, driver->DeviceGet(&cuda->device, ordinal), "cuDeviceGet"));
  char name[96] = "";
  driver->DeviceGetName(name, sizeof name, cuda->device);
  driver->DeviceGetAttribute(&major, ATTRIBUTE_MAJOR, cuda->device);
  driver->DeviceGetAttribute(&minor, ATTRIBUTE_MINOR, cuda->device);
  snprintf(cuda->text, sizeof cuda->text, "%s, compute capability %d.%d", name, major, minor);
  ANAS_RETURN_IF_ERROR(check(cuda, driver->PrimaryCtxRetain(&cuda->context, cuda->device), "creating a context"));
  ANAS_RETURN_IF_ERROR(check(cuda, driver->CtxSetCurrent(cuda->context), "cuCtxSetCurrent"));
  ANAS_RETURN_IF_ERROR(check(cuda, driver->StreamCreate(&cuda->stream, 1 /* not blocking */), "cuStreamCreate"));
  for (int i = 0; i < 2; i++)
    ANAS_RETURN_IF_ERROR(check(cuda, driver->EventCreate(&cuda->event[i], 0), "cuEventCreate"));
  return ANAS_OK;
}

static void cuda_close(void *state) {
  struct cuda *cuda = state;
  for (int i = 0; i < 2; i++)
    if (cuda->event[i]) cuda->driver.EventDestroy(cuda->event[i]);
  if (cuda->stream) cuda->driver.StreamDestroy(cuda->stream);
  if (cuda->context) cuda->driver.PrimaryCtxRelease(cuda->device);
  if (cuda->library) dlclose(cuda->library);
  free(cuda);
}

static anas_status cuda_open(int ordinal, void **out_state) {
  struct cuda *cuda = anas_alloc(sizeof *cuda);
  anas_status status = open_device(cuda, ordinal);
  if (status != ANAS_OK) {
    cuda_close(cuda);
    return status;
  }
  *out_state = cuda;
  return ANAS_OK;
}

static const char *cuda_describe(void *state) {
  return ((struct cuda *)state)->text;
}

static anas_status cuda_allocate(void *state, size_t bytes, uint64_t *out_address) {
  struct cuda *cuda = state;
  char what[64];
  snprintf(what, sizeof what, "allocating %zu bytes", bytes);
  return check(cuda, cuda->driver.MemAlloc(out_address, bytes ? bytes : 256), what);
}

static void cuda_release(void *state, uint64_t address) {
  struct cuda *cuda = state;
  if (address) cuda->driver.MemFree(address);
}

static anas_status cuda_synchronize(void *state) {
  struct cuda *cuda = state;
  return check(cuda, cuda->driver.StreamSynchronize(cuda->stream), "running kernels");
}

static anas_status cuda_copy_in(void *state, uint64_t to, const void *from, size_t bytes) {
  struct cuda *cuda = state;
  return check(cuda, cuda->driver.MemcpyHtoDAsync(to, from, bytes, cuda->stream), "copying to the device");
}

static anas_status cuda_copy_out(void *state, void *to, uint64_t from, size_t bytes) {
  struct cuda *cuda = state;
  ANAS_RETURN_IF_ERROR(
      check(cuda, cuda->driver.MemcpyDtoHAsync(to, from, bytes, cuda->stream), "copying from the device"));
  return cuda_synchronize(state);
}

static anas_status cuda_load(void *state, const char *text, void **out_module) {
  struct cuda *cuda = state;
  char log[2048] = "";
  int options[] = {JIT_ERROR_LOG, JIT_ERROR_LOG_SIZE};
  void *values[] = {log, (void *)(uintptr_t)sizeof log};
  result code = cuda->driver.ModuleLoadDataEx(out_module, text, 2, options, values);
  anas_status status = check(cuda, code, "loading PTX");
  log[strcspn(log, "\n")] = '\0';
  return status == ANAS_OK || !log[0] ? status : anas_fail_context(status, "%s: ", log);
}

static void cuda_unload(void *state, void *module) {
  struct cuda *cuda = state;
  cuda->driver.ModuleUnload(module);
}

static anas_status cuda_find(void *state, void *module, const char *symbol, void **out_function) {
  struct cuda *cuda = state;
  return check(cuda, cuda->driver.ModuleGetFunction(out_function, module, symbol), symbol);
}

static anas_status cuda_launch(void *state, void *function, const uint32_t grid[3], uint32_t block, void **arguments) {
  struct cuda *cuda = state;
  return check(
      cuda,
      cuda->driver.LaunchKernel(function, grid[0], grid[1], grid[2], block, 1, 1, 0, cuda->stream, arguments, NULL),
      "launching a kernel");
}

static anas_status cuda_fill(void *state, uint64_t to, uint32_t value, size_t count) {
  struct cuda *cuda = state;
  return check(cuda, cuda->driver.MemsetD32Async(to, value, count, cuda->stream), "filling memory");
}

static anas_status cuda_record_begin(void *state) {
  struct cuda *cuda = state;
  return check(cuda, cuda->driver.StreamBeginCapture(cuda->stream, CAPTURE_THREAD_LOCAL), "recording a graph");
}

static anas_status cuda_record_end(void *state, void **out_graph) {
  struct cuda *cuda = state;
  void *graph = NULL, *executable = NULL;
  ANAS_RETURN_IF_ERROR(check(cuda, cuda->driver.StreamEndCapture(cuda->stream, &graph), "recording a graph"));
  anas_status status = check(cuda, cuda->driver.GraphInstantiate(&executable, graph, 0), "preparing a graph");
  cuda->driver.GraphDestroy(graph);
  if (status == ANAS_OK) *out_graph = executable;
  return status;
}

static anas_status cuda_replay(void *state, void *graph) {
  struct cuda *cuda = state;
  return check(cuda, cuda->driver.GraphLaunch(graph, cuda->stream), "launching a graph");
}

static void cuda_graph_destroy(void *state, void *graph) {
  struct cuda *cuda = state;
  if (graph) cuda->driver.GraphExecDestroy(graph);
}

static anas_status cuda_mark(void *state, int which) {
  struct cuda *cuda = state;
  return check(cuda, cuda->driver.EventRecord(cuda->event[which], cuda->stream), "cuEventRecord");
}

static anas_status cuda_elapsed(void *state, double *out_seconds) {
  struct cuda *cuda = state;
  float milliseconds = 0;
  ANAS_RETURN_IF_ERROR(check(cuda, cuda->driver.EventSynchronize(cuda->event[1]), "running kernels"));
  ANAS_RETURN_IF_ERROR(
      check(cuda, cuda->driver.EventElapsedTime(&milliseconds, cuda->event[0], cuda->event[1]), "cuEventElapsedTime"));
  *out_seconds = milliseconds * 1e-3;
  return ANAS_OK;
}

const struct anas_device_ops anas_device_cuda = {
    .name = "cuda",
    .open = cuda_open,
    .close = cuda_close,
    .describe = cuda_describe,
    .allocate = cuda_allocate,
    .release = cuda_release,
    .copy_in = cuda_copy_in,
    .copy_out = cuda_copy_out,
    .load = cuda_load,
    .unload = cuda_unload,
    .find = cuda_find,
    .launch = cuda_launch,
    .fill = cuda_fill,
    .record_begin = cuda_record_begin,
    .record_end = cuda_record_end,
    .replay = cuda_replay,
    .graph_destroy = cuda_graph_destroy,
    .synchronize = cuda_synchronize,
    .mark = cuda_mark,
    .elapsed = cuda_elapsed,
};
