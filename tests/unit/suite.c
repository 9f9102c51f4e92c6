/* Linked into every unit test: makes a leak fail the test process.
 *
 * Criterion runs each test in a child of its own and leaves it with _exit, so LeakSanitizer's check at exit never runs;
 * this asks for it after each test and aborts on a report. */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAS_LSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_LSAN 1
#endif
#endif

#ifdef HAS_LSAN
#include <sanitizer/lsan_interface.h>

ReportHook(POST_TEST)(struct criterion_test_stats *stats)
{
    (void)stats;
}

/* Runs in the test's own process, after its body. */
__attribute__((destructor)) static void check_leaks(void)
{
    if (__lsan_do_recoverable_leak_check() != 0)
        abort();
}
#endif

/* Without this, a file with no test in a build would be an empty translation unit. */
int quoin_unit_suite_linked(void);
int quoin_unit_suite_linked(void)
{
    return 1;
}
