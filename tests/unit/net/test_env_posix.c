/* The real loop: sockets over loopback, timers, wake-ups from threads, signals, exit. */
#include "posix_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "net/error.h"

/* One end of a connection and what happened to it. */
struct end {
    struct env *env;
    struct env_conn *conn;
    struct end *accepts_into; /* of a listener */
    size_t received, echoed, stop_at;
    uint64_t sum; /* of the bytes, each times its position */
    bool echoes;
    int opened, drained, closed, error;
    bool stop_when_closed, stop_when_drained, stop_when_opened, close_at_first_byte;
};

static void end_opened(void *ctx)
{
    struct end *end = ctx;

    end->opened++;
    if (end->stop_when_opened)
        env_posix_stop(end->env);
}

static void end_received(void *ctx, struct bytes data)
{
    struct end *end = ctx;
    struct bytes_buffer copy = {0};

    for (size_t i = 0; i < data.len; i++)
        end->sum += (uint64_t)data.ptr[i] * (end->received + i + 1);
    end->received += data.len;
    if (end->close_at_first_byte) {
        env_conn_close(end->env, end->conn);
        end->conn = NULL;
        env_posix_stop(end->env);
        return;
    }
    if (end->echoes) {
        bytes_buffer_append(&copy, data);
        env_conn_send(end->env, end->conn, &copy);
    }
    if (end->received == end->stop_at)
        env_posix_stop(end->env);
}

static void end_drained(void *ctx)
{
    struct end *end = ctx;

    end->drained++;
    if (end->stop_when_drained)
        env_posix_stop(end->env);
}

static void end_closed(void *ctx, int error)
{
    struct end *end = ctx;

    end->closed++;
    end->error = error;
    end->conn = NULL;
    if (end->stop_when_closed)
        env_posix_stop(end->env);
}

static const struct env_conn_events end_events = {
    .opened = end_opened, .received = end_received, .drained = end_drained, .closed = end_closed};

static void end_accepted(void *ctx, struct env_conn *conn, struct address from)
{
    struct end *end = ctx;

    cr_assert_eq(from.ip, 0x7f000001);
    if (end->accepts_into == NULL) {
        env_conn_close(end->env, conn);
        return;
    }
    end->accepts_into->conn = conn;
    env_conn_adopt(end->env, conn, &end_events, end->accepts_into);
}

static const struct env_listener_events listener_events = {.accepted = end_accepted};

Test(env_posix, megabytes_are_echoed_unchanged)
{
    struct fixture fixture;
    struct end server = {.echoes = true}, listener = {.accepts_into = &server}, client = {.stop_at = 30 * 1000003};
    struct env_listener *listening;
    struct address at = free_address();
    uint64_t sum = 0;

    fixture_init(&fixture, NULL);
    server.env = listener.env = client.env = fixture.env;
    cr_assert_eq(env_listen(fixture.env, at, &listener_events, &listener, &listening), 0);
    cr_assert_eq(env_connect(fixture.env, at, &end_events, &client, &client.conn), 0);
    for (size_t i = 0, position = 1; i < 30; i++) { /* some of it before the connection is there */
        struct bytes_buffer data = buffer_of(1000003, (uint8_t)(i + 1));

        for (size_t j = 0; j < data.len; j++)
            sum += (i + 1) * position++;
        env_conn_send(fixture.env, client.conn, &data);
        cr_assert(data.ptr == NULL && data.len == 0);
    }
    cr_assert_eq(env_conn_unsent_bytes(fixture.env, client.conn), 30 * 1000003);
    cr_assert_eq(env_posix_run(fixture.env), 0);
    cr_assert_eq(client.opened, 1);
    cr_assert_eq(server.opened, 0, "opened is for the side that dials");
    cr_assert_eq(client.sum, sum);
    cr_assert_eq(server.sum, sum);
    cr_assert_eq(client.drained, 1);
    cr_assert_eq(env_conn_unsent_bytes(fixture.env, client.conn), 0);
    fixture_done(&fixture);
}

