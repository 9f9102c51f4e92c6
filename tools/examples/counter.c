/* A counter: adds never conflict.
 *
 *   example-counter [CLUSTER_FILE] */
#include <quoin/layers.h>
#include <stdio.h>

static quoin_error body(struct quoin_transaction *t, void *context)
{
    struct quoin_subspace visits = {0};
    int64_t count = 0;
    quoin_error error = quoin_subspace_init(&visits, "example-visits", 14);

    (void)context;
    if (error == 0)
        error = quoin_counter_set(t, &visits, 40);
    if (error == 0)
        error = quoin_counter_add(t, &visits, 2);
    if (error == 0)
        error = quoin_counter_get(t, &visits, true, &count);
    if (error == 0)
        printf("%d visits\n", (int)count);
    quoin_subspace_done(&visits);
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
