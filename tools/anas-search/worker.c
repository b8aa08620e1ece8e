// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-search worker: trains trials that a driver, on this machine or another one, decides. Everything it needs is in
// the study, but for the data set.
#include "tools/anas-search/command.h"
#include "tools/anas-search/search.h"

#include "dialect/context.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/support/parse.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLAIM_SECONDS 0.5 // between questions for a trial while there is none

struct worker {
  struct search search;
  struct crew crew;
  const char *study, *data;
  int64_t workers, memory_limit;
  double time_limit, idle_limit; // seconds; 0: none
  bool json, quiet;
  double started, busy, asked; // busy: when there last was something to do
};

static anas_status parse(const struct command *command, int argc, char **argv, struct worker *out) {
  struct command_arguments arguments = {.command = command, .argc = argc, .argv = argv};
  const char *flag;
  for (;;) {
    ANAS_RETURN_IF_ERROR(command_next(&arguments, &flag));
    if (!flag) break;
    const char *value = arguments.value;
    uint64_t bytes;
    anas_status status = ANAS_OK;
    if (!*flag) return anas_fail(ANAS_INVALID, "worker: unexpected argument '%s'; the study is --study URI", value);
    if (!strcmp(flag, "study"))
      out->study = value;
    else if (!strcmp(flag, "data"))
      out->data = value;
    else if (!strcmp(flag, "workers") && !strcmp(value, "auto"))
      out->workers = WORKERS_AUTOMATIC;
    else if (!strcmp(flag, "workers"))
      status = anas_parse_int("--workers", value, 1, 256, &out->workers);
    else if (!strcmp(flag, "time"))
      status = anas_parse_duration("--time", value, &out->time_limit);
    else if (!strcmp(flag, "idle-timeout"))
      status = anas_parse_duration("--idle-timeout", value, &out->idle_limit);
    else if (!strcmp(flag, "json"))
      out->json = true;
    else if (!strcmp(flag, "quiet"))
      out->quiet = true;
    else if ((status = anas_parse_bytes("--memory-limit", value, &bytes)) == ANAS_OK)
      out->memory_limit = (int64_t)bytes;
    ANAS_RETURN_IF_ERROR(status);
  }
  return out->study ? ANAS_OK : anas_fail(ANAS_INVALID, "worker: --study postgresql://... is required");
}

// ---- running

// A job may start before its driver.
static anas_status open_study(struct worker *worker) {
  double start = anas_now();
  anas_status status;
  while ((status = study_open_worker(worker->study, &worker->search.study)) == ANAS_NOT_FOUND || status == ANAS_IO) {
    if (crew_stop_requests() || anas_now() - start >= worker->idle_limit) break;
    poll(NULL, 0, 500);
  }
  ANAS_RETURN_IF_ERROR(status);
  ANAS_RETURN_IF_ERROR(search_read_study(&worker->search));
  struct search_options *o = &worker->search.options;
  o->workers = worker->workers;
  o->json = worker->json;
  o->quiet = worker->quiet;
  if (worker->memory_limit) o->memory_limit = worker->memory_limit;
  if (worker->data) {
    free(o->data_directory);
    o->data_directory = anas_strdup(worker->data);
  }
  ANAS_RETURN_IF_ERROR(search_open_dataset(&worker->search));
  search_pack(&worker->search);
  return ANAS_OK;
}

static anas_status search_has_ended(struct worker *worker, bool *out) {
  char *what;
  ANAS_RETURN_IF_ERROR(study_get(worker->search.study, "search", &what));
  *out = what && !strcmp(what, "ended");
  free(what);
  return ANAS_OK;
}

