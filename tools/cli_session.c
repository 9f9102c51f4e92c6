/* A wait runs the env until the call's done() stops it; a timer looks, every few milliseconds, for what should end it early.
 *
 * "There is no database" and "these coordinators are of different clusters" are only believed when they have been so for a
 * while: a controller that was just elected, or coordinators that are being told of their cluster, look alike for a moment. */
#include "tools/cli_session.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/env_posix.h"
#include "net/error.h"
#include "roles/embedded/embedded.h"
#include "txn/messages.h"

enum { TICK_US = 20000, DOUBT_US = 500000, NOTICE_US = 4000000, PROBE_TIMEOUT_US = 600000 };

static const char no_database[] = "The database has not been created yet; run: configure new <single|double|triple> <lmdb|memory>";

const char *cli_unreachable(int error)
{
    switch (error) {
    case ERROR_CONNECTION_FAILED:
    case ERROR_REQUEST_MAYBE_DELIVERED:
        return "the connection failed (is the process running?)";
    case ERROR_TIMED_OUT:
        return "no answer in time";
    case ERROR_BROKEN_PROMISE:
        return "the process there is not a coordinator";
    case ERROR_INVALID_CLUSTER_ID:
        return "it belongs to another cluster (wrong cluster id)";
    case ERROR_INCOMPATIBLE_PROTOCOL_VERSION:
        return "it speaks another protocol version";
    default:
        return error_text(error);
    }
}

/* ---- the cluster file ---- */

static const char *find_cluster_file(const char *given)
{
    const char *environment = getenv("QUOIN_CLUSTER_FILE");

    if (given != NULL)
        return given;
    if (environment != NULL && environment[0] != '\0')
        return environment;
    return access("quoin.cluster", F_OK) == 0 ? "quoin.cluster" : "/etc/quoin/quoin.cluster";
}

static int read_cluster_file(struct cli_session *session, bool given)
{
    char text[CLUSTER_FILE_BYTES_MAX + 1], why[512];
    FILE *file = fopen(session->path, "re");
    size_t length;
    int failed;

    if (file == NULL) {
        snprintf(session->why, sizeof(session->why), "cluster file %s: %s%s", session->path, strerror(errno),
                 given ? "" : "; give one with -C FILE, or in QUOIN_CLUSTER_FILE, ./quoin.cluster or /etc/quoin/quoin.cluster");
        return errno == ENOENT ? ERROR_NO_CLUSTER_FILE_FOUND : ERROR_FILE_NOT_READABLE;
    }
    length = fread(text, 1, sizeof(text), file);
    failed = ferror(file) ? errno : 0;
    fclose(file);
    if (failed != 0) {
        snprintf(session->why, sizeof(session->why), "cluster file %s: %s", session->path, strerror(failed));
        return ERROR_FILE_NOT_READABLE;
    }
    if (length > CLUSTER_FILE_BYTES_MAX) {
        snprintf(session->why, sizeof(session->why), "cluster file %s: larger than %d bytes", session->path,
                 CLUSTER_FILE_BYTES_MAX);
        return ERROR_CONNECTION_STRING_INVALID;
    }
    if (cluster_file_parse(bytes_of(text, length), &session->file, why, sizeof(why)) != 0) {
        snprintf(session->why, sizeof(session->why), "cluster file %s: %s", session->path, why);
        return ERROR_CONNECTION_STRING_INVALID;
    }
    return 0;
}

/* ---- what ends a wait ---- */

static void stop(struct cli_session *session, int verdict)
{
    if (!session->done)
        session->verdict = verdict;
    session->done = true;
    env_posix_stop(session->env);
}

static void call_done(struct client_call *call)
{
    stop(call->ctx, 0);
}

static void on_signal(void *ctx, int number)
{
    struct cli_session *session = ctx;

    session->interrupted = true;
    session->terminated |= number == SIGTERM;
    stop(session, ERROR_OPERATION_CANCELLED);
}

static bool has_no_database(const struct cli_session *session)
{
    const struct description *description = client_description(session->client);
    struct client_coordinator coordinator;

    if (description != NULL)
        return description->epoch == 0;
    for (uint32_t i = 0; i < client_coordinator_count(session->client); i++) {
        client_coordinator(session->client, i, &coordinator);
        if (!coordinator.asked || coordinator.error != 0 || coordinator.has_record)
            return false;
    }
    return true;
}

