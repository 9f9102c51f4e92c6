/* Servers in slots that are used again, shards in a sorted array of pointers: a split moves pointers, not shards. */
#include "roles/distributor/picture.h"

#include <assert.h>
#include <string.h>

#include "net/mem.h"
#include "txn/keys.h"

static_assert(sizeof(struct picture_shard) <= PICTURE_SHARD_BYTES, "a shard is small");

struct picture *picture_create(void)
{
    struct picture *picture = mem_zalloc(sizeof(*picture));

    teams_init(&picture->teams);
    return picture;
}

static void free_shard(struct picture *picture, struct picture_shard *shard)
{
    teams_unref(&picture->teams, shard->source);
    teams_unref(&picture->teams, shard->destination);
    mem_free(shard);
}

void picture_destroy(struct picture *picture)
{
    if (picture == NULL)
        return;
    for (size_t i = 0; i < picture->shard_count; i++)
        free_shard(picture, picture->shards[i]);
    teams_done(&picture->teams);
    mem_free(picture->shards);
    mem_free(picture->servers);
    mem_free(picture->candidates);
    mem_free(picture);
}

/* ---- servers ---- */

uint32_t picture_find_server(const struct picture *picture, uint64_t id)
{
    for (uint32_t i = 0; i < picture->server_count; i++)
        if (picture->servers[i].id == id)
            return i;
    return UINT32_MAX;
}

static uint32_t new_slot(struct picture *picture)
{
    uint32_t slot = picture_find_server(picture, 0);

    if (slot != UINT32_MAX)
        return slot;
    if (picture->server_count == picture->server_capacity) {
        picture->server_capacity = picture->server_capacity == 0 ? 8 : 2 * picture->server_capacity;
        picture->servers = mem_realloc(picture->servers, picture->server_capacity * sizeof(*picture->servers));
    }
    return picture->server_count++;
}

uint32_t picture_server(struct picture *picture, uint64_t id)
{
    uint32_t slot = picture_find_server(picture, id);

    assert(id != 0);
    if (slot != UINT32_MAX)
        return slot;
    slot = new_slot(picture);
    picture->servers[slot] = (struct picture_server){.id = id, .reachable = true};
    return slot;
}

void picture_forget_candidates(struct picture *picture)
{
    for (uint32_t i = 0; i < picture->candidate_count; i++)
        teams_unref(&picture->teams, picture->candidates[i]);
    picture->candidate_count = 0;
    picture->candidates_for = 0;
}

bool picture_is_named(const struct picture *picture, uint32_t slot)
{
    for (uint32_t id = 1; id < picture->teams.count; id++)
        if (picture->teams.all[id].refs > 0 && team_has(&picture->teams.all[id], slot))
            return true;
    return false;
}

void picture_forget_server(struct picture *picture, uint32_t slot)
{
    assert(!picture_is_named(picture, slot));
    picture->servers[slot] = (struct picture_server){0};
}

uint64_t picture_digest_name(struct bytes name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    if (name.len == 0)
        return 0;
    for (size_t i = 0; i < name.len; i++)
        hash = (hash ^ name.ptr[i]) * UINT64_C(0x100000001b3);
    return hash == 0 ? 1 : hash;
}

uint64_t picture_digest_within(uint64_t outer, struct bytes name)
{
    uint64_t hash = picture_digest_name(name) ^ outer * UINT64_C(0x9e3779b97f4a7c15);

    return name.len == 0 ? 0 : hash == 0 ? 1 : hash;
}

/* ---- shards ---- */

