/* What the files of the public library share; private to txn/client.
 *
 * Three counted things: a future is held by the application and by what the network thread still has to do with it; a
 * transaction by the application and its futures; a database by the application and its transactions. */
#pragma once

#include "net/env_posix.h"
#include "txn/client/client_admin.h"
#include "txn/client/client_hosting.h"
#include "txn/client/client_internal.h"
#include "txn/client/cluster_file.h"
#include "txn/client/include/quoin/quoin.h"
#include "txn/client/mapped.h"
#include "txn/client/special_keys.h"

struct quoin_network;

/* Something for the network thread to do. */
struct submission {
    struct submission *next;
    void (*run)(struct submission *submission);
};

struct quoin_database {
    struct quoin_network *network; /* borrowed: outlives it */
    struct client *client;         /* the network thread's */
    char *path;                    /* owned */
    struct cluster_file file; /* none of a hosted one */
    bool hosted;              /* path is the name of a cluster in this process */
    void *host;               /* the network thread's */
    pthread_mutex_t lock;
    struct transaction_settings settings; /* of new transactions, if has_settings; under the lock */
    bool has_settings;
    _Atomic uint32_t refs;
    struct submission destroy;
};

/* The word of a future: the low bits count who sleeps on it. */
#define FUTURE_DONE 0x80000000u
#define FUTURE_CALLBACK 0x40000000u
#define FUTURE_SLEEPERS 0x0000ffffu

enum future_kind {
    FUTURE_NONE,
    FUTURE_VALUE,
    FUTURE_RANGE,
    FUTURE_SELECTED, /* the key of a selector */
    FUTURE_VERSION,
    FUTURE_NUMBER, /* an int64, a uint64 or a bool */
    FUTURE_DOUBLE,
    FUTURE_STAMP,
    FUTURE_QUERY,   /* a number, from a query */
    FUTURE_KEYS,    /* an array, from a query */
    FUTURE_STRINGS, /* the same */
    FUTURE_KEY,
    FUTURE_CONFLICTS,
    FUTURE_MAPPED,
    FUTURE_OBJECT, /* of future_of_object */
    FUTURE_WATCH,
    FUTURE_REBOOT, /* a number */
    FUTURE_PROTOCOL, /* a uint64 */
    FUTURE_COMMIT,
    FUTURE_RETRY,
};

/* What a future of the kinds KEY and CONFLICTS gives, in an arena. */
struct future_result {
    struct arena arena;
    struct bytes key;
    void *items; /* struct quoin_conflict_report */
    int count;
};

/* A mapped range, and what it becomes. */
struct future_mapped {
    struct transaction_mapped mapped;
    struct quoin_mapped *rows; /* in its arena */
};

struct quoin_future {
    _Atomic uint32_t word; /* futexes want 32 bits */
    _Atomic uint32_t refs;
    struct submission submit, cancel;
    struct quoin_future *next; /* of the completed ones of a turn; of a pool */
    struct quoin_network *network;         /* borrowed; NULL: of quoin_future_failed */
    struct quoin_transaction *transaction; /* shared; NULL: of quoin_future_failed, or a watch that has left it */
    struct quoin_database *db;             /* shared; of such a watch */
    quoin_callback *callback;
    void *callback_context;
    enum future_kind kind;
    int error;
    bool released;
    _Atomic uint32_t given; /* how often its result was given out and not released */
    bool alone; /* never used again: it may be shorter than the struct */
    bool completed; /* the network thread's: on its way to being done */
    _Atomic bool cancel_queued;
    uint32_t incarnation; /* of a versionstamp's future */
    int64_t number;
    struct special_read *special; /* owned: of a get or range of special keys */
    uint8_t key[VERSIONSTAMP_BYTES];
    union { /* by kind */
        struct transaction_get get;
        struct transaction_range *range; /* owned */
        struct future_mapped *mapped;    /* owned */
        struct transaction_version version;
        struct client_call commit;
        struct transaction_retry retry;
        struct transaction_query *query; /* owned */
        struct client_watch *watch;      /* owned */
        struct client_reboot *reboot;    /* owned */
        struct client_protocol protocol;
        struct future_result result;
        struct {
            void *ptr; /* owned */
            void (*destroy)(void *ptr);
        } object;
    } u;
};

/* Futures to use again, of the transactions of some threads: a get in the steady state allocates nothing, and a transaction that
 * has read keeps nothing of it. */
struct future_pool {
    pthread_mutex_t lock;
    struct quoin_future *free;
    size_t bytes;
};
enum { FUTURE_POOLS = 16, FUTURE_POOL_BYTES_MAX = 128 * 1024 };

