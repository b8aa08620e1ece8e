#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# make demo: searches from the small CNN on Fashion-MNIST. Usage: demo.sh BIN OUTPUT_DIRECTORY
set -eu
bin=$1
out=$2
rm -rf "$out"
mkdir -p "$out"

echo "== seed architecture: $out/cnn.mlir"
"$bin/anas-zoo" cnn --input 28x28x1 --classes 10 -o "$out/cnn.mlir"
"$bin/anas-opt" "$out/cnn.mlir" --anas-infer-shapes --anas-cost |
  sed -n 's/.*anas.macs = \([0-9]*\).*anas.params = \([0-9]*\).*/\2 parameters, \1 multiply-accumulates an image/p'

# Short training on a part of the images is enough to rank candidates; none may cost much more than the seed or be larger.
echo "== search: 30 trials, two at a time"
"$bin/anas-search" "$out/cnn.mlir" --dataset fashion-mnist --study "$out/study" \
  --trials 30 --workers 2 --seed 1 --limit 6400 --validation 2000 --epochs 2 --batch 64 --lr 0.02 \
  --objective accuracy:max --objective params:min --constraint 'macs<4e7' --constraint 'params<1.75e6' \
  --trial-timeout 2m --memory-limit 2G
