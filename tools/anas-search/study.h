// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The study: a directory with a SQLite database and one folder a trial. One process writes, any number read. Or a
// PostgreSQL database, which also holds the files; one driver decides, any number of workers take trials and report.
//   STUDY/study.db                     tables below; PRAGMA user_version is the schema version
//   STUDY/trials/NNNN/candidate.mlir   output.txt   weights.safetensors   checkpoint.safetensors (while it trains)
//   STUDY/front/NNNN.mlir
#ifndef ANAS_TOOLS_ANAS_SEARCH_STUDY_H
#define ANAS_TOOLS_ANAS_SEARCH_STUDY_H

#include "runtime/support/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A writer brings older versions up to date: 1 had no artefacts; since 3, columns of trials are found by name, and
// metrics that a study does not know yet get their column without a new version.
// Since 4 trials wait to be claimed, by an owner, for the length of a lease. Since 5 there are learning curves.
#define STUDY_SCHEMA 5

enum study_state {
  STUDY_WAITING = 0, // for somebody to claim it
  STUDY_RUNNING,
  STUDY_COMPLETE,
  STUDY_DIVERGED,    // the loss stopped being finite
  STUDY_TIMEOUT,     // longer than --trial-timeout
  STUDY_OOM,         // more memory than --memory-limit, or the machine had no more
  STUDY_CRASHED,     // ended by a signal or an internal error
  STUDY_INTERRUPTED, // stopped from outside; runs again on resume
  STUDY_INVALID,     // no valid child was found, or the candidate was refused by the compiler
  STUDY_DUPLICATE,   // every child found was known already
  STUDY_PAUSED,      // at a rung, until it is decided whether it waits again or is PRUNED
  STUDY_PRUNED,      // --pruner or --patience stopped it before its budget was spent
  STUDY_NUM_STATES
};
const char *study_state_name(enum study_state state); // "RUNNING", ...
bool study_state_ended(enum study_state state);       // for good

enum study_metric {
  METRIC_ACCURACY = 0, // validation, 0..1
  METRIC_LOSS,         // validation
  METRIC_PARAMS,
  METRIC_MACS,
  METRIC_FLOPS,
  METRIC_TRAIN_BYTES,       // estimate of the cost analysis
  METRIC_IMAGES_PER_SECOND, // of training
  METRIC_MODEL_BYTES,       // parameters and running statistics, as stored
  METRIC_PLANNED_BYTES,     // arena and parameter buffer of the compiled training program
  METRIC_LATENCY_P50,       // seconds of @infer at --latency-batch
  METRIC_LATENCY_P95,
  METRIC_LATENCY_SPREAD,   // relative, of the median
  METRIC_SEED_LATENCY_P50, // of the seed model, measured in alternation
  METRIC_GRAD_NORM,        // proxies/proxies.h
  METRIC_SNIP,
  METRIC_SYNFLOW,
  METRIC_NASWOT,
  METRIC_INHERITED, // share of the parameters that came from the parent
  METRIC_NUM
};
enum metric_known {       // when the value of a metric is there
  METRIC_FROM_MODEL,      // before there is a trial
  METRIC_BEFORE_TRAINING, // computed or measured by the trial before it trains
  METRIC_AFTER_TRAINING,
};
struct study_metric_info {
  const char *name;
  bool maximize; // usual direction
  enum metric_known known;
  const char *summary;
};
extern const struct study_metric_info study_metrics[METRIC_NUM]; // metrics.c
int study_metric_find(const char *name);                         // -1 if unknown
// For the value of an option: an error suggests the nearest.
anas_status study_metric_parse(const char *option, const char *name, int *out);

enum study_verdict { VERDICT_NONE = 0, VERDICT_ON, VERDICT_STOP };
// A point of a learning curve; of rungs also what was decided there, and on what (pruners/pruner.h).
struct study_point {
  int64_t steps; // trained so far
  double epochs;
  double accuracy, loss; // validation
  bool rung;
  enum study_verdict verdict;
  int64_t arrival, compared; // -1: none
};

struct study_trial {
  int64_t number, parent; // parent -1: a seed
  enum study_state state;
  bool brief; // only these, hash, metrics, steps, started and finished are known: see study_load
  char *reason, *kind, *block, *description, *hash; // owned; may be null
  double metric[METRIC_NUM];                        // NaN where unknown
  double train_loss, compile_seconds;
  int64_t cache_hits, cache_misses;    // kernel functions; of trials of this process only, not stored
  int64_t steps, peak_bytes, attempts; // attempts: how often it was started
  int kills;                           // from outside, as seen by this process; not stored
  double created, started, finished;   // seconds since 1970; 0: not yet
  char *owner;                         // who claimed it last; owned
  double lease;                        // until when it is theirs, seconds since 1970; NaN: as long as they live
  int64_t lost;                        // leases that ran out
  struct study_point *curve;           // ascending; owned; not read with the trial
  int num_points;
  size_t capacity_points;
};
void study_trial_init(struct study_trial *trial);
void study_trial_deinit(struct study_trial *trial);

struct study;

