/* What tools and the simulator ask of a cluster beside transactions: creating a database, status, ending processes.
 *
 * Each call completes as struct client_call says and keeps trying to reach the cluster until it is cancelled: who wants a
 * time limit cancels it after that, and client_explain() then says what was in the way. */
#pragma once

#include "txn/client/client.h"

/* `configure new`: makes the coordinators a cluster (going on with an id that some of them hold already), then creates the
 * database. Completes with 0 once commits are accepted, ERROR_CLIENT_INVALID_OPERATION if there is a database,
 * ERROR_INVALID_CLUSTER_ID if the coordinators belong to different clusters. */
struct client_configure {
    struct client_call call; /* first */
    uint32_t redundancy;     /* 1, 2, 3 */
    uint32_t engine;         /* enum engine_kind */
    /* what follows is the client's */
    struct client *client;
    struct op op;
    struct gather gather;
    struct rpc_call creates[CLIENT_COORDINATORS_MAX]; /* one a coordinator */
    struct coordinator_member members[CLIENT_COORDINATORS_MAX]; /* the set that is sent to all */
    uint32_t count, member_count;
    struct uid cluster_id;
    uint32_t accepted; /* bit n: coordinator n has the record */
    bool found;        /* it was there before */
    bool unsure;       /* the database may be there: a controller was asked for it, and its answer was lost */
    struct rpc_call create_database;
    struct client_call controller;
    struct wait_timer timer;
};
void client_configure_start(struct client_configure *configure, struct op *op, struct client *client, uint32_t redundancy,
                            uint32_t engine);

/* The controller's status document (FoundationDB's schema, the "cluster" part). */
struct client_status {
    struct client_call call; /* first */
    struct bytes_buffer json; /* owned; client_status_done() */
    struct message *reply;    /* shared; what it came in, after success */
    struct client *client;
    struct op op;
    struct rpc_call rpc;
    struct client_call controller;
    struct wait_timer timer;
};
void client_status_start(struct client_status *status, struct op *op, struct client *client);
void client_status_done(struct client_status *status);

/* Ends the process at `address` (its supervisor starts it again). */
struct client_reboot {
    struct client_call call; /* first */
    struct client *client;
    struct op op;
    struct rpc_call rpc;
    struct address address;
};
void client_reboot_start(struct client_reboot *reboot, struct op *op, struct client *client, struct address address);
