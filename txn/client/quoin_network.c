/* The network thread, and databases.
 *
 * Work comes through a stack of submissions that any thread pushes to with one compare-and-swap; a drain takes all of it with
 * one exchange and turns it round. The eventfd is written only when the thread sleeps (env_posix_wake). What a turn completes is
 * published at its end, after all its replies were parsed.
 *
 * A thread that waits for a future, alone, drives the loop itself while the network thread has nothing to do (env_posix_help). Callbacks are
 * called on the network thread alone: what a helper's turn completes is put off until that one runs. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "net/trace.h"
#include "txn/client/cluster_file_disk.h"
#include "txn/client/quoin_internal.h"

struct quoin_network {
    struct env *env;
    pthread_t thread;        /* that runs the loop, while it is `running` */
    bool borrowed;           /* the thread is the application's own (network_loop) */
    pthread_mutex_t driving; /* a borrowed thread is not always there: who calls then does the work itself */
    _Atomic bool running, over;
    _Atomic(struct submission *) submitted;
    struct quoin_future *completed, **completed_tail; /* the loop's, like the next */
    struct quoin_future *calling, **calling_tail;     /* completed on a helper's thread: their callbacks are to be called on ours */
    struct ready publish;
    _Atomic uint32_t waiting;   /* threads that wait for a future */
    _Atomic uint32_t callbacks; /* to be called */
    uint32_t databases;      /* the thread's */
    struct client_hosts hosts;    /* clusters in this process; the thread's */
    _Atomic uint32_t hosts_gone; /* a futex: changes when one of them is gone, or nobody will see to them any more */
    struct future_pool pools[FUTURE_POOLS];
};

/* One network a process: the interface has no handle for it. */
static pthread_mutex_t network_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct quoin_network *) the_network;
static __thread char open_why[512];

/* ---- completions ---- */

static struct quoin_future *take_list(struct quoin_future **first, struct quoin_future ***tail)
{
    struct quoin_future *future = *first;

    *first = NULL;
    *tail = first;
    return future;
}

static void append(struct quoin_future *future, struct quoin_future ***tail)
{
    future->next = NULL;
    **tail = future;
    *tail = &future->next;
}

/* A callback may complete others: they are of another turn. */
static void call_back(struct quoin_network *network)
{
    struct quoin_future *future = take_list(&network->calling, &network->calling_tail);

    while (future != NULL) {
        struct quoin_future *next = future->next;

        future->callback(future, future->callback_context);
        atomic_fetch_sub_explicit(&network->callbacks, 1, memory_order_relaxed);
        future_unref(future);
        future = next;
    }
}

static void publish(struct ready *ready)
{
    struct quoin_network *network = container_of(ready, struct quoin_network, publish);
    struct quoin_future *future = take_list(&network->completed, &network->completed_tail);

    while (future != NULL) {
        struct quoin_future *next = future->next;

        if (future_publish(future))
            append(future, &network->calling_tail);
        else
            future_unref(future);
        future = next;
    }
    if (network->calling == NULL)
        return;
    if (network_is_this_thread(network))
        call_back(network);
    else
        env_posix_refuse_help(network->env);
}

void network_completed(struct quoin_network *network, struct quoin_future *future)
{
    append(future, &network->completed_tail);
    env_turn_end(network->env, &network->publish);
}

static bool is_ready(void *future)
{
    return quoin_future_is_ready(future);
}

/* A crowd leaves the work to the network thread: one turn of it wakes many, and nobody passes the loop on. */
void network_wait_begin(struct quoin_network *network, struct quoin_future *future)
{
    if (atomic_fetch_add_explicit(&network->waiting, 1, memory_order_relaxed) == 0)
        env_posix_help(network->env, is_ready, future);
}

/* Nobody drives for a moment when a helper has left: others must not wait for that. */
void network_wait_end(struct quoin_network *network)
{
    if (atomic_fetch_sub_explicit(&network->waiting, 1, memory_order_relaxed) > 1 ||
        atomic_load_explicit(&network->callbacks, memory_order_relaxed) > 0)
        env_posix_recall(network->env);
}

