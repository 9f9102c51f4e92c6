/* The shard map against a table of one entry for each possible key. */
#include <criterion/criterion.h>

#include "net/error.h"
#include "net/mem.h"
#include "tests/unit/draw.h"
#include "tests/unit/nth.h"
#include "txn/shard_map.h"

enum { KEYS = 40, SERVERS = 6, TEAM_MAX = 3, STEPS = 300000 };

struct model_shard {
    bool present;
    uint64_t source[TEAM_MAX], destination[TEAM_MAX];
    uint32_t source_count, destination_count;
};

struct model {
    struct model_shard shards[KEYS];
    tag_t tags[SERVERS]; /* 0: not in serverList */
};

static struct bytes model_key(unsigned i, uint8_t *out)
{
    *out = (uint8_t)(2 * i);
    return bytes_of(out, i == 0 ? 0 : 1);
}

static int apply_shard(struct shard_map *map, struct bytes begin, struct model_shard *shard)
{
    struct key_servers_value value = {shard->source, shard->source_count, shard->destination, shard->destination_count};
    struct bytes_buffer key = {0}, packed = {0};
    int error = system_key_key_servers(&key, begin);

    if (error == 0)
        error = key_servers_encode(&value, &packed);
    if (error == 0)
        error = shard_map_apply(map, MUTATION_SET, bytes_buffer_bytes(&key), bytes_buffer_bytes(&packed));
    bytes_buffer_done(&key);
    bytes_buffer_done(&packed);
    return error;
}

static int apply_server(struct shard_map *map, uint64_t id, tag_t tag)
{
    struct server_value value = {.endpoint = {{1, 2}, id}, .tag = tag};
    struct bytes_buffer key = {0}, packed = {0};
    int error = system_key_server_list(&key, id);

    if (error == 0)
        error = message_encode(&schema_server_value, &value, &packed);
    if (error == 0)
        error = shard_map_apply(map, MUTATION_SET, bytes_buffer_bytes(&key), bytes_buffer_bytes(&packed));
    bytes_buffer_done(&key);
    bytes_buffer_done(&packed);
    return error;
}

static void clear_server(struct shard_map *map, uint64_t id)
{
    struct bytes_buffer key = {0}, end = {0};

    system_key_server_list(&key, id);
    system_key_server_list(&end, id + 1);
    cr_assert_eq(shard_map_apply(map, MUTATION_CLEAR_RANGE, bytes_buffer_bytes(&key), bytes_buffer_bytes(&end)), 0);
    bytes_buffer_done(&key);
    bytes_buffer_done(&end);
}

static void clear_shards(struct shard_map *map, struct model *model, unsigned from, unsigned to)
{
    struct bytes_buffer key = {0}, end = {0};
    uint8_t space;

    system_key_key_servers(&key, model_key(from, &space));
    system_key_key_servers(&end, model_key(to, &space));
    cr_assert_eq(shard_map_apply(map, MUTATION_CLEAR_RANGE, bytes_buffer_bytes(&key), bytes_buffer_bytes(&end)), 0);
    for (; from < to; from++)
        model->shards[from].present = false;
    bytes_buffer_done(&key);
    bytes_buffer_done(&end);
}

/* Ids ascend, as they do in the value. */
static void draw_team(uint64_t *random, uint64_t *ids, uint32_t *count, uint32_t least)
{
    uint32_t wanted = least + (uint32_t)draw_below(random, TEAM_MAX + 1 - least);

    *count = 0;
    for (uint64_t id = 1; id <= SERVERS && *count < wanted; id++)
        if (draw_below(random, SERVERS + 1 - id) < wanted - *count)
            ids[(*count)++] = id;
}

static bool has_tag(const struct shard_team *team, tag_t tag)
{
    for (uint32_t i = 0; i < team->tag_count; i++)
        if (team->tags[i] == tag)
            return true;
    return false;
}

static void check_team(const struct model *model, const struct model_shard *shard, const struct shard_team *team)
{
    uint32_t readable = 0;

    for (uint32_t i = 0; i < shard->source_count; i++) {
        tag_t tag = model->tags[shard->source[i] - 1];

        if (tag == 0)
            continue;
        cr_assert_lt(readable, team->readable_count);
        cr_assert_eq(team->readable[readable]->id, shard->source[i]);
        cr_assert_eq(team->readable[readable++]->tag, tag);
        cr_assert(has_tag(team, tag));
    }
    cr_assert_eq(readable, team->readable_count);
    for (uint32_t i = 0; i < shard->destination_count; i++)
        if (model->tags[shard->destination[i] - 1] != 0)
            cr_assert(has_tag(team, model->tags[shard->destination[i] - 1]));
    for (uint32_t i = 1; i < team->tag_count; i++)
        cr_assert_lt(team->tags[i - 1], team->tags[i]);
}

