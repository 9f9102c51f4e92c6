/* What runs off the loop: one thread for syncs, one for jobs, one for jobs of idle priority; each starts when first needed.
 *
 * The loop hands work over under a mutex that nobody holds for long. What is finished comes back on lock-free stacks that the
 * loop takes whole, with a wake-up that costs a system call only when the loop sleeps.
 *
 * Syncs: those of one file that are queued in one turn, or while the file is already being synced, are one fdatasync. The
 * syncer takes a file, then all that was asked of it so far; what is asked later waits for the next round, since it may speak
 * of bytes that this round did not cover. If no thread can be had, the loop does the work itself.
 *
 * The loop syncs by itself when nothing else is to do, which saves two wake-ups, but only while the disk is quick: one that is saturated takes seconds for
 * a sync now and then, and a loop that waits for it answers no ping: the whole process would count as dead. */
#include <assert.h>
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "net/env_posix_impl.h"
#include "net/error.h"
#include "net/trace.h"

enum { SLOW_SYNC_US = 5000, SLOW_SYNC_KEPT_US = 1000000 };
enum { SYNCER_STACK_BYTES = 128 * 1024, JOB_STACK_BYTES = 1024 * 1024 };

/* ---- scheduling ---- */

/* As in linux/sched/types.h, which not every libc lets one include beside sched.h. */
struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

enum { POLICY_OTHER = 0, POLICY_IDLE = 5, NICE_STEP = 6, NICE_MOST = 19 };

static bool get_scheduling(struct scheduling *ret)
{
    return syscall(SYS_sched_getattr, 0, ret, sizeof(*ret), 0) == 0;
}

/* tid 0: of the caller. */
static bool set_scheduling(pid_t tid, struct scheduling *scheduling)
{
    scheduling->size = sizeof(*scheduling);
    scheduling->flags = 0;
    return syscall(SYS_sched_setattr, tid, scheduling, 0) == 0;
}

/* 0: the scheduler's own choice. */
static void set_slice(uint64_t slice_ns)
{
    struct scheduling scheduling = {0};

    if (!get_scheduling(&scheduling) || scheduling.policy != POLICY_OTHER)
        return;
    scheduling.runtime = slice_ns;
    (void)set_scheduling(0, &scheduling); /* slower wake-ups are all that a refusal costs */
}

void posix_take_short_slice(void)
{
    set_slice(LOOP_SLICE_NS);
}

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_THREAD_SANITIZER 1
#endif
#endif
#ifndef UNDER_THREAD_SANITIZER
#define UNDER_THREAD_SANITIZER 0
#endif

/* ---- idle jobs give way ---- */

static bool set_policy(pid_t tid, uint32_t policy, int nice)
{
    struct scheduling scheduling = {.policy = policy, .nice = nice};

    return set_scheduling(tid, &scheduling);
}

static void *try_to_come_back(void *ctx)
{
    struct worker *worker = ctx;

    worker->comes_back = set_policy(0, POLICY_IDLE, 0) && set_policy(0, POLICY_OTHER, worker->nice);
    return NULL;
}

/* On the worker's thread. Raising a priority again needs CAP_SYS_NICE, or an RLIMIT_NICE of 20 (LimitNICE=+0 of systemd), in ways that only the
 * kernel knows (namespaces): so a thread tries that is of no other use. Under ThreadSanitizer nobody gives way: its locks would be held by
 * a thread that does not run, and everybody would wait for it. */
static void learn_to_give_way(struct worker *worker)
{
    struct scheduling own = {0};
    pthread_t thread;

    worker->nice = get_scheduling(&own) ? own.nice : 0;
    if (!UNDER_THREAD_SANITIZER && pthread_create(&thread, NULL, try_to_come_back, worker) == 0)
        pthread_join(thread, NULL);
}

