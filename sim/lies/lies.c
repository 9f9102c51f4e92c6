/* A lie's life: it is armed with the cluster, on for its time of the chaos, and judged when the run has ended. */
#include "sim/lies/lies.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/mem.h"
#include "net/trace.h"
#include "roles/worker/worker.h"

enum { TICK_US = 100000, CUT_OFF_US = 3000000, AGAIN_US = 3000000 };

/* ---- striking ---- */

void lie_strikes(struct lies *lies, const char *format, ...)
{
    char text[160];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    lies->strikes++;
    lies->struck_us = lies->world->now_us;
    sim_note(lies->world, NULL, "lie", lies->strikes);
    sim_say(lies->world, NULL, "lie %" PRIu64 " (%s): %s", lies->strikes, lies->section->type->name, text);
}

bool lie_is_answered(const struct lies *lies)
{
    const struct lie_section *section = lies->section;
    bool answered = lies->strikes > 0;

    for (uint32_t i = 0; i < section->expect_count; i++)
        answered = answered && (section->expects[i].kind == LIE_EXPECT_COUNT ? lies->counts[i] >= section->expects[i].least : lies->seen[i]);
    return answered;
}

/* One that nobody came to look at (its message was late, its receiver died) is told again after a while. */
bool lie_may_strike(struct lies *lies)
{
    const struct lie_section *section = lies->section;

    if (section->most != 0 && lies->strikes >= (uint64_t)section->most &&
        (lie_is_answered(lies) || section->failure[0] != '\0' || lies->world->now_us < lies->struck_us + AGAIN_US))
        return false;
    return section->one_in == 1 || sim_random_one_in(&lies->world->faults, (uint64_t)section->one_in);
}

uint64_t lie_random(struct lies *lies, uint64_t below)
{
    return sim_random_below(&lies->world->faults, below);
}

/* ---- frames ---- */

static bool side_fits(const struct sim_process *process, const char *name)
{
    for (int kind = ROLE_COORDINATOR; kind < ROLE_KINDS && name[0] != '\0'; kind++)
        if (strcmp(role_kind_name((enum role_kind)kind), name) == 0 && process != NULL &&
            (sim_cluster_role_kinds(process) >> kind & 1) != 0)
            return true;
    return lie_name_fits(process, name);
}

static bool fits(struct lies *lies, struct lie_frame *frame)
{
    const struct lie_section *section = lies->section;

    if (section->message != NULL && frame->type != section->message)
        return false;
    if (!side_fits(frame->from, section->from) || !side_fits(frame->to, section->to))
        return false;
    for (uint32_t i = 0; i < section->test_count; i++)
        if (!lie_test_holds(&section->tests[i], frame->type->schema, frame->body, &lies->world->faults))
            return false;
    return true;
}

static void look_at_frame(void *ctx, struct lie_frame *frame)
{
    struct lies *lies = ctx;
    const struct lie_type *type = lies->section->type;

    if (frame->from == lies->liar.process || !fits(lies, frame))
        return;
    if (type->observe != NULL)
        type->observe(lies, frame);
    if (type->frame != NULL && lies->on)
        type->frame(lies, frame);
}

static void tamper(struct sim_world *world, struct sim_process *from, struct address to, struct bytes_buffer *data)
{
    struct lies *lies = world->lies;

    lie_frames(world, from, to, data, lies->wanted, look_at_frame, lies);
    if (lies->inject.len > 0 && from == lies->inject_from && lie_process_at(world, to) == lies->inject_to &&
        to.port != lies->inject_to->address.port) { /* the side that dialled */
        int error = bytes_buffer_append(data, bytes_buffer_bytes(&lies->inject));

        assert(error == 0);
        lies->inject.len = 0;
    }
}

void lie_reply(struct lies *lies, const struct lie_frame *request, const struct message_type *type, void *body)
{
    lies->inject.len = 0;
    lie_frame_reply(request, type, body, &lies->inject);
    lies->inject_from = request->to;
    lies->inject_to = request->from;
}

void lie_keep(struct lies *lies, const struct lie_frame *frame)
{
    struct lie_kept *kept = &lies->kept[lies->kept_next];
    int error;

    lies->kept_next = (lies->kept_next + 1) % LIE_KEPT_MAX;
    if (lies->kept_count < LIE_KEPT_MAX)
        lies->kept_count++;
    kept->bytes.len = 0;
    error = bytes_buffer_append(&kept->bytes, frame->whole);
    assert(error == 0);
    kept->from = frame->from;
    kept->to = frame->to;
    kept->what = frame->what;
    kept->recovery = lies->recoveries;
}

