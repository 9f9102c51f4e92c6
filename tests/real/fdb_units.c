/* What FoundationDB's own unit tests of its C API expect, case by case and in our words, where quoin-fdb-calls does not say it: mapped
 * ranges, atomic operations, versionstamps, options of reads, tracing, threads, the restart of a worker.
 *
 *   quoin-fdb-units CLUSTER [one]      one: CLUSTER is one process with a supervisor, which may be restarted
 *
 * Written against the installed headers alone. Prints what failed; exits 0 if nothing did. */
#define FDB_API_VERSION 710
#include <foundationdb/fdb_c.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static FDBDatabase *db;
static int checks, failures;

static void expect(int line, const char *what, long long got, long long wanted)
{
    checks++;
    if (got == wanted)
        return;
    failures++;
    printf("line %d: %s gave %lld, not %lld\n", line, what, got, wanted);
}
#define EXPECT(call, wanted) expect(__LINE__, #call, (long long)(call), (long long)(wanted))

struct text {
    uint8_t bytes[256];
    int length;
};

static struct text text_of(const char *string)
{
    struct text text;

    text.length = (int)strlen(string);
    memcpy(text.bytes, string, strlen(string));
    return text;
}

static fdb_error_t wait_for(FDBFuture *f)
{
    fdb_error_t error = fdb_future_block_until_ready(f);

    return error != 0 ? error : fdb_future_get_error(f);
}

static fdb_error_t end_of(FDBFuture *f)
{
    fdb_error_t error = wait_for(f);

    fdb_future_destroy(f);
    return error;
}

static FDBTransaction *begin(void)
{
    FDBTransaction *tr = NULL;

    EXPECT(fdb_database_create_transaction(db, &tr), 0);
    return tr;
}

static void set(FDBTransaction *tr, struct text key, struct text value)
{
    fdb_transaction_set(tr, key.bytes, key.length, value.bytes, value.length);
}

/* -1: absent; -1000 - code: an error; else the length, with the value in *ret. */
static int get(FDBTransaction *tr, struct text key, int snapshot, struct text *ret)
{
    FDBFuture *f = fdb_transaction_get(tr, key.bytes, key.length, snapshot);
    const uint8_t *value = NULL;
    fdb_bool_t present = 0;
    fdb_error_t error = wait_for(f);
    int length = 0;

    if (error == 0)
        error = fdb_future_get_value(f, &present, &value, &length);
    if (error == 0 && present && length <= (int)sizeof(ret->bytes)) {
        memcpy(ret->bytes, value, (size_t)length);
        ret->length = length;
    }
    fdb_future_destroy(f);
    return error != 0 ? -1000 - error : present ? length : -1;
}

static int same(struct text a, const void *bytes, int length)
{
    return a.length == length && memcmp(a.bytes, bytes, (size_t)length) == 0;
}

/* ---- mapped ranges ---- */

enum { ENTRIES = 20, PARTS = 3 };

static void add_string(struct text *tuple, const char *string)
{
    tuple->bytes[tuple->length++] = 1;
    memcpy(tuple->bytes + tuple->length, string, strlen(string) + 1);
    tuple->length += (int)strlen(string) + 1;
}

static struct text tuple_of(const char *a, const char *b, const char *c, const char *d)
{
    struct text tuple;

    tuple.length = 0;
    add_string(&tuple, a);
    if (b != NULL)
        add_string(&tuple, b);
    if (c != NULL)
        add_string(&tuple, c);
    if (d != NULL)
        add_string(&tuple, d);
    return tuple;
}

static const char *numbered(char *out, const char *what, int i)
{
    snprintf(out, 40, "%s-%08d", what, i);
    return out;
}

static struct text entry_key(int i)
{
    char index[40], primary[40];

    return tuple_of("units", "INDEX", numbered(index, "index", i), numbered(primary, "primary", i));
}

static struct text part_key(int i, int part)
{
    char primary[40], which[2] = {(char)('0' + part), 0};

    return tuple_of("units", "RECORD", numbered(primary, "primary", i), part < 0 ? NULL : which);
}