/* Idle priority starves where the processors are always busy, so it is for who may come back from it when a job is hurried. Who may not gives way by a
 * nice value alone: a quarter of what a thread of the others gets. */
static void give_way(const struct worker *worker)
{
    if (worker->comes_back)
        (void)set_policy(0, POLICY_IDLE, worker->nice);
    else if (!UNDER_THREAD_SANITIZER)
        (void)set_policy(0, POLICY_OTHER, worker->nice + NICE_STEP > NICE_MOST ? NICE_MOST : worker->nice + NICE_STEP);
}

static void give_way_no_more(const struct worker *worker)
{
    if (worker->comes_back)
        (void)set_policy(worker->tid, POLICY_OTHER, worker->nice);
}

/* ---- threads ---- */

/* Signals stay with the program's own threads. */
static bool start_thread(struct worker *worker, size_t stack_bytes, void *(*main)(void *), struct env_posix *posix)
{
    pthread_attr_t attributes;
    sigset_t all, old;

    if (worker->started)
        return true;
    if (pthread_attr_init(&attributes) != 0)
        return false;
    pthread_attr_setstacksize(&attributes, stack_bytes);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    worker->stopping = false;
    worker->started = pthread_create(&worker->thread, &attributes, main, posix) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    return worker->started;
}

static void stop_thread(struct worker *worker)
{
    if (!worker->started)
        return;
    pthread_mutex_lock(&worker->mutex);
    worker->stopping = true;
    pthread_cond_signal(&worker->wake);
    pthread_mutex_unlock(&worker->mutex);
    pthread_join(worker->thread, NULL);
    worker->started = false;
    assert(worker->first == NULL);
}

/* With the mutex held; false when it is time to end. */
static bool wait_for_work(struct worker *worker)
{
    while (worker->first == NULL) {
        if (worker->stopping)
            return false;
        pthread_cond_wait(&worker->wake, &worker->mutex);
    }
    return true;
}

/* ---- jobs ---- */

static void push_done_job(struct env_posix *posix, struct env_job *job)
{
    job->next = atomic_load_explicit(&posix->jobs_done, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&posix->jobs_done, &job->next, job, memory_order_release,
                                                  memory_order_relaxed))
        ;
    env_posix_wake(&posix->env);
}

static struct env_job *next_job(struct worker *worker)
{
    struct env_job *job = NULL;

    pthread_mutex_lock(&worker->mutex);
    if (wait_for_work(worker)) {
        job = worker->first;
        worker->first = job->next;
    }
    worker->current = job;
    pthread_mutex_unlock(&worker->mutex);
    return job;
}

/* With the mutex held. */
static void job_ran(struct worker *worker)
{
    worker->current = NULL;
    pthread_cond_signal(&worker->ran); /* the loop, if it waits: posix_job_stop */
}

static void run_jobs(struct env_posix *posix, struct worker *worker)
{
    struct env_job *job;

    while ((job = next_job(worker)) != NULL) {
        job->run(job);
        pthread_mutex_lock(&worker->mutex);
        job_ran(worker);
        pthread_mutex_unlock(&worker->mutex);
        push_done_job(posix, job);
    }
}

static void *job_main(void *ctx)
{
    struct env_posix *posix = ctx;

    set_slice(0); /* the loop's, which started it, was inherited */
    run_jobs(posix, &posix->jobs);
    return NULL;
}

/* Whether a job was hurried, or will be, is under the mutex: nobody takes the next one's priority for it. */
static void *idle_job_main(void *ctx)
{
    struct env_posix *posix = ctx;
    struct worker *worker = &posix->idle_jobs;
    struct env_job *job;
    bool hurried;

    set_slice(0);
    learn_to_give_way(worker); /* may take its time on a busy machine: not under the mutex */
    pthread_mutex_lock(&worker->mutex);
    worker->tid = (pid_t)syscall(SYS_gettid);
    pthread_mutex_unlock(&worker->mutex);
    give_way(worker);
    while ((job = next_job(worker)) != NULL) {
        pthread_mutex_lock(&worker->mutex);
        if (job->hurried) /* while it waited */
            give_way_no_more(worker);
        pthread_mutex_unlock(&worker->mutex);
        job->run(job);
        pthread_mutex_lock(&worker->mutex);
        hurried = job->hurried;
        job_ran(worker);
        pthread_mutex_unlock(&worker->mutex);
        if (hurried)
            give_way(worker);
        push_done_job(posix, job);
    }
    return NULL;
}

