/* Private to roles/ratekeeper/: the role. */
#pragma once

#include "net/op.h"
#include "roles/ratekeeper/rate_tags.h"
#include "roles/ratekeeper/ratekeeper.h"
#include "roles/ratekeeper/ratekeeper_rate.h"
#include "roles/role_client.h"

struct throttles;

struct ratekeeper {
    struct role_context context;
    uint64_t id;
    struct op_list ops;
    struct client *client; /* owned: its transactions */
    struct rate_source *sources;
    struct rate_tags *tags; /* owned; limits of tags */
    struct throttles *throttles; /* owned by its op */
    struct rate_core core;
    enum rate_reason told_reason;
    bool told_hold;
    uint64_t reports;
};

/* Reads the limits that operators set, and writes down its own, from now on (throttles.c). */
void throttles_start(struct ratekeeper *ratekeeper);
/* An automatic limit began or ended. */
void throttles_changed(struct ratekeeper *ratekeeper);
/* Traces which automatic limits began and ended since the last time. */
void ratekeeper_tell_tag_limits(struct ratekeeper *ratekeeper);
