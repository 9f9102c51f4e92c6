/* Other coordinators in a cluster file that is there: the rest stays as it was. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/error.h"
#include "tests/unit/nth_files.h"
#include "txn/client/cluster_file_disk.h"

static char directory[] = "/tmp/quoin-cluster-file-XXXXXX";
static char path[64];

static void setup(void)
{
    cr_assert(mkdtemp(directory) != NULL);
    snprintf(path, sizeof(path), "%s/quoin.cluster", directory);
}

static void teardown(void)
{
    chmod(directory, 0700);
    unlink(path);
    cr_assert_eq(rmdir(directory), 0, "nothing else is left behind");
}

TestSuite(cluster_file_disk, .init = setup, .fini = teardown);

static void put_text(const char *text)
{
    FILE *file = fopen(path, "w");

    cr_assert(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void expect_text(const char *text)
{
    char found[1024] = "";
    FILE *file = fopen(path, "r");

    cr_assert(file != NULL);
    found[fread(found, 1, sizeof(found) - 1, file)] = '\0';
    fclose(file);
    cr_assert_str_eq(found, text);
}

static const struct address two[] = {{0x0a000001, 4500}, {0x0a000002, 4501}};

Test(cluster_file_disk, the_addresses_alone_are_replaced)
{
    struct stat info;

    put_text("# who@where: ours\n\ndesc:ID1@127.0.0.1:4500,127.0.0.1:4501 # a comment\n# the end");
    cr_assert_eq(chmod(path, 0640), 0);
    cr_assert_eq(cluster_file_update(path, two, 2), 0);
    expect_text("# who@where: ours\n\ndesc:ID1@10.0.0.1:4500,10.0.0.2:4501 # a comment\n# the end");
    cr_assert(stat(path, &info) == 0 && (info.st_mode & 0777) == 0640);
}

Test(cluster_file_disk, a_line_without_an_end_is_one)
{
    put_text("d:i@1.2.3.4:5");
    cr_assert_eq(cluster_file_update(path, two, 1), 0);
    expect_text("d:i@10.0.0.1:4500");
}

Test(cluster_file_disk, what_is_named_already_is_left_alone)
{
    put_text("d:i@10.0.0.2:4501,10.0.0.1:4500\n");
    cr_assert_eq(cluster_file_update(path, two, 2), 0);
    expect_text("d:i@10.0.0.2:4501,10.0.0.1:4500\n");
}

Test(cluster_file_disk, what_is_no_cluster_file_is_not_touched)
{
    put_text("something else\n");
    cr_assert_eq(cluster_file_update(path, two, 2), ERROR_CONNECTION_STRING_INVALID);
    expect_text("something else\n");
    unlink(path);
    cr_assert_eq(cluster_file_update(path, two, 2), ERROR_FILE_NOT_READABLE);
    cr_assert_eq(cluster_file_update(path, two, 0), ERROR_FILE_NOT_WRITABLE);
}

Test(cluster_file_disk, each_file_call_that_fails_leaves_the_file_as_it_was)
{
    FAIL_EACH(nth, nth_file_call) {
        int error;

        put_text("d:i@1.2.3.4:5\n");
        nth_begin(&nth, path);
        error = cluster_file_update(path, two, 1);
        if (nth_end(&nth))
            cr_assert(error == ERROR_FILE_NOT_READABLE || error == ERROR_FILE_NOT_WRITABLE, "call %d: %s", (int)nth.n, error_name(error));
        else
            cr_assert_eq(error, 0);
        expect_text(error == 0 ? "d:i@10.0.0.1:4500\n" : "d:i@1.2.3.4:5\n");
    }
}
