/* A whole cluster of one process inside a program: `embedded:DIR` and `memory:` as names of clusters.
 *
 * It is the worker that quoind runs, on the program's own env: same roles, same files, same durability; nothing listens, and its
 * client's messages are handed over without being encoded. On its first open it creates its database (`single`). A directory
 * is locked while it is open; who opens it twice in one process shares it, another process is refused. `memory:` is the same in
 * a scratch directory in memory that goes with the last close (or, when the process was killed, with a later open);
 * `memory:NAME` is shared within the process.
 *
 * Roles don't survive a failed allocation: a program with a cluster in it ends then, as a server does. All functions belong to
 * the env's thread. */
#pragma once

#include "txn/client/client_hosting.h"

struct embedded;

/* Opens what `name` says, prefix included. `hosts` is what the env has open; *ret_why says what was wrong. Errors:
 * 2104 (no directory named), 1529 (another process has it), 1510 and 1500 (the directory can't be used), 1501, 1043 (it is being
 * closed: try again). */
int embedded_open(struct env *env, struct client_hosts *hosts, const char *name, struct embedded **ret_embedded, char *ret_why, size_t why_size);
/* How a client reaches it; borrowed. */
struct client_options embedded_client_options(const struct embedded *embedded);
/* Clients on it have been destroyed. The last close stops the cluster; its files are closed, and the directory is free, when
 * embedded_any_closing() is false. Accepts NULL. */
void embedded_close(struct embedded *embedded);
bool embedded_any_closing(const struct client_hosts *hosts);
