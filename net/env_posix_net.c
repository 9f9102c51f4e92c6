/* Sockets: non-blocking, TCP_NODELAY, one read an event into the env's scratch buffer, writes at once.
 *
 * A send tries the socket directly and keeps only what the socket does not take, as a chain of the senders' own buffers; then
 * EV_WRITE finishes it. closed() is never called from inside a call of the user: what ends a connection marks it broken, stops
 * its events and queues the call.
 *
 * The user may close (and so free) a connection inside any of its callbacks: after a callback nothing touches it. */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "net/env_posix_impl.h"
#include "net/error.h"
#include "net/mem.h"
#include "net/trace.h"

enum { ACCEPTS_MAX = 64, WRITE_PIECES_MAX = 64, LISTEN_BACKLOG = 1024, ACCEPT_PAUSE_US = 100 * 1000 };

/* A sent buffer of which something is left. */
struct unsent {
    struct unsent *next;
    struct bytes_buffer data; /* owned */
};

enum conn_state { CONN_CONNECTING, CONN_OPEN, CONN_BROKEN };

struct env_conn {
    struct env_posix *posix;
    struct list link; /* posix->conns */
    int fd;
    enum conn_state state;
    bool paused;
    bool writing; /* write_event is added */
    bool drain_due;
    struct event read_event, write_event;
    const struct env_conn_events *events; /* NULL: accepted, not adopted */
    void *ctx;
    struct unsent *first, **tail;
    size_t first_offset; /* bytes of the first that are gone */
    size_t unsent_bytes;
    int error;           /* for closed() */
    struct ready closed;
};

struct env_listener {
    struct env_posix *posix;
    struct list link; /* posix->listeners */
    int fd;
    struct event event;
    struct env_timer pause; /* out of file descriptors */
    const struct env_listener_events *events;
    void *ctx;
};

static struct sockaddr_in to_sockaddr(struct address address)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)address.port),
                                .sin_addr.s_addr = htonl(address.ip)};
}

static struct address from_sockaddr(const struct sockaddr_in *from)
{
    return (struct address){.ip = ntohl(from->sin_addr.s_addr), .port = ntohs(from->sin_port)};
}

/* ---- the end of a connection ---- */

static void drop_unsent(struct env_conn *conn)
{
    while (conn->first != NULL) {
        struct unsent *next = conn->first->next;

        bytes_buffer_done(&conn->first->data);
        mem_free(conn->first);
        conn->first = next;
    }
    conn->tail = &conn->first;
    conn->first_offset = conn->unsent_bytes = 0;
}

static void conn_free(struct env_conn *conn)
{
    if (conn->posix->accepting == conn)
        conn->posix->accepting = NULL;
    event_del(&conn->read_event);
    event_del(&conn->write_event);
    env_ready_cancel(&conn->closed);
    close(conn->fd);
    drop_unsent(conn);
    list_remove(&conn->link);
    mem_free(conn);
}

static void run_closed(struct ready *ready)
{
    struct env_conn *conn = container_of(ready, struct env_conn, closed);
    const struct env_conn_events *events = conn->events;
    void *ctx = conn->ctx;
    int error = conn->error;

    conn_free(conn);
    events->closed(ctx, error);
}

static void conn_break(struct env_conn *conn, int error)
{
    if (conn->state == CONN_BROKEN)
        return;
    conn->state = CONN_BROKEN;
    conn->error = error;
    event_del(&conn->read_event);
    event_del(&conn->write_event);
    drop_unsent(conn);
    conn->closed.run = run_closed;
    env_ready(&conn->posix->env, &conn->closed, READY_COMMIT);
}

void posix_conn_close(struct env_conn *conn)
{
    conn_free(conn);
}

/* ---- writing ---- */

static bool would_block(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK;
}

/* Forgets `sent` bytes of the chain. */
static void unsent_advance(struct env_conn *conn, size_t sent)
{
    conn->unsent_bytes -= sent;
    sent += conn->first_offset;
    while (conn->first != NULL && sent >= conn->first->data.len) {
        struct unsent *first = conn->first;

        sent -= first->data.len;
        conn->first = first->next;
        bytes_buffer_done(&first->data);
        mem_free(first);
    }
    if (conn->first == NULL)
        conn->tail = &conn->first;
    conn->first_offset = sent;
}

