/* A bare socket that speaks nonsense: the connection is closed and counted, and others are served. */
#define XXH_INLINE_ALL
#include "rpc_world.h"

#include <errno.h>
#include <xxhash.h>

/* Runs the loop until the server has closed the socket; true if it did within half a second. */
static bool closed_by_server(struct world *world, int fd)
{
    char waste[4096];

    for (int i = 0; i < 250; i++) {
        ssize_t got;

        run_for(&world->fixture, 2000);
        while ((got = recv(fd, waste, sizeof(waste), MSG_DONTWAIT)) > 0)
            ;
        if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
            return true;
    }
    return false;
}

/* After whatever bytes: the connection is closed, counted, and others are served. */
static void check_refused(struct world *world, const uint8_t *bytes, size_t len, const uint64_t *counter)
{
    uint64_t before = *counter, bad_before = rpc_counters(world->server)->bad_frames;
    int fd = dial(world->at);

    cr_assert_eq(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
    cr_assert(closed_by_server(world, fd));
    close(fd);
    cr_assert_eq(*counter, before + 1);
    cr_assert_eq(rpc_counters(world->server)->bad_frames, bad_before + 1);
    cr_assert_eq(ask_and_wait(world, world->caller, ECHO), 0);
}

Test(rpc_hostile, garbage_closes_the_connection_and_harms_nobody)
{
    struct bytes http = BYTES_LITERAL("GET / HTTP/1.1\r\nHost: here\r\nAccept: */*\r\n\r\n");
    struct world world;
    uint8_t bytes[4096];

    world_init(&world);
    memset(bytes, 0xff, sizeof(bytes));
    check_refused(&world, bytes, sizeof(bytes), &rpc_counters(world.server)->bad_length);
    check_refused(&world, http.ptr, http.len, &rpc_counters(world.server)->bad_length);
    memset(bytes, 0, sizeof(bytes));
    check_refused(&world, bytes, 4, &rpc_counters(world.server)->bad_length);
    world_done(&world);
}

Test(rpc_hostile, every_flipped_bit_of_a_hello_is_noticed)
{
    struct world world;
    uint8_t bytes[256];
    uint32_t len = hello_frame(bytes, QUOIN_PROTOCOL_VERSION, cluster_a, false);

    world_init(&world);
    for (uint32_t bit = 32; bit < len * 8; bit += 29) {
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        check_refused(&world, bytes, len, &rpc_counters(world.server)->bad_hash);
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    world_done(&world);
}

Test(rpc_hostile, frames_that_are_not_valid_after_a_hello)
{
    struct world world;
    uint8_t bytes[512];
    const struct rpc_counters *counters;
    uint32_t hello, len;

    world_init(&world);
    counters = rpc_counters(world.server);
    hello = hello_frame(bytes, QUOIN_PROTOCOL_VERSION, cluster_a, true);
    len = hello + question_frame(bytes + hello, 1, 0, "\x90", 1); /* a second hello */
    check_refused(&world, bytes, len, &counters->bad_type);
    len = hello + question_frame(bytes + hello, 10, 9, "\x90", 1);
    check_refused(&world, bytes, len, &counters->bad_type);
    len = hello + question_frame(bytes + hello, 13, 0, "\x90", 1); /* one way with a request id */
    check_refused(&world, bytes, len, &counters->bad_type);
    len = hello + question_frame(bytes + hello, 10, 0, "\x92\x01", 2);
    check_refused(&world, bytes, len, &counters->bad_body);
    len = hello + question_frame(bytes + hello, 11, 1, "\x90", 1); /* a reply to nothing */
    check_refused(&world, bytes, len, &counters->bad_sender);
    len = hello + question_frame(bytes + hello, 10, 0, "\x90", 1);
    put_le32(bytes + hello, RPC_FRAME_BYTES_MAX);
    check_refused(&world, bytes, len, &counters->bad_length);
    put_le32(bytes + hello, 27);
    check_refused(&world, bytes, len, &counters->bad_length);
    world_done(&world);
}

Test(rpc_hostile, what_only_a_newer_peer_knows_is_answered_so_and_the_connection_lives)
{
    struct world world;
    uint8_t bytes[512], heard[512];
    uint32_t hello = hello_frame(bytes, QUOIN_PROTOCOL_VERSION, cluster_a, true), len = hello;
    bool said = false;
    ssize_t got;
    int fd;

    world_init(&world);
    fd = dial(world.at);
    for (uint64_t number = 5; number <= 6; number++) {
        uint32_t more = question_frame(bytes + len, number == 5 ? 77 : 10, 0, "\x90", 1);

        put_le64(bytes + len + 24, number << 24 | 1);
        put_le64(bytes + len + 4, XXH3_64bits(bytes + len + 12, more - 12));
        len += more;
    }
    cr_assert_eq(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
    for (int i = 0; i < 250 && world.handled == 0; i++)
        run_for(&world.fixture, 2000);
    cr_assert_eq(world.handled, 1, "the request behind it is handled");
    cr_assert_eq(rpc_counters(world.server)->unknown_type, 1);
    cr_assert_eq(rpc_counters(world.server)->bad_frames, 0);
    got = recv(fd, heard, sizeof(heard), MSG_DONTWAIT);
    for (ssize_t i = 0; i + 2 < got; i++)
        said |= memcmp(heard + i, "\xcd\x08\x3c", 3) == 0; /* 2108, as msgpack has it */
    cr_assert(said);
    close(fd);
    world_done(&world);
}

Test(rpc_hostile, a_request_that_came_before)
{
    struct world world;
    uint8_t bytes[512];
    uint32_t hello = hello_frame(bytes, QUOIN_PROTOCOL_VERSION, cluster_a, true), len;
    uint8_t *frame = bytes + hello;
    int fd;

    world_init(&world);
    fd = dial(world.at);
    len = question_frame(frame, 10, 0, "\x90", 1);
    put_le64(frame + 24, UINT64_C(5) << 24 | 1); /* number 5 in slot 1 */
    put_le64(frame + 4, XXH3_64bits(frame + 12, len - 12));
    cr_assert_eq(send(fd, bytes, hello + len, MSG_NOSIGNAL), (ssize_t)(hello + len));
    for (int i = 0; i < 250 && world.handled == 0; i++)
        run_for(&world.fixture, 2000);
    cr_assert_eq(world.handled, 1);
    cr_assert_eq(send(fd, frame, len, MSG_NOSIGNAL), (ssize_t)len);
    cr_assert(closed_by_server(&world, fd));
    close(fd);
    cr_assert_eq(world.handled, 1, "it is not answered again");
    cr_assert_eq(rpc_counters(world.server)->bad_type, 1);
    world_done(&world);
}

Test(rpc_hostile, a_client_may_not_send_what_only_servers_may)
{
    struct world world;
    uint8_t bytes[512];
    uint32_t hello = hello_frame(bytes, QUOIN_PROTOCOL_VERSION, cluster_a, true);
    uint32_t len = hello + question_frame(bytes + hello, 13, 0, "\x90", 1);
    uint8_t *frame = bytes + hello;

    world_init(&world);
    put_le64(frame + 24, 0);
    put_le64(frame + 4, XXH3_64bits(frame + 12, len - hello - 12));
    check_refused(&world, bytes, len, &rpc_counters(world.server)->bad_sender);
    world_done(&world);
}

Test(rpc_hostile, a_frame_may_come_in_pieces_of_any_size)
{
    struct world world;
    uint8_t bytes[512];
    uint32_t len = hello_frame(bytes, QUOIN_PROTOCOL_VERSION, cluster_a, true);

    world_init(&world);
    world.mode = MODE_DROP;
    len += question_frame(bytes + len, 10, 0, "\x92\x05\xc4\x01x", 5);
    len += question_frame(bytes + len, 10, 0, "\x92\x05\xc4\x01x", 5);
    for (uint32_t step = 1; step < 60; step += 7) {
        unsigned before = world.handled;
        int fd = dial(world.at);

        for (uint32_t at = 0; at < len; at += step) {
            uint32_t piece = len - at < step ? len - at : step;

            cr_assert_eq(send(fd, bytes + at, piece, MSG_NOSIGNAL), (ssize_t)piece);
            run_for(&world.fixture, 100);
        }
        while (world.handled < before + 2)
            run_for(&world.fixture, 1000);
        close(fd);
    }
    cr_assert_eq(rpc_counters(world.server)->bad_frames, 0);
    world_done(&world);
}

Test(rpc_hostile, who_says_no_hello_is_closed)
{
    struct world world;
    int fd;

    world_init(&world);
    world.env->knobs.rpc_connect_timeout_us = 30000;
    fd = dial(world.at);
    cr_assert(closed_by_server(&world, fd));
    close(fd);
    world_done(&world);
}
