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
