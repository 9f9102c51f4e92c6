/* What the tests of env_posix share: an env with a watchdog, a free port, a scratch directory. */
#pragma once

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/env_posix.h"

struct fixture {
    struct env *env;
    struct env_timer watchdog;
    char dir[64];
};

static inline void fixture_bark(struct env_timer *watchdog)
{
    (void)watchdog;
    cr_assert_fail("the test did not finish in 10 s");
}

static inline void fixture_init(struct fixture *fixture, const struct env_posix_options *options)
{
    static const struct env_posix_options none;

    *fixture = (struct fixture){.watchdog.fire = fixture_bark, .dir = "/tmp/quoin-test-XXXXXX"};
    cr_assert_not_null(mkdtemp(fixture->dir));
    cr_assert_eq(env_posix_create(options == NULL ? &none : options, &fixture->env), 0);
    env_timer_start(fixture->env, &fixture->watchdog, env_now_us(fixture->env) + 10000000);
}

static inline int fixture_remove(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static inline void fixture_done(struct fixture *fixture)
{
    env_timer_cancel(fixture->env, &fixture->watchdog);
    env_posix_destroy(fixture->env);
    nftw(fixture->dir, fixture_remove, 8, FTW_DEPTH | FTW_PHYS);
}

struct stopper {
    struct env_timer timer;
    struct env *env;
};

static inline void stopper_fire(struct env_timer *timer)
{
    env_posix_stop(container_of(timer, struct stopper, timer)->env);
}

static inline void run_for(struct fixture *fixture, int64_t time_us)
{
    struct stopper stopper = {.timer.fire = stopper_fire, .env = fixture->env};

    env_timer_start(fixture->env, &stopper.timer, env_now_us(fixture->env) + time_us);
    env_posix_run(fixture->env);
    env_timer_cancel(fixture->env, &stopper.timer);
}

static inline const char *fixture_path(struct fixture *fixture, const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", fixture->dir, name);
    return out;
}

/* A port that nobody uses now. */
static inline struct address free_address(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    close(fd);
    return (struct address){.ip = 0x7f000001, .port = ntohs(at.sin_port)};
}

/* A plain blocking socket, connected. */
static inline int dial(struct address to)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(to.ip), .sin_port = htons((uint16_t)to.port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    cr_assert_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

static inline struct bytes_buffer buffer_of(size_t len, uint8_t fill)
{
    struct bytes_buffer buffer = {0};

    cr_assert_eq(bytes_buffer_reserve(&buffer, len), 0);
    memset(buffer.ptr, fill, len);
    buffer.len = len;
    return buffer;
}
