#include "roles/grv_proxy/grv_tags.h"

#include <assert.h>
#include <stdlib.h>

#include "net/planted_bug.h"

enum { PROBES = 16, RECENT_US = 1000000 };

void grv_tags_init(struct grv_tags *tags, int64_t now_us)
{
    memset(tags, 0, sizeof(*tags));
    tags->filled_us = tags->decayed_us = now_us;
    for (unsigned i = 0; i < GRV_TAGS_MAX; i++)
        for (int p = 0; p < GRV_PRIORITIES; p++)
            list_init(&tags->tags[i].queues[p]);
}

/* ---- the table ---- */

static bool is_limited(const struct grv_tag *tag)
{
    return tag->limits[GRV_DEFAULT].limits || tag->limits[GRV_BATCH].limits;
}

static bool is_free(const struct grv_tag *tag)
{
    return !tag->used || (!is_limited(tag) && tag->queued[GRV_DEFAULT] == 0 && tag->queued[GRV_BATCH] == 0);
}

static struct grv_tag *find(struct grv_tags *tags, const struct tag_name *name)
{
    uint64_t at = tag_hash(name);

    for (unsigned i = 0; i < PROBES; i++) {
        struct grv_tag *tag = &tags->tags[(at + i) % GRV_TAGS_MAX];

        if (tag->used && tag_equal(&tag->name, name))
            return tag;
    }
    return NULL;
}

/* must: somebody's place is given away though it was seen a moment ago. */
static struct grv_tag *find_or_add(struct grv_tags *tags, const struct tag_name *name, int64_t now_us, bool must)
{
    struct grv_tag *tag = find(tags, name), *oldest = NULL;
    uint64_t at = tag_hash(name);

    if (tag != NULL)
        return tag;
    for (unsigned i = 0; i < PROBES; i++) {
        struct grv_tag *other = &tags->tags[(at + i) % GRV_TAGS_MAX];

        if (is_free(other) && (oldest == NULL || !other->used || (oldest->used && other->seen_us < oldest->seen_us)))
            oldest = other;
    }
    if (oldest == NULL || (oldest->used && !must && now_us - oldest->seen_us < GRV_TAG_IDLE_US))
        return NULL;
    oldest->used = true;
    oldest->name = *name;
    oldest->seen_us = now_us;
    oldest->wanted = oldest->started = 0;
    oldest->recent = 0;
    return oldest;
}

/* ---- limits ---- */

static void let_go(struct grv_tags *tags, struct grv_tag *tag, enum grv_priority priority)
{
    if (!tag->limits[priority].limits)
        return;
    tag->limits[priority] = (struct grv_tag_limit){0};
    tags->limited -= !is_limited(tag);
}

static void set_limit(struct grv_tags *tags, struct grv_tag *tag, enum grv_priority priority, double rate, int64_t ends_us)
{
    struct grv_tag_limit *limit = &tag->limits[priority];

    tags->limited += !is_limited(tag);
    if (!limit->limits)
        limit->holds = 1;
    limit->limits = true;
    limit->rate = rate;
    limit->ends_us = ends_us;
}

void grv_tags_lease(struct grv_tags *tags, int64_t now_us, const struct rate_lease *lease, int64_t lease_us)
{
    bool told[GRV_TAGS_MAX][GRV_PRIORITIES] = {0};

    tags->valid_until_us = now_us + lease_us + GRV_KEEP_US;
    for (uint32_t i = 0; i < lease->tags_count; i++) {
        const struct tag_rate *rate = &lease->tags[i];
        enum grv_priority priority = (rate->priority & GRV_PRIORITY_BATCH) != 0 ? GRV_BATCH : GRV_DEFAULT;
        struct tag_name name;
        struct grv_tag *tag;

        if (rate->rate_milli < 0 || rate->left_us <= 0 || !tag_name_of(rate->tag, &name) ||
            (tag = find_or_add(tags, &name, now_us, true)) == NULL)
            continue;
        if (told[tag - tags->tags][priority] && tag->limits[priority].rate <= (double)rate->rate_milli / 1000)
            continue; /* the cluster's limit and an operator's: the lower holds */
        set_limit(tags, tag, priority, (double)rate->rate_milli / 1000, rate->left_us > INT64_MAX / 2 ? INT64_MAX : now_us + rate->left_us);
        told[tag - tags->tags][priority] = true;
    }
    for (unsigned i = 0; i < GRV_TAGS_MAX && tags->limited > 0; i++)
        for (int p = 0; p < GRV_PRIORITIES; p++)
            if (!told[i][p])
                let_go(tags, &tags->tags[i], (enum grv_priority)p);
}

