/* Appends to lists, by atomic operations or by reading and writing; at the end the search for cycles, which trusts no version.
 *
 * A list is a value: its elements, 4 bytes each. Lists that have grown long are left alone and new ones begun, so that a long
 * run costs what it is long, not the square of it. */
#include "tests/real/history.h"

#include "net/error.h"
#include "net/mem.h"
#include "sim/checkers/cycles.h"

#include <assert.h>
#include <stdio.h>

enum { LISTS_AT_ONCE = 8, ELEMENTS_A_LIST = 100, LISTS_MAX = 65536, OPERATIONS_MAX = 5, CHECK_LISTS = 64 };

/* One for the process, under the lock; records are their client's. */
static struct cycles_history history;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool damaged; /* a list that is no list */

struct attempt {
    struct history_client *client;
    struct cycles_record record;
    bool writes;
    uint32_t first; /* of the lists that the check reads */
};

struct list_key {
    char text[32];
};

static struct bytes list_key(struct list_key *key, uint32_t list)
{
    return bytes_of(key->text, (size_t)snprintf(key->text, sizeof(key->text), "history/lists/%08u", list));
}

/* The first of the lists that are appended to now. */
static uint32_t lists_begun(void)
{
    uint32_t window;

    pthread_mutex_lock(&lock);
    window = history.element_count / (LISTS_AT_ONCE * ELEMENTS_A_LIST) * LISTS_AT_ONCE;
    pthread_mutex_unlock(&lock);
    return window < LISTS_MAX - LISTS_AT_ONCE ? window : LISTS_MAX - LISTS_AT_ONCE;
}

static uint32_t new_element(void)
{
    uint32_t element;

    pthread_mutex_lock(&lock);
    element = cycles_new_element(&history);
    pthread_mutex_unlock(&lock);
    return element;
}

static int read_list(struct attempt *attempt, uint32_t list, struct bytes_buffer *value)
{
    struct list_key key;
    uint32_t *elements;
    bool present;
    int error = call_get(attempt->client->transaction, list_key(&key, list), false, &present, value);

    if (error != 0)
        return error;
    if (value->len % 4 != 0)
        damaged = true;
    elements = mem_zalloc(value->len + 1);
    for (size_t i = 0; i < value->len / 4; i++)
        elements[i] = get_le32(value->ptr + 4 * i);
    cycles_read(&attempt->record, list, elements, (uint32_t)(value->len / 4));
    mem_free(elements);
    return 0;
}

static void append_blindly(struct attempt *attempt, uint32_t list)
{
    uint32_t element = new_element();
    struct list_key key;
    struct bytes at = list_key(&key, list);
    uint8_t bytes[4];

    put_le32(bytes, element);
    quoin_transaction_atomic(attempt->client->transaction, QUOIN_APPEND_IF_FITS, at.ptr, (int)at.len, bytes, sizeof(bytes));
    cycles_append(&attempt->record, list, element);
}

static int append_by_rewriting(struct attempt *attempt, uint32_t list)
{
    struct bytes_buffer value = {0};
    struct list_key key;
    struct bytes at = list_key(&key, list);
    uint32_t element;
    uint8_t bytes[4];
    int error = read_list(attempt, list, &value);

    if (error == 0) {
        element = new_element();
        put_le32(bytes, element);
        bytes_buffer_append(&value, bytes_of(bytes, sizeof(bytes)));
        quoin_transaction_set(attempt->client->transaction, at.ptr, (int)at.len, value.ptr, (int)value.len);
        cycles_append(&attempt->record, list, element);
    }
    bytes_buffer_done(&value);
    return error;
}

static int random_body(struct attempt *attempt)
{
    uint64_t count = 1 + history_random(attempt->client, OPERATIONS_MAX);
    uint32_t first = lists_begun();
    struct bytes_buffer value = {0};
    int error = 0;

    for (uint64_t i = 0; i < count && error == 0; i++) {
        uint32_t list = first + (uint32_t)history_random(attempt->client, LISTS_AT_ONCE);
        uint64_t kind = history_random(attempt->client, 4);

        if (history_random(attempt->client, 8) == 0)
            history_pause(attempt->client, 200);
        if (kind < 2)
            error = read_list(attempt, list, &value);
        else if (kind == 2)
            append_blindly(attempt, list);
        else
            error = append_by_rewriting(attempt, list);
        attempt->writes = attempt->writes || kind >= 2;
    }
    bytes_buffer_done(&value);
    return error == 0 ? call_commit(attempt->client->transaction) : error;
}

static int check_body(struct attempt *attempt)
{
    struct bytes_buffer value = {0};
    int error = 0;

    for (uint32_t list = attempt->first; list < attempt->first + CHECK_LISTS && list < LISTS_MAX && error == 0; list++)
        error = read_list(attempt, list, &value);
    bytes_buffer_done(&value);
    return error;
}

static bool transact(struct history_client *client, int (*body)(struct attempt *attempt), uint32_t first)
{
    struct attempt attempt = {.client = client, .first = first};
    int error;

    quoin_transaction_reset(client->transaction);
    do {
        attempt.writes = false;
        pthread_mutex_lock(&lock);
        cycles_begin(&history, &attempt.record, client->number);
        pthread_mutex_unlock(&lock);
        error = body(&attempt);
        pthread_mutex_lock(&lock);
        cycles_finish(&attempt.record, error == 0                              ? CYCLES_COMMITTED
                                       : error == ERROR_COMMIT_UNKNOWN_RESULT ? CYCLES_UNKNOWN
                                                                              : CYCLES_ABORTED);
        pthread_mutex_unlock(&lock);
        if (error == 0 && attempt.writes)
            atomic_fetch_add(client->run->committed, 1);
    } while (error != 0 && call_retry(client, error));
    return error == 0;
}

void lists_once(struct history_client *client)
{
    transact(client, random_body, 0);
}

bool lists_check(struct history_client *client)
{
    struct cycles_report report;
    uint32_t end = lists_begun() + LISTS_AT_ONCE;
    bool good = true;

    for (uint32_t first = 0; first < end && good; first += CHECK_LISTS)
        good = transact(client, check_body, first);
    if (!good || damaged) {
        printf("WRONG: lists: %s\n", damaged ? "a list is damaged" : "they can't be read back");
        return false;
    }
    good = cycles_check(&history, &report) == CYCLES_OK;
    if (!good)
        printf("WRONG: lists: %s: %s\n", cycles_name(report.anomaly), report.what);
    printf("lists: %u committed, %u aborted, %u unknown, %u elements of them there, %u edges\n", report.committed, report.aborted,
           report.unknown, report.unknown_applied, report.edges);
    return good;
}

void lists_init(struct history_run *run)
{
    (void)run;
    cycles_init(&history, LISTS_MAX);
}

void lists_done(void)
{
    cycles_done(&history);
}
