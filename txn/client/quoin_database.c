/* What the public library says of a database as a whole, and its options. */
#include <limits.h>

#include "txn/client/quoin_internal.h"

/* A database's future lives on a transaction of its own, which goes with it. */
static struct quoin_future *make(struct quoin_database *db, enum future_kind kind)
{
    struct quoin_transaction *transaction;
    struct quoin_future *future;

    if (quoin_transaction_create(db, &transaction) != 0)
        return NULL;
    future = future_make(transaction, kind);
    transaction_unref(transaction);
    return future;
}

/* ---- what the client knows ---- */

struct json_call {
    struct network_call call; /* first */
    struct quoin_database *db;
    struct bytes_buffer json;
    int error;
};

static void make_json(struct network_call *call)
{
    struct json_call *self = (struct json_call *)call;

    self->error = client_json_own(self->db->client, &self->json);
}

/* Blocks for a moment only: the network thread has it at once. */
struct quoin_future *quoin_database_get_client_status(struct quoin_database *db)
{
    struct json_call call = {.call.run = make_json, .db = db};
    struct quoin_future *future = make(db, FUTURE_KEY);

    if (future == NULL)
        return NULL;
    if (network_is_this_thread(db->network))
        make_json(&call.call);
    else
        network_run(db->network, &call.call);
    if (call.error == 0)
        call.error = arena_copy(&future->u.result.arena, bytes_buffer_bytes(&call.json), &future->u.result.key);
    bytes_buffer_done(&call.json);
    return future_finished(future, call.error);
}

/* FoundationDB's form of a protocol version. Ours is what its 7.x programs take for their own; others keep their distance. */
#define FOUNDATIONDB_PROTOCOL UINT64_C(0x0FDB00B073000000)

static void protocol_done(struct client_call *call)
{
    struct quoin_future *future = call->ctx;

    future->number = (int64_t)(future->u.protocol.version - QUOIN_PROTOCOL_VERSION + FOUNDATIONDB_PROTOCOL);
    future_complete(future, call->error);
}

static void run_protocol(struct submission *submission)
{
    struct quoin_future *future = quoin_future_of(submission);
    struct client_protocol *protocol = &future->u.protocol;

    protocol->call.done = protocol_done;
    protocol->call.ctx = future;
    client_protocol_start(protocol, NULL, future->transaction->db->client);
}

struct quoin_future *quoin_database_get_server_protocol(struct quoin_database *db, uint64_t expected)
{
    struct quoin_future *future = make(db, FUTURE_PROTOCOL);

    if (future == NULL)
        return NULL;
    future->u.protocol.expected = expected == 0 ? 0 : expected - FOUNDATIONDB_PROTOCOL + QUOIN_PROTOCOL_VERSION;
    return quoin_submit(future, run_protocol);
}

/* ---- ending a process ---- */

static void reboot_done(struct client_call *call)
{
    struct quoin_future *future = call->ctx;

    future->number = call->error == 0;
    future_complete(future, call->error == ERROR_OUT_OF_MEMORY ? call->error : 0);
}

static void run_reboot(struct submission *submission)
{
    struct quoin_future *future = quoin_future_of(submission);
    struct client_reboot *reboot = future->u.reboot;

    reboot->call.done = reboot_done;
    reboot->call.ctx = future;
    client_reboot_start(reboot, NULL, future->transaction->db->client, reboot->address);
}

struct quoin_future *quoin_database_reboot_worker(struct quoin_database *db, const void *address, int address_length, bool check,
                                                  int duration_s)
{
    struct quoin_future *future = make(db, FUTURE_REBOOT);
    struct bytes text;
    struct address to;

    (void)check;
    (void)duration_s;
    if (future == NULL)
        return NULL;
    if (!quoin_take_bytes(address, address_length, &text))
        return future_finished(future, ERROR_CLIENT_INVALID_OPERATION);
    if (address_parse(text, &to) != 0)
        return future_finished(future, 0); /* no such process: 0 */
    future->u.reboot = mem_zalloc(sizeof(*future->u.reboot));
    if (future->u.reboot == NULL)
        return future_finished(future, ERROR_OUT_OF_MEMORY);
    future->u.reboot->address = to;
    return quoin_submit(future, run_reboot);
}

/* ---- options ---- */

struct database_option {
    int code;
    enum option_form form;
    int transaction_option; /* the default of this one; 0: none */
    int64_t min, max;       /* FORM_INT without one */
};

static const struct database_option table[] = {
    {10, FORM_INT, 0, 0, INT_MAX},
    {20, FORM_INT, 0, 0, CLIENT_WATCHES_MAX},
    {21, FORM_BYTES, 0, 0, 0},
    {22, FORM_BYTES, 0, 0, 0},
    {26, FORM_NONE, 600, 0, 0},
    {27, FORM_NONE, 601, 0, 0},
    {405, FORM_INT, 405, 0, 0},
    {500, FORM_INT, 500, 0, 0},
    {501, FORM_INT, 501, 0, 0},
    {502, FORM_INT, 502, 0, 0},
    {503, FORM_INT, 503, 0, 0},
    {504, FORM_NONE, 20, 0, 0},
    {505, FORM_NONE, 23, 0, 0},
    {506, FORM_NONE, 505, 0, 0},
    {700, FORM_NONE, 1100, 0, 0},
    {701, FORM_NONE, 701, 0, 0},
    {702, FORM_NONE, 712, 0, 0},
    {900, FORM_INT, 0, 0, 100},
};

static const struct database_option *find(int code)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].code == code)
            return &table[i];
    return NULL;
}

quoin_error quoin_database_set_option(struct quoin_database *db, int option, const void *value, int value_length)
{
    const struct database_option *found = find(option);
    int64_t number = 0;
    int error = found == NULL ? ERROR_INVALID_OPTION : option_check_form(found->form, value, value_length);

    if (error != 0)
        return error;
    if (found->transaction_option != 0)
        return quoin_database_set_transaction_option(db, found->transaction_option, value, value_length);
    if (found->form == FORM_INT)
        number = (int64_t)get_le64(value);
    if (found->form == FORM_INT && (number < found->min || number > found->max))
        return ERROR_INVALID_OPTION_VALUE;
    if (option == QUOIN_DATABASE_OPTION_LOCATION_CACHE_SIZE)
        atomic_store(&db->client->location_cache_max, number);
    if (option == QUOIN_DATABASE_OPTION_MAX_WATCHES)
        atomic_store(&db->client->watches_max, number);
    return 0;
}

quoin_error quoin_database_set_api_version(struct quoin_database *db, int version)
{
    struct quoin_transaction *transaction;
    int error;

    if (version < API_VERSION_MIN || version > API_VERSION_MAX)
        return ERROR_API_VERSION_NOT_SUPPORTED;
    error = quoin_transaction_create(db, &transaction);
    if (error != 0)
        return error;
    pthread_mutex_lock(&db->lock);
    if (!db->has_settings)
        db->settings = transaction->txn->defaults;
    db->settings.api_version = version;
    db->settings.snapshot_ryw_off = version < 300;
    db->has_settings = true;
    pthread_mutex_unlock(&db->lock);
    quoin_transaction_destroy(transaction);
    return 0;
}
