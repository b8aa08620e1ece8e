#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# anas-search report: well-formed, loads nothing, hostile text stays text, numbers are those of the other commands, and
# its commands train the network of the front again with the same result.
set -eu
rm -rf ./*
fail() {
  echo "FAIL: $*" >&2
  exit 1
}
page() { # page STUDY: writes page.html and checks what holds for all of them
  anas-search report "$1" --output page.html
  xmllint --noout page.html || fail "the page of $1 is not well-formed"
  if grep -E '(src|href)=|<script|<link|<img|url\(|@import' page.html; then fail "the page of $1 loads something"; fi
}
query() { # query XPATH: one value a line; local names, since the page has namespaces
  xmllint --xpath "$1" page.html 2>/dev/null | sed 's/^ *[a-z-]*="\(.*\)"$/\1/'
}

# A front, failures, a search of several seeds' worth of text.
anas-search --model cnn --evaluator simulated:crash=0.2,diverge=0.2 --seed 5 --trials 16 --study made --quiet >/dev/null
page made
anas-search pareto made --json >front.json
query '//*[@id="front-table"]//@data-trial' >trials.txt
jq '.[].trial' front.json | cmp - trials.txt || fail "another front"
for metric in accuracy params macs; do
  query "//*[@id='front-table']//*[@data-metric='$metric']/@data-value" | jq -s . >got.json
  jq "map(.$metric)" front.json | jq -e --slurpfile got got.json '. == $got[0]' >/dev/null || fail "another $metric"
done
# The best of the front is the best of all.
test "$(query "(//*[@data-metric='accuracy'])[1]/@data-value" | jq .)" = "$(anas-search top made -n 1 --json | jq '.[0].accuracy')" ||
  fail "top has another accuracy"
anas-search status made --json >status.json
for state in COMPLETE CRASHED DIVERGED; do
  test "$(query "//*[@data-state='$state']/text()")" = "$(jq ".states.$state" status.json)" || fail "another number of $state"
done
test "$(query '//*[@data-counter="duplicates"]/text()')" = "$(jq .rejected_duplicates status.json)"
# A circle for each member of the front and the seed model; every ancestor is in the table.
count=$(jq length front.json)
test "$(xmllint --xpath 'count(//*[@id="plot-params"]/*[@class="front"])' page.html)" = "$count"
test "$(xmllint --xpath 'count(//*[@id="plot-params"]/*[@class="seed"])' page.html)" = 1
test "$(xmllint --xpath 'count(//*[@id="plot-trials"]/*[@class="frontline"])' page.html)" = 1
jq -r '.[].trial' front.json | while read -r n; do
  lines=$(anas-search show made "$n" | grep -c '^  trial ')
  test "$(xmllint --xpath "count(//*[@data-trial='$n']//*[local-name()='li'])" page.html)" = "$lines" || fail "lineage of $n"
done
jq -r '.[0].description' front.json >description.txt
xmllint --xpath '(//*[@data-trial])[1]//*[local-name()="li"][last()]/text()' page.html | sed 's/^trial [0-9]*: //; s/&gt;/>/g; s/&lt;/</g; s/&amp;/\&/g' |
  cmp - description.txt || fail "another mutation than $(cat description.txt)"
volume=$(query '//*[@id="hypervolume"]/@data-value')
anas-search --model cnn --evaluator simulated --seed 5 --trials 2 --study two --quiet >/dev/null
anas-search compare made two --json | jq -e --arg v "$volume" '.units as $u | .studies[0].hypervolume - ($v | tonumber) | fabs < 1e-9' >/dev/null ||
  fail "compare has another hypervolume than $volume"

# Texts that are markup, or no text at all.
mv made "<b>&'\""
sqlite3 "<b>&'\"/study.db" "update trials set description = '</li><script>alert(1)</script>' || cast(x'ff0141' as text)"
page "<b>&'\""
grep -q '&lt;script&gt;alert(1)&lt;/script&gt;??A' page.html || fail "not escaped"
query '//*[@id="commands"]/text()' | grep -q "^anas-search replay '&lt;b&gt;&amp;'\\\\''\"' " || fail "not quoted: $(query '//*[@id="commands"]/text()')"

# Nothing completed; one objective; four.
anas-search --model cnn --evaluator simulated:crash=1 --trials 3 --study none --quiet >/dev/null
page none
anas-search --model cnn --evaluator simulated --trials 5 --objective accuracy --study one --quiet >/dev/null
page one
anas-search --model cnn --evaluator simulated --trials 9 --objective accuracy --objective params --objective macs --objective loss:min \
  --study four --quiet >/dev/null
page four
test "$(xmllint --xpath 'count(//*[local-name()="svg" and starts-with(@id, "plot-")])' page.html)" = 5

for arguments in "one" "one --output /absent/x.html" "absent --output x.html"; do
  if anas-search report $arguments 2>error.txt; then fail "should have failed: $arguments"; fi
  grep -q '^anas-search: error: ' error.txt
done

# The commands of the page.
anas-search --model cnn --dataset fashion-mnist --limit 128 --validation 100 --batch 32 --trials 2 --objective accuracy:max \
  --study real --quiet >/dev/null
page real
query '//*[@id="commands"]/text()' | sed 's/&gt;/>/g' | grep -v '^anas-export' >commands.sh
sh -eu commands.sh >commands.txt || fail "commands: $(cat commands.txt)"
grep -q ' 0 differ' commands.txt
accuracy=$(anas-search top real -n 1 --json | jq -r '.[0].accuracy * 100' | xargs printf '%.2f')
grep -q "^validation accuracy $accuracy %" commands.txt || fail "accuracy $accuracy is not in: $(cat commands.txt)"
