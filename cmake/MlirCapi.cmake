# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The MLIR C API as one target. Its archives are linked as files: their imported targets would pull in a second, static
# copy of MLIR beside libMLIR.so.
find_package(MLIR 22.1 REQUIRED CONFIG HINTS /usr/lib/llvm-22/lib/cmake/mlir)
add_library(mlir_capi INTERFACE)
target_include_directories(mlir_capi SYSTEM INTERFACE ${MLIR_INCLUDE_DIRS} ${LLVM_INCLUDE_DIRS})
get_property(mlir_libraries GLOBAL PROPERTY MLIR_ALL_LIBS)
set(capi_archives "")
foreach(library IN LISTS mlir_libraries)
  if(library MATCHES "^MLIRCAPI")
    list(APPEND capi_archives $<TARGET_FILE:${library}>)
  endif()
endforeach()
target_link_libraries(mlir_capi INTERFACE -Wl,--start-group ${capi_archives} -Wl,--end-group
  $<TARGET_FILE:MLIR> $<TARGET_FILE:LLVM> stdc++ m pthread dl)
