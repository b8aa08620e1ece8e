// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-search worker: trains trials that a driver, on this machine or another one, decides. Everything it needs is in
// the study, but for the data set.
#include "tools/anas-search/search.h"

#include "dialect/context.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/support/nearest.h"
#include "runtime/support/parse.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLAIM_SECONDS 0.5 // between questions for a trial while there is none

static const char usage[] =
    "usage: anas-search worker --study postgresql://USER@HOST/DATABASE[#NAME] [flags]\n"
    "Claims trials of a study, trains them and reports, until the search has ended. Any number of workers, on any "
    "machines;\n"
    "options come from the study. Trials of a worker that is lost are another's after --lease (see anas-search "
    "--help).\n"
    "SIGTERM: its trials go back to the queue with what they have reached. Ctrl-C: they are finished first; twice, as "
    "SIGTERM.\n\n"
    "  --study URI          the study\n"
    "  --workers N|auto     trials at the same time (default auto, as for a search); they share the processors\n"
    "  --time T             claim nothing more after T: 90, 30m, 2h, 1d (default: no limit)\n"
    "  --idle-timeout T     end when there was nothing to do for T, or no study to be found (default: wait)\n"
    "  --data DIR           where the data set is on this machine (default: as the driver)\n"
    "  --memory-limit SIZE  end a trial that needs more memory (default: as the driver, else this machine's share)\n"
    "  --json, --quiet      as for a search\n\n"
    "Examples:\n"
    "  anas-search worker --study postgresql://anas@db.example.org/nas#cifar --workers 4\n"
    "  anas-search worker --study 'postgresql:///nas?host=/run/postgresql' --time 3h --idle-timeout 10m\n";

struct worker {
  struct search search;
  struct crew crew;
  const char *study, *data;
  int64_t workers, memory_limit;
  double time_limit, idle_limit; // seconds; 0: none
  bool json, quiet;
  double started, busy, asked; // busy: when there last was something to do
};

static anas_status unknown(const char *argument) {
  static const char *const names[] = {"study", "workers",      "time", "idle-timeout",
                                      "data",  "memory-limit", "json", "quiet"};
  const char *name = argument + strspn(argument, "-");
  struct anas_nearest nearest = anas_nearest_make(name, strcspn(name, "="));
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    anas_nearest_offer(&nearest, names[i]);
  char hint[128];
  return anas_fail(ANAS_INVALID, "worker: unknown argument '%s'%s", argument,
                   nearest.best ? anas_nearest_hint(&nearest, hint) : "; see anas-search worker --help");
}

static anas_status set(struct worker *out, const char *name, size_t size, const char *value) {
  char *flag = anas_format("--%.*s", (int)size, name);
  uint64_t bytes;
  anas_status status = ANAS_OK;
  if (!strcmp(flag, "--study"))
    out->study = value;
  else if (!strcmp(flag, "--data"))
    out->data = value;
  else if (!strcmp(flag, "--workers") && !strcmp(value, "auto"))
    out->workers = WORKERS_AUTOMATIC;
  else if (!strcmp(flag, "--workers"))
    status = anas_parse_int(flag, value, 1, 256, &out->workers);
  else if (!strcmp(flag, "--time"))
    status = anas_parse_duration(flag, value, &out->time_limit);
  else if (!strcmp(flag, "--idle-timeout"))
    status = anas_parse_duration(flag, value, &out->idle_limit);
  else if ((status = anas_parse_bytes(flag, value, &bytes)) == ANAS_OK)
    out->memory_limit = (int64_t)bytes;
  free(flag);
  return status;
}

static anas_status parse(int argc, char **argv, struct worker *out) {
  static const char *const with_value[] = {"study", "workers", "time", "idle-timeout", "data", "memory-limit"};
  for (int i = 1; i < argc; i++) {
    const char *name = argv[i] + (argv[i][0] == '-') + (argv[i][0] == '-' && argv[i][1] == '-');
    size_t size = strcspn(name, "=");
    bool takes_value = false;
    for (size_t f = 0; name != argv[i] && f < sizeof with_value / sizeof *with_value; f++)
      takes_value |= strlen(with_value[f]) == size && !strncmp(with_value[f], name, size);
    if (takes_value) {
      if (!name[size] && i + 1 == argc) return anas_fail(ANAS_INVALID, "worker: %s needs a value", argv[i]);
      ANAS_RETURN_IF_ERROR(set(out, name, size, name[size] ? name + size + 1 : argv[++i]));
    } else if (name != argv[i] && !strcmp(name, "json")) {
      out->json = true;
    } else if (name != argv[i] && !strcmp(name, "quiet")) {
      out->quiet = true;
    } else {
      return unknown(argv[i]);
    }
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

static anas_status run(int argc, char **argv, struct worker *worker) {
  ANAS_RETURN_IF_ERROR(parse(argc, argv, worker));
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

int worker_command(int argc, char **argv) {
  for (int i = 1; i < argc; i++)
    if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-help") || !strcmp(argv[i], "-h")) {
      fputs(usage, stdout);
      return EXIT_SUCCESS;
    }
  struct worker worker = {.search = {.context = anas_context_create(false)}, .workers = WORKERS_AUTOMATIC};
  search_options_defaults(&worker.search.options);
  anas_status status = run(argc, argv, &worker);
  if (status != ANAS_OK) fprintf(stderr, "anas-search: error: %s\n", anas_error_message());
  search_deinit(&worker.search);
  return status == ANAS_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
