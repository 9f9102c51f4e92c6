/* --measure: what a client costs, a figure at a time, each beside the bound that it has to keep.
 *
 * Here: the order, the table, and the latency of one get beside a ping-pong of the same machine in the same minute. That is two
 * processes that send 100 bytes to and fro on one loopback connection with blocking calls: what two wake-ups and the kernel's
 * way cost, without any of ours. */
#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/mem.h"
#include "tools/bench.h"

enum { PING_BYTES = 100, GET_ABOVE_PING_US = 60, VERSION_AGE_US_MAX = 1000000 };

/* ---- figures ---- */

void bench_figure(struct bench_figures *figures, const char *name, const char *unit, double value)
{
    struct bench_figure *figure = &figures->list[figures->count];

    if (figures->count == BENCH_FIGURES_MAX)
        abort();
    *figure = (struct bench_figure){.unit = unit, .value = value};
    snprintf(figure->name, sizeof(figure->name), "%s", name);
    figures->count++;
}

void bench_figure_at_least(struct bench_figures *figures, double bound)
{
    figures->list[figures->count - 1].bound = bound;
    figures->list[figures->count - 1].at_least = true;
}

void bench_figure_at_most(struct bench_figures *figures, double bound)
{
    figures->list[figures->count - 1].bound = bound;
}

static bool held(const struct bench_figure *figure)
{
    return figure->bound == 0 || (figure->at_least ? figure->value >= figure->bound : figure->value <= figure->bound);
}

static void print_table(const struct bench_figures *figures)
{
    printf("%-44s %14s %-14s %s\n", "measured", "value", "unit", "bound");
    for (int i = 0; i < figures->count; i++) {
        const struct bench_figure *figure = &figures->list[i];

        printf("%-44s %14.*f %-14s", figure->name, figure->value < 100 ? 2 : 0, figure->value, figure->unit);
        if (figure->bound != 0)
            printf(" %s %.0f: %s", figure->at_least ? "at least" : "at most", figure->bound, held(figure) ? "held" : "MISSED");
        printf("\n");
    }
}