static unsigned unsent_pieces(const struct env_conn *conn, struct iovec pieces[WRITE_PIECES_MAX])
{
    size_t skip = conn->first_offset;
    unsigned count = 0;

    for (struct unsent *at = conn->first; at != NULL && count < WRITE_PIECES_MAX; at = at->next, skip = 0)
        pieces[count++] = (struct iovec){.iov_base = at->data.ptr + skip, .iov_len = at->data.len - skip};
    return count;
}

static ssize_t write_pieces(int fd, struct iovec *pieces, size_t count)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
    ssize_t sent;

    do
        sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent;
}

/* Writes until the chain is empty or the socket is full. */
static void write_unsent(struct env_conn *conn)
{
    struct iovec pieces[WRITE_PIECES_MAX];

    while (conn->first != NULL) {
        ssize_t sent = write_pieces(conn->fd, pieces, unsent_pieces(conn, pieces));

        if (sent < 0 && would_block(errno))
            return;
        if (sent < 0) {
            conn_break(conn, ERROR_CONNECTION_FAILED);
            return;
        }
        unsent_advance(conn, (size_t)sent);
    }
}

static void set_writing(struct env_conn *conn, bool writing)
{
    if (conn->writing == writing)
        return;
    conn->writing = writing;
    if (!writing)
        event_del(&conn->write_event);
    else if (event_add(&conn->write_event, NULL) != 0)
        conn_break(conn, ERROR_OUT_OF_MEMORY);
}

static void queue_unsent(struct env_conn *conn, struct bytes_buffer *data)
{
    struct unsent *unsent = mem_alloc(sizeof(*unsent));

    if (unsent == NULL) {
        bytes_buffer_done(data);
        conn_break(conn, ERROR_OUT_OF_MEMORY);
        return;
    }
    unsent->next = NULL;
    unsent->data = *data;
    *data = (struct bytes_buffer){0};
    *conn->tail = unsent;
    conn->tail = &unsent->next;
    conn->unsent_bytes += unsent->data.len;
}

/* The common case: nothing waits and the socket takes it all; no chain is built. */
static bool write_directly(struct env_conn *conn, struct bytes_buffer *data)
{
    struct iovec piece = {.iov_base = data->ptr, .iov_len = data->len};
    ssize_t sent = write_pieces(conn->fd, &piece, 1);

    if (sent < 0 && !would_block(errno))
        conn_break(conn, ERROR_CONNECTION_FAILED);
    if (conn->state == CONN_BROKEN || sent == (ssize_t)data->len) {
        bytes_buffer_done(data);
        return true;
    }
    if (sent > 0)
        conn->first_offset = (size_t)sent;
    return false;
}

void posix_conn_send(struct env_conn *conn, struct bytes_buffer *data)
{
    assert(conn->events != NULL);
    if (conn->state == CONN_BROKEN || data->len == 0) {
        bytes_buffer_done(data);
        return;
    }
    if (conn->state == CONN_OPEN && conn->first == NULL && write_directly(conn, data))
        return;
    queue_unsent(conn, data);
    if (conn->state == CONN_BROKEN)
        return;
    if (conn->first->next == NULL)
        conn->unsent_bytes -= conn->first_offset; /* what write_directly sent of it */
    conn->drain_due = true;
    set_writing(conn, true);
}

size_t posix_conn_unsent_bytes(struct env_conn *conn)
{
    return conn->unsent_bytes;
}

/* ---- events ---- */

/* A connect to a free port of the own machine may meet itself. */
static bool is_connected_to_itself(int fd)
{
    struct sockaddr_in own, peer;
    socklen_t own_len = sizeof(own), peer_len = sizeof(peer);

    return getsockname(fd, (struct sockaddr *)&own, &own_len) == 0 &&
           getpeername(fd, (struct sockaddr *)&peer, &peer_len) == 0 && own.sin_port == peer.sin_port &&
           own.sin_addr.s_addr == peer.sin_addr.s_addr;
}