/* Two coordinators of the cluster file that are of different clusters, and no controller to prove one right. */
static bool is_mixed(struct cli_session *session)
{
    struct client_coordinator one, other;
    char a[ADDRESS_TEXT_MAX], b[ADDRESS_TEXT_MAX];

    if (client_controller(session->client).port != 0)
        return false;
    for (uint32_t i = 0; i < client_coordinator_count(session->client); i++) {
        client_coordinator(session->client, i, &one);
        if (one.error == ERROR_INVALID_CLUSTER_ID) {
            snprintf(session->why, sizeof(session->why), "Wrong cluster id: the coordinator at %s belongs to another cluster than "
                     "the others in %s", address_print(one.address, a), session->path);
            return true;
        }
        for (uint32_t j = 0; j < i; j++) {
            client_coordinator(session->client, j, &other);
            if (one.error == 0 && other.error == 0 && one.has_record && other.has_record &&
                !uid_equal(one.cluster_id, other.cluster_id)) {
                snprintf(session->why, sizeof(session->why), "Wrong cluster id: the coordinators at %s and %s, both in %s, belong "
                         "to different clusters", address_print(other.address, a), address_print(one.address, b), session->path);
                return true;
            }
        }
    }
    return false;
}

static void explain_timeout(struct cli_session *session)
{
    char explained[CLI_WHY_MAX - 256];

    client_explain(session->client, explained, sizeof(explained));
    snprintf(session->why, sizeof(session->why), "Timed out after %.1f s: %s",
             (double)(env_now_us(session->env) - session->began_us) / 1e6,
             explained[0] != '\0' ? explained : "the cluster is reached, but did not answer in time (see `status')");
}

static void say_what_it_waits_for(struct cli_session *session, int64_t now_us)
{
    char explained[CLI_WHY_MAX];

    if (!session->interactive || now_us < session->notice_us)
        return;
    session->notice_us = now_us + NOTICE_US;
    client_explain(session->client, explained, sizeof(explained));
    fprintf(stderr, "Still waiting (Ctrl-C ends it): %s\n", explained[0] != '\0' ? explained : "no answer yet");
}

static void tick_fired(struct env_timer *timer)
{
    struct cli_session *session = container_of(timer, struct cli_session, tick);
    int64_t now_us = env_now_us(session->env);
    bool none = session->needs_database && has_no_database(session), mixed = !none && is_mixed(session);

    if (!none && !mixed)
        session->doubt_since_us = now_us;
    if (now_us - session->doubt_since_us > DOUBT_US) {
        if (none)
            snprintf(session->why, sizeof(session->why), "%s", no_database);
        stop(session, none ? ERROR_CLIENT_INVALID_OPERATION : ERROR_INVALID_CLUSTER_ID);
        return;
    }
    if (session->limit_us != 0 && now_us >= session->limit_us) {
        explain_timeout(session);
        stop(session, ERROR_TIMED_OUT);
        return;
    }
    say_what_it_waits_for(session, now_us);
    env_timer_start(session->env, timer, now_us + TICK_US);
}

/* Until someone calls stop(). Returns the verdict; 0: what was waited for has happened. */
static int run(struct cli_session *session, int64_t limit_us, bool needs_database)
{
    int64_t now_us = env_now_us(session->env);

    session->limit_us = limit_us;
    session->began_us = now_us;
    session->notice_us = now_us + NOTICE_US;
    session->doubt_since_us = now_us;
    session->needs_database = needs_database;
    session->why[0] = '\0';
    env_timer_start(session->env, &session->tick, now_us + TICK_US);
    while (!session->done)
        env_posix_run(session->env);
    env_timer_cancel(session->env, &session->tick);
    if (session->verdict == ERROR_OPERATION_CANCELLED)
        snprintf(session->why, sizeof(session->why), "Interrupted");
    return session->verdict;
}

static void prepare(struct cli_session *session)
{
    session->done = false;
    session->verdict = 0;
}

void cli_session_begin(struct cli_session *session, struct client_call *call)
{
    prepare(session);
    call->done = call_done;
    call->ctx = session;
}

int cli_session_wait(struct cli_session *session, struct client_call *call, bool needs_database)
{
    int error = run(session, session->deadline_us, needs_database);

    if (error == 0 && call->error == ERROR_INVALID_CLUSTER_ID)
        is_mixed(session); /* says which */
    if (error == 0)
        return call->error;
    client_call_cancel(call);
    return error;
}

int cli_session_commit(struct cli_session *session, struct transaction *txn)
{
    struct client_call call = {0};

    cli_session_begin(session, &call);
    transaction_commit_start(&call, NULL, txn);
    return cli_session_wait(session, &call, true);
}

static void idle_fired(struct env_timer *timer)
{
    struct cli_session *session = container_of(timer, struct cli_session, tick);

    stop(session, 0);
}