const struct lie_kept *lie_kept_of(struct lies *lies, const struct lie_frame *frame)
{
    const struct lie_kept *chosen = NULL;
    uint64_t fitting = 0;

    for (uint32_t i = 0; i < lies->kept_count; i++) {
        const struct lie_kept *kept = &lies->kept[i];

        if (kept->what != frame->what || (lies->section->before_recovery && kept->recovery == lies->recoveries))
            continue;
        if (frame->what == FRAME_IS_REQUEST && (kept->from != frame->from || kept->to != frame->to))
            continue;
        if (lie_random(lies, ++fitting) == 0)
            chosen = kept;
    }
    return chosen;
}

const struct lie_kept *lie_kept_newest(struct lies *lies)
{
    const struct lie_kept *oldest = NULL;

    for (uint32_t age = 1; age <= lies->kept_count; age++) {
        const struct lie_kept *kept = &lies->kept[(lies->kept_next + LIE_KEPT_MAX - age) % LIE_KEPT_MAX];

        if (!lies->section->before_recovery)
            return kept;
        if (kept->recovery != lies->recoveries)
            oldest = kept;
    }
    return oldest;
}

void *lie_kept_body(const struct lie_kept *kept, const struct message_type *type, struct arena *arena)
{
    void *body = arena_zalloc(arena, type->schema->size);
    struct bytes packed = {NULL, 0};
    int error = arena_copy(arena, bytes_buffer_bytes(&kept->bytes), &packed);

    if (error == 0)
        error = message_decode(type->schema, bytes_of(packed.ptr + RPC_FRAME_HEADER_BYTES, packed.len - RPC_FRAME_HEADER_BYTES),
                               arena, body);
    assert(error == 0);
    return body;
}

/* ---- what is traced ---- */

static bool has_text(struct bytes line, const char *text)
{
    return text[0] == '\0' || memmem(line.ptr, line.len, text, strlen(text)) != NULL;
}

bool lie_is_event(struct bytes line, const char *name)
{
    char wanted[LIE_TEXT_MAX + 16];

    snprintf(wanted, sizeof(wanted), "\"Type\":\"%s\"", name);
    return has_text(line, wanted);
}

/* names: "This|That". */
static bool is_one_of(struct bytes line, const char *names)
{
    char name[LIE_TEXT_MAX];

    for (size_t length = strcspn(names, "|"); length > 0; length = strcspn(names, "|")) {
        snprintf(name, sizeof(name), "%.*s", (int)length, names);
        if (lie_is_event(line, name))
            return true;
        names += length;
        names += *names == '|';
    }
    return false;
}

static uint64_t number_of(struct bytes line, const char *key)
{
    char wanted[64];
    const char *at;

    snprintf(wanted, sizeof(wanted), "\"%s\":", key);
    at = memmem(line.ptr, line.len, wanted, strlen(wanted));
    return at == NULL ? 0 : strtoull(at + strlen(wanted), NULL, 10);
}

/* Nobody else may have said the same number before. */
static void claim(struct lies *lies, struct lie_claim *claims, uint32_t *count, uint64_t number,
                  const struct sim_process *process, const char *what)
{
    for (uint32_t i = 0; i < *count; i++) {
        if (claims[i].number != number)
            continue;
        if (claims[i].process != process || claims[i].incarnation != process->incarnation)
            sim_world_fail(lies->world, "two %s %" PRIu64 ": %s and %s", what, number, claims[i].process->name,
                           process->name);
        return;
    }
    if (*count < LIE_SEEN_MAX)
        claims[(*count)++] = (struct lie_claim){number, process, process->incarnation};
}

static void watch_claims(struct lies *lies, const struct sim_process *process, struct bytes line)
{
    if (lie_is_event(line, "CoordinatorLeads"))
        lies->recoveries++;
    if (lie_is_event(line, "CoordinatorLeads"))
        claim(lies, lies->terms, &lies->term_count, number_of(line, "Term"), process, "leaders of term");
    if (lie_is_event(line, "LogsLocked"))
        lies->recoveries++;
    if (lie_is_event(line, "EpochAdopted")) /* an AcceptingCommits of the same process follows, and is no recovery's */
        lies->adopts = process;
    if (!lie_is_event(line, "AcceptingCommits"))
        return;
    if (lies->adopts != process)
        claim(lies, lies->epochs, &lies->epoch_count, number_of(line, "Epoch"), process, "recoveries made epoch");
    lies->adopts = NULL;
}