static void fill_records(void)
{
    FDBTransaction *tr = begin();
    struct text all = tuple_of("units", NULL, NULL, NULL), end = all, none, value;
    char number[40];

    none.length = 0;
    end.bytes[end.length - 1] = 1;
    fdb_transaction_clear_range(tr, all.bytes, all.length, end.bytes, end.length);
    for (int i = 0; i < ENTRIES; i++) {
        set(tr, entry_key(i), none);
        value = text_of(numbered(number, "data", i));
        for (int part = 0; part < PARTS; part++)
            set(tr, part_key(i, part), value);
        set(tr, part_key(i, -1), value);
    }
    EXPECT(end_of(fdb_transaction_commit(tr)), 0);
    fdb_transaction_destroy(tr);
}

struct mapped {
    FDBFuture *f;
    const FDBMappedKeyValue *rows;
    int count;
    fdb_bool_t more;
    fdb_error_t error;
};

static struct mapped map_keys(FDBTransaction *tr, struct text from, struct text to, struct text mapper, int limit, int snapshot, int reverse)
{
    struct mapped mapped;

    mapped.rows = NULL;
    mapped.count = 0;
    mapped.more = 0;
    mapped.f = fdb_transaction_get_mapped_range(tr, FDB_KEYSEL_FIRST_GREATER_OR_EQUAL(from.bytes, from.length),
                                                FDB_KEYSEL_FIRST_GREATER_OR_EQUAL(to.bytes, to.length), mapper.bytes, mapper.length, limit, 0,
                                                FDB_STREAMING_MODE_WANT_ALL, 0, snapshot, reverse);
    mapped.error = wait_for(mapped.f);
    if (mapped.error == 0)
        mapped.error = fdb_future_get_mappedkeyvalue_array(mapped.f, &mapped.rows, &mapped.count, &mapped.more);
    return mapped;
}

static struct mapped map_some(FDBTransaction *tr, int from, int to, struct text mapper, int limit, int snapshot, int reverse)
{
    return map_keys(tr, entry_key(from), entry_key(to), mapper, limit, snapshot, reverse);
}

static fdb_error_t map_error(FDBTransaction *tr, struct text mapper, int snapshot)
{
    struct mapped mapped = map_some(tr, 1, 3, mapper, 0, snapshot, 0);

    fdb_future_destroy(mapped.f);
    return mapped.error;
}

static void check_mapped_rows(void)
{
    struct text mapper = tuple_of("units", "RECORD", "{K[3]}", "{...}");
    FDBTransaction *tr = begin();
    struct mapped mapped = map_some(tr, 1, ENTRIES - 1, mapper, 0, 0, 0);

    EXPECT(sizeof(FDBMappedKeyValue), 112);
    EXPECT(mapped.error, 0);
    EXPECT(mapped.count, ENTRIES - 2);
    EXPECT(mapped.more, 0);
    for (int i = 0; i < mapped.count; i++) {
        const FDBMappedKeyValue *row = &mapped.rows[i];
        struct text below = part_key(i + 1, -1);

        EXPECT(same(entry_key(i + 1), row->key.key, row->key.key_length), 1);
        EXPECT(row->value.key_length, 0);
        EXPECT(same(below, row->getRange.begin.key.key, row->getRange.begin.key.key_length), 1);
        EXPECT(row->getRange.begin.orEqual == 0 && row->getRange.begin.offset == 1, 1);
        EXPECT(row->getRange.m_size, PARTS + 1);
        for (int part = -1; part + 1 < row->getRange.m_size; part++)
            EXPECT(same(part_key(i + 1, part), row->getRange.data[part + 1].key, row->getRange.data[part + 1].key_length), 1);
    }
    fdb_future_destroy(mapped.f);
    mapped = map_some(tr, 0, ENTRIES, mapper, 3, 0, 1);
    EXPECT(mapped.count, 3);
    EXPECT(mapped.more, 1);
    EXPECT(mapped.count == 3 && same(entry_key(ENTRIES - 1), mapped.rows[0].key.key, mapped.rows[0].key.key_length), 1);
    fdb_future_destroy(mapped.f);
    mapped = map_some(tr, 4, 6, tuple_of("units", "RECORD", "{K[3]}", NULL), 0, 0, 0);
    EXPECT(mapped.count == 2 && mapped.rows[1].getRange.m_size == 1, 1);
    EXPECT(mapped.count == 2 && same(part_key(5, -1), mapped.rows[1].getRange.data[0].key, mapped.rows[1].getRange.data[0].key_length), 1);
    fdb_future_destroy(mapped.f);
    mapped = map_some(tr, 4, 6, tuple_of("units", "{{K[3]}}", "{K[3]}", NULL), 0, 0, 0); /* a name with braces, of which there is none */
    EXPECT(mapped.count == 2 && mapped.rows[0].getRange.m_size == 0, 1);
    EXPECT(mapped.count == 2 && memcmp(mapped.rows[0].getRange.begin.key.key + 8, "{K[3]}", 7) == 0, 1);
    fdb_future_destroy(mapped.f);
    fdb_transaction_destroy(tr);
}

