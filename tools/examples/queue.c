/* A queue: pushed in one transaction, taken in another.
 *
 *   example-queue [CLUSTER_FILE] */
#include <quoin/layers.h>
#include <stdio.h>
#include <string.h>

static quoin_error push(struct quoin_transaction *t, void *context)
{
    quoin_error error = quoin_queue_push(t, context, 0, "wash", 4);

    return error != 0 ? error : quoin_queue_push(t, context, 1, "dry", 3);
}

static quoin_error pop(struct quoin_transaction *t, void *context)
{
    struct quoin_buffer job = {0};
    bool present = true;
    quoin_error error = 0;

    while (error == 0 && present) {
        error = quoin_queue_pop(t, context, &present, &job);
        if (error == 0 && present)
            printf("%.*s\n", job.length, (const char *)job.data);
        quoin_buffer_done(&job);
    }
    return error;
}

int main(int argc, char **argv)
{
    struct quoin_subspace jobs = {0};
    struct quoin_database *db;
    quoin_error error = quoin_open(argc > 1 ? argv[1] : NULL, &db);

    if (error == 0) {
        error = quoin_subspace_init(&jobs, "example-jobs", 12);
        if (error == 0)
            error = quoin_run(db, push, &jobs);
        if (error == 0)
            error = quoin_run(db, pop, &jobs);
        quoin_subspace_done(&jobs);
        quoin_database_destroy(db);
    }
    if (error != 0)
        fprintf(stderr, "%s\n", quoin_error_text(error));
    return error != 0;
}
