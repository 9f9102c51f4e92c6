/* The LMDB engine: opening and closing, the turn's read transaction, commits as jobs.
 *
 * Tables (LMDB's named databases), byte order little-endian:
 *
 *   keys    key (1..500 bytes)                    record: 8 checksum | value
 *           500 bytes, 00 (a marker)              8 checksum | 8 child id
 *   chunks  8 child id (big-endian) | rest        record, or a marker as above
 *           8 zeros (the empty key)               record
 *   meta    name                                  record
 *   own     "format"                              4 format
 *           "tally"                               8 checksum | 8 next child id | 256 * {8 keys, 8 bytes, 8 digest}
 *
 * A record is valid if and only if its checksum is XXH3-64(value, seed = XXH3-64(whole key)); a marker's is the same over its
 * stored key. The tally counts the keys by first byte; the digest is the sum of their records' checksums. It is written in
 * each commit's transaction, so it tells when a damaged page has lost keys, which no checksum of a record can.
 *
 * Reads use one LMDB transaction a turn, renewed by the first read and reset by engine_release. A commit that completes within a
 * turn leaves that turn's older transaction to those who borrowed from it and lets later reads begin a new one: once done() was
 * called, nobody reads the old state. Between the end of the job and done() a read may see the new state already.
 *
 * LMDB never writes through its map (no MDB_WRITEMAP), so a stray pointer can't damage the file.
 *
 * A damaged page can crash the process inside LMDB, at each start again. The file "guard" is a shared page that says what was
 * going on inside LMDB when the process died; it survives the process, and need not survive the machine. Three deaths in a row
 * inside LMDB without a finished commit between them mark the engine as lost. One or two are forgiven: a kill from outside may
 * hit a commit. */
#include "storage/engine_lmdb.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/buggify.h"
#include "net/error.h"
#include "net/mem.h"
#include "net/trace.h"

enum {
    DEATHS_MAX = 3,
    TALLY_BYTES = CHECKSUM_BYTES + 8 + BUCKETS * 24,
    READERS_MAX = 16,
    GUARD_BYTES = 4096,
    MAP_GROWTH_MIN = 16 << 20,
    MAP_BYTES_SMALL = 160 << 10 /* in the simulator */
};

static const struct engine_ops lmdb_ops;

int lmdb_error(struct engine_lmdb *engine, int rc, const char *what)
{
    if (rc == 0)
        return 0;
    if (rc == ENOMEM || rc == ERROR_OUT_OF_MEMORY)
        return ERROR_OUT_OF_MEMORY;
    TRACE(engine->engine.env, SEVERITY_WARN_ALWAYS, "EngineError", {"What", trace_str(what)},
          {"Directory", trace_str(engine->directory)}, {"Error", trace_str(rc > 1000 ? error_name(rc) : mdb_strerror(rc))});
    switch (rc) {
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_PAGE_FULL:
    case MDB_CURSOR_FULL:
    case MDB_INCOMPATIBLE:
    case ERROR_FILE_CORRUPT:
        return ERROR_FILE_CORRUPT;
    case MDB_VERSION_MISMATCH:
    case ERROR_UNSUPPORTED_FORMAT_VERSION:
        return ERROR_UNSUPPORTED_FORMAT_VERSION;
    default:
        return ERROR_IO_ERROR;
    }
}

int lmdb_damaged(struct engine_lmdb *engine, struct bytes key, const char *what)
{
    engine->damaged_records++;
    TRACE(engine->engine.env, SEVERITY_WARN_ALWAYS, "EngineDamaged", {"What", trace_str(what)}, {"Key", trace_bytes(key)},
          {"Directory", trace_str(engine->directory)});
    return ERROR_FILE_CORRUPT;
}

/* ---- the tally ---- */

static void tally_encode(const struct tally *tally, uint8_t out[TALLY_BYTES])
{
    uint8_t *at = out + CHECKSUM_BYTES + 8;

    put_le64(out + CHECKSUM_BYTES, tally->next_child);
    for (unsigned i = 0; i < BUCKETS; i++, at += 24) {
        put_le64(at, tally->buckets[i].keys);
        put_le64(at + 8, tally->buckets[i].bytes);
        put_le64(at + 16, tally->buckets[i].digest);
    }
    put_le64(out, record_checksum(BYTES_LITERAL("tally"), bytes_of(out + CHECKSUM_BYTES, TALLY_BYTES - CHECKSUM_BYTES)));
}

