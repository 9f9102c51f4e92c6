/* Persisting goes in a circle: COMMIT (the log's sync) -> SLOT (`hard` names the new end) -> TELL (Raft hears of it, and may
 * answer with more to persist). What is appended while the circle is under way goes with its next round: one op, one round at
 * a time, so that the slots are never written twice at once.
 *
 * The slot comes after the log's sync and before Raft hears: what Raft ever relied on is named by `hard`, and `hard` never
 * names what a crash may still take. */
#include "roles/coordinator/coordinator_disk.h"

#include <assert.h>
#include <stdio.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "net/trace.h"

enum { SEGMENT_BYTES = 1 << 20, FIRST_SEGMENT_BYTES = 1 << 16, PATH_MAX_BYTES = 4096, HARD_BYTES = 32 };
enum { COMMIT, SLOT, TELL, STAGES };

#define SELF struct coordinator_record
SCHEMA_DEFINE(coordinator_record, coordinator_record_fields)
#undef SELF

/* One frame of the log: a raft_persist. whole: snapshot and entries replace everything before it. */
#define FIELDS_raft_frame(F, S, A, L)                                                                             \
    F(u64, term) F(u64, vote) F(u64, truncate_from) A(raft_wire_entry, entries) F(boolean, whole)                  \
    F(u64, snapshot_index) F(u64, snapshot_term) F(bytes, snapshot_configuration) F(bytes, snapshot_data)
SCHEMA_DECLARE(raft_frame)
#define SELF struct raft_frame
SCHEMA_DEFINE(raft_frame, raft_frame_fields)
#undef SELF

/* What `hard` holds, 32 bytes little-endian: format, term, vote, synced end. */
struct hard {
    uint64_t term, vote, synced_end;
};

/* The newest that was handed to the disk, or of the round under way. */
struct progress {
    uint64_t sequence;
    struct hard hard;
    bool whole; /* a snapshot is among it */
};

struct coordinator_disk {
    struct env *env;
    struct coordinator_disk_owner owner;
    char directory[PATH_MAX_BYTES];
    struct slots *record_slots, *hard_slots; /* owned */
    struct diskqueue *log;                   /* owned; NULL without a record */
    struct arena arena;                      /* holds `record` */
    struct coordinator_record *record;       /* NULL: none */
    struct op_list ops;
    struct op op; /* the circle */
    bool under_way;
    struct diskqueue_commit commit;
    struct wait_sync slot;
    struct progress appended, round;
    uint64_t durable_sequence;
};

static int damaged(struct coordinator_disk *disk, const char *what)
{
    TRACE(disk->env, SEVERITY_WARN_ALWAYS, "CoordinatorFilesDamaged", {"Directory", trace_str(disk->directory)},
          {"What", trace_str(what)});
    return ERROR_FILE_CORRUPT;
}

static char *path_of(const struct coordinator_disk *disk, const char *name, char out[PATH_MAX_BYTES + 16])
{
    snprintf(out, PATH_MAX_BYTES + 16, "%s/%s", disk->directory, name);
    return out;
}

/* ---- the circle ---- */

static struct coordinator_disk *disk_of(struct op *op)
{
    return container_of(op, struct coordinator_disk, op);
}

static void encode_hard(const struct hard *hard, uint8_t out[HARD_BYTES])
{
    put_le64(out, COORDINATOR_FORMAT);
    put_le64(out + 8, hard->term);
    put_le64(out + 16, hard->vote);
    put_le64(out + 24, hard->synced_end);
}

static enum op_result run_commit(struct op *op)
{
    struct coordinator_disk *disk = disk_of(op);

    disk->round = disk->appended;
    disk->appended.whole = false;
    disk->round.hard.synced_end = diskqueue_end(disk->log);
    diskqueue_commit(disk->log, &disk->commit, op);
    return op_wait(op, SLOT);
}

