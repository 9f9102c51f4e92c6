/* Would the processes do? What is asked of a status document before a change. */
#include <criterion/criterion.h>

#include "tools/cli_processes.h"

/* "class zone excluded" a process, from 10.0.0.1:4500 on. */
static json_t *document_of(const char *const *processes, size_t count)
{
    json_t *list = json_object();

    for (size_t i = 0; i < count; i++) {
        char class[16], zone[16], id[24], address[40];
        int excluded;

        cr_assert_eq(sscanf(processes[i], "%15s %15s %d", class, zone, &excluded), 3);
        snprintf(id, sizeof(id), "%zu", i);
        snprintf(address, sizeof(address), "10.0.0.1:%zu", 4500 + i);
        json_object_set_new(list, id, json_pack("{s:s, s:s, s:s, s:b}", "address", address, "class_type", class, "fault_domain", zone,
                                                "excluded", excluded));
    }
    return json_pack("{s:{s:o, s:{s:s, s:i}}}", "cluster", "processes", list, "configuration", "redundancy_mode", "double",
                     "commit_proxies", 3);
}

#define READ(document, processes, arena, ...)                                          \
    const char *const texts[] = {__VA_ARGS__};                                         \
    json_t *document = document_of(texts, sizeof(texts) / sizeof(texts[0]));           \
    struct arena arena = {0};                                                          \
    struct operator_processes processes;                                                    \
    cr_assert(cli_processes_read(document, &arena, &processes))

static void done(json_t *document, struct arena *arena)
{
    json_decref(document);
    arena_done(arena);
}

Test(cli_processes, what_a_document_says_of_processes_is_read)
{
    READ(document, p, arena, "log a 0", "storage b 1", "nonsense c 0");

    cr_assert_eq(p.count, 3);
    cr_assert(p.replication == 2 && p.commit_proxies == 3 && p.grv_proxies == 1);
    cr_assert_eq(operator_processes_at(&p, (struct address){0x0a000001, 4501})->process_class, CLASS_STORAGE);
    cr_assert(operator_processes_at(&p, (struct address){0x0a000001, 4501})->excluded);
    cr_assert_not_null(operator_processes_at(&p, (struct address){0x0a000001, 0}));
    cr_assert_null(operator_processes_at(&p, (struct address){0x0a000002, 0}));
    cr_assert_null(operator_processes_at(&p, (struct address){0x0a000001, 9}));
    done(document, &arena);
}

Test(cli_processes, without_a_controller_nothing_is_known)
{
    json_t *document = json_pack("{s:{}}", "cluster");
    struct operator_processes processes;
    struct arena arena = {0};

    cr_assert_not(cli_processes_read(document, &arena, &processes));
    done(document, &arena);
}

Test(cli_processes, copies_need_zones_that_are_not_excluded)
{
    char why[512];
    READ(document, p, arena, "log a 0", "log a 0", "storage b 0", "storage c 1", "stateless d 0");

    cr_assert_eq(operator_processes_zones(&p, ROLE_LOG), 2);
    cr_assert_eq(operator_processes_hosts(&p, ROLE_STORAGE), 1, "the distributor recruits none on the logs' processes");
    cr_assert_not(operator_processes_suffice(&p, 2, why, sizeof(why)));
    cr_assert_not_null(strstr(why, "those that are left are in 2 and 1"));
    p.list[0].stores = p.list[1].stores = true; /* the database was made on them */
    cr_assert_eq(operator_processes_hosts(&p, ROLE_STORAGE), 3);
    cr_assert(operator_processes_suffice(&p, 2, why, sizeof(why)));
    cr_assert_not(operator_processes_suffice(&p, 3, why, sizeof(why)));
    cr_assert_not_null(strstr(why, "`triple' needs"));
    done(document, &arena);
}

Test(cli_processes, places_are_those_that_recruitment_would_fill)
{
    READ(document, p, arena, "log a 0", "unset b 0", "storage c 0", "stateless d 0", "stateless e 1");

    cr_assert_eq(operator_processes_places(&p, ROLE_LOG), 2);
    cr_assert_eq(operator_processes_places(&p, ROLE_COMMIT_PROXY), 1);
    p.list[3].excluded = true;
    cr_assert_eq(operator_processes_places(&p, ROLE_COMMIT_PROXY), 1, "that of no class stands in");
    done(document, &arena);
}