Test(env_posix, a_partly_written_send_is_counted_and_drained)
{
    struct fixture fixture;
    struct end server = {0}, listener = {.accepts_into = &server}, client = {.stop_when_opened = true};
    struct env_listener *listening;
    struct address at = free_address();
    struct bytes_buffer small = buffer_of(10, 1), large = buffer_of(20 << 20, 2);
    size_t unsent;

    fixture_init(&fixture, NULL);
    server.env = listener.env = client.env = fixture.env;
    env_listen(fixture.env, at, &listener_events, &listener, &listening);
    env_connect(fixture.env, at, &end_events, &client, &client.conn);
    env_posix_run(fixture.env);
    env_conn_send(fixture.env, client.conn, &small);
    cr_assert_eq(env_conn_unsent_bytes(fixture.env, client.conn), 0, "the socket took it at once");
    env_conn_send(fixture.env, client.conn, &large);
    unsent = env_conn_unsent_bytes(fixture.env, client.conn);
    cr_assert(unsent > 0 && unsent < 20 << 20);
    client.stop_when_drained = true;
    env_posix_run(fixture.env);
    cr_assert_eq(env_conn_unsent_bytes(fixture.env, client.conn), 0);
    server.stop_at = (20 << 20) + 10;
    if (server.received != server.stop_at)
        env_posix_run(fixture.env);
    cr_assert_eq(server.received, server.stop_at);
    fixture_done(&fixture);
}

Test(env_posix, a_half_closed_peer_counts_as_closed_after_its_bytes)
{
    struct fixture fixture;
    struct end server = {.stop_when_closed = true}, listener = {.accepts_into = &server};
    struct env_listener *listening;
    struct address at = free_address();
    int fd;

    fixture_init(&fixture, NULL);
    server.env = listener.env = fixture.env;
    env_listen(fixture.env, at, &listener_events, &listener, &listening);
    fd = dial(at);
    cr_assert_eq(write(fd, "last words", 10), 10);
    shutdown(fd, SHUT_WR);
    env_posix_run(fixture.env);
    cr_assert_eq(server.received, 10);
    cr_assert_eq(server.closed, 1);
    cr_assert_eq(server.error, ERROR_CONNECTION_FAILED);
    close(fd);
    fixture_done(&fixture);
}

Test(env_posix, a_reset_is_told_later_and_not_from_inside_a_send)
{
    struct fixture fixture;
    struct end server = {.stop_at = 1}, listener = {.accepts_into = &server};
    struct env_listener *listening;
    struct address at = free_address();
    struct linger abort_it = {.l_onoff = 1, .l_linger = 0};
    int fd;

    fixture_init(&fixture, NULL);
    server.env = listener.env = fixture.env;
    env_listen(fixture.env, at, &listener_events, &listener, &listening);
    fd = dial(at);
    cr_assert_eq(write(fd, "x", 1), 1);
    env_posix_run(fixture.env);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_it, sizeof(abort_it));
    close(fd);
    usleep(20000);
    for (int i = 0; i < 3; i++) {
        struct bytes_buffer data = buffer_of(100, 1);

        env_conn_send(fixture.env, server.conn, &data);
        cr_assert_null(data.ptr);
        cr_assert_eq(server.closed, 0);
    }
    server.stop_when_closed = true;
    env_posix_run(fixture.env);
    cr_assert_eq(server.closed, 1);
    fixture_done(&fixture);
}

Test(env_posix, a_refused_connection_is_closed_and_never_opened)
{
    struct fixture fixture;
    struct end client = {.stop_when_closed = true};

    fixture_init(&fixture, NULL);
    client.env = fixture.env;
    if (env_connect(fixture.env, free_address(), &end_events, &client, &client.conn) == 0) {
        cr_assert_eq(client.closed, 0);
        env_posix_run(fixture.env);
        cr_assert_eq(client.closed, 1);
        cr_assert_eq(client.opened, 0);
    }
    fixture_done(&fixture);
}

Test(env_posix, a_connection_may_be_closed_inside_its_own_callback_and_on_accepting)
{
    struct fixture fixture;
    struct end server = {.close_at_first_byte = true}, listener = {.accepts_into = &server};
    struct env_listener *listening;
    struct address at = free_address();
    char byte;
    int fd;

    fixture_init(&fixture, NULL);
    server.env = listener.env = fixture.env;
    env_listen(fixture.env, at, &listener_events, &listener, &listening);
    fd = dial(at);
    cr_assert_eq(write(fd, "x", 1), 1);
    env_posix_run(fixture.env);
    cr_assert_eq(server.closed, 0, "never after env_conn_close");
    cr_assert_eq(read(fd, &byte, 1), 0);
    close(fd);
    listener.accepts_into = NULL;
    fd = dial(at);
    run_for(&fixture, 20000);
    cr_assert_eq(read(fd, &byte, 1), 0);
    close(fd);
    fixture_done(&fixture);
}

