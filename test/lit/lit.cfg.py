# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# FileCheck tests of passes and tools: RUN lines beside the input.
import os

import lit.formats

config.name = "ANAS"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.anas_obj_root, "test", "lit")

config.environment["PATH"] = os.pathsep.join(
    [os.path.join(config.anas_obj_root, "bin"), config.llvm_tools_dir, config.environment["PATH"]]
)
# lit hides the environment from tests; these are what tools and sanitizers read.
for name in ("ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS", "ANAS_NUM_THREADS"):
    if name in os.environ:
        config.environment[name] = os.environ[name]
config.environment["ANAS_CACHE_DIR"] = os.path.join(config.test_exec_root, "cache")

config.substitutions.append(("%mlir_opt", os.path.join(config.llvm_tools_dir, "mlir-opt")))