static bool is_queued(const struct worker *worker, const struct env_job *job)
{
    for (const struct env_job *at = worker->first; at != NULL; at = at->next)
        if (at == job)
            return true;
    return false;
}

/* It is the thread that gets another priority, until the job under way is done: also for those that stand before the one that is meant, and for a
 * thread that has yet to wake up and take it. */
void posix_job_hurry(struct env *env, struct env_job *job)
{
    struct worker *worker = &env_posix_of(env)->idle_jobs;

    pthread_mutex_lock(&worker->mutex);
    if (worker->current == job || is_queued(worker, job)) {
        if (worker->current != NULL)
            worker->current->hurried = true;
        for (struct env_job *at = worker->first; worker->current != job && at != job; at = at->next)
            at->hurried = true;
        job->hurried = true;
        if (worker->tid != 0)
            give_way_no_more(worker);
    }
    pthread_mutex_unlock(&worker->mutex);
}

/* With the mutex held; false if it is not queued. */
static bool take_from_queue(struct worker *worker, const struct env_job *job)
{
    struct env_job *before = NULL, *at = worker->first;

    while (at != NULL && at != job) {
        before = at;
        at = at->next;
    }
    if (at == NULL)
        return false;
    if (before == NULL)
        worker->first = at->next;
    else
        before->next = at->next;
    if (worker->last == at)
        worker->last = before;
    return true;
}

/* True if it had not begun, and will not. */
static bool stop_in(struct worker *worker, const struct env_job *job)
{
    bool queued;

    pthread_mutex_lock(&worker->mutex);
    queued = take_from_queue(worker, job);
    while (worker->current == job)
        pthread_cond_wait(&worker->ran, &worker->mutex);
    pthread_mutex_unlock(&worker->mutex);
    return queued;
}

/* One that was hurried says that its priority is normal, wherever it stands. */
void posix_job_stop(struct env *env, struct env_job *job)
{
    struct env_posix *posix = env_posix_of(env);

    if (stop_in(&posix->jobs, job) || stop_in(&posix->idle_jobs, job))
        push_done_job(posix, job);
}

static void run_job_done(struct ready *ready)
{
    struct env_job *job = container_of(ready, struct env_job, ready);

    job->done(job); /* may free it */
}

void posix_job_start(struct env *env, struct env_job *job)
{
    struct env_posix *posix = env_posix_of(env);
    bool idle = job->priority == ENV_JOB_IDLE;
    struct worker *worker = idle ? &posix->idle_jobs : &posix->jobs;

    posix->jobs_out++;
    job->ready = (struct ready){.run = run_job_done};
    if (!start_thread(worker, JOB_STACK_BYTES, idle ? idle_job_main : job_main, posix)) {
        job->run(job);
        push_done_job(posix, job);
        return;
    }
    pthread_mutex_lock(&worker->mutex);
    if (worker->first == NULL)
        worker->first = job;
    else
        ((struct env_job *)worker->last)->next = job;
    worker->last = job;
    pthread_cond_signal(&worker->wake);
    pthread_mutex_unlock(&worker->mutex);
}

/* ---- syncs ---- */