Test(env_posix, a_paused_connection_delivers_nothing_until_it_goes_on)
{
    struct fixture fixture;
    struct end server = {.stop_at = 1}, listener = {.accepts_into = &server};
    struct env_listener *listening;
    struct address at = free_address();
    int fd;

    fixture_init(&fixture, NULL);
    server.env = listener.env = fixture.env;
    env_listen(fixture.env, at, &listener_events, &listener, &listening);
    fd = dial(at);
    cr_assert_eq(write(fd, "x", 1), 1);
    env_posix_run(fixture.env);
    env_conn_pause(fixture.env, server.conn, true);
    cr_assert_eq(write(fd, "y", 1), 1);
    run_for(&fixture, 20000);
    cr_assert_eq(server.received, 1);
    env_conn_pause(fixture.env, server.conn, false);
    server.stop_at = 2;
    env_posix_run(fixture.env);
    cr_assert_eq(server.received, 2);
    close(fd);
    fixture_done(&fixture);
}

Test(env_posix, a_port_in_use_or_a_foreign_address_cannot_be_listened_on)
{
    struct fixture fixture;
    struct end listener = {0};
    struct env_listener *one, *two = NULL;
    struct address at = free_address();

    fixture_init(&fixture, NULL);
    cr_assert_eq(env_listen(fixture.env, at, &listener_events, &listener, &one), 0);
    cr_assert_eq(env_listen(fixture.env, at, &listener_events, &listener, &two), ERROR_ADDRESS_IN_USE);
    at.ip = 0x01020304;
    cr_assert_eq(env_listen(fixture.env, at, &listener_events, &listener, &two), ERROR_BIND_FAILED);
    cr_assert_null(two);
    env_listener_close(one, fixture.env);
    env_listener_close(NULL, fixture.env);
    fixture_done(&fixture);
}

Test(env_posix, without_file_descriptors_accepting_waits_and_goes_on)
{
    struct fixture fixture;
    struct end server = {.stop_at = 1}, listener = {.accepts_into = &server};
    struct env_listener *listening;
    struct address at = free_address();
    struct rlimit limit, low;
    int fd;

    fixture_init(&fixture, NULL);
    server.env = listener.env = fixture.env;
    env_listen(fixture.env, at, &listener_events, &listener, &listening);
    fd = dial(at);
    cr_assert_eq(write(fd, "x", 1), 1);
    getrlimit(RLIMIT_NOFILE, &limit);
    low = limit;
    low.rlim_cur = (rlim_t)fd + 1;
    setrlimit(RLIMIT_NOFILE, &low);
    run_for(&fixture, 30000);
    cr_assert_null(server.conn);
    setrlimit(RLIMIT_NOFILE, &limit);
    env_posix_run(fixture.env);
    cr_assert_eq(server.received, 1);
    close(fd);
    fixture_done(&fixture);
}

/* ---- timers, wake-ups, signals, exit ---- */

struct ticker {
    struct env_timer timer;
    struct env *env;
    int left;
    int64_t late_us;
};

static void tick(struct env_timer *timer)
{
    struct ticker *ticker = container_of(timer, struct ticker, timer);

    cr_assert_geq(env_now_us(ticker->env), timer->at_us, "never early");
    ticker->late_us += env_now_us(ticker->env) - timer->at_us;
    if (--ticker->left == 0)
        env_posix_stop(ticker->env);
    else
        env_timer_start(ticker->env, timer, env_now_us(ticker->env) + 100);
}

Test(env_posix, a_timer_of_100_microseconds_is_not_a_timer_of_4_milliseconds)
{
    struct fixture fixture;
    struct ticker ticker = {.timer.fire = tick, .left = 100};

    fixture_init(&fixture, NULL);
    ticker.env = fixture.env;
    env_timer_start(fixture.env, &ticker.timer, 0);
    ticker.late_us = -env_now_us(fixture.env); /* the first is late on purpose */
    env_posix_run(fixture.env);
    cr_assert_lt(ticker.late_us, 100 * 2000);
    fixture_done(&fixture);
}

