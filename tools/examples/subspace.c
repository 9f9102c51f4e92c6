/* Subspaces: a prefix for one kind of keys, so that kinds never mix.
 *
 *   example-subspace [CLUSTER_FILE] */
#include <quoin/layers.h>
#include <stdio.h>
#include <string.h>

static quoin_error set_score(struct quoin_transaction *t, const struct quoin_subspace *scores, const char *player, const char *score)
{
    struct quoin_tuple key = {0};
    struct quoin_slice packed;
    quoin_error error;

    quoin_subspace_start(scores, &key);
    quoin_tuple_add_text(&key, player, (int)strlen(player));
    error = quoin_tuple_get(&key, &packed);
    if (error == 0)
        error = quoin_transaction_set(t, packed.data, packed.length, score, (int)strlen(score));
    quoin_tuple_done(&key);
    return error;
}

static quoin_error print_pair(const struct quoin_subspace *scores, const struct quoin_pair *pair)
{
    struct quoin_unpacked *key;
    struct quoin_slice player;
    quoin_error error = quoin_subspace_unpack(scores, pair->key, pair->key_length, &key);

    if (error != 0)
        return error;
    error = quoin_unpacked_text(key, 0, &player);
    if (error == 0)
        printf("%.*s has %.*s\n", player.length, (const char *)player.data, pair->value_length, (const char *)pair->value);
    quoin_unpacked_destroy(key);
    return error;
}

static quoin_error print_scores(struct quoin_transaction *t, const struct quoin_subspace *scores)
{
    struct quoin_range_options all = {.mode = QUOIN_MODE_WANT_ALL};
    struct quoin_key_range range = {0};
    struct quoin_future *page = NULL;
    const struct quoin_pair *pairs;
    int count = 0;
    bool more;
    quoin_error error = quoin_subspace_range(scores, &range);

    if (error == 0) {
        page = quoin_transaction_get_range(t, QUOIN_FIRST_AT_OR_AFTER(range.begin.data, range.begin.length),
                                           QUOIN_FIRST_AT_OR_AFTER(range.end.data, range.end.length), all);
        error = quoin_future_block_until_ready(page);
    }
    if (error == 0)
        error = quoin_future_get_range(page, &pairs, &count, &more);
    for (int i = 0; error == 0 && i < count; i++)
        error = print_pair(scores, &pairs[i]);
    quoin_future_destroy(page);
    quoin_key_range_done(&range);
    return error;
}

static quoin_error body(struct quoin_transaction *t, void *context)
{
    struct quoin_subspace scores = {0};
    struct quoin_tuple name = {0};
    quoin_error error;

    (void)context;
    quoin_tuple_add_text(&name, "example-scores", 14);
    error = quoin_subspace_init_tuple(&scores, NULL, &name);
    if (error == 0)
        error = set_score(t, &scores, "ada", "31");
    if (error == 0)
        error = set_score(t, &scores, "bob", "12");
    if (error == 0)
        error = print_scores(t, &scores);
    quoin_subspace_done(&scores);
    quoin_tuple_done(&name);
    return error;
}

int main(int argc, char **argv)
{
    struct quoin_database *db;
    quoin_error error = quoin_open(argc > 1 ? argv[1] : NULL, &db);

    if (error == 0) {
        error = quoin_run(db, body, NULL);
        quoin_database_destroy(db);
    }
    if (error != 0)
        fprintf(stderr, "%s\n", quoin_error_text(error));
    return error != 0;
}
