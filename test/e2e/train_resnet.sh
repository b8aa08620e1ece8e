# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ResNet-18 learns (case A14): far better than chance after two epochs of a few real images.
set -eu
rm -rf ./*
# The first images of Fashion-MNIST as a data set of their own: part NAME COUNT (4 octal bytes) IMAGES.
part() {
  { printf '\000\000\010\003%b\000\000\000\034\000\000\000\034' "$2"
    zcat "$source/$1-images-idx3-ubyte.gz" | tail -c +17 | head -c $(($3 * 784)); } >"data/$1-images-idx3-ubyte"
  { printf '\000\000\010\001%b' "$2"
    zcat "$source/$1-labels-idx1-ubyte.gz" | tail -c +9 | head -c "$3"; } >"data/$1-labels-idx1-ubyte"
}
source=$(dirname "$(dpkg -L dataset-fashion-mnist | grep train-images)")
mkdir data
part train '\000\000\004\000' 1024
part t10k '\000\000\000\200' 128
anas-zoo resnet18 --input 28x28x1 --classes 10 -o net.mlir
anas-train net.mlir --dataset fashion-mnist --data data --validation 128 --batch 64 --lr 0.05 --warmup 0.1 --epochs 2 \
  --seed 1 --json >out.json
tail -1 out.json | jq -e '.train_loss < 1.8 and .test_accuracy > 0.2' >/dev/null || { tail -1 out.json; exit 1; }
