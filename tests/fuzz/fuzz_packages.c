/* Any bytes as a package index: names and dependencies are parts of the record, sorted and each once. */
#include "tests/fuzz/fuzz_input.h"
#include "tools/packages.h"

#include <assert.h>

int fuzz_input(const uint8_t *data, size_t size)
{
    struct packages packages;
    struct package package;
    const char *error;
    FILE *file = size > 0 ? fmemopen((void *)data, size, "r") : NULL;

    if (file == NULL)
        return 0;
    packages_init(&packages, file);
    while (packages_next(&packages, &package, &error) == 1) {
        assert(package.name.len > 0 && package.record.len <= size);
        for (size_t i = 1; i < package.depend_count; i++)
            assert(bytes_compare(package.depends[i - 1], package.depends[i]) < 0);
    }
    packages_done(&packages);
    fclose(file);
    return 0;
}