static enum op_result run_slot(struct op *op)
{
    struct coordinator_disk *disk = disk_of(op);
    uint8_t bytes[HARD_BYTES];
    int error = disk->commit.error;

    if (error == 0 && BUGGIFY_DEATH(op->env, 500, "a coordinator ends between the sync of its log and the slot that names it"))
        error = ERROR_IO_ERROR;
    if (error == 0) {
        encode_hard(&disk->round.hard, bytes);
        error = slots_write(disk->hard_slots, bytes_of(bytes, sizeof(bytes)), &disk->slot, op);
    }
    return error != 0 ? op_finish(op, error) : op_wait(op, TELL);
}

static enum op_result run_tell(struct op *op)
{
    struct coordinator_disk *disk = disk_of(op);

    if (disk->slot.error != 0)
        return op_finish(op, disk->slot.error);
    if (BUGGIFY_DEATH(op->env, 500, "a coordinator ends before Raft hears that a vote or entry is durable"))
        return op_finish(op, ERROR_IO_ERROR);
    disk->durable_sequence = disk->round.sequence;
    disk->owner.persisted(disk->owner.ctx, disk->durable_sequence);
    if (disk->round.whole && BUGGIFY_DEATH(op->env, 10, "a coordinator ends when its state has taken the place of its log"))
        return op_finish(op, ERROR_IO_ERROR);
    if (disk->appended.sequence > disk->durable_sequence)
        PROBE(op->env, "Raft asks for more while a round of persisting is under way");
    return disk->appended.sequence > disk->durable_sequence ? op_move(op, COMMIT) : op_finish(op, 0);
}

static void ended(struct op *op)
{
    struct coordinator_disk *disk = disk_of(op);

    disk->under_way = false;
    if (op->error != 0 && op->error != ERROR_OPERATION_CANCELLED)
        disk->owner.failed(disk->owner.ctx, op->error);
}

static const struct op_stage stages[STAGES] = {
    [COMMIT] = {"COMMIT", run_commit, OP_STAGE(SLOT)},
    [SLOT] = {"SLOT", run_slot, OP_STAGE(TELL)},
    [TELL] = {"TELL", run_tell, OP_STAGE(COMMIT)},
};
static const struct op_type type = {"coordinator_persist", stages, STAGES, READY_COMMIT, ended};

/* ---- persisting ---- */

static const struct raft_entry *frame_entry(const struct raft *raft, const struct raft_persist *persist, size_t i)
{
    if (persist->snapshot != NULL && persist->snapshot_keeps_log)
        return raft_entry(raft, persist->snapshot->index + 1 + i);
    return &persist->entries[i];
}

static size_t frame_entry_count(const struct raft *raft, const struct raft_persist *persist)
{
    struct raft_status status;

    if (persist->snapshot == NULL || !persist->snapshot_keeps_log || PLANTED_BUG(SNAPSHOT_LOSES_TAIL))
        return persist->entry_count;
    raft_status(raft, &status);
    return status.last_index - persist->snapshot->index;
}

/* Borrows what the persist points to; the array of entries lives in the arena. */
static int fill_frame(const struct raft *raft, const struct raft_persist *persist, struct arena *arena,
                      struct raft_frame *frame)
{
    size_t count = frame_entry_count(raft, persist);

    *frame = (struct raft_frame){.term = persist->term, .vote = persist->vote, .truncate_from = persist->truncate_from};
    if (persist->snapshot != NULL) {
        frame->whole = true;
        frame->snapshot_index = persist->snapshot->index;
        frame->snapshot_term = persist->snapshot->term;
        frame->snapshot_configuration = persist->snapshot->configuration;
        frame->snapshot_data = persist->snapshot->data;
    }
    frame->entries = arena_alloc(arena, count * sizeof(*frame->entries) + 1);
    if (frame->entries == NULL)
        return ERROR_OUT_OF_MEMORY;
    frame->entries_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        const struct raft_entry *entry = frame_entry(raft, persist, i);

