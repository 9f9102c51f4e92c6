/* Sorted boundaries in one array, each with a pointer to an interned team.
 *
 * A lookup is a binary search; a change moves the array's tail, which for 10,000 shards is 160 KB and rare. A team is named by
 * its server ids as keyServers gives them; what users see of it (servers that exist, their tags) is derived, and derived
 * again when serverList changes. The arrays for that are as long as the ids, so that deriving can't fail. */
#include "txn/shard_map.h"

#include <assert.h>

#include "net/arena.h"
#include "net/error.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "txn/keys.h"

/* Immutable but for what is derived. */
struct team {
    struct shard_team view; /* derived; its arrays follow in the same allocation */
    size_t refs;
    uint32_t source_count, id_count;
    const struct shard_server **readable; /* source_count */
    tag_t *tags;                          /* id_count */
    uint64_t ids[];                       /* source, then destination */
};

struct boundary {
    struct team *team; /* a reference */
    uint32_t key_len;
    uint8_t key[];
};

struct shard_map {
    struct boundary **boundaries; /* owned, sorted by key */
    size_t boundary_count, boundary_capacity;
    struct team **teams; /* owned, sorted by ids */
    size_t team_count, team_capacity;
    struct shard_server **servers; /* owned, sorted by id */
    size_t server_count, server_capacity;
};

static const struct shard_team no_team;

/* ---- sorted arrays of pointers ---- */

static int reserve_one(void *array, size_t count, size_t *capacity)
{
    void **old, **grown;
    size_t larger = *capacity == 0 ? 8 : *capacity * 2;

    if (count < *capacity)
        return 0;
    memcpy(&old, array, sizeof(old));
    grown = mem_realloc(old, larger * sizeof(*grown));
    if (grown == NULL)
        return ERROR_OUT_OF_MEMORY;
    memcpy(array, &grown, sizeof(grown));
    *capacity = larger;
    return 0;
}

static void open_gap(void *array, size_t *count, size_t at)
{
    uint8_t *slots = array;

    assert(at <= *count);
    memmove(slots + (at + 1) * sizeof(void *), slots + at * sizeof(void *), (*count - at) * sizeof(void *));
    (*count)++;
}

static void close_gap(void *array, size_t *count, size_t at, size_t gap)
{
    uint8_t *slots = array;

    assert(at + gap <= *count);
    memmove(slots + at * sizeof(void *), slots + (at + gap) * sizeof(void *), (*count - at - gap) * sizeof(void *));
    *count -= gap;
}

/* ---- servers ---- */

