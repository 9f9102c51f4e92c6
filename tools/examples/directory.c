/* Directories: long names for short prefixes; a move leaves the contents where they are.
 *
 *   example-directory [CLUSTER_FILE] */
#include <quoin/layers.h>
#include <stdio.h>
#include <string.h>

static quoin_error print_names(struct quoin_transaction *t, struct quoin_directory *root)
{
    struct quoin_names *names;
    quoin_error error = quoin_directory_list(t, root, QUOIN_PATH(QUOIN_TEXT("example-app")), &names);

    if (error != 0)
        return error;
    for (int i = 0; i < names->count; i++)
        printf("%.*s\n", names->names[i].length, (const char *)names->names[i].data);
    quoin_names_destroy(names);
    return 0;
}

static quoin_error use(struct quoin_transaction *t, struct quoin_directory *root)
{
    struct quoin_directory *users = NULL, *people = NULL;
    struct quoin_subspace before = {0}, after = {0};
    quoin_error error = quoin_directory_create_or_open(t, root, QUOIN_PATH(QUOIN_TEXT("example-app"), QUOIN_TEXT("users")), NULL, 0, &users);

    if (error == 0)
        error = quoin_directory_move_to(t, users, QUOIN_PATH(QUOIN_TEXT("example-app"), QUOIN_TEXT("people")), &people);
    if (error == 0)
        error = quoin_directory_subspace(users, &before);
    if (error == 0)
        error = quoin_directory_subspace(people, &after);
    if (error == 0)
        error = print_names(t, root);
    if (error == 0)
        printf("%s prefix\n", memcmp(before.prefix.data, after.prefix.data, (size_t)before.prefix.length) == 0 ? "same" : "other");
    if (error == 0)
        error = quoin_directory_remove(t, root, QUOIN_PATH(QUOIN_TEXT("example-app")), NULL);
    quoin_subspace_done(&before);
    quoin_subspace_done(&after);
    quoin_directory_destroy(users);
    quoin_directory_destroy(people);
    return error;
}

static quoin_error body(struct quoin_transaction *t, void *context)
{
    struct quoin_directory *root;
    quoin_error error = quoin_directory_root(NULL, NULL, false, &root);

    (void)context;
    if (error == 0) {
        error = use(t, root);
        quoin_directory_destroy(root);
    }
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
