/* Clusters that live in the client's own process: the place where roles/embedded plugs in, so that no include points up.
 *
 * A name with one of the prefixes below stands wherever a cluster file's name or text may: "embedded:DIR" keeps its data in DIR,
 * "memory:" keeps it for as long as it is open. All functions belong to the env's thread. */
#pragma once

#include <string.h>

#include "txn/client/client.h"

#define CLIENT_HOSTED_EMBEDDED "embedded:"
#define CLIENT_HOSTED_MEMORY "memory:"

static inline bool client_name_is_hosted(const char *name)
{
    return strncmp(name, CLIENT_HOSTED_EMBEDDED, strlen(CLIENT_HOSTED_EMBEDDED)) == 0 ||
           strncmp(name, CLIENT_HOSTED_MEMORY, strlen(CLIENT_HOSTED_MEMORY)) == 0;
}

/* What an env has open. Zeroed, with `open` list_init'ed; the list is the host's. */
struct client_hosts {
    struct list open;
    void (*gone)(struct client_hosts *hosts); /* a closed one is gone, and its directory free; may be NULL */
};

struct client_hosting {
    /* Starts the cluster, or shares the one that `hosts` has open; *ret_options says how a client reaches it (borrowed from the
     * host). On failure ret_why says why. */
    int (*open)(struct env *env, struct client_hosts *hosts, const char *name, struct client_options *ret_options, void **ret_host, char *ret_why,
                size_t why_size);
    /* Its client has been destroyed. The last one stops the cluster; its directory is free when busy() says false, which gone()
     * announces. */
    void (*close)(void *host);
    bool (*busy)(const struct client_hosts *hosts);
};

/* Set once, before main, by the constructor of roles/embedded. */
void client_set_hosting(const struct client_hosting *hosting);
/* NULL: this program was linked without it. */
const struct client_hosting *client_hosting(void);
