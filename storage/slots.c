/* Two slots of one file, written in turn; the newest valid one is the record.
 *
 * Slot i lies at offset 4096 * i:
 *
 *    0  8  XXH3-64 of [8, 24 + length), seeded with i
 *    8  8  sequence, from 1; the next record has the next number and goes to the other slot
 *   16  4  length of the record
 *   20  4  "Slot"
 *   24  .  the record
 *
 * A slot is valid if and only if the mark and the hash match, length <= SLOTS_RECORD_BYTES_MAX, sequence > 0 and at most
 * SEQUENCE_MAX (nothing reaches it, and the one after it must not be 0), and its parity is i's. The file gets its name only
 * when it holds a first, empty record durably; so a file without a valid slot is damaged.
 * A slot that is neither valid nor all zero is a write that a crash tore, or damage: the trace names it, the other one counts.
 * On opening, what was read is synced before it is believed: it may have been in the page cache alone. */
#include <assert.h>
#include <stdio.h>
#include <xxhash.h>

#include "net/arena.h"
#include "net/buggify.h"
#include "net/error.h"
#include "net/mem.h"
#include "net/trace.h"
#include "storage/diskqueue.h"

enum { SLOT_BYTES = 4096, SLOT_HEADER_BYTES = 24, SLOT_COUNT = 2, SLOTS_PATH_MAX = 4096 };
#define SEQUENCE_MAX (UINT64_C(1) << 62)
static const uint8_t slot_mark[4] = {'S', 'l', 'o', 't'};

struct slots {
    struct env *env;
    struct env_file *file; /* owned */
    uint64_t sequence;     /* of the newest record written */
    struct slots_sync *under_way;
    int error; /* sticky */
};

/* The env's part of a write that is being synced: it outlives the op, and keeps the file open when the slots go first. */
struct slots_sync {
    struct env_sync sync;
    struct slots *slots;    /* NULL: closed */
    struct wait_sync *wait; /* NULL: cancelled */
    struct env *env;
    struct env_file *file;
};

static_assert(SLOT_HEADER_BYTES + SLOTS_RECORD_BYTES_MAX <= SLOT_BYTES, "a record fits its slot");

static void encode(uint8_t out[SLOT_BYTES], uint64_t sequence, struct bytes record)
{
    memset(out, 0, SLOT_BYTES);
    put_le64(out + 8, sequence);
    put_le32(out + 16, (uint32_t)record.len);
    memcpy(out + 20, slot_mark, sizeof(slot_mark));
    if (record.len > 0)
        memcpy(out + SLOT_HEADER_BYTES, record.ptr, record.len);
    put_le64(out, XXH3_64bits_withSeed(out + 8, SLOT_HEADER_BYTES - 8 + record.len, sequence % SLOT_COUNT));
}

static bool decode(const uint8_t in[SLOT_BYTES], unsigned index, uint64_t *ret_sequence, struct bytes *ret_record)
{
    uint64_t sequence = get_le64(in + 8);
    uint32_t length = get_le32(in + 16);

    if (memcmp(in + 20, slot_mark, sizeof(slot_mark)) != 0 || length > SLOTS_RECORD_BYTES_MAX)
        return false;
    if (sequence == 0 || sequence > SEQUENCE_MAX || sequence % SLOT_COUNT != index)
        return false;
    if (get_le64(in) != XXH3_64bits_withSeed(in + 8, SLOT_HEADER_BYTES - 8 + length, index))
        return false;
    *ret_sequence = sequence;
    *ret_record = bytes_of(in + SLOT_HEADER_BYTES, length);
    return true;
}

static int write_slot(struct slots *slots, struct bytes record)
{
    uint64_t sequence = slots->sequence + 1;
    uint8_t slot[SLOT_BYTES];
    int error;

    assert(record.len <= SLOTS_RECORD_BYTES_MAX);
    if (sequence > SEQUENCE_MAX) /* from a file that nobody wrote: what went there would never be read */
        return slots->error = ERROR_FILE_CORRUPT;
    encode(slot, sequence, record);
    error = env_file_write(slots->env, slots->file, sequence % SLOT_COUNT * SLOT_BYTES, bytes_of(slot, SLOT_BYTES));
    if (error == 0)
        slots->sequence = sequence;
    else
        slots->error = error;
    return error;
}

/* ---- opening ---- */

static int sync_folder(struct env *env, const char *path)
{
    char folder[SLOTS_PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);

    if (len == 0)
        return env_dir_sync(env, slash == NULL ? "." : "/");
    memcpy(folder, path, len);
    folder[len] = '\0';
    return env_dir_sync(env, folder);
}

static int create_as(struct slots *slots, const char *temporary, const char *path)
{
    struct env *env = slots->env;
    int error = env_file_open(env, temporary, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE, &slots->file);

    if (error == 0)
        error = env_file_zero_fill(env, slots->file, 0, SLOT_COUNT * SLOT_BYTES);
    if (error == 0)
        error = write_slot(slots, bytes_none());
    if (error == 0)
        error = env_file_sync_now(env, slots->file);
    if (error == 0)
        error = env_rename(env, temporary, path);
    if (error == 0)
        error = sync_folder(env, path);
    return error;
}

