/* The metadata's keys and values: formats of what stands under \xff.
 *
 *   \xff/conf/redundancy            "single" | "double" | "triple"
 *   \xff/conf/storage_engine        "lmdb" | "memory"
 *   \xff/conf/{logs,commit_proxies,grv_proxies,resolvers}   decimal text
 *   \xff/serverList/<id BE 8>       struct server_value (msgpack): where a storage server is, its zone and tag
 *   \xff/keyServers/<begin>         struct key_servers_value (FoundationDB's format, key_servers.h): the team of the shard that
 *                                   begins there; it ends at the next such key (the last shard at \xff\xff)
 *   \xff/serverKeys/<id BE 8>/<begin>  struct server_keys_value (msgpack): what server <id> does with [begin, end) from this
 *                                   version on. The proxies turn each SET into a private mutation in that server's tag.
 *   \xff/moveKeysLock             8 bytes big-endian: the id of the data distributor, whose changes of shards alone count
 *   \xff/nextTag                    decimal text: tags below it have been used and never will be again
 *   \xff/removedTags/<tag BE 8>     server id (8 bytes BE): that server was removed, in the same transaction that cleared it from serverList.
 *                                   It is how a server that returns later learns of it
 *   \xff/removedTagsBelow           8 bytes BE: below it every tag that serverList does not name is that of a removed server, or of one that
 *                                   never will be listed. What removedTags had is cleared where this is raised: so little is kept for ever
 *   \xff/dbLocked                   present: the database is locked; 16 bytes of the locker's id
 *   \xff/metadataVersion            10 bytes, a versionstamp
 *   \xff/lastEpoch                  decimal text: written by each recovery transaction
 *   \xff/coordinators               text, as in a cluster file: the same
 *
 * Everything below \xff but for \xff\x02.. is metadata. */
#pragma once

#include "net/bytes.h"
#include "net/message.h"
#include "txn/key_servers.h"
#include "txn/keys.h"
#include "txn/messages.h"

/* Of rack, hall and data centre, "" is: not given. */
#define FIELDS_server_value(F, S, A, L) \
    S(wire_endpoint, endpoint) F(bytes, zone) F(u32, tag) F(u32, engine) F(bytes, rack) F(bytes, hall) F(bytes, data_center)
SCHEMA_DECLARE(server_value)

#define KEY_CONF_PREFIX BYTES_LITERAL("\xff/conf/")
#define KEY_CONF_END BYTES_LITERAL("\xff/conf0")
#define KEY_CONF_REDUNDANCY BYTES_LITERAL("\xff/conf/redundancy")
#define KEY_CONF_ENGINE BYTES_LITERAL("\xff/conf/storage_engine")
#define KEY_CONF_LOGS BYTES_LITERAL("\xff/conf/logs")
#define KEY_CONF_COMMIT_PROXIES BYTES_LITERAL("\xff/conf/commit_proxies")
#define KEY_CONF_GRV_PROXIES BYTES_LITERAL("\xff/conf/grv_proxies")
#define KEY_CONF_RESOLVERS BYTES_LITERAL("\xff/conf/resolvers")
#define KEY_SERVER_LIST_PREFIX BYTES_LITERAL("\xff/serverList/")
#define KEY_KEY_SERVERS_PREFIX BYTES_LITERAL("\xff/keyServers/")
#define KEY_SERVER_KEYS_PREFIX BYTES_LITERAL("\xff/serverKeys/")
#define KEY_MOVE_KEYS_LOCK BYTES_LITERAL("\xff/moveKeysLock")
#define KEY_NEXT_TAG BYTES_LITERAL("\xff/nextTag")
#define KEY_REMOVED_TAGS_PREFIX BYTES_LITERAL("\xff/removedTags/")
#define KEY_REMOVED_TAGS_END BYTES_LITERAL("\xff/removedTags0")
#define KEY_REMOVED_TAGS_BELOW BYTES_LITERAL("\xff/removedTagsBelow")
#define KEY_DB_LOCKED BYTES_LITERAL("\xff/dbLocked")
#define KEY_COORDINATORS BYTES_LITERAL("\xff/coordinators")
#define KEY_LAST_EPOCH BYTES_LITERAL("\xff/lastEpoch")

/* True for keys whose mutations go to every log and change proxies' caches: [\xff, \xff\xff) but for [\xff\x02, \xff\x03). */
bool system_key_is_metadata(struct bytes key);
/* True when any part of [begin, end) is metadata. */
bool system_range_touches_metadata(struct bytes begin, struct bytes end);

/* Builders: append the key to an empty buffer. 0 or ERROR_OUT_OF_MEMORY. */
int system_key_server_list(struct bytes_buffer *out, uint64_t server_id);
int system_key_key_servers(struct bytes_buffer *out, struct bytes begin);
int system_key_server_keys(struct bytes_buffer *out, uint64_t server_id, struct bytes begin);
enum { SYSTEM_KEY_REMOVED_TAG_BYTES = 22 };
/* The same, in place. */
struct bytes system_key_removed_tag(tag_t tag, uint8_t ret_key[SYSTEM_KEY_REMOVED_TAG_BYTES]);
/* Parsers: false when `key` is not of that form. *ret_begin borrows from key. */
bool system_key_parse_server_list(struct bytes key, uint64_t *ret_server_id);
bool system_key_parse_key_servers(struct bytes key, struct bytes *ret_begin);
bool system_key_parse_server_keys(struct bytes key, uint64_t *ret_server_id, struct bytes *ret_begin);

/* The private mutation made of a serverKeys SET: MUTATION_PRIVATE_ASSIGN with param1 = begin and param2 = the
 * server_keys_value, unchanged. */

/* The configuration, with defaults filled in. replication is 1, 2 or 3. */
struct configuration {
    uint32_t replication;
    uint32_t engine; /* enum engine_kind */
    uint32_t logs, commit_proxies, grv_proxies, resolvers;
};
struct kv_map;
void configuration_read(const struct kv_map *metadata, struct configuration *ret);
/* Appends the SETs that make it so. */
int configuration_write(struct bytes_buffer *mutations, const struct configuration *configuration);
const char *redundancy_name(uint32_t replication); /* "single", "double", "triple", "unknown" */
const char *engine_name(uint32_t engine);          /* "lmdb", "memory", "unknown" */
/* 0: unknown name. "ssd", "ssd-2", "ssd-redwood-1" mean lmdb. */
uint32_t redundancy_parse(struct bytes name);
uint32_t engine_parse(struct bytes name);
