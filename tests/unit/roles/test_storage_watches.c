/* Watches on a storage server: each fires when the value is known to be another one, and only then. */
#include "roles/storage/watches.h"
#include "tests/unit/roles/storage_lab.h"
#include "txn/watch_digest.h"

#define USER_END BYTES_LITERAL("\xff")
enum { KEY = 3, OTHER = 4, SEED = 77, SESSION = 4242 };

/* A client of one session; `event` is the last thing that it heard. */
struct watcher {
    struct lab lab;
    struct lab_call poll;
    uint64_t number;
    struct watch_event event;
    int events;
};

static void begin(struct watcher *watcher, uint64_t seed)
{
    struct bytes_buffer table = {0};

    memset(watcher, 0, sizeof(*watcher));
    lab_init(&watcher->lab, seed, seed % 2 == 0 ? ENGINE_LMDB : ENGINE_MEMORY, false);
    lab_assign(&table, bytes_none(), USER_END, SERVER_KEYS_OWNED_EMPTY);
    lab_push(&watcher->lab, watcher->lab.newest + 1, &table);
    lab_push_set(&watcher->lab, 10, KEY, "seen");
    lab_commit(&watcher->lab, watcher->lab.newest);
    lab_catch_up(&watcher->lab);
}

static void take_events(struct watcher *watcher)
{
    const struct watch_reply *reply;

    if (watcher->poll.reply == NULL)
        return;
    reply = MESSAGE_BODY(watch_reply, watcher->poll.reply);
    for (uint32_t i = 0; i < reply->events_count; i++) {
        watcher->event = reply->events[i];
        watcher->events++;
    }
    message_unref(watcher->poll.reply);
    watcher->poll.reply = NULL;
}

static void end(struct watcher *watcher)
{
    op_cancel(&watcher->poll.op);
    take_events(watcher);
    lab_done(&watcher->lab);
}

/* A poll that brings one watch more (id 0: none) and takes one back (0: none). The poll before is answered by it. */
static void poll(struct watcher *watcher, uint64_t id, unsigned key, const char *value, uint64_t removed)
{
    struct message *request;
    struct watch *m = MESSAGE_NEW(watch, &request);
    struct bytes bytes = value == NULL ? bytes_none() : bytes_of_string(value);
    char text[1200];

    m->session = SESSION;
    m->number = ++watcher->number;
    m->added = arena_zalloc(&request->arena, sizeof(*m->added));
    m->removed = arena_zalloc(&request->arena, sizeof(*m->removed));
    m->added_count = id != 0;
    m->removed_count = removed != 0;
    m->added[0] = (struct watch_key){
        .id = id, .digest = watch_digest(value != NULL, bytes, SEED), .seed = SEED, .version = watcher->lab.newest};
    cr_assert_eq(arena_copy(&request->arena, lab_key(key, text), &m->added[0].key), 0);
    m->removed[0] = removed;
    if (watcher->poll.op.owner != NULL)
        op_cancel(&watcher->poll.op);
    take_events(watcher);
    lab_call_start(&watcher->lab, &watcher->poll, LAB_SERVER_ID, request);
    lab_run(&watcher->lab, SIM_SECOND_US / 10);
    take_events(watcher);
}

/* What the server says meanwhile; false: nothing. */
static bool hears(struct watcher *watcher)
{
    int before = watcher->events;

    lab_run(&watcher->lab, SIM_SECOND_US);
    take_events(watcher);
    cr_assert_eq(watcher->poll.error, 0);
    return watcher->events > before;
}

static void push(struct watcher *watcher, unsigned key, const char *value, bool committed)
{
    lab_push_set(&watcher->lab, 100, key, value);
    if (committed)
        lab_commit(&watcher->lab, watcher->lab.newest);
}

Test(storage_watches, a_change_fires_once_it_is_known_committed, .timeout = 60)
{
    struct watcher watcher;

    begin(&watcher, 1);
    poll(&watcher, 9, KEY, "seen", 0);
    cr_assert_not(hears(&watcher));
    push(&watcher, OTHER, "other", true);
    push(&watcher, KEY, "seen", true); /* written, and the same */
    cr_assert_not(hears(&watcher));
    push(&watcher, KEY, "changed", false);
    cr_assert_not(hears(&watcher), "it may be rolled back");
    lab_commit(&watcher.lab, watcher.lab.newest);
    cr_assert(hears(&watcher));
    cr_assert(watcher.event.id == 9 && watcher.event.error == 0 && watcher.event.version == watcher.lab.newest);
    cr_assert_eq(watches_count(lab_server(&watcher.lab)->watches), 0u);
    end(&watcher);
}

Test(storage_watches, what_changed_before_it_came_fires_at_once, .timeout = 60)
{
    struct watcher watcher;

    begin(&watcher, 2);
    poll(&watcher, 1, KEY, "what it was once", 0);
    cr_assert(watcher.events == 1 || hears(&watcher));
    cr_assert(watcher.event.id == 1 && watcher.event.error == 0);
    poll(&watcher, 2, OTHER, NULL, 0); /* absent, as it should be */
    cr_assert_not(hears(&watcher));
    push(&watcher, OTHER, "", true); /* there, and empty: that is another value */
    cr_assert(hears(&watcher));
    cr_assert_eq(watcher.event.id, 2u);
    end(&watcher);
}

