/* The loop: epoll delivers, env_turn runs handlers, then syncs start and the loop sleeps until the next deadline.
 *
 * The timerfd is set only when it must ring earlier than it is set to: timers that are armed and cancelled thousands of times a
 * second (a time-out a request) then cost no system call, at the price of a rare wake-up for nothing. timerfd and eventfd are
 * edge-triggered, so they are never read either.
 *
 * Sleeping follows the pattern that env_posix_wake describes: flag, fence, one more look at what other threads left.
 *
 * A helper (env_posix_help) takes the lock `driving` while the loop's own thread sleeps without it, and runs the same turns. As long as
 * it is there it alone waits for events: the own thread, when something wakes it, does what there is to do and then parks until the
 * helper has gone. Both may be in epoll_wait at once, if the helper came while the own thread slept there: whoever wakes
 * first does the work, and the own thread wakes a helper that has waited for it. */
#include "net/env_posix.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "net/env_posix_impl.h"
#include "net/error.h"
#include "net/mem.h"
#include "net/trace.h"

/* ---- clocks, random numbers, exit ---- */

static int64_t clock_us(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t posix_now_us(struct env *env)
{
    (void)env;
    return clock_us(CLOCK_MONOTONIC);
}

static int64_t posix_wall_us(struct env *env)
{
    (void)env;
    return clock_us(CLOCK_REALTIME);
}

static uint64_t rotate_left(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

/* xoshiro256** (Blackman and Vigna, "Scrambled linear pseudorandom number generators"). */
static uint64_t posix_random(struct env *env)
{
    uint64_t *s = env_posix_of(env)->random_state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* The loop looks by itself before it sleeps, and only its own thread may change timers and ready queues. */
static void posix_wake_at(struct env *env)
{
    (void)env;
}

static void posix_exit(struct env *env, int status, const char *why)
{
    struct env_posix *posix = env_posix_of(env);

    if (posix->exited)
        return;
    TRACE(env, SEVERITY_WARN_ALWAYS, "ProcessExit", {"Status", trace_int(status)}, {"Why", trace_str(why)});
    posix->exited = true;
    posix->exit_status = status;
    env_posix_stop(env);
}

/* ---- the outside's calls ---- */

/* Wakes one of those who wait for events. */
static void ring(struct env_posix *posix)
{
    uint64_t one = 1;

    while (write(posix->wake.fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

void env_posix_wake(struct env *env)
{
    struct env_posix *posix = env_posix_of(env);

    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load_explicit(&posix->sleeping, memory_order_relaxed))
        return;
    if (!atomic_exchange(&posix->sleeping, false))
        return;
    ring(posix);
}

void env_posix_stop(struct env *env)
{
    atomic_store(&env_posix_of(env)->stopped, true);
    env_posix_wake(env);
}

/* ---- the loop ---- */

void env_posix_event(struct env_posix *posix)
{
    posix->delivered++;
    if (posix->awake)
        return;
    posix->awake = true;
    posix->env.turn_us = env_now_us(&posix->env);
}

static void woken(struct env_posix *posix, struct watched *watched)
{
    (void)posix, (void)watched;
}

static void timer_rang(struct env_posix *posix, struct watched *watched)
{
    (void)watched;
    posix->timer_armed_us = INT64_MAX;
}

static void signal_came(struct env_posix *posix, struct watched *watched)
{
    struct signalfd_siginfo info;

    env_posix_event(posix);
    while (read(watched->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        posix->on_signal(posix->ctx, (int)info.ssi_signo);
}

static void arm_timer(struct env_posix *posix, int64_t deadline_us)
{
    struct itimerspec at = {.it_value = {.tv_sec = deadline_us / 1000000, .tv_nsec = deadline_us % 1000000 * 1000}};

    if (deadline_us >= posix->timer_armed_us)
        return;
    if (timerfd_settime(posix->timer.fd, TFD_TIMER_ABSTIME, &at, NULL) == 0)
        posix->timer_armed_us = deadline_us;
}

/* What other threads left for the loop. */
static bool take_from_threads(struct env_posix *posix)
{
    bool any = posix_take_completions(posix);

    if (posix->on_wake != NULL && posix->on_wake(posix->ctx))
        any = true;
    return any;
}

/* Delivers what is there without waiting; false if there was nothing. */
static bool poll_now(struct env_posix *posix)
{
    posix->delivered = 0;
    posix->awake = false;
    posix_poll_now(posix);
    return posix->delivered > 0;
}

/* True if something came meanwhile. */
static bool spin(struct env_posix *posix)
{
    int64_t until_us = posix->env.knobs.loop_spin_us;

    if (until_us == 0 || posix->enough != NULL) /* it would take a helper's ring away */
        return false;
    until_us += clock_us(CLOCK_MONOTONIC);
    do {
        if (poll_now(posix) || take_from_threads(posix))
            return true;
    } while (clock_us(CLOCK_MONOTONIC) < until_us && clock_us(CLOCK_MONOTONIC) < env_next_deadline_us(&posix->env));
    return false;
}

enum { SHARE_US = 1000000 };

/* The loop slept from then until now. */
static void count_sleep(struct env_posix *posix, int64_t slept_from_us)
{
    int64_t now_us = clock_us(CLOCK_MONOTONIC), began_us = atomic_load_explicit(&posix->share_began_us, memory_order_relaxed);
    int64_t passed_us = now_us - began_us;

    posix->slept_us += now_us - slept_from_us;
    if (passed_us < SHARE_US)
        return;
    atomic_store_explicit(&posix->share_busy_millionths,
                          posix->slept_us >= passed_us ? 0 : (uint32_t)((passed_us - posix->slept_us) * 1000000 / passed_us),
                          memory_order_relaxed);
    atomic_store_explicit(&posix->share_began_us, now_us, memory_order_relaxed);
    posix->slept_us = 0;
}

double env_posix_busyness(struct env *env)
{
    struct env_posix *posix = env_posix_of(env);
    int64_t passed_us = clock_us(CLOCK_MONOTONIC) - atomic_load_explicit(&posix->share_began_us, memory_order_relaxed);

    if (passed_us > 2 * SHARE_US) /* it has slept, or worked, ever since */
        return atomic_load_explicit(&posix->sleeping, memory_order_relaxed) ? 0 : 1;
    return atomic_load_explicit(&posix->share_busy_millionths, memory_order_relaxed) / 1e6;
}

/* The loop's own thread, while a helper waits for events. */
static void park(struct env_posix *posix)
{
    posix->parked = true;
    while (posix->enough != NULL)
        pthread_cond_wait(&posix->helper_gone, &posix->driving);
    posix->parked = false;
}

static void sleep_until(struct env_posix *posix, int64_t deadline_us, bool helping)
{
    int64_t slept_from_us;

    if (spin(posix))
        return;
    atomic_store(&posix->sleeping, true);
    atomic_thread_fence(memory_order_seq_cst);
    if (!take_from_threads(posix) && !atomic_load(&posix->stopped) && !(helping && posix->unhelped)) {
        arm_timer(posix, deadline_us);
        posix->delivered = 0;
        posix->awake = false;
        slept_from_us = clock_us(CLOCK_MONOTONIC);
        if (!helping && posix->enough != NULL)
            park(posix);
        else if (!posix_poll_wait(posix))
            return;
        if (!helping)
            count_sleep(posix, slept_from_us);
    }
    atomic_store(&posix->sleeping, false);
}

/* Starts the turn's syncs: inline if nothing else waits for the loop (DESIGN section 8). */
static bool start_syncs(struct env_posix *posix, bool busy)
{
    if (list_empty(&posix->unsynced))
        return busy;
    if (!busy)
        busy = poll_now(posix) || take_from_threads(posix);
    posix_start_syncs(posix, !busy);
    return busy || !list_empty(&posix->env.ready[READY_COMMIT]);
}

static bool has_enough(struct env_posix *posix)
{
    return posix->enough != NULL && (posix->unhelped || posix->enough(posix->enough_ctx));
}

/* Turns, until the loop is stopped or the helper has enough. True: more is to be done at once. */
static bool run_turns(struct env_posix *posix, bool helping)
{
    struct env *env = &posix->env;
    bool busy = true;

    while (posix->looping && !atomic_load(&posix->stopped)) {
        take_from_threads(posix);
        busy = env_turn(env);
        busy = start_syncs(posix, busy);
        posix_trace_flush(posix);
        if (atomic_load(&posix->stopped) || (helping && has_enough(posix)))
            break;
        if (!helping && has_enough(posix))
            ring(posix); /* the helper: this thread parks before it waits again */
        if (busy || env_next_deadline_us(env) <= env->turn_us)
            poll_now(posix);
        else
            sleep_until(posix, env_next_deadline_us(env), helping);
    }
    return busy;
}

int env_posix_run(struct env *env)
{
    struct env_posix *posix = env_posix_of(env);

    posix_take_short_slice();
    pthread_mutex_lock(&posix->driving);
    posix->looping = true;
    (void)run_turns(posix, false);
    posix->looping = false;
    while (posix->enough != NULL) {
        ring(posix);
        pthread_cond_wait(&posix->helper_gone, &posix->driving);
    }
    atomic_store(&posix->stopped, false);
    posix_trace_flush(posix);
    pthread_mutex_unlock(&posix->driving);
    return posix->exit_status;
}

/* The own thread sleeps, or is about to wake up: it must find what is left. */
static void hand_back(struct env_posix *posix, bool busy)
{
    posix->enough = NULL;
    if (posix->parked || !posix->looping) { /* it looks at everything, soon */
        pthread_cond_signal(&posix->helper_gone);
        return;
    }
    arm_timer(posix, env_next_deadline_us(&posix->env));
    atomic_store(&posix->sleeping, true);
    atomic_thread_fence(memory_order_seq_cst);
    if (take_from_threads(posix) || busy || posix->unhelped || atomic_load(&posix->stopped))
        ring(posix);
}

void env_posix_refuse_help(struct env *env)
{
    env_posix_of(env)->unhelped = true;
}

void env_posix_help(struct env *env, bool (*enough)(void *ctx), void *ctx)
{
    struct env_posix *posix = env_posix_of(env);
    int cancelling;

    if (pthread_mutex_trylock(&posix->driving) != 0)
        return;
    if (posix->looping && posix->enough == NULL && !enough(ctx)) {
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelling);
        posix->enough = enough;
        posix->enough_ctx = ctx;
        posix->unhelped = false;
        atomic_store(&posix->sleeping, false);
        hand_back(posix, run_turns(posix, true));
        pthread_setcancelstate(cancelling, NULL);
    }
    pthread_mutex_unlock(&posix->driving);
}

/* ---- life ---- */

static const struct env_ops posix_ops = {
    .now_us = posix_now_us,
    .wall_us = posix_wall_us,
    .random = posix_random,
    .wake_at = posix_wake_at,
    .listen = posix_listen,
    .listener_close = posix_listener_close,
    .connect = posix_connect,
    .conn_adopt = posix_conn_adopt,
    .conn_send = posix_conn_send,
    .conn_unsent_bytes = posix_conn_unsent_bytes,
    .conn_pause = posix_conn_pause,
    .conn_close = posix_conn_close,
    .file_open = posix_file_open,
    .file_read = posix_file_read,
    .file_write = posix_file_write,
    .file_size = posix_file_size,
    .file_truncate = posix_file_truncate,
    .file_zero_fill = posix_file_zero_fill,
    .file_drop_cache = posix_file_drop_cache,
    .file_sync = posix_file_sync,
    .file_sync_now = posix_file_sync_now,
    .file_close = posix_file_close,
    .rename = posix_rename,
    .remove = posix_remove,
    .dir_make = posix_dir_make,
    .dir_sync = posix_dir_sync,
    .dir_list = posix_dir_list,
    .dir_space = posix_dir_space,
    .real_path = posix_real_path,
    .job_start = posix_job_start,
    .trace = posix_trace,
    .exit = posix_exit,
};

static int watch_fd(struct env_posix *posix, struct watched *watched, int fd, uint32_t wanted,
                    void (*readable)(struct env_posix *posix, struct watched *watched))
{
    *watched = (struct watched){.fd = fd, .readable = readable};
    return fd < 0 ? ERROR_OPERATION_FAILED : posix_watch(posix, watched, wanted);
}

static int watch_signals(struct env_posix *posix)
{
    sigset_t mask;
    int fd;

    if (posix->on_signal == NULL)
        return 0;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    fd = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd >= 0)
        pthread_sigmask(SIG_BLOCK, &mask, &posix->old_mask);
    return watch_fd(posix, &posix->signal, fd, EPOLLIN, signal_came);
}

static int start_loop(struct env_posix *posix)
{
    int error = posix_poll_init(posix);

    if (error == 0)
        error = watch_fd(posix, &posix->wake, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), EPOLLIN | EPOLLET, woken);
    if (error == 0)
        error = watch_fd(posix, &posix->timer, timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), EPOLLIN | EPOLLET, timer_rang);
    if (error == 0)
        error = watch_signals(posix);
    if (error == 0 && getrandom(posix->random_state, sizeof(posix->random_state), 0) !=
                          (ssize_t)sizeof(posix->random_state))
        error = ERROR_OPERATION_FAILED;
    return error;
}

int env_posix_create(const struct env_posix_options *options, struct env **ret_env)
{
    struct env_posix *posix = mem_zalloc(sizeof(*posix));
    int error;

    if (posix == NULL)
        return ERROR_OUT_OF_MEMORY;
    env_init(&posix->env, &posix_ops);
    posix->env.turn_us = clock_us(CLOCK_MONOTONIC);
    atomic_store(&posix->share_began_us, posix->env.turn_us);
    posix->poll.epoll_fd = posix->wake.fd = posix->timer.fd = posix->signal.fd = -1;
    pthread_mutex_init(&posix->driving, NULL);
    pthread_cond_init(&posix->helper_gone, NULL);
    posix->timer_armed_us = INT64_MAX;
    posix->on_signal = options->on_signal;
    posix->on_wake = options->on_wake;
    posix->ctx = options->ctx;
    list_init(&posix->conns);
    list_init(&posix->listeners);
    list_init(&posix->unsynced);
    posix_jobs_init(posix);
    error = posix_trace_init(posix, options);
    if (error == 0)
        error = start_loop(posix);
    if (error != 0) {
        env_posix_destroy(&posix->env);
        return error;
    }
    *ret_env = &posix->env;
    return 0;
}

static void close_watched(struct env_posix *posix, struct watched *watched)
{
    if (watched->fd < 0)
        return;
    (void)posix_watch(posix, watched, 0);
    close(watched->fd);
}

/* Completions may start new syncs and jobs, hence the loop. */
static void finish_work(struct env_posix *posix)
{
    bool more;

    do {
        posix_start_syncs(posix, false);
        posix_jobs_stop(posix);
        more = posix_take_completions(posix);
        more |= env_turn(&posix->env);
    } while (more || !list_empty(&posix->unsynced) || posix->jobs_out > 0 || posix->syncs_out > 0);
}

bool env_posix_is_quiet(struct env *env)
{
    struct env_posix *posix = env_posix_of(env);

    return list_empty(&posix->unsynced) && posix->jobs_out == 0 && posix->syncs_out == 0;
}

void env_posix_destroy(struct env *env)
{
    struct env_posix *posix;

    if (env == NULL)
        return;
    posix = env_posix_of(env);
    finish_work(posix);
    posix_net_done(posix);
    posix_jobs_done(posix);
    posix_trace_done(posix);
    close_watched(posix, &posix->wake);
    close_watched(posix, &posix->timer);
    close_watched(posix, &posix->signal);
    if (posix->signal.fd >= 0)
        pthread_sigmask(SIG_SETMASK, &posix->old_mask, NULL);
    posix_poll_done(posix);
    mem_free(posix->scratch);
    pthread_cond_destroy(&posix->helper_gone);
    pthread_mutex_destroy(&posix->driving);
    env_done(env);
    mem_free(posix);
}
