/* The processes of a cluster as an operator sees them: would they do after a change, and what would be lost?
 *
 * What the shell refuses and what a write to the special keys refuses is decided here, once. The rules are those by which the
 * controller recruits: processes that are not excluded, of a class that may host the role, copies in zones of their own. Pure. */
#pragma once

#include "net/address.h"
#include "txn/operator_keys.h"

enum { OPERATOR_COORDINATORS_MAX = 7 };

struct operator_process {
    struct address address;
    enum process_class process_class;
    const char *zone;   /* borrowed, as long as the list */
    bool excluded;
    bool stores;        /* hosts a storage server of the database, whatever its class is */
    const void *source; /* borrowed; the caller's: where it was read from */
};

struct operator_processes {
    struct operator_process *list; /* borrowed */
    size_t count;
    uint32_t replication; /* of the configuration; 0: there is no database */
    uint32_t commit_proxies, grv_proxies, resolvers; /* of the configuration */
};

/* The first that `address` (port 0: the whole IP) means, or NULL. */
struct operator_process *operator_processes_at(const struct operator_processes *processes, struct address address);
/* Marks those that the exclusion means. */
void operator_processes_exclude(const struct operator_processes *processes, struct address exclusion);
/* Those that may host roles of the kind and are not excluded: how many, and in how many zones. Data goes to those of class storage or
 * unset; to others only as far as the database was made on them, for the distributor recruits no storage server there. */
size_t operator_processes_hosts(const struct operator_processes *processes, enum role_kind kind);
size_t operator_processes_zones(const struct operator_processes *processes, enum role_kind kind);
/* How many roles of the kind the controller would give to different processes: for logs those of class log or unset (others only for
 * the sake of zones); for the rest those of the fittest class that is there. */
size_t operator_processes_places(const struct operator_processes *processes, enum role_kind kind);
/* Can everything be hosted with `replication` copies? False: ret_why says what is missing and what to do. */
bool operator_processes_suffice(const struct operator_processes *processes, uint32_t replication, char *ret_why, size_t why_size);
/* Who should be coordinators: as many as stay available while the copies do (FoundationDB's numbers), an odd number, each in a zone
 * of its own, none excluded; the present ones first, then those of class coordinator, then any. Returns how many; 0: nobody can. */
size_t operator_processes_coordinators(const struct operator_processes *processes, const struct address *present,
                                       size_t present_count, struct address ret[OPERATOR_COORDINATORS_MAX]);

/* ---- what would be lost ---- */

struct key_servers_value;

/* A storage server of the database. */
struct operator_server {
    uint64_t id;
    struct address address;
    bool lives; /* a registered process hosts it */
    bool goes;  /* it is to count as failed */
};

/* NULL: there is none of that id. */
const struct operator_server *operator_server_of(const struct operator_server *servers, size_t count, uint64_t id);
/* Are all living copies of the shard on servers that go? */
bool operator_loses_last_copy(const struct operator_server *servers, size_t count, const struct key_servers_value *shard);
