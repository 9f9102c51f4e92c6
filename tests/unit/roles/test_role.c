#include <criterion/criterion.h>

#include "net/mem.h"
#include "roles/role.h"

Test(role, a_directory_names_kind_and_id)
{
    char path[ROLE_PATH_MAX];

    cr_assert_str_eq(role_directory("/data", ROLE_LOG, 0xab, path), "/data/log-00000000000000ab");
    cr_assert_str_eq(role_directory("d", ROLE_STORAGE, UINT64_MAX, path), "d/storage-ffffffffffffffff");
}

Test(role, metrics_keep_their_order)
{
    struct role_status status = {0};
    struct arena arena = {0};

    for (int i = 0; i < 37; i++)
        role_metric(&status, &arena, i % 2 ? "odd" : "even", i);
    cr_assert_eq(status.metrics_count, 37);
    for (int i = 0; i < 37; i++) {
        cr_assert_eq(status.metrics[i].value, i);
        cr_assert(bytes_equal(status.metrics[i].name, bytes_of_string(i % 2 ? "odd" : "even")));
    }
    arena_done(&arena);
}

Test(role, a_metric_that_finds_no_memory_is_left_out)
{
    struct role_status status = {0};
    struct arena arena = {0};

    role_metric(&status, &arena, "a", 1);
    mem_fail_nth(1);
    for (int i = 0; i < 200; i++)
        role_metric(&status, &arena, "b", i);
    cr_assert(mem_fail_fired());
    mem_fail_nth(0);
    cr_assert_leq(status.metrics_count, 200);
    cr_assert_eq(status.metrics[0].value, 1);
    arena_done(&arena);
}
