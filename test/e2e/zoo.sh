#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# anas-zoo as users run it, and its output in the stock mlir-opt with the generated IRDL.
set -eu
zoo=$(command -v anas-zoo)
irdl=$(dirname "$zoo")/../share/anas/anas.irdl.mlir
mlir_opt=${MLIR_OPT:-/usr/lib/llvm-22/bin/mlir-opt}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
  echo "FAIL: $*" >&2
  exit 1
}

# Every network of --list is accepted by mlir-opt, whose output is accepted again and is stable.
names=$("$zoo" --list | sed -n '2,/^$/s/ .*//p')
[ "$(echo "$names" | wc -w)" -ge 6 ] || fail "--list shows: $names"
for name in $names; do
  "$zoo" "$name" -o "$scratch/net.mlir"
  "$mlir_opt" --irdl-file="$irdl" "$scratch/net.mlir" -o "$scratch/once.mlir"
  "$mlir_opt" --irdl-file="$irdl" "$scratch/once.mlir" -o "$scratch/twice.mlir"
  cmp "$scratch/once.mlir" "$scratch/twice.mlir"
done

# Image size and classes reach the types.
"$zoo" cnn --input 28x28x1 --classes 7 | grep -q 'func.func @main(%arg0: tensor<?x28x28x1xf32>) -> tensor<?x7xf32>' ||
  fail "cnn --input 28x28x1 --classes 7 has the wrong type"

# mlir-opt refuses an op without its required attribute.
printf 'func.func @f(%%x: tensor<2x2xf32>) -> tensor<2x2xf32> {\n  %%0 = "anas.dense"(%%x) : (tensor<2x2xf32>) -> tensor<2x2xf32>\n  return %%0 : tensor<2x2xf32>\n}\n' >"$scratch/bad.mlir"
if "$mlir_opt" --irdl-file="$irdl" "$scratch/bad.mlir" >"$scratch/out" 2>"$scratch/err"; then
  fail "mlir-opt accepted a dense layer without features"
fi
grep -q features "$scratch/err" || fail "no word about features: $(cat "$scratch/err")"

# Errors: exit code 1, a message that names the problem, nothing written.
refuse() {
  expected=$1
  shift
  code=0
  "$zoo" "$@" -o "$scratch/nothing.mlir" >"$scratch/out" 2>"$scratch/err" || code=$?
  [ "$code" = 1 ] || fail "anas-zoo $* exited with $code"
  grep -q -- "$expected" "$scratch/err" || fail "anas-zoo $*: $(cat "$scratch/err")"
  [ ! -s "$scratch/out" ] && [ ! -e "$scratch/nothing.mlir" ] || fail "anas-zoo $* wrote something"
}
refuse "did you mean 'resnet18'" resnet81
refuse "which network" --classes 3
refuse "HxWxC" cnn --input 32x32
refuse "positive number" cnn --classes 0
refuse "too many" cnn resnet18
refuse "unknown option" cnn --frobnicate
refuse "avg_pool" cnn --input 2x2x3
