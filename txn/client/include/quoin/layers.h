/* Layers of libquoin: tuples, subspaces, directories, and what people build again and again on an ordered store.
 *
 *   struct quoin_subspace users;                                     // once
 *   quoin_directory_open(transaction, root, QUOIN_PATH(QUOIN_TEXT("app"), QUOIN_TEXT("users")), NULL, 0, &directory);
 *   quoin_directory_subspace(directory, &users);
 *
 *   struct quoin_tuple key = {0};                                    // in a quoin_run body
 *   quoin_subspace_start(&users, &key);                              // users' prefix
 *   quoin_tuple_add_text(&key, "ada", 3);
 *   quoin_tuple_add_int(&key, 1815);
 *   error = quoin_tuple_get(&key, &packed);                          // the first error of the four, if any
 *   quoin_transaction_set(transaction, packed.data, packed.length, value, value_length);
 *   quoin_tuple_done(&key);
 *
 * Every operation works inside the caller's transaction, so several of several layers are one atomic change. None commits and
 * none retries: hand the error that it returns to quoin_transaction_on_error, as quoin_run does. After an error a
 * transaction may hold a part of an operation's writes; do not commit it. Operations that read block the calling thread, so
 * they fail with 2026 on the network thread.
 *
 * Threads: functions that take only tuples, subspaces or a directory handle as const may run in any thread at once. Of one
 * transaction only one thread at a time may use a layer: a layer reads, decides and writes.
 *
 * Ownership: there are three kinds. A struct that you declare and zero (quoin_tuple, quoin_subspace, quoin_buffer, quoin_key_range)
 * owns the memory that its functions put in it until its *_done, which may be called on a zeroed one and twice. An opaque
 * object (quoin_unpacked, quoin_names, quoin_directory) is destroyed by its *_destroy, which accepts NULL. A quoin_slice owns
 * nothing: where it is a parameter it is read during the call, where it is a result the comment says how long it lives. No function
 * keeps a pointer that it was given, but quoin_records, which is nothing but pointers. Results are untouched on failure.
 *
 * Source of the formats: FoundationDB's tuple and directory layers; its bindings read and write the same bytes. The record
 * store, queue, counter, multimap and blob store have formats of their own, given at each.
 *
 * Errors are ints as in quoin.h; 1501 out of memory and those of the transaction can come from any function and are not
 * repeated below. */
#ifndef QUOIN_LAYERS_H
#define QUOIN_LAYERS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <quoin/quoin.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE = 2250, /* not a packed tuple, or an element of another type than asked for */
    QUOIN_ERROR_INVALID_TUPLE_INDEX = 2251,
    QUOIN_ERROR_KEY_NOT_IN_SUBSPACE = 2252,
    QUOIN_ERROR_MANUAL_PREFIXES_NOT_ENABLED = 2253,
    QUOIN_ERROR_PREFIX_IN_PARTITION = 2254,
    QUOIN_ERROR_CANNOT_OPEN_ROOT_DIRECTORY = 2255,
    QUOIN_ERROR_DIRECTORY_ALREADY_EXISTS = 2256,
    QUOIN_ERROR_DIRECTORY_DOES_NOT_EXIST = 2257,
    QUOIN_ERROR_PARENT_DIRECTORY_DOES_NOT_EXIST = 2258,
    QUOIN_ERROR_MISMATCHED_LAYER = 2259,
    QUOIN_ERROR_INVALID_DIRECTORY_LAYER_METADATA = 2260,
    QUOIN_ERROR_CANNOT_MOVE_DIRECTORY_BETWEEN_PARTITIONS = 2261,
    QUOIN_ERROR_CANNOT_USE_PARTITION_AS_SUBSPACE = 2262,
    QUOIN_ERROR_INCOMPATIBLE_DIRECTORY_VERSION = 2263,
    QUOIN_ERROR_DIRECTORY_PREFIX_NOT_EMPTY = 2264,
    QUOIN_ERROR_DIRECTORY_PREFIX_IN_USE = 2265,
    QUOIN_ERROR_INVALID_DESTINATION_DIRECTORY = 2266,
    QUOIN_ERROR_CANNOT_MODIFY_ROOT_DIRECTORY = 2267,
    QUOIN_ERROR_INVALID_UUID_SIZE = 2268,
    QUOIN_ERROR_INVALID_VERSIONSTAMP_SIZE = 2269,
};

/* ---- byte strings ---- */