        frame->entries[i] = (struct raft_wire_entry){entry->index, entry->term, entry->type, entry->data};
    }
    return 0;
}

int coordinator_disk_persist(struct coordinator_disk *disk, const struct raft *raft, const struct raft_persist *persist)
{
    struct bytes_buffer packed = {0};
    struct arena arena = {0};
    struct raft_frame frame;
    uint64_t position = 0;
    int error;

    assert(persist->sequence == disk->appended.sequence + 1);
    error = fill_frame(raft, persist, &arena, &frame);
    if (error == 0)
        error = message_encode(&schema_raft_frame, &frame, &packed);
    if (error == 0) {
        struct bytes part = bytes_buffer_bytes(&packed);

        error = diskqueue_append(disk->log, &part, 1, &position);
    }
    bytes_buffer_done(&packed);
    arena_done(&arena);
    if (error != 0)
        return error;
    if (frame.whole)
        diskqueue_pop(disk->log, position); /* takes effect when this frame is durable */
    disk->appended = (struct progress){persist->sequence, {persist->term, persist->vote, 0}, disk->appended.whole || frame.whole};
    if (!disk->under_way) {
        disk->under_way = true;
        op_start(&disk->op, &type, &disk->ops);
    }
    return 0;
}

/* ---- opening: the log ---- */

struct replay {
    struct coordinator_disk *disk;
    struct coordinator_restored *restored;
    struct raft_entry *entries; /* owned array */
    size_t count, capacity;
};

static int keep_entry(struct replay *replay, const struct raft_wire_entry *wire)
{
    struct raft_entry *entry;

    if (replay->count > 0 && wire->index != replay->entries[replay->count - 1].index + 1)
        return damaged(replay->disk, "a gap between entries of the log");
    if (wire->type > UINT8_MAX)
        return damaged(replay->disk, "an entry of an impossible type");
    if (replay->count == replay->capacity) {
        size_t capacity = replay->capacity == 0 ? 64 : 2 * replay->capacity;
        struct raft_entry *grown = mem_realloc(replay->entries, capacity * sizeof(*grown));

        if (grown == NULL)
            return ERROR_OUT_OF_MEMORY;
        replay->entries = grown;
        replay->capacity = capacity;
    }
    entry = &replay->entries[replay->count++];
    *entry = (struct raft_entry){.index = wire->index, .term = wire->term, .type = (uint8_t)wire->type};
    return arena_copy(&replay->restored->arena, wire->data, &entry->data);
}

static int replay_snapshot(struct replay *replay, const struct raft_frame *frame)
{
    struct raft_snapshot *snapshot = &replay->restored->raft.snapshot;
    struct arena *arena = &replay->restored->arena;
    int error;

    replay->count = 0;
    snapshot->index = frame->snapshot_index;
    snapshot->term = frame->snapshot_term;
    error = arena_copy(arena, frame->snapshot_configuration, &snapshot->configuration);
    return error != 0 ? error : arena_copy(arena, frame->snapshot_data, &snapshot->data);
}

static int replay_content(struct replay *replay, const struct raft_frame *frame)
{
    struct raft_restored *raft = &replay->restored->raft;
    int error = 0;

    if (frame->term < raft->term)
        return damaged(replay->disk, "the log's term goes back");
    raft->term = frame->term;
    raft->vote = frame->vote;
    if (frame->whole)
        error = replay_snapshot(replay, frame);
    else if (frame->truncate_from != 0)
        while (replay->count > 0 && replay->entries[replay->count - 1].index >= frame->truncate_from)
            replay->count--;
    for (uint32_t i = 0; i < frame->entries_count && error == 0; i++)
        error = keep_entry(replay, &frame->entries[i]);
    return error;
}

