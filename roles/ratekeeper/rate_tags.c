#include "roles/ratekeeper/rate_tags.h"

#include <assert.h>

#define SHARE_BEGIN 0.25 /* of a server's load, for a tag to be limited first */
#define SHARE_STAYS 0.02 /* one that is limited already */
#define PRESSURE_MOST 4.0
#define RATE_LEAST 1.0
#define GROWTH 0.5 /* a second, of a limit that nothing presses */
enum { COST_SMOOTHING_US = 3000000, MOST_SMOOTHING_US = 5000000, CALM_US = 10000000, LAG_FEW_US = 300000, TAG_IDLE_US = 20000000 };

/* ---- who wants what ---- */

static const struct rate_tag *find(const struct rate_tags *tags, const struct tag_name *name)
{
    for (unsigned i = 0; i < RATE_TAGS_MAX; i++)
        if (tags->tags[i].used && tag_equal(&tags->tags[i].name, name))
            return &tags->tags[i];
    return NULL;
}

static bool is_limited(const struct rate_tags *tags, const struct tag_name *name)
{
    for (unsigned i = 0; i < RATE_TAG_LIMITS_MAX; i++)
        if (tags->limits[i].used && tag_equal(&tags->limits[i].throttle.tag, name))
            return true;
    return false;
}

static struct rate_tag *find_or_add(struct rate_tags *tags, const struct tag_name *name, int64_t now_us)
{
    struct rate_tag *found = (struct rate_tag *)find(tags, name);

    for (unsigned i = 0; found == NULL && i < RATE_TAGS_MAX; i++) {
        struct rate_tag *at = &tags->tags[i];

        if (at->used && (now_us - at->heard_us < TAG_IDLE_US || is_limited(tags, &at->name)))
            continue;
        *at = (struct rate_tag){.used = true, .name = *name};
        found = at;
    }
    return found;
}

static struct rate_tag_proxy *proxy_of(struct rate_tag *tag, uint64_t id, int64_t now_us)
{
    struct rate_tag_proxy *found = NULL;

    for (unsigned i = 0; i < RATE_TAG_PROXIES; i++) {
        struct rate_tag_proxy *at = &tag->proxies[i];

        if (at->id == id)
            return at;
        if (found == NULL && (at->id == 0 || now_us - at->heard_us > TAG_IDLE_US))
            found = at;
    }
    if (found != NULL)
        *found = (struct rate_tag_proxy){.id = id};
    return found;
}

static void note_starts(struct rate_tags *tags, int64_t now_us, const struct proxy_load *load, int64_t smoothing_us)
{
    for (uint32_t i = 0; i < load->tags_count; i++) {
        struct tag_name name;
        struct rate_tag *tag = tag_name_of(load->tags[i].tag, &name) ? find_or_add(tags, &name, now_us) : NULL;
        struct rate_tag_proxy *proxy = tag == NULL ? NULL : proxy_of(tag, load->id, now_us);

        if (proxy == NULL || load->tags[i].wanted < 0 || load->tags[i].started < 0)
            continue;
        tag->heard_us = proxy->heard_us = now_us;
        rate_smoother_add(&proxy->wanted, now_us, load->tags[i].wanted, smoothing_us);
        rate_smoother_add(&proxy->started, now_us, load->tags[i].started, smoothing_us);
    }
}

static void note_writes(struct rate_tags *tags, int64_t now_us, const struct proxy_load *load)
{
    struct rate_tag_writer *writer = NULL;

    for (unsigned i = 0; i < RATE_TAG_WRITERS; i++) {
        struct rate_tag_writer *at = &tags->writers[i];

        if (at->id == load->id) {
            writer = at;
            break;
        }
        if (writer == NULL && (at->id == 0 || now_us - at->heard_us > TAG_IDLE_US))
            writer = at;
    }
    if (writer == NULL)
        return;
    writer->id = load->id;
    writer->heard_us = now_us;
    writer->count = 0;
    for (uint32_t i = 0; i < load->writes_count && writer->count < RATE_TAG_COSTS; i++) {
        struct rate_tag_cost *cost = &writer->costs[writer->count];

        if (load->writes[i].cost <= 0 || !tag_name_of(load->writes[i].tag, &cost->name))
            continue;
        cost->server = load->writes[i].server;
        cost->cost = (double)load->writes[i].cost;
        writer->count++;
    }
}

void rate_tags_note_proxy(struct rate_tags *tags, int64_t now_us, const struct proxy_load *load, int64_t smoothing_us)
{
    if (load->id == 0)
        return;
    if (load->kind == ROLE_GRV_PROXY)
        note_starts(tags, now_us, load, smoothing_us);
    else
        note_writes(tags, now_us, load);
}