static void fill(struct grv_tag_limit *limit, int64_t past_us)
{
    double most = limit->rate * GRV_TAG_BURST_US / 1e6;

    limit->holds += limit->rate * (double)past_us / 1e6;
    if (limit->holds > (most < 1 ? 1 : most))
        limit->holds = most < 1 ? 1 : most;
}

void grv_tags_fill(struct grv_tags *tags, int64_t now_us)
{
    int64_t past_us = now_us - tags->filled_us;

    if (past_us <= 0)
        return;
    tags->filled_us = now_us;
    for (unsigned i = 0; i < GRV_TAGS_MAX && tags->limited > 0; i++)
        for (int p = 0; p < GRV_PRIORITIES; p++) {
            struct grv_tag_limit *limit = &tags->tags[i].limits[p];

            if (limit->limits && (now_us >= limit->ends_us || now_us > tags->valid_until_us))
                let_go(tags, &tags->tags[i], (enum grv_priority)p);
            else if (limit->limits)
                fill(limit, past_us);
        }
}

/* A whole start at least, as of all rates. */
static bool has(const struct grv_tag_limit *limit)
{
    return !limit->limits || limit->holds >= 1;
}

static bool may_start(const struct grv_tag *tag, enum grv_priority priority)
{
    return has(&tag->limits[GRV_DEFAULT]) && (priority == GRV_DEFAULT || has(&tag->limits[GRV_BATCH]));
}

/* ---- requests ---- */

bool grv_tags_are_sound(const struct get_read_version *body)
{
    if (body->tags_count > TRANSACTION_TAGS_MAX)
        return false;
    for (uint32_t i = 0; i < body->tags_count; i++)
        if (body->tags[i].tag.len > TRANSACTION_TAG_BYTES_MAX)
            return false;
    return true;
}

static struct grv_tag *tag_of(struct grv_tags *tags, const struct get_read_version *body, uint32_t index)
{
    struct tag_name name;

    return tag_name_of(body->tags[index].tag, &name) ? find(tags, &name) : NULL;
}

void grv_tags_wanted(struct grv_tags *tags, int64_t now_us, const struct get_read_version *body, uint64_t count)
{
    for (uint32_t i = 0; i < body->tags_count; i++) {
        struct tag_name name;
        struct grv_tag *tag = tag_name_of(body->tags[i].tag, &name) ? find_or_add(tags, &name, now_us, false) : NULL;

        if (tag == NULL) {
            tags->uncounted++;
            continue;
        }
        tag->wanted += count;
        tag->recent += (double)count;
        tag->seen_us = now_us;
    }
}

static void pay(struct grv_tag_limit *limit, uint64_t count)
{
    if (limit->limits)
        limit->holds -= (double)count;
}

void grv_tags_started(struct grv_tags *tags, const struct get_read_version *body, enum grv_priority priority, uint64_t count)
{
    for (uint32_t i = 0; i < body->tags_count; i++) {
        struct grv_tag *tag = tag_of(tags, body, i);

        if (tag == NULL)
            continue;
        tag->started += count;
        pay(&tag->limits[GRV_DEFAULT], count);
        if (priority == GRV_BATCH)
            pay(&tag->limits[GRV_BATCH], count);
    }
}

static bool blocks(const struct grv_tag *tag, enum grv_priority priority, bool waited)
{
    return (tag->queued[priority] > 0 && !waited) || !may_start(tag, priority);
}

struct grv_tag *grv_tags_blocking(struct grv_tags *tags, const struct get_read_version *body, enum grv_priority priority, bool waited)
{
    for (unsigned i = 0; PLANTED_BUG(TAG_LIMITS_ALL) && i < GRV_TAGS_MAX; i++)
        if (blocks(&tags->tags[i], priority, waited))
            return &tags->tags[i];
    for (uint32_t i = 0; i < body->tags_count; i++) {
        struct grv_tag *tag = tag_of(tags, body, i);

        if (tag != NULL && blocks(tag, priority, waited))
            return tag;
    }
    return NULL;
}

void grv_tags_hold(struct grv_tags *tags, struct grv_tag *tag, enum grv_priority priority, struct rpc_request *request, uint64_t count)
{
    assert(count > 0 && tag->used);
    list_push_back(&tag->queues[priority], &request->link);
    tag->queued[priority] += count;
    tags->queued += count;
}