static anas_status claim(struct worker *worker, bool *out_ended) {
  double now = anas_now();
  bool claimed = true,
       over = crew_stop_requests() || (worker->time_limit > 0 && now - worker->started > worker->time_limit);
  *out_ended = over;
  if (over ||
      (now - worker->asked < CLAIM_SECONDS && worker->crew.num_running < worker->crew.size && worker->asked > 0))
    return ANAS_OK;
  while (claimed && worker->crew.num_running < worker->crew.size) {
    ANAS_RETURN_IF_ERROR(crew_claim(&worker->crew, &claimed));
    worker->asked = claimed ? 0 : now;
  }
  if (worker->crew.num_running) worker->busy = anas_now();
  if (worker->crew.num_running) return ANAS_OK;
  *out_ended = worker->idle_limit > 0 && now - worker->busy > worker->idle_limit;
  return *out_ended ? ANAS_OK : search_has_ended(worker, out_ended);
}

static anas_status on_end(void *data, int64_t number) {
  struct worker *worker = data;
  (void)number;
  worker->asked = 0; // there is room
  return ANAS_OK;
}

static anas_status loop(struct worker *worker) {
  struct crew *crew = &worker->crew;
  for (;;) {
    bool ended;
    if (crew_stop_requests() > 1) crew_interrupt(crew);
    ANAS_RETURN_IF_ERROR(claim(worker, &ended));
    table_refresh(crew->table, crew->running, crew->num_running, crew_stop_requests());
    if (ended && !crew->num_running) return ANAS_OK;
    crew_wait(crew);
    ANAS_RETURN_IF_ERROR(crew_collect(crew, on_end, worker));
  }
}

static anas_status work(struct worker *worker) {
  crew_handle_signals(2);
  ANAS_RETURN_IF_ERROR(open_study(worker));
  worker->started = worker->busy = anas_now();
  struct table *table = table_create(&worker->search);
  crew_init(&worker->crew, &worker->search, table);
  table_workers(table);
  anas_status status = loop(worker);
  char *reason = status == ANAS_OK ? NULL : anas_strdup(anas_error_message());
  crew_stop(&worker->crew);
  crew_deinit(&worker->crew);
  table_destroy(table);
  if (reason) anas_fail(status, "%s", reason);
  free(reason);
  return status;
}

static anas_status run(const struct command *command, int argc, char **argv) {
  struct worker worker = {.workers = WORKERS_AUTOMATIC};
  ANAS_RETURN_IF_ERROR(parse(command, argc, argv, &worker));
  worker.search.context = anas_context_create(false);
  search_options_defaults(&worker.search.options);
  anas_status status = work(&worker);
  search_deinit(&worker.search);
  return status;
}

static const struct command_flag flags[] = {
    {"study", "URI", "the study: postgresql://USER@HOST/DATABASE[#NAME]"},
    {"workers", "N|auto", "trials at the same time (default auto, as for a search); they share the processors"},
    {"time", "T", "claim nothing more after T: 90, 30m, 2h, 1d (default: no limit)"},
    {"idle-timeout", "T", "end when there was nothing to do for T, or no study to be found (default: wait)"},
    {"data", "DIR", "where the data set is on this machine (default: as the driver)"},
    {"memory-limit", "SIZE", "end a trial that needs more memory (default: as the driver, else this machine's share)"},
    {"json", NULL, "one JSON object a line, as for a search"},
    {"quiet", NULL, "nothing but errors"},
    {0},
};
static const char *const examples[] = {
    "export STUDY=postgresql://anas@db.example.org/nas#s6   # or 'postgresql:///nas?host=/run/postgresql'",
    "anas-search worker --study $STUDY --workers 4",
    "anas-search worker --study $STUDY --time 3h --idle-timeout 10m",
    NULL,
};
const struct command command_worker = {
    .name = "worker",
    .arguments = "--study postgresql://USER@HOST/DATABASE[#NAME] [flags]",
    .purpose = "Trains trials of a study in PostgreSQL, on this or any other machine",
    .notes = "Claims trials, trains them and reports, until the search has ended. Options come from the study. Trials "
             "of a worker\nthat is lost are another's after --lease (see anas-search --help). SIGTERM: its trials go "
             "back to the queue with\nwhat they have reached. Ctrl-C: they are finished first; twice, as SIGTERM.\n",
    .flags = flags,
    .examples = examples,
    .run = run,
};
