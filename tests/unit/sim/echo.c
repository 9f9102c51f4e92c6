/* The server echoes each chunk; the client keeps one message of numbered bytes under way, checks that what comes back is what
 * it sent, byte by byte, and dials again when the connection is lost or nothing has come back for a second. */
#include "tests/unit/sim/echo.h"

#include <assert.h>

#include "net/mem.h"

struct server {
    struct env *env;
    struct env_listener *listener;
    struct list peers;
};

struct peer {
    struct list link;
    struct server *server;
    struct env_conn *conn;
};

static void send_copy(struct env *env, struct env_conn *conn, struct bytes data)
{
    struct bytes_buffer buffer = {0};

    assert(bytes_buffer_append(&buffer, data) == 0);
    env_conn_send(env, conn, &buffer);
}

static void peer_received(void *ctx, struct bytes data)
{
    struct peer *peer = ctx;

    send_copy(peer->server->env, peer->conn, data);
}

static void peer_closed(void *ctx, int error)
{
    struct peer *peer = ctx;

    (void)error;
    list_remove(&peer->link);
    mem_free(peer);
}

static const struct env_conn_events peer_events = {.received = peer_received, .closed = peer_closed};

static void server_accepted(void *ctx, struct env_conn *conn, struct address from)
{
    struct server *server = ctx;
    struct peer *peer = mem_zalloc(sizeof(*peer));

    (void)from;
    peer->server = server;
    peer->conn = conn;
    list_push_back(&server->peers, &peer->link);
    env_conn_adopt(server->env, conn, &peer_events, peer);
}

static const struct env_listener_events listener_events = {.accepted = server_accepted};

static int server_start(struct sim_process *process, void *ctx)
{
    struct server *server = mem_zalloc(sizeof(*server));

    (void)ctx;
    server->env = &process->env;
    list_init(&server->peers);
    process->instance = server;
    return env_listen(&process->env, process->address, &listener_events, server, &server->listener);
}

static void server_kill(struct sim_process *process, void *ctx)
{
    struct server *server = process->instance;

    (void)ctx;
    list_each(link, after, &server->peers) {
        struct peer *peer = list_entry(link, struct peer, link);

        env_conn_close(server->env, peer->conn);
        mem_free(peer);
    }
    env_listener_close(server->listener, server->env);
    mem_free(server);
}

const struct sim_program echo_server = {server_start, server_kill};

struct client {
    struct env *env;
    struct env_conn *conn;
    struct env_timer timer;
    struct echo_client_stats *stats;
    uint64_t next_out, next_in; /* bytes of this connection */
    unsigned message_bytes;
};

static void client_send(struct client *client)
{
    struct bytes_buffer buffer = {0};

    for (unsigned i = 0; i < client->message_bytes; i++) {
        uint8_t byte = (uint8_t)(client->next_out++ * 7);

        assert(bytes_buffer_append(&buffer, bytes_of(&byte, 1)) == 0);
    }
    client->stats->sent++;
    env_conn_send(client->env, client->conn, &buffer);
    env_timer_start(client->env, &client->timer, client->env->turn_us + SIM_SECOND_US);
}

static void client_opened(void *ctx)
{
    struct client *client = ctx;

    client->stats->opened++;
    client_send(client);
}

static void client_received(void *ctx, struct bytes data)
{
    struct client *client = ctx;

    for (size_t i = 0; i < data.len; i++)
        if (data.ptr[i] != (uint8_t)(client->next_in++ * 7))
            sim_world_fail(sim_process_of(client->env)->world, "byte %d of an echo differs", (int)client->next_in);
    if (client->next_in < client->next_out)
        return;
    client->stats->received++;
    client_send(client);
}

static void client_closed(void *ctx, int error)
{
    struct client *client = ctx;

    client->conn = NULL;
    client->stats->closed++;
    client->stats->last_error = error;
    env_timer_start(client->env, &client->timer, client->env->turn_us + client->stats->reconnect_us);
}

static const struct env_conn_events client_events = {
    .opened = client_opened, .received = client_received, .closed = client_closed};

static void client_dial(struct env_timer *timer)
{
    struct client *client = container_of(timer, struct client, timer);

    if (client->conn != NULL)
        env_conn_close(client->env, client->conn);
    client->conn = NULL;
    client->next_in = client->next_out = 0;
    assert(env_connect(client->env, client->stats->server, &client_events, client, &client->conn) == 0);
    env_timer_start(client->env, &client->timer, client->env->turn_us + SIM_SECOND_US);
}

static int client_start(struct sim_process *process, void *ctx)
{
    struct client *client = mem_zalloc(sizeof(*client));

    client->env = &process->env;
    client->stats = ctx;
    client->message_bytes = client->stats->message_bytes == 0 ? 8 : client->stats->message_bytes;
    client->timer.fire = client_dial;
    process->instance = client;
    client_dial(&client->timer);
    return 0;
}

static void client_kill(struct sim_process *process, void *ctx)
{
    struct client *client = process->instance;

    (void)ctx;
    if (client->conn != NULL)
        env_conn_close(client->env, client->conn);
    env_timer_cancel(client->env, &client->timer);
    mem_free(client);
}

const struct sim_program echo_client = {client_start, client_kill};