/* The shard that holds key i of the model, or (inside) the key right after it. */
static void check_at(const struct shard_map *map, const struct model *model, unsigned i, bool before)
{
    unsigned at = i, next = before ? i : i + 1;
    struct shard shard;
    uint8_t space;

    if (before) {
        shard_map_before(map, model_key(i, &space), &shard);
        at--;
    } else {
        shard_map_at(map, model_key(i, &space), &shard);
    }
    while (at > 0 && !model->shards[at].present)
        at--;
    while (next < KEYS && !model->shards[next].present)
        next++;
    cr_assert(bytes_equal(shard.begin, model_key(at, &space)));
    cr_assert(bytes_equal(shard.end, next < KEYS ? model_key(next, &space) : KEY_SYSTEM_END));
    if (model->shards[at].present)
        check_team(model, &model->shards[at], shard.team);
    else
        cr_assert(shard.team->tag_count == 0 && shard.team->readable_count == 0);
}

static void model_step(struct shard_map *map, struct model *model, uint64_t *random)
{
    unsigned i = (unsigned)draw_below(random, KEYS), to;
    uint64_t server = draw_below(random, SERVERS);
    struct model_shard *shard = &model->shards[i];
    uint8_t space;

    switch (draw_below(random, 12)) {
    case 0:
        to = i + (unsigned)draw_below(random, 5);
        clear_shards(map, model, i, to < KEYS ? to : KEYS - 1);
        break;
    case 1:
        model->tags[server] = 1 + (tag_t)draw_below(random, 9);
        cr_assert_eq(apply_server(map, server + 1, model->tags[server]), 0);
        break;
    case 2:
        model->tags[server] = 0;
        clear_server(map, server + 1);
        break;
    case 3:
    case 4:
    case 5:
        shard->present = true;
        draw_team(random, shard->source, &shard->source_count, 1);
        draw_team(random, shard->destination, &shard->destination_count, 0);
        cr_assert_eq(apply_shard(map, model_key(i, &space), shard), 0);
        break;
    default:
        check_at(map, model, i, i > 0 && draw_below(random, 2) == 0);
    }
}

Test(shard_map, answers_as_the_model_does)
{
    struct shard_map *map = shard_map_create();
    struct model model = {0};
    uint64_t random = 5;
    size_t present = 0;

    for (int step = 0; step < STEPS; step++)
        model_step(map, &model, &random);
    for (unsigned i = 0; i < KEYS; i++)
        present += model.shards[i].present;
    cr_assert_eq(shard_map_count(map), present);
    shard_map_destroy(map);
}

Test(shard_map, a_clear_of_all_metadata_empties_it)
{
    struct shard_map *map = shard_map_create();
    struct model_shard team = {.source = {1}, .source_count = 1};

    apply_server(map, 1, 1);
    apply_shard(map, bytes_none(), &team);
    apply_shard(map, BYTES_LITERAL("m"), &team);
    cr_assert_eq(shard_map_count(map), 2);
    cr_assert_eq(shard_map_apply(map, MUTATION_CLEAR_RANGE, BYTES_LITERAL("\xff"), BYTES_LITERAL("\xff\xff")), 0);
    cr_assert_eq(shard_map_count(map), 0);
    cr_assert_null(shard_map_server(map, 1));
    shard_map_destroy(map);
}

Test(shard_map, a_value_that_is_not_of_its_format_changes_nothing)
{
    struct shard_map *map = shard_map_create();
    struct model_shard team = {.source = {1}, .source_count = 1};
    struct shard shard;

    apply_server(map, 1, 77);
    apply_shard(map, bytes_none(), &team);
    cr_assert_eq(shard_map_apply(map, MUTATION_SET, BYTES_LITERAL("\xff/keyServers/"), BYTES_LITERAL("junk")),
                 ERROR_SERIALIZATION_FAILED);
    cr_assert_eq(shard_map_apply(map, MUTATION_SET, BYTES_LITERAL("\xff/serverList/\0\0\0\0\0\0\0\1"), bytes_none()),
                 ERROR_SERIALIZATION_FAILED);
    cr_assert_eq(shard_map_apply(map, MUTATION_SET, BYTES_LITERAL("\xff/keyServers/\xff\xff"), BYTES_LITERAL("junk")), 0);
    cr_assert_eq(shard_map_apply(map, MUTATION_SET, BYTES_LITERAL("\xff/other"), BYTES_LITERAL("junk")), 0);
    shard_map_at(map, BYTES_LITERAL("x"), &shard);
    cr_assert(shard.team->tag_count == 1 && shard.team->tags[0] == 77 && shard_map_count(map) == 1);
    shard_map_destroy(map);
}

Test(shard_map, a_failed_allocation_leaks_nothing_and_keeps_the_old_shard)
{
    FAIL_EACH(nth, nth_allocation) {
        struct model_shard one = {.source = {1}, .source_count = 1}, two = {.source = {2}, .source_count = 1};
        struct shard_map *map = shard_map_create();
        struct shard shard;
        int error;

        apply_server(map, 1, 1);
        apply_shard(map, bytes_none(), &one);
        nth_begin(&nth, NULL);
        error = apply_shard(map, BYTES_LITERAL("b"), &two);
        if (error == 0)
            error = apply_server(map, 2, 2);
        cr_assert_eq(error, nth_end(&nth) ? ERROR_OUT_OF_MEMORY : 0);
        shard_map_at(map, BYTES_LITERAL("a"), &shard);
        cr_assert(shard.team->tag_count == 1 && shard.team->tags[0] == 1);
        shard_map_destroy(map);
    }
}
