/* quoin-forge: makes what no sane program sends or writes, for the tests of bad input.
 *
 *   quoin-forge hello VERSION CLUSTER client|PORT   a hello frame on stdout: of a client, or of a server at 127.0.0.1:PORT
 *   quoin-forge frame TYPE BYTES                    a frame with a right hash, and a body of that many zero bytes
 *   quoin-forge format FILE NUMBER                  a data directory's identity, as if a program of that format had written it
 *
 * VERSION is hexadecimal or "ours"; CLUSTER is both halves of a cluster id. */
#include "net/env_posix.h"
#include "net/error.h"
#include "net/mem.h"
#include "net/rpc_internal.h"
#include "storage/diskqueue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOPBACK = 0x7f000001, BODY_BYTES_MAX = 1 << 20 };

#define FIELDS_blob(F, S, A, L) F(bytes, body)
SCHEMA_DECLARE(blob)
#define SELF struct blob
SCHEMA_DEFINE(blob, blob_fields)
#undef SELF

static int print_frame(const struct frame *head, const struct schema *schema, const void *body)
{
    struct bytes_buffer out = {0};
    int error = frame_append(&out, head, schema, body);

    if (error == 0 && fwrite(out.ptr, 1, out.len, stdout) != out.len)
        error = ERROR_IO_ERROR;
    bytes_buffer_done(&out);
    return error;
}

static int forge_hello(const char *version, const char *cluster, const char *who)
{
    const struct frame head = {.type = RPC_TYPE_HELLO};
    struct rpc_hello hello = {.version = strcmp(version, "ours") == 0 ? QUOIN_PROTOCOL_VERSION : strtoull(version, NULL, 16),
                              .cluster_high = strtoull(cluster, NULL, 16),
                              .cluster_low = strtoull(cluster, NULL, 16),
                              .client = strcmp(who, "client") == 0};

    if (!hello.client) {
        hello.address.ip = LOOPBACK;
        hello.address.port = (uint16_t)atoi(who);
    }
    return print_frame(&head, &schema_rpc_hello, &hello);
}

static int forge_frame(const char *type, const char *bytes)
{
    static const uint8_t zeros[BODY_BYTES_MAX];
    struct frame head = {.type = (uint16_t)atoi(type), .request_id = 1, .endpoint_id = 1};
    struct blob blob = {.body = bytes_of(zeros, strtoul(bytes, NULL, 10))};

    return blob.body.len > sizeof(zeros) ? ERROR_INVALID_OPTION_VALUE : print_frame(&head, &schema_blob, &blob);
}

static int forge_format(const char *file, const char *number)
{
    const struct env_posix_options options = {.trace_stderr = true};
    struct bytes record, changed;
    struct arena arena = {0};
    struct slots *slots = NULL;
    struct env *env;
    int error = env_posix_create(&options, &env);

    if (error != 0)
        return error;
    error = slots_open(env, file, &arena, &record, &slots);
    if (error == 0)
        error = arena_copy(&arena, record, &changed);
    if (error == 0) {
        put_le32((uint8_t *)changed.ptr, (uint32_t)atoi(number));
        error = slots_write_now(slots, changed);
    }
    slots_close(slots);
    arena_done(&arena);
    env_posix_destroy(env);
    return error;
}

int main(int argc, char **argv)
{
    int error = ERROR_INVALID_OPTION;

    mem_set_fatal(true);
    if (argc == 5 && strcmp(argv[1], "hello") == 0)
        error = forge_hello(argv[2], argv[3], argv[4]);
    else if (argc == 4 && strcmp(argv[1], "frame") == 0)
        error = forge_frame(argv[2], argv[3]);
    else if (argc == 4 && strcmp(argv[1], "format") == 0)
        error = forge_format(argv[2], argv[3]);
    if (error != 0)
        fprintf(stderr, "quoin-forge: %s\n", error_text(error));
    return error != 0;
}
