/* Which file descriptors the loop watches, and telling their owners.
 *
 * Two threads may wait at the same time (env_posix_help), and what one of them was given may be closed by the other before it
 * holds the loop's lock. So an event names a descriptor and the number of its watching, never an address; an event of a watching that
 * has ended finds nobody. */
#include <assert.h>
#include <errno.h>
#include <unistd.h>

#include "net/env_posix_impl.h"
#include "net/error.h"
#include "net/mem.h"

enum { EVENTS_A_POLL = 64, TABLE_MIN = 64 };

/* ---- watching ---- */

static int table_reserve(struct poll_table *table, int fd)
{
    size_t capacity = table->capacity == 0 ? TABLE_MIN : table->capacity;
    struct watched **grown;

    if ((size_t)fd < table->capacity)
        return 0;
    while (capacity <= (size_t)fd)
        capacity *= 2;
    grown = mem_realloc(table->by_fd, capacity * sizeof(struct watched *));
    if (grown == NULL)
        return ERROR_OUT_OF_MEMORY;
    memset(grown + table->capacity, 0, (capacity - table->capacity) * sizeof(struct watched *));
    table->by_fd = grown;
    table->capacity = capacity;
    return 0;
}

static int tell_epoll(struct poll_table *table, int what, const struct watched *watched, uint32_t wanted)
{
    struct epoll_event event = {.events = wanted, .data.u64 = (uint64_t)watched->number << 32 | (uint32_t)watched->fd};

    return epoll_ctl(table->epoll_fd, what, watched->fd, &event) == 0 ? 0 : ERROR_OUT_OF_MEMORY;
}

static int begin(struct poll_table *table, struct watched *watched, uint32_t wanted)
{
    int error = table_reserve(table, watched->fd);

    if (error == 0) {
        assert(table->by_fd[watched->fd] == NULL);
        watched->number = ++table->number;
        error = tell_epoll(table, EPOLL_CTL_ADD, watched, wanted);
    }
    if (error == 0)
        table->by_fd[watched->fd] = watched;
    return error;
}

static void end(struct poll_table *table, struct watched *watched)
{
    assert(table->by_fd[watched->fd] == watched);
    table->by_fd[watched->fd] = NULL;
    (void)tell_epoll(table, EPOLL_CTL_DEL, watched, 0);
}

int posix_watch(struct env_posix *posix, struct watched *watched, uint32_t wanted)
{
    struct poll_table *table = &posix->poll;
    int error = 0;

    if (wanted == watched->wanted)
        return 0;
    if (wanted == 0)
        end(table, watched);
    else if (watched->wanted == 0)
        error = begin(table, watched, wanted);
    else
        error = tell_epoll(table, EPOLL_CTL_MOD, watched, wanted);
    if (error == 0)
        watched->wanted = wanted;
    return error;
}

/* ---- telling ---- */

static struct watched *find(const struct poll_table *table, uint64_t name)
{
    size_t fd = (uint32_t)name;
    struct watched *watched = fd < table->capacity ? table->by_fd[fd] : NULL;

    return watched != NULL && watched->number == (uint32_t)(name >> 32) ? watched : NULL;
}

/* Whoever is told may end any watching, its own as well. */
static void tell(struct env_posix *posix, const struct epoll_event *event)
{
    const uint32_t broken = EPOLLERR | EPOLLHUP;
    struct watched *watched = find(&posix->poll, event->data.u64);

    if (watched != NULL && (watched->wanted & EPOLLIN) != 0 && (event->events & (EPOLLIN | broken)) != 0)
        watched->readable(posix, watched);
    watched = find(&posix->poll, event->data.u64);
    if (watched != NULL && (watched->wanted & EPOLLOUT) != 0 && (event->events & (EPOLLOUT | broken)) != 0)
        watched->writable(posix, watched);
}

void posix_poll_now(struct env_posix *posix)
{
    struct epoll_event events[EVENTS_A_POLL];
    int count = epoll_wait(posix->poll.epoll_fd, events, EVENTS_A_POLL, 0);

    for (int i = 0; i < count; i++)
        tell(posix, &events[i]);
}

bool posix_poll_wait(struct env_posix *posix)
{
    struct epoll_event events[EVENTS_A_POLL];
    int count;

    pthread_mutex_unlock(&posix->driving);
    count = epoll_wait(posix->poll.epoll_fd, events, EVENTS_A_POLL, -1);
    pthread_mutex_lock(&posix->driving);
    if (!posix->looping)
        return false;
    for (int i = 0; i < count; i++)
        tell(posix, &events[i]);
    return true;
}

/* ---- life ---- */

int posix_poll_init(struct env_posix *posix)
{
    posix->poll.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return posix->poll.epoll_fd >= 0 ? 0 : ERROR_OPERATION_FAILED;
}

void posix_poll_done(struct env_posix *posix)
{
    if (posix->poll.epoll_fd >= 0)
        close(posix->poll.epoll_fd);
    mem_free(posix->poll.by_fd);
}
