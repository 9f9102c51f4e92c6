/* A cluster inside a program: its data stays, its directory is one process's, and nothing is left behind. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "txn/client/include/quoin/quoin.h"

static char root[] = "/tmp/quoin-embedded-XXXXXX";
static char name[128];

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

static void setup(void)
{
    cr_assert(mkdtemp(root) != NULL);
    snprintf(name, sizeof(name), "embedded:%s/a/b", root);
}

static void teardown(void)
{
    nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(embedded, .init = setup, .fini = teardown, .timeout = 60);

static quoin_error put(struct quoin_transaction *transaction, void *context)
{
    return quoin_transaction_set(transaction, "k", 1, context, (int)strlen(context));
}

/* The value as text; "" if there is none. */
static quoin_error look(struct quoin_transaction *transaction, void *context)
{
    struct quoin_future *future = quoin_transaction_get(transaction, "k", 1, false);
    const uint8_t *value;
    bool present;
    int length, error;

    quoin_future_block_until_ready(future);
    error = quoin_future_get_value(future, &present, &value, &length);
    if (error == 0)
        snprintf(context, 32, "%.*s", present ? length : 0, present ? (const char *)value : "");
    quoin_future_destroy(future);
    return error;
}

static struct quoin_database *must_open(const char *cluster)
{
    struct quoin_database *db = NULL;
    int error = quoin_open(cluster, &db);

    cr_assert(error == 0, "%d %s", error, quoin_open_why());
    return db;
}

static void expect_value(struct quoin_database *db, const char *value)
{
    char found[32] = "?";

    cr_assert(quoin_run(db, look, found) == 0);
    cr_assert_str_eq(found, value);
}

Test(embedded, what_was_committed_is_there_after_a_close)
{
    struct quoin_database *db = must_open(name);

    expect_value(db, "");
    cr_assert(quoin_run(db, put, "kept") == 0);
    quoin_database_destroy(db);
    for (int i = 0; i < 3; i++) {
        db = must_open(name);
        expect_value(db, "kept");
        quoin_database_destroy(db);
    }
    cr_assert(quoin_network_stop() == 0);
}

/* Runs in the child until it is killed: commits, and says so. */
static void commit_and_wait(int out)
{
    struct quoin_database *db;

    if (quoin_open(name, &db) == 0 && quoin_run(db, put, "survives") == 0)
        (void)!write(out, "y", 1);
    for (;;)
        pause();
}

static pid_t start_child(void)
{
    int ends[2];
    char byte = 0;
    pid_t child;

    cr_assert(pipe(ends) == 0);
    child = fork();
    if (child == 0)
        commit_and_wait(ends[1]);
    cr_assert(read(ends[0], &byte, 1) == 1 && byte == 'y');
    return child;
}

Test(embedded, another_process_is_refused_and_a_kill_loses_nothing)
{
    pid_t child = start_child();
    struct quoin_database *db;
    char pid[32];

    snprintf(pid, sizeof(pid), "process %d;", (int)child);
    cr_assert(quoin_open(name, &db) == 1529);
    cr_assert(strstr(quoin_open_why(), root) != NULL && strstr(quoin_open_why(), pid) != NULL, "%s", quoin_open_why());
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    db = must_open(name);
    expect_value(db, "survives");
    quoin_database_destroy(db);
    cr_assert(quoin_network_stop() == 0);
}

Test(embedded, one_process_shares_a_directory_under_any_of_its_names)
{
    struct quoin_database *one = must_open(name), *other;
    char long_way[256];

    snprintf(long_way, sizeof(long_way), "embedded:%s/a/../a/b", root);
    other = must_open(long_way);
    cr_assert(quoin_run(one, put, "shared") == 0);
    expect_value(other, "shared");
    quoin_database_destroy(one);
    expect_value(other, "shared");
    quoin_database_destroy(other);
    cr_assert(quoin_network_stop() == 0);
}

Test(embedded, two_directories_are_two_clusters)
{
    struct quoin_database *one = must_open(name), *other;
    char second[256];

    snprintf(second, sizeof(second), "embedded:%s/c", root);
    other = must_open(second);
    cr_assert(quoin_run(one, put, "first") == 0);
    expect_value(other, "");
    quoin_database_destroy(other);
    quoin_database_destroy(one);
    cr_assert(quoin_network_stop() == 0);
}

static int count_scratch(void)
{
    DIR *directory = opendir("/dev/shm");
    struct dirent *entry;
    int count = 0;

    cr_assert(directory != NULL);
    while ((entry = readdir(directory)) != NULL) {
        char path[512], pid[32] = "";
        FILE *file;

        snprintf(path, sizeof(path), "/dev/shm/%s/lock", entry->d_name);
        file = strncmp(entry->d_name, "quoin-memory-", 13) == 0 ? fopen(path, "r") : NULL;
        if (file != NULL && fgets(pid, sizeof(pid), file) != NULL)
            count += atoi(pid) == getpid();
        if (file != NULL)
            fclose(file);
    }
    closedir(directory);
    return count;
}

Test(embedded, memory_is_private_unless_it_is_named_and_goes_with_the_close)
{
    struct quoin_database *one = must_open("memory:"), *other = must_open("memory:"), *a = must_open("memory:x"), *b = must_open("memory:x");

    cr_assert(quoin_run(one, put, "mine") == 0);
    cr_assert(quoin_run(a, put, "ours") == 0);
    expect_value(other, "");
    expect_value(b, "ours");
    cr_assert(count_scratch() == 3);
    quoin_database_destroy(one);
    quoin_database_destroy(other);
    quoin_database_destroy(a);
    quoin_database_destroy(b);
    cr_assert(count_scratch() == 0);
    cr_assert(quoin_network_stop() == 0);
}

Test(embedded, the_environment_and_a_connection_string_name_it_as_well)
{
    struct quoin_database *db = NULL;

    setenv("QUOIN_CLUSTER_FILE", name, 1);
    db = must_open(NULL);
    cr_assert(quoin_run(db, put, "env") == 0);
    quoin_database_destroy(db);
    cr_assert(quoin_open_text(name, &db) == 0);
    expect_value(db, "env");
    quoin_database_destroy(db);
    cr_assert(quoin_network_stop() == 0);
}

Test(embedded, what_can_not_be_a_directory_is_an_error_that_names_it)
{
    struct quoin_database *db;
    char path[128];
    FILE *file;

    cr_assert(quoin_open("embedded:", &db) == 2104);
    snprintf(path, sizeof(path), "%s/file", root);
    file = fopen(path, "w");
    cr_assert(file != NULL);
    fclose(file);
    snprintf(path, sizeof(path), "embedded:%s/file", root);
    cr_assert(quoin_open(path, &db) == 1510);
    cr_assert(strstr(quoin_open_why(), "/file") != NULL, "%s", quoin_open_why());
    snprintf(path, sizeof(path), "embedded:%s/file/below", root);
    cr_assert(quoin_open(path, &db) == 1510);
    cr_assert(quoin_network_stop() == 0);
}
