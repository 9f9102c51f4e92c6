/* The shards of a range as the database has them, and what the storage servers say of their sizes and loads. */
#pragma once

#include "tools/cli_shell.h"

enum { CLI_TEAM_MAX = 16 };

struct cli_server {
    uint64_t id;
    struct endpoint endpoint;
    struct bytes zone;
    int error; /* why it did not say what its shards weigh; 0: it did */
};

struct cli_shard {
    struct bytes begin, end;
    uint64_t source[CLI_TEAM_MAX], destination[CLI_TEAM_MAX];
    uint32_t source_count, destination_count;
    int64_t bytes; /* -1: nobody said */
};

/* All in the command's arena. */
struct cli_shards {
    struct cli_server *servers;
    size_t server_count;
    struct cli_shard *shards;
    size_t shard_count;
    bool more; /* only the first `limit` shards are here */
};

/* The shards that meet [begin, end), in order. False: the command has failed. */
bool cli_shards_read(struct cli *cli, struct bytes begin, struct bytes end, size_t limit, struct cli_shards *ret);
/* Fills in the shards' sizes, as far as servers answer. */
void cli_shards_weigh(struct cli *cli, struct cli_shards *shards);
const struct cli_server *cli_shards_server(const struct cli_shards *shards, uint64_t id); /* NULL: serverList does not know it */

/* Every shard of [begin, end) that the server holds, page by page. Returns 0 or why it can't be asked. */
int cli_server_loads(struct cli *cli, const struct cli_server *server, struct bytes begin, struct bytes end,
                     void (*each)(void *ctx, const struct shard_load *load), void *ctx);