static void watch_replicas(struct lies *lies, struct sim_process *process, struct bytes line)
{
    if (!lies->section->loses_replica || lies->lost_count == SIM_MACHINES_MAX)
        return;
    if (is_one_of(line, "StorageReplicaLost|StorageStreamGone|StorageNotRestored|StorageStoreDamaged"))
        lies->lost[lies->lost_count++] = process;
}

/* True for an error that is expected. */
static bool traced(struct sim_world *world, struct sim_process *process, enum severity severity, struct bytes line)
{
    struct lies *lies = world->lies;
    const struct lie_section *section = lies->section;
    bool expected = severity >= SEVERITY_ERROR && lies->strikes > 0 && section->excused[0] != '\0' && is_one_of(line, section->excused);

    watch_claims(lies, process, line);
    watch_replicas(lies, process, line);
    if (section->type->traced != NULL)
        section->type->traced(lies, process, line);
    for (uint32_t i = 0; i < section->expect_count && lies->strikes > 0; i++) {
        const struct lie_expect *expect = &section->expects[i];

        if (expect->kind == LIE_EXPECT_COUNT || !is_one_of(line, expect->name) || !has_text(line, expect->text))
            continue;
        if (expect->kind == LIE_EXPECT_ERROR && severity < SEVERITY_ERROR)
            continue;
        lies->seen[i] = true;
        expected |= expect->kind == LIE_EXPECT_ERROR;
    }
    return expected;
}

/* ---- what is counted ---- */

static int64_t sum_metrics(const struct metric *metrics, uint32_t count, const char *name)
{
    int64_t sum = 0;

    for (uint32_t i = 0; i < count; i++)
        if (bytes_equal(metrics[i].name, bytes_of_string(name)))
            sum += metrics[i].value;
    return sum;
}

static int64_t metric_of(const struct get_worker_status_reply *status, const char *name)
{
    int64_t sum = sum_metrics(status->metrics, status->metrics_count, name);

    for (uint32_t i = 0; i < status->roles_count; i++)
        sum += sum_metrics(status->roles[i].metrics, status->roles[i].metrics_count, name);
    return sum;
}

/* Counters begin at zero in every life of a role: what grew since the last look is added up. */
static void look_at_metrics(struct lies *lies)
{
    const struct lie_section *section = lies->section;

    for (size_t p = 0; p < lies->world->process_count && p < SIM_MACHINES_MAX; p++) {
        struct sim_process *process = lies->world->processes[p];
        struct get_worker_status_reply status = {0};
        struct arena arena = {0};

        if (!process->server || !process->alive || process->exiting || process->instance == NULL)
            continue;
        worker_status(process->instance, &arena, &status);
        for (uint32_t i = 0; i < section->expect_count; i++) {
            int64_t now = section->expects[i].kind == LIE_EXPECT_COUNT ? metric_of(&status, section->expects[i].name) : 0;
            int64_t grown = now >= lies->counted[i][p] ? now - lies->counted[i][p] : now;

            lies->counted[i][p] = now;
            lies->counts[i] += lies->strikes > 0 ? grown : 0;
        }
        arena_done(&arena);
    }
}

/* ---- provocations ---- */

struct sim_process *lie_host(struct lies *lies, enum role_kind kind, unsigned nth)
{
    for (size_t i = 0; i < lies->world->process_count; i++) {
        struct sim_process *process = lies->world->processes[i];

        if (process->server && (sim_cluster_role_kinds(process) >> kind & 1) != 0 && nth-- == 0)
            return process;
    }
    return NULL;
}

struct sim_process *lie_follower(struct lies *lies, unsigned nth)
{
    for (size_t i = 0; i < lies->world->process_count; i++) {
        struct sim_process *process = lies->world->processes[i];
        uint32_t kinds = process->server ? sim_cluster_role_kinds(process) : 0;

        if ((kinds >> ROLE_COORDINATOR & 1) != 0 && (kinds >> ROLE_CONTROLLER & 1) == 0 && nth-- == 0)
            return process;
    }
    return NULL;
}

