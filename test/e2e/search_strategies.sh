#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Every strategy: same seed, same decisions, also when resumed; parents are chosen as its definition says.
set -eu
rm -rf ./*
search() { anas-search --model cnn --evaluator simulated --population 5 "$@"; }
decisions() { sqlite3 "$1/study.db" 'select number, parent, state, hash, accuracy, decision from trials order by number'; }
# none STUDY CONDITION: no trial t behind the seed fulfils it.
none() {
  found=$(sqlite3 "$1/study.db" "select count(*) from trials t where number > 0 and ($2)")
  test "$found" = 0 || { echo "$1: $found trials with $2" >&2; exit 1; }
}

for strategy in alphanas regularized nsga2 mu-plus-lambda local mutation random; do
  search --strategy $strategy --study $strategy --trials 18 --seed 4 >$strategy.txt
  search --strategy $strategy --study $strategy-again --trials 9 --seed 4 >again.txt
  anas-search --study $strategy-again --resume --trials 18 >>again.txt
  decisions $strategy >one.log
  decisions $strategy-again >two.log
  cmp one.log two.log
  test "$(wc -l <one.log)" = 18
  sqlite3 $strategy/study.db 'select decision from trials where number > 0' | jq -es "all(.strategy == \"$strategy\")" >/dev/null
done

# Ageing: parents are among the five youngest that completed.
none regularized "parent < (select min(number) from
  (select number from trials where number < t.number and state = (select state from trials where number = 0)
   order by number desc limit 5))"

# Generations: parents come from complete ones only, the first generation from the seed.
none nsga2 "parent >= max(1, t.number / 5 * 5)"

# With one objective, the best five so far are the parents; and the best itself, until it had five children.
for strategy in mu-plus-lambda local; do
  search --strategy $strategy --study $strategy-one --trials 30 --seed 4 --objective accuracy:max >one.txt
done
none mu-plus-lambda-one "(select count(*) from trials o where o.number < t.number and o.accuracy >
  (select accuracy from trials p where p.number = t.parent)) >= 5"
none local-one "json_extract(decision, '\$.restart') = 0 and (select accuracy from trials p where p.number = t.parent) <
  (select max(accuracy) from trials o where o.number < t.number)"
none local-one "json_extract(decision, '\$.restart') = 0 and
  (select count(*) from trials o where o.number < t.number and o.parent = t.parent) >= 5"

# Synchronous: the number of workers changes nothing, also when it changes on the way; 'slow' delays one of them.
for workers in 1 2 4; do
  ANAS_TEST_FAULT=slow:$workers search --synchronous 4 --workers $workers --study sync$workers --trials 12 --seed 5 >sync.txt
  decisions sync$workers >sync$workers.log
done
cmp sync1.log sync2.log
cmp sync1.log sync4.log

# Replay: every candidate is decided again, byte for byte.
for study in alphanas regularized nsga2-again sync4 local-one; do
  anas-search replay $study -o rebuilt-$study >replay.txt
  grep -q ' decided again: 0 differ$' replay.txt
  for f in rebuilt-$study/*.mlir; do
    cmp "$f" "$study/trials/$(basename "$f" .mlir)/candidate.mlir"
  done
done
anas-search replay sync4 --trial 7 | grep -q '^1 trial decided again: 0 differ$'
echo '// changed' >>sync4/trials/0007/candidate.mlir
sqlite3 sync2/study.db 'update trials set accuracy = 0.1 where number = 3'
anas-search replay sync4 >replay.txt && exit 1
grep -q "^trial 7: the candidate's text differs$" replay.txt
anas-search replay sync2 >replay.txt && exit 1
grep -q '^trial [0-9]*: ' replay.txt