Test(storage_watches, a_cleared_range_fires_what_was_there, .timeout = 60)
{
    struct watcher watcher;
    struct bytes_buffer table = {0};
    char low[1200], high[1200];

    begin(&watcher, 3);
    poll(&watcher, 1, KEY, "seen", 0);
    poll(&watcher, 2, OTHER, NULL, 0);
    cr_assert_eq(watcher.events, 0);
    cr_assert_eq(mutation_append(&table, MUTATION_CLEAR_RANGE, lab_key(KEY, low), lab_key(OTHER + 1, high)), 0);
    lab_push(&watcher.lab, watcher.lab.newest + 100, &table);
    lab_commit(&watcher.lab, watcher.lab.newest);
    cr_assert(hears(&watcher));
    cr_assert(watcher.events == 1 && watcher.event.id == 1, "what was absent still is");
    end(&watcher);
}

Test(storage_watches, one_that_was_taken_back_is_forgotten, .timeout = 60)
{
    struct watcher watcher;

    begin(&watcher, 4);
    poll(&watcher, 1, KEY, "seen", 0);
    poll(&watcher, 2, KEY, "seen", 1);
    cr_assert_eq(watches_count(lab_server(&watcher.lab)->watches), 1u);
    push(&watcher, KEY, "changed", true);
    cr_assert(hears(&watcher));
    cr_assert(watcher.events == 1 && watcher.event.id == 2);
    end(&watcher);
}

Test(storage_watches, a_moved_shard_says_so, .timeout = 60)
{
    struct watcher watcher;
    struct bytes_buffer table = {0};

    begin(&watcher, 5);
    poll(&watcher, 1, KEY, "seen", 0);
    lab_assign(&table, bytes_none(), USER_END, SERVER_KEYS_NONE);
    lab_push(&watcher.lab, watcher.lab.newest + 100, &table);
    lab_commit(&watcher.lab, watcher.lab.newest);
    cr_assert(hears(&watcher));
    cr_assert(watcher.event.id == 1 && watcher.event.error == ERROR_WRONG_SHARD_SERVER);
    poll(&watcher, 2, KEY, "seen", 0);
    cr_assert(watcher.events == 2 || hears(&watcher));
    cr_assert(watcher.event.id == 2 && watcher.event.error == ERROR_WRONG_SHARD_SERVER);
    end(&watcher);
}

Test(storage_watches, what_a_recovery_takes_back_does_not_fire, .timeout = 60)
{
    struct watcher watcher;
    version_t kept;

    begin(&watcher, 6);
    poll(&watcher, 1, KEY, "seen", 0);
    kept = watcher.lab.newest;
    push(&watcher, KEY, "lost", false);
    cr_assert_not(hears(&watcher));
    lab_recover(&watcher.lab, kept);
    lab_describe(&watcher.lab);
    lab_catch_up(&watcher.lab);
    push(&watcher, OTHER, "goes on", true);
    cr_assert_not(hears(&watcher));
    push(&watcher, KEY, "kept", true);
    cr_assert(hears(&watcher));
    cr_assert(watcher.event.id == 1 && watcher.event.error == 0);
    end(&watcher);
}

Test(storage_watches, a_full_server_and_a_wrong_session_refuse, .timeout = 60)
{
    struct watcher watcher;

    begin(&watcher, 7);
    poll(&watcher, 1, KEY, "seen", 0);
    poll(&watcher, 1, OTHER, NULL, 0); /* the same id again */
    cr_assert(watcher.events == 1 || hears(&watcher));
    cr_assert_eq(watcher.event.error, (uint32_t)ERROR_CLIENT_INVALID_OPERATION);
    lab_server(&watcher.lab)->env->knobs.storage_watch_bytes_max = 1;
    poll(&watcher, 2, OTHER, NULL, 0);
    cr_assert(watcher.events == 2 || hears(&watcher));
    cr_assert(watcher.event.id == 2 && watcher.event.error == ERROR_TOO_MANY_WATCHES);
    poll(&watcher, 3, OTHER, "which it was", 0);
    cr_assert(watcher.events == 3 || hears(&watcher));
    cr_assert(watcher.event.id == 3 && watcher.event.error == 0); /* asked too late to wait, and it has changed already */
    watcher.number += 5; /* polls that the server never heard of */
    poll(&watcher, 0, KEY, NULL, 0);
    lab_run(&watcher.lab, SIM_SECOND_US);
    cr_assert_eq(watcher.poll.error, ERROR_OPERATION_OBSOLETE);
    end(&watcher);
}

Test(storage_watches, a_silent_client_loses_its_session, .timeout = 60)
{
    struct watcher watcher;

    begin(&watcher, 8);
    poll(&watcher, 1, KEY, "seen", 0);
    push(&watcher, KEY, "changed", true);
    cr_assert(hears(&watcher)); /* and asks no more */
    for (int i = 0; i < 60; i++) {
        lab_push_empty(&watcher.lab, VERSIONS_PER_SECOND);
        lab_commit(&watcher.lab, watcher.lab.newest);
        lab_run(&watcher.lab, SIM_SECOND_US);
    }
    cr_assert_eq(watches_bytes(lab_server(&watcher.lab)->watches), 0u);
    end(&watcher);
}
