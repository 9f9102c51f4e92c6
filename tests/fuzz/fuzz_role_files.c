/* Whole files, true hashes, contents that nobody wrote: a log's queue, a coordinator's record, `hard` and log, the memory
 * engine's frames, a storage server's records. Each opens, or says ERROR_FILE_CORRUPT; what opened answers and closes. */
#include <assert.h>
#include <stdio.h>

#include "net/error.h"
#include "net/mem.h"
#include "roles/coordinator/coordinator_disk.h"
#include "roles/log/log.h"
#include "roles/storage/storage.h"
#include "storage/engine.h"
#include "tests/fuzz/feed.h"
#include "tests/fuzz/fuzz_env.h"
#include "tests/fuzz/fuzz_input.h"

enum { ID = 1000, FRAMES_MAX = 24 };
#define MEMORY_FILE_ID UINT64_C(0x516f696e4d656d31)

struct files_play {
    struct fuzz_env *fuzz;
    struct feed feed;
    struct arena arena;
    struct rpc *rpc;
    struct role_context context;
    struct diskqueue *queue;
    struct op_list ops;
};

static bool is_verdict(int error)
{
    return error == 0 || error == ERROR_FILE_CORRUPT || error == ERROR_UNSUPPORTED_FORMAT_VERSION ||
           error == ERROR_FILE_NOT_FOUND || error == ERROR_SERIALIZATION_FAILED;
}

/* ---- writing a queue ---- */

struct commit_op {
    struct op op;
    struct diskqueue_commit commit;
};

static enum op_result run_commit(struct op *op)
{
    diskqueue_commit(((struct files_play *)op->owner->owner)->queue, &container_of(op, struct commit_op, op)->commit, op);
    return op_wait(op, 1);
}

static enum op_result run_done(struct op *op)
{
    return op_finish(op, 0);
}

static const struct op_stage stages[] = {{"COMMIT", run_commit, OP_STAGE(1)}, {"DONE", run_done, 0}};

static void nothing_more(struct op *op)
{
    (void)op;
}

static const struct op_type type = {"fuzz_commit", stages, 2, READY_COMMIT, nothing_more};

static int ignore_frame(void *ctx, uint64_t position, uint64_t end, struct bytes data)
{
    (void)ctx;
    (void)position;
    (void)end;
    (void)data;
    return 0;
}

typedef void frame_maker(struct files_play *play, struct bytes_buffer *out);

static void write_queue(struct files_play *play, const char *directory, uint64_t file_id, frame_maker *make)
{
    struct diskqueue_options options = {
        .directory = directory, .file_id = file_id, .segment_bytes = 16384, .first_segment_bytes = 8192};
    unsigned count = feed_below(&play->feed, FRAMES_MAX);
    struct commit_op commit = {0};

    assert(diskqueue_open(&play->fuzz->env, &options, ignore_frame, NULL, &play->queue) == 0);
    for (unsigned i = 0; i < count; i++) {
        struct bytes_buffer frame = {0};
        struct bytes part;
        uint64_t position;

        make(play, &frame);
        part = bytes_buffer_bytes(&frame);
        assert(diskqueue_append(play->queue, &part, 1, &position) == 0);
        bytes_buffer_done(&frame);
    }
    op_start(&commit.op, &type, &play->ops);
    fuzz_env_run(play->fuzz, 8, 10);
    op_cancel_all(&play->ops);
    diskqueue_close(play->queue);
    fuzz_env_run(play->fuzz, 4, 10);
}

static void put(struct bytes_buffer *out, uint64_t number, size_t len)
{
    uint8_t bytes[8];

    put_le64(bytes, number);
    (void)bytes_buffer_append(out, bytes_of(bytes, len));
}

static void put_raw(struct files_play *play, struct bytes_buffer *out)
{
    (void)bytes_buffer_append(out, feed_bytes(&play->feed, feed_below(&play->feed, 64)));
}

/* ---- a log ---- */

