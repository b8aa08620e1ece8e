#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The data set imagefolder in anas-train and anas-search: dark and bright pictures are told apart; damaged files.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
  echo "FAIL: $*" >&2
  exit 1
}

# Gray JPEG files of 8x8 pixels, all 30 and all 220.
head=/9j/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4UG1RV19iZ2hnPk1xeXBkeFxlZ2P/wAALCAAIAAgBAREA/8QAFAAB
head=${head}AAAAAAAAAAAAAAAAAAAABv/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8A
mkdir -p "$scratch/data/dark" "$scratch/data/bright"
for i in 0 1 2 3 4 5 6 7 8 9; do
  echo "${head}HP/Z" | base64 -d >"$scratch/data/dark/$i.jpg"
  echo "${head}XP/Z" | base64 -d >"$scratch/data/bright/$i.jpg"
done

cat >"$scratch/net.mlir" <<'MLIR'
func.func @main(%image: tensor<?x6x10x3xf32>) -> tensor<?x2xf32> {
  %0 = "anas.flatten"(%image) : (tensor<?x6x10x3xf32>) -> tensor<?x180xf32>
  %1 = "anas.dense"(%0) {anas.name = "head", features = 2 : i64} : (tensor<?x180xf32>) -> tensor<?x2xf32>
  return %1 : tensor<?x2xf32>
}
MLIR
train() {
  anas-train "$scratch/net.mlir" --dataset imagefolder --data "$scratch/data" --batch 8 --lr 0.01 --warmup 0 "$@"
}

# A tenth is kept for validation by itself; two runs are the same.
train --epochs 5 --json >"$scratch/a.json"
tail -n 1 "$scratch/a.json" | jq -e '.val_accuracy == 1' >/dev/null || fail "$(tail -n 1 "$scratch/a.json")"
train --epochs 5 --json --threads 1 >"$scratch/b.json"
for f in a b; do jq -c 'select(.event == "step") | [.step, .loss]' "$scratch/$f.json" >"$scratch/$f.losses"; done
[ -s "$scratch/a.losses" ] || fail "no steps in $(cat "$scratch/a.json")"
cmp "$scratch/a.losses" "$scratch/b.losses"
train | grep -q 'imagefolder: 18 training, 2 validation' || fail "not 18 training images and 2 validation images"
mkdir "$scratch/split"
cp -r "$scratch/data" "$scratch/split/train"
cp -r "$scratch/data" "$scratch/split/val"
anas-train "$scratch/net.mlir" --dataset imagefolder --data "$scratch/split" --batch 8 |
  grep -q 'imagefolder: 20 training, 20 validation' || fail "train and val folders were not used"

# A network of the zoo is searched at the size it is made for, with the classes of the folders.
anas-search --model cnn --dataset imagefolder --data "$scratch/data" --study "$scratch/study" --trials 2 --epochs 1 \
  --batch 4 --seed 1 >"$scratch/out" 2>&1 || fail "$(cat "$scratch/out")"
grep -q 'tensor<?x32x32x3xf32>) -> tensor<?x2xf32>' "$scratch/study/trials/0000/candidate.mlir" ||
  fail "the seed network does not fit the folders"

# One error that names the file, exit code 1.
refuse() {
  code=0
  train >"$scratch/out" 2>"$scratch/err" || code=$?
  [ "$code" = 1 ] && [ "$(grep -c 'error:' "$scratch/err")" = 1 ] && grep -q "$1" "$scratch/err" ||
    fail "code $code, $(cat "$scratch/err")"
}
echo "${head}" | base64 -d >"$scratch/data/dark/5.jpg"
refuse 'dark/5.jpg.*remature end'
echo 'no picture' >"$scratch/data/dark/5.jpg"
refuse 'dark/5.jpg.*is not a JPEG file'
rm -r "$scratch/data/dark"
refuse 'needs one for each of 2'