static void tally_decode(const uint8_t *in, struct tally *ret_tally)
{
    const uint8_t *at = in + CHECKSUM_BYTES + 8;

    ret_tally->next_child = get_le64(in + CHECKSUM_BYTES);
    for (unsigned i = 0; i < BUCKETS; i++, at += 24)
        ret_tally->buckets[i] = (struct bucket){get_le64(at), get_le64(at + 8), get_le64(at + 16)};
}

int tally_read(MDB_txn *txn, MDB_dbi own, struct tally *ret_tally)
{
    MDB_val key = val_of(BYTES_LITERAL("tally")), stored;
    struct bytes value;
    int rc = mdb_get(txn, own, &key, &stored);

    if (rc == MDB_NOTFOUND)
        return ERROR_FILE_CORRUPT;
    if (rc != 0)
        return rc;
    if (stored.mv_size != TALLY_BYTES || !record_open(BYTES_LITERAL("tally"), stored, &value))
        return ERROR_FILE_CORRUPT;
    tally_decode(stored.mv_data, ret_tally);
    return 0;
}

static int tally_write(MDB_txn *txn, MDB_dbi own, const struct tally *tally)
{
    uint8_t encoded[TALLY_BYTES];
    MDB_val key = val_of(BYTES_LITERAL("tally")), stored = {sizeof(encoded), encoded};

    tally_encode(tally, encoded);
    return mdb_put(txn, own, &key, &stored, 0);
}

/* ---- the guard ---- */

static void guard_map(struct engine_lmdb *engine, const char *real)
{
    char path[ENGINE_PATH_MAX + 16];
    void *page = MAP_FAILED;
    int fd;

    snprintf(path, sizeof(path), "%s/guard", real);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0 && ftruncate(fd, GUARD_BYTES) == 0)
        page = mmap(NULL, GUARD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    engine->guard = page == MAP_FAILED ? &engine->guard_instead : page;
}

static void guard_unmap(struct engine_lmdb *engine)
{
    if (engine->guard != NULL && engine->guard != &engine->guard_instead)
        munmap(engine->guard, GUARD_BYTES);
    engine->guard = NULL;
}

/* Counts the last life's death, if it was one inside LMDB. */
static int guard_start(struct engine_lmdb *engine)
{
    struct guard *guard = engine->guard;
    uint32_t deaths = atomic_load(&guard->deaths);

    if (atomic_exchange(&guard->reading, 0) != 0 || atomic_exchange(&guard->committing, 0) != 0)
        deaths++;
    atomic_store(&guard->committing, 0);
    atomic_store(&guard->deaths, deaths);
    if (deaths < DEATHS_MAX)
        return 0;
    TRACE(engine->engine.env, SEVERITY_WARN_ALWAYS, "EngineLost", {"Directory", trace_str(engine->directory)},
          {"CrashesInside", trace_int(deaths)});
    return ERROR_FILE_CORRUPT;
}

static void set_reading(struct engine_lmdb *engine, uint32_t value)
{
    atomic_store_explicit(&engine->guard->reading, value, memory_order_relaxed);
}

/* ---- opening ---- */

static int check_format(MDB_txn *txn, MDB_dbi own, bool *ret_fresh)
{
    MDB_val key = val_of(BYTES_LITERAL("format")), stored;
    uint8_t format[4];
    int rc = mdb_get(txn, own, &key, &stored);

    *ret_fresh = rc == MDB_NOTFOUND;
    if (rc == 0 && stored.mv_size != sizeof(format))
        return ERROR_FILE_CORRUPT;
    if (rc == 0)
        return get_le32(stored.mv_data) > ENGINE_FORMAT ? ERROR_UNSUPPORTED_FORMAT_VERSION : 0;
    if (rc != MDB_NOTFOUND)
        return rc;
    put_le32(format, ENGINE_FORMAT);
    stored = (MDB_val){sizeof(format), format};
    return mdb_put(txn, own, &key, &stored, 0);
}

