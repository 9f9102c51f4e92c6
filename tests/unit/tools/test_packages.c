/* The reader of Debian's package index. */
#include "tools/packages.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "name|section|dep dep;" of every package of `text`, then "!error" if there was one. */
static const char *read_all(const char *text, size_t len, char out[static 4096])
{
    FILE *file = fmemopen((void *)text, len, "r");
    struct packages packages;
    struct package package;
    const char *error;
    size_t used = 0;
    int got;

    cr_assert_not_null(file);
    packages_init(&packages, file);
    out[0] = '\0';
    while ((got = packages_next(&packages, &package, &error)) == 1) {
        used += (size_t)snprintf(out + used, 4096 - used, "%.*s|%.*s|", (int)package.name.len, package.name.ptr,
                                 (int)package.section.len, (const char *)package.section.ptr);
        for (size_t i = 0; i < package.depend_count; i++)
            used += (size_t)snprintf(out + used, 4096 - used, "%s%.*s", i > 0 ? " " : "", (int)package.depends[i].len,
                                     package.depends[i].ptr);
        used += (size_t)snprintf(out + used, 4096 - used, ";");
    }
    if (got < 0)
        snprintf(out + used, 4096 - used, "!%s", error);
    packages_done(&packages);
    fclose(file);
    return out;
}

#define EXPECT(text, expected) cr_assert_str_eq(read_all(text, sizeof(text) - 1, out), expected)

Test(packages, names_sections_and_dependencies_are_found)
{
    char out[4096];

    EXPECT("Package: a\nSection: games\nDepends: libc6 (>= 2.34), b:any | c [amd64], libc6\nPre-Depends: dpkg (>= 1)\n\n"
           "Package: b\nDescription: Depends: no\n Depends: x\n",
           "a|games|b c dpkg libc6;b||;");
}

Test(packages, a_field_may_go_on_in_the_next_lines)
{
    char out[4096];

    EXPECT("Depends: a,\n b,\n\tc\nPackage: p", "p||a b c;");
}

Test(packages, empty_lines_between_records_do_not_matter)
{
    char out[4096];

    EXPECT("\n\nPackage: a\n\n\n\nPackage: b\n\n\n", "a||;b||;");
    EXPECT("\n", "");
}

Test(packages, a_record_without_a_name_is_an_error)
{
    char out[4096];

    EXPECT("Package: a\n\nSection: x\n", "a||;!a record without a Package field");
}

Test(packages, records_cross_the_pieces_in_which_the_input_is_read)
{
    size_t len = 900 * 1024, used = 0;
    char *text = malloc(len), piece[64];
    size_t count = 0;
    struct packages packages;
    struct package package;
    const char *error;
    FILE *file;

    while (used + 4000 < len) {
        used += (size_t)snprintf(text + used, len - used, "Package: p%zu\nX: ", count);
        memset(text + used, 'x', count % 3000);
        used += count % 3000;
        used += (size_t)snprintf(text + used, len - used, "\nDepends: d%zu\n\n", count++);
    }
    file = fmemopen(text, used, "r");
    packages_init(&packages, file);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(packages_next(&packages, &package, &error), 1);
        snprintf(piece, sizeof(piece), "d%zu", i);
        cr_assert_eq(package.depend_count, 1);
        cr_assert(bytes_equal(package.depends[0], bytes_of_string(piece)), "%zu", i);
    }
    cr_assert_eq(packages_next(&packages, &package, &error), 0);
    packages_done(&packages);
    fclose(file);
    free(text);
}

Test(packages, a_record_that_never_ends_is_refused)
{
    size_t len = PACKAGE_RECORD_BYTES_MAX * 3;
    char *text = malloc(len), out[4096];

    memset(text, 'x', len);
    memcpy(text, "Package: ", 9);
    cr_assert_str_eq(read_all(text, len, out), "!a record of more than a MiB");
    free(text);
}
