// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Who works on which trial. A trial is claimed for the length of a lease, which its owner renews while the trial runs;
// one whose lease has run out is there to be claimed again. Whatever an owner writes names the attempt it was given:
// a process that was frozen, or cut off, cannot overwrite what happened since. Where one process alone writes a study,
// its lock is the lease.
#include "tools/anas-search/study_backend.h"

#include "runtime/support/memory.h"

#include <stdlib.h>
#include <string.h>

anas_status study_claim(struct study *study, const char *owner, double lease, struct study_trial *out,
                        bool *out_found) {
  const struct study_engine *e = study->engine;
  char *until = e->shared ? anas_format("%s + ?2", e->now) : anas_strdup("NULL");
  char *sql = anas_format(
      "UPDATE trials SET lost = lost + CASE state WHEN 'RUNNING' THEN 1 ELSE 0 END, state = 'RUNNING', reason = NULL, "
      "owner = ?1, lease = %s, attempts = attempts + 1, started = %s WHERE number = (SELECT number FROM trials WHERE "
      "state IN (" STUDY_UNFINISHED ") AND (state <> 'RUNNING' OR lease < %s) ORDER BY number LIMIT 1%s) "
      "RETURNING number%s",
      until, e->now, e->now, e->skip_locked, study->columns);
  struct study_value parameters[] = {study_text(owner), study_real(lease)};
  struct study_rows *rows = NULL;
  anas_status status = study_run(study, sql, parameters, e->shared ? 2 : 1, &rows, NULL);
  free(until);
  free(sql);
  bool found = false, more = false;
  while (status == ANAS_OK && (status = e->next(rows, &more)) == ANAS_OK && more) { // to the end: then it is written
    status = study_read_trial(study, rows->value, out);
    found = true;
  }
  if (rows) e->close_rows(rows);
  if (status != ANAS_OK && found) study_trial_deinit(out);
  if (status == ANAS_OK) *out_found = found;
  return status;
}

#define IF_HELD " WHERE number = ?1 AND state = 'RUNNING' AND attempts = ?2 AND owner = ?3"

anas_status study_renew(struct study *study, const struct study_trial *trial, double lease, bool *out_held) {
  const struct study_engine *e = study->engine;
  *out_held = true;
  if (!e->shared) return ANAS_OK;
  char *sql = anas_format("UPDATE trials SET lease = %s + ?4" IF_HELD, e->now);
  struct study_value parameters[] = {study_integer(trial->number), study_integer(trial->attempts),
                                     study_text(trial->owner), study_real(lease)};
  int64_t changed = 0;
  anas_status status = study_run(study, sql, parameters, 4, NULL, &changed);
  free(sql);
  *out_held = changed == 1;
  return status;
}

// Whether this very end is in the study already: the answer to an earlier try may have been lost with the connection.
static anas_status written_before(struct study *study, const struct study_trial *trial, bool *out) {
  struct study_value parameters[] = {study_integer(trial->number), study_integer(trial->attempts),
                                     study_text(trial->owner), study_text(study_state_name(trial->state))};
  struct study_rows *rows;
  ANAS_RETURN_IF_ERROR(
      study_run(study, "SELECT number FROM trials WHERE number = ?1 AND attempts = ?2 AND owner = ?3 AND state = ?4",
                parameters, 4, &rows, NULL));
  anas_status status = study->engine->next(rows, out);
  study->engine->close_rows(rows);
  return status;
}

anas_status study_end(struct study *study, const struct study_trial *trial, bool *out_held) {
  struct study_value values[STUDY_MAX_VALUES];
  int count = study_trial_values(trial, values);
  char *sql =
      anas_format("%s AND state = 'RUNNING' AND attempts = ?%d AND owner = ?%d", study->update, count + 1, count + 2);
  values[count] = study_integer(trial->attempts);
  values[count + 1] = study_text(trial->owner);
  int64_t changed = 0;
  anas_status status = study_run(study, sql, values, count + 2, NULL, &changed);
  free(sql);
  ANAS_RETURN_IF_ERROR(status);
  *out_held = changed == 1;
  return changed == 1 ? ANAS_OK : written_before(study, trial, out_held);
}

anas_status study_unfinished(struct study *study, int64_t **out, int64_t *out_count) {
  struct study_rows *rows;
  ANAS_RETURN_IF_ERROR(study_run(
      study, "SELECT number FROM trials WHERE state IN (" STUDY_UNFINISHED ") ORDER BY number", NULL, 0, &rows, NULL));
  int64_t *numbers = NULL, count = 0;
  size_t capacity = 0;
  bool more;
  anas_status status;
  while ((status = study->engine->next(rows, &more)) == ANAS_OK && more) {
    numbers = anas_grow(numbers, (size_t)count, &capacity, sizeof *numbers);
    numbers[count++] = rows->value[0].integer;
  }
  study->engine->close_rows(rows);
  if (status != ANAS_OK) {
    free(numbers);
    return status;
  }
  *out = numbers;
  *out_count = count;
  return ANAS_OK;
}

anas_status study_reclaim(struct study *study) {
  if (study->engine->shared) return ANAS_OK;
  return study_run(study, "UPDATE trials SET state = 'WAITING' WHERE state = 'RUNNING'", NULL, 0, NULL, NULL);
}