static int open_tables(struct engine_lmdb *engine, MDB_txn *txn)
{
    struct lmdb_tables *tables = &engine->tables;
    bool fresh;
    MDB_envinfo info;
    int rc = mdb_dbi_open(txn, "own", MDB_CREATE, &tables->own);

    if (rc == 0)
        rc = check_format(txn, tables->own, &fresh);
    mdb_env_info(engine->lmdb, &info);
    if (rc == 0 && fresh && info.me_last_txnid > 0)
        return ERROR_FILE_CORRUPT; /* the first transaction writes the format: it was lost */
    if (rc == 0)
        rc = mdb_dbi_open(txn, "keys", fresh ? MDB_CREATE : 0, &tables->keys);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "chunks", fresh ? MDB_CREATE : 0, &tables->chunks);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "meta", fresh ? MDB_CREATE : 0, &tables->meta);
    if (rc == MDB_NOTFOUND)
        return ERROR_FILE_CORRUPT;
    if (rc != 0)
        return rc;
    if (!fresh)
        return tally_read(txn, tables->own, &engine->tally);
    engine->tally = (struct tally){.next_child = 1};
    return tally_write(txn, tables->own, &engine->tally);
}

static int open_environment(struct engine_lmdb *engine, const char *real)
{
    const struct knobs *knobs = &engine->engine.env->knobs;
    size_t map_bytes = (size_t)knobs->storage_engine_map_bytes;
    unsigned flags = MDB_NOTLS | MDB_NORDAHEAD;
    MDB_txn *txn;
    int rc = mdb_env_create(&engine->lmdb), dead;

    if (knobs->storage_engine_nosync != 0)
        flags |= MDB_NOSYNC | MDB_NOMETASYNC;
    if (rc == 0)
        rc = mdb_env_set_maxdbs(engine->lmdb, 4);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(engine->lmdb, READERS_MAX);
    if (BUGGIFY(engine->engine.env, "the map of LMDB is small and must grow"))
        map_bytes = MAP_BYTES_SMALL;
    if (rc == 0)
        rc = mdb_env_set_mapsize(engine->lmdb, map_bytes);
    if (rc == 0)
        rc = mdb_env_open(engine->lmdb, real, flags, 0644);
    if (rc == 0)
        rc = mdb_reader_check(engine->lmdb, &dead);
    if (rc == 0)
        rc = mdb_txn_begin(engine->lmdb, NULL, 0, &txn);
    if (rc != 0)
        return rc;
    rc = open_tables(engine, txn);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

static void free_readers(struct engine_lmdb *engine)
{
    while (engine->reader != NULL) {
        struct reader *reader = engine->reader;

        engine->reader = reader->next;
        mdb_txn_abort(reader->txn);
        mem_free(reader);
    }
}

static void engine_free(struct engine_lmdb *engine)
{
    free_readers(engine);
    if (engine->lmdb != NULL)
        mdb_env_close(engine->lmdb);
    guard_unmap(engine);
    mem_free(engine);
}

/* LMDB names its files by itself and never syncs a directory. `real` is a path of the machine, which no call of the env takes. */
static int sync_names(struct env *env, const char *real)
{
    int fd = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

    if (fd < 0)
        return ERROR_IO_ERROR;
    rc = env->knobs.storage_engine_nosync != 0 ? 0 : fsync(fd);
    close(fd);
    return rc == 0 ? 0 : ERROR_IO_ERROR;
}

static int open_in(struct engine_lmdb *engine, const char *real)
{
    int error, rc;

    if (mkdir(real, 0755) != 0 && errno != EEXIST)
        return ERROR_IO_ERROR;
    guard_map(engine, real);
    error = guard_start(engine);
    if (error != 0)
        return error;
    set_reading(engine, 1);
    rc = open_environment(engine, real);
    set_reading(engine, 0);
    error = lmdb_error(engine, rc, "open");
    return error != 0 ? error : sync_names(engine->engine.env, real);
}

static void run_closed(struct ready *ready);
static void run_grow(struct ready *ready);

int engine_lmdb_open(struct env *env, const char *directory, struct engine **ret_engine)
{
    struct engine_lmdb *engine = mem_zalloc(sizeof(*engine));
    char real[ENGINE_PATH_MAX];
    int error;

    if (engine == NULL)
        return ERROR_OUT_OF_MEMORY;
    engine->engine = (struct engine){&lmdb_ops, env};
    engine->closed_hook.run = run_closed;
    engine->grow_hook.run = run_grow;
    snprintf(engine->directory, sizeof(engine->directory), "%s", directory);
    error = env_real_path(env, directory, real, sizeof(real));
    if (error == 0)
        error = open_in(engine, real);
    if (error != 0) {
        engine_free(engine);
        return error;
    }
    *ret_engine = &engine->engine;
    return 0;
}

int engine_lmdb_remove(struct env *env, const char *directory)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "guard"};
    char real[ENGINE_PATH_MAX], path[ENGINE_PATH_MAX + 16];
    int error = env_real_path(env, directory, real, sizeof(real));

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && error == 0; i++) {
        snprintf(path, sizeof(path), "%s/%s", real, names[i]);
        if (unlink(path) != 0 && errno != ENOENT)
            error = ERROR_IO_ERROR;
    }
    return error;
}