enum { WAKERS = 4, WAKES_EACH = 20000 };

struct mailbox {
    struct env *env;
    atomic_int posted;
    int taken, empty_looks;
};

static bool take_mail(void *ctx)
{
    struct mailbox *mailbox = ctx;
    int posted = atomic_exchange(&mailbox->posted, 0);

    mailbox->taken += posted;
    if (posted == 0)
        mailbox->empty_looks++;
    if (mailbox->taken == WAKERS * WAKES_EACH)
        env_posix_stop(mailbox->env);
    return posted != 0;
}

static void *post_mail(void *ctx)
{
    struct mailbox *mailbox = ctx;

    for (int i = 0; i < WAKES_EACH; i++) {
        atomic_fetch_add_explicit(&mailbox->posted, 1, memory_order_release);
        env_posix_wake(mailbox->env);
        if (i % 100 == 0)
            usleep(50);
    }
    return NULL;
}

Test(env_posix, no_wake_up_from_another_thread_is_lost)
{
    struct fixture fixture;
    struct mailbox mailbox = {0};
    struct env_posix_options options = {.on_wake = take_mail, .ctx = &mailbox};
    pthread_t threads[WAKERS];

    fixture_init(&fixture, &options);
    mailbox.env = fixture.env;
    for (int i = 0; i < WAKERS; i++)
        pthread_create(&threads[i], NULL, post_mail, &mailbox);
    env_posix_run(fixture.env);
    for (int i = 0; i < WAKERS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(mailbox.taken, WAKERS * WAKES_EACH);
    fixture_done(&fixture);
}

static void *stop_soon(void *ctx)
{
    usleep(5000);
    env_posix_stop(ctx);
    return NULL;
}

Test(env_posix, another_thread_can_stop_a_sleeping_loop)
{
    struct fixture fixture;
    pthread_t thread;

    fixture_init(&fixture, NULL);
    pthread_create(&thread, NULL, stop_soon, fixture.env);
    cr_assert_eq(env_posix_run(fixture.env), 0);
    pthread_join(thread, NULL);
    fixture_done(&fixture);
}

struct signalled {
    struct env *env;
    int signal;
};

static void note_signal(void *ctx, int signal)
{
    struct signalled *signalled = ctx;

    signalled->signal = signal;
    env_posix_stop(signalled->env);
}

Test(env_posix, sigterm_is_an_event)
{
    struct fixture fixture;
    struct signalled signalled = {0};
    struct env_posix_options options = {.on_signal = note_signal, .ctx = &signalled};

    fixture_init(&fixture, &options);
    signalled.env = fixture.env;
    kill(getpid(), SIGTERM);
    cr_assert_eq(env_posix_run(fixture.env), 0);
    cr_assert_eq(signalled.signal, SIGTERM);
    fixture_done(&fixture);
}

static void exit_twice(struct ready *ready);

struct leaver {
    struct ready ready;
    struct env *env;
};

static void exit_twice(struct ready *ready)
{
    struct env *env = container_of(ready, struct leaver, ready)->env;

    env_exit(env, 3, "the first reason counts");
    env_exit(env, 4, "the second does not");
}

Test(env_posix, exit_ends_the_run_with_its_status)
{
    struct fixture fixture;
    struct leaver leaver = {.ready.run = exit_twice};

    fixture_init(&fixture, NULL);
    leaver.env = fixture.env;
    env_ready(fixture.env, &leaver.ready, READY_COMMIT);
    cr_assert_eq(env_posix_run(fixture.env), 3);
    fixture_done(&fixture);
}

Test(env_posix, random_numbers_differ_between_envs)
{
    struct fixture one, two;

    fixture_init(&one, NULL);
    fixture_init(&two, NULL);
    cr_assert_neq(env_random(one.env), env_random(two.env));
    cr_assert_neq(env_random(one.env), env_random(one.env));
    cr_assert_lt(env_random_below(one.env, 10), 10);
    fixture_done(&one);
    fixture_done(&two);
}
