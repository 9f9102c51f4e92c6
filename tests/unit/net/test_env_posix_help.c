/* Threads that do the loop's work while its own thread sleeps (env_posix_help). */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "tests/unit/net/posix_fixture.h"

static struct fixture fixture;

enum { HELPERS = 4, QUESTIONS = 500 };

/* A question that a thread puts to the loop: answered a little later, by a timer, or in the turn. */
struct question {
    struct question *next;
    struct env_timer timer;
    int64_t delay_us;
    atomic_bool answered;
    pthread_t answered_by;
};

static struct desk {
    _Atomic(struct question *) asked;
    pthread_t loop;
    atomic_bool refusing;
    atomic_int refused;
} desk;

static void answer(struct question *question)
{
    question->answered_by = pthread_self();
    atomic_store(&question->answered, true);
}

static void answer_late(struct env_timer *timer)
{
    answer(container_of(timer, struct question, timer));
}

static bool take_questions(void *ctx)
{
    struct question *question = atomic_exchange(&desk.asked, NULL);
    bool any = question != NULL;

    (void)ctx;
    if (any && atomic_load(&desk.refusing) && !pthread_equal(pthread_self(), desk.loop)) {
        struct question *last = question;

        while (last->next != NULL)
            last = last->next;
        last->next = atomic_load(&desk.asked);
        while (!atomic_compare_exchange_weak(&desk.asked, &last->next, question))
            ;
        atomic_fetch_add(&desk.refused, 1);
        env_posix_refuse_help(fixture.env);
        return false;
    }
    while (question != NULL) {
        struct question *next = question->next;

        question->timer.fire = answer_late;
        if (question->delay_us > 0)
            env_timer_start(fixture.env, &question->timer, env_now_us(fixture.env) + question->delay_us);
        else
            answer(question);
        question = next;
    }
    return any;
}

static void ask(struct question *question)
{
    question->next = atomic_load(&desk.asked);
    while (!atomic_compare_exchange_weak(&desk.asked, &question->next, question))
        ;
    env_posix_wake(fixture.env);
}

static bool is_answered(void *ctx)
{
    return atomic_load(&((struct question *)ctx)->answered);
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 20 * 1000}, NULL);
}

/* Whoever can't help waits. */
static void wait_for(struct question *question)
{
    env_posix_help(fixture.env, is_answered, question);
    while (!is_answered(question))
        nap();
}

static void *run_loop(void *argument)
{
    (void)argument;
    desk.loop = pthread_self();
    env_posix_run(fixture.env);
    return NULL;
}

static void set_up(void)
{
    static const struct env_posix_options options = {.on_wake = take_questions};

    fixture_init(&fixture, &options);
}

static void tear_down(void)
{
    fixture_done(&fixture);
}

static pthread_t start(void)
{
    pthread_t loop;

    pthread_create(&loop, NULL, run_loop, NULL);
    return loop;
}

static void finish(pthread_t loop)
{
    env_posix_stop(fixture.env);
    pthread_join(loop, NULL);
}

TestSuite(env_posix_help, .init = set_up, .fini = tear_down, .timeout = 30);

Test(env_posix_help, who_waits_answers_himself_while_the_loop_sleeps)
{
    pthread_t loop = start();
    int own = 0;

    for (int i = 0; i < 200; i++) {
        struct question question = {.delay_us = i % 2 * 100};

        nap();
        ask(&question);
        wait_for(&question);
        own += pthread_equal(question.answered_by, pthread_self());
    }
    cr_expect_gt(own, 20, "only %d of 200", own);
    finish(loop);
}

static void *ask_many(void *argument)
{
    uint64_t state = (uintptr_t)argument;

    for (int i = 0; i < QUESTIONS; i++) {
        struct question question = {0};

        state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
        question.delay_us = (int64_t)(state >> 60) * 10;
        ask(&question);
        wait_for(&question);
    }
    return NULL;
}

Test(env_posix_help, many_helpers_and_the_loop_lose_no_wake_up)
{
    pthread_t loop = start(), threads[HELPERS];

    for (intptr_t i = 0; i < HELPERS; i++)
        pthread_create(&threads[i], NULL, ask_many, (void *)(i + 1));
    for (int i = 0; i < HELPERS; i++)
        pthread_join(threads[i], NULL);
    finish(loop);
}

Test(env_posix_help, what_a_helper_may_not_do_the_loops_thread_does)
{
    pthread_t loop = start();

    atomic_store(&desk.refusing, true);
    for (int i = 0; i < 500; i++) {
        struct question question = {0};

        ask(&question);
        wait_for(&question);
        cr_assert(pthread_equal(question.answered_by, desk.loop));
    }
    cr_expect_gt(atomic_load(&desk.refused), 0);
    finish(loop);
}

static void *wait_for_nothing(void *argument)
{
    env_posix_help(fixture.env, is_answered, argument);
    return NULL;
}

Test(env_posix_help, stopping_the_loop_sends_its_helper_away)
{
    struct question never = {0};

    for (int i = 0; i < 20; i++) {
        pthread_t loop = start(), helper;

        pthread_create(&helper, NULL, wait_for_nothing, &never);
        for (int j = 0; j < i; j++)
            nap();
        finish(loop);
        pthread_join(helper, NULL);
    }
}

Test(env_posix_help, nobody_helps_a_loop_that_does_not_run)
{
    struct question never = {0};

    env_posix_help(fixture.env, is_answered, &never);
}
