#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Pruners and limits on simulated learning curves: who goes on from a rung, that it depends on neither workers nor time,
# and what becomes of those that do not.
set -eu
rm -rf ./*
fails() { # fails 'what stderr must contain' command...
  expected=$1
  shift
  if "$@" >out.txt 2>err.txt; then echo "should have failed: $*" >&2; exit 1; fi
  grep -qF -- "$expected" err.txt || { echo "expected '$expected', got:" >&2; cat err.txt >&2; exit 1; }
}
search() { anas-search --model cnn --epochs 9 --seed 4 "$@"; }
query() { sqlite3 "$1/study.db" "$2"; }
log() {
  query "$1" 'select number, parent, state, reason, hash, accuracy, steps, decision from trials order by number;
    select * from curves order by trial, steps'
}
empty() { test -z "$1" || { echo "should be empty: $1" >&2; exit 1; }; }

# In generations any number of workers makes the same search.
for pruner in halving hyperband median; do
  for workers in 1 2 4; do
    test $pruner = halving || test $workers != 2 || continue
    search --evaluator simulated:seconds=0.02,crash=0.1 --trials 24 --synchronous 12 --pruner $pruner --workers $workers \
      --study $pruner$workers >$pruner$workers.txt
    log $pruner$workers >$pruner$workers.log
  done
  cmp ${pruner}1.log ${pruner}4.log
  anas-search replay ${pruner}4 >replay.txt
  grep -q '^24 trials decided again: 0 differ$' replay.txt
  grep -q '^[1-9][0-9]* decisions at rungs made again$' replay.txt
  anas-search fsck ${pruner}4 >fsck.txt
  test "$(query ${pruner}1 "select count(*) from trials where state = 'PRUNED'")" -ge 5
done
cmp halving1.log halving2.log

# Of each generation a third, or one, goes on from a rung; nobody stops there who is better than one that goes on, in one
# objective and not worse in the other.
query halving1 'select trial / 12, epochs, sum(verdict = "on"), count(*) from curves where rung and trial > 0
  group by 1, 2' >rungs.txt
test "$(wc -l <rungs.txt)" = 4
awk -F'|' '{ keep = int($4 / 3); if (keep < 1) keep = 1; if ($3 != keep || $4 < 3 * $3) exit 1 }
  $2 == 1 && $4 < 8 { exit 1 }' rungs.txt
empty "$(query halving1 "select s.trial, o.trial from curves s join curves o on s.epochs = o.epochs and
  s.trial / 12 = o.trial / 12 join trials st on st.number = s.trial join trials ot on ot.number = o.trial
  where s.verdict = 'stop' and o.verdict = 'on' and s.accuracy >= o.accuracy and st.params <= ot.params
  and (s.accuracy > o.accuracy or st.params < ot.params)")"
# Trials that were stopped are parents too, by what they are expected to have reached; but not where children start from
# the weights of their parents.
parents() { # parents STUDY STATE: how many children after the first generation have a parent in that state
  query "$1" "select count(*) from trials t join trials p on t.parent = p.number where t.number >= 12 and p.state = '$2'"
}
test "$(parents halving1 PRUNED)" -ge 1
for strategy in alphanas nsga2; do
  search --evaluator simulated --trials 36 --synchronous 12 --pruner halving --strategy $strategy --study $strategy >$strategy.txt
  test "$(parents $strategy PRUNED)" -ge 1
  test "$(parents $strategy COMPLETE)" -ge 1
  anas-search replay $strategy >replay.txt
  grep -q '^36 trials decided again: 0 differ$' replay.txt
done
search --evaluator simulated --trials 24 --synchronous 12 --pruner halving --inherit-weights --study heirs >heirs.txt
test "$(parents heirs PRUNED)" = 0
# Resumed, it is the same search.
search --evaluator simulated --trials 12 --synchronous 12 --pruner halving --study resumed >resumed.txt
anas-search --study resumed --resume --trials 36 >resumed.txt
log resumed >resumed.log
log alphanas | cmp - resumed.log

# The search in full is more than three times as much training.
test "$(query halving1 'select sum(steps) * 3 <= count(*) * 900 from trials where state != "CRASHED"')" = 1

# A trial that was stopped has the accuracy of its rung, keeps its curve, and is on no front.
empty "$(query halving1 "select number from trials join curves on number = trial and verdict = 'stop'
  where state != 'PRUNED' or trials.accuracy != curves.accuracy or trials.steps != curves.steps")"
empty "$(query halving1 "select number from trials where state = 'COMPLETE' and steps != 900 or state = 'PAUSED'
  or state = 'PRUNED' and (reason is null or steps >= 900)")"
anas-search pareto halving1 --json >front.json
for trial in $(jq '.[].trial' front.json); do
  test "$(query halving1 "select state from trials where number = $trial")" = COMPLETE
done
stopped=$(query halving1 "select number from trials where state = 'PRUNED' and steps = 300 limit 1")
anas-search show halving1 "$stopped" >show.txt
grep -q "PRUNED, stopped after 3 of 9 epochs: not among the best of [0-9]* trials there" show.txt
grep -A3 '^learning curve' show.txt | tail -n 3 | awk '{ print $1, $2, $5, $6 }' >curve.txt
printf '1 100 goes on\n2 200  \n3 300 stopped\n' | diff -b - curve.txt
test "$(anas-search show halving1 "$stopped" --json | jq '.curve | length')" = 3
anas-search status halving1 | grep -q PRUNED

# Rungs within an epoch; brackets of Hyperband: some trials have no rung.
search --evaluator simulated --trials 12 --synchronous 12 --pruner halving --min-epochs 0.25 --study part >part.txt
test "$(query part 'select count(distinct epochs) from curves where rung')" = 3
test "$(query part 'select min(steps) from curves')" = 33 # a third of an epoch of 100 steps
test "$(query hyperband1 "select count(*) from trials t where state = 'COMPLETE' and number > 0 and not exists
  (select 1 from curves where trial = number and rung)")" -ge 1

# Without generations: decided on arrival, and the log is enough to decide again.
search --evaluator simulated:seconds=0.05,diverge=0.1 --trials 40 --workers 3 --pruner halving --study free >free.txt
anas-search replay free >replay.txt
grep -q '^40 trials decided again: 0 differ$' replay.txt
test "$(query free "select count(*) from trials where state = 'PRUNED'")" -ge 20
test "$(query free "select count(*) = max(arrival) + 1 and min(arrival) = 0 from curves where rung and trial > 0")" = 1
# A verdict that does not follow from the log is noticed.
victim=$(query free "select trial from curves where verdict = 'stop' order by trial desc limit 1")
query free "update curves set verdict = 'on' where trial = $victim and verdict = 'stop'"
if anas-search replay free >replay.txt; then exit 1; fi
grep -q "^trial $victim: another decision at the rung of" replay.txt

# Patience: the accuracy of simulated curves always rises, that of a table never.
search --evaluator simulated --trials 4 --patience 2 --study rising >rising.txt
test "$(query rising "select count(*) from trials where state = 'COMPLETE'")" = 4
sqlite3 -csv -header rising/study.db "select hash, accuracy from trials" >results.csv
search --evaluator table:results.csv --trials 2 --patience 2 --study flat >flat.txt
test "$(query flat "select group_concat(state) from (select state from trials order by number)")" = COMPLETE,PRUNED
test "$(query flat "select count(*) from trials where steps = 300 and reason like
  'stopped after 3 of 9 epochs: accuracy not above % of epoch 1, for --patience 2'")" = 1

# A target ends the search after the generation that meets it.
best=$(query halving1 "select printf('%.4f', max(accuracy) - 0.00005) from trials where number < 12 and state = 'COMPLETE'")
search --evaluator simulated:crash=0.1 --trials 24 --synchronous 12 --pruner halving --target "accuracy=$best" --study target \
  >target.txt
test "$(query target 'select count(*) from trials')" = 12
grep -q "^target met: accuracy=$best$" target.txt
log target | head -n 12 >target.log
head -n 12 halving1.log | cmp - target.log
anas-search --study target --resume --target 'accuracy > 2' >target.txt # never met: the rest of the trials
log target | cmp - halving1.log

# A study of an older version has no curves; it gets them.
sqlite3 rising/study.db 'drop table curves; pragma user_version = 4'
anas-search show rising 0 >show.txt
anas-search --study rising --resume --trials 5 >rising.txt
test "$(query rising 'select count(*) from curves')" = 9

fails "got 'halvin'; did you mean 'halving'?" search --pruner halvin --study x
fails '--max-steps excludes it' search --pruner halving --max-steps 10 --study x
fails 'has nothing to decide' search --pruner halving --min-epochs 4 --study x
fails 'is less than 1/1000' search --pruner halving --min-epochs 1e-6 --study x
fails '--reduction-factor' search --pruner halving --reduction-factor 1 --study x
fails "--target: column 1" search --target accurcy=0.8 --study x
fails 'is about the seed model' search --target 'params < seed.params' --study x
fails '--pruner belongs to the study' anas-search --study rising --resume --pruner halving
test ! -e x
