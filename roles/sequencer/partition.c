/* All loads are laid out as one row of atoms in key order; a cut stands before an atom or behind the last one. The i-th of n parts
 * should end where i/n of the load lies below: its cut is the place nearest to that, but behind the cut before it. So one
 * round of questions is enough for any change of load, and each resolver keeps one part, in one order, however long the epoch lives. */
#include "roles/sequencer/partition.h"

#include <assert.h>

#include "txn/keys.h"

enum {
    LOAD_MAX = 1000000000, /* ranges a second that a resolver can have; weights as well */
    KEYS_MAX = 10000,      /* of one answer */
    GAIN_PERCENT = 10,     /* by which the most loaded must sink, or it is not worth two questions for each read */
};

struct atom {
    struct bytes key;
    double load; /* ranges a second from here to the next */
};

struct row {
    struct atom *atoms;
    uint32_t count;
    double total;
};

bool partition_load_is_sound(const struct resolver_load *load, const struct key_part *part)
{
    if (load->ranges_per_s < 0 || load->ranges_per_s > LOAD_MAX || load->keys_count > KEYS_MAX ||
        (load->ranges_per_s > 0 && load->keys_count == 0))
        return false;
    for (uint32_t i = 0; i < load->keys_count; i++) {
        const struct sampled_key *sampled = &load->keys[i];

        if (sampled->weight < 1 || sampled->weight > LOAD_MAX || !key_part_contains(part, sampled->key) ||
            sampled->key.len > SYSTEM_KEY_BYTES_MAX)
            return false;
        if (i > 0 && bytes_compare(load->keys[i - 1].key, sampled->key) >= 0)
            return false;
    }
    return true;
}

static double weight_of(const struct resolver_load *load)
{
    double weight = 0;

    for (uint32_t i = 0; i < load->keys_count; i++)
        weight += (double)load->keys[i].weight;
    return weight;
}

static bool lay_out(const struct resolver_load *const *loads, uint32_t count, struct arena *arena, struct row *ret_row)
{
    struct row row = {0};
    size_t keys = 0;

    for (uint32_t i = 0; i < count; i++)
        keys += loads[i]->keys_count;
    row.atoms = arena_alloc(arena, keys * sizeof(*row.atoms));
    if (row.atoms == NULL)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        double weight = weight_of(loads[i]);

        for (uint32_t k = 0; k < loads[i]->keys_count; k++) {
            struct atom *atom = &row.atoms[row.count++];

            atom->key = loads[i]->keys[k].key;
            atom->load = (double)loads[i]->ranges_per_s * (double)loads[i]->keys[k].weight / weight;
            row.total += atom->load;
        }
    }
    *ret_row = row;
    return true;
}

/* Cuts stand at places 0 (before the first atom, unless that is the empty key) to row->count (behind the last). */
static uint32_t first_place(const struct row *row)
{
    return row->count > 0 && row->atoms[0].key.len == 0 ? 1 : 0;
}

static bool has_places(const struct row *row, uint32_t cuts)
{
    return row->count > 0 && row->count + 1 - first_place(row) >= cuts;
}

static int begin_at(const struct row *row, uint32_t place, struct arena *arena, struct bytes *ret_begin)
{
    if (place < row->count)
        return arena_copy(arena, row->atoms[place].key, ret_begin);
    return key_after(arena, row->atoms[row->count - 1].key, ret_begin);
}

/* The place nearest to `target`, not below *place, whose sum of what lies below it is *sum; leaves `others` places above it. */
static void go_to(const struct row *row, double target, uint32_t others, uint32_t *place, double *sum)
{
    while (*place + others < row->count && *sum + row->atoms[*place].load - target < target - *sum) {
        *sum += row->atoms[*place].load;
        *place += 1;
    }
}

static bool write_begins(const struct row *row, const uint32_t *places, uint32_t count, struct arena *arena, struct bytes *ret_begins)
{
    ret_begins[0] = bytes_none();
    for (uint32_t i = 1; i < count; i++)
        if (begin_at(row, places[i], arena, &ret_begins[i]) != 0)
            return false;
    return true;
}

/* Fills places[1..count - 1] and returns the load of the most loaded part. */
static double cut_evenly(const struct row *row, uint32_t count, uint32_t *places)
{
    uint32_t place = first_place(row);
    double sum = place == 1 ? row->atoms[0].load : 0, below = 0, most = 0;

    for (uint32_t i = 1; i < count; i++) {
        if (i > 1) { /* strictly above the one before */
            sum += row->atoms[place].load;
            place++;
        }
        go_to(row, row->total * i / count, count - 1 - i, &place, &sum);
        places[i] = place;
        most = sum - below > most ? sum - below : most;
        below = sum;
    }
    return row->total - below > most ? row->total - below : most;
}

static void extremes(const struct resolver_load *const *loads, uint32_t count, int64_t *ret_most, int64_t *ret_least)
{
    *ret_most = *ret_least = loads[0]->ranges_per_s;
    for (uint32_t i = 1; i < count; i++) {
        *ret_most = loads[i]->ranges_per_s > *ret_most ? loads[i]->ranges_per_s : *ret_most;
        *ret_least = loads[i]->ranges_per_s < *ret_least ? loads[i]->ranges_per_s : *ret_least;
    }
}

bool partition_choose(const struct partition_wish *wish, const struct resolver_load *const *loads, uint32_t count,
                      struct arena *arena, struct bytes ret_begins[RESOLVERS_MAX])
{
    uint32_t places[RESOLVERS_MAX];
    int64_t most, least;
    struct row row;
    double cut_most;

    assert(count >= 1 && count <= RESOLVERS_MAX);
    extremes(loads, count, &most, &least);
    if (count == 1 || most < wish->floor || (double)most * 100 <= (double)least * (double)wish->percent)
        return false;
    if (!lay_out(loads, count, arena, &row) || !has_places(&row, count - 1))
        return false;
    cut_most = cut_evenly(&row, count, places);
    return cut_most * 100 <= (double)most * (100 - GAIN_PERCENT) && write_begins(&row, places, count, arena, ret_begins);
}

bool partition_draw(const struct resolver_load *const *loads, uint32_t count, uint64_t (*draw)(void *ctx), void *ctx,
                    struct arena *arena, struct bytes ret_begins[RESOLVERS_MAX])
{
    uint32_t places[RESOLVERS_MAX], low;
    struct row row;

    if (!lay_out(loads, count, arena, &row) || !has_places(&row, count - 1))
        return false;
    low = first_place(&row);
    for (uint32_t i = 1; i < count; i++) {
        uint32_t high = row.count - (count - 1 - i); /* the others need their places */

        places[i] = low + (uint32_t)(draw(ctx) % (high - low + 1));
        low = places[i] + 1;
    }
    return write_begins(&row, places, count, arena, ret_begins);
}