static void check_mapped_errors(void)
{
    struct text good = tuple_of("units", "RECORD", "{K[3]}", "{...}"), raw = text_of("units no tuple"), raw_end = text_of("units no tuplf");
    FDBTransaction *tr = begin(), *other = begin();
    struct mapped mapped;

    EXPECT(map_error(tr, good, 1), 2108);
    EXPECT(map_error(tr, text_of("no tuple"), 0), 2043);
    fdb_transaction_reset(tr);
    EXPECT(map_error(tr, tuple_of("units", "{K[9]}", NULL, NULL), 0), 2030);
    EXPECT(map_error(tr, tuple_of("units", "{K[xx]}", NULL, NULL), 0), 2030);
    EXPECT(map_error(tr, tuple_of("units", "{V[0]}", NULL, NULL), 0), 2030); /* the value is a tuple of nothing */
    EXPECT(map_error(tr, tuple_of("units", "{...}", "RECORD", NULL), 0), 2032);
    fdb_transaction_reset(tr);
    EXPECT(fdb_transaction_set_option(tr, FDB_TR_OPTION_READ_YOUR_WRITES_DISABLE, NULL, 0), 0);
    EXPECT(map_error(tr, good, 0), 2108);
    fdb_transaction_reset(tr);
    set(tr, part_key(2, 1), text_of("own")); /* what it would read */
    EXPECT(map_error(tr, good, 0), 2039);
    fdb_transaction_reset(tr);
    set(tr, part_key(7, 1), text_of("own")); /* what it would not */
    EXPECT(map_error(tr, good, 0), 0);
    set(other, part_key(2, 1), text_of("another's"));
    EXPECT(end_of(fdb_transaction_commit(other)), 0);
    EXPECT(end_of(fdb_transaction_commit(tr)), 1020); /* it is in the conflict ranges */
    fdb_transaction_reset(tr);
    set(tr, entry_key(9), text_of("own")); /* a limit ends before it */
    mapped = map_some(tr, 0, ENTRIES, good, 3, 0, 0);
    EXPECT(mapped.error, 0);
    fdb_future_destroy(mapped.f);
    fdb_transaction_reset(tr);
    set(tr, raw, text_of("\xfe no tuple"));
    EXPECT(end_of(fdb_transaction_commit(tr)), 0);
    fdb_transaction_reset(tr);
    mapped = map_keys(tr, raw, raw_end, tuple_of("units", "{K[0]}", NULL, NULL), 0, 0, 0);
    EXPECT(mapped.error, 2041);
    fdb_future_destroy(mapped.f);
    mapped = map_keys(tr, raw, raw_end, tuple_of("units", "{V[0]}", NULL, NULL), 0, 0, 0);
    EXPECT(mapped.error, 2042);
    fdb_future_destroy(mapped.f);
    fdb_future_destroy(map_some(tr, 0, ENTRIES, good, 0, 0, 0).f);
    mapped.f = fdb_transaction_get_mapped_range(tr, FDB_KEYSEL_FIRST_GREATER_OR_EQUAL(raw.bytes, raw.length),
                                                FDB_KEYSEL_FIRST_GREATER_OR_EQUAL(raw_end.bytes, raw_end.length), NULL, 3, 0, 0,
                                                FDB_STREAMING_MODE_WANT_ALL, 0, 0, 0);
    EXPECT(end_of(mapped.f), 2000);
    mapped.f = fdb_transaction_get_mapped_range(tr, FDB_KEYSEL_FIRST_GREATER_OR_EQUAL(raw.bytes, raw.length),
                                                FDB_KEYSEL_FIRST_GREATER_OR_EQUAL(raw_end.bytes, raw_end.length), good.bytes, good.length, 0, 0,
                                                FDB_STREAMING_MODE_WANT_ALL, 0, 0, 0);
    fdb_transaction_destroy(tr); /* while it is under way */
    fdb_future_destroy(mapped.f);
    fdb_transaction_destroy(other);
}