static void conn_established(struct env_conn *conn)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0 || is_connected_to_itself(conn->fd)) {
        conn_break(conn, ERROR_CONNECTION_FAILED);
        return;
    }
    conn->state = CONN_OPEN;
    if (conn->first == NULL)
        set_writing(conn, false);
    if (!conn->paused && event_add(&conn->read_event, NULL) != 0)
        conn_break(conn, ERROR_OUT_OF_MEMORY);
    else if (conn->events->opened != NULL)
        conn->events->opened(conn->ctx);
}

static void conn_writable(evutil_socket_t fd, short what, void *ctx)
{
    struct env_conn *conn = ctx;

    (void)fd, (void)what;
    env_posix_event(conn->posix);
    if (conn->state == CONN_CONNECTING) {
        conn_established(conn);
        return;
    }
    write_unsent(conn);
    if (conn->state == CONN_BROKEN || conn->first != NULL)
        return;
    set_writing(conn, false);
    if (conn->drain_due) {
        conn->drain_due = false;
        if (conn->events->drained != NULL)
            conn->events->drained(conn->ctx);
    }
}

static void conn_readable(evutil_socket_t fd, short what, void *ctx)
{
    struct env_conn *conn = ctx;
    struct env_posix *posix = conn->posix;
    ssize_t got;

    (void)what;
    env_posix_event(posix);
    if (posix->scratch == NULL)
        posix->scratch = mem_alloc(SCRATCH_BYTES);
    if (posix->scratch == NULL) {
        conn_break(conn, ERROR_OUT_OF_MEMORY);
        return;
    }
    do
        got = recv(fd, posix->scratch, SCRATCH_BYTES, 0);
    while (got < 0 && errno == EINTR);
    if (got > 0)
        conn->events->received(conn->ctx, bytes_of(posix->scratch, (size_t)got));
    else if (got == 0 || !would_block(errno))
        conn_break(conn, ERROR_CONNECTION_FAILED);
}

void posix_conn_pause(struct env_conn *conn, bool paused)
{
    if (conn->paused == paused)
        return;
    conn->paused = paused;
    if (conn->state != CONN_OPEN || conn->events == NULL)
        return;
    if (paused)
        event_del(&conn->read_event);
    else if (event_add(&conn->read_event, NULL) != 0)
        conn_break(conn, ERROR_OUT_OF_MEMORY);
}

/* ---- the beginning of a connection ---- */

/* Takes fd, also when it fails. */
static struct env_conn *conn_create(struct env_posix *posix, int fd, enum conn_state state)
{
    struct env_conn *conn = mem_zalloc(sizeof(*conn));
    int on = 1;

    if (conn == NULL) {
        close(fd);
        return NULL;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    conn->posix = posix;
    conn->fd = fd;
    conn->state = state;
    conn->tail = &conn->first;
    event_assign(&conn->read_event, posix->base, fd, EV_READ | EV_PERSIST, conn_readable, conn);
    event_assign(&conn->write_event, posix->base, fd, EV_WRITE | EV_PERSIST, conn_writable, conn);
    list_push_back(&posix->conns, &conn->link);
    return conn;
}

int posix_connect(struct env *env, struct address to, const struct env_conn_events *events, void *ctx,
                  struct env_conn **ret_conn)
{
    struct sockaddr_in peer = to_sockaddr(to);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct env_conn *conn;