/* Borrowed. data may be NULL when length is 0. */
struct quoin_slice {
    const void *data;
    int length; /* bytes */
};

/* Owned: quoin_buffer_done frees it and leaves it empty. */
struct quoin_buffer {
    uint8_t *data; /* NULL when length is 0 */
    int length;
};
void quoin_buffer_done(struct quoin_buffer *buffer);

/* The keys from `begin` (included) to `end` (not included). */
struct quoin_key_range {
    struct quoin_buffer begin, end;
};
void quoin_key_range_done(struct quoin_key_range *range);
/* All keys that begin with `prefix`. Errors: 2000 (nothing but \xff bytes, or empty: there is no end). */
quoin_error quoin_prefix_range(const void *prefix, int length, struct quoin_key_range *ret_range);

/* ---- tuples: writing ---- */

/* A tuple in the making: its packed bytes. Bytewise order of packed tuples is the order of the tuples: by the first element, then
 * the second, ...; elements by type first (null, bytes, text, nested, integers, float, double, bool, UUID, versionstamp).
 *
 * Zero it before use. The add functions remember their first error in it, do nothing from then on, and return nothing:
 * quoin_tuple_get tells. Memory is taken when the bytes outgrow what it holds (64, then doubled) and kept until quoin_tuple_done. Do
 * not copy the struct. */
struct quoin_tuple {
    uint8_t *data; /* owned */
    int length, capacity;
    int depth;    /* nested tuples that are open */
    int stamp_at; /* 1 + where the incomplete versionstamp is; 0: there is none */
    quoin_error error;
};

/* Empty again, without an error; keeps the memory. */
void quoin_tuple_reset(struct quoin_tuple *tuple);
void quoin_tuple_done(struct quoin_tuple *tuple);

void quoin_tuple_add_null(struct quoin_tuple *tuple);
void quoin_tuple_add_bytes(struct quoin_tuple *tuple, const void *data, int length);
/* UTF-8; not checked. */
void quoin_tuple_add_text(struct quoin_tuple *tuple, const char *text, int length);
void quoin_tuple_add_int(struct quoin_tuple *tuple, int64_t value);
void quoin_tuple_add_uint(struct quoin_tuple *tuple, uint64_t value);
/* The integer of that sign and big-endian magnitude: leading zeros do not count, then at most 255 bytes (else 2000). */
void quoin_tuple_add_bigint(struct quoin_tuple *tuple, bool negative, const void *magnitude, int length);
void quoin_tuple_add_float(struct quoin_tuple *tuple, float value);
void quoin_tuple_add_double(struct quoin_tuple *tuple, double value);
void quoin_tuple_add_bool(struct quoin_tuple *tuple, bool value);
/* 16 bytes; another length: 2268. */
void quoin_tuple_add_uuid(struct quoin_tuple *tuple, const void *uuid, int length);
/* 12 bytes: 10 of the transaction, 2 of the user, big-endian; another length: 2269. Ten bytes of \xff: incomplete. */
void quoin_tuple_add_versionstamp(struct quoin_tuple *tuple, const void *stamp, int length);
/* The stamp that the commit will have; quoin_tuple_get_versionstamped packs it. A second one: 2000. */
void quoin_tuple_add_incomplete_versionstamp(struct quoin_tuple *tuple, uint16_t user_version);
/* An element of a user type, 0x40 to 0x4f (else 2250): it takes the bytes as they are, so it must be the last, not nested. */
void quoin_tuple_add_user(struct quoin_tuple *tuple, int code, const void *data, int length);
/* What is added between these is a nested tuple; deeper than QUOIN_TUPLE_DEPTH_MAX: 2000. */
#define QUOIN_TUPLE_DEPTH_MAX 1000
void quoin_tuple_open(struct quoin_tuple *tuple);
void quoin_tuple_close(struct quoin_tuple *tuple); /* nothing open: 2000 */
/* A packed tuple as one nested element. Errors: 2250 (malformed), 2000 (it holds an incomplete versionstamp). */
void quoin_tuple_add_nested(struct quoin_tuple *tuple, const void *packed, int length);
/* Bytes as they are: a prefix before the first element, or a whole packed tuple as further elements. Not inside a nested one (2000). */
void quoin_tuple_add_raw(struct quoin_tuple *tuple, const void *bytes, int length);

/* The packed bytes, valid until the tuple is changed. Errors: the first of the adds'; 2000 (a nested tuple is open, or a
 * versionstamp incomplete). */