static void log_snapshot(struct files_play *play, struct bytes_buffer *out)
{
    struct feed *feed = &play->feed;
    struct log_ref refs[1] = {{.endpoint = {.id = ID}, .zone = BYTES_LITERAL("a")}};
    struct generation generation = {1, 100, VERSION_MAX, 1, refs, 1};
    struct bytes_buffer packed = {0};

    if (feed_byte(feed) >= 0xc0)
        feed_body(feed, &schema_generation, &play->arena, &generation);
    (void)message_encode(&schema_generation, &generation, &packed);
    put(out, feed_byte(feed) < 0xf0 ? 1 : feed_byte(feed), 4);
    put(out, feed_byte(feed) < 0xf0 ? packed.len : feed_number(feed), 4);
    put(out, feed_byte(feed) < 0xf0 ? (uint64_t)ID : feed_number(feed), 8);
    for (int i = 0; i < 7; i++)
        put(out, feed_byte(feed) < 0x80 ? (uint64_t)(i == 6 ? 0 : 100) : feed_number(feed), 8);
    (void)bytes_buffer_append(out, bytes_buffer_bytes(&packed));
    (void)bytes_buffer_append(out, feed_mutations(feed, &play->arena));
    bytes_buffer_done(&packed);
}

static void log_push(struct files_play *play, struct bytes_buffer *out)
{
    struct feed *feed = &play->feed;
    uint64_t prev = feed_number(feed), version = feed_byte(feed) < 0xe0 ? prev + 1 + feed_byte(feed) : feed_number(feed);
    struct bytes mutations = feed_mutations(feed, &play->arena), metadata = feed_mutations(feed, &play->arena);
    uint32_t sections = feed_below(feed, 3);

    put(out, version, 8);
    put(out, prev, 8);
    put(out, feed_number(feed), 8);
    put(out, feed_byte(feed) < 0xf8 ? sections : feed_number(feed), 4);
    put(out, feed_byte(feed) < 0xf8 ? metadata.len : feed_number(feed), 4);
    for (uint32_t i = 0; i < sections; i++) {
        put(out, feed_byte(feed) < 0xf8 ? 1 : feed_number(feed), 4);
        put(out, feed_byte(feed) < 0xf8 ? mutations.len : feed_number(feed), 4);
        put(out, feed_byte(feed) < 0xf0 ? 1 : feed_number(feed), 4);
    }
    for (uint32_t i = 0; i < sections; i++)
        (void)bytes_buffer_append(out, mutations);
    (void)bytes_buffer_append(out, metadata);
    feed_saw(feed, version);
}

static void log_frame(struct files_play *play, struct bytes_buffer *out)
{
    uint8_t kind = feed_byte(&play->feed);

    put(out, kind < 0xf0 ? 1 + kind % 3u : kind, 8);
    if (kind >= 0xe0) {
        put_raw(play, out);
    } else if (kind % 3u == 0) {
        log_snapshot(play, out);
    } else if (kind % 3u == 1) {
        log_push(play, out);
    } else {
        for (unsigned i = feed_below(&play->feed, 4); i > 0; i--) {
            put(out, feed_below(&play->feed, 5), 8);
            put(out, feed_number(&play->feed), 8);
        }
    }
}

/* It answers what can be asked of a restored log. */
static void ask_log(struct files_play *play)
{
    static const uint16_t ids[] = {MESSAGE_peek, MESSAGE_lock_log, MESSAGE_get_metadata, MESSAGE_pop, MESSAGE_push};
    struct endpoint to = {rpc_address(play->rpc), ID};

    for (int i = 0; i < 12 && play->feed.left > 0; i++) {
        struct message *message = message_create(message_types[ids[feed_below(&play->feed, 5)]]);

        feed_body(&play->feed, message->type->schema, &message->arena, message->body);
        rpc_send(play->rpc, &to, message);
        fuzz_env_run(play->fuzz, 3, 10);
    }
}

static void try_log(struct files_play *play)
{
    char directory[ROLE_PATH_MAX];
    struct log_server *log = NULL;
    struct role_status status = {0};
    int error;

    write_queue(play, role_directory("data", ROLE_LOG, ID, directory), ID, log_frame);
    error = log_server_restore(&play->context, ID, &log);
    assert(is_verdict(error));
    if (error != 0)
        return;
    ask_log(play);
    log_server_status(log, &status, &play->arena);
    log_server_destroy(log);
}

/* ---- a coordinator ---- */

static void write_slot(struct files_play *play, const char *path, struct bytes record)
{
    struct bytes old;
    struct slots *slots;

    assert(slots_open(&play->fuzz->env, path, &play->arena, &old, &slots) == 0);
    assert(slots_write_now(slots, record) == 0);
    slots_close(slots);
}