/* Frames before the newest whole one may begin anywhere: their predecessors were popped, and the whole one replaces them. */
static int replay_frame(void *ctx, uint64_t position, uint64_t end, struct bytes data)
{
    struct replay *replay = ctx;
    struct raft_frame frame;
    struct arena arena = {0};
    int error = message_decode(&schema_raft_frame, data, &arena, &frame);

    (void)position;
    (void)end;
    if (error == ERROR_SERIALIZATION_FAILED)
        error = damaged(replay->disk, "a frame of the log can't be decoded");
    else if (error == 0)
        error = replay_content(replay, &frame);
    arena_done(&arena);
    return error;
}

static int finish_replay(struct replay *replay, const struct hard *hard)
{
    struct coordinator_disk *disk = replay->disk;
    struct raft_restored *raft = &replay->restored->raft;
    struct arena *arena = &replay->restored->arena;
    struct raft_entry *entries;

    if (diskqueue_end(disk->log) < hard->synced_end)
        return damaged(disk, "the log ends below its recorded synced end");
    if (raft->term < hard->term)
        return damaged(disk, "the log's term is below the recorded one");
    if (raft->term == hard->term && hard->vote != 0 && raft->vote != hard->vote)
        return damaged(disk, "the log's vote is not the recorded one");
    if (replay->count > 0 && replay->entries[0].index != raft->snapshot.index + 1)
        return damaged(disk, "the log does not follow its snapshot");
    entries = arena_alloc(arena, replay->count * sizeof(*entries) + 1);
    if (entries == NULL)
        return ERROR_OUT_OF_MEMORY;
    if (replay->count > 0)
        memcpy(entries, replay->entries, replay->count * sizeof(*entries));
    raft->entries = entries;
    raft->entry_count = replay->count;
    return 0;
}

/* The index-0 snapshot: the members that the cluster was created with. */
static int first_snapshot(const struct coordinator_record *record, struct coordinator_restored *restored)
{
    struct raft_configuration configuration = {.count = record->members_count};
    uint8_t *bytes = arena_alloc(&restored->arena, RAFT_CONFIGURATION_BYTES_MAX);
    char text[ADDRESS_TEXT_MAX];

    if (bytes == NULL)
        return ERROR_OUT_OF_MEMORY;
    if (record->joins) /* a member of nothing yet */
        return 0;
    for (uint32_t i = 0; i < record->members_count; i++) {
        const struct coordinator_member *from = &record->members[i];
        struct raft_member *to = &configuration.members[i];

        address_print((struct address){from->address.ip, from->address.port}, text);
        to->id = from->member;
        to->address_len = (uint8_t)strlen(text);
        memcpy(to->address, text, to->address_len);
    }
    restored->raft.snapshot = (struct raft_snapshot){
        .configuration = bytes_of(bytes, raft_configuration_encode(&configuration, bytes))};
    return 0;
}

static int open_log(struct coordinator_disk *disk, const struct hard *hard, bool must_exist,
                    struct coordinator_restored *restored)
{
    char path[PATH_MAX_BYTES + 16];
    struct diskqueue_options options = {
        .directory = path_of(disk, "log", path),
        .file_id = disk->record->member,
        .segment_bytes = SEGMENT_BYTES,
        .first_segment_bytes = FIRST_SEGMENT_BYTES,
        .must_exist = must_exist,
    };
    struct replay replay = {.disk = disk, .restored = restored};
    int error = first_snapshot(disk->record, restored);

    if (options.segment_bytes > (uint64_t)disk->env->knobs.log_segment_bytes)
        options.segment_bytes = (uint64_t)disk->env->knobs.log_segment_bytes;
    if (options.first_segment_bytes > options.segment_bytes)
        options.first_segment_bytes = options.segment_bytes;
    if (error == 0)
        error = diskqueue_open(disk->env, &options, replay_frame, &replay, &disk->log);
    if (error == ERROR_FILE_NOT_FOUND)
        error = damaged(disk, "the log is missing");
    if (error == 0)
        error = finish_replay(&replay, hard);
    mem_free(replay.entries);
    return error;
}

/* ---- opening: record and hard ---- */