void cli_session_idle(struct cli_session *session)
{
    prepare(session);
    session->tick.fire = idle_fired;
    env_timer_start(session->env, &session->tick, env_now_us(session->env) + 1000);
    while (!session->done)
        env_posix_run(session->env);
    env_timer_cancel(session->env, &session->tick);
    session->tick.fire = tick_fired;
}

/* ---- status ---- */

enum { PROBE_SEND, PROBE_ANSWERED, PROBE_STAGES };

/* One coordinator is asked; the last to end ends the wait. */
struct probe {
    struct op op; /* first */
    struct cli_session *session;
    unsigned *under_way; /* shared by all */
    struct rpc_call call;
    struct cli_coordinator *ret;
};

static enum op_result probe_send(struct op *op)
{
    struct probe *probe = container_of(op, struct probe, op);
    struct endpoint to = {probe->ret->address, ENDPOINT_COORDINATOR};
    struct message *message;

    if (MESSAGE_NEW(get_leader, &message) == NULL)
        return op_finish(op, ERROR_OUT_OF_MEMORY);
    rpc_call_start(&probe->call, op, client_rpc(probe->session->client), &to, message, PROBE_TIMEOUT_US);
    return op_wait(op, PROBE_ANSWERED);
}

static bool is_other_set(const struct cluster_file *file, const struct get_leader_reply *reply)
{
    uint32_t same = 0;

    for (uint32_t i = 0; i < file->coordinator_count; i++)
        for (uint32_t j = 0; j < reply->members_count; j++)
            same += file->coordinators[i].ip == reply->members[j].address.ip &&
                    file->coordinators[i].port == reply->members[j].address.port;
    return reply->members_count != 0 && (same != file->coordinator_count || same != reply->members_count);
}

static enum op_result probe_answered(struct op *op)
{
    struct probe *probe = container_of(op, struct probe, op);
    const struct get_leader_reply *reply;

    if (probe->call.error != 0)
        return op_finish(op, probe->call.error);
    reply = MESSAGE_BODY(get_leader_reply, probe->call.reply);
    probe->ret->cluster_id = (struct uid){reply->cluster_high, reply->cluster_low};
    probe->ret->leader = (struct address){reply->leader_address.ip, reply->leader_address.port};
    probe->ret->other_set = is_other_set(&probe->session->file, reply);
    return op_finish(op, 0);
}

static void probe_ended(struct op *op)
{
    struct probe *probe = container_of(op, struct probe, op);

    probe->ret->error = op->error == ERROR_OPERATION_CANCELLED ? ERROR_TIMED_OUT : op->error;
    rpc_call_clear(&probe->call);
    if (--*probe->under_way == 0)
        stop(probe->session, 0);
}

static const struct op_stage probe_stages[PROBE_STAGES] = {
    [PROBE_SEND] = {"SEND", probe_send, OP_STAGE(PROBE_ANSWERED)},
    [PROBE_ANSWERED] = {"ANSWERED", probe_answered, 0},
};
static const struct op_type probe_type = {
    .name = "cli_probe", .stages = probe_stages, .stage_count = PROBE_STAGES, .queue = READY_READ, .ended = probe_ended};

void cli_session_probe(struct cli_session *session, int64_t limit_us, struct cli_coordinator *ret)
{
    struct probe probes[CLUSTER_FILE_COORDINATORS_MAX] = {0};
    unsigned under_way = session->file.coordinator_count;
    struct op_list ops = {0};

    op_list_init(&ops, session->env, session);
    prepare(session);
    for (uint32_t i = 0; i < session->file.coordinator_count; i++) {
        ret[i] = (struct cli_coordinator){.address = session->file.coordinators[i], .error = ERROR_TIMED_OUT};
        probes[i].session = session;
        probes[i].under_way = &under_way;
        probes[i].ret = &ret[i];
        op_start(&probes[i].op, &probe_type, &ops);
    }
    run(session, env_now_us(session->env) + limit_us, false);
    op_cancel_all(&ops);
}

/* ---- any call ---- */

enum { CALL_SEND, CALL_ANSWERED, CALL_STAGES };

struct any_call {
    struct op op;
    struct cli_session *session;
    struct rpc_call call;
    struct endpoint to;
    struct message *request; /* owned until it is sent */
    int64_t limit_us;
    int error;
};

static enum op_result call_send(struct op *op)
{
    struct any_call *any = container_of(op, struct any_call, op);
    struct message *request = any->request;

