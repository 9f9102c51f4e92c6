/* Life and dispatch of the ratekeeper. */
#include "roles/ratekeeper/ratekeeper.h"

#include "net/mem.h"
#include "net/op.h"
#include "roles/role_client.h"

struct ratekeeper {
    struct role_context context;
    uint64_t id;
    struct op_list ops;
    struct client *client; /* owned: its transactions */
    struct arena arena;    /* holds what the description points to */
    struct description description; /* the newest known */
};

static void receive(void *ctx, struct rpc_request *request)
{
    (void)ctx;
    rpc_fail(request, ERROR_CLIENT_INVALID_OPERATION);
}

void ratekeeper_described(struct ratekeeper *self, const struct description *description)
{
    struct arena arena = {0};
    struct description copy;
    int error = message_copy_body(&schema_description, description, &arena, &copy);

    assert(error == 0); /* a server dies of a failed allocation before it gets here */
    arena_done(&self->arena);
    self->arena = arena;
    self->description = copy;
}

/* ---- life ---- */

static void dispose(struct ratekeeper *self)
{
    client_destroy(self->client);
    arena_done(&self->arena);
    mem_free(self);
}

int ratekeeper_create(const struct role_context *context, struct rpc_request *request, struct ratekeeper **ret_ratekeeper)
{
    const struct init_ratekeeper *body = MESSAGE_BODY(init_ratekeeper, request->message);
    struct ratekeeper *self = mem_zalloc(sizeof(*self));
    struct message *message = NULL;
    struct role_started *started = NULL;
    int error;

    if (self == NULL)
        return ERROR_OUT_OF_MEMORY;
    self->context = *context;
    self->id = body->role_id;
    op_list_init(&self->ops, context->env, self);
    error = role_client_create(context, &self->client);
    if (error == 0 && (started = MESSAGE_NEW(role_started, &message)) == NULL)
        error = ERROR_OUT_OF_MEMORY;
    if (error != 0) {
        dispose(self);
        return error;
    }
    ratekeeper_described(self, &body->description);
    started->role_id = self->id;
    rpc_register(context->rpc, self->id, receive, self);
    rpc_reply(request, message);
    *ret_ratekeeper = self;
    return 0;
}

void ratekeeper_destroy(struct ratekeeper *self)
{
    if (self == NULL)
        return;
    rpc_unregister(self->context.rpc, self->id);
    op_cancel_all(&self->ops);
    dispose(self);
}

void ratekeeper_status(const struct ratekeeper *self, struct role_status *status, struct arena *arena)
{
    role_metric(status, arena, "described_epoch", (int64_t)self->description.epoch);
}
