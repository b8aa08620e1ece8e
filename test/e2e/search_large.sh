#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# A study of many trials: every strategy goes on with it, and what it remembers from decision to decision changes none:
# replay, which reads the log afresh for each trial, decides the same.
set -eu
bench=$(cd "$(dirname "$0")/../bench" && pwd)
rm -rf ./*
trials=4500
sh "$bench/made_up_study.sh" s $trials --objective accuracy:max --objective params:min --objective macs:min --min-accuracy 0
test "$(anas-search top s -n 3 --json | jq -c '[.[].trial]')" = "$(sqlite3 s/study.db "select json_group_array(number) from
  (select number from trials where state = 'COMPLETE' order by accuracy desc, number limit 3)")"
anas-search top s -n 1 --json | jq -e '.[0] | .kind and .description and .steps' >/dev/null # beyond what is read of all
sqlite3 s/study.db 'update trials set parent = number - 1 where number > 1' # a long line of ancestors
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
# The file names the nearest ancestors, show all of them.
number=$(sqlite3 s/study.db 'select max(number) from trials where number >= 4500 and parent > 200 and hash is not null')
file=s/trials/$number/candidate.mlir
test "$(grep -c '^// trial' "$file")" = 33
grep -q '^// trial [0-9]* and its ancestors$' "$file"
test "$(anas-search show s $number | grep -c '^  trial')" -gt 100