quoin_error quoin_tuple_get(const struct quoin_tuple *tuple, struct quoin_slice *ret_packed);
/* For QUOIN_SET_VERSIONSTAMPED_KEY or _VALUE: the packed bytes and 4 more that say where the stamp goes. Valid until the tuple is
 * changed. Errors: as quoin_tuple_get; 2000 (there is no incomplete versionstamp). */
quoin_error quoin_tuple_get_versionstamped(struct quoin_tuple *tuple, struct quoin_slice *ret_packed);
/* All tuples that begin with this one and have more elements. */
quoin_error quoin_tuple_range(const struct quoin_tuple *tuple, struct quoin_key_range *ret_range);

/* ---- tuples: reading ---- */

enum quoin_tuple_type {
    QUOIN_TUPLE_NULL,
    QUOIN_TUPLE_BYTES,        /* bytes */
    QUOIN_TUPLE_TEXT,         /* bytes: UTF-8, not checked, no NUL at the end */
    QUOIN_TUPLE_NESTED,       /* count, span */
    QUOIN_TUPLE_INT,          /* integer */
    QUOIN_TUPLE_BIGINT,       /* negative, bytes: an integer that int64_t does not hold; its big-endian magnitude, no leading zeros */
    QUOIN_TUPLE_FLOAT,        /* number */
    QUOIN_TUPLE_DOUBLE,       /* number */
    QUOIN_TUPLE_BOOL,         /* boolean */
    QUOIN_TUPLE_UUID,         /* bytes: 16 */
    QUOIN_TUPLE_VERSIONSTAMP, /* bytes: 12; incomplete when the first ten are \xff */
    QUOIN_TUPLE_USER,         /* code, bytes */
};

struct quoin_tuple_item {
    enum quoin_tuple_type type;
    int span;  /* items that this one takes up in the array: 1, or 1 and all that is nested in it */
    int count; /* elements of a nested tuple: the first is this item's successor, the next comes `span` further */
    int code;
    bool boolean, negative;
    int64_t integer;
    double number; /* a float's bits survive the way to double and back, but for the quiet bit of a NaN */
    struct quoin_slice bytes; /* lives as long as the quoin_unpacked */
};

/* One block of memory: items and bytes. It needs the packed bytes no more. */
struct quoin_unpacked {
    int count;                             /* elements of the tuple */
    int item_count;                        /* with all nested ones */
    const struct quoin_tuple_item *items;  /* in the order of the text */
};

/* Errors: 2250 (not a packed tuple: an unknown code, a cut element, an open nested tuple), 2268 and 2269 (a cut UUID or
 * versionstamp). Any bytes are fine as input; nested deeper than QUOIN_TUPLE_DEPTH_MAX is 2250 too. */
quoin_error quoin_tuple_unpack(const void *packed, int length, struct quoin_unpacked **ret_unpacked);
void quoin_unpacked_destroy(struct quoin_unpacked *unpacked);
/* Element `index` from 0. Errors: 2251. */
quoin_error quoin_unpacked_at(const struct quoin_unpacked *unpacked, int index, const struct quoin_tuple_item **ret_item);
/* Element `index` where it is an integer that fits, text, or bytes. Errors: 2251, 2250. */
quoin_error quoin_unpacked_int(const struct quoin_unpacked *unpacked, int index, int64_t *ret_value);
quoin_error quoin_unpacked_text(const struct quoin_unpacked *unpacked, int index, struct quoin_slice *ret_text);
quoin_error quoin_unpacked_bytes(const struct quoin_unpacked *unpacked, int index, struct quoin_slice *ret_bytes);
/* Adds an element as it was read, with all that is nested in it. */
void quoin_tuple_add_item(struct quoin_tuple *tuple, const struct quoin_tuple_item *item);

/* ---- subspaces ---- */

/* A prefix, under which keys are tuples. */
struct quoin_subspace {
    struct quoin_buffer prefix; /* owned */
};
quoin_error quoin_subspace_init(struct quoin_subspace *subspace, const void *prefix, int length);
/* Below `parent` (NULL: the whole key space) at `tuple`. Errors: as quoin_tuple_get. */
quoin_error quoin_subspace_init_tuple(struct quoin_subspace *subspace, const struct quoin_subspace *parent, const struct quoin_tuple *tuple);
void quoin_subspace_done(struct quoin_subspace *subspace);
/* Resets the tuple and makes it begin with the prefix. */
void quoin_subspace_start(const struct quoin_subspace *subspace, struct quoin_tuple *tuple);
bool quoin_subspace_contains(const struct quoin_subspace *subspace, const void *key, int length);
/* Errors: 2252; as quoin_tuple_unpack. */
quoin_error quoin_subspace_unpack(const struct quoin_subspace *subspace, const void *key, int length, struct quoin_unpacked **ret_unpacked);
/* Prefix 00 to prefix FF: all its tuples. */
quoin_error quoin_subspace_range(const struct quoin_subspace *subspace, struct quoin_key_range *ret_range);

