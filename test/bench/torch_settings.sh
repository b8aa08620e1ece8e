# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Sourced by the comparisons with PyTorch: the settings under which Debian's python3-torch is fastest on a CPU. Each is
# worth up to a factor of two: OpenBLAS's AVX-512 kernels on processors it does not know, ATen's AVX-512 kernels, threads
# that sleep between parallel regions on a machine that has other work, and large tensors that malloc keeps instead of
# returning their pages after every operation.
python=${PYTHON:-/usr/bin/python3}
unset OPENBLAS_L2_SIZE
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
if grep -q avx512f /proc/cpuinfo; then
  export OPENBLAS_CORETYPE=${OPENBLAS_CORETYPE:-SkylakeX} ATEN_CPU_CAPABILITY=${ATEN_CPU_CAPABILITY:-avx512}
fi
torch_train() {
  MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=8000000000 "$python" "$here/torch_train.py" "$@"
}
"$python" -c 'import torch, numpy' 2>/dev/null || {
  echo "$0: $python has no torch or numpy; install python3-torch, or set PYTHON" >&2
  exit 1
}