/* Values of 50,000 bytes: an answer ends at its bytes, and the next goes on behind it. */
static void check_mapped_pages(void)
{
    struct text mapper = tuple_of("units", "BIG", "{K[3]}", NULL), from = entry_key(0), to = entry_key(ENTRIES), last;
    uint8_t *big = (uint8_t *)calloc(1, 50000);
    FDBTransaction *tr = begin();
    int rows = 0, pages = 0, more = 1;
    char primary[40];

    for (int i = 0; i < ENTRIES; i++) {
        struct text key = tuple_of("units", "BIG", numbered(primary, "primary", i), NULL);

        fdb_transaction_set(tr, key.bytes, key.length, big, 50000);
    }
    EXPECT(end_of(fdb_transaction_commit(tr)), 0);
    fdb_transaction_reset(tr);
    for (; more && pages < 100; pages++) {
        struct mapped mapped = map_keys(tr, from, to, mapper, 0, 0, 0);

        EXPECT(mapped.error, 0);
        more = mapped.more;
        rows += mapped.count;
        for (int i = 0; i < mapped.count; i++)
            EXPECT(mapped.rows[i].getRange.m_size == 1 && mapped.rows[i].getRange.data[0].value_length == 50000, 1);
        if (mapped.count > 0) {
            last.length = mapped.rows[mapped.count - 1].key.key_length;
            memcpy(last.bytes, mapped.rows[mapped.count - 1].key.key, (size_t)last.length);
            last.bytes[last.length++] = 0;
            from = last;
        }
        fdb_future_destroy(mapped.f);
    }
    EXPECT(rows, ENTRIES);
    EXPECT(pages > 1 && pages < 10, 1);
    fdb_transaction_destroy(tr);
    free(big);
}

/* ---- atomic operations and versionstamps ---- */

