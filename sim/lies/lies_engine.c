/* Lies of the LMDB engine's file, told through LMDB itself while the storage server is down: `at` says which. What is lost or changed is the
 * users' data alone (keys below \xff) or the sample of them, and never the counts and digests, which nobody has brought up to date. */
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/mem.h"
#include "sim/cluster.h"
#include "sim/env_sim.h"
#include "sim/lies/lie_disk.h"
#include "sim/lies/lies_table.h"
#include "storage/engine_lmdb.h"
#include "txn/key_servers.h"
#include "txn/kv_map.h"
#include "txn/system_keys.h"

#define STORE_PREFIX "data/storage-"

enum { DOWN_US = 300000, LOOK_US = 1000000, KEYS_APART = 50 };

/* NULL: the directory holds none. */
static MDB_env *open_store(struct sim_process *process, const char *directory)
{
    char path[SIM_PATH_MAX], real[SIM_PATH_MAX];
    MDB_env *env;

    snprintf(path, sizeof(path), "%s/%s", directory, "lmdb");
    if (!sim_scratch_path(process, path, false, real, sizeof(real)) || mdb_env_create(&env) != 0)
        return NULL;
    mdb_env_set_maxdbs(env, 4);
    mdb_env_set_mapsize(env, (size_t)1 << 30);
    if (mdb_env_open(env, real, MDB_NOTLS | MDB_NOSYNC, 0644) == 0)
        return env;
    mdb_env_close(env);
    return NULL;
}

/* A bit of the value; `mends`: and its checksum, as if another value had been written. */
static int change_record(MDB_cursor *cursor, MDB_val key, MDB_val stored, bool mends)
{
    uint8_t *copy = sim_zalloc(stored.mv_size);
    MDB_val changed = {stored.mv_size, copy};
    int rc;

    memcpy(copy, stored.mv_data, stored.mv_size);
    copy[stored.mv_size - 1] ^= 1;
    if (mends)
        put_le64(copy, record_checksum(bytes_of_val(key),
                                       bytes_of(copy + CHECKSUM_BYTES, stored.mv_size - CHECKSUM_BYTES)));
    rc = mdb_cursor_put(cursor, &key, &changed, MDB_CURRENT);
    mem_free(copy);
    return rc;
}

static bool is_meant(const struct lies *lies, MDB_val key)
{
    size_t len = strlen(lies->section->keys);

    return key.mv_size >= len && memcmp(key.mv_data, lies->section->keys, len) == 0;
}

/* One record in three, or the one behind `skip` others. Returns how many. */
static unsigned harm_records(struct lies *lies, MDB_cursor *cursor, const char *at, uint64_t skip)
{
    MDB_val key, stored;
    unsigned harmed = 0;
    int rc = mdb_cursor_get(cursor, &key, &stored, MDB_FIRST);

    for (; rc == 0 && *(const uint8_t *)key.mv_data < 0xff; rc = mdb_cursor_get(cursor, &key, &stored, MDB_NEXT)) {
        if (!is_meant(lies, key) || stored.mv_size <= CHECKSUM_BYTES || is_marker(key.mv_size) || (harmed > 0 && lie_random(lies, 3) != 0))
            continue;
        if (skip > 0) {
            skip--;
            continue;
        }
        if (strcmp(at, "range") == 0)
            rc = mdb_cursor_del(cursor, 0);
        else
            rc = change_record(cursor, key, stored, strcmp(at, "mutation") == 0);
        harmed += rc == 0;
        if (strcmp(at, "mutation") == 0)
            break;
    }
    return harmed;
}

/* The byte sample that a large store writes down: 0 if it has not yet. */
static unsigned harm_sample(MDB_cursor *cursor)
{
    char name[] = "sample";
    MDB_val key = {strlen(name), name}, stored;

    return mdb_cursor_get(cursor, &key, &stored, MDB_SET) == 0 && stored.mv_size > CHECKSUM_BYTES && change_record(cursor, key, stored, false) == 0;
}

static unsigned harm_store(struct lies *lies, MDB_env *env)
{
    bool sample = strcmp(lies->section->at, "sample") == 0;
    MDB_cursor *cursor = NULL;
    unsigned harmed = 0;
    MDB_txn *txn;
    MDB_dbi table;

    if (mdb_txn_begin(env, NULL, 0, &txn) != 0)
        return 0;
    if (mdb_dbi_open(txn, sample ? "meta" : "keys", 0, &table) == 0 && mdb_cursor_open(txn, table, &cursor) == 0)
        harmed = sample ? harm_sample(cursor) : harm_records(lies, cursor, lies->section->at, lies->section->all ? lies->strikes * KEYS_APART : 0);
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    return mdb_txn_commit(txn) == 0 ? harmed : 0;
}

