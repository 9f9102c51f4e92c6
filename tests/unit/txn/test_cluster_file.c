#include <criterion/criterion.h>

#include "net/error.h"
#include "txn/client/cluster_file.h"

static int parse(const char *text, struct cluster_file *file, char why[128])
{
    return cluster_file_parse(bytes_of_string(text), file, why, 128);
}

static void refuses(const char *text, const char *reason)
{
    struct cluster_file file = {.coordinator_count = 77};
    char why[128];

    cr_assert_eq(parse(text, &file, why), ERROR_CONNECTION_STRING_INVALID, "%s", text);
    cr_assert_not_null(strstr(why, reason), "'%s' in '%s'", reason, why);
    cr_assert_eq(file.coordinator_count, 77u);
}

Test(cluster_file, takes_comments_blanks_and_several_coordinators)
{
    struct cluster_file file;
    char why[128];

    cr_assert_eq(parse("# here\n\n  my_db:Ab1@127.0.0.1:4500, 10.0.0.2:4501 # two\n", &file, why), 0, "%s", why);
    cr_assert_str_eq(file.description, "my_db");
    cr_assert_str_eq(file.id, "Ab1");
    cr_assert_eq(file.coordinator_count, 2u);
    cr_assert_eq(file.coordinators[1].ip, 0x0a000002u);
    cr_assert_eq(file.coordinators[1].port, 4501u);
}

Test(cluster_file, says_line_and_reason)
{
    refuses("", "no line");
    refuses("# only\n", "no line");
    refuses("# x\nabc", "line 2: no '@'");
    refuses("abc@1.2.3.4:5", "no ':'");
    refuses("a-b:c@1.2.3.4:5", "line 1: '-'");
    refuses("a:b_c@1.2.3.4:5", "of the ID");
    refuses(":b@1.2.3.4:5", "description is empty");
    refuses("a:@1.2.3.4:5", "ID is empty");
    refuses("a:b@", "is not ip:port");
    refuses("a:b@1.2.3.4:5,", "is not ip:port");
    refuses("a:b@1.2.3.4:99999", "is not ip:port");
    refuses("a:b@1.2.3.4:5,1.2.3.4:5", "twice");
    refuses("a:b@1.2.3.4:5:tls", "TLS");
    refuses("a:b@1.2.3.4:5\nc:d@1.2.3.4:6\n", "line 2: a second line");
}

Test(cluster_file, every_cut_of_a_good_file_is_handled)
{
    const char *text = "name:ID@127.0.0.1:4500,127.0.0.1:4501\n";
    struct cluster_file file;
    char why[8]; /* too short on purpose */

    for (size_t len = 0; len <= strlen(text); len++) {
        int error = cluster_file_parse(bytes_of(text, len), &file, why, sizeof(why));

        cr_assert(error == 0 || error == ERROR_CONNECTION_STRING_INVALID);
        cr_assert(error == 0 || memchr(why, '\0', sizeof(why)) != NULL);
    }
    cr_assert_eq(file.coordinator_count, 2u);
}