static void print_json(const struct bench_figures *figures)
{
    json_t *object = json_object();

    for (int i = 0; i < figures->count; i++) {
        const struct bench_figure *figure = &figures->list[i];
        json_t *one = json_object();

        json_object_set_new(one, "value", json_real(figure->value));
        json_object_set_new(one, "unit", json_string(figure->unit));
        if (figure->bound != 0) {
            json_object_set_new(one, figure->at_least ? "at_least" : "at_most", json_real(figure->bound));
            json_object_set_new(one, "held", json_boolean(held(figure)));
        }
        json_object_set_new(object, figure->name, one);
    }
    json_dumpf(object, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
    printf("\n");
    json_decref(object);
}

/* ---- the ping-pong ---- */

static bool move_all(int fd, char *data, bool send_it)
{
    size_t done = 0;

    while (done < PING_BYTES) {
        ssize_t got = send_it ? send(fd, data + done, PING_BYTES - done, MSG_NOSIGNAL) : recv(fd, data + done, PING_BYTES - done, 0);

        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

/* In a child of a process with threads: nothing but system calls. */
static void __attribute__((noreturn)) echo(int listener, int other_end)
{
    char data[PING_BYTES];
    int fd, on = 1;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(other_end); /* else it never ends */
    fd = accept(listener, NULL, NULL);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    while (fd >= 0 && move_all(fd, data, false) && move_all(fd, data, true))
        ;
    _exit(0);
}

static bool connect_pair(int *ret_listener, int *ret_fd)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int on = 1;

    *ret_listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return *ret_listener >= 0 && *ret_fd >= 0 && bind(*ret_listener, (struct sockaddr *)&at, sizeof(at)) == 0 &&
           listen(*ret_listener, 1) == 0 && getsockname(*ret_listener, (struct sockaddr *)&at, &len) == 0 &&
           connect(*ret_fd, (struct sockaddr *)&at, len) == 0 && setsockopt(*ret_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0;
}

static bool ping_for(int fd, double seconds, struct bench_histogram *histogram)
{
    char data[PING_BYTES] = {0};
    int64_t end_us = bench_now_us() + (int64_t)(seconds * 1e6), before_us = bench_now_us(), now_us;

    for (; before_us < end_us; before_us = now_us) {
        if (!move_all(fd, data, true) || !move_all(fd, data, false))
            return false;
        now_us = bench_now_us();
        bench_histogram_add(histogram, (uint64_t)(now_us - before_us));
    }
    return true;
}

static bool ping_pong(double seconds, struct bench_histogram *histogram)
{
    int listener = -1, fd = -1;
    bool good = connect_pair(&listener, &fd);
    pid_t child = good ? fork() : -1;

    if (child == 0)
        echo(listener, fd);
    good = child > 0 && ping_for(fd, seconds, histogram);
    close(fd);
    close(listener);
    if (child > 0)
        waitpid(child, NULL, 0);
    if (!good)
        fprintf(stderr, "quoin-bench: the loopback ping-pong does not work\n");
    return good;
}

/* ---- one get ---- */

static quoin_error wait_for(struct quoin_future *future)
{
    quoin_error error = quoin_future_block_until_ready(future);

    return error != 0 ? error : quoin_future_get_error(future);
}

static quoin_error new_version(struct quoin_transaction *transaction)
{
    struct quoin_future *future;
    quoin_error error;

    quoin_transaction_reset(transaction);
    future = quoin_transaction_get_read_version(transaction);
    error = wait_for(future);
    quoin_future_destroy(future);
    return error;
}

static quoin_error one_get(struct bench_run *run, struct quoin_transaction *transaction, struct bench_plan *plan,
                           struct bench_histogram *histogram)
{
    const struct bench_options *options = run->options;
    uint8_t key[BENCH_KEY_BYTES_MAX];
    struct quoin_future *future;
    const uint8_t *value;
    quoin_error error;
    int64_t begun_us;
    bool present;
    int len;

    bench_key(options, bench_random(&plan->state) % options->keys, key);
    begun_us = bench_now_us();
    future = quoin_transaction_get(transaction, key, options->key_bytes, false);
    error = quoin_future_block_until_ready(future);
    bench_histogram_add(histogram, (uint64_t)(bench_now_us() - begun_us));
    if (error == 0)
        error = quoin_future_get_value(future, &present, &value, &len);
    quoin_future_destroy(future);
    return error != 0 ? error : present ? 0 : QUOIN_ERROR_CLIENT_INVALID_OPERATION;
}

static quoin_error gets_for(struct bench_run *run, double seconds, struct bench_histogram *histogram)
{
    struct quoin_transaction *transaction;
    struct bench_plan plan;
    quoin_error error = quoin_transaction_create(run->db, &transaction);
    int64_t now_us = bench_now_us(), end_us = now_us + (int64_t)(seconds * 1e6), version_us = 0;

    if (error != 0)
        return error;
    bench_plan_init(&plan, &run->space, 1);
    for (; error == 0 && now_us < end_us; now_us = bench_now_us()) {
        if (now_us - version_us > VERSION_AGE_US_MAX) {
            error = new_version(transaction);
            version_us = now_us;
        }
        if (error == 0)
            error = one_get(run, transaction, &plan, histogram);
    }
    bench_plan_done(&plan);
    quoin_transaction_destroy(transaction);
    return error;
}

bool bench_measure_latency(struct bench_run *run, struct bench_figures *figures)
{
    struct bench_histogram *ping = mem_zalloc(sizeof(*ping)), *get = mem_zalloc(sizeof(*get));
    double seconds = run->options->seconds / 2;
    quoin_error error = 0;
    bool good = ping_pong(seconds, ping);

    if (good)
        error = gets_for(run, seconds, get);
    if (error != 0)
        fprintf(stderr, "quoin-bench: a get failed: %s (%d)\n", quoin_error_text(error), error);
    good = good && error == 0;
    if (good) {
        double ping_us = bench_histogram_percentile(ping, 0.5), get_us = bench_histogram_percentile(get, 0.5);

        bench_figure(figures, "ping_pong_p50", "us", ping_us);
        bench_figure(figures, "get_p50", "us", get_us);
        bench_figure(figures, "get_p99", "us", bench_histogram_percentile(get, 0.99));
        bench_figure(figures, "get_p50_above_ping_pong", "us", get_us - ping_us);
        bench_figure_at_most(figures, GET_ABOVE_PING_US);
    }
    mem_free(ping);
    mem_free(get);
    return good;
}

/* ---- all of them ---- */

bool bench_measure(struct bench_run *run)
{
    static bool (*const measures[BENCH_MEASURES])(struct bench_run *run, struct bench_figures *figures) = {
        [BENCH_MEASURE_LATENCY] = bench_measure_latency,   [BENCH_MEASURE_GETS] = bench_measure_gets,
        [BENCH_MEASURE_SCAN] = bench_measure_scan,         [BENCH_MEASURE_BLOCKING] = bench_measure_blocking,
        [BENCH_MEASURE_MEMORY] = bench_measure_memory,     [BENCH_MEASURE_WATCHES] = bench_measure_watches,
    };
    struct bench_figures *figures = mem_zalloc(sizeof(*figures));
    bool good = true;

    for (int i = 0; i < BENCH_MEASURES && good; i++) {
        if ((run->options->measures >> i & 1) == 0)
            continue;
        if (isatty(STDERR_FILENO))
            fprintf(stderr, "\rmeasuring: %s \033[K", bench_measure_names[i]);
        good = measures[i](run, figures);
    }
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
    if (run->options->json)
        print_json(figures);
    else
        print_table(figures);
    mem_free(figures);
    return good;
}
