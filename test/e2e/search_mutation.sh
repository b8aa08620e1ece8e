#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# How candidates are made: presets, ablations and single settings; what the study keeps of them; bad values.
set -eu
rm -rf ./*
fails() { # fails PATTERN COMMAND...: exit code 1 and a message
  pattern=$1
  shift
  code=0
  "$@" >out.txt 2>error.txt || code=$?
  if test $code != 1 || ! grep -q -e "$pattern" error.txt; then
    echo "expected exit code 1 and '$pattern', got $code and:" >&2
    cat error.txt >&2
    exit 1
  fi
}
settings() { sqlite3 "$1/study.db" "select value from settings where key = 'options'" | jq -r .mutation | tr ' ' '\n'; }
search() { anas-search --model resnet18 --evaluator simulated --trials 6 --seed 3 "$@"; }

# The numbers of the published search, printed without running anything; flags beside a preset win.
anas-search --model cnn --preset cifar10 --print-config >cifar.json
jq -e '.epochs == 90 and .batch == 64 and ."seed-trials" == 2 and ."min-accuracy" == 0.8 and .trials == 50 and
  .lr == 0.01 and .dataset == "cifar10" and .objectives == ["accuracy:max", "params:min", "flops:min"]' cifar.json >/dev/null
jq -r .mutation cifar.json | grep -q 'grow=0.75 max-fraction=0.8 .*depth=0.5 .*mixing=0.5 weaken=0 drop-branch=0.2 residual=0 '
anas-search --model cnn --epochs 3 --preset=imagenet --mutation-depth 0.25 --print-config >imagenet.json
jq -e '.epochs == 3 and ."min-accuracy" == 0.6 and .objectives[1] == "images_per_second:max"' imagenet.json >/dev/null
jq -r .mutation imagenet.json | grep -q 'grow=0.9 max-fraction=0.5 .*depth=0.25 .*mixing=0.8 '

# A run with a preset, one with an ablation on top, and the same again: other candidates, the same candidates.
search --preset cifar10 --study preset >preset.txt
search --preset cifar10 --property depth=no,mixing=nomutate --study ablation >ablation.txt
search --preset cifar10 --property depth=no,mixing=nomutate --study again >again.txt
hashes() { sqlite3 "$1/study.db" "select hash from trials order by number"; }
hashes preset >a.log
hashes ablation >b.log
hashes again >c.log
cmp b.log c.log
! cmp -s a.log b.log || exit 1
settings preset | grep -qx use-depth=true
settings ablation | grep -qx use-depth=false
settings ablation | grep -qx mixing=0
settings ablation | grep -qx weaken=0
! sqlite3 ablation/study.db "select description from trials" | grep -q 'wanted' || exit 1

# Targeted selection and ageing change who becomes a parent; the preset knows for which models.
test "$(anas-search --model resnet50 --preset imagenet --print-config | jq -r .targeted)" = on
test "$(anas-search --model resnet34 --preset imagenet --print-config | jq -r .targeted)" = off
test "$(anas-search --model resnet34 --preset imagenet --print-config | jq -r .lr)" = 0.025
test "$(anas-search --model vit-s/16 --preset imagenet --print-config | jq -r .targeted)" = on
test "$(anas-search --model b0 --preset cifar10 --print-config | jq -r .targeted)" = off
search --trials 12 --targeted on --generations-to-live 3 --study targeted >targeted.txt
search --trials 12 --study plain >plain.txt
sqlite3 targeted/study.db "select decision from trials" | grep -q '"targeted":true'
sqlite3 targeted/study.db "select decision from trials" | grep -q '"targeted":false'
! sqlite3 plain/study.db "select decision from trials" | grep -q targeted || exit 1
parents() { sqlite3 "$1/study.db" "select parent from trials order by number"; }
parents targeted >p.log
parents plain >q.log
! cmp -s p.log q.log || exit 1
fails "targeted is on or off, got 'yes'" search --targeted yes --study x
fails "ageing is impulse, cyclic" search --ageing linear --study x

# The settings belong to the study: they stay on resume, and cannot be changed then.
search --mutation-delete 1 --mutation-duplicate 0 --study deletions >deletions.txt
test "$(sqlite3 deletions/study.db "select count(*) from trials where number > 0 and kind != 'delete'")" = 0
anas-search --study deletions --resume --trials 8 >resumed.txt
settings deletions | grep -qx delete=1
test "$(sqlite3 deletions/study.db "select count(*) from trials where number > 0 and kind != 'delete'")" = 0
fails "mutation-delete belongs to the study" anas-search --study deletions --resume --mutation-delete 0
fails "preset belongs to the study" anas-search --study deletions --resume --preset cifar10

fails "--preset: 'cifar' is no value of 'preset'; did you mean 'cifar10'?" search --preset cifar --study x
fails "its values: mutate, nomutate, no" search --property depth=maybe --study x
fails "'genetic' is no value of 'synthesizer'" search --synthesizer genetic --study x
fails "depth: '2' is not a number from 0 to 1" search --mutation-depth 2 --study x
fails "unknown argument '--mutation-dpeth'" search --mutation-dpeth 1 --study x
fails "needs a value" anas-search --model cnn --study x --preset
test ! -e x
anas-search --help | grep -q -e '--mutation-weaken X '
