/* Who holds a shard: the values of \xff/keyServers/<begin> and \xff/serverKeys/<server>/<begin>, and how to write them.
 *
 * A keyServers value is FoundationDB's own, so that tools which decode it, not only its key, work here (byte table below). A
 * shard names its source team (the servers that answer reads) and, while it moves, its destination team. It ends at the next
 * such key; the last one, \xff/keyServers/\xff\xff, has an empty value and begins no shard.
 *
 *   | bytes  | what                                                               |
 *   | 8      | LE 0x0FDB00B062010001: the protocol version that fixed this format |
 *   | 4      | LE number of source servers                                        |
 *   | 16 each| LE server id (8), zeros (8)                                        |
 *   | 4      | LE number of destination servers                                   |
 *   | 16 each| LE server id (8), zeros (8)                                        |
 *
 * Valid if and only if the ids of a team ascend, without repeats, and nothing follows. The empty value names nobody. (FoundationDB
 * also has a form that names tags and one with ids of moves; both need other keys to be understood, and it still reads this one.)
 *
 * A serverKeys value is ours: what the server does with [begin, end) from this version on, as a msgpack struct. Pure. */
#pragma once

#include "net/arena.h"
#include "net/bytes.h"
#include "net/message.h"

enum { KEY_SERVERS_HEADER_BYTES = 8, KEY_SERVERS_ID_BYTES = 16, KEY_SERVERS_TEAM_MAX = 1024 };

/* Both arrays: borrowed when written, of the arena when read. destination: empty unless the shard is moving. */
struct key_servers_value {
    const uint64_t *source;
    uint32_t source_count;
    const uint64_t *destination;
    uint32_t destination_count;
};

/* OWNED_EMPTY: from birth, there is nothing to fetch (a new database). */
enum server_keys_state { SERVER_KEYS_NONE, SERVER_KEYS_OWNED_EMPTY, SERVER_KEYS_FETCH, SERVER_KEYS_READY };
#define FIELDS_server_keys_value(F, S, A, L) F(u32, state) F(bytes, end)
SCHEMA_DECLARE(server_keys_value)

/* Appends the value; ids may come in any order, a repeated one is written once. A team is at most KEY_SERVERS_TEAM_MAX. 0 or
 * ERROR_OUT_OF_MEMORY. */
int key_servers_encode(const struct key_servers_value *value, struct bytes_buffer *out);
/* 0, ERROR_SERIALIZATION_FAILED or ERROR_OUT_OF_MEMORY. */
int key_servers_decode(struct bytes packed, struct arena *arena, struct key_servers_value *ret);

/* Append the mutation that makes it so. 0 or ERROR_OUT_OF_MEMORY (nothing appended). */
int key_servers_set(struct bytes_buffer *mutations, struct bytes begin, const struct key_servers_value *value);
int server_keys_set(struct bytes_buffer *mutations, uint64_t server_id, struct bytes begin, struct bytes end,
                    enum server_keys_state state);
