/* Walking keys in order, down into the markers of long keys and up again (engine_lmdb_keys.c has the order's proof).
 *
 * Level 0 is the table of keys; each further level is the child of the marker that the level above stands on. The key is put
 * together in a buffer only below level 0: a short key is borrowed from the page. The empty key comes before the first entry
 * and is looked up by itself. */
#include <assert.h>
#include <errno.h>

#include "net/error.h"
#include "net/mem.h"
#include "storage/engine_lmdb.h"

struct level {
    MDB_cursor *cursor; /* owned */
    uint64_t child;
};

struct engine_lmdb_cursor {
    struct engine_cursor cursor;
    MDB_txn *txn; /* the turn's, borrowed */
    bool reverse;
    bool on_empty_key, ended;
    unsigned depth; /* levels in use are 0..depth */
    unsigned opened; /* levels that have a cursor */
    struct level *levels; /* owned: one, or LEVELS_MAX once a long key was met */
    uint8_t *above;       /* owned: what the levels above stand on, depth * CHUNK_BYTES, then the rest */
    MDB_val stored;
};

static struct engine_lmdb_cursor *cursor_of(struct engine_cursor *cursor)
{
    return container_of(cursor, struct engine_lmdb_cursor, cursor);
}

static struct engine_lmdb *engine_of(const struct engine_lmdb_cursor *self)
{
    return engine_lmdb_of(self->cursor.engine);
}

MDB_val lmdb_cursor_stored(const struct engine_cursor *cursor)
{
    return container_of(cursor, const struct engine_lmdb_cursor, cursor)->stored;
}

/* ---- life ---- */

static int open_level(struct engine_lmdb_cursor *self, unsigned index, uint64_t child)
{
    struct engine_lmdb *engine = engine_of(self);

    assert(index < LEVELS_MAX);
    self->levels[index].child = child;
    if (index < self->opened)
        return 0;
    assert(index == self->opened);
    if (mdb_cursor_open(self->txn, index == 0 ? engine->tables.keys : engine->tables.chunks,
                        &self->levels[index].cursor) != 0)
        return ENOMEM;
    self->opened++;
    return 0;
}

int lmdb_cursor_open(struct engine *base, bool reverse, struct engine_cursor **ret_cursor)
{
    struct engine_lmdb *engine = engine_lmdb_of(base);
    struct engine_lmdb_cursor *self = mem_zalloc(sizeof(*self));
    int error;

    if (self == NULL)
        return ERROR_OUT_OF_MEMORY;
    self->cursor.engine = base;
    self->reverse = reverse;
    self->ended = true;
    self->levels = mem_zalloc(sizeof(*self->levels));
    error = self->levels == NULL ? ERROR_OUT_OF_MEMORY : lmdb_reader(engine, &self->txn);
    if (error == 0 && open_level(self, 0, 0) != 0)
        error = ERROR_OUT_OF_MEMORY;
    if (error != 0) {
        mem_free(self->levels);
        mem_free(self);
        return error;
    }
    engine->open_cursors++;
    *ret_cursor = &self->cursor;
    return 0;
}

void lmdb_cursor_close(struct engine_cursor *cursor)
{
    struct engine_lmdb_cursor *self = cursor_of(cursor);

    for (unsigned i = 0; i < self->opened; i++)
        mdb_cursor_close(self->levels[i].cursor);
    engine_of(self)->open_cursors--;
    mem_free(self->levels);
    mem_free(self->above);
    mem_free(self);
}

static int make_room(struct engine_lmdb_cursor *self)
{
    struct level *levels;

    if (self->above != NULL)
        return 0;
    levels = mem_realloc(self->levels, LEVELS_MAX * sizeof(*levels));
    if (levels == NULL)
        return ENOMEM;
    self->levels = levels;
    self->above = mem_alloc(LEVELS_MAX * CHUNK_BYTES);
    return self->above == NULL ? ENOMEM : 0;
}

/* ---- within a level ---- */

/* The cursor's entry as a rest; MDB_NOTFOUND when it lies outside of the level. */
static int in_level(const struct level *level, int rc, MDB_val key, struct bytes *ret_rest)
{
    const uint8_t *bytes = key.mv_data;

    if (rc != 0)
        return rc;
    if (level->child == 0) {
        *ret_rest = bytes_of_val(key);
        return 0;
    }
    if (key.mv_size <= CHILD_ID_BYTES || get_be64(bytes) != level->child)
        return MDB_NOTFOUND;
    *ret_rest = bytes_of(bytes + CHILD_ID_BYTES, key.mv_size - CHILD_ID_BYTES);
    return 0;
}

static int step(struct engine_lmdb_cursor *self, MDB_cursor_op op, struct bytes *ret_rest)
{
    struct level *level = &self->levels[self->depth];
    MDB_val key;
    int rc = mdb_cursor_get(level->cursor, &key, &self->stored, op);

    return in_level(level, rc, key, ret_rest);
}

