/* Any bytes as a cluster file: coordinators without doubles, or a complaint. */
#include <assert.h>

#include "tests/fuzz/fuzz_input.h"
#include "txn/client/cluster_file.h"

int fuzz_input(const uint8_t *data, size_t size)
{
    struct cluster_file file;
    char why[40] = "";

    if (cluster_file_parse(bytes_of(data, size), &file, why, sizeof(why)) != 0) {
        assert(why[0] != '\0' && strlen(why) < sizeof(why));
        return 0;
    }
    assert(file.coordinator_count >= 1 && file.coordinator_count <= CLUSTER_FILE_COORDINATORS_MAX);
    for (uint32_t i = 0; i < file.coordinator_count; i++) {
        assert(file.coordinators[i].port >= 1 && file.coordinators[i].port <= 65535);
        for (uint32_t n = 0; n < i; n++)
            assert(!address_equal(file.coordinators[i], file.coordinators[n]));
    }
    return 0;
}