double rate_tags_started(const struct rate_tags *tags, int64_t now_us, const struct tag_name *name, int64_t stale_us)
{
    const struct rate_tag *tag = find(tags, name);
    double sum = 0;

    for (unsigned i = 0; tag != NULL && i < RATE_TAG_PROXIES; i++)
        if (tag->proxies[i].id != 0 && now_us - tag->proxies[i].heard_us <= stale_us)
            sum += tag->proxies[i].started.rate;
    return sum;
}

static double written_by(const struct rate_tags *tags, int64_t now_us, const struct tag_name *name, uint32_t server, int64_t stale_us)
{
    double sum = 0;

    for (unsigned w = 0; w < RATE_TAG_WRITERS; w++)
        for (uint32_t i = 0; tags->writers[w].id != 0 && now_us - tags->writers[w].heard_us <= stale_us && i < tags->writers[w].count; i++)
            if (tags->writers[w].costs[i].server == server && tag_equal(&tags->writers[w].costs[i].name, name))
                sum += tags->writers[w].costs[i].cost;
    return sum;
}

double rate_tags_busiest_writer(const struct rate_tags *tags, int64_t now_us, uint32_t server, int64_t stale_us, struct tag_name *ret_name)
{
    double most = 0;

    for (unsigned w = 0; w < RATE_TAG_WRITERS; w++)
        for (uint32_t i = 0; tags->writers[w].id != 0 && now_us - tags->writers[w].heard_us <= stale_us && i < tags->writers[w].count; i++) {
            const struct rate_tag_cost *cost = &tags->writers[w].costs[i];
            double sum = cost->server == server ? written_by(tags, now_us, &cost->name, server, stale_us) : 0;

            if (sum > most) {
                most = sum;
                *ret_name = cost->name;
            }
        }
    return most;
}

/* ---- limits by hand ---- */

static struct rate_tag_limit *free_limit(struct rate_tags *tags)
{
    for (unsigned i = 0; i < RATE_TAG_LIMITS_MAX; i++)
        if (!tags->limits[i].used)
            return &tags->limits[i];
    return NULL;
}

void rate_tags_set_manual(struct rate_tags *tags, int64_t now_us, const struct throttle *throttles, const int64_t *left_us, uint32_t count)
{
    for (unsigned i = 0; i < RATE_TAG_LIMITS_MAX; i++)
        if (tags->limits[i].throttle.type == THROTTLE_MANUAL)
            tags->limits[i].used = false;
    tags->manual_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct rate_tag_limit *limit;

        if (throttles[i].type != THROTTLE_MANUAL || left_us[i] <= 0 || tags->manual_count >= RATE_TAG_LIMITS_MAX - RATE_TAG_AUTO_MAX ||
            (limit = free_limit(tags)) == NULL)
            continue;
        *limit = (struct rate_tag_limit){.used = true, .throttle = throttles[i], .ends_us = now_us + left_us[i]};
        tags->manual_count++;
    }
}

/* ---- limits of our own ---- */

static struct rate_tag_limit *auto_limit(struct rate_tags *tags, const struct tag_name *name)
{
    for (unsigned i = 0; i < RATE_TAG_LIMITS_MAX; i++)
        if (tags->limits[i].used && tags->limits[i].throttle.type == THROTTLE_AUTO && tag_equal(&tags->limits[i].throttle.tag, name))
            return &tags->limits[i];
    return NULL;
}

/* NULL: there are as many limits as may be. */
static struct rate_tag_limit *auto_limit_or_new(struct rate_tags *tags, const struct tag_name *name)
{
    struct rate_tag_limit *limit = auto_limit(tags, name);

    if (limit != NULL || tags->auto_count >= RATE_TAG_AUTO_MAX || (limit = free_limit(tags)) == NULL)
        return limit;
    *limit = (struct rate_tag_limit){
        .used = true, .throttle = {.tag = *name, .type = THROTTLE_AUTO, .priority = THROTTLE_DEFAULT, .rate = RATE_UNLIMITED}};
    tags->auto_count++;
    tags->changes++;
    return limit;
}

static void set_auto(struct rate_tag_limit *limit, int64_t now_us, double rate, enum throttle_reason reason, uint64_t server)
{
    if (limit->pressed_us == now_us && limit->throttle.rate <= rate)
        return; /* another server, or another reason, asks for less */
    limit->throttle.rate = rate < RATE_LEAST ? RATE_LEAST : rate;
    limit->throttle.reason = reason;
    limit->pressed_us = now_us;
    limit->server = server;
}