static uint64_t count_of(const struct rpc_request *request)
{
    uint64_t count = MESSAGE_BODY(get_read_version, request->message)->count;

    return count == 0 ? 1 : count;
}

static struct rpc_request *first_of(const struct grv_tag *tag, enum grv_priority priority)
{
    const struct list *queue = &tag->queues[priority];

    return list_empty(queue) ? NULL : list_entry(queue->next, struct rpc_request, link);
}

static struct rpc_request *take(struct grv_tags *tags, struct grv_tag *tag, enum grv_priority priority)
{
    struct rpc_request *request = first_of(tag, priority);
    uint64_t count = count_of(request);

    assert(tag->queued[priority] >= count && tags->queued >= count);
    list_remove(&request->link);
    tag->queued[priority] -= count;
    tags->queued -= count;
    return request;
}

struct rpc_request *grv_tags_next(struct grv_tags *tags, struct grv_tag *tag, enum grv_priority priority)
{
    return first_of(tag, priority) != NULL && may_start(tag, priority) ? take(tags, tag, priority) : NULL;
}

struct rpc_request *grv_tags_late(struct grv_tags *tags, struct grv_tag *tag, enum grv_priority priority, int64_t since_us)
{
    const struct rpc_request *first = first_of(tag, priority);

    return first != NULL && (int64_t)(intptr_t)first->owner_data < since_us ? take(tags, tag, priority) : NULL;
}

static int64_t until_us(const struct grv_tag_limit *limit)
{
    if (has(limit))
        return 0;
    return (int64_t)((1 - limit->holds) / (limit->rate < 0.001 ? 0.001 : limit->rate) * 1e6) + 1;
}

int64_t grv_tags_wait_us(const struct grv_tags *tags)
{
    int64_t least_us = -1;

    for (unsigned i = 0; i < GRV_TAGS_MAX && tags->queued > 0; i++)
        for (int p = 0; p < GRV_PRIORITIES; p++) {
            const struct grv_tag *tag = &tags->tags[i];
            int64_t own_us = until_us(&tag->limits[GRV_DEFAULT]), batch_us = p == GRV_BATCH ? until_us(&tag->limits[GRV_BATCH]) : 0;

            if (tag->queued[p] > 0 && (least_us < 0 || (own_us > batch_us ? own_us : batch_us) < least_us))
                least_us = own_us > batch_us ? own_us : batch_us;
        }
    return least_us;
}

/* ---- what is told ---- */

static int busier_first(const void *a, const void *b)
{
    const struct grv_tag *x = *(struct grv_tag *const *)a, *y = *(struct grv_tag *const *)b;

    if (is_limited(x) != is_limited(y))
        return is_limited(x) ? -1 : 1;
    return x->recent != y->recent ? (x->recent > y->recent ? -1 : 1) : memcmp(&x->name, &y->name, sizeof(x->name));
}

static void decay(struct grv_tags *tags, int64_t now_us)
{
    int64_t past_us = now_us - tags->decayed_us;
    double kept = RECENT_US / (double)(RECENT_US + past_us);

    if (past_us <= 0)
        return;
    for (unsigned i = 0; i < GRV_TAGS_MAX; i++)
        tags->tags[i].recent *= kept;
    tags->decayed_us = now_us;
}

void grv_tags_report(struct grv_tags *tags, int64_t now_us, struct arena *arena, struct proxy_load *load)
{
    struct grv_tag *busy[GRV_TAGS_MAX];
    uint32_t count = 0;

    decay(tags, now_us);
    for (unsigned i = 0; i < GRV_TAGS_MAX; i++)
        if (tags->tags[i].used && (is_limited(&tags->tags[i]) || now_us - tags->tags[i].seen_us < GRV_TAG_IDLE_US))
            busy[count++] = &tags->tags[i];
    qsort(busy, count, sizeof(busy[0]), busier_first);
    if (count > GRV_TAGS_REPORTED)
        count = GRV_TAGS_REPORTED;
    load->tags = count == 0 ? NULL : arena_zalloc(arena, count * sizeof(*load->tags));
    if (load->tags == NULL)
        return;
    for (uint32_t i = 0; i < count; i++) {
        if (arena_copy(arena, tag_bytes(&busy[i]->name), &load->tags[i].tag) != 0)
            return;
        load->tags[i].wanted = (int64_t)busy[i]->wanted;
        load->tags[i].started = (int64_t)busy[i]->started;
        load->tags_count++;
    }
}