/* True if the record is one that could have been written. */
static bool record_is_sound(const struct coordinator_record *record)
{
    bool found = false;

    if (record->format != COORDINATOR_FORMAT || record->member == 0)
        return false;
    if (record->members_count == 0 || record->members_count > RAFT_MEMBERS_MAX)
        return false;
    for (uint32_t i = 0; i < record->members_count; i++) {
        const struct coordinator_member *member = &record->members[i];

        if (member->member == 0 || member->address.port == 0 || member->address.port > UINT16_MAX)
            return false;
        for (uint32_t other = 0; other < i; other++)
            if (record->members[other].member == member->member)
                return false;
        found |= member->member == record->member;
    }
    return found != record->joins; /* who waits to be added is not among those that it waits for */
}

static int take_record(struct coordinator_disk *disk, struct bytes packed)
{
    struct coordinator_record *record = arena_zalloc(&disk->arena, sizeof(*record));
    int error = record == NULL ? ERROR_OUT_OF_MEMORY
                               : message_decode(&schema_coordinator_record, packed, &disk->arena, record);

    if (error == ERROR_SERIALIZATION_FAILED || (error == 0 && !record_is_sound(record)))
        return damaged(disk, "the record can't be understood");
    if (error == 0)
        disk->record = record;
    return error;
}

static int open_record(struct coordinator_disk *disk)
{
    char path[PATH_MAX_BYTES + 16];
    struct bytes packed;
    int error = slots_open(disk->env, path_of(disk, "record", path), &disk->arena, &packed, &disk->record_slots);

    if (error == ERROR_FILE_CORRUPT)
        return damaged(disk, "the record has no valid slot");
    if (error != 0 || packed.len == 0)
        return error;
    return take_record(disk, packed);
}

static int open_hard(struct coordinator_disk *disk, struct hard *hard)
{
    char path[PATH_MAX_BYTES + 16];
    struct bytes bytes;
    int error = slots_open(disk->env, path_of(disk, "hard", path), &disk->arena, &bytes, &disk->hard_slots);

    *hard = (struct hard){0};
    if (error == ERROR_FILE_CORRUPT)
        return damaged(disk, "the file `hard` has no valid slot");
    if (error != 0)
        return error;
    if (bytes.len >= HARD_BYTES && get_le64(bytes.ptr) == COORDINATOR_FORMAT)
        *hard = (struct hard){get_le64(bytes.ptr + 8), get_le64(bytes.ptr + 16), get_le64(bytes.ptr + 24)};
    else if (bytes.len != 0 || disk->record != NULL)
        return damaged(disk, "the file `hard` is missing or can't be understood");
    if (disk->record == NULL && (hard->term != 0 || hard->synced_end != 0))
        return damaged(disk, "the record is missing where a log was kept");
    return 0;
}

static int make_directory(struct coordinator_disk *disk, const char *data_directory)
{
    int error, len = snprintf(disk->directory, sizeof(disk->directory), "%s/coordinator", data_directory);

    if (len < 0 || (size_t)len >= sizeof(disk->directory))
        return ERROR_FILE_NOT_WRITABLE;
    error = env_dir_make(disk->env, disk->directory);
    return error != 0 ? error : env_dir_sync(disk->env, data_directory);
}

int coordinator_disk_open(struct env *env, const char *data_directory, const struct coordinator_disk_owner *owner,
                          struct coordinator_restored *ret_restored, struct coordinator_disk **ret_disk)
{
    struct coordinator_disk *disk = mem_zalloc(sizeof(*disk));
    struct hard hard;
    int error;

    *ret_restored = (struct coordinator_restored){0};
    if (disk == NULL)
        return ERROR_OUT_OF_MEMORY;
    disk->env = env;
    disk->owner = *owner;
    op_list_init(&disk->ops, env, disk);
    error = make_directory(disk, data_directory);
    if (error == 0)
        error = open_record(disk);
    if (error == 0)
        error = open_hard(disk, &hard);
    if (error == 0 && disk->record != NULL)
        error = open_log(disk, &hard, true, ret_restored);
    if (error != 0) {
        coordinator_disk_close(disk);
        arena_done(&ret_restored->arena);
        return error;
    }
    *ret_disk = disk;
    return 0;
}

