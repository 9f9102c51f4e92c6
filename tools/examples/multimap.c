/* A multimap: tags of pictures.
 *
 *   example-multimap [CLUSTER_FILE] */
#include <quoin/layers.h>
#include <stdio.h>
#include <string.h>

static quoin_error add_tag(struct quoin_transaction *t, const struct quoin_subspace *tags, int64_t picture, const char *tag)
{
    struct quoin_tuple key = {0}, value = {0};
    quoin_error error;

    quoin_tuple_add_int(&key, picture);
    quoin_tuple_add_text(&value, tag, (int)strlen(tag));
    error = quoin_multimap_add(t, tags, &key, &value);
    quoin_tuple_done(&key);
    quoin_tuple_done(&value);
    return error;
}

static quoin_error print_tag(void *context, struct quoin_slice value, int64_t count)
{
    struct quoin_unpacked *unpacked;
    struct quoin_slice tag;
    quoin_error error = quoin_tuple_unpack(value.data, value.length, &unpacked);

    (void)context;
    if (error != 0)
        return error;
    error = quoin_unpacked_text(unpacked, 0, &tag);
    if (error == 0)
        printf("%.*s, %d times\n", tag.length, (const char *)tag.data, (int)count);
    quoin_unpacked_destroy(unpacked);
    return error;
}

static quoin_error body(struct quoin_transaction *t, void *context)
{
    struct quoin_subspace tags = {0};
    struct quoin_tuple key = {0};
    quoin_error error = quoin_subspace_init(&tags, "example-tags", 12);

    (void)context;
    quoin_tuple_add_int(&key, 7);
    if (error == 0)
        error = quoin_multimap_remove_key(t, &tags, &key);
    if (error == 0)
        error = add_tag(t, &tags, 7, "sea");
    if (error == 0)
        error = add_tag(t, &tags, 7, "boat");
    if (error == 0)
        error = add_tag(t, &tags, 7, "sea");
    if (error == 0)
        error = quoin_multimap_get(t, &tags, &key, print_tag, NULL);
    quoin_tuple_done(&key);
    quoin_subspace_done(&tags);
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