static int first_of_level(struct engine_lmdb_cursor *self, struct bytes *ret_rest)
{
    struct level *level = &self->levels[self->depth];
    uint8_t into[STORED_KEY_MAX];
    MDB_val key;
    int rc;

    if (level->child == 0)
        return step(self, MDB_FIRST, ret_rest);
    key = stored_key(level->child, bytes_none(), false, into);
    rc = mdb_cursor_get(level->cursor, &key, &self->stored, MDB_SET_RANGE);
    return in_level(level, rc, key, ret_rest);
}

static int last_of_level(struct engine_lmdb_cursor *self, struct bytes *ret_rest)
{
    struct level *level = &self->levels[self->depth];
    uint8_t into[STORED_KEY_MAX];
    MDB_val key;
    int rc;

    if (level->child == 0)
        return step(self, MDB_LAST, ret_rest);
    key = stored_key(level->child + 1, bytes_none(), false, into);
    rc = mdb_cursor_get(level->cursor, &key, &self->stored, MDB_SET_RANGE);
    if (rc != 0 && rc != MDB_NOTFOUND)
        return rc;
    return step(self, rc == 0 ? MDB_PREV : MDB_LAST, ret_rest);
}

/* ---- between levels ---- */

static int end_of_level(struct engine_lmdb_cursor *self, struct bytes *ret_rest)
{
    return self->reverse ? last_of_level(self, ret_rest) : first_of_level(self, ret_rest);
}

/* Enters the marker that the cursor stands on. */
static int enter(struct engine_lmdb_cursor *self, struct bytes rest)
{
    uint8_t into[STORED_KEY_MAX];
    MDB_val key = stored_key(self->levels[self->depth].child, bytes_of(rest.ptr, CHUNK_BYTES), true, into);
    uint64_t child;
    int rc;

    if (!marker_open(key, self->stored, &child) || self->depth + 1 == LEVELS_MAX)
        return ERROR_FILE_CORRUPT;
    rc = make_room(self);
    if (rc != 0)
        return rc;
    memcpy(self->above + self->depth * CHUNK_BYTES, rest.ptr, CHUNK_BYTES);
    rc = open_level(self, self->depth + 1, child);
    if (rc == 0)
        self->depth++;
    return rc;
}

/* From an entry, or the lack of one, to the next record: down into markers, up where a level has ended. */
static int settle(struct engine_lmdb_cursor *self, int rc, struct bytes *ret_rest)
{
    for (;;) {
        if (rc == MDB_NOTFOUND && self->depth > 0) {
            self->depth--;
            rc = step(self, self->reverse ? MDB_PREV : MDB_NEXT, ret_rest);
        } else if (rc == 0 && is_marker(ret_rest->len)) {
            rc = enter(self, *ret_rest);
            if (rc == 0) {
                rc = end_of_level(self, ret_rest);
                if (rc == MDB_NOTFOUND)
                    return ERROR_FILE_CORRUPT; /* a child is never empty */
            }
        } else {
            return rc;
        }
    }
}

/* The first entry of the level at or after `rest`, which may be a marker that `rest` leads into. */
static int seek_in_level(struct engine_lmdb_cursor *self, struct bytes rest, bool *ret_leads_into, struct bytes *ret_rest)
{
    struct level *level = &self->levels[self->depth];
    bool longer = rest.len > CHUNK_BYTES;
    uint8_t into[STORED_KEY_MAX];
    MDB_val key, wanted;
    int rc;

    wanted = longer ? stored_key(level->child, bytes_of(rest.ptr, CHUNK_BYTES), true, into)
                    : stored_key(level->child, rest, false, into);
    key = wanted;
    rc = mdb_cursor_get(level->cursor, &key, &self->stored, MDB_SET_RANGE);
    *ret_leads_into = longer && rc == 0 && bytes_equal(bytes_of_val(key), bytes_of_val(wanted));
    return in_level(level, rc, key, ret_rest);
}

static int seek_forward(struct engine_lmdb_cursor *self, struct bytes rest, struct bytes *ret_rest)
{
    bool leads_into;
    int rc;

    if (rest.len == 0)
        return settle(self, first_of_level(self, ret_rest), ret_rest);
    for (;;) {
        rc = seek_in_level(self, rest, &leads_into, ret_rest);
        if (rc != 0 || !leads_into)
            return settle(self, rc, ret_rest);
        rc = enter(self, *ret_rest);
        if (rc != 0)
            return rc;
        rest = bytes_of(rest.ptr + CHUNK_BYTES, rest.len - CHUNK_BYTES);
    }
}