static size_t server_place(const struct shard_map *map, uint64_t id)
{
    size_t low = 0, high = map->server_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (map->servers[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct shard_server *shard_map_server(const struct shard_map *map, uint64_t server_id)
{
    size_t place = server_place(map, server_id);

    return place < map->server_count && map->servers[place]->id == server_id ? map->servers[place] : NULL;
}

/* ---- teams ---- */

static void add_tag(struct team *team, tag_t tag)
{
    uint32_t at = team->view.tag_count;

    while (at > 0 && team->tags[at - 1] >= tag) {
        if (team->tags[at - 1] == tag)
            return;
        at--;
    }
    assert(team->view.tag_count < team->id_count);
    memmove(team->tags + at + 1, team->tags + at, (team->view.tag_count - at) * sizeof(tag_t));
    team->tags[at] = tag;
    team->view.tag_count++;
}

static void team_derive(const struct shard_map *map, struct team *team)
{
    team->view = (struct shard_team){.readable = team->readable, .tags = team->tags};
    for (uint32_t i = 0; i < team->id_count; i++) {
        const struct shard_server *server = shard_map_server(map, team->ids[i]);

        if (server == NULL)
            continue;
        if (i < team->source_count)
            team->readable[team->view.readable_count++] = server;
        if (i >= team->source_count || team->id_count == team->source_count || !PLANTED_BUG(SOURCE_DROPS_EARLY))
            add_tag(team, server->tag);
    }
}

static void derive_all(struct shard_map *map)
{
    for (size_t i = 0; i < map->team_count; i++)
        team_derive(map, map->teams[i]);
}

static struct team *team_create(const struct key_servers_value *value)
{
    size_t sources = value->source_count, ids = sources + value->destination_count;
    size_t readable_bytes = sources * sizeof(struct shard_server *);
    struct team *team = mem_zalloc(sizeof(*team) + ids * sizeof(uint64_t) + readable_bytes + ids * sizeof(tag_t));

    if (team == NULL)
        return NULL;
    team->source_count = value->source_count;
    team->id_count = (uint32_t)ids;
    team->readable = (void *)(team->ids + ids);
    team->tags = (void *)((uint8_t *)team->readable + readable_bytes);
    if (sources > 0)
        memcpy(team->ids, value->source, sources * sizeof(uint64_t));
    if (value->destination_count > 0)
        memcpy(team->ids + sources, value->destination, value->destination_count * sizeof(uint64_t));
    return team;
}

static int team_compare(const struct team *a, const struct team *b)
{
    if (a->source_count != b->source_count)
        return a->source_count < b->source_count ? -1 : 1;
    if (a->id_count != b->id_count)
        return a->id_count < b->id_count ? -1 : 1;
    for (uint32_t i = 0; i < a->id_count; i++)
        if (a->ids[i] != b->ids[i])
            return a->ids[i] < b->ids[i] ? -1 : 1;
    return 0;
}

static size_t team_place(const struct shard_map *map, const struct team *team)
{
    size_t low = 0, high = map->team_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (team_compare(map->teams[middle], team) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Takes a reference on the team of these ids. 0 or ERROR_OUT_OF_MEMORY. */
static int team_take(struct shard_map *map, const struct key_servers_value *value, struct team **ret_team)
{
    struct team *team = team_create(value);
    size_t place;

    if (team == NULL)
        return ERROR_OUT_OF_MEMORY;
    place = team_place(map, team);
    if (place < map->team_count && team_compare(map->teams[place], team) == 0) {
        mem_free(team);
        team = map->teams[place];
    } else {
        if (reserve_one(&map->teams, map->team_count, &map->team_capacity) != 0) {
            mem_free(team);
            return ERROR_OUT_OF_MEMORY;
        }
        open_gap(map->teams, &map->team_count, place);
        map->teams[place] = team;
        team_derive(map, team);
    }
    assert(map->teams[place] == team);
    team->refs++;
    *ret_team = team;
    return 0;
}

static void team_release(struct shard_map *map, struct team *team)
{
    size_t place;

    assert(team->refs > 0);
    if (--team->refs > 0)
        return;
    place = team_place(map, team);
    assert(place < map->team_count && map->teams[place] == team);
    close_gap(map->teams, &map->team_count, place, 1);
    mem_free(team);
}

/* ---- boundaries ---- */

static struct bytes boundary_key(const struct boundary *boundary)
{
    return bytes_of(boundary->key, boundary->key_len);
}

/* The first boundary at or after `key`. */
static size_t boundary_place(const struct shard_map *map, struct bytes key)
{
    size_t low = 0, high = map->boundary_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (bytes_compare(boundary_key(map->boundaries[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct boundary *boundary_create(struct bytes key)
{
    struct boundary *boundary = mem_alloc(sizeof(*boundary) + key.len);

    if (boundary == NULL)
        return NULL;
    boundary->team = NULL;
    boundary->key_len = (uint32_t)key.len;
    if (key.len > 0)
        memcpy(boundary->key, key.ptr, key.len);
    return boundary;
}

/* A boundary for `key`, new or old. 0 or ERROR_OUT_OF_MEMORY. */
static int boundary_at(struct shard_map *map, struct bytes key, struct boundary **ret_boundary)
{
    size_t place = boundary_place(map, key);
    struct boundary *boundary;

    if (place < map->boundary_count && bytes_equal(boundary_key(map->boundaries[place]), key)) {
        *ret_boundary = map->boundaries[place];
        return 0;
    }
    if (reserve_one(&map->boundaries, map->boundary_count, &map->boundary_capacity) != 0)
        return ERROR_OUT_OF_MEMORY;
    boundary = boundary_create(key);
    if (boundary == NULL)
        return ERROR_OUT_OF_MEMORY;
    open_gap(map->boundaries, &map->boundary_count, place);
    map->boundaries[place] = boundary;
    *ret_boundary = boundary;
    return 0;
}

static int set_shard(struct shard_map *map, struct bytes begin, const struct key_servers_value *value)
{
    struct boundary *boundary;
    struct team *team, *old;
    int error = team_take(map, value, &team);

    if (error != 0)
        return error;
    error = boundary_at(map, begin, &boundary);
    if (error != 0) {
        team_release(map, team);
        return error;
    }
    old = boundary->team;
    assert(old == NULL || old->refs > 0);
    boundary->team = team;
    if (old != NULL)
        team_release(map, old);
    return 0;
}

static void remove_boundaries(struct shard_map *map, size_t from, size_t to)
{
    assert(from >= to || to <= map->boundary_count);
    for (size_t i = from; i < to; i++) {
        team_release(map, map->boundaries[i]->team);
        mem_free(map->boundaries[i]);
    }
    if (from < to)
        close_gap(map->boundaries, &map->boundary_count, from, to - from);
}

/* ---- mutations ---- */

static int set_server(struct shard_map *map, uint64_t id, const struct server_value *value)
{
    size_t place = server_place(map, id);

    if (shard_map_server(map, id) == NULL) {
        struct shard_server *server;

        if (reserve_one(&map->servers, map->server_count, &map->server_capacity) != 0)
            return ERROR_OUT_OF_MEMORY;
        server = mem_zalloc(sizeof(*server));
        if (server == NULL)
            return ERROR_OUT_OF_MEMORY;
        open_gap(map->servers, &map->server_count, place);
        map->servers[place] = server;
    }
    assert(place == 0 || map->servers[place - 1]->id < id);
    assert(place + 1 == map->server_count || map->servers[place + 1]->id > id);
    map->servers[place]->id = id;
    map->servers[place]->tag = value->tag;
    map->servers[place]->endpoint = value->endpoint;
    derive_all(map);
    return 0;
}

static int apply_server(struct shard_map *map, uint64_t id, struct bytes packed)
{
    struct arena arena = {0};
    struct server_value value;
    int error = message_decode(&schema_server_value, packed, &arena, &value);

    if (error == 0)
        error = set_server(map, id, &value);
    arena_done(&arena);
    return error;
}

static int apply_shard(struct shard_map *map, struct bytes begin, struct bytes packed)
{
    struct arena arena = {0};
    struct key_servers_value value;
    int error = key_servers_decode(packed, &arena, &value);

    if (error == 0)
        error = set_shard(map, begin, &value);
    arena_done(&arena);
    return error;
}

static int apply_set(struct shard_map *map, struct bytes key, struct bytes value)
{
    struct bytes begin;
    uint64_t id;

    if (system_key_parse_key_servers(key, &begin)) /* no shard begins where the key space ends */
        return bytes_compare(begin, KEY_SYSTEM_END) < 0 ? apply_shard(map, begin, value) : 0;
    if (system_key_parse_server_list(key, &id))
        return apply_server(map, id, value);
    return 0;
}

/* Where `key` lies in the space of keys that begin with `prefix`: *ret_rest is what follows the prefix. Below the space gives
 * the empty rest; false when it is above. */
static bool rest_of(struct bytes key, struct bytes prefix, struct bytes *ret_rest)
{
    *ret_rest = bytes_none();
    if (bytes_starts_with(key, prefix)) {
        *ret_rest = bytes_of(key.ptr + prefix.len, key.len - prefix.len);
        return true;
    }
    return bytes_compare(key, prefix) < 0;
}

static void clear_shards(struct shard_map *map, struct bytes begin, struct bytes end)
{
    struct bytes low, high;
    size_t to = map->boundary_count;

    if (!rest_of(begin, KEY_KEY_SERVERS_PREFIX, &low))
        return;
    if (rest_of(end, KEY_KEY_SERVERS_PREFIX, &high))
        to = boundary_place(map, high);
    remove_boundaries(map, boundary_place(map, low), to);
}

static bool server_in_range(uint64_t id, struct bytes begin, struct bytes end)
{
    uint8_t key[32];
    size_t prefix_len = KEY_SERVER_LIST_PREFIX.len;

    static_assert(sizeof("\xff/serverList/") - 1 + 8 <= sizeof(key), "the key fits");
    memcpy(key, KEY_SERVER_LIST_PREFIX.ptr, prefix_len);
    put_be64(key + prefix_len, id);
    return bytes_compare(begin, bytes_of(key, prefix_len + 8)) <= 0 &&
           bytes_compare(bytes_of(key, prefix_len + 8), end) < 0;
}

static void clear_servers(struct shard_map *map, struct bytes begin, struct bytes end)
{
    size_t kept = 0, count = map->server_count;

    for (size_t i = 0; i < count; i++) {
        if (server_in_range(map->servers[i]->id, begin, end))
            mem_free(map->servers[i]);
        else
            map->servers[kept++] = map->servers[i];
    }
    map->server_count = kept;
    if (kept < count)
        derive_all(map);
}

int shard_map_apply(struct shard_map *map, enum mutation_type type, struct bytes param1, struct bytes param2)
{
    if (type == MUTATION_SET)
        return apply_set(map, param1, param2);
    if (type != MUTATION_CLEAR_RANGE || bytes_compare(param1, param2) >= 0)
        return 0;
    clear_shards(map, param1, param2);
    clear_servers(map, param1, param2);
    return 0;
}

/* ---- life and lookups ---- */

struct shard_map *shard_map_create(void)
{
    return mem_zalloc(sizeof(struct shard_map));
}

void shard_map_destroy(struct shard_map *map)
{
    if (map == NULL)
        return;
    remove_boundaries(map, 0, map->boundary_count);
    assert(map->team_count == 0);
    for (size_t i = 0; i < map->server_count; i++)
        mem_free(map->servers[i]);
    mem_free(map->boundaries);
    mem_free(map->teams);
    mem_free(map->servers);
    mem_free(map);
}

/* The shard that ends at boundary `place`. */
static void give(const struct shard_map *map, size_t place, struct shard *ret_shard)
{
    ret_shard->begin = place == 0 ? bytes_none() : boundary_key(map->boundaries[place - 1]);
    ret_shard->end = place == map->boundary_count ? KEY_SYSTEM_END : boundary_key(map->boundaries[place]);
    ret_shard->team = place == 0 ? &no_team : &map->boundaries[place - 1]->team->view;
}

void shard_map_at(const struct shard_map *map, struct bytes key, struct shard *ret_shard)
{
    size_t place = boundary_place(map, key);

    if (place < map->boundary_count && bytes_equal(boundary_key(map->boundaries[place]), key))
        place++;
    give(map, place, ret_shard);
}

void shard_map_before(const struct shard_map *map, struct bytes key, struct shard *ret_shard)
{
    assert(key.len > 0);
    give(map, boundary_place(map, key), ret_shard);
}

size_t shard_map_pieces(const struct shard_map *map, struct bytes begin, struct bytes end, size_t limit, size_t *ret_key_bytes)
{
    size_t place = boundary_place(map, begin), pieces = 1, key_bytes = 0;

    if (place < map->boundary_count && bytes_equal(boundary_key(map->boundaries[place]), begin))
        place++;
    for (; pieces < limit && place < map->boundary_count; place++, pieces++) {
        struct bytes key = boundary_key(map->boundaries[place]);

        if (bytes_compare(key, end) >= 0)
            break;
        key_bytes += key.len;
    }
    *ret_key_bytes = key_bytes;
    return pieces;
}

size_t shard_map_count(const struct shard_map *map)
{
    return map->boundary_count;
}
