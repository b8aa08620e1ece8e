#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# make demo: searches from the small CNN on Fashion-MNIST. Usage: demo.sh BIN STUDY_PARENT
set -eu
bin=$1
out=$2
rm -rf "$out"
mkdir -p "$out"
echo "== the seed architecture"
"$bin/anas-zoo" cnn --input 28x28x1 --classes 10 -o "$out/cnn.mlir"
"$bin/anas-opt" "$out/cnn.mlir" --anas-infer-shapes --anas-cost | grep -m1 'func.func @main'
echo "== the search"
"$bin/anas-search" "$out/cnn.mlir" --dataset fashion-mnist --study "$out/study" --trials 28 --seed 1 \
  --limit 12800 --epochs 2 --batch 128 --lr 0.05 \
  --objective accuracy:max --objective params:min
