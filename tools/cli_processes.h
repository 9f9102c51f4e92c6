/* The processes of a cluster, as a status document names them, and whether they would do. Pure. */
#pragma once

#include <jansson.h>

#include "net/address.h"
#include "net/arena.h"
#include "txn/operator_keys.h"

struct cli_process {
    struct address address;
    enum process_class process_class;
    const char *zone;   /* borrowed from the document */
    bool excluded;
    const json_t *json; /* borrowed from the document */
};

struct cli_processes {
    struct cli_process *list; /* in the arena */
    size_t count;
    uint32_t replication; /* of the configuration; 0: there is no database */
    uint32_t commit_proxies, grv_proxies, resolvers; /* of the configuration */
};

/* False: the document has no processes, for the controller did not answer. */
bool cli_processes_read(const json_t *document, struct arena *arena, struct cli_processes *ret);
/* Does `exclusion` (port 0: the whole IP) mean the process at `address`? */
bool cli_address_means(struct address exclusion, struct address address);
struct cli_process *cli_processes_at(const struct cli_processes *processes, struct address address);
/* Those that may host roles of the kind and are not excluded: how many, and in how many zones. */
size_t cli_processes_hosts(const struct cli_processes *processes, enum role_kind kind);
size_t cli_processes_zones(const struct cli_processes *processes, enum role_kind kind);
/* How many roles of the kind the controller would give to different processes: for logs those of class log or unset (others only for
 * the sake of zones); for the rest those of the fittest class that is there. */
size_t cli_processes_places(const struct cli_processes *processes, enum role_kind kind);
/* Can everything be hosted with `replication` copies? False: ret_why says what is missing and what to do. */
bool cli_processes_suffice(const struct cli_processes *processes, uint32_t replication, char *ret_why, size_t why_size);
