/* Records with an index: found by what is in them.
 *
 *   example-records [CLUSTER_FILE] */
#include <quoin/layers.h>
#include <stdio.h>
#include <string.h>

/* A record is "name,city"; the index is by city. */
static quoin_error by_city(void *context, struct quoin_slice key, struct quoin_slice record, struct quoin_index_entries *entries)
{
    const char *text = record.data, *comma = memchr(text, ',', (size_t)record.length);
    struct quoin_tuple city = {0};
    quoin_error error;

    (void)context, (void)key;
    if (comma == NULL)
        return 0;
    quoin_tuple_add_text(&city, comma + 1, record.length - (int)(comma + 1 - text));
    error = quoin_index_add(entries, &city);
    quoin_tuple_done(&city);
    return error;
}

static quoin_error print_record(void *context, const struct quoin_record *found)
{
    (void)context;
    printf("%.*s\n", found->record.length, (const char *)found->record.data);
    return 0;
}

static quoin_error body(struct quoin_transaction *t, void *context)
{
    static const char *const people[] = {"ada,London", "emmy,Erlangen", "alan,London"};
    static const struct quoin_record_index city = {.name = "city", .extract = by_city};
    struct quoin_subspace subspace = {0};
    struct quoin_records store = {.subspace = &subspace, .indexes = &city, .index_count = 1};
    struct quoin_tuple key = {0};
    quoin_error error = quoin_subspace_init(&subspace, "example-people", 14);

    (void)context;
    for (int i = 0; error == 0 && i < 3; i++) {
        quoin_tuple_reset(&key);
        quoin_tuple_add_int(&key, i);
        error = quoin_records_put(t, &store, &key, people[i], (int)strlen(people[i]));
    }
    quoin_tuple_reset(&key);
    quoin_tuple_add_text(&key, "London", 6);
    if (error == 0)
        error = quoin_records_query(t, &store, &(struct quoin_query){.index = "city", .low = &key, .high = &key, .high_included = true},
                                    print_record, NULL);
    quoin_tuple_done(&key);
    quoin_subspace_done(&subspace);
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
