/* The loop: libevent delivers, env_turn runs handlers, then syncs start and the loop sleeps until the next deadline.
 *
 * libevent knows no timers here. Its precise timers set a timerfd before every single wait; this loop has a timerfd of its own
 * that it sets only when it must ring earlier than it is set to: timers that are armed and cancelled thousands of times a
 * second (a time-out a request) then cost no system call, at the price of a rare wake-up for nothing. timerfd and eventfd are
 * edge-triggered, so they are never read either.
 *
 * Sleeping follows the pattern that env_posix_wake describes: flag, fence, one more look at what other threads left.
 *
 * One thread at a time drives the loop, and all of the env is its: libevent allows no second one, and needs no locks so. Its own
 * thread lends the seat to a helper (env_posix_help) instead of going to sleep; what the helper leaves is vacant, and the own thread takes
 * the seat again only when nobody has come for VACANT_US, or when it is recalled. So a thread that asks and waits, again and again,
 * sends its questions and reads its answers itself, and no thread is woken for it. */
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

/* Ends the rest, if it is one of these: whoever ends it pays for the call. */
static void end_rest(struct env_posix *posix, bool sleep, bool vacancy)
{
    uint64_t one = 1;
    int was;

    atomic_thread_fence(memory_order_seq_cst);
    was = atomic_load_explicit(&posix->rest, memory_order_relaxed);
    if (!(was == ASLEEP && sleep) && !(was == VACANT && vacancy))
        return;
    if (!atomic_compare_exchange_strong(&posix->rest, &was, AWAKE))
        return;
    if (was == ASLEEP) {
        while (write(posix->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
            ;
        return;
    }
    pthread_mutex_lock(&posix->seat);
    posix->recalled = true;
    pthread_cond_signal(&posix->own_turn);
    pthread_mutex_unlock(&posix->seat);
}

void env_posix_wake(struct env *env)
{
    end_rest(env_posix_of(env), true, true);
}

void env_posix_hint(struct env *env)
{
    end_rest(env_posix_of(env), true, false);
}

void env_posix_recall(struct env *env)
{
    end_rest(env_posix_of(env), false, true);
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

static void woken(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd, (void)what, (void)ctx;
}

static void timer_rang(evutil_socket_t fd, short what, void *ctx)
{
    struct env_posix *posix = ctx;

    (void)fd, (void)what;
    posix->timer_armed_us = INT64_MAX;
}

static void signal_came(evutil_socket_t fd, short what, void *ctx)
{
    struct env_posix *posix = ctx;
    struct signalfd_siginfo info;

    (void)what;
    env_posix_event(posix);
    while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        posix->on_signal(posix->ctx, (int)info.ssi_signo);
}

static void arm_timer(struct env_posix *posix, int64_t deadline_us)
{
    struct itimerspec at = {.it_value = {.tv_sec = deadline_us / 1000000, .tv_nsec = deadline_us % 1000000 * 1000}};

    if (deadline_us >= posix->timer_armed_us)
        return;
    if (timerfd_settime(posix->timer_fd, TFD_TIMER_ABSTIME, &at, NULL) == 0)
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
    event_base_loop(posix->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    return posix->delivered > 0;
}

/* True if something came meanwhile. */
static bool spin(struct env_posix *posix)
{
    int64_t until_us = posix->env.knobs.loop_spin_us;

    if (until_us == 0)
        return false;
    until_us += clock_us(CLOCK_MONOTONIC);
    do {
        if (poll_now(posix) || take_from_threads(posix))
            return true;
    } while (clock_us(CLOCK_MONOTONIC) < until_us && clock_us(CLOCK_MONOTONIC) < env_next_deadline_us(&posix->env));
    return false;
}

enum { SHARE_US = 1000000 };

static void begin_sleep(struct env_posix *posix)
{
    atomic_store_explicit(&posix->asleep_since_us, clock_us(CLOCK_MONOTONIC), memory_order_relaxed);
}

static void end_sleep(struct env_posix *posix)
{
    int64_t now_us = clock_us(CLOCK_MONOTONIC), passed_us = now_us - atomic_load_explicit(&posix->share_began_us, memory_order_relaxed);
    int64_t slept_us = atomic_load_explicit(&posix->slept_us, memory_order_relaxed) + now_us -
                       atomic_load_explicit(&posix->asleep_since_us, memory_order_relaxed);

    if (passed_us >= SHARE_US) {
        atomic_store_explicit(&posix->share_busy_millionths,
                              slept_us >= passed_us ? 0 : (uint32_t)((passed_us - slept_us) * 1000000 / passed_us), memory_order_relaxed);
        atomic_store_explicit(&posix->share_began_us, now_us, memory_order_relaxed);
        slept_us = 0;
    }
    atomic_store_explicit(&posix->slept_us, slept_us, memory_order_relaxed);
    atomic_store_explicit(&posix->asleep_since_us, 0, memory_order_relaxed);
}

/* Of the stretch before this one, as far as this one is not a second long yet. What the loop changes meanwhile makes it wrong by a little. */
double env_posix_busyness(struct env *env)
{
    struct env_posix *posix = env_posix_of(env);
    int64_t now_us = clock_us(CLOCK_MONOTONIC), passed_us = now_us - atomic_load_explicit(&posix->share_began_us, memory_order_relaxed);
    int64_t slept_us = atomic_load_explicit(&posix->slept_us, memory_order_relaxed);
    int64_t since_us = atomic_load_explicit(&posix->asleep_since_us, memory_order_relaxed);
    double before = atomic_load_explicit(&posix->share_busy_millionths, memory_order_relaxed) / 1e6, now;

    if (since_us != 0)
        slept_us += now_us - since_us;
    if (passed_us <= 0)
        return before;
    now = slept_us >= passed_us ? 0 : (double)(passed_us - slept_us) / (double)passed_us;
    return passed_us >= SHARE_US ? now : before + (now - before) * (double)passed_us / SHARE_US;
}

/* True if there is nothing to do meanwhile: whoever leaves something from now on sees `rest`. */
static bool go_to_rest(struct env_posix *posix, int rest)
{
    atomic_store(&posix->rest, rest);
    atomic_thread_fence(memory_order_seq_cst);
    if (!take_from_threads(posix) && !atomic_load(&posix->stopped))
        return true;
    atomic_store(&posix->rest, AWAKE);
    return false;
}

static void sleep_until(struct env_posix *posix, int64_t deadline_us)
{
    if (spin(posix) || !go_to_rest(posix, ASLEEP))
        return;
    arm_timer(posix, deadline_us);
    posix->delivered = 0;
    posix->awake = false;
    begin_sleep(posix);
    event_base_loop(posix->base, EVLOOP_ONCE);
    end_sleep(posix);
    atomic_store(&posix->rest, AWAKE);
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

/* Those who wait until nothing is under way run in the next turn. */
static bool tell_quiet(struct env_posix *posix)
{
    bool any = false;

    if (list_empty(&posix->quiet_waits) || !env_posix_is_quiet(&posix->env))
        return false;
    while (!list_empty(&posix->quiet_waits)) {
        struct ready *ready = list_entry(posix->quiet_waits.next, struct ready, link);

        list_remove(&ready->link);
        env_ready(&posix->env, ready, READY_COMMIT);
        any = true;
    }
    return any;
}

/* ---- who drives ---- */

enum { VACANT_US = 1000 };

static void vacate(struct env_posix *posix)
{
    posix->driver = DRIVER_NONE;
    posix->vacated_us = clock_us(CLOCK_MONOTONIC);
    begin_sleep(posix);
}

static void take_seat(struct env_posix *posix, enum driver driver)
{
    assert(posix->driver == DRIVER_NONE);
    end_sleep(posix);
    posix->driver = driver;
    atomic_store(&posix->rest, AWAKE);
}

/* Until the seat is vacant and nobody seems to want it. */
static void wait_for_own_turn(struct env_posix *posix)
{
    for (;;) {
        int64_t until_us = posix->vacated_us + VACANT_US;
        struct timespec at = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};

        posix->own_waits = posix->driver != DRIVER_NONE;
        if (posix->own_waits) {
            pthread_cond_wait(&posix->own_turn, &posix->seat);
            continue;
        }
        if (posix->recalled || atomic_load(&posix->stopped) || clock_us(CLOCK_MONOTONIC) >= until_us)
            return;
        pthread_cond_timedwait(&posix->own_turn, &posix->seat, &at);
    }
}

/* Instead of sleeping in the loop. */
static void lend(struct env_posix *posix)
{
    if (!go_to_rest(posix, VACANT))
        return;
    pthread_mutex_lock(&posix->seat);
    vacate(posix);
    pthread_cond_signal(&posix->helper_turn);
    wait_for_own_turn(posix);
    take_seat(posix, DRIVER_OWN);
    posix->recalled = false;
    pthread_mutex_unlock(&posix->seat);
}

static bool has_enough(struct env_posix *posix)
{
    return posix->refused || posix->enough(posix->enough_ctx);
}

static void tell_helper(struct env_posix *posix)
{
    pthread_mutex_lock(&posix->seat);
    if (posix->enough != NULL && has_enough(posix))
        pthread_cond_signal(&posix->helper_turn);
    pthread_mutex_unlock(&posix->seat);
}

/* One turn, without the wait for the next. True if that is to come at once. */
static bool run_turn(struct env_posix *posix)
{
    bool busy;

    take_from_threads(posix);
    busy = env_turn(&posix->env);
    busy = start_syncs(posix, busy);
    busy |= tell_quiet(posix);
    posix_trace_flush(posix);
    return busy || env_next_deadline_us(&posix->env) <= posix->env.turn_us;
}

static void wait_for_events(struct env_posix *posix, bool busy)
{
    if (busy)
        poll_now(posix);
    else
        sleep_until(posix, env_next_deadline_us(&posix->env));
}

int env_posix_run(struct env *env)
{
    struct env_posix *posix = env_posix_of(env);

    posix_take_short_slice();
    pthread_mutex_lock(&posix->seat);
    posix->driver = DRIVER_OWN;
    pthread_mutex_unlock(&posix->seat);
    while (!atomic_load(&posix->stopped)) {
        bool busy = run_turn(posix), helper = atomic_load_explicit(&posix->helper_waits, memory_order_relaxed);

        if (atomic_load(&posix->stopped))
            break;
        if (helper)
            tell_helper(posix);
        if (helper && !busy)
            lend(posix);
        else
            wait_for_events(posix, busy);
    }
    pthread_mutex_lock(&posix->seat);
    posix->driver = DRIVER_ENDED;
    pthread_cond_signal(&posix->helper_turn);
    while (posix->enough != NULL)
        pthread_cond_wait(&posix->own_turn, &posix->seat);
    pthread_mutex_unlock(&posix->seat);
    atomic_store(&posix->stopped, false);
    posix_trace_flush(posix);
    return posix->exit_status;
}

/* The helper's, with the seat. True: there is more to be done at once. */
static bool drive(struct env_posix *posix)
{
    bool busy;

    for (;;) {
        busy = run_turn(posix);
        if (atomic_load(&posix->stopped) || has_enough(posix))
            return busy || posix->refused || !go_to_rest(posix, VACANT);
        wait_for_events(posix, busy);
    }
}

/* True: the seat is the helper's. It has told what is enough, and the seat may be the own thread's still. */
static bool helper_waits(struct env_posix *posix)
{
    atomic_store(&posix->helper_waits, true);
    while (posix->driver == DRIVER_OWN && !has_enough(posix))
        pthread_cond_wait(&posix->helper_turn, &posix->seat);
    atomic_store(&posix->helper_waits, false);
    return posix->driver == DRIVER_NONE && !has_enough(posix);
}

static void help(struct env_posix *posix)
{
    bool recall;

    posix->refused = false;
    if (helper_waits(posix)) {
        take_seat(posix, DRIVER_HELPER);
        pthread_mutex_unlock(&posix->seat);
        recall = drive(posix);
        pthread_mutex_lock(&posix->seat);
        vacate(posix);
        posix->recalled |= recall;
    }
    posix->enough = NULL;
    if (posix->own_waits || posix->recalled || posix->driver == DRIVER_ENDED)
        pthread_cond_signal(&posix->own_turn);
}

void env_posix_refuse_help(struct env *env)
{
    env_posix_of(env)->refused = true;
}

void env_posix_help(struct env *env, bool (*enough)(void *ctx), void *ctx)
{
    struct env_posix *posix = env_posix_of(env);
    int cancelling;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelling);
    pthread_mutex_lock(&posix->seat);
    if (posix->enough == NULL && posix->driver != DRIVER_ENDED && !atomic_load(&posix->stopped)) {
        posix->enough = enough;
        posix->enough_ctx = ctx;
        help(posix);
    }
    pthread_mutex_unlock(&posix->seat);
    pthread_setcancelstate(cancelling, NULL);
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
    .job_hurry = posix_job_hurry,
    .job_stop = posix_job_stop,
    .trace = posix_trace,
    .exit = posix_exit,
};

/* One thread at a time uses the base, and the environment's EVENT_* variables are none of our input. */
static struct event_base *create_base(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base;

    if (config == NULL)
        return NULL;
    event_config_require_features(config, EV_FEATURE_ET);
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV | EVENT_BASE_FLAG_NO_CACHE_TIME);
    base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

static int watch_fd(struct env_posix *posix, struct event *event, int fd, short extra, event_callback_fn callback)
{
    if (fd < 0 || event_assign(event, posix->base, fd, (short)(EV_READ | EV_PERSIST | extra), callback, posix) != 0)
        return ERROR_OPERATION_FAILED;
    return event_add(event, NULL) == 0 ? 0 : ERROR_OPERATION_FAILED;
}

static int watch_signals(struct env_posix *posix)
{
    sigset_t mask;

    if (posix->on_signal == NULL)
        return 0;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    posix->signal_fd = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
    if (posix->signal_fd < 0)
        return ERROR_OPERATION_FAILED;
    pthread_sigmask(SIG_BLOCK, &mask, &posix->old_mask);
    return watch_fd(posix, &posix->signal_event, posix->signal_fd, 0, signal_came);
}

static int start_loop(struct env_posix *posix)
{
    int error;

    posix->base = create_base();
    if (posix->base == NULL)
        return ERROR_OPERATION_FAILED;
    posix->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    posix->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    error = watch_fd(posix, &posix->wake_event, posix->wake_fd, EV_ET, woken);
    if (error == 0)
        error = watch_fd(posix, &posix->timer_event, posix->timer_fd, EV_ET, timer_rang);
    if (error == 0)
        error = watch_signals(posix);
    if (error == 0 && getrandom(posix->random_state, sizeof(posix->random_state), 0) !=
                          (ssize_t)sizeof(posix->random_state))
        error = ERROR_OPERATION_FAILED;
    return error;
}

static void init_seat(struct env_posix *posix)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&posix->own_turn, &monotonic);
    pthread_cond_init(&posix->helper_turn, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&posix->seat, NULL);
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
    posix->wake_fd = posix->timer_fd = posix->signal_fd = -1;
    init_seat(posix);
    posix->timer_armed_us = INT64_MAX;
    posix->on_signal = options->on_signal;
    posix->on_wake = options->on_wake;
    posix->ctx = options->ctx;
    list_init(&posix->conns);
    list_init(&posix->listeners);
    list_init(&posix->unsynced);
    list_init(&posix->quiet_waits);
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

static void close_fd(struct event *event, int fd)
{
    if (fd < 0)
        return;
    if (event_initialized(event))
        event_del(event);
    close(fd);
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

void env_posix_when_quiet(struct env *env, struct ready *ready)
{
    assert(ready->run != NULL);
    if (!list_linked(&ready->link))
        list_push_back(&env_posix_of(env)->quiet_waits, &ready->link);
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
    close_fd(&posix->wake_event, posix->wake_fd);
    close_fd(&posix->timer_event, posix->timer_fd);
    close_fd(&posix->signal_event, posix->signal_fd);
    if (posix->signal_fd >= 0)
        pthread_sigmask(SIG_SETMASK, &posix->old_mask, NULL);
    if (posix->base != NULL)
        event_base_free(posix->base);
    mem_free(posix->scratch);
    pthread_cond_destroy(&posix->own_turn);
    pthread_cond_destroy(&posix->helper_turn);
    pthread_mutex_destroy(&posix->seat);
    env_done(env);
    mem_free(posix);
}