void lie_cut_off(struct lies *lies, const struct sim_process *process, bool cut_off)
{
    bool is_cut_off = machines_has(&lies->blocked, process->machine);

    if (is_cut_off == cut_off || lies->over)
        return;
    if (cut_off)
        machines_add(&lies->blocked, process->machine);
    else
        machines_remove(&lies->blocked, process->machine);
    for (size_t i = 0; i < lies->world->process_count; i++) {
        unsigned other = lies->world->processes[i]->machine;

        sim_net_block(lies->world, process->machine, other, cut_off ? 1 : -1);
        sim_net_block(lies->world, other, process->machine, cut_off ? 1 : -1);
    }
    sim_note(lies->world, process, cut_off ? "cut-off" : "let-back", 0);
}

void lie_stop(struct sim_process *process, enum sim_stop how)
{
    process->stay_down = true;
    sim_agenda_remove(&process->world->agenda, &process->restart);
    sim_process_stop(process, how);
}

void lie_boot(struct sim_process *process)
{
    process->stay_down = false;
    sim_process_boot(process);
}

static void kill_host(struct lies *lies, enum role_kind kind)
{
    struct sim_process *process = lie_host(lies, kind, (unsigned)lie_random(lies, 2));

    if (process == NULL)
        process = lie_host(lies, kind, 0);
    if (process != NULL)
        sim_process_stop(process, SIM_KILL);
}

/* One is away for a while, or comes back. */
static void cut_off_follower(struct lies *lies)
{
    if (machines_empty(&lies->blocked)) {
        struct sim_process *follower = lie_follower(lies, (unsigned)lie_random(lies, 2));

        if (follower != NULL)
            lie_cut_off(lies, follower, true);
        return;
    }
    for (size_t i = 0; i < lies->world->process_count; i++)
        lie_cut_off(lies, lies->world->processes[i], false);
}

static void provoke_fire(struct sim_event *event)
{
    struct lies *lies = container_of(event, struct lies, provoker);

    switch ((enum lie_provocation)lies->section->provoke) {
    case PROVOKE_NOTHING:
        return;
    case PROVOKE_LEADER:
        kill_host(lies, ROLE_CONTROLLER);
        break;
    case PROVOKE_EPOCH:
        kill_host(lies, ROLE_SEQUENCER);
        break;
    case PROVOKE_LOG:
        kill_host(lies, ROLE_LOG);
        break;
    case PROVOKE_STORAGE:
        kill_host(lies, ROLE_STORAGE);
        break;
    case PROVOKE_FOLLOWER: /* and something for it to miss */
        cut_off_follower(lies);
        kill_host(lies, ROLE_SEQUENCER);
        break;
    }
    if (!lies->over)
        sim_event_in(lies->world, event, lies->section->every_us);
}

/* ---- the script ---- */

bool lie_sleep(struct lies *lies, int64_t us)
{
    if (!lies->over)
        sim_actor_sleep(lies->actor, us);
    return !lies->over;
}

static void script_main(struct sim_actor *actor, void *arg)
{
    struct lies *lies = arg;

    lies->actor = actor;
    if (lie_sleep(lies, lies->section->after_us))
        lies->section->type->run(lies);
}

/* ---- life ---- */

static void tick(struct sim_event *event)
{
    struct lies *lies = container_of(event, struct lies, ticker);
    int64_t now_us = lies->world->now_us;

    lies->on = !lies->over && now_us >= lies->begins_us && now_us < lies->ends_us;
    look_at_metrics(lies);
    sim_event_in(lies->world, event, TICK_US);
}

static void add_liar(struct lies *lies)
{
    struct sim_world *world = lies->world;

    lies->liar = (struct sim_client){
        .world = world, .cluster = lies->cluster, .index = lies->cluster->client_count, .server = !lies->section->as_client};
    lies->liar.stopping = &lies->over;
    lies->liar.process =
        sim_process_create(world, "liar", (unsigned)world->process_count, 4500, &sim_client_program, &lies->liar);
    lies->liar.process->stay_down = true;
    sim_process_boot(lies->liar.process);
}

