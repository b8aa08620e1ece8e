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
  # One file: a ptxas run for every kernel function would mostly be start-up.
  for file in "$scratch"/ptx/*.ptx; do
    if [ -s "$scratch/all.ptx" ]; then sed '/^\.version\|^\.target\|^\.address_size/d' "$file"; else cat "$file"; fi \
      >>"$scratch/all.ptx"
  done
  for architecture in $4; do
    "$ptxas" -arch="$architecture" -v "$scratch/all.ptx" -o "$scratch/cubin" 2>"$scratch/err" ||
      fail "ptxas -arch=$architecture: $(head -n 5 "$scratch/err")"
    grep -c 'Compiling entry function' "$scratch/err" >"$scratch/count"
    [ "$(cat "$scratch/count")" -ge "$(ls "$scratch"/ptx | wc -l)" ] || fail "functions are missing"
    # Contractions (names end in _tile) keep everything in registers.
    awk '/Compiling entry function/ { tile = /_tile/ } /spill stores/ && tile && !/ 0 bytes spill stores/ { print; bad = 1 }
      END { exit bad }' "$scratch/err" || fail "spilled registers on $architecture"
  done
  rm "$scratch/all.ptx"
}
assemble cnn sm_80 f32 "sm_80 sm_90 sm_100"
assemble cnn sm_80 tf32 "sm_80 sm_90 sm_100"
assemble cnn sm_80 bf16 "sm_80 sm_90 sm_100"
assemble resnet18 sm_90 f32 sm_90

losses() { sed -n 's/.*"event":"\(step\|epoch\)".*"loss":\([0-9.]*\).*/\2/p' "$1"; }
# compare_losses FILE FILE COUNT
compare_losses() {
  losses "$1" >"$scratch/a"
  losses "$2" >"$scratch/b"
  paste "$scratch/a" "$scratch/b" | awk -v count="$3" '
    { d = $1 - $2; if (d < 0) d = -d; if (NF != 2 || d > 1e-4 * $1) { print; bad = 1 } }
    END { exit bad || NR != count }' || fail "other losses than on the CPU"
}

# The PTX interpreter runs the same code.
cat >"$scratch/small.mlir" <<'MLIR'
func.func @main(%image: tensor<?x28x28x1xf32>) -> tensor<?x10xf32> {
  %0 = "anas.conv"(%image) {anas.name = "stem", features = 9 : i64, kernel = 3 : i64, strides = 4 : i64, use_bias = false} : (tensor<?x28x28x1xf32>) -> tensor<?x7x7x9xf32>
  %1 = "anas.batch_norm"(%0) {anas.name = "bn"} : (tensor<?x7x7x9xf32>) -> tensor<?x7x7x9xf32>
  %2 = "anas.relu"(%1) : (tensor<?x7x7x9xf32>) -> tensor<?x7x7x9xf32>
  %3 = "anas.mean"(%2) {axes = array<i64: 1, 2>} : (tensor<?x7x7x9xf32>) -> tensor<?x9xf32>
  %4 = "anas.dense"(%3) {anas.name = "head", features = 10 : i64} : (tensor<?x9xf32>) -> tensor<?x10xf32>
  return %4 : tensor<?x10xf32>
}
MLIR
small="--dataset fashion-mnist --limit 8 --validation 4 --max-steps 2 --seed 5"
anas-export "$scratch/small.mlir" --to cuda-bundle --batch 4 -o "$scratch/small" 2>"$scratch/err"
anas-run-bundle "$scratch/small" $small --device ptxsim >"$scratch/sim"
anas-train "$scratch/small.mlir" $small --batch 4 --json >"$scratch/cpu"
compare_losses "$scratch/cpu" "$scratch/sim" 2
anas-train "$scratch/small.mlir" $small --batch 4 --device ptxsim --json >"$scratch/sim"
compare_losses "$scratch/cpu" "$scratch/sim" 2

run="--dataset fashion-mnist --limit 640 --validation 64 --max-steps 3 --seed 5"
if anas-run-bundle "$scratch/cnn.f32" --synthetic --max-steps 1 >"$scratch/out" 2>"$scratch/err"; then
  echo "training on the GPU"
  anas-run-bundle "$scratch/cnn.f32" $run >"$scratch/gpu"
  anas-train "$scratch/cnn.mlir" $run --batch 32 --device cpu --json >"$scratch/cpu"
  anas-train "$scratch/cnn.mlir" $run --batch 32 --device cuda --json >"$scratch/cuda"
  compare_losses "$scratch/cpu" "$scratch/gpu" 3
  compare_losses "$scratch/cpu" "$scratch/cuda" 3
else
  grep -q 'no NVIDIA driver\|there is no GPU' "$scratch/err" || fail "$(cat "$scratch/err")"
  expect_error 'cuda: ' anas-run-bundle "$scratch/cnn.f32" $run
  expect_error 'cuda: ' anas-train "$scratch/cnn.mlir" $run --device cuda
  echo "no GPU here: nothing was trained on one"
fi
