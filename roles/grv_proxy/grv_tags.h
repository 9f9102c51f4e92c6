/* What tags ask of a GRV proxy, and the requests that a tag's limit holds back. No clock, no I/O: time comes in.
 *
 * A table of at most GRV_TAGS_MAX tags: the place of one that nobody limits and that has not been seen for a while is given away. Limits
 * come with the ratekeeper's leases; each is a bucket of starts a tag and priority. A request whose tag may not start waits in that tag's
 * own queue, so it delays nobody else; when it may, its other tags are looked at, then all of them pay. A limit of default
 * priority holds for batch priority as well; system-immediate requests are counted and never held back.
 *
 * Limits end by themselves (left_us), whatever becomes of the ratekeeper, and all of them when no lease has come for long: what protects
 * the cluster then is the rate of all, which sinks. */
#pragma once

#include "net/rpc.h"
#include "roles/grv_proxy/grv_rate.h"
#include "txn/messages.h"
#include "txn/tags.h"

enum { GRV_TAGS_MAX = 256, GRV_TAGS_REPORTED = 32, GRV_TAG_BURST_US = 100000, GRV_TAG_IDLE_US = 10000000 };

struct grv_tag_limit {
    bool limits;
    double rate; /* starts a second of this proxy's */
    double holds; /* starts; negative: debt */
    int64_t ends_us;
};

struct grv_tag {
    bool used;
    struct tag_name name;
    int64_t seen_us;
    uint64_t wanted, started; /* transactions */
    double recent;            /* wanted lately, decaying: which are worth reporting */
    struct grv_tag_limit limits[GRV_PRIORITIES];
    struct list queues[GRV_PRIORITIES]; /* rpc_request.link; owner_data: since when */
    uint64_t queued[GRV_PRIORITIES];    /* transactions */
};

struct grv_tags {
    struct grv_tag tags[GRV_TAGS_MAX];
    uint32_t limited; /* tags that have a limit */
    int64_t filled_us, decayed_us, valid_until_us;
    uint64_t queued; /* transactions, of all tags */
    uint64_t uncounted; /* requests of tags for which there was no place */
};

void grv_tags_init(struct grv_tags *tags, int64_t now_us);
void grv_tags_lease(struct grv_tags *tags, int64_t now_us, const struct rate_lease *lease, int64_t lease_us);
/* Before any of the next: time goes on. */
void grv_tags_fill(struct grv_tags *tags, int64_t now_us);
/* Are its tags what tags may be? */
bool grv_tags_are_sound(const struct get_read_version *body);
/* The request's transactions came, or may start now. */
void grv_tags_wanted(struct grv_tags *tags, int64_t now_us, const struct get_read_version *body, uint64_t count);
void grv_tags_started(struct grv_tags *tags, const struct get_read_version *body, enum grv_priority priority, uint64_t count);
/* The tag that keeps it from starting now: its limit is used up, or, of a request that has not waited yet, others wait in its queue. NULL:
 * none. */
struct grv_tag *grv_tags_blocking(struct grv_tags *tags, const struct get_read_version *body, enum grv_priority priority, bool waited);
void grv_tags_hold(struct grv_tags *tags, struct grv_tag *tag, enum grv_priority priority, struct rpc_request *request, uint64_t count);
/* The first of the tag's queue, if it may start as far as this tag is concerned; taken out of it. NULL: none. */
struct rpc_request *grv_tags_next(struct grv_tags *tags, struct grv_tag *tag, enum grv_priority priority);
/* The first, if it came before `since_us`; taken out. */
struct rpc_request *grv_tags_late(struct grv_tags *tags, struct grv_tag *tag, enum grv_priority priority, int64_t since_us);
/* How long until anybody who waits may start; negative: nobody waits. */
int64_t grv_tags_wait_us(const struct grv_tags *tags);
/* Names the busiest, and those that are limited. */
void grv_tags_report(struct grv_tags *tags, int64_t now_us, struct arena *arena, struct proxy_load *load);
