#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# anas-export and anas-run-bundle: errors, PTX that the assembler accepts where there is one, and on a machine with an
# NVIDIA GPU the losses of the CPU.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
  echo "FAIL: $*" >&2
  exit 1
}

# expect_error TEXT COMMAND...: exit code 1, exactly one error, which holds TEXT, and nothing on standard output.
expect_error() {
  text=$1
  shift
  code=0
  "$@" >"$scratch/out" 2>"$scratch/err" || code=$?
  [ "$code" = 1 ] || fail "exit code $code instead of 1: $*"
  [ "$(grep -c 'error:' "$scratch/err")" = 1 ] || fail "not one error: $* printed $(cat "$scratch/err")"
  grep -q -- "$text" "$scratch/err" || fail "'$text' is not in: $(cat "$scratch/err")"
  [ ! -s "$scratch/out" ] || fail "printed to standard output: $*"
}

anas-zoo cnn --input 28x28x1 --classes 10 -o "$scratch/cnn.mlir"
anas-zoo resnet18 -o "$scratch/resnet18.mlir"

expect_error "no model given" anas-export
expect_error "known is cuda-bundle" anas-export "$scratch/cnn.mlir"
expect_error "'onnx' is not a format" anas-export "$scratch/cnn.mlir" --to onnx -o "$scratch/x"
expect_error "unknown chip 'sm_1'" anas-export "$scratch/cnn.mlir" --to cuda-bundle --chip sm_1 -o "$scratch/x"
expect_error "unknown precision 'f8'" anas-export "$scratch/cnn.mlir" --to cuda-bundle --precision f8 -o "$scratch/x"
[ ! -e "$scratch/x" ] || fail "a failed export left a file"
expect_error "not a bundle" anas-run-bundle "$scratch/cnn.mlir" --synthetic
expect_error "cannot open" anas-run-bundle "$scratch/nothing" --synthetic
expect_error "--synthetic is required" anas-run-bundle "$scratch/nothing"

# assemble NAME CHIP PRECISION ARCHITECTURES: every kernel function, on each architecture, without spilled registers.
ptxas=$(command -v ptxas || echo "${CUDA_HOME:-/usr/local/cuda}/bin/ptxas")
assemble() {
  rm -rf "$scratch/ptx"
  anas-export "$scratch/$1.mlir" --to cuda-bundle --batch 32 --chip "$2" --precision "$3" -o "$scratch/$1.$3" \
    --ptx "$scratch/ptx" 2>"$scratch/err" || fail "anas-export: $(cat "$scratch/err")"
  grep -l '\.extern' "$scratch"/ptx/*.ptx && fail "unresolved symbols"
  if [ ! -x "$ptxas" ]; then
    echo "no ptxas here: the PTX of $1 is not assembled"
    return
  fi
  for architecture in $4; do
    for file in "$scratch"/ptx/*.ptx; do
      "$ptxas" -arch="$architecture" -v "$file" -o "$scratch/cubin" 2>"$scratch/err" ||
        fail "ptxas -arch=$architecture: $(cat "$scratch/err")"
      if grep -q '_tile(' "$file" && grep 'spill stores' "$scratch/err" | grep -vq ' 0 bytes spill stores'; then
        fail "spilled registers on $architecture: $(cat "$scratch/err")"
      fi
    done
  done
}
assemble cnn sm_80 f32 "sm_80 sm_90 sm_100"
assemble cnn sm_80 tf32 "sm_80 sm_90 sm_100"
assemble resnet18 sm_80 f32 sm_90

run="--dataset fashion-mnist --limit 640 --validation 64 --max-steps 3 --seed 5"
if anas-run-bundle "$scratch/cnn.f32" --synthetic --max-steps 1 >"$scratch/out" 2>"$scratch/err"; then
  echo "training on the GPU"
  anas-run-bundle "$scratch/cnn.f32" $run >"$scratch/gpu"
  anas-train "$scratch/cnn.mlir" $run --batch 32 --device cpu --json >"$scratch/cpu"
  anas-train "$scratch/cnn.mlir" $run --batch 32 --device cuda --json >"$scratch/cuda"
  losses() { sed -n 's/.*"event":"\(step\|epoch\)".*"loss":\([0-9.]*\).*/\2/p' "$1"; }
  for other in gpu cuda; do
    losses "$scratch/cpu" >"$scratch/a"
    losses "$scratch/$other" >"$scratch/b"
    paste "$scratch/a" "$scratch/b" | awk '
      { d = $1 - $2; if (d < 0) d = -d; if (NF != 2 || d > 1e-4 * $1) { print; bad = 1 } }
      END { exit bad || NR != 3 }' || fail "losses on the GPU differ from those on the CPU"
  done
else
  grep -q 'no NVIDIA driver\|there is no GPU' "$scratch/err" || fail "$(cat "$scratch/err")"
  expect_error 'cuda: ' anas-run-bundle "$scratch/cnn.f32" $run
  expect_error 'cuda: ' anas-train "$scratch/cnn.mlir" $run --device cuda
  echo "no GPU here: nothing was trained on one"
fi