static void check_atomics(void)
{
    static const struct {
        FDBMutationType type;
        const char *before, *param, *after; /* NULL: absent */
        int param_length, after_length;
    } cases[] = {
        {FDB_MUTATION_TYPE_BIT_AND, "a", "b", "`", 1, 1},       {FDB_MUTATION_TYPE_BIT_AND, "c", "ad", "a\0", 2, 2},
        {FDB_MUTATION_TYPE_BIT_AND, "abc", "e", "a", 1, 1},     {FDB_MUTATION_TYPE_BIT_OR, "a", "b", "c", 1, 1},
        {FDB_MUTATION_TYPE_BIT_OR, "b", "ad", "cd", 2, 2},      {FDB_MUTATION_TYPE_BIT_OR, "abc", "d", "e", 1, 1},
        {FDB_MUTATION_TYPE_BIT_XOR, "a", "b", "\3", 1, 1},      {FDB_MUTATION_TYPE_BIT_XOR, "b", "ad", "\3d", 2, 2},
        {FDB_MUTATION_TYPE_BIT_XOR, "abc", "d", "\5", 1, 1},    {FDB_MUTATION_TYPE_COMPARE_AND_CLEAR, "bar", "bar", NULL, 3, 0},
        {FDB_MUTATION_TYPE_APPEND_IF_FITS, "f", "db", "fdb", 2, 3}, {FDB_MUTATION_TYPE_APPEND_IF_FITS, NULL, "foundation", "foundation", 10, 10},
        {FDB_MUTATION_TYPE_MAX, "a", "b", "b", 1, 1},           {FDB_MUTATION_TYPE_MAX, "b", "aa", "aa", 2, 2},
        {FDB_MUTATION_TYPE_MAX, "cba", "b", "c", 1, 1},         {FDB_MUTATION_TYPE_MIN, "a", "b", "a", 1, 1},
        {FDB_MUTATION_TYPE_MIN, "b", "aa", "b\0", 2, 2},        {FDB_MUTATION_TYPE_MIN, "cba", "b", "b", 1, 1},
        {FDB_MUTATION_TYPE_BYTE_MAX, "b", "cc", "cc", 2, 2},    {FDB_MUTATION_TYPE_BYTE_MAX, "cba", "b", "cba", 1, 3},
        {FDB_MUTATION_TYPE_BYTE_MIN, "b", "aa", "aa", 2, 2},    {FDB_MUTATION_TYPE_BYTE_MIN, "abc", "b", "abc", 1, 3},
        {FDB_MUTATION_TYPE_ADD, "\1", "\1", "\2", 1, 1},
    };
    struct text key = text_of("units/atomic"), found;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        FDBTransaction *tr = begin();

        fdb_transaction_clear(tr, key.bytes, key.length);
        if (cases[i].before != NULL)
            set(tr, key, text_of(cases[i].before));
        EXPECT(end_of(fdb_transaction_commit(tr)), 0);
        fdb_transaction_reset(tr);
        fdb_transaction_atomic_op(tr, key.bytes, key.length, (const uint8_t *)cases[i].param, cases[i].param_length, cases[i].type);
        EXPECT(end_of(fdb_transaction_commit(tr)), 0);
        fdb_transaction_reset(tr);
        EXPECT(get(tr, key, 0, &found), cases[i].after == NULL ? -1 : cases[i].after_length);
        EXPECT(cases[i].after == NULL || same(found, cases[i].after, cases[i].after_length), 1);
        fdb_transaction_destroy(tr);
    }
}

static void check_stamps(void)
{
    static const uint8_t value[] = "bar\0\0\0\0\0\0\0\0\0\0\3\0\0", bad[] = "foo\0\0\0\0\0\0\0\0\0\0\4\0\0";
    struct text key = text_of("units/stamped"), found;
    FDBTransaction *tr = begin();
    const uint8_t *stamp;
    FDBFuture *f;
    int length = 0;

    fdb_transaction_atomic_op(tr, key.bytes, key.length, value, 17, FDB_MUTATION_TYPE_SET_VERSIONSTAMPED_VALUE);
    f = fdb_transaction_get_versionstamp(tr);
    EXPECT(end_of(fdb_transaction_commit(tr)), 0);
    EXPECT(wait_for(f), 0);
    EXPECT(fdb_future_get_key(f, &stamp, &length), 0);
    fdb_transaction_reset(tr);
    EXPECT(get(tr, key, 0, &found), 13);
    EXPECT(length == 10 && memcmp(found.bytes, "bar", 3) == 0 && memcmp(found.bytes + 3, stamp, 10) == 0, 1);
    fdb_future_destroy(f);
    fdb_transaction_reset(tr);
    fdb_transaction_atomic_op(tr, bad, 17, value, 3, FDB_MUTATION_TYPE_SET_VERSIONSTAMPED_KEY);
    EXPECT(end_of(fdb_transaction_commit(tr)) != 0, 1);
    fdb_transaction_destroy(tr);
}

/* ---- reads and system keys ---- */