/* ---- directories ---- */

/* A path is a list of names (UTF-8). QUOIN_PATH(QUOIN_TEXT("a"), QUOIN_TEXT("b")) lives as long as its block. */
struct quoin_path {
    const struct quoin_slice *names;
    int count;
};
#define QUOIN_TEXT(s) {(s), (int)strlen(s)}
#define QUOIN_PATH(...) \
    ((struct quoin_path){(const struct quoin_slice[]){__VA_ARGS__}, \
                         (int)(sizeof((const struct quoin_slice[]){__VA_ARGS__}) / sizeof(struct quoin_slice))})
#define QUOIN_PATH_EMPTY ((struct quoin_path){NULL, 0})

/* Short prefixes for long paths. A handle is a directory's path, prefix and layer as they were when it was opened; it is not
 * tied to the transaction, so it may be kept, and is stale when somebody removes the directory. Paths given to an operation
 * are relative to the handle. Errors of all that use a transaction: 2260 (what is stored is not a directory), 2263. */
struct quoin_directory;

/* The root: metadata below `node_prefix`, directories' contents below `content_prefix`. Defaults (NULL): \xfe and empty. With
 * allow_manual_prefixes quoin_directory_create takes a prefix. No transaction: nothing is read or written. */
quoin_error quoin_directory_root(const struct quoin_slice *node_prefix, const struct quoin_slice *content_prefix,
                                 bool allow_manual_prefixes, struct quoin_directory **ret_directory);
void quoin_directory_destroy(struct quoin_directory *directory);

/* `layer` (raw bytes) says what a directory holds; the layer "partition" makes a partition: a directory with metadata of its own
 * inside its contents, so that removing it is one range. Missing parents are made.
 * Errors: 2255 (the path is the root), 2259 (it exists with another layer than the one asked for, when one is), 2264 and 2265 (the
 * prefix is not free). */
quoin_error quoin_directory_create_or_open(struct quoin_transaction *transaction, const struct quoin_directory *parent,
                                           struct quoin_path path, const void *layer, int layer_length,
                                           struct quoin_directory **ret_directory);
/* Errors: 2255, 2257, 2259. */
quoin_error quoin_directory_open(struct quoin_transaction *transaction, const struct quoin_directory *parent, struct quoin_path path,
                                 const void *layer, int layer_length, struct quoin_directory **ret_directory);
/* `prefix` NULL: one is allocated. Errors: 2253 and 2254 (no prefix by hand here), 2255, 2256, 2264, 2265. */
quoin_error quoin_directory_create(struct quoin_transaction *transaction, const struct quoin_directory *parent, struct quoin_path path,
                                   const void *layer, int layer_length, const struct quoin_slice *prefix,
                                   struct quoin_directory **ret_directory);
/* Contents stay where they are. Errors: 2256 (the new path exists), 2257, 2258, 2261, 2266 (into itself). */
quoin_error quoin_directory_move(struct quoin_transaction *transaction, const struct quoin_directory *parent, struct quoin_path from,
                                 struct quoin_path to, struct quoin_directory **ret_directory);
/* The directory itself, to a path from the root. Errors: as move; 2267 (it is the root). */
quoin_error quoin_directory_move_to(struct quoin_transaction *transaction, const struct quoin_directory *directory,
                                    struct quoin_path absolute, struct quoin_directory **ret_directory);
/* The directory, its contents and all below it. ret_existed NULL: one that does not exist is an error (2257). Empty path: the
 * handle's own. Errors: 2267 (the root). */
quoin_error quoin_directory_remove(struct quoin_transaction *transaction, const struct quoin_directory *parent, struct quoin_path path,
                                   bool *ret_existed);
quoin_error quoin_directory_exists(struct quoin_transaction *transaction, const struct quoin_directory *parent, struct quoin_path path,
                                   bool *ret_exists);