static void put_entries(struct files_play *play, struct bytes_buffer *out)
{
    struct feed *feed = &play->feed;
    struct raft_wire_entry entry;

    (void)bytes_buffer_append(out, bytes_of((uint8_t[]){0x90 | 2}, 1));
    for (uint64_t i = 1; i <= 2; i++) {
        entry = (struct raft_wire_entry){i, 1, RAFT_ENTRY_DATA, feed_bytes(feed, 3)};
        if (feed_byte(feed) >= 0x80)
            feed_body(feed, &schema_raft_wire_entry, &play->arena, &entry);
        (void)message_encode(&schema_raft_wire_entry, &entry, out);
    }
}

static void put_number(struct files_play *play, struct bytes_buffer *out)
{
    uint8_t bytes[9] = {0xcf};

    put_be64(bytes + 1, feed_number(&play->feed));
    (void)bytes_buffer_append(out, bytes_of(bytes, 9));
}

static void put_bin(struct files_play *play, struct bytes_buffer *out)
{
    uint8_t len = (uint8_t)feed_below(&play->feed, 20);
    struct bytes bytes = feed_bytes(&play->feed, len);

    (void)bytes_buffer_append(out, bytes_of((uint8_t[]){0xc4, (uint8_t)bytes.len}, 2));
    (void)bytes_buffer_append(out, bytes);
}

/* struct raft_frame as it is packed: see coordinator_disk.c. */
static void raft_frame(struct files_play *play, struct bytes_buffer *out)
{
    if (feed_byte(&play->feed) >= 0xf0) {
        put_raw(play, out);
        return;
    }
    (void)bytes_buffer_append(out, bytes_of((uint8_t[]){0x99}, 1));
    for (int i = 0; i < 3; i++)
        put_number(play, out);
    put_entries(play, out);
    (void)bytes_buffer_append(out, bytes_of((uint8_t[]){feed_below(&play->feed, 2) ? 0xc3 : 0xc2}, 1));
    put_number(play, out);
    put_number(play, out);
    put_bin(play, out);
    put_bin(play, out);
}

static void persisted(void *ctx, uint64_t sequence)
{
    (void)ctx;
    (void)sequence;
}

static void failed(void *ctx, int error)
{
    (void)ctx;
    (void)error;
}

static void try_raft(struct coordinator_restored *restored)
{
    struct raft_options options = {.id = 100, .seed = 1};
    struct raft_update update;
    struct raft *raft;
    int error = raft_create(&options, &restored->raft, 1000, &raft);

    assert(is_verdict(error));
    if (error != 0)
        return;
    (void)raft_step(raft, &(struct raft_event){.type = RAFT_EVENT_TICK, .now_us = 1000}, &update);
    (void)raft_step(raft, &(struct raft_event){.type = RAFT_EVENT_TICK, .now_us = 5000000}, &update);
    invariant_raft(raft);
    raft_destroy(raft);
}

static void try_coordinator(struct files_play *play)
{
    struct feed *feed = &play->feed;
    struct coordinator_member member = {100, {1, 4500}};
    struct coordinator_record record = {COORDINATOR_FORMAT, 100, 1, 2, &member, 1, false};
    struct coordinator_disk_owner owner = {persisted, failed, play};
    struct coordinator_restored restored;
    struct coordinator_disk *disk;
    struct bytes_buffer packed = {0}, hard = {0};
    int error;

    (void)env_dir_make(&play->fuzz->env, "data/coordinator");
    if (feed_byte(feed) >= 0xc0)
        feed_body(feed, &schema_coordinator_record, &play->arena, &record);
    (void)message_encode(&schema_coordinator_record, &record, &packed);
    if (packed.len <= SLOTS_RECORD_BYTES_MAX)
        write_slot(play, "data/coordinator/record", bytes_buffer_bytes(&packed));
    put(&hard, 1, 8);
    for (int i = 0; i < 3; i++)
        put(&hard, feed_byte(feed) < 0x80 ? 0 : feed_number(feed), 8);
    write_slot(play, "data/coordinator/hard", bytes_of(hard.ptr, feed_byte(feed) < 0xe0 ? 32 : feed_below(feed, 33)));
    write_queue(play, "data/coordinator/log", record.member, raft_frame);
    error = coordinator_disk_open(&play->fuzz->env, "data", &owner, &restored, &disk);
    assert(is_verdict(error));
    if (error == 0) {
        if (coordinator_disk_record(disk) != NULL)
            try_raft(&restored);
        arena_done(&restored.arena);
        coordinator_disk_close(disk);
    }
    bytes_buffer_done(&packed);
    bytes_buffer_done(&hard);
}

