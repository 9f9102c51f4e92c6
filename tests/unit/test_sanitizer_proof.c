/* Mistakes on purpose, one a test: each must fail in a sanitizer build, else the net has a hole.
 *
 * Not a meson test: tests/unit/run.py runs each and wants it to fail. With --leak it is a plain program that leaks, as
 * the simulator and the servers are plain programs. Nothing here is meaningful in a build without sanitizers. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv);

/* volatile, so that no compiler proves the mistake away */
static void *volatile escaped;
static volatile int thirty_two = 32;

static void leak_one(void)
{
    escaped = malloc(123);
    memset(escaped, 1, 123);
    escaped = NULL;
}

Test(sanitizer_proof, leak)
{
    leak_one();
}

Test(sanitizer_proof, overflow)
{
    volatile char *block;

    escaped = malloc(8);
    block = escaped;
    block[thirty_two] = 1;
    free(escaped);
}

Test(sanitizer_proof, undefined)
{
    volatile int shifted = 1;

    shifted = shifted << thirty_two;
}

Test(sanitizer_proof, use_after_free)
{
    volatile char *block;

    escaped = malloc(8);
    block = escaped;
    free(escaped);
    block[0] = 1;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--leak") == 0) {
        leak_one();
        return 0;
    }

    struct criterion_test_set *tests = criterion_initialize();
    int failed = 1;

    if (criterion_handle_args(argc, argv, true))
        failed = !criterion_run_all_tests(tests);
    criterion_finalize(tests);
    return failed;
}
