// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Learning curves of trials, with what was decided at their rungs.
#include "tools/anas-search/study_backend.h"

#include "runtime/support/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const verdict_names[] = {[VERDICT_NONE] = "none", [VERDICT_ON] = "on", [VERDICT_STOP] = "stop"};
#define NUM_VERDICTS ((int)(sizeof verdict_names / sizeof *verdict_names))

anas_status study_create_curves(struct study *study) {
  const struct study_engine *e = study->engine;
  char *sql = anas_format("CREATE TABLE curves(trial %s NOT NULL, steps %s NOT NULL, epochs %s NOT NULL, accuracy %s, "
                          "loss %s, rung %s NOT NULL, verdict %s NOT NULL, arrival %s NOT NULL, compared %s NOT NULL, "
                          "PRIMARY KEY(trial, steps))%s",
                          e->integer, e->integer, e->real, e->real, e->real, e->integer, e->text, e->integer,
                          e->integer, e->table_end);
  anas_status status = study_run(study, sql, NULL, 0, NULL, NULL);
  free(sql);
  return status;
}

anas_status study_put_curve(struct study *study, const struct study_trial *trial) {
  if (trial->num_points == 1 && !trial->curve[0].rung) return ANAS_OK;
  for (int i = 0; i < trial->num_points; i++) {
    const struct study_point *p = &trial->curve[i];
    struct study_value values[] = {study_integer(trial->number),
                                   study_integer(p->steps),
                                   study_real(p->epochs),
                                   study_real(p->accuracy),
                                   study_real(p->loss),
                                   study_integer(p->rung),
                                   study_text(verdict_names[p->verdict]),
                                   study_integer(p->arrival),
                                   study_integer(p->compared)};
    ANAS_RETURN_IF_ERROR(study_run(
        study,
        "INSERT INTO curves VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT(trial, steps) DO UPDATE SET epochs "
        "= excluded.epochs, accuracy = excluded.accuracy, loss = excluded.loss, rung = excluded.rung, verdict = "
        "excluded.verdict, arrival = excluded.arrival, compared = excluded.compared",
        values, 9, NULL, NULL));
  }
  return ANAS_OK;
}

static double real_of(const struct study_value *value) {
  return value->kind == STUDY_REAL ? value->real : value->kind == STUDY_INTEGER ? (double)value->integer : NAN;
}

static void read_point(const struct study_value *v, struct study_trial *trial) {
  trial->curve = anas_grow(trial->curve, (size_t)trial->num_points, &trial->capacity_points, sizeof *trial->curve);
  struct study_point *p = &trial->curve[trial->num_points++];
  *p = (struct study_point){
      .steps = v[1].integer,
      .epochs = real_of(&v[2]),
      .accuracy = real_of(&v[3]),
      .loss = real_of(&v[4]),
      .rung = v[5].integer != 0,
      .arrival = v[7].integer,
      .compared = v[8].integer,
  };
  for (int i = 0; i < NUM_VERDICTS; i++)
    if (v[6].kind == STUDY_TEXT && !strcmp(v[6].text, verdict_names[i])) p->verdict = (enum study_verdict)i;
}

anas_status study_load_curves(struct study *study, struct study_trial *trials, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    trials[i].num_points = 0;
  if (study->version < 5 || !count) return ANAS_OK;
  int64_t first = trials[0].number;
  struct study_value parameters[] = {study_integer(first), study_integer(first + count)};
  struct study_rows *rows;
  ANAS_RETURN_IF_ERROR(study_run(study,
                                 "SELECT trial, steps, epochs, accuracy, loss, rung, verdict, arrival, compared FROM "
                                 "curves WHERE trial >= ?1 AND trial < ?2 ORDER BY trial, steps",
                                 parameters, 2, &rows, NULL));
  bool more;
  anas_status status;
  while ((status = study->engine->next(rows, &more)) == ANAS_OK && more)
    read_point(rows->value, &trials[rows->value[0].integer - first]);
  study->engine->close_rows(rows);
  return status;
}