struct quoin_transaction {
    struct transaction *txn; /* made and destroyed by the network thread's rules; written through its lock */
    struct quoin_database *db; /* shared */
    _Atomic uint32_t refs;
    struct submission sync, destroy;
    _Atomic bool sync_queued;
    struct future_pool *pool; /* the network's */
    pthread_mutex_t lock;     /* of `stamps` */
    struct quoin_future *stamps; /* waiting for the commit */
};

/* ---- network (quoin_network.c) ---- */

/* What the value of an option looks like. */
enum option_form { FORM_NONE, FORM_INT, FORM_BYTES };
int option_check_form(enum option_form form, const void *value, int value_length);
/* env_posix_create with the options of the network (quoin_network_options.c). */
int network_make_env(struct env_posix_options *env_options, struct env **ret_env);

struct quoin_network *network_get(void); /* NULL: not running */
struct env *network_env(struct quoin_network *network);
/* The pool of this thread, which some others may share. */
struct future_pool *network_pool(struct quoin_network *network);
bool network_is_this_thread(const struct quoin_network *network);
void network_submit(struct quoin_network *network, struct submission *submission);
/* Runs `call` on the network thread and waits for it. Not from there. */
struct network_call {
    struct submission submission; /* first */
    _Atomic uint32_t done;
    void (*run)(struct network_call *call);
};
void network_run(struct quoin_network *network, struct network_call *call);
/* For an interface whose network is a thread of the application's (the FoundationDB C API): network_setup makes a network without
 * a thread (ERROR_NETWORK_ALREADY_SETUP), network_loop runs it on this one until network_end, once in the process's life
 * (ERROR_NETWORK_NOT_SETUP, ERROR_NETWORK_CANNOT_BE_RESTARTED). While nobody runs it, a thread that opens or closes a database does
 * so itself. */
int network_setup(void);
int network_loop(void);
int network_end(void); /* any thread; also before the loop began */
bool network_is_over(void);
/* Network thread: the future is done; who waits is woken, and its callback runs, when the turn ends. Drops a reference. */
void network_completed(struct quoin_network *network, struct quoin_future *future);
/* Around a thread's wait for a future. A thread that waits alone does the network thread's work while that one sleeps, until the
 * future is ready; it need not be when network_wait_begin returns. */
void network_wait_begin(struct quoin_network *network, struct quoin_future *future);
void network_wait_end(struct quoin_network *network);
/* A future that is not done has a callback now. */
void network_callback_set(struct quoin_network *network);

/* ---- futures (quoin_future.c) ---- */

/* What the files of the public transaction share. False: NULL with a length, or a negative length. */
bool quoin_take_bytes(const void *ptr, int length, struct bytes *ret);
/* Of this thread. */
uint64_t quoin_random(struct quoin_network *network);
bool quoin_take_selector(const struct quoin_selector *from, struct key_selector *ret);
int quoin_take_range_options(const struct quoin_range_options *from, struct transaction_range_options *ret);
/* A get or range of special keys (quoin_special.c). */
struct quoin_future *quoin_special_get(struct quoin_future *future, struct bytes key);
struct quoin_future *quoin_special_range(struct quoin_future *future, struct key_selector begin, struct key_selector end,
                                         const struct transaction_range_options *options);
/* The range's pairs become struct quoin_pair where they lie. */
void quoin_make_public(struct transaction_range *range);
/* Hands it to the network thread, which runs run(&future->submit). Returns it. */
struct quoin_future *quoin_submit(struct quoin_future *future, void (*run)(struct submission *submission));
static inline struct quoin_future *quoin_future_of(struct submission *submission)
{
    return container_of(submission, struct quoin_future, submit);
}

struct quoin_future *future_make(struct quoin_transaction *transaction, enum future_kind kind);
/* As long as a pointer in its union needs, and used but once. */
struct quoin_future *future_make_small(struct quoin_transaction *transaction, enum future_kind kind);
void future_ref(struct quoin_future *future);
void future_pool_done(struct future_pool *pool);
void future_unref(struct quoin_future *future);
/* Ready at once, before the application has it. */
struct quoin_future *future_finished(struct quoin_future *future, int error);
/* A future that is ready and holds `object`, for interfaces on top of this one; it calls destroy(object) when it is freed, also if there is
 * no memory for it (NULL then). */
struct quoin_future *future_of_object(void *object, void (*destroy)(void *object));
/* Its object, borrowed from it; else errors as a getter's. */
int future_object(struct quoin_future *future, void **ret_object);
/* Publishes it, and wakes who sleeps on it. True: its callback is to be called. */
bool future_publish(struct quoin_future *future);
/* Network thread: it is done with `error`, unless it was already on its way. */
void future_complete(struct quoin_future *future, int error);
/* Network thread: completes the versionstamps of `incarnation` (or, with `others`, of all other ones). */
void transaction_give_stamps(struct quoin_transaction *transaction, uint32_t incarnation, bool others, int error);

void transaction_unref(struct quoin_transaction *transaction);
void database_unref(struct quoin_database *db);