void coordinator_disk_close(struct coordinator_disk *disk)
{
    if (disk == NULL)
        return;
    op_cancel_all(&disk->ops);
    if (disk->log != NULL)
        diskqueue_close(disk->log);
    slots_close(disk->hard_slots);
    slots_close(disk->record_slots);
    arena_done(&disk->arena);
    mem_free(disk);
}

const struct coordinator_record *coordinator_disk_record(const struct coordinator_disk *disk)
{
    return disk->record;
}

void coordinator_disk_status(const struct coordinator_disk *disk, struct diskqueue_status *ret_status)
{
    *ret_status = (struct diskqueue_status){0};
    if (disk->log != NULL)
        diskqueue_status(disk->log, ret_status);
}

/* ---- creation ---- */

/* A creation that a crash cut short may have left a log of another member id. */
static int remove_leftover_log(struct coordinator_disk *disk)
{
    char path[PATH_MAX_BYTES + 16];
    int error = diskqueue_remove(disk->env, path_of(disk, "log", path));

    return error == ERROR_FILE_NOT_FOUND ? 0 : error;
}

static int write_first_hard(struct coordinator_disk *disk)
{
    uint8_t bytes[HARD_BYTES];

    encode_hard(&(struct hard){0}, bytes);
    return slots_write_now(disk->hard_slots, bytes_of(bytes, sizeof(bytes)));
}

static int write_record(struct coordinator_disk *disk)
{
    struct bytes_buffer packed = {0};
    int error = message_encode(&schema_coordinator_record, disk->record, &packed);

    if (error == 0)
        error = slots_write_now(disk->record_slots, bytes_buffer_bytes(&packed));
    bytes_buffer_done(&packed);
    return error;
}

int coordinator_disk_create(struct coordinator_disk *disk, const struct coordinator_record *record,
                            struct coordinator_restored *ret_restored)
{
    struct hard none = {0};
    int error;

    assert(disk->record == NULL && disk->log == NULL);
    assert(record_is_sound(record));
    *ret_restored = (struct coordinator_restored){0};
    disk->record = arena_zalloc(&disk->arena, sizeof(*disk->record));
    if (disk->record == NULL)
        return ERROR_OUT_OF_MEMORY;
    error = message_copy_body(&schema_coordinator_record, record, &disk->arena, disk->record);
    if (error == 0)
        error = remove_leftover_log(disk);
    if (error == 0)
        error = open_log(disk, &none, false, ret_restored);
    if (error == 0)
        error = env_dir_sync(disk->env, disk->directory);
    if (error == 0)
        error = write_first_hard(disk);
    if (error == 0)
        error = write_record(disk);
    return error;
}

/* ---- removal ---- */

bool coordinator_disk_is_writing(const struct coordinator_disk *disk)
{
    return disk->under_way;
}

int coordinator_disk_forget(struct coordinator_disk *disk)
{
    char path[PATH_MAX_BYTES + 16];
    int error = write_first_hard(disk);

    if (error == 0)
        error = write_first_hard(disk); /* the other slot */
    slots_close(disk->record_slots);
    disk->record_slots = NULL;
    if (error == 0)
        error = env_remove(disk->env, path_of(disk, "record", path));
    return error != 0 ? error : env_dir_sync(disk->env, disk->directory);
}

static void see_coordinator(void *ctx, const char *name)
{
    bool *found = ctx;

    *found |= strcmp(name, "coordinator") == 0;
}

int coordinator_disk_is_there(struct env *env, const char *data_directory, bool *ret_there)
{
    *ret_there = false;
    return env_dir_list(env, data_directory, see_coordinator, ret_there);
}
