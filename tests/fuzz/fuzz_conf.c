/* Any bytes as a quoin.conf: a conf or one line of complaint. */
#include "tools/quoinmon_conf.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("conf", 0);
    char path[64], error[256] = "";
    struct conf conf;

    assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (conf_load(path, "/bin/quoind", &conf, error, sizeof(error))) {
        for (size_t i = 0; i < conf.process_count; i++)
            assert(conf.processes[i].argv[0] != NULL && conf_find(&conf, conf.processes[i].id) == &conf.processes[i]);
        conf_done(&conf);
    } else {
        assert(error[0] != '\0' && strlen(error) < sizeof(error));
    }
    close(fd);
    return 0;
}