struct quoin_names {
    int count;
    const struct quoin_slice *names; /* in order; live as long as this */
};
/* The names in a directory. Errors: 2257. */
quoin_error quoin_directory_list(struct quoin_transaction *transaction, const struct quoin_directory *parent, struct quoin_path path,
                                 struct quoin_names **ret_names);
void quoin_names_destroy(struct quoin_names *names);

/* A copy of its contents' subspace. Errors: 2262 (a partition's keys are not to be used), 2255 (the root has none). */
quoin_error quoin_directory_subspace(const struct quoin_directory *directory, struct quoin_subspace *ret_subspace);
/* These live as long as the handle. */
struct quoin_path quoin_directory_path(const struct quoin_directory *directory); /* from the root */
struct quoin_slice quoin_directory_layer(const struct quoin_directory *directory);
bool quoin_directory_is_partition(const struct quoin_directory *directory);

/* The allocator of short prefixes, for uses of its own: many transactions at once get different tuples of one integer, mostly
 * without conflicts. Only one subspace's allocator hands out what is unique in it. Errors: 2260. */
quoin_error quoin_allocate(struct quoin_transaction *transaction, const struct quoin_subspace *subspace, struct quoin_tuple *ret_tuple);

/* ---- records with indexes ---- */

/* Records are byte strings below a primary key (a tuple). Each index has any number of entries (tuples) a record, which your
 * callback reads from the record's bytes; they change in the record's own transaction, so that an index is always right.
 * Format: (0, primary key...) = record; (1, index name, entry..., (primary key...)) = empty. */
struct quoin_index_entries;
struct quoin_record_index {
    const char *name;
    /* Adds the entries of a record; the same record must always have the same. Runs in the calling thread, and must not use
     * the transaction. An error ends the operation. */
    quoin_error (*extract)(void *context, struct quoin_slice key, struct quoin_slice record, struct quoin_index_entries *entries);
    void *context;
};
/* Of an extract. Copies the tuple. Returns an error that extract may pass on; it is not lost if it does not. */
quoin_error quoin_index_add(struct quoin_index_entries *entries, const struct quoin_tuple *entry);

/* Everything in it is borrowed: it must live, unchanged, while this is used. An index added to a store that has records
 * already lacks them: put each again. */
struct quoin_records {
    const struct quoin_subspace *subspace;
    const struct quoin_record_index *indexes;
    int index_count;
};
/* A record that is there is replaced. Errors: 2103 (over 100,000 bytes), the extractor's. */
quoin_error quoin_records_put(struct quoin_transaction *transaction, const struct quoin_records *records, const struct quoin_tuple *key,
                              const void *record, int length);
quoin_error quoin_records_get(struct quoin_transaction *transaction, const struct quoin_records *records, const struct quoin_tuple *key,
                              bool *ret_present, struct quoin_buffer *ret_record);
quoin_error quoin_records_remove(struct quoin_transaction *transaction, const struct quoin_records *records, const struct quoin_tuple *key,
                                 bool *ret_existed);

/* What a query finds; its slices live until the callback returns. key and entry are packed tuples. */
struct quoin_record {
    struct quoin_slice key;
    struct quoin_slice entry;  /* of the index; empty when the primary key was asked */
    struct quoin_slice record; /* empty with keys_only */
};
#define QUOIN_STOP (-1) /* from a visitor: that is enough; the query returns 0 */
typedef quoin_error quoin_record_visitor(void *context, const struct quoin_record *record);

struct quoin_query {
    const char *index;              /* NULL: by primary key */
    const struct quoin_tuple *low;  /* NULL: from the first; else from the first that begins with it */
    const struct quoin_tuple *high; /* NULL: to the last; else to before the first that begins with it */
    bool high_included;             /* those that begin with `high` as well; with low == high: exactly these */
    bool reverse, snapshot, keys_only;
    int limit; /* 0: none; negative: 2012 */
};
/* Visits what it finds in the order of the index. Errors: 2000 (no such index), 1000 (an entry whose record is gone: somebody wrote past
 * this layer), the visitor's. */
quoin_error quoin_records_query(struct quoin_transaction *transaction, const struct quoin_records *records, const struct quoin_query *query,
                                quoin_record_visitor *visit, void *context);

/* ---- queue ---- */

/* First in, first out, in the order of commits. Pushes conflict with nothing; a pop with another that took the same item, and one that found
 * the queue empty with pushes. Format: (versionstamp) = item. A transaction that has pushed can't pop or peek before its commit (1036).
 * Other reads of the queue's keys do not conflict with pushes. */