static void check_reads(void)
{
    struct text key = text_of("units/own"), system_key = text_of("\xff\x02"), found;
    FDBTransaction *tr = begin();
    int64_t version = 0, size = 0;
    FDBFuture *f;

    fdb_transaction_clear(tr, key.bytes, key.length);
    EXPECT(end_of(fdb_transaction_commit(tr)), 0);
    fdb_transaction_reset(tr);
    EXPECT(fdb_transaction_set_option(tr, FDB_TR_OPTION_SNAPSHOT_RYW_ENABLE, NULL, 0), 0);
    set(tr, key, text_of("bar"));
    EXPECT(get(tr, key, 1, &found), 3);
    fdb_transaction_reset(tr);
    EXPECT(fdb_transaction_set_option(tr, FDB_TR_OPTION_SNAPSHOT_RYW_DISABLE, NULL, 0), 0);
    set(tr, key, text_of("bar"));
    EXPECT(get(tr, key, 1, &found), -1);
    EXPECT(get(tr, key, 0, &found), 3);
    fdb_transaction_reset(tr);
    EXPECT(fdb_transaction_set_option(tr, FDB_TR_OPTION_READ_YOUR_WRITES_DISABLE, NULL, 0), 0);
    set(tr, key, text_of("bar"));
    EXPECT(get(tr, key, 0, &found), -1);
    fdb_transaction_reset(tr);
    EXPECT(get(tr, key, 0, &found), -1);
    EXPECT(fdb_transaction_get_committed_version(tr, &version), 0);
    EXPECT(version, -1);
    set(tr, key, text_of("bar"));
    f = fdb_transaction_get_approximate_size(tr);
    EXPECT(wait_for(f), 0);
    EXPECT(fdb_future_get_int64(f, &size), 0);
    EXPECT(size >= 3, 1);
    fdb_future_destroy(f);
    fdb_transaction_reset(tr);
    set(tr, system_key, text_of("bar"));
    EXPECT(end_of(fdb_transaction_commit(tr)), 2004);
    fdb_transaction_reset(tr);
    EXPECT(fdb_transaction_set_option(tr, FDB_TR_OPTION_ACCESS_SYSTEM_KEYS, NULL, 0), 0);
    set(tr, system_key, text_of("bar"));
    EXPECT(end_of(fdb_transaction_commit(tr)), 0);
    fdb_transaction_reset(tr);
    EXPECT(fdb_transaction_set_option(tr, FDB_TR_OPTION_READ_SYSTEM_KEYS, NULL, 0), 0);
    EXPECT(get(tr, system_key, 0, &found), 3);
    fdb_transaction_destroy(tr);
}

static void check_protocols(void)
{
    FDBFuture *f = fdb_database_get_server_protocol(db, 0);
    uint64_t protocol = 0;

    EXPECT(wait_for(f), 0);
    EXPECT(fdb_future_get_uint64(f, &protocol), 0);
    EXPECT(protocol != 0, 1);
    fdb_future_destroy(f);
    f = fdb_database_get_server_protocol(db, UINT64_C(0x0FDB00A200090000)); /* another one than the cluster's: told at once */
    EXPECT(wait_for(f), 0);
    fdb_future_destroy(f);
}

/* ---- tracing ---- */

static uint64_t number_at(FDBTransaction *tr, const char *key)
{
    struct text found;
    int length = get(tr, text_of(key), 0, &found);
    char number[32] = "";

    EXPECT(length > 0 && length < (int)sizeof(number), 1);
    if (length > 0 && length < (int)sizeof(number))
        memcpy(number, found.bytes, (size_t)length);
    return strtoull(number, NULL, 10);
}

static void check_tracing(void)
{
    static const char id[] = "\xff\xff/tracing/transaction_id", token[] = "\xff\xff/tracing/token";
    FDBTransaction *tr = begin();

    EXPECT(number_at(tr, id) > 0, 1);
    EXPECT(fdb_transaction_set_option(tr, FDB_TR_OPTION_SPECIAL_KEY_SPACE_ENABLE_WRITES, NULL, 0), 0);
    set(tr, text_of(id), text_of("18446744073709551615"));
    EXPECT(number_at(tr, id) == UINT64_MAX, 1);
    set(tr, text_of(token), text_of("false"));
    EXPECT(number_at(tr, token), 0);
    set(tr, text_of("units/traced"), text_of("bar"));
    set(tr, text_of(id), text_of("0")); /* too late */
    EXPECT(number_at(tr, id) != 0, 1);
    fdb_transaction_destroy(tr);
}

/* ---- threads ---- */

static void *write_and_end(void *context)
{
    static const uint8_t zeros[8 << 10] = {0};
    FDBTransaction *tr = NULL;

    if (fdb_database_create_transaction(db, &tr) == 0)
        for (int s = 0; s < 11; s++)
            fdb_transaction_set(tr, (const uint8_t *)"units/thread", 12, zeros, 8 << s);
    fdb_transaction_destroy(tr);
    return context;
}