/* ---- closing ---- */

static void finish_close(struct engine_lmdb *engine)
{
    env_ready(engine->engine.env, &engine->closed_hook, READY_COMMIT);
}

static void run_closed(struct ready *ready)
{
    struct engine_lmdb *engine = container_of(ready, struct engine_lmdb, closed_hook);
    void (*closed)(void *ctx) = engine->closed;
    void *ctx = engine->closed_ctx;

    engine_free(engine);
    if (closed != NULL)
        closed(ctx);
}

static void lmdb_close(struct engine *base, void (*closed)(void *ctx), void *ctx)
{
    struct engine_lmdb *engine = engine_lmdb_of(base);

    assert(!engine->closing && engine->open_cursors == 0);
    engine->closing = true;
    engine->closed = closed;
    engine->closed_ctx = ctx;
    free_readers(engine);
    if (engine->commit != NULL)
        PROBE(base->env, "LMDB closes while a commit is under way");
    if (engine->commit == NULL)
        finish_close(engine);
}

/* ---- reading ---- */

static int new_reader(struct engine_lmdb *engine)
{
    struct reader *reader = mem_zalloc(sizeof(*reader));
    int rc;

    if (reader == NULL)
        return ENOMEM;
    rc = mdb_txn_begin(engine->lmdb, NULL, MDB_RDONLY, &reader->txn);
    if (rc != 0) {
        mem_free(reader);
        return rc;
    }
    reader->active = true;
    reader->next = engine->reader;
    engine->reader = reader;
    return 0;
}

int lmdb_reader(struct engine_lmdb *engine, MDB_txn **ret_txn)
{
    int rc = 0;

    assert(!engine->closing);
    if (engine->reader == NULL) {
        rc = new_reader(engine);
    } else if (!engine->reader->active) {
        rc = mdb_txn_renew(engine->reader->txn);
        engine->reader->active = rc == 0;
    }
    if (rc != 0)
        return lmdb_error(engine, rc, "begin reading");
    *ret_txn = engine->reader->txn;
    return 0;
}

/* What was borrowed in this turn stays valid; reads from here on see the finished commit. */
static void retire_reader(struct engine_lmdb *engine)
{
    struct reader *idle = engine->reader;

    if (idle == NULL || !idle->active)
        return;
    PROBE(engine->engine.env, "a commit ends while its turn's reads are borrowed");
    while (idle != NULL && idle->active)
        idle = idle->next;
    if (idle == NULL) {
        if (new_reader(engine) == 0)
            return;
        free_readers(engine); /* without memory a borrowed value is the smaller loss: nobody holds one across done() */
        return;
    }
    for (struct reader **at = &engine->reader; *at != NULL; at = &(*at)->next)
        if (*at == idle) {
            *at = idle->next;
            break;
        }
    idle->next = engine->reader;
    engine->reader = idle;
}

static void lmdb_release(struct engine *base)
{
    struct engine_lmdb *engine = engine_lmdb_of(base);

    assert(engine->open_cursors == 0);
    for (struct reader *reader = engine->reader; reader != NULL; reader = reader->next)
        if (reader->active) {
            mdb_txn_reset(reader->txn);
            reader->active = false;
        }
}

static int lmdb_get(struct engine *base, struct bytes key, bool *ret_found, struct bytes *ret_value)
{
    struct engine_lmdb *engine = engine_lmdb_of(base);
    MDB_txn *txn;
    int rc = lmdb_reader(engine, &txn);

    if (rc != 0)
        return rc;
    set_reading(engine, 1);
    rc = lmdb_find(txn, &engine->tables, key, ret_found, ret_value);
    set_reading(engine, 0);
    if (rc == ERROR_FILE_CORRUPT)
        return lmdb_damaged(engine, key, "record");
    return rc == 0 ? 0 : lmdb_error(engine, rc, "get");
}