static bool is_large(struct rate_tags *tags, const struct tag_name *name, double share)
{
    return share >= (auto_limit(tags, name) != NULL ? SHARE_STAYS : SHARE_BEGIN);
}

static double smooth(double old, double now, int64_t past_us, int64_t smoothing_us)
{
    return old + (now - old) * (double)past_us / (double)(past_us + smoothing_us);
}

/* What starts, as a base where nothing is known: of the last seconds, since what a limit lets start is the less, the longer it holds. */
static double started_lately(struct rate_tag_limit *limit, int64_t now_us, double started)
{
    limit->most = started > limit->most ? started : smooth(limit->most, started, now_us - limit->most_us, MOST_SMOOTHING_US);
    limit->most_us = now_us;
    return limit->most;
}

/* What the others write shows in a server that lacks nothing: one that works off what has piled up takes in what the tag started before. */
static void learn_others(struct rate_tag_limit *limit, int64_t now_us, const struct rate_source *source, double started)
{
    double others = source->input.rate > started * limit->cost ? source->input.rate - started * limit->cost : 0;

    if (source->lag_us < LAG_FEW_US)
        limit->others = limit->learned_us == 0 ? others : smooth(limit->others, others, now_us - limit->learned_us, COST_SMOOTHING_US);
}

/* Of the tag's starts, so many that a server which takes `capacity` has just room for what they write beside the others. What a start costs and what the others
 * write are learned slowly: they are quotients and differences of numbers that lag behind each other while the limit moves. */
static double room_for(struct rate_tag_limit *limit, int64_t now_us, const struct rate_source *source, double capacity, double started,
                       double written)
{
    double cost = written / started;

    limit->cost = limit->cost == 0 ? cost : smooth(limit->cost, cost, now_us - limit->learned_us, COST_SMOOTHING_US);
    learn_others(limit, now_us, source, started);
    limit->learned_us = now_us;
    return capacity > limit->others ? (capacity - limit->others) / limit->cost : RATE_LEAST;
}

/* The part of what presses the server that the tag has written: of its load as it is, and as it was while its memory filled. Who is left
 * when a storm is over makes most of the load, and is not to blame for what the storm has left. */
static double share_of_writes(const struct rate_source *source, double written)
{
    double load = source->input.rate > source->history.rate ? source->input.rate : source->history.rate;

    return written / (load > written ? load : written);
}

/* A limit begins when it holds somebody back: below that it would only stand in lists. `learned`: what a new one knows already. */
static void press_tag(struct rate_tags *tags, int64_t now_us, const struct tag_name *name, double started, double rate,
                      const struct rate_tag_limit *learned, enum throttle_reason reason, uint64_t server)
{
    struct rate_tag_limit *limit = auto_limit(tags, name);

    if (limit == NULL) {
        limit = rate < started ? auto_limit_or_new(tags, name) : NULL;
        if (limit == NULL)
            return;
        limit->cost = learned->cost;
        limit->others = learned->others;
        limit->learned_us = learned->learned_us;
        limit->most = learned->most;
        limit->most_us = learned->most_us;
    }
    set_auto(limit, now_us, rate, reason, server);
}

/* What the server takes for ever, in starts of the tag: of its disk what that was seen to take, of what it lacks what it was seen to take in. A
 * base made of what the limit itself lets start is the last resort: while the pressure stays it shrinks without end. */
static double base_of_writes(struct rate_tag_limit *limit, int64_t now_us, const struct rate_source *source, bool writes, double started,
                             double written)
{
    double capacity = writes ? source->capacity : source->intake, lately = started_lately(limit, now_us, started);

    return capacity > 0 ? room_for(limit, now_us, source, capacity, started, written) : lately;
}

static void press_writer(struct rate_tags *tags, int64_t now_us, const struct rate_source *source, double pressed, bool writes, int64_t stale_us)
{
    struct tag_name name = {0};
    double written = rate_tags_busiest_writer(tags, now_us, source->tag, stale_us, &name), started;
    struct rate_tag_limit *limit, fresh = {.most_us = now_us};

    if (written <= 0 || !is_large(tags, &name, share_of_writes(source, written)))
        return;
    started = rate_tags_started(tags, now_us, &name, stale_us);
    if (started < RATE_LEAST / 2)
        return;
    limit = auto_limit(tags, &name);
    press_tag(tags, now_us, &name, started,
              base_of_writes(limit != NULL ? limit : &fresh, now_us, source, writes, started, written) / pressed, &fresh, THROTTLE_BUSY_WRITE,
              source->id);
}