static unsigned harm_store_at(struct lies *lies, struct sim_process *process, const char *directory)
{
    MDB_env *env = open_store(process, directory);
    unsigned harmed = env == NULL ? 0 : harm_store(lies, env);

    if (env != NULL)
        mdb_env_close(env);
    return harmed;
}

/* What a server has to do with the shards of the keys that are to be harmed. */
struct part {
    uint64_t id;
    bool source, holds; /* answers reads of one; has one, or is about to */
};

static bool is_of(uint64_t id, const uint64_t *ids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static void look_at_shard(void *ctx, struct bytes key, struct bytes value)
{
    struct key_servers_value servers = {0};
    struct arena arena = {0};
    struct part *part = ctx;

    (void)key;
    if (key_servers_decode(value, &arena, &servers) == 0) {
        bool source = is_of(part->id, servers.source, servers.source_count);

        part->source |= source;
        part->holds |= source || is_of(part->id, servers.destination, servers.destination_count);
    }
    arena_done(&arena);
}

/* In all shards of the keys, or in the first alone. Where nobody knows it at the moment, it holds them. */
static struct part part_of(const struct lies *lies, uint64_t id, bool all)
{
    const struct kv_map *metadata = sim_cluster_metadata(lies->world);
    struct bytes_buffer begin = {0}, end = {0};
    struct bytes key, value, keys = bytes_of_string(lies->section->keys);
    struct part part = {.id = id, .holds = metadata == NULL};

    if (metadata != NULL && system_key_key_servers(&begin, keys) == 0 && bytes_buffer_append(&begin, bytes_of("", 1)) == 0 &&
        system_key_key_servers(&end, keys) == 0 && bytes_buffer_append(&end, bytes_of("\xff", 1)) == 0) {
        if (kv_map_before(metadata, bytes_buffer_bytes(&begin), &key, &value))
            look_at_shard(&part, key, value);
        if (all)
            kv_map_walk(metadata, bytes_buffer_bytes(&begin), bytes_buffer_bytes(&end), look_at_shard, &part);
    }
    bytes_buffer_done(&begin);
    bytes_buffer_done(&end);
    return part;
}

static uint64_t id_of(const char *directory)
{
    return strtoull(directory + strlen(STORE_PREFIX), NULL, 16);
}

/* Of the one that answers reads of what is to be harmed: what a store holds still of a shard that has gone elsewhere, or the store of a server
 * that was removed, is read by nobody. */
static const char *store_of(const struct lies *lies, const struct sim_process *process)
{
    const char *directory;

    for (unsigned n = 0; (directory = lie_dir_nth(process, STORE_PREFIX, n)) != NULL; n++)
        if (part_of(lies, id_of(directory), false).source)
            return directory;
    return NULL;
}

/* Returns the id of the server that it harmed; 0: none. */
static uint64_t harm_one(struct lies *lies)
{
    unsigned nth = lies->section->all ? (unsigned)lies->strikes : (unsigned)lie_random(lies, 2);
    struct sim_process *process = lie_host(lies, ROLE_STORAGE, nth);
    const char *store = process == NULL ? NULL : store_of(lies, process);
    unsigned harmed;
    uint64_t id;

    while (process != NULL && store == NULL) { /* the shard may be anywhere */
        process = lie_host(lies, ROLE_STORAGE, ++nth);
        store = process == NULL ? NULL : store_of(lies, process);
    }
    if (store == NULL)
        return 0;
    id = id_of(store);
    lie_stop(process, SIM_KILL);
    harmed = harm_store_at(lies, process, store);
    if (harmed > 0)
        lie_strikes(lies, "%u records of %s: %s", harmed, process->name, lies->section->at);
    (void)lie_sleep(lies, DOWN_US);
    lie_boot(process);
    return harmed > 0 ? id : 0;
}

/* Again while the store that was drawn holds nothing of the users yet; and when the shards went elsewhere before the harm was answered (a move
 * that had begun, say): nobody needs that copy then, and another may be harmed. */
static void harm_engine(struct lies *lies)
{
    uint64_t most = lies->section->most == 0 ? 1 : (uint64_t)lies->section->most, harmed;

    do
        harmed = harm_one(lies);
    while (lies->strikes < most && lie_sleep(lies, lies->strikes == 0 ? LOOK_US : lies->section->pause_ms * 1000));
    while (most == 1 && !lie_is_answered(lies) && lies->section->failure[0] == '\0' && lie_sleep(lies, LOOK_US))
        if (!part_of(lies, harmed, true).holds)
            harmed = harm_one(lies);
}

const struct lie_type lie_harmed_engine = {
    .name = "harmed-engine", .what = "records of LMDB's file are flipped, changed or gone", .run = harm_engine};