static int create(struct slots *slots, const char *path)
{
    char temporary[SLOTS_PATH_MAX];
    int len = snprintf(temporary, sizeof(temporary), "%s.new", path);

    if (len < 0 || len >= SLOTS_PATH_MAX)
        return ERROR_FILE_NOT_WRITABLE;
    return create_as(slots, temporary, path);
}

static bool is_zero(const uint8_t slot[SLOT_BYTES])
{
    return slot[0] == 0 && memcmp(slot, slot + 1, SLOT_BYTES - 1) == 0;
}

static int read_newest(struct slots *slots, const char *path, struct arena *arena, struct bytes *ret_record)
{
    uint8_t *file = arena_zalloc(arena, SLOT_COUNT * SLOT_BYTES);
    size_t got;
    int error;

    if (file == NULL)
        return ERROR_OUT_OF_MEMORY;
    error = env_file_sync_now(slots->env, slots->file);
    if (error == 0)
        error = env_file_drop_cache(slots->env, slots->file);
    if (error == 0)
        error = env_file_read(slots->env, slots->file, 0, file, SLOT_COUNT * SLOT_BYTES, &got);
    if (error != 0)
        return error;
    for (unsigned i = 0; i < SLOT_COUNT; i++) {
        struct bytes record;
        uint64_t sequence;

        if (!decode(file + i * SLOT_BYTES, i, &sequence, &record)) {
            if (!is_zero(file + i * SLOT_BYTES))
                PROBE(slots->env, "a damaged slot is passed over for the other");
            if (!is_zero(file + i * SLOT_BYTES))
                TRACE(slots->env, SEVERITY_WARN_ALWAYS, "SlotDamaged", {"File", trace_str(path)}, {"Slot", trace_int(i)});
        } else if (sequence > slots->sequence) {
            slots->sequence = sequence;
            *ret_record = record;
        }
    }
    return slots->sequence == 0 ? ERROR_FILE_CORRUPT : 0;
}

int slots_open(struct env *env, const char *path, struct arena *arena, struct bytes *ret_record, struct slots **ret_slots)
{
    struct slots *slots = mem_zalloc(sizeof(*slots));
    struct bytes record = bytes_none();
    int error;

    if (slots == NULL)
        return ERROR_OUT_OF_MEMORY;
    slots->env = env;
    error = env_file_open(env, path, ENV_OPEN_READ | ENV_OPEN_WRITE, &slots->file);
    if (error == ERROR_FILE_NOT_FOUND)
        error = create(slots, path);
    else if (error == 0)
        error = read_newest(slots, path, arena, &record);
    if (error != 0) {
        env_file_close(env, slots->file);
        mem_free(slots);
        return error;
    }
    *ret_record = record;
    *ret_slots = slots;
    return 0;
}

/* ---- writing ---- */

int slots_write_now(struct slots *slots, struct bytes record)
{
    int error = slots->error;

    assert(slots->under_way == NULL);
    if (error == 0)
        error = write_slot(slots, record);
    if (error == 0)
        error = slots->error = env_file_sync_now(slots->env, slots->file);
    return error;
}

static void sync_done(struct env_sync *sync, int error)
{
    struct slots_sync *shared = container_of(sync, struct slots_sync, sync);

    if (error == 0 && BUGGIFY_DEATH(shared->env, 1000, "a sync of the slots says that it failed, and the record is durable"))
        error = ERROR_IO_ERROR;
    if (shared->slots != NULL) {
        shared->slots->under_way = NULL;
        if (error != 0)
            shared->slots->error = error;
    } else {
        env_file_close(shared->env, shared->file);
    }
    if (shared->wait != NULL) {
        shared->wait->error = error;
        wait_complete(&shared->wait->wait, error == 0);
    }
    mem_free(shared);
}

/* The wait's `shared` is whoever starts it; here it holds a struct slots_sync. */
static void sync_cancel(struct wait *wait)
{
    struct wait_sync *sync = container_of(wait, struct wait_sync, wait);
    struct slots_sync *shared = (struct slots_sync *)(void *)sync->shared;

    shared->wait = NULL;
    sync->shared = NULL;
}

static const struct wait_type sync_type = {"sync of a slot", sync_cancel, NULL};

int slots_write(struct slots *slots, struct bytes record, struct wait_sync *sync, struct op *op)
{
    struct slots_sync *shared;
    int error;

    /* Not even a cancelled write may be overtaken: the next one goes to the slot that is durable now. */
    assert(slots->under_way == NULL);
    if (slots->error != 0)
        return slots->error;
    shared = mem_zalloc(sizeof(*shared));
    if (shared == NULL)
        return ERROR_OUT_OF_MEMORY;
    error = write_slot(slots, record);
    if (error != 0) {
        mem_free(shared);
        return error;
    }
    *shared = (struct slots_sync){
        .sync.done = sync_done, .slots = slots, .wait = sync, .env = slots->env, .file = slots->file};
    slots->under_way = shared;
    sync->error = 0;
    sync->shared = (struct wait_sync_shared *)(void *)shared;
    wait_begin(&sync->wait, op, &sync_type);
    env_file_sync(slots->env, slots->file, &shared->sync);
    return 0;
}

void slots_close(struct slots *slots)
{
    if (slots == NULL)
        return;
    if (slots->under_way != NULL)
        slots->under_way->slots = NULL; /* the file closes when its sync is back */
    else
        env_file_close(slots->env, slots->file);
    mem_free(slots);
}