static void press_reader(struct rate_tags *tags, int64_t now_us, const struct rate_source *source, double pressed, int64_t stale_us)
{
    const struct tag_name *name = &source->busy_reader;
    struct rate_tag_limit *limit, fresh = {.most_us = now_us};
    double started;

    if (source->busy_read <= 0 || !is_large(tags, name, source->busy_read))
        return;
    started = rate_tags_started(tags, now_us, name, stale_us);
    if (started < RATE_LEAST / 2)
        return;
    limit = auto_limit(tags, name);
    press_tag(tags, now_us, name, started, started_lately(limit != NULL ? limit : &fresh, now_us, started) / pressed, &fresh,
              THROTTLE_BUSY_READ, source->id);
}

void rate_tags_press(struct rate_tags *tags, int64_t now_us, const struct rate_source *source, double pressure, bool writes, int64_t stale_us)
{
    double pressed = pressure > PRESSURE_MOST ? PRESSURE_MOST : pressure;

    if (pressure <= 0)
        return;
    press_writer(tags, now_us, source, pressed, writes, stale_us);
    if (!writes)
        press_reader(tags, now_us, source, pressed, stale_us);
}

void rate_tags_forget(struct rate_tags *tags, struct rate_tag_limit *limit)
{
    assert(limit->used && limit->throttle.type == THROTTLE_AUTO && tags->auto_count > 0);
    limit->used = false;
    tags->auto_count--;
    tags->changes++;
}

void rate_tags_update(struct rate_tags *tags, int64_t now_us, int64_t past_us)
{
    for (unsigned i = 0; i < RATE_TAG_LIMITS_MAX; i++) {
        struct rate_tag_limit *limit = &tags->limits[i];

        if (!limit->used)
            continue;
        if (limit->throttle.type == THROTTLE_MANUAL) {
            limit->used = now_us < limit->ends_us;
            tags->manual_count -= !limit->used;
        } else if (now_us - limit->pressed_us > CALM_US) {
            rate_tags_forget(tags, limit);
        } else if (limit->pressed_us < now_us) {
            limit->throttle.rate *= 1 + GROWTH * (double)(past_us < 1000000 ? past_us : 1000000) / 1e6;
        }
    }
    assert(tags->auto_count <= RATE_TAG_AUTO_MAX && tags->manual_count <= RATE_TAG_LIMITS_MAX);
}

/* ---- leases ---- */

/* Half an equal part, half by what this proxy is asked for: a busy one gets more, an idle one can begin at once. */
static double share_of(const struct rate_tags *tags, int64_t now_us, const struct tag_name *name, uint64_t proxy, uint32_t grv_proxies,
                       int64_t stale_us)
{
    const struct rate_tag *tag = find(tags, name);
    double equal = 1.0 / (grv_proxies == 0 ? 1 : grv_proxies), own = 0, all = 0;

    for (unsigned i = 0; tag != NULL && i < RATE_TAG_PROXIES; i++) {
        const struct rate_tag_proxy *at = &tag->proxies[i];

        if (at->id == 0 || now_us - at->heard_us > stale_us)
            continue;
        all += at->wanted.rate;
        own += at->id == proxy ? at->wanted.rate : 0;
    }
    return all > 0 ? (equal + own / all) / 2 : equal;
}

void rate_tags_lease(const struct rate_tags *tags, int64_t now_us, uint64_t proxy, uint32_t grv_proxies, int64_t stale_us, struct arena *arena,
                     struct rate_lease *lease)
{
    if (tags->manual_count + tags->auto_count == 0)
        return;
    lease->tags = arena_zalloc(arena, RATE_TAG_LIMITS_MAX * sizeof(*lease->tags));
    for (unsigned i = 0; lease->tags != NULL && i < RATE_TAG_LIMITS_MAX; i++) {
        const struct rate_tag_limit *limit = &tags->limits[i];
        struct tag_rate *rate = &lease->tags[lease->tags_count];

        if (!limit->used || (limit->throttle.type == THROTTLE_AUTO && !tags->auto_enabled))
            continue;
        if (arena_copy(arena, tag_bytes(&limit->throttle.tag), &rate->tag) != 0)
            return;
        rate->priority = limit->throttle.priority == THROTTLE_BATCH ? GRV_PRIORITY_BATCH : 0;
        rate->rate_milli = (int64_t)((limit->throttle.rate < 1e12 ? limit->throttle.rate : 1e12) *
                                     share_of(tags, now_us, &limit->throttle.tag, proxy, grv_proxies, stale_us) * 1000);
        rate->left_us = limit->throttle.type == THROTTLE_MANUAL ? limit->ends_us - now_us : CALM_US;
        lease->tags_count++;
    }
}
