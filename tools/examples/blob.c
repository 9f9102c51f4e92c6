/* A blob larger than a transaction: written in parts, read anywhere.
 *
 *   example-blob [CLUSTER_FILE] */
#include <quoin/layers.h>
#include <stdio.h>
#include <string.h>

#define PART_BYTES 1000000
#define PARTS 12

struct copy {
    struct quoin_subspace blob;
    int part;
};

static quoin_error write_part(struct quoin_transaction *t, void *context)
{
    static char bytes[PART_BYTES];
    struct copy *copy = context;

    memset(bytes, 'a' + copy->part, sizeof(bytes));
    return quoin_blob_write(t, &copy->blob, (int64_t)copy->part * PART_BYTES, bytes, sizeof(bytes));
}

static quoin_error read_and_remove(struct quoin_transaction *t, void *context)
{
    struct copy *copy = context;
    char around[4];
    int64_t size;
    int length;
    quoin_error error = quoin_blob_size(t, &copy->blob, &size);

    if (error == 0)
        error = quoin_blob_read(t, &copy->blob, 5 * PART_BYTES - 2, around, sizeof(around), &length);
    if (error == 0)
        error = quoin_blob_remove(t, &copy->blob);
    if (error == 0)
        printf("%d bytes, in the middle %.*s\n", (int)size, length, around);
    return error;
}

int main(int argc, char **argv)
{
    struct copy copy = {0};
    struct quoin_database *db;
    quoin_error error = quoin_open(argc > 1 ? argv[1] : NULL, &db);

    if (error == 0) {
        error = quoin_subspace_init(&copy.blob, "example-blob", 12);
        for (copy.part = 0; error == 0 && copy.part < PARTS; copy.part++)
            error = quoin_run(db, write_part, &copy);
        if (error == 0)
            error = quoin_run(db, read_and_remove, &copy);
        quoin_subspace_done(&copy.blob);
        quoin_database_destroy(db);
    }
    if (error != 0)
        fprintf(stderr, "%s\n", quoin_error_text(error));
    return error != 0;
}