/* ---- the memory engine ---- */

static void memory_entry(struct files_play *play, struct bytes_buffer *out)
{
    struct feed *feed = &play->feed;
    struct bytes key = feed_key(feed, &play->arena), value = feed_key(feed, &play->arena);

    put(out, feed_byte(feed) < 0xf0 ? 1 + feed_below(feed, 4) : feed_byte(feed), 1);
    put(out, feed_byte(feed) < 0xf8 ? key.len : feed_number(feed), 4);
    put(out, feed_byte(feed) < 0xf8 ? value.len : feed_number(feed), 4);
    (void)bytes_buffer_append(out, key);
    (void)bytes_buffer_append(out, value);
}

static void memory_frame(struct files_play *play, struct bytes_buffer *out)
{
    struct feed *feed = &play->feed;
    uint8_t kind = feed_byte(feed);
    unsigned count = feed_below(feed, 4);

    if (kind >= 0xf0) {
        put_raw(play, out);
        return;
    }
    put(out, 1 + (kind & 1), 1);
    if (kind & 1)
        put(out, feed_below(feed, 5), 1);
    put(out, feed_byte(feed) < 0xf8 ? count : feed_number(feed), 4);
    put(out, feed_byte(feed) < 0xc0 ? 0 : feed_number(feed), 4);
    for (int i = 0; i < 2 && (kind & 1); i++) {
        struct bytes key = feed_key(feed, &play->arena);

        put(out, feed_byte(feed) < 0xf8 ? key.len : feed_number(feed), 4);
        (void)bytes_buffer_append(out, key);
    }
    for (unsigned i = 0; i < count; i++)
        memory_entry(play, out);
}

static void read_all(struct engine *engine)
{
    for (int reverse = 0; reverse < 2; reverse++) {
        struct engine_cursor *cursor;
        struct bytes key = reverse ? BYTES_LITERAL("\xff\xff\xff") : bytes_none(), value, last = bytes_none();
        bool found;

        if (engine_cursor_open(engine, reverse, &cursor) != 0)
            continue;
        if (engine_cursor_seek(cursor, key, &found, &key, &value) == 0)
            for (int i = 0; i < 200 && found; i++) {
                assert(i == 0 || (bytes_compare(last, key) < 0) == !reverse);
                last = key;
                if (engine_cursor_next(cursor, &found, &key, &value) != 0)
                    break;
            }
        engine_cursor_close(cursor);
    }
    engine_release(engine);
}

static void report(void *ctx, struct bytes key, const char *what)
{
    (void)ctx;
    (void)key;
    (void)what;
}

static void try_memory(struct files_play *play)
{
    struct engine *engine;
    struct engine_status status;
    int error;

    (void)env_dir_make(&play->fuzz->env, "data/engine");
    write_queue(play, "data/engine", MEMORY_FILE_ID, memory_frame);
    error = engine_open(&play->fuzz->env, ENGINE_MEMORY, "data/engine", &engine);
    assert(is_verdict(error));
    if (error != 0)
        return;
    engine_status(engine, &status);
    read_all(engine);
    (void)engine_check(engine, report, NULL);
    engine_close(engine, NULL, NULL);
}

/* ---- a storage server ---- */

struct storage_meta {
    struct engine_commit commit;
    bool done;
};

static void meta_done(struct engine_commit *commit, int error)
{
    assert(error == 0);
    container_of(commit, struct storage_meta, commit)->done = true;
}

