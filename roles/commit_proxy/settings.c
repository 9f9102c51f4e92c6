/* What an operator has set, told to the controller.
 *
 * A new epoch may be needed for it, and only a committed change counts: the answer waits until the version that brought it is known
 * committed. It is the metadata as of then, for while a later change is only applied the answer waits for that one. */
#include "roles/commit_proxy/commit_proxy_impl.h"

#include "net/buggify.h"
#include "txn/operator_keys.h"
#include "txn/system_keys.h"

enum { PARTS = 2 };

static struct bytes part_begin(int part)
{
    return part == 0 ? KEY_CONF_PREFIX : KEY_PROCESS_CLASS_PREFIX;
}

static struct bytes part_end(int part)
{
    return part == 0 ? KEY_CONF_END : KEY_PROCESS_CLASS_END;
}

bool settings_touched_by(const struct mutation *mutation)
{
    bool clears = mutation->type == MUTATION_CLEAR_RANGE;

    for (int i = 0; i < PARTS; i++) {
        if (clears ? bytes_compare(mutation->param1, part_end(i)) < 0 && bytes_compare(part_begin(i), mutation->param2) < 0
                   : bytes_compare(part_begin(i), mutation->param1) <= 0 && bytes_compare(mutation->param1, part_end(i)) < 0)
            return true;
    }
    return false;
}

static int dump(const struct commit_proxy *self, struct arena *arena, struct bytes *ret_table)
{
    struct bytes_buffer out = {0};
    int error = 0;

    for (int i = 0; i < PARTS && error == 0; i++) {
        struct bytes key = part_begin(i), at, value;

        while (error == 0 && kv_map_at_or_after(self->metadata, key, &at, &value) && bytes_compare(at, part_end(i)) < 0) {
            error = mutation_append(&out, MUTATION_SET, at, value);
            if (error == 0)
                error = key_after(arena, at, &key);
        }
    }
    if (error == 0)
        error = arena_copy(arena, bytes_buffer_bytes(&out), ret_table);
    bytes_buffer_done(&out);
    return error;
}

static void answer(struct commit_proxy *self, struct rpc_request *request)
{
    struct message *message;
    struct settings *settings = MESSAGE_NEW(settings, &message);
    int error = settings == NULL ? ERROR_OUT_OF_MEMORY : dump(self, &message->arena, &settings->mutations);

    if (error != 0) {
        message_unref(message);
        rpc_fail(request, error);
        return;
    }
    settings->version = self->settings_version;
    rpc_reply(request, message);
}

void settings_look(struct commit_proxy *self)
{
    if (self->settings_version > self->known_committed)
        return;
    list_each(node, after, &self->settings_waiters) {
        struct rpc_request *request = list_entry(node, struct rpc_request, link);

        if (MESSAGE_BODY(get_settings, request->message)->known_version >= self->settings_version)
            continue;
        list_remove(node);
        self->settings_waiter_count--;
        answer(self, request);
    }
}

/* One waits for each controller that believes to lead; those that have gone make room. */
void settings_receive(struct commit_proxy *self, struct rpc_request *request)
{
    struct rpc_request *oldest;

    list_push_back(&self->settings_waiters, &request->link);
    if (++self->settings_waiter_count > SETTINGS_WAITERS_MAX) {
        PROBE(self->context.env, "too many controllers wait to hear what is set");
        oldest = list_entry(list_pop_front(&self->settings_waiters), struct rpc_request, link);
        self->settings_waiter_count--;
        rpc_fail(oldest, ERROR_OPERATION_OBSOLETE);
    }
    settings_look(self);
}

void settings_done(struct commit_proxy *self)
{
    while (!list_empty(&self->settings_waiters))
        rpc_fail(list_entry(list_pop_front(&self->settings_waiters), struct rpc_request, link), ERROR_BROKEN_PROMISE);
    self->settings_waiter_count = 0;
}