/* `order`: 0, 1, 2, ... for the pushes of one transaction into one queue; the same twice keeps the later alone. */
quoin_error quoin_queue_push(struct quoin_transaction *transaction, const struct quoin_subspace *queue, uint16_t order, const void *item,
                             int length);
quoin_error quoin_queue_pop(struct quoin_transaction *transaction, const struct quoin_subspace *queue, bool *ret_present,
                            struct quoin_buffer *ret_item);
quoin_error quoin_queue_peek(struct quoin_transaction *transaction, const struct quoin_subspace *queue, bool *ret_present,
                             struct quoin_buffer *ret_item);
quoin_error quoin_queue_clear(struct quoin_transaction *transaction, const struct quoin_subspace *queue);

/* ---- counter ---- */

/* Adds don't read, so they conflict with nothing. Format: the subspace's prefix itself = little-endian int64. Wraps around. */
quoin_error quoin_counter_add(struct quoin_transaction *transaction, const struct quoin_subspace *counter, int64_t delta);
/* 0 before the first add. snapshot: adds meanwhile don't make this transaction fail. Errors: 2260 (8 bytes were expected). */
quoin_error quoin_counter_get(struct quoin_transaction *transaction, const struct quoin_subspace *counter, bool snapshot,
                              int64_t *ret_value);
quoin_error quoin_counter_set(struct quoin_transaction *transaction, const struct quoin_subspace *counter, int64_t value);

/* ---- multimap ---- */

/* Many values a key, each with the number of times that it was added; keys and values are tuples, in order. Adds conflict
 * with nothing. Format: ((key...), (value...)) = little-endian int64 count. */
quoin_error quoin_multimap_add(struct quoin_transaction *transaction, const struct quoin_subspace *map, const struct quoin_tuple *key,
                               const struct quoin_tuple *value);
/* Once; *ret_existed says whether there was one. */
quoin_error quoin_multimap_remove(struct quoin_transaction *transaction, const struct quoin_subspace *map, const struct quoin_tuple *key,
                                  const struct quoin_tuple *value, bool *ret_existed);
quoin_error quoin_multimap_remove_key(struct quoin_transaction *transaction, const struct quoin_subspace *map, const struct quoin_tuple *key);
/* 0: not there. */
quoin_error quoin_multimap_count(struct quoin_transaction *transaction, const struct quoin_subspace *map, const struct quoin_tuple *key,
                                 const struct quoin_tuple *value, int64_t *ret_count);
/* `value` is packed and lives until the visitor returns. QUOIN_STOP ends it. */
typedef quoin_error quoin_multimap_visitor(void *context, struct quoin_slice value, int64_t count);
quoin_error quoin_multimap_get(struct quoin_transaction *transaction, const struct quoin_subspace *map, const struct quoin_tuple *key,
                               quoin_multimap_visitor *visit, void *context);

/* ---- blob store ---- */

/* A value of any size in a subspace of its own, in chunks; what was never written reads as zeros. One transaction holds 10 MB, so a large
 * blob is written and read in several. Writes of different chunks don't conflict. Format: (0) = size, little-endian int64; (1, n) = chunk n, from
 * byte n * QUOIN_BLOB_CHUNK on, zeros at its end may be missing. Sizes and offsets are bytes. Errors: 2000 (negative), 2260. */
#define QUOIN_BLOB_CHUNK 16384
quoin_error quoin_blob_size(struct quoin_transaction *transaction, const struct quoin_subspace *blob, int64_t *ret_size);
quoin_error quoin_blob_write(struct quoin_transaction *transaction, const struct quoin_subspace *blob, int64_t offset, const void *data,
                             int length);
/* At the end. */
quoin_error quoin_blob_append(struct quoin_transaction *transaction, const struct quoin_subspace *blob, const void *data, int length);
/* Fills `out` with at most `length` bytes; fewer at the end of the blob. */
quoin_error quoin_blob_read(struct quoin_transaction *transaction, const struct quoin_subspace *blob, int64_t offset, void *out,
                            int length, int *ret_length);
/* Cuts, or extends with zeros. */
quoin_error quoin_blob_truncate(struct quoin_transaction *transaction, const struct quoin_subspace *blob, int64_t size);
quoin_error quoin_blob_remove(struct quoin_transaction *transaction, const struct quoin_subspace *blob);

#ifdef __cplusplus
}
#endif
#endif