/* The fields of server_record and held_shards (roles/storage), as they are packed. */
static void write_metas(struct files_play *play, struct engine *engine)
{
    struct feed *feed = &play->feed;
    struct bytes_buffer record = {0}, shards = {0};
    struct engine_meta meta[2];
    struct storage_meta write = {.commit = {.meta = meta, .meta_count = 1 + feed_below(feed, 2), .done = meta_done}};
    unsigned count = feed_below(feed, 4);

    (void)bytes_buffer_append(&record, bytes_of((uint8_t[]){0x98, 1, 1, 2}, 4));
    if (feed_byte(feed) < 0xe0)
        (void)bytes_buffer_append(&record, bytes_of((uint8_t[]){0xcd, ID >> 8, ID & 255, 7, 2}, 5));
    else
        (void)bytes_buffer_append(&record, feed_bytes(feed, 5));
    put_number(play, &record);
    put_number(play, &record);
    (void)bytes_buffer_append(&shards, bytes_of((uint8_t[]){0x91, (uint8_t)(0x90 | count)}, 2));
    for (unsigned i = 0; i < count; i++) {
        (void)bytes_buffer_append(&shards, bytes_of((uint8_t[]){0x94}, 1));
        put_bin(play, &shards);
        put_bin(play, &shards);
        (void)bytes_buffer_append(&shards, bytes_of((uint8_t[]){(uint8_t)feed_below(feed, 6)}, 1));
        put_number(play, &shards);
    }
    if (feed_byte(feed) >= 0xf0 && shards.len > 2)
        shards.ptr[feed_byte(feed) % shards.len] ^= feed_byte(feed);
    meta[0] = (struct engine_meta){"server", bytes_buffer_bytes(&record)};
    meta[1] = (struct engine_meta){"shards", bytes_buffer_bytes(&shards)};
    engine_commit_start(engine, &write.commit);
    fuzz_env_run(play->fuzz, 8, 10);
    engine_release(engine);
    fuzz_env_run(play->fuzz, 2, 10);
    assert(write.done);
    bytes_buffer_done(&record);
    bytes_buffer_done(&shards);
}

static void use_storage(struct files_play *play, struct storage_server *storage)
{
    struct endpoint to = {rpc_address(play->rpc), ID};
    struct role_status status = {0};

    for (int i = 0; i < 4; i++) {
        struct message *message = message_create(i & 1 ? &message_type_get_values : &message_type_get_range);

        feed_body(&play->feed, message->type->schema, &message->arena, message->body);
        rpc_send(play->rpc, &to, message);
        fuzz_env_run(play->fuzz, 2, 100000);
    }
    storage_server_status(storage, &status, &play->arena);
    storage_server_destroy(storage);
}

static void try_storage(struct files_play *play)
{
    char directory[ROLE_PATH_MAX];
    struct storage_server *storage = NULL;
    struct engine *engine;
    int error;

    role_directory("data", ROLE_STORAGE, ID, directory);
    (void)env_dir_make(&play->fuzz->env, directory);
    assert(engine_open(&play->fuzz->env, ENGINE_MEMORY, directory, &engine) == 0);
    write_metas(play, engine);
    engine_close(engine, NULL, NULL);
    fuzz_env_run(play->fuzz, 4, 10);
    error = storage_server_restore(&play->context, ID, &storage);
    assert(is_verdict(error));
    if (error == 0)
        use_storage(play, storage);
}

static void role_ended(void *host, enum role_kind kind, uint64_t role_id, int error)
{
    (void)host;
    (void)kind;
    (void)role_id;
    (void)error;
}

int fuzz_input(const uint8_t *data, size_t size)
{
    struct rpc_options options = {.public_address = {0x0a000001, 4500}, .types = message_types, .type_count = MESSAGE_ID_END};
    struct files_play play = {.fuzz = fuzz_env_create()};

    feed_init(&play.feed, data, size, options.public_address);
    feed_fixed(&play.feed, 100);
    feed_fixed(&play.feed, ID);
    op_list_init(&play.ops, &play.fuzz->env, &play);
    assert(env_dir_make(&play.fuzz->env, "data") == 0);
    assert(rpc_create(&play.fuzz->env, &options, &play.rpc) == 0);
    play.context = (struct role_context){
        .env = &play.fuzz->env, .rpc = play.rpc, .data_directory = "data", .ended = role_ended, .host = &play};
    switch (feed_below(&play.feed, 4)) {
    case 0:
        try_log(&play);
        break;
    case 1:
        try_coordinator(&play);
        break;
    case 2:
        try_memory(&play);
        break;
    case 3:
        try_storage(&play);
        break;
    }
    fuzz_env_run(play.fuzz, 4, 10);
    rpc_destroy(play.rpc);
    fuzz_env_destroy(play.fuzz);
    arena_done(&play.arena);
    return 0;
}
