#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# A study of many trials: every strategy goes on with it, and what it remembers from decision to decision changes none:
# replay, which reads the log afresh for each trial, decides the same.
set -eu
bench=$(cd "$(dirname "$0")/../bench" && pwd)
rm -rf ./*
trials=4500
sh "$bench/made_up_study.sh" s $trials --objective accuracy:max --objective params:min --objective macs:min --min-accuracy 0
for strategy in alphanas regularized nsga2 mu-plus-lambda local mutation; do
  sqlite3 s/study.db "update settings set value = json_set(value, '\$.strategy', '$strategy') where key = 'options'"
  trials=$((trials + 4))
  anas-search --study s --resume --trials $trials --workers 2 --json >out.json
  jq -es ".[-1].trials == $trials" out.json >/dev/null
  anas-search replay s --trial $((trials - 1)) | grep -q '^1 trial decided again: 0 differ$'
  # More than a few thousand candidates compete by sample, and the decision says so.
  test $strategy != alphanas || anas-search show s $((trials - 1)) --json |
    jq -e '.decision | .sampled_from > 4096 and .eligible < 4300' >/dev/null
done