/* One fdatasync for the chain; sets each one's error. */
static void sync_chain(struct env_file *file, struct env_sync *first)
{
    struct env *env = &file->posix->env;
    int64_t began_us = env_now_us(env), ended_us;

    posix_file_flush(file);
    ended_us = env_now_us(env);
    if (ended_us - began_us > SLOW_SYNC_US)
        atomic_store(&file->posix->slow_sync_us, ended_us);
    for (struct env_sync *sync = first; sync != NULL; sync = sync->next)
        sync->error = atomic_load(&file->failed) ? ERROR_IO_ERROR : 0;
}

static struct env_sync *reverse_syncs(struct env_sync *sync)
{
    struct env_sync *reversed = NULL;

    while (sync != NULL) {
        struct env_sync *next = sync->next;

        sync->next = reversed;
        reversed = sync;
        sync = next;
    }
    return reversed;
}

/* Newest first, as the stack is: the loop turns all of it round, so that syncs are done in the order they were asked for. */
static void push_done_syncs(struct env_posix *posix, struct env_sync *chain)
{
    struct env_sync *last = chain, *first = reverse_syncs(chain);

    last->next = atomic_load_explicit(&posix->syncs_done, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&posix->syncs_done, &last->next, first, memory_order_release,
                                                  memory_order_relaxed))
        ;
    env_posix_wake(&posix->env);
}

/* Takes a file and all that is asked of it. */
static struct env_sync *next_syncs(struct worker *worker, struct env_file **ret_file)
{
    struct env_sync *first = NULL;

    pthread_mutex_lock(&worker->mutex);
    if (wait_for_work(worker)) {
        struct env_file *file = worker->first;

        worker->first = file->next_unsynced;
        file->on_syncer = false;
        first = file->queued;
        file->queued = NULL;
        file->queued_tail = &file->queued;
        *ret_file = file;
    }
    pthread_mutex_unlock(&worker->mutex);
    return first;
}

static void *syncer_main(void *ctx)
{
    struct env_posix *posix = ctx;
    struct env_file *file;
    struct env_sync *first;

    posix_take_short_slice();
    while ((first = next_syncs(&posix->syncer, &file)) != NULL) {
        sync_chain(file, first);
        push_done_syncs(posix, first); /* from here on the loop may free the file */
    }
    return NULL;
}

static void run_sync_done(struct ready *ready)
{
    struct env_sync *sync = container_of(ready, struct env_sync, ready);
    struct env_file *file = sync->file;
    int error = sync->error;

    if (error != 0)
        TRACE(&file->posix->env, SEVERITY_WARN_ALWAYS, "SyncFailed", {"Path", trace_str(file->path)});
    file->syncs_out--;
    if (file->closing && file->syncs_out == 0)
        posix_file_free(file);
    sync->done(sync, error); /* may free it */
}

void posix_file_sync(struct env_file *file, struct env_sync *sync)
{
    assert(!file->closing);
    sync->ready = (struct ready){.run = run_sync_done};
    sync->file = file;
    sync->next = NULL;
    sync->error = 0;
    file->syncs_out++;
    *file->fresh_tail = sync;
    file->fresh_tail = &sync->next;
    if (!list_linked(&file->unsynced_link))
        list_push_back(&file->posix->unsynced, &file->unsynced_link);
}

static struct env_sync *take_fresh(struct env_file *file)
{
    struct env_sync *first = file->fresh;

    list_remove(&file->unsynced_link);
    file->fresh = NULL;
    file->fresh_tail = &file->fresh;
    return first;
}

static void sync_inline(struct env_file *file)
{
    struct env_sync *next, *sync = take_fresh(file);

    sync_chain(file, sync);
    for (; sync != NULL; sync = next) {
        next = sync->next;
        env_ready(&file->posix->env, &sync->ready, READY_COMMIT);
    }
}