// New study; the directory must not hold one yet. A writer: takes the study's lock.
anas_status study_create(const char *path, const char *options_json, const char *seed_text, struct study **out);
// Existing study. write: takes the lock; else opens read-only. ANAS_CORRUPT names the file if it is damaged.
anas_status study_open(const char *path, bool write, struct study **out);
// For a process that claims trials: only where trials are shared.
anas_status study_open_worker(const char *path, struct study **out);
void study_close(struct study *study);
bool study_exists(const char *path);
const char *study_name(const struct study *study); // for messages
// The directory of its files on this machine: the study itself, or scratch space that goes when it is closed.
const char *study_path(const struct study *study);
// Whether other processes may work on its trials, or those of a study there.
bool study_location_shared(const char *path);
bool study_shared(const struct study *study);
// Called about once a second while the database is unreachable: false gives up. Without it, or when it does, the
// failure is reported to whoever asked.
typedef bool (*study_patience)(void *data, double seconds, const char *reason);
void study_set_patience(struct study *study, study_patience patience, void *data);

// Values by key: "options", "seed-model", ... *out is malloc'ed, null if absent.
anas_status study_get(struct study *study, const char *key, char **out);
anas_status study_set(struct study *study, const char *key, const char *value);
// Named counters: "duplicates", "infeasible", ...
anas_status study_count(struct study *study, const char *name, int64_t amount);
anas_status study_counter(struct study *study, const char *name, int64_t *out);

// What body writes is written as a whole, or not at all. One level. body may run more than once.
typedef anas_status (*study_body)(struct study *study, void *data);
anas_status study_atomically(struct study *study, study_body body, void *data);
// What is written survives the end of the process at once, and the end of the machine's power after a flush. Cheap
// when there is nothing new.
anas_status study_flush(struct study *study);

// ---- files of a trial's folder, with size and content hash (study_files.c)

// Writes a new file, in a folder that is made; the disk keeps it after study_flush.
anas_status study_write(struct study *study, int64_t number, const char *file, const void *data, size_t size);
// Takes the file in study_path as it is now, nothing if there is none.
anas_status study_record(struct study *study, int64_t number, const char *file);
anas_status study_forget(struct study *study, int64_t number, const char *file);
// Brings a recorded file to study_path, if it is not there.
anas_status study_fetch(struct study *study, int64_t number, const char *file);
// Where files are kept, in folders as those of study_path; null: in the database.
const char *study_store(const struct study *study);
// For studies in a database: from now on, in a directory that all machines see.
anas_status study_keep_files_in(struct study *study, const char *directory);
// Whether files are kept elsewhere than in study_path, and removing a trial's folder there if they are.
bool study_stored(const struct study *study);
void study_discard(struct study *study, int64_t number);
struct study_artefact {
  int64_t number, size;
  char *file, *hash; // hash: anas_hash_hex of the content
};
// All of them, by trial and name; malloc'ed.
anas_status study_artefacts(struct study *study, struct study_artefact **out, int64_t *out_count);
void study_artefacts_free(struct study_artefact *artefacts, int64_t count);
// The engine's complete check of the database, ANAS_CORRUPT with its first complaint.
anas_status study_check(struct study *study);

// Writes a new trial with the decision that led to it (JSON), in one transaction.
anas_status study_insert(struct study *study, const struct study_trial *trial, const char *decision);
anas_status study_update(struct study *study, const struct study_trial *trial);
anas_status study_decision(struct study *study, int64_t number, char **out); // malloc'ed
// All trials from a number on, in order; *out is malloc'ed, entries to be deinit'ed. Those that have ended are brief.
anas_status study_load(struct study *study, int64_t first, struct study_trial **out, int64_t *out_count);
anas_status study_find(struct study *study, int64_t number, struct study_trial *out); // to be deinit'ed
// Makes a trial brief that is in the study as it is here: a search of a week keeps no texts of those that have ended.
void study_trial_summarise(struct study_trial *trial);
// Reads what a brief trial lacks.
anas_status study_describe(struct study *study, struct study_trial *trial);

// ---- learning curves (study_curves.c)

// The points of a trial, in place of those at the same steps; nothing of a curve that is only the trial's end.
anas_status study_put_curve(struct study *study, const struct study_trial *trial);
// Reads those of count trials with consecutive numbers, in place of the ones they have.
anas_status study_load_curves(struct study *study, struct study_trial *trials, int64_t count);

// ---- claims (study_claims.c)

// Takes the first trial that nobody works on: it is then RUNNING, owner's for 'lease' seconds, and counts one attempt
// more. *out is to be deinit'ed if it was found.
anas_status study_claim(struct study *study, const char *owner, double lease, struct study_trial *out, bool *out_found);
// The lease of a trial claimed before, from now on. held: whether it still was owner's.
anas_status study_renew(struct study *study, const struct study_trial *trial, double lease, bool *out_held);
// Writes what became of a claimed trial. Not if it is another's by now, or ended already: held is false then.
anas_status study_end(struct study *study, const struct study_trial *trial, bool *out_held);
// Where one process alone writes: what its predecessor was running waits again.
anas_status study_reclaim(struct study *study);
// Numbers of the trials that have not ended, in order; malloc'ed.
anas_status study_unfinished(struct study *study, int64_t **out, int64_t *out_count);
void study_trials_free(struct study_trial *trials, int64_t count);

// "STUDY/trials/0012/candidate.mlir"; malloc'ed. file may be "".
char *study_trial_path(const char *study_directory, int64_t number, const char *file);

#endif