static void check_threads(void)
{
    pthread_t thread;
    int busy = 0;

    for (int i = 0; i < 2000; i++) {
        EXPECT(pthread_create(&thread, NULL, write_and_end, NULL), 0);
        pthread_join(thread, NULL);
    }
    for (int i = 0; i < 20; i++) {
        struct timespec some = {0, 50000000};
        double busyness = fdb_database_get_main_thread_busyness(db);

        EXPECT(busyness >= 0 && busyness <= 1, 1);
        busy |= busyness > 0;
        nanosleep(&some, NULL);
    }
    EXPECT(busy, 1);
}

/* ---- a worker that is restarted ---- */

/* A number behind "name": in the status, or the string, which is cut out. -1: none; the database need not be available. */
static long status_number(const char *name, char *ret_string, size_t size)
{
    FDBTransaction *tr = begin();
    FDBFuture *f = fdb_transaction_get(tr, (const uint8_t *)"\xff\xff/status/json", 14, 0);
    const uint8_t *json = NULL;
    fdb_bool_t present = 0;
    char *text = NULL, *at = NULL;
    long number = -1;
    int length = 0;

    if (wait_for(f) == 0 && fdb_future_get_value(f, &present, &json, &length) == 0 && present) {
        text = (char *)calloc(1, (size_t)length + 1);
        memcpy(text, json, (size_t)length);
        if (strstr(text, "\"database_status\":{\"available\":true") != NULL && strstr(text, "\"database_available\":true") != NULL)
            at = strstr(text, name);
    }
    if (at != NULL && ret_string != NULL) {
        snprintf(ret_string, size, "%s", at + strlen(name) + 1);
        ret_string[strcspn(ret_string, "\"")] = '\0';
        number = 0;
    } else if (at != NULL) {
        number = atol(at + strlen(name));
    }
    free(text);
    fdb_future_destroy(f);
    fdb_transaction_destroy(tr);
    return number;
}

static void check_reboot(void)
{
    char address[64] = "";
    long before = status_number("\"generation\":", NULL, 0), after = before;
    int64_t done = 0;

    EXPECT(before > 0, 1);
    EXPECT(status_number("\"processes\":{", NULL, 0) >= 0, 1);
    EXPECT(status_number("\"address\":", address, sizeof(address)), 0);
    for (int tries = 0; tries < 100 && !done; tries++) {
        FDBFuture *f = fdb_database_reboot_worker(db, (const uint8_t *)address, (int)strlen(address), 0, 0);

        EXPECT(wait_for(f), 0);
        EXPECT(fdb_future_get_int64(f, &done), 0);
        fdb_future_destroy(f);
    }
    EXPECT(done, 1);
    for (int tries = 0; tries < 200 && after <= before; tries++) {
        struct timespec some = {0, 50000000};

        nanosleep(&some, NULL);
        after = status_number("\"generation\":", NULL, 0);
    }
    EXPECT(after > before, 1);
}

/* ---- the program ---- */

static void *run_network(void *context)
{
    (void)context;
    return (void *)(uintptr_t)fdb_run_network();
}

int main(int argc, char **argv)
{
    pthread_t network;

    if (argc < 2) {
        fprintf(stderr, "usage: quoin-fdb-units CLUSTER [one]\nexample: quoin-fdb-units memory:\n");
        return 2;
    }
    EXPECT(fdb_select_api_version(FDB_API_VERSION), 0);
    EXPECT(fdb_setup_network(), 0);
    EXPECT(pthread_create(&network, NULL, run_network, NULL), 0);
    EXPECT(fdb_create_database(argv[1], &db), 0);
    fill_records();
    check_mapped_rows();
    check_mapped_errors();
    check_mapped_pages();
    check_atomics();
    check_stamps();
    check_reads();
    check_protocols();
    check_tracing();
    check_threads();
    if (argc > 2 && strcmp(argv[2], "one") == 0)
        check_reboot();
    fdb_database_destroy(db);
    EXPECT(fdb_stop_network(), 0);
    pthread_join(network, NULL);
    printf("%d checks, %d failed\n", checks, failures);
    return failures == 0 ? 0 : 1;
}