/* How many shards begin below `key`. */
static size_t lower_bound(const struct picture *picture, struct bytes key)
{
    size_t low = 0, high = picture->shard_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (bytes_compare(picture_shard_begin(picture->shards[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int64_t picture_find_shard(const struct picture *picture, struct bytes begin)
{
    size_t at = lower_bound(picture, begin);

    if (at == picture->shard_count || !bytes_equal(picture_shard_begin(picture->shards[at]), begin))
        return -1;
    return (int64_t)at;
}

bool picture_begins(const struct picture *picture)
{
    return picture->shard_count > 0 && picture->shards[0]->begin_len == 0;
}

int64_t picture_shard_of(const struct picture *picture, struct bytes key)
{
    size_t at = lower_bound(picture, key);

    return at < picture->shard_count && bytes_equal(picture_shard_begin(picture->shards[at]), key) ? (int64_t)at : (int64_t)at - 1;
}

struct bytes picture_shard_end(const struct picture *picture, size_t i)
{
    return i + 1 < picture->shard_count ? picture_shard_begin(picture->shards[i + 1]) : KEY_SYSTEM_END;
}

static struct picture_shard *insert(struct picture *picture, size_t at, struct bytes begin)
{
    struct picture_shard *shard = mem_zalloc(sizeof(*shard) + begin.len);

    shard->bytes = -1;
    shard->begin_len = (uint16_t)begin.len;
    if (begin.len > 0)
        memcpy(shard->begin, begin.ptr, begin.len);
    if (picture->shard_count == picture->shard_capacity) {
        picture->shard_capacity = picture->shard_capacity == 0 ? 64 : picture->shard_capacity * 3 / 2;
        picture->shards = mem_realloc(picture->shards, picture->shard_capacity * sizeof(struct picture_shard *));
    }
    memmove(picture->shards + at + 1, picture->shards + at, (picture->shard_count - at) * sizeof(struct picture_shard *));
    picture->shards[at] = shard;
    picture->shard_count++;
    return shard;
}

static void take_team(struct picture *picture, uint32_t *held, uint32_t team)
{
    teams_unref(&picture->teams, *held);
    *held = team;
}

/* A piece is taken for half of what it was cut off, until it has been measured. */
static void cut_off(struct picture_shard *whole, struct picture_shard *piece, version_t version)
{
    if (version <= whole->changed)
        return;
    if (whole->bytes >= 0)
        piece->bytes = whole->bytes - whole->bytes / 2, whole->bytes /= 2;
    piece->writes = whole->writes /= 2;
    for (uint32_t i = 0; i < PICTURE_READERS; i++)
        piece->reads[i] = whole->reads[i] /= 2;
    whole->changed = version;
    whole->measured = false;
}

/* Other servers will be read from: as much as the ones before, until that has been measured. */
static void spread_reads(struct picture_shard *shard, uint32_t servers)
{
    int64_t sum = picture_shard_reads(shard);
    uint32_t readers = servers < PICTURE_READERS ? servers : PICTURE_READERS;

    for (uint32_t i = 0; i < PICTURE_READERS; i++)
        shard->reads[i] = i < readers ? (uint32_t)(sum / readers) : 0;
}

struct picture_shard *picture_set_shard(struct picture *picture, struct bytes begin, const uint32_t *source, uint32_t source_count,
                                        const uint32_t *destination, uint32_t destination_count, version_t version)
{
    size_t at = lower_bound(picture, begin);
    bool is_new = at == picture->shard_count || !bytes_equal(picture_shard_begin(picture->shards[at]), begin);
    struct picture_shard *shard;
    uint32_t before;

    if (is_new ? at > 0 && picture->shards[at - 1]->changed > version : picture->shards[at]->changed > version)
        return NULL;
    shard = is_new ? insert(picture, at, begin) : picture->shards[at];
    before = shard->source;
    take_team(picture, &shard->destination, teams_intern(&picture->teams, destination, destination_count));
    take_team(picture, &shard->source, teams_intern(&picture->teams, source, source_count));
    if (shard->source != before) {
        spread_reads(shard, source_count);
        shard->measured = false;
    }
    if (is_new && at > 0)
        cut_off(picture->shards[at - 1], shard, version);
    if (version > shard->changed)
        shard->changed = version;
    return shard;
}

void picture_remove_shard(struct picture *picture, struct bytes begin, version_t version)
{
    int64_t at = picture_find_shard(picture, begin);
    struct picture_shard *shard = at < 0 ? NULL : picture->shards[at];

    if (shard == NULL)
        return;
    assert(!shard->busy);
    if (at > 0) {
        struct picture_shard *before = picture->shards[at - 1];

        before->bytes += shard->bytes < 0 ? 0 : shard->bytes;
        before->writes += shard->writes;
        before->measured = false;
        before->changed = version > before->changed ? version : before->changed;
    }
    free_shard(picture, shard);
    picture->shard_count--;
    memmove(picture->shards + at, picture->shards + at + 1, (picture->shard_count - (size_t)at) * sizeof(struct picture_shard *));
}

static uint32_t rate_of(int64_t rate)
{
    return rate <= 0 ? 0 : rate > UINT32_MAX ? UINT32_MAX : (uint32_t)rate;
}

/* More than any shard has: what a server says is added up over all of them. */
#define SHARD_BYTES_MOST (INT64_C(1) << 42)

void picture_loads(struct picture *picture, uint32_t server, struct bytes begin, version_t version, int64_t bytes, int64_t writes,
                   int64_t reads)
{
    int64_t at = picture_find_shard(picture, begin);
    struct picture_shard *shard = at < 0 ? NULL : picture->shards[at];
    const struct team *team = shard == NULL ? NULL : teams_at(&picture->teams, shard->source);

    if (team == NULL || version < shard->changed || !team_has(team, server))
        return;
    shard->measured = true;
    shard->bytes = bytes < 0 ? 0 : bytes > SHARD_BYTES_MOST ? SHARD_BYTES_MOST : bytes;
    shard->writes = rate_of(writes);
    for (uint32_t i = 0; i < team->count && i < PICTURE_READERS; i++)
        if (team->servers[i] == server)
            shard->reads[i] = rate_of(reads);
}

int64_t picture_shard_reads(const struct picture_shard *shard)
{
    int64_t sum = 0;

    for (uint32_t i = 0; i < PICTURE_READERS; i++)
        sum += shard->reads[i];
    return sum;
}

/* ---- what is under way ---- */

/* The destination picks its source by itself; the living one that is asked least counts for it. */
static uint32_t least_asked(const struct picture *picture, const struct team *team)
{
    uint32_t found = UINT32_MAX;

    for (uint32_t i = 0; i < team->count; i++) {
        const struct picture_server *server = &picture->servers[team->servers[i]];

        if (!server->failed && (found == UINT32_MAX || server->sources < picture->servers[found].sources))
            found = team->servers[i];
    }
    return found;
}

/* Returns how many servers fetch. */
static uint32_t count_destinations(struct picture *picture, const struct picture_move *move, int by)
{
    const struct team *to = teams_at(&picture->teams, move->destination), *from = teams_at(&picture->teams, move->source);
    uint32_t fetching = 0;

    for (uint32_t i = 0; i < to->count; i++)
        if (!team_has(from, to->servers[i])) {
            picture->servers[to->servers[i]].destinations += (uint32_t)by;
            picture->servers[to->servers[i]].destination_bytes += by * move->bytes;
            fetching++;
        }
    return fetching;
}

void picture_move_begin(struct picture *picture, struct picture_shard *shard, uint32_t destination, struct picture_move *ret_move)
{
    uint32_t from = least_asked(picture, teams_at(&picture->teams, shard->source));

    assert(!shard->busy);
    shard->busy = true;
    shard->heading = destination;
    *ret_move = (struct picture_move){
        .shard = shard, .source = shard->source, .destination = destination, .bytes = shard->bytes < 0 ? 0 : shard->bytes};
    teams_ref(&picture->teams, ret_move->source);
    teams_ref(&picture->teams, ret_move->destination);
    if (count_destinations(picture, ret_move, 1) > 0 && from != UINT32_MAX) {
        ret_move->charged = from + 1;
        picture->servers[from].sources++;
        picture->servers[from].source_bytes += ret_move->bytes;
    }
    picture->moves++;
}

void picture_move_end(struct picture *picture, struct picture_move *move)
{
    if (move->shard == NULL)
        return;
    assert(move->shard->busy && picture->moves > 0);
    count_destinations(picture, move, -1);
    if (move->charged != 0) {
        picture->servers[move->charged - 1].sources--;
        picture->servers[move->charged - 1].source_bytes -= move->bytes;
    }
    move->shard->busy = false;
    move->shard->heading = TEAM_NONE;
    picture->moves--;
    teams_unref(&picture->teams, move->source);
    teams_unref(&picture->teams, move->destination);
    *move = (struct picture_move){0};
}
