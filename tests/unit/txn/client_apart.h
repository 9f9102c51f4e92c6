/* The fakes' servers in a process of their own, so that what fails here is the client's. */
#pragma once

#include <sys/types.h>

#include "tests/unit/txn/client_fakes.h"

struct apart {
    pid_t pid;
    struct address address;
};

struct apart serve_apart(void);
void end_apart(struct apart *apart);
