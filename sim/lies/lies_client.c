/* What a client of ill will may send. */
#include "roles/worker/worker.h"
#include "sim/lies/lies_table.h"
#include "txn/mutation.h"

/* ---- metadata that a client may not write ---- */

static bool find_proxy(struct lies *lies, struct endpoint *ret)
{
    struct sim_process *host = lie_host(lies, ROLE_COMMIT_PROXY, 0);
    const struct description *description = host == NULL ? NULL : worker_description(host->instance);

    for (uint32_t i = 0; description != NULL && i < description->roles_count; i++) {
        const struct role_ref *role = &description->roles[i];

        *ret = (struct endpoint){{role->endpoint.address.ip, role->endpoint.address.port}, role->endpoint.id};
        if (role->kind == ROLE_COMMIT_PROXY)
            return true;
    }
    return false;
}

static void inject_one(struct lies *lies, const struct endpoint *proxy, unsigned flags)
{
    static const char *const keys[] = {"\xff/keyServers/", "\xff/serverList/\0\0\0\0\0\0\0\1", "\xff/conf/logs"};
    struct bytes_buffer table = {0};
    struct message *message, *reply;
    struct commit *commit = MESSAGE_NEW(commit, &message);
    unsigned key = flags == COMMIT_ACCESS_SYSTEM ? 0 : (unsigned)lie_random(lies, 3);
    int error = mutation_append(&table, MUTATION_SET, bytes_of_string(keys[key]), BYTES_LITERAL("nonsense"));

    assert(error == 0);
    error = arena_copy(&message->arena, bytes_buffer_bytes(&table), &commit->mutations);
    assert(error == 0);
    bytes_buffer_done(&table);
    commit->read_version = VERSION_NONE;
    commit->flags = flags;
    lie_strikes(lies, "a commit of metadata with the flags %u", flags);
    error = sim_actor_call(lies->actor, proxy, message, SIM_SECOND_US, &reply);
    if (error == 0) {
        message_unref(reply);
        sim_world_fail(lies->world, "a client's metadata was taken, with the flags %u", flags);
    }
}

static void inject(struct lies *lies)
{
    static const unsigned flags[] = {0, COMMIT_RECOVERY, COMMIT_RECOVERY | COMMIT_LOCK_AWARE, COMMIT_ACCESS_SYSTEM};
    struct endpoint proxy;

    for (unsigned i = 0; lie_sleep(lies, 200000); i++)
        if (find_proxy(lies, &proxy))
            inject_one(lies, &proxy, flags[i % (sizeof(flags) / sizeof(flags[0]))]);
}

const struct lie_type lie_injected_metadata = {
    .name = "injected-metadata", .what = "a client commits metadata that it may not, or that is none", .run = inject};

/* ---- lengths beyond all that came ---- */

static void send_monster(struct lies *lies, struct lie_frame *frame)
{
    uint8_t body[128];
    struct bytes packed = {body, sizeof(body)};
    uint64_t what = lie_random(lies, 3);
    size_t start = frame->out->len;

    if (!lie_may_strike(lies))
        return;
    memset(body, 0x91, sizeof(body)); /* arrays of one, each in the other */
    if (what == 1) { /* an array of four billion */
        memset(body, 0xff, sizeof(body));
        body[0] = 0xdd;
        packed.len = 5;
    }
    lie_frame_append_raw(frame, packed, frame->out);
    if (what == 2) /* and a frame that is longer than any may be */
        put_le32(frame->out->ptr + start, UINT32_MAX - 4);
    lie_strikes(lies, what == 0 ? "nested arrays" : what == 1 ? "an array of four billion" : "a frame of four billion bytes");
}

const struct lie_type lie_monstrous_lengths = {
    .name = "monstrous-lengths", .what = "frames whose lengths or nesting nothing bears", .frame = send_monster};

/* ---- transactions from before all memory ---- */

/* Versions go twenty times as fast, so that commits come too old; and the verdict says that they are not. */
static void forget_the_window(struct lies *lies)
{
    struct sim_process *process = lie_host(lies, ROLE_SEQUENCER, 0);

    if (process != NULL)
        sim_process_set_clock(process, 20000000, process->wall_offset_us);
}

static void take_too_old(struct lies *lies, struct lie_frame *frame)
{
    struct resolve_reply *reply = frame->body;

    for (uint32_t i = 0; i < reply->verdicts_count; i++) {
        frame->changed |= reply->verdicts[i] == VERDICT_TOO_OLD;
        if (reply->verdicts[i] == VERDICT_TOO_OLD)
            reply->verdicts[i] = VERDICT_COMMITTED;
    }
    if (frame->changed)
        lie_strikes(lies, "what is too old commits");
}

const struct lie_type lie_ignored_too_old = {.name = "ignored-too-old",
                                             .what = "a resolver takes what is older than all that it knows",
                                             .run = forget_the_window,
                                             .frame = take_too_old};
