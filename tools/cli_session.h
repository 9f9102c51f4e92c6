/* The shell's connection to a cluster: one env, one client, and calls that block until they end or can't.
 *
 * What ends a wait early: the session's deadline; the certainty that there is no database, or that the coordinators belong to
 * different clusters; Ctrl-C. session->why then says what was in the way, naming addresses. */
#pragma once

#include "net/env.h"
#include "txn/client/client_admin.h"
#include "txn/client/client_hosting.h"
#include "txn/client/cluster_file_disk.h"
#include "txn/client/transaction.h"

enum { CLI_PATH_MAX = 4096, CLI_WHY_MAX = 10240 };

/* A coordinator as it answered when it was asked for the status. */
struct cli_coordinator {
    struct address address;
    int error; /* 0: it answered */
    struct uid cluster_id;
    struct address leader; /* port 0: it knows none */
    bool other_set;        /* the coordinators that it knows are not those of the cluster file */
};

struct cli_session {
    char path[CLI_PATH_MAX];
    struct cluster_file file;
    struct env *env;       /* owned */
    struct client *client; /* owned */
    struct client_hosts hosts; /* clusters in this process: that of `embedded`, until its files are closed */
    struct embedded *embedded; /* owned; NULL: the cluster is elsewhere */
    bool interactive;      /* a person waits: says every few seconds what it waits for; Ctrl-C ends a wait */
    int64_t deadline_us;   /* env clock; 0: none. The user's to set */
    bool interrupted;      /* Ctrl-C; the user's to clear */
    bool terminated;       /* SIGTERM */
    char why[CLI_WHY_MAX];
    /* what follows is the session's */
    struct env_timer tick;
    int64_t limit_us, began_us, notice_us, doubt_since_us;
    bool needs_database, done;
    int verdict;
};

/* Finds and reads the cluster file (or starts the cluster of "embedded:DIR" or "memory:"): `path`, or NULL for QUOIN_CLUSTER_FILE, ./quoin.cluster, /etc/quoin/quoin.cluster. Returns at
 * once: nobody has been reached. On failure session->why says file, line and reason; cli_session_close() is fine after it. */
int cli_session_open(struct cli_session *session, const char *path, bool interactive);
void cli_session_close(struct cli_session *session);

/* Waits for a call that was started without an op and with the session as its ctx: cli_session_begin() first, which prepares both.
 * needs_database: to have none ends the wait. Returns the call's error, or why the wait ended; the call is then cancelled. */
void cli_session_begin(struct cli_session *session, struct client_call *call);
int cli_session_wait(struct cli_session *session, struct client_call *call, bool needs_database);

/* Commits and waits. */
int cli_session_commit(struct cli_session *session, struct transaction *txn);

/* Lets the network have a few turns. */
void cli_session_idle(struct cli_session *session);

/* Asks every coordinator, at once, and waits at most limit_us. ret holds CLUSTER_FILE_COORDINATORS_MAX. */
void cli_session_probe(struct cli_session *session, int64_t limit_us, struct cli_coordinator *ret);

/* Any request to any endpoint; waits at most limit_us. 0 and a reply that the caller unrefs, or the error. Takes one reference on
 * `request`. */
int cli_session_call(struct cli_session *session, struct endpoint to, struct message *request, int64_t limit_us,
                     struct message **ret_reply);

/* The controller's status document, waiting at most limit_us. The caller clears *ret_json with bytes_buffer_done. */
int cli_session_status(struct cli_session *session, int64_t limit_us, struct bytes_buffer *ret_json);

/* Why a coordinator that failed with `error` can't be used. */
const char *cli_unreachable(int error);
