#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Makes a study of N trials up without running them: rows like a search leaves them, with random results; the candidates
# of all are that of trial 1, by links. usage: made_up_study.sh STUDY N [FLAGS of anas-search]
set -eu
study=$1
n=$2
shift 2
anas-search --model cnn --evaluator simulated --trials 2 --study "$study" "$@" >/dev/null
columns=$(sqlite3 "$study/study.db" "select group_concat(name) from pragma_table_info('trials') where name not in
  ('number', 'parent', 'state', 'hash', 'accuracy', 'params', 'macs', 'decision')")
# The other columns are those of trial 1. Commits are small: a large one would leave a log as large as the database.
i=2
while [ "$i" -lt "$n" ]; do
  end=$((i + 50000 < n ? i + 50000 : n))
  echo "insert into trials(number, parent, state, hash, accuracy, params, macs, decision, $columns)
    with recursive c(i) as (select $i union all select i + 1 from c where i + 1 < $end)
    select i, abs(random()) % i, 'COMPLETE', lower(hex(randomblob(16))), 0.5 + (abs(random()) % 100000) / 250000.0,
      100000 + abs(random()) % 3000000, 1e7 + abs(random()) % 30000000, '{\"strategy\":\"made up\"}', $columns
      from c join trials t where t.number = 1;"
  i=$end
done | sqlite3 "$study/study.db"
perl -e 'symlink "0001", sprintf "%s/trials/%04d", $ARGV[0], $_ for 2 .. $ARGV[1] - 1' "$study" "$n"