static int lmdb_meta_get(struct engine *base, const char *name, bool *ret_found, struct bytes *ret_value)
{
    struct engine_lmdb *engine = engine_lmdb_of(base);
    MDB_val key = val_of(bytes_of_string(name)), stored;
    MDB_txn *txn;
    int rc = lmdb_reader(engine, &txn);

    if (rc != 0)
        return rc;
    set_reading(engine, 1);
    rc = mdb_get(txn, engine->tables.meta, &key, &stored);
    set_reading(engine, 0);
    if (rc != 0 && rc != MDB_NOTFOUND)
        return lmdb_error(engine, rc, "get");
    if (rc == 0 && !record_open(bytes_of_string(name), stored, ret_value))
        return lmdb_damaged(engine, bytes_of_string(name), "meta record");
    *ret_found = rc == 0;
    return 0;
}

/* ---- committing, on a job thread ---- */

static int write_meta(MDB_txn *txn, MDB_dbi table, const struct engine_meta *meta)
{
    struct bytes name = bytes_of_string(meta->name);
    MDB_val key = val_of(name), stored = {CHECKSUM_BYTES + meta->value.len, NULL};
    int rc;

    if (meta->value.len == 0) {
        rc = mdb_del(txn, table, &key, NULL);
        return rc == MDB_NOTFOUND ? 0 : rc;
    }
    rc = mdb_put(txn, table, &key, &stored, MDB_RESERVE);
    if (rc != 0)
        return rc;
    put_le64(stored.mv_data, record_checksum(name, meta->value));
    memcpy((uint8_t *)stored.mv_data + CHECKSUM_BYTES, meta->value.ptr, meta->value.len);
    return 0;
}

static int write_changes(struct writing *writing, const struct engine_commit *commit)
{
    int rc = 0;

    for (size_t i = 0; i < commit->change_count && rc == 0; i++) {
        const struct engine_change *change = &commit->changes[i];

        switch (change->type) {
        case ENGINE_SET:
            rc = writing_set(writing, change->key, change->value);
            break;
        case ENGINE_CLEAR:
            rc = writing_clear(writing, change->key);
            break;
        case ENGINE_CLEAR_RANGE:
            rc = writing_clear_range(writing, change->key, change->value);
            break;
        }
    }
    return rc;
}

static int write_all(struct engine_lmdb *engine, MDB_txn *txn)
{
    struct writing writing = {.txn = txn, .tables = &engine->tables, .tally = &engine->job_tally,
                              .clear_bytes_max = engine->commit->clear_bytes_max};
    const struct engine_commit *commit = engine->commit;
    int rc = mdb_cursor_open(txn, engine->tables.keys, &writing.keys);

    if (rc == 0)
        rc = mdb_cursor_open(txn, engine->tables.chunks, &writing.chunks);
    if (rc == 0)
        rc = write_changes(&writing, commit);
    for (size_t i = 0; i < commit->meta_count && rc == 0; i++)
        rc = write_meta(txn, engine->tables.meta, &commit->meta[i]);
    if (rc == 0)
        rc = tally_write(txn, engine->tables.own, &engine->job_tally);
    if (writing.keys != NULL)
        mdb_cursor_close(writing.keys);
    if (writing.chunks != NULL)
        mdb_cursor_close(writing.chunks);
    return rc;
}

/* LMDB's transactions belong to a thread, so it begins and ends here. */
static void commit_run(struct env_job *job)
{
    struct engine_commit *commit = container_of(job, struct engine_commit, job);
    struct engine_lmdb *engine = engine_lmdb_of(commit->engine);
    MDB_txn *txn;
    int rc;

    atomic_store(&engine->guard->committing, 1);
    rc = mdb_txn_begin(engine->lmdb, NULL, 0, &txn);
    if (rc == 0) {
        rc = write_all(engine, txn);
        if (rc == 0)
            rc = mdb_txn_commit(txn);
        else
            mdb_txn_abort(txn);
    }
    if (rc == 0)
        atomic_store(&engine->guard->deaths, 0);
    atomic_store(&engine->guard->committing, 0);
    commit->error = rc;
}

