/* A pair of small programs for tests of the world: a server that sends back what it gets, a client that counts. */
#pragma once

#include "net/env.h"
#include "sim/world.h"

struct echo_client_stats {
    struct address server;
    uint64_t sent, received, opened, closed, accepted;
    int last_error;
    unsigned message_bytes; /* 0: 8 */
    int64_t reconnect_us;
};

extern const struct sim_program echo_server;
/* ctx: struct echo_client_stats, which outlives the client. */
extern const struct sim_program echo_client;
