/* What a status is composed from: the controller as it is, and what each process answered. Private to status*.c. */
#pragma once

#include <jansson.h>

#include "roles/controller/recovery.h"

/* A process that was registered when the status was asked for. */
struct status_process {
    struct address address;
    uint64_t worker_id, pid;
    enum process_class process_class;
    bool class_is_set, excluded, failed; /* by an operator */
    struct bytes zone, machine, rack, hall, data_center, command_line, version_text; /* in the arena */
    struct hosted_role *roles;                              /* as registered; in the arena */
    uint32_t role_count;
    const struct get_worker_status_reply *reply; /* NULL: it did not answer */
};

struct status_input {
    const struct controller *controller;
    const struct status_process *processes;
    uint32_t process_count;
    const struct get_leader_reply *coordinators; /* NULL: not known */
    struct status_rates *rates;                  /* the controller's; moved on */
    int64_t now_us;
};

/* FoundationDB's "cluster" object as text; in the arena. Bytes of length 0 if there is no memory for it. */
struct bytes status_json(const struct status_input *input, struct arena *arena);

/* Fills reply->health. */
void status_health(const struct status_input *input, struct arena *arena, struct get_status_reply *reply);

/* ---- between the files ---- */

/* A number of all roles of a kind that answered, added up. */
int64_t status_sum(const struct status_input *input, enum role_kind kind, const char *name);
/* As registered, and not ended; NULL: nobody hosts it. */
const struct hosted_role *status_hosted(const struct status_input *input, enum role_kind kind, uint64_t id);
/* Members of the coordinators' set, and how many of them are registered. */
uint32_t status_coordinator_count(const struct status_input *input);
uint32_t status_coordinators_here(const struct status_input *input);
json_t *status_fault_tolerance(const struct status_input *input);
/* Storage servers of the database that are not registered. */
uint32_t status_missing_servers(const struct status_input *input);
/* True when there is a data distributor that knows the shards. */
bool status_distributor_knows(const struct status_input *input);
/* The lowest number of living copies in different zones that some data has. */
int64_t status_replicas_min(const struct status_input *input);
json_t *status_data(const struct status_input *input);
/* NULL: nobody knows. */
json_t *status_scan(const struct status_input *input);
void status_scan_messages(const struct status_input *input, json_t *messages);
