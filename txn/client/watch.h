/* Watches of a client: private to txn/client (struct client_watch itself is in transaction.h). */
#pragma once

#include "txn/client/transaction.h"

struct watch_slot {
    struct client_watch *watch; /* NULL: free */
    uint32_t uses;
    uint32_t next_free; /* place + 1; 0: none */
};

struct client_watches {
    struct list waiting;  /* client_watch.link: for a session */
    struct list sessions;
    struct ready turn_end;
    struct env_timer timer; /* until it fires, nothing that waits is tried */
    int64_t delay_us;
    struct client_locate locate;
    struct bytes_buffer locate_buffer; /* its key */
    struct watch_slot *slots; /* owned: by id */
    uint32_t slot_count, free_slots, first_free;
    int64_t count; /* all, those of transactions included */
};

void client_watches_init(struct client_watches *watches);
/* Before the client's ops are cancelled, and after it. */
void client_watches_stop(struct client *client);
void client_watches_done(struct client_watches *watches);

/* Env thread. Fires those whose value the transaction itself has made another one. */
void watches_look_at_writes(struct transaction *txn);
/* Ends those of other incarnations, or all. */
void watches_end(struct transaction *txn, int error, bool all, uint32_t but_incarnation);
/* The transaction has committed: what they saw was so at `version`. */
void watches_begin(struct transaction *txn, version_t version);