    if (fd < 0)
        return ERROR_CONNECTION_FAILED;
    conn = conn_create(env_posix_of(env), fd, CONN_CONNECTING);
    if (conn == NULL)
        return ERROR_OUT_OF_MEMORY;
    conn->events = events;
    conn->ctx = ctx;
    if (connect(fd, (struct sockaddr *)&peer, sizeof(peer)) != 0 && errno != EINPROGRESS && errno != EINTR) {
        conn_free(conn);
        return ERROR_CONNECTION_FAILED;
    }
    conn->writing = true;
    if (event_add(&conn->write_event, NULL) != 0) {
        conn_free(conn);
        return ERROR_OUT_OF_MEMORY;
    }
    *ret_conn = conn;
    return 0;
}

void posix_conn_adopt(struct env_conn *conn, const struct env_conn_events *events, void *ctx)
{
    assert(conn->events == NULL);
    conn->events = events;
    conn->ctx = ctx;
    if (!conn->paused && event_add(&conn->read_event, NULL) != 0)
        conn_break(conn, ERROR_OUT_OF_MEMORY);
}

/* ---- listeners ---- */

static void accept_again(struct env_timer *timer)
{
    struct env_listener *listener = container_of(timer, struct env_listener, pause);

    if (event_add(&listener->event, NULL) != 0)
        env_timer_start(&listener->posix->env, timer, listener->posix->env.turn_us + ACCEPT_PAUSE_US);
}

/* Without file descriptors the waiting connection would wake the loop for ever. */
static void accept_pause(struct env_listener *listener, int error)
{
    struct env *env = &listener->posix->env;

    event_del(&listener->event);
    listener->pause.fire = accept_again;
    env_timer_start(env, &listener->pause, env->turn_us + ACCEPT_PAUSE_US);
    TRACE(env, SEVERITY_WARN_ALWAYS, "AcceptFailed", {"Errno", trace_int(error)});
}

/* False when there is nothing more to accept now. */
static bool accept_one(struct env_listener *listener)
{
    struct env_posix *posix = listener->posix;
    struct sockaddr_in peer;
    socklen_t len = sizeof(peer);
    int fd = accept4(listener->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            accept_pause(listener, errno);
        return errno == EINTR || errno == ECONNABORTED;
    }
    posix->accepting = conn_create(posix, fd, CONN_OPEN);
    if (posix->accepting == NULL)
        return true;
    listener->events->accepted(listener->ctx, posix->accepting, from_sockaddr(&peer));
    assert(posix->accepting == NULL || posix->accepting->events != NULL);
    posix->accepting = NULL;
    return true;
}

static void listener_readable(evutil_socket_t fd, short what, void *ctx)
{
    struct env_listener *listener = ctx;
    struct env_posix *posix = listener->posix;

    (void)fd, (void)what;
    env_posix_event(posix);
    posix->accepting_listener = listener;
    for (int i = 0; i < ACCEPTS_MAX && posix->accepting_listener != NULL; i++)
        if (!accept_one(listener))
            break;
    posix->accepting_listener = NULL;
}

static int bind_listener(struct address at, int *ret_fd)
{
    struct sockaddr_in own = to_sockaddr(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1, error;

    if (fd < 0)
        return ERROR_BIND_FAILED;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&own, sizeof(own)) == 0 && listen(fd, LISTEN_BACKLOG) == 0) {
        *ret_fd = fd;
        return 0;
    }
    error = errno == EADDRINUSE ? ERROR_ADDRESS_IN_USE : ERROR_BIND_FAILED;
    close(fd);
    return error;
}

int posix_listen(struct env *env, struct address at, const struct env_listener_events *events, void *ctx,
                 struct env_listener **ret_listener)
{
    struct env_posix *posix = env_posix_of(env);
    struct env_listener *listener;
    int fd, error;

    if (at.port == 0 || at.port > 65535)
        return ERROR_BIND_FAILED;
    error = bind_listener(at, &fd);
    if (error != 0)
        return error;
    listener = mem_zalloc(sizeof(*listener));
    if (listener == NULL) {
        close(fd);
        return ERROR_OUT_OF_MEMORY;
    }
    listener->posix = posix;
    listener->fd = fd;
    listener->events = events;
    listener->ctx = ctx;
    list_push_back(&posix->listeners, &listener->link);
    event_assign(&listener->event, posix->base, fd, EV_READ | EV_PERSIST, listener_readable, listener);
    if (event_add(&listener->event, NULL) != 0) {
        posix_listener_close(listener);
        return ERROR_BIND_FAILED;
    }
    *ret_listener = listener;
    return 0;
}

void posix_listener_close(struct env_listener *listener)
{
    if (listener->posix->accepting_listener == listener)
        listener->posix->accepting_listener = NULL;
    env_timer_cancel(&listener->posix->env, &listener->pause);
    event_del(&listener->event);
    close(listener->fd);
    list_remove(&listener->link);
    mem_free(listener);
}

void posix_net_done(struct env_posix *posix)
{
    list_each(node, after, &posix->conns)
        conn_free(list_entry(node, struct env_conn, link));
    list_each(node, after, &posix->listeners)
        posix_listener_close(list_entry(node, struct env_listener, link));
}