/* The last record below: the entry before the place where `rest` is or would be, unless a marker holds some that are below. */
static int seek_backward(struct engine_lmdb_cursor *self, struct bytes rest, struct bytes *ret_rest)
{
    bool leads_into;
    int rc;

    if (rest.len == 0)
        return MDB_NOTFOUND;
    for (;;) {
        rc = seek_in_level(self, rest, &leads_into, ret_rest);
        if (rc != 0 && rc != MDB_NOTFOUND)
            return rc;
        if (rc == MDB_NOTFOUND)
            return settle(self, last_of_level(self, ret_rest), ret_rest);
        if (!leads_into)
            return settle(self, step(self, MDB_PREV, ret_rest), ret_rest);
        rc = enter(self, *ret_rest);
        if (rc != 0)
            return rc;
        rest = bytes_of(rest.ptr + CHUNK_BYTES, rest.len - CHUNK_BYTES);
    }
}

/* ---- the face ---- */

static struct bytes whole_key(struct engine_lmdb_cursor *self, struct bytes rest)
{
    if (self->depth == 0)
        return rest;
    memcpy(self->above + self->depth * CHUNK_BYTES, rest.ptr, rest.len);
    return bytes_of(self->above, self->depth * CHUNK_BYTES + rest.len);
}

static int give_out(struct engine_lmdb_cursor *self, int rc, struct bytes rest, bool *ret_found, struct bytes *ret_key,
                    struct bytes *ret_value)
{
    struct engine_lmdb *engine = engine_of(self);

    *ret_found = false;
    self->ended = rc == MDB_NOTFOUND;
    if (rc == ERROR_FILE_CORRUPT)
        return lmdb_damaged(engine, bytes_none(), "marker");
    if (rc == MDB_NOTFOUND)
        return 0;
    if (rc != 0)
        return lmdb_error(engine, rc, "cursor");
    *ret_key = self->on_empty_key ? bytes_none() : whole_key(self, rest);
    if (!record_open(*ret_key, self->stored, ret_value))
        return lmdb_damaged(engine, *ret_key, "record");
    *ret_found = true;
    return 0;
}

/* MDB_NOTFOUND when there is no empty key. */
static int empty_key(struct engine_lmdb_cursor *self)
{
    uint8_t into[STORED_KEY_MAX];
    MDB_val key = stored_key(0, bytes_none(), false, into);
    int rc = mdb_get(self->txn, engine_of(self)->tables.chunks, &key, &self->stored);

    self->on_empty_key = rc == 0;
    return rc;
}

static void guard_enter(struct engine_lmdb *engine)
{
    atomic_store_explicit(&engine->guard->reading, 1, memory_order_relaxed);
}

static void guard_leave(struct engine_lmdb *engine)
{
    atomic_store_explicit(&engine->guard->reading, 0, memory_order_relaxed);
}

int lmdb_cursor_seek(struct engine_cursor *cursor, struct bytes key, bool *ret_found, struct bytes *ret_key,
                     struct bytes *ret_value)
{
    struct engine_lmdb_cursor *self = cursor_of(cursor);
    struct engine_lmdb *engine = engine_of(self);
    struct bytes rest = bytes_none();
    int rc;

    guard_enter(engine);
    self->depth = 0;
    self->on_empty_key = false;
    rc = MDB_NOTFOUND;
    if (!self->reverse && key.len == 0)
        rc = empty_key(self);
    if (rc == MDB_NOTFOUND)
        rc = self->reverse ? seek_backward(self, key, &rest) : seek_forward(self, key, &rest);
    if (rc == MDB_NOTFOUND && self->reverse && key.len > 0)
        rc = empty_key(self);
    rc = give_out(self, rc, rest, ret_found, ret_key, ret_value);
    guard_leave(engine);
    return rc;
}

static int go_on(struct engine_lmdb_cursor *self, struct bytes *ret_rest)
{
    int rc;

    if (self->on_empty_key) {
        self->on_empty_key = false;
        self->depth = 0;
        return self->reverse ? MDB_NOTFOUND : settle(self, first_of_level(self, ret_rest), ret_rest);
    }
    rc = settle(self, step(self, self->reverse ? MDB_PREV : MDB_NEXT, ret_rest), ret_rest);
    if (rc == MDB_NOTFOUND && self->reverse)
        rc = empty_key(self);
    return rc;
}

int lmdb_cursor_next(struct engine_cursor *cursor, bool *ret_found, struct bytes *ret_key, struct bytes *ret_value)
{
    struct engine_lmdb_cursor *self = cursor_of(cursor);
    struct engine_lmdb *engine = engine_of(self);
    struct bytes rest = bytes_none();
    int rc;

    if (self->ended) {
        *ret_found = false;
        return 0;
    }
    guard_enter(engine);
    rc = go_on(self, &rest);
    rc = give_out(self, rc, rest, ret_found, ret_key, ret_value);
    guard_leave(engine);
    return rc;
}