void network_callback_set(struct quoin_network *network)
{
    atomic_fetch_add_explicit(&network->callbacks, 1, memory_order_relaxed);
    env_posix_recall(network->env);
}

/* ---- submissions ---- */

void network_submit(struct quoin_network *network, struct submission *submission)
{
    struct submission *head = atomic_load_explicit(&network->submitted, memory_order_relaxed);

    do {
        submission->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&network->submitted, &head, submission, memory_order_release,
                                                    memory_order_relaxed));
    env_posix_hint(network->env);
}

static bool drain(void *ctx)
{
    struct quoin_network *network = ctx;
    struct submission *newest, *oldest = NULL;

    if (network->calling != NULL && network_is_this_thread(network))
        call_back(network);
    if (atomic_load_explicit(&network->submitted, memory_order_relaxed) == NULL)
        return false;
    newest = atomic_exchange_explicit(&network->submitted, NULL, memory_order_acquire);
    while (newest != NULL) {
        struct submission *next = newest->next;

        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != NULL) {
        struct submission *submission = oldest;

        oldest = submission->next;
        submission->run(submission); /* it may be gone */
    }
    return true;
}

static void run_call(struct submission *submission)
{
    struct network_call *call = (struct network_call *)submission;

    call->run(call);
    atomic_store_explicit(&call->done, 1, memory_order_release);
    syscall(SYS_futex, &call->done, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* True when nobody ran the loop, and this thread has done what was submitted. */
static bool drain_here(struct quoin_network *network)
{
    bool idle;

    if (!network->borrowed)
        return false;
    pthread_mutex_lock(&network->driving);
    idle = !atomic_load(&network->running);
    if (idle)
        drain(network);
    pthread_mutex_unlock(&network->driving);
    return idle;
}

void network_run(struct quoin_network *network, struct network_call *call)
{
    call->submission.run = run_call;
    atomic_store(&call->done, 0);
    network_submit(network, &call->submission);
    env_posix_recall(network->env);
    if (drain_here(network))
        return;
    while (atomic_load_explicit(&call->done, memory_order_acquire) == 0)
        syscall(SYS_futex, &call->done, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

/* ---- life ---- */

struct quoin_network *network_get(void)
{
    return atomic_load_explicit(&the_network, memory_order_acquire);
}

struct future_pool *network_pool(struct quoin_network *network)
{
    static _Atomic uint32_t threads;
    static __thread uint32_t number; /* of this thread, from 1 */

    if (number == 0)
        number = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) + 1;
    return &network->pools[number % FUTURE_POOLS];
}

struct env *network_env(struct quoin_network *network)
{
    return network->env;
}

bool network_is_this_thread(const struct quoin_network *network)
{
    return network != NULL && atomic_load_explicit(&network->running, memory_order_acquire) &&
           pthread_equal(network->thread, pthread_self());
}

static void *run_network(void *argument)
{
    struct quoin_network *network = argument;

    env_posix_run(network->env);
    return NULL;
}

/* The library's one thread, in which its env runs: so no env can start it. No signal is ever delivered to it: they belong to the application. */
static int start_thread(struct quoin_network *network)
{
    sigset_t all, before;
    int failed;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    failed = pthread_create(&network->thread, NULL, run_network, network);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!failed)
        atomic_store(&network->running, true);
    return failed ? ERROR_PLATFORM_ERROR : 0;
}

static void wake_for_hosts(struct quoin_network *network)
{
    atomic_fetch_add_explicit(&network->hosts_gone, 1, memory_order_release);
    syscall(SYS_futex, &network->hosts_gone, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void host_gone(struct client_hosts *hosts)
{
    wake_for_hosts(container_of(hosts, struct quoin_network, hosts));
}

static int make_network(bool borrowed, struct quoin_network **ret_network)
{
    struct quoin_network *network = mem_zalloc(sizeof(*network));
    struct env_posix_options options = {.on_wake = drain, .ctx = network};
    int error;

    if (network == NULL)
        return ERROR_OUT_OF_MEMORY;
    network->completed_tail = &network->completed;
    network->calling_tail = &network->calling;
    network->publish.run = publish;
    list_init(&network->hosts.open);
    network->hosts.gone = host_gone;
    network->borrowed = borrowed;
    pthread_mutex_init(&network->driving, NULL);
    for (int i = 0; i < FUTURE_POOLS; i++)
        pthread_mutex_init(&network->pools[i].lock, NULL);
    error = network_make_env(&options, &network->env);
    if (error == 0 && !borrowed) {
        error = start_thread(network);
        if (error != 0)
            env_posix_destroy(network->env);
    }
    if (error != 0)
        mem_free(network);
    else
        *ret_network = network;
    return error;
}

static int start_network(bool borrowed)
{
    struct quoin_network *network;
    int error = 0;

    pthread_mutex_lock(&network_lock);
    if (network_get() == NULL) {
        error = make_network(borrowed, &network);
        if (error == 0)
            atomic_store_explicit(&the_network, network, memory_order_release);
    } else if (borrowed) {
        error = ERROR_NETWORK_ALREADY_SETUP;
    }
    pthread_mutex_unlock(&network_lock);
    return error;
}

quoin_error quoin_network_start(void)
{
    return start_network(false);
}

int network_setup(void)
{
    return start_network(true);
}

int network_loop(void)
{
    struct quoin_network *network = network_get();
    int error = 0;

    if (network == NULL || !network->borrowed)
        return ERROR_NETWORK_NOT_SETUP;
    pthread_mutex_lock(&network->driving);
    if (network->over || network->running) {
        error = ERROR_NETWORK_CANNOT_BE_RESTARTED;
    } else {
        network->thread = pthread_self();
        atomic_store(&network->running, true);
    }
    pthread_mutex_unlock(&network->driving);
    if (error != 0)
        return error;
    env_posix_run(network->env);
    pthread_mutex_lock(&network->driving);
    drain(network); /* whoever waits for a call of its own is answered; from now on callers do their work themselves */
    atomic_store(&network->over, true);
    atomic_store(&network->running, false);
    pthread_mutex_unlock(&network->driving);
    wake_for_hosts(network);
    return 0;
}

int network_end(void)
{
    struct quoin_network *network = network_get();

    if (network == NULL || !network->borrowed)
        return ERROR_NETWORK_NOT_SETUP;
    env_posix_stop(network->env);
    return 0;
}

bool network_is_over(void)
{
    struct quoin_network *network = network_get();

    return network != NULL && atomic_load_explicit(&network->over, memory_order_acquire);
}

struct count_call {
    struct network_call call; /* first */
    struct quoin_network *network;
    uint32_t databases;
};

static void count_databases(struct network_call *call)
{
    struct count_call *count = (struct count_call *)call;

    count->databases = count->network->databases;
}

/* Passes through the queue, so that what was submitted before has been done. */
static uint32_t flush(struct quoin_network *network)
{
    struct count_call count = {.call.run = count_databases, .network = network};

    for (int i = 0; i < 3; i++) /* a future's end may submit its transaction's, and that its database's */
        network_run(network, &count.call);
    return count.databases;
}

quoin_error quoin_network_stop(void)
{
    struct quoin_network *network = network_get();
    int error = 0;

    if (network_is_this_thread(network))
        return ERROR_BLOCKED_FROM_NETWORK_THREAD;
    pthread_mutex_lock(&network_lock);
    network = network_get();
    if (network != NULL && flush(network) > 0)
        error = ERROR_CLIENT_INVALID_OPERATION;
    if (network != NULL && network->borrowed)
        error = ERROR_CLIENT_INVALID_OPERATION;
    if (network != NULL && error == 0) {
        atomic_store(&the_network, NULL);
        env_posix_stop(network->env);
        pthread_join(network->thread, NULL);
        env_posix_destroy(network->env);
        pthread_mutex_destroy(&network->driving);
        for (int i = 0; i < FUTURE_POOLS; i++)
            future_pool_done(&network->pools[i]);
        mem_free(network);
    }
    pthread_mutex_unlock(&network_lock);
    return error;
}

/* ---- cluster files ---- */

const char *quoin_open_why(void)
{
    return open_why;
}

static int read_file(const char *path, struct bytes_buffer *ret_text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = 1;
    int error = 0;

    if (fd < 0) {
        snprintf(open_why, sizeof(open_why), "%s: %s", path, strerror(errno));
        return errno == ENOENT || errno == ENOTDIR ? ERROR_NO_CLUSTER_FILE_FOUND : ERROR_FILE_NOT_READABLE;
    }
    while (got > 0 && error == 0 && ret_text->len <= CLUSTER_FILE_BYTES_MAX) {
        error = bytes_buffer_reserve(ret_text, 4096);
        if (error != 0)
            break;
        got = read(fd, ret_text->ptr + ret_text->len, 4096);
        if (got < 0) {
            snprintf(open_why, sizeof(open_why), "%s: %s", path, strerror(errno));
            error = ERROR_FILE_NOT_READABLE;
        } else {
            ret_text->len += (size_t)got;
        }
    }
    close(fd);
    return error;
}

/* The argument, the environment, the working directory, the machine. */
static int choose_path(const char *argument, const char **ret_path)
{
    static const char *const defaults[] = {"./quoin.cluster", "/etc/quoin/quoin.cluster"};
    const char *variable = getenv("QUOIN_CLUSTER_FILE");

    *ret_path = argument != NULL && argument[0] != '\0' ? argument : variable;
    if (*ret_path != NULL && (*ret_path)[0] != '\0')
        return 0;
    for (size_t i = 0; i < 2; i++) {
        *ret_path = defaults[i];
        if (access(defaults[i], F_OK) == 0)
            return 0;
    }
    snprintf(open_why, sizeof(open_why), "no cluster file: none given, QUOIN_CLUSTER_FILE is not set, and neither %s nor %s is there",
             defaults[0], defaults[1]);
    return ERROR_NO_CLUSTER_FILE_FOUND;
}

/* ---- databases ---- */

struct open_call {
    struct network_call call; /* first */
    struct quoin_database *db;
    int error;
    char why[sizeof(open_why)];
};

/* Without memory for them, the special keys are empty. */
static void name_client(struct quoin_database *db)
{
    char text[2 * CLUSTER_FILE_NAME_MAX + CLUSTER_FILE_COORDINATORS_MAX * (ADDRESS_TEXT_MAX + 1) + 4], address[ADDRESS_TEXT_MAX];
    int len = db->hosted ? snprintf(text, sizeof(text), "%s", db->path)
                         : snprintf(text, sizeof(text), "%s:%s@", db->file.description, db->file.id);

    for (uint32_t i = 0; i < db->file.coordinator_count && len > 0 && len < (int)sizeof(text); i++)
        len += snprintf(text + len, sizeof(text) - (size_t)len, "%s%s", i == 0 ? "" : ",",
                        address_print(db->file.coordinators[i], address));
    (void)client_set_names(db->client, bytes_of_string(db->path), bytes_of_string(text));
}

/* A file that can't be written stays as it is: its coordinators lead to the others for as long as one of them lives. */
static void on_coordinators_changed(void *ctx, const struct address *coordinators, uint32_t count)
{
    struct quoin_database *db = ctx;

    if (db->hosted || count > CLUSTER_FILE_COORDINATORS_MAX)
        return;
    (void)cluster_file_update(db->path, coordinators, count);
    memcpy(db->file.coordinators, coordinators, count * sizeof(*coordinators));
    db->file.coordinator_count = count;
    name_client(db);
}

static void open_client(struct network_call *call)
{
    struct open_call *open = (struct open_call *)call;
    struct quoin_database *db = open->db;
    struct client_options options = {.coordinators = db->file.coordinators,
                                     .coordinator_count = db->file.coordinator_count,
                                     .coordinators_changed = on_coordinators_changed,
                                     .ctx = db};

    open->error = 0;
    if (db->hosted)
        open->error = client_hosting()->open(db->network->env, &db->network->hosts, db->path, &options, &db->host, open->why, sizeof(open->why));
    if (open->error == 0)
        open->error = client_create(db->network->env, &options, &db->client);
    if (open->error == 0) {
        name_client(db);
        TRACE(db->network->env, SEVERITY_INFO, "ClientStart", {"Cluster", trace_str(db->path)}, {"Version", trace_str(QUOIN_VERSION)},
              {"Pid", trace_int(getpid())});
    }
    if (open->error == 0)
        db->network->databases++;
    else if (db->host != NULL)
        client_hosting()->close(db->host);
}

static void free_database(struct quoin_database *db)
{
    pthread_mutex_destroy(&db->lock);
    mem_free(db->path);
    mem_free(db);
}

static void destroy_database(struct submission *submission)
{
    struct quoin_database *db = container_of(submission, struct quoin_database, destroy);

    client_destroy(db->client);
    if (db->host != NULL)
        client_hosting()->close(db->host);
    db->network->databases--;
    free_database(db);
}

void database_unref(struct quoin_database *db)
{
    if (atomic_fetch_sub_explicit(&db->refs, 1, memory_order_acq_rel) > 1)
        return;
    db->destroy.run = destroy_database;
    network_submit(db->network, &db->destroy);
}

/* file NULL: `path` names a cluster in this process. */
static int prepare_database(const char *path, const struct cluster_file *file, struct quoin_database **ret_db)
{
    struct quoin_database *db = mem_zalloc(sizeof(*db));
    size_t size = strlen(path) + 1;

    if (db == NULL)
        return ERROR_OUT_OF_MEMORY;
    pthread_mutex_init(&db->lock, NULL);
    atomic_init(&db->refs, 1);
    db->network = network_get();
    db->hosted = file == NULL;
    if (file != NULL)
        db->file = *file;
    db->path = mem_alloc(size);
    if (db->path == NULL) {
        free_database(db);
        return ERROR_OUT_OF_MEMORY;
    }
    memcpy(db->path, path, size);
    *ret_db = db;
    return 0;
}

static int make_database(const char *path, const struct cluster_file *file, struct quoin_database **ret_db)
{
    struct quoin_database *db;
    struct open_call open = {.call.run = open_client};
    int error = quoin_network_start();

    if (error == 0)
        error = prepare_database(path, file, &db);
    if (error != 0)
        return error;
    open.db = db;
    if (network_is_this_thread(db->network))
        open_client(&open.call);
    else
        network_run(db->network, &open.call);
    if (open.error != 0) {
        snprintf(open_why, sizeof(open_why), "%s", open.why);
        free_database(db);
    } else {
        *ret_db = db;
    }
    return open.error;
}

static int open_parsed(const char *path, struct bytes text, struct quoin_database **ret_db)
{
    struct cluster_file file;
    char why[256];

    if (cluster_file_parse(text, &file, why, sizeof(why)) != 0) {
        snprintf(open_why, sizeof(open_why), "%s%s%s", path, path[0] != '\0' ? ": " : "", why);
        return ERROR_CONNECTION_STRING_INVALID;
    }
    return make_database(path, &file, ret_db);
}

/* Until the word is not `seen` any more, or the deadline (CLOCK_MONOTONIC). False at the deadline, or when nobody runs the loop. */
static bool wait_until_gone(struct quoin_network *network, uint32_t seen, const struct timespec *deadline)
{
    while (atomic_load_explicit(&network->hosts_gone, memory_order_acquire) == seen) {
        if (!atomic_load(&network->running))
            return false;
        if (syscall(SYS_futex, &network->hosts_gone, FUTEX_WAIT_BITSET_PRIVATE, seen, deadline, NULL, FUTEX_BITSET_MATCH_ANY) != 0 &&
            errno == ETIMEDOUT)
            return false;
    }
    return true;
}

/* One that this process has just closed still waits for its files. The clock is the futex's: an application's thread waits, beside the env. */
static int open_hosted(const char *name, struct quoin_database **ret_db)
{
    enum { PATIENCE_S = 10 };
    struct quoin_network *network;
    struct timespec deadline;
    uint32_t seen;
    int error;

    if (client_hosting() == NULL) {
        snprintf(open_why, sizeof(open_why), "%s: this program was linked without the embedded cluster", name);
        return ERROR_UNSUPPORTED_OPERATION;
    }
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += PATIENCE_S;
    do {
        network = network_get();
        seen = network == NULL ? 0 : atomic_load_explicit(&network->hosts_gone, memory_order_acquire);
        error = make_database(name, NULL, ret_db);
    } while (error == ERROR_SHUTDOWN_IN_PROGRESS && network != NULL && !network_is_this_thread(network) &&
             wait_until_gone(network, seen, &deadline));
    return error;
}

quoin_error quoin_open(const char *cluster_file, struct quoin_database **ret_db)
{
    struct bytes_buffer text = {0};
    const char *path;
    int error;

    if (ret_db == NULL)
        return ERROR_CLIENT_INVALID_OPERATION;
    open_why[0] = '\0';
    error = choose_path(cluster_file, &path);
    if (error == 0 && client_name_is_hosted(path))
        return open_hosted(path, ret_db);
    if (error == 0)
        error = read_file(path, &text);
    if (error == 0)
        error = open_parsed(path, bytes_buffer_bytes(&text), ret_db);
    bytes_buffer_done(&text);
    return error;
}

quoin_error quoin_open_text(const char *text, struct quoin_database **ret_db)
{
    if (text == NULL || ret_db == NULL)
        return ERROR_CLIENT_INVALID_OPERATION;
    open_why[0] = '\0';
    return client_name_is_hosted(text) ? open_hosted(text, ret_db) : open_parsed("", bytes_of_string(text), ret_db);
}

struct busy_call {
    struct network_call call; /* first */
    struct quoin_network *network;
    bool busy;
};

static void look_whether_busy(struct network_call *call)
{
    struct busy_call *busy = (struct busy_call *)call;

    busy->busy = client_hosting()->busy(&busy->network->hosts);
}

/* Until the files of what was closed are: another process may open them then. */
static void wait_for_hosts(struct quoin_network *network)
{
    struct busy_call busy = {.call.run = look_whether_busy, .network = network};
    uint32_t seen;

    do {
        seen = atomic_load_explicit(&network->hosts_gone, memory_order_acquire);
        network_run(network, &busy.call);
    } while (busy.busy && wait_until_gone(network, seen, NULL));
}

void quoin_database_destroy(struct quoin_database *db)
{
    struct quoin_network *network;
    bool hosted;

    if (db == NULL)
        return;
    network = db->network;
    hosted = db->hosted;
    database_unref(db);
    if (network_is_this_thread(network))
        return;
    flush(network);
    if (hosted)
        wait_for_hosts(network);
}

const char *quoin_database_cluster_file(struct quoin_database *db)
{
    return db->path;
}

double quoin_database_get_main_thread_busyness(struct quoin_database *db)
{
    return env_posix_busyness(db->network->env);
}

struct explain_call {
    struct network_call call; /* first */
    struct quoin_database *db;
    char *out;
    size_t size;
};

static void explain(struct network_call *call)
{
    struct explain_call *self = (struct explain_call *)call;

    client_explain(self->db->client, self->out, self->size);
}

char *quoin_database_explain(struct quoin_database *db, char *out, int size)
{
    struct explain_call call = {.call.run = explain, .db = db, .out = out, .size = size > 0 ? (size_t)size : 0};

    if (size <= 0)
        return out;
    if (network_is_this_thread(db->network))
        explain(&call.call);
    else
        network_run(db->network, &call.call);
    return out;
}

/* ---- errors ---- */

const char *quoin_error_text(quoin_error error)
{
    return error_text(error);
}

const char *quoin_error_name(quoin_error error)
{
    return error_name(error);
}

bool quoin_error_predicate(enum quoin_predicate predicate, quoin_error error)
{
    switch (predicate) {
    case QUOIN_PREDICATE_RETRYABLE:
        return error_is_retryable(error);
    case QUOIN_PREDICATE_MAYBE_COMMITTED:
        return error_is_maybe_committed(error);
    case QUOIN_PREDICATE_RETRYABLE_NOT_COMMITTED:
        return error_is_retryable_not_committed(error);
    }
    return false;
}