    any->request = NULL;
    rpc_call_start(&any->call, op, client_rpc(any->session->client), &any->to, request, any->limit_us);
    return op_wait(op, CALL_ANSWERED);
}

static enum op_result call_answered(struct op *op)
{
    return op_finish(op, container_of(op, struct any_call, op)->call.error);
}

static void call_ended(struct op *op)
{
    struct any_call *any = container_of(op, struct any_call, op);

    any->error = op->error;
    stop(any->session, 0);
}

static const struct op_stage call_stages[CALL_STAGES] = {
    [CALL_SEND] = {"SEND", call_send, OP_STAGE(CALL_ANSWERED)},
    [CALL_ANSWERED] = {"ANSWERED", call_answered, 0},
};
static const struct op_type call_type = {
    .name = "cli_call", .stages = call_stages, .stage_count = CALL_STAGES, .queue = READY_READ, .ended = call_ended};

int cli_session_call(struct cli_session *session, struct endpoint to, struct message *request, int64_t limit_us,
                     struct message **ret_reply)
{
    struct any_call any = {.session = session, .to = to, .request = request, .limit_us = limit_us, .error = ERROR_TIMED_OUT};
    struct op_list ops = {0};
    int error;

    op_list_init(&ops, session->env, session);
    prepare(session);
    op_start(&any.op, &call_type, &ops);
    error = run(session, env_now_us(session->env) + limit_us, false);
    op_cancel_all(&ops);
    if (error == 0)
        error = any.error;
    if (error == 0)
        *ret_reply = rpc_call_take(&any.call);
    rpc_call_clear(&any.call);
    message_unref(any.request);
    return error;
}

int cli_session_status(struct cli_session *session, int64_t limit_us, struct bytes_buffer *ret_json)
{
    struct client_status status = {.json = {0}};
    int error;

    cli_session_begin(session, &status.call);
    client_status_start(&status, NULL, session->client);
    error = run(session, env_now_us(session->env) + limit_us, false);
    if (error == 0)
        error = status.call.error;
    if (error == 0) {
        *ret_json = status.json;
        status.json = (struct bytes_buffer){0};
    }
    client_status_done(&status);
    return error;
}

/* ---- life ---- */

static int open_embedded(struct cli_session *session)
{
    int error = embedded_open(session->env, &session->hosts, session->path, &session->embedded, session->why, sizeof(session->why));
    struct client_options options;

    if (error != 0)
        return error;
    options = embedded_client_options(session->embedded);
    session->file.coordinators[0] = options.coordinators[0];
    session->file.coordinator_count = 1;
    return 0;
}

static void coordinators_changed(void *ctx, const struct address *coordinators, uint32_t count)
{
    struct cli_session *session = ctx;

    if (session->embedded != NULL || count > CLUSTER_FILE_COORDINATORS_MAX)
        return;
    (void)cluster_file_update(session->path, coordinators, count);
    memcpy(session->file.coordinators, coordinators, count * sizeof(*coordinators));
    session->file.coordinator_count = count;
}

int cli_session_open(struct cli_session *session, const char *path, bool interactive)
{
    struct env_posix_options options = {.trace_stderr = false, .on_signal = interactive ? on_signal : NULL, .ctx = session};
    const char *found = find_cluster_file(path);
    struct client_options client_options;
    int error;

    *session = (struct cli_session){.interactive = interactive, .tick = {.fire = tick_fired}};
    snprintf(session->path, sizeof(session->path), "%s", found);
    list_init(&session->hosts.open);
    error = client_name_is_hosted(found) ? 0 : read_cluster_file(session, path != NULL);
    if (error != 0)
        return error;
    error = env_posix_create(&options, &session->env);
    if (error == 0 && client_name_is_hosted(found))
        error = open_embedded(session);
    client_options = (struct client_options){.coordinators = session->file.coordinators,
                                             .coordinator_count = session->file.coordinator_count,
                                             .rpc = session->embedded == NULL ? NULL : embedded_client_options(session->embedded).rpc,
                                             .coordinators_changed = coordinators_changed,
                                             .ctx = session};
    if (error == 0)
        error = client_create(session->env, &client_options, &session->client);
    if (error != 0 && session->why[0] == '\0')
        snprintf(session->why, sizeof(session->why), "%s", error_text(error));
    return error;
}

void cli_session_close(struct cli_session *session)
{
    if (session->env == NULL)
        return;
    client_destroy(session->client);
    embedded_close(session->embedded);
    while (embedded_any_closing(&session->hosts))
        cli_session_idle(session);
    session->embedded = NULL;
    env_posix_destroy(session->env);
    session->client = NULL;
    session->env = NULL;
}