/* ---- committing, on the loop ---- */

static void start_job(struct engine_lmdb *engine)
{
    engine->job_tally = engine->tally;
    env_job_start(engine->engine.env, &engine->commit->job);
}

static void finish_commit(struct engine_lmdb *engine, int error)
{
    struct engine_commit *commit = engine->commit;

    engine->commit = NULL;
    if (error == 0) {
        engine->tally = engine->job_tally;
        if (!engine->closing)
            retire_reader(engine);
    }
    if (engine->closing)
        finish_close(engine);
    commit->error = error;
    commit->done(commit, error); /* may free it, start the next one or close the engine */
}

/* The map can grow only while nobody reads. */
static void run_grow(struct ready *ready)
{
    struct engine_lmdb *engine = container_of(ready, struct engine_lmdb, grow_hook);
    MDB_envinfo info;
    int rc;

    for (struct reader *reader = engine->reader; reader != NULL; reader = reader->next)
        if (reader->active) {
            env_ready(engine->engine.env, &engine->grow_hook, READY_READ);
            return;
        }
    mdb_env_info(engine->lmdb, &info);
    rc = mdb_env_set_mapsize(engine->lmdb, info.me_mapsize * 2 > MAP_GROWTH_MIN ? info.me_mapsize * 2 : MAP_GROWTH_MIN);
    PROBE(engine->engine.env, "a commit is done again in a larger map");
    if (rc == 0)
        start_job(engine);
    else
        finish_commit(engine, lmdb_error(engine, rc, "grow"));
}

static void commit_done(struct env_job *job)
{
    struct engine_commit *commit = container_of(job, struct engine_commit, job);
    struct engine_lmdb *engine = engine_lmdb_of(commit->engine);

    if (commit->error == MDB_MAP_FULL && !engine->closing) {
        env_turn_end(engine->engine.env, &engine->grow_hook);
        return;
    }
    if (commit->error == ERROR_FILE_CORRUPT)
        engine->damaged_records++;
    if (commit->error == 0 && BUGGIFY_DEATH(engine->engine.env, 500, "a commit of LMDB says that it failed, and it is there"))
        commit->error = EIO;
    finish_commit(engine, lmdb_error(engine, commit->error, "commit"));
}

static void lmdb_commit_start(struct engine *base, struct engine_commit *commit)
{
    struct engine_lmdb *engine = engine_lmdb_of(base);

    assert(engine->commit == NULL && !engine->closing);
    engine->commit = commit;
    commit->job = (struct env_job){
        .run = commit_run, .done = commit_done, .priority = commit->urgent ? ENV_JOB_NORMAL : ENV_JOB_IDLE};
    start_job(engine);
}

static void lmdb_hurry(struct engine *base)
{
    struct engine_lmdb *engine = engine_lmdb_of(base);

    if (engine->commit == NULL || engine->commit->urgent)
        return;
    engine->commit->urgent = true;
    env_job_hurry(base->env, &engine->commit->job);
}

/* ---- status ---- */

static void lmdb_status(struct engine *base, struct engine_status *ret_status)
{
    struct engine_lmdb *engine = engine_lmdb_of(base);
    struct engine_status status = {
        .damaged_records = engine->damaged_records, .commit_under_way = engine->commit != NULL};
    struct env_space space;
    MDB_envinfo info;
    MDB_stat stat;

    for (unsigned i = 0; i < BUCKETS; i++) {
        status.keys += engine->tally.buckets[i].keys;
        status.bytes += engine->tally.buckets[i].bytes;
    }
    mdb_env_info(engine->lmdb, &info);
    mdb_env_stat(engine->lmdb, &stat);
    status.file_bytes = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
    if (env_dir_space(base->env, engine->directory, &space) == 0)
        status.free_bytes = space.free_bytes;
    *ret_status = status;
}

static const struct engine_ops lmdb_ops = {
    .close = lmdb_close,
    .get = lmdb_get,
    .meta_get = lmdb_meta_get,
    .cursor_open = lmdb_cursor_open,
    .cursor_seek = lmdb_cursor_seek,
    .cursor_next = lmdb_cursor_next,
    .cursor_close = lmdb_cursor_close,
    .release = lmdb_release,
    .commit_start = lmdb_commit_start,
    .hurry = lmdb_hurry,
    .status = lmdb_status,
    .check = lmdb_check,
};