static void hand_to_syncer(struct env_file *file)
{
    struct env_posix *posix = file->posix;
    struct worker *syncer = &posix->syncer;
    struct env_sync *first;

    if (!start_thread(syncer, SYNCER_STACK_BYTES, syncer_main, posix)) {
        sync_inline(file);
        return;
    }
    first = take_fresh(file);
    pthread_mutex_lock(&syncer->mutex);
    *file->queued_tail = first;
    for (struct env_sync *sync = first; sync != NULL; sync = sync->next) {
        file->queued_tail = &sync->next;
        file->flying++;
        posix->syncs_out++;
    }
    if (!file->on_syncer) {
        file->on_syncer = true;
        file->next_unsynced = NULL;
        if (syncer->first == NULL)
            syncer->first = file;
        else
            ((struct env_file *)syncer->last)->next_unsynced = file;
        syncer->last = file;
    }
    pthread_cond_signal(&syncer->wake);
    pthread_mutex_unlock(&syncer->mutex);
}

void posix_start_syncs(struct env_posix *posix, bool inline_allowed)
{
    int64_t slow_us = atomic_load(&posix->slow_sync_us);
    bool alone = !list_empty(&posix->unsynced) && posix->unsynced.next == posix->unsynced.prev;

    if (slow_us != 0 && env_now_us(&posix->env) - slow_us < SLOW_SYNC_KEPT_US)
        inline_allowed = false;

    list_each(node, after, &posix->unsynced) {
        struct env_file *file = list_entry(node, struct env_file, unsynced_link);

        if (inline_allowed && alone && file->flying == 0)
            sync_inline(file);
        else
            hand_to_syncer(file);
    }
}

/* ---- completions ---- */

/* The stacks hold the newest first; completions run in the order in which they came. */
static struct env_job *reverse_jobs(struct env_job *job)
{
    struct env_job *reversed = NULL;

    while (job != NULL) {
        struct env_job *next = job->next;

        job->next = reversed;
        reversed = job;
        job = next;
    }
    return reversed;
}

static void take_syncs(struct env_posix *posix, struct env_sync *sync)
{
    while (sync != NULL) {
        struct env_sync *next = sync->next;

        posix->syncs_out--;
        sync->file->flying--;
        env_ready(&posix->env, &sync->ready, READY_COMMIT);
        sync = next;
    }
}

bool posix_take_completions(struct env_posix *posix)
{
    struct env_sync *syncs = NULL;
    struct env_job *jobs = NULL;

    if (posix->syncs_out > 0)
        syncs = reverse_syncs(atomic_exchange_explicit(&posix->syncs_done, NULL, memory_order_acquire));
    if (posix->jobs_out > 0)
        jobs = reverse_jobs(atomic_exchange_explicit(&posix->jobs_done, NULL, memory_order_acquire));
    take_syncs(posix, syncs);
    for (struct env_job *job = jobs, *next; job != NULL; job = next) {
        next = job->next;
        posix->jobs_out--;
        env_ready(&posix->env, &job->ready, READY_COMMIT);
    }
    return syncs != NULL || jobs != NULL;
}

/* ---- life ---- */

static void worker_init(struct worker *worker)
{
    pthread_mutex_init(&worker->mutex, NULL);
    pthread_cond_init(&worker->wake, NULL);
    pthread_cond_init(&worker->ran, NULL);
}

static void worker_done(struct worker *worker)
{
    assert(!worker->started);
    pthread_mutex_destroy(&worker->mutex);
    pthread_cond_destroy(&worker->wake);
    pthread_cond_destroy(&worker->ran);
}

void posix_jobs_init(struct env_posix *posix)
{
    worker_init(&posix->syncer);
    worker_init(&posix->jobs);
    worker_init(&posix->idle_jobs);
}

void posix_jobs_stop(struct env_posix *posix)
{
    stop_thread(&posix->syncer);
    stop_thread(&posix->jobs);
    stop_thread(&posix->idle_jobs);
}

void posix_jobs_done(struct env_posix *posix)
{
    worker_done(&posix->syncer);
    worker_done(&posix->jobs);
    worker_done(&posix->idle_jobs);
}