void lies_init(struct lies *lies, const struct lie_section *section, struct sim_cluster *cluster)
{
    *lies = (struct lies){.section = section, .cluster = cluster, .world = cluster->world};
    if (section->type == NULL)
        return;
    lies->world->lies = lies;
    lies->world->tamper = tamper;
    lies->world->traced = traced;
    lies->ticker.fire = tick;
    lies->provoker.fire = provoke_fire;
    lies->begins_us = SIM_NEVER;
    if (section->message != NULL)
        lies->wanted[section->message->id] = true;
    add_liar(lies);
    sim_event_in(lies->world, &lies->ticker, TICK_US);
}

void lies_begin(struct lies *lies)
{
    const struct lie_section *section = lies->section;

    if (section->type == NULL)
        return;
    lies->begins_us = lies->world->now_us + section->after_us;
    lies->ends_us = section->lasts_us == 0 ? SIM_NEVER : lies->begins_us + section->lasts_us;
    if (section->provoke != PROVOKE_NOTHING)
        sim_event_in(lies->world, &lies->provoker, section->every_us);
    if (section->type->run != NULL)
        lies->actor = sim_actor_start(&lies->liar, 0, script_main, lies);
}

bool lies_unanswered(struct lies *lies)
{
    if (lies->section->type == NULL || lies->world->failed || lie_is_answered(lies) ||
        (lies->section->failure[0] != '\0' && lies->strikes > 0))
        return false;
    lies->ends_us = SIM_NEVER;
    return true;
}

void lies_heal(struct lies *lies)
{
    if (lies->section->type == NULL)
        return;
    lies->over = true;
    lies->on = false;
    lies->blocked = (struct sim_machines){0}; /* the heal takes every block away */
    sim_agenda_remove(&lies->world->agenda, &lies->provoker);
    for (uint32_t i = 0; i < lies->lost_count; i++) {
        struct sim_process *process = lies->lost[i];

        sim_say(lies->world, process, "its replica is lost: it stays dead");
        process->given_up = true;
        lie_stop(process, SIM_KILL);
    }
}

bool lies_busy(const struct lies *lies)
{
    return lies->section->type != NULL && !sim_client_idle(&lies->liar);
}

static const char *missing(const struct lies *lies, const struct lie_expect **ret_expect)
{
    for (uint32_t i = 0; i < lies->section->expect_count; i++) {
        const struct lie_expect *expect = &lies->section->expects[i];

        *ret_expect = expect;
        if (expect->kind == LIE_EXPECT_COUNT ? lies->counts[i] < expect->least : !lies->seen[i])
            return expect->kind == LIE_EXPECT_COUNT ? "the count" : "the event";
    }
    return NULL;
}

/* One of the texts, which stand between bars. */
static bool says(const char *why, const char *texts)
{
    char copy[LIE_TEXT_MAX], *rest = copy, *text;

    snprintf(copy, sizeof(copy), "%s", texts);
    while ((text = strsep(&rest, "|")) != NULL) {
        size_t length = strlen(text);

        while (length > 0 && text[length - 1] == ' ')
            text[--length] = '\0';
        if (strstr(why, text + strspn(text, " ")) != NULL)
            return true;
    }
    return false;
}

bool lies_judge(struct lies *lies)
{
    const struct lie_section *section = lies->section;
    const struct lie_expect *expect;
    struct sim_world *world = lies->world;
    const char *what;

    if (section->type == NULL)
        return !world->failed;
    look_at_metrics(lies);
    if (section->failure[0] != '\0') {
        if (lies->strikes > 0 && world->failed && says(world->why, section->failure))
            return true;
        if (!world->failed)
            sim_world_fail(world, "the lie (%" PRIu64 " strikes) was not found; wanted was: %s", lies->strikes,
                           section->failure);
        return false;
    }
    if (!world->failed && lies->strikes == 0)
        sim_world_fail(world, "the lie never struck");
    what = missing(lies, &expect);
    if (!world->failed && what != NULL)
        sim_world_fail(world, "%" PRIu64 " strikes of the lie, and %s %s %s never came", lies->strikes, what, expect->name,
                       expect->text);
    return !world->failed;
}

void lies_done(struct lies *lies)
{
    if (lies->section->type == NULL)
        return;
    sim_agenda_remove(&lies->world->agenda, &lies->ticker);
    sim_agenda_remove(&lies->world->agenda, &lies->provoker);
    for (uint32_t i = 0; i < LIE_KEPT_MAX; i++)
        bytes_buffer_done(&lies->kept[i].bytes);
    bytes_buffer_done(&lies->inject);
}
