/* Limits of tags: those that an operator has set, and those that the ratekeeper sets itself. No clock, no I/O: time comes in.
 *
 * GRV proxies tell how many transactions of each tag came and started, storage servers whose reads cost them most, commit proxies
 * whose writes go where. When a storage server comes under pressure (ratekeeper_rate.c: at marks that lie below those of the general
 * rate) and one tag makes a large part of its load, that tag's rate is limited first: to what the server can take beside the others'
 * load, over the pressure; the same law as the general rate's, for the same reason. The limit goes when the pressure has been gone for a while.
 * While automatic limits are disabled they are worked out all the same ("recommended"), and hold for nobody. */
#pragma once

#include "roles/ratekeeper/ratekeeper_rate.h"
#include "txn/tags.h"

enum { RATE_TAGS_MAX = 128, RATE_TAG_PROXIES = 32, RATE_TAG_WRITERS = 32, RATE_TAG_COSTS = 64, RATE_TAG_LIMITS_MAX = 64, RATE_TAG_AUTO_MAX = 10 };

struct rate_tag_proxy {
    uint64_t id;
    int64_t heard_us;
    struct rate_smoother wanted, started;
};

/* A tag that GRV proxies tell of. */
struct rate_tag {
    bool used;
    struct tag_name name;
    int64_t heard_us;
    struct rate_tag_proxy proxies[RATE_TAG_PROXIES];
};

/* The last report of a commit proxy: who writes how many bytes a second to which storage server. */
struct rate_tag_writer {
    uint64_t id;
    int64_t heard_us;
    uint32_t count;
    struct rate_tag_cost {
        struct tag_name name;
        uint32_t server;
        double cost;
    } costs[RATE_TAG_COSTS];
};

struct rate_tag_limit {
    bool used;
    struct throttle throttle; /* tag, type, priority, rate (now), reason, duration_s */
    int64_t ends_us;          /* manual */
    int64_t pressed_us;       /* automatic: when a server was last under pressure because of it */
    uint64_t server;          /* automatic: which; the role's id */
    double cost, others;      /* automatic: bytes a start brings that server, bytes a second that everybody else does; 0: not known */
    int64_t learned_us;
    double most;              /* automatic: what has started lately: the base while nothing is known of the server */
    int64_t most_us;
    bool told;                /* automatic: it was traced, and its end was not */
    bool writing, listed;     /* automatic: it stands in the database, or will when what is under way has committed */
};

struct rate_tags {
    struct rate_tag tags[RATE_TAGS_MAX];
    struct rate_tag_writer writers[RATE_TAG_WRITERS];
    struct rate_tag_limit limits[RATE_TAG_LIMITS_MAX];
    bool auto_enabled;
    uint32_t auto_count, manual_count;
    uint32_t changes; /* counts automatic limits that began or ended */
};

/* Zeroed, and auto_enabled as wanted, is ready. */
void rate_tags_note_proxy(struct rate_tags *tags, int64_t now_us, const struct proxy_load *load, int64_t smoothing_us);
/* Takes the place of all manual limits. `left_us[i]`: of throttles[i]; those of another type are left out. */
void rate_tags_set_manual(struct rate_tags *tags, int64_t now_us, const struct throttle *throttles, const int64_t *left_us, uint32_t count);
/* The ratekeeper has worked out that `source` is under pressure (1: where it should stand at most). writes: of what it writes. */
void rate_tags_press(struct rate_tags *tags, int64_t now_us, const struct rate_source *source, double pressure, bool writes, int64_t stale_us);
/* Automatic limits that an operator has cleared end. They come again if the server is under pressure still. */
void rate_tags_forget(struct rate_tags *tags, struct rate_tag_limit *limit);
/* After every source was looked at: limits that have run out, or that nothing presses any more, end. */
void rate_tags_update(struct rate_tags *tags, int64_t now_us, int64_t past_us);
/* What a GRV proxy may start of each limited tag; in the arena. grv_proxies: how many there are. */
void rate_tags_lease(const struct rate_tags *tags, int64_t now_us, uint64_t proxy, uint32_t grv_proxies, int64_t stale_us, struct arena *arena,
                     struct rate_lease *lease);
/* Transactions a second of the tag that start, over all living proxies. */
double rate_tags_started(const struct rate_tags *tags, int64_t now_us, const struct tag_name *name, int64_t stale_us);
/* Bytes a second that the tag writes to a storage server. The busiest there: *ret_name; 0 when nobody does. */
double rate_tags_busiest_writer(const struct rate_tags *tags, int64_t now_us, uint32_t server, int64_t stale_us, struct tag_name *ret_name);
