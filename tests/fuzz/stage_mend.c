/* What an honest sender's message has and chance seldom makes: the next version, a digest that fits, a session's next number.
 *
 * A body made of the input alone is refused at the first check nearly always, and nothing behind that check is tried. So a
 * message, chosen by its draw, is mended: the few fields that must fit the ones before it do, the rest stays as it came. */
#include "net/error.h"
#include "tests/fuzz/stage.h"
#include "txn/digest.h"

enum { MEMBER = 100, RAFT_TYPES = 8 };

/* The next in a chain, or (by `again`) the last one once more. */
static void chain(version_t *last, bool again, version_t *version, version_t *prev)
{
    *prev = *last;
    *version = *last + 1 + (*version & 0xff);
    if (!again)
        *last = *version;
}

static void mend_push(struct stage *stage, unsigned how, struct push *m)
{
    m->epoch = 1;
    chain(&stage->pushed, how & 4, &m->version, &m->prev_version);
    m->known_committed = m->prev_version - (m->known_committed & 3);
    for (uint32_t i = 0; i < m->sections_count; i++)
        for (uint32_t n = 0; n < m->sections[i].tags_count; n++)
            m->sections[i].tags[n] %= 4;
    m->digest = how & 8 ? 0 : push_digest(m, NULL);
}

static void mend_resolve(struct stage *stage, unsigned how, struct resolve *m)
{
    m->epoch = 1;
    m->proxy = STAGE_PEER + (m->proxy & 1);
    chain(&stage->resolved, how & 4, &m->version, &m->prev_version);
    m->known_version = m->prev_version - (m->known_version & 3);
    for (uint32_t i = 0; i < m->transactions_count; i++)
        m->transactions[i].read_version = m->prev_version - (m->transactions[i].read_version & 0xff);
}

static void mend_peek(struct stage *stage, struct peek *m)
{
    m->tag %= 4;
    m->from = STAGE_VERSION + m->from % (stage->pushed - STAGE_VERSION + 1);
}

static void mend_commit(struct stage *stage, struct commit *m)
{
    static const uint8_t id[16] = {1};

    m->read_version = m->read_version & 1 ? VERSION_NONE : stage->version;
    if (m->idempotency_id.len > 0 && m->idempotency_id.len < sizeof(id))
        m->idempotency_id = bytes_of(id, sizeof(id));
}

/* From another member of the cluster that the coordinator belongs to. */
static void mend_raft(unsigned how, struct raft_wire *m)
{
    m->type = 1 + m->type % RAFT_TYPES;
    m->from = MEMBER + 1 + (m->from & 1);
    m->to = MEMBER;
    m->cluster_high = 1;
    m->cluster_low = 2;
    m->instance &= 1;
    m->term = how & 4 ? m->term & 7 : m->term;
    m->log_term = how & 8 ? m->log_term & 3 : m->log_term;
    m->index &= how & 8 ? 7 : UINT64_MAX;
    for (uint32_t i = 0; i < m->entries_count; i++) {
        m->entries[i].index = m->index + 1 + i;
        m->entries[i].term = m->term == UINT64_MAX ? 1 : m->entries[i].term % (m->term + 1);
        m->entries[i].type = 1 + m->entries[i].type % 3;
    }
}

static void order(struct bytes *begin, struct bytes *end)
{
    struct bytes first = *begin;

    if (bytes_compare(*begin, *end) <= 0)
        return;
    *begin = *end;
    *end = first;
}

static void mend_watch(struct stage *stage, struct watch *m)
{
    unsigned which = m->session & 1;

    m->session = 1 + which;
    m->number = ++stage->watch_numbers[which];
    for (uint32_t i = 0; i < m->added_count; i++) {
        m->added[i].id = ++stage->watch_ids;
        m->added[i].version = stage->version - (m->added[i].version & 3);
    }
    for (uint32_t i = 0; i < m->removed_count; i++)
        m->removed[i] = 1 + m->removed[i] % (stage->watch_ids + 1);
}

static void mend_read(struct stage *stage, uint16_t id, void *body)
{
    struct get_values *gets = body;
    struct get_range *range = body;

    if (id == MESSAGE_get_values) {
        for (uint32_t i = 0; i < gets->gets_count; i++)
            gets->gets[i].version = stage->version - (gets->gets[i].version & 0xff);
    } else if (id == MESSAGE_get_range || id == MESSAGE_fetch_range || id == MESSAGE_get_range_digest) { /* begin, end, version */
        order(&range->begin, &range->end);
        range->version = stage->version - (range->version & 0xff);
    } else { /* of others begin and end are the first fields as well */
        order(&range->begin, &range->end);
    }
}

void stage_mend(struct stage *stage, uint16_t id, unsigned how, void *body)
{
    switch (id) {
    case MESSAGE_push:
        mend_push(stage, how, body);
        break;
    case MESSAGE_resolve:
        mend_resolve(stage, how, body);
        break;
    case MESSAGE_peek:
        mend_peek(stage, body);
        break;
    case MESSAGE_pop:
        ((struct pop *)body)->tag %= 4;
        ((struct pop *)body)->version = stage->pushed - (((struct pop *)body)->version & 0xff);
        break;
    case MESSAGE_lock_log:
        ((struct lock_log *)body)->epoch = 2;
        break;
    case MESSAGE_get_commit_version:
        ((struct get_commit_version *)body)->proxy = STAGE_PEER;
        ((struct get_commit_version *)body)->request = how & 4 ? stage->asked_versions : ++stage->asked_versions;
        break;
    case MESSAGE_commit:
        mend_commit(stage, body);
        break;
    case MESSAGE_get_key_locations:
        order(&((struct get_key_locations *)body)->begin, &((struct get_key_locations *)body)->end);
        break;
    case MESSAGE_raft_wire:
        mend_raft(how, body);
        break;
    case MESSAGE_read_state:
    case MESSAGE_lock_state:
    case MESSAGE_write_state: /* the term is the first field of each */
        *(uint64_t *)body = stage->term;
        break;
    case MESSAGE_watch:
        mend_watch(stage, body);
        break;
    case MESSAGE_get_values:
    case MESSAGE_get_range:
    case MESSAGE_get_range_metrics:
    case MESSAGE_fetch_range:
    case MESSAGE_get_range_digest:
    case MESSAGE_get_shard_progress:
    case MESSAGE_get_shard_split:
        mend_read(stage, id, body);
        break;
    default:
        break;
    }
}
