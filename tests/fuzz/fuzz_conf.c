/* Any bytes as a quoin.conf: a conf or one line of complaint. */
#include "tests/fuzz/fuzz_input.h"
#include "tools/quoinmon_conf.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* conf_load takes a path. One file in memory serves all inputs: each overwrites the whole of it. */
static const char *file_of(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];

    if (fd < 0) {
        fd = memfd_create("conf", 0);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    assert(fd >= 0 && pwrite(fd, data, size, 0) == (ssize_t)size && ftruncate(fd, (off_t)size) == 0);
    return path;
}

int fuzz_input(const uint8_t *data, size_t size)
{
    char error[256] = "";
    struct conf conf;

    if (conf_load(file_of(data, size), "/bin/quoind", &conf, error, sizeof(error))) {
        for (size_t i = 0; i < conf.process_count; i++)
            assert(conf.processes[i].argv[0] != NULL && conf_find(&conf, conf.processes[i].id) == &conf.processes[i]);
        conf_done(&conf);
    } else {
        assert(error[0] != '\0' && strlen(error) < sizeof(error));
    }
    return 0;
}
