/* Mutations in their final form: the byte table that a client writes once.
 *
 * The table is opaque from the commit proxy to the log's disk and to storage. It is a sequence of records without a
 * header; an empty table is valid.
 *
 *   offset        size   field
 *   0             1      type             enum mutation_type
 *   1             1      pad1             bytes to skip between param1 and param2
 *   2             1      pad2             bytes to skip after param2
 *   3             1      flags            0
 *   4             4      param1_len       little-endian
 *   8             4      param2_len       little-endian
 *   12            .      param1           key, or the begin of a cleared range
 *   12+l1         pad1   skipped
 *   12+l1+pad1    .      param2           value, parameter, or the end of a cleared range
 *   ...           pad2   skipped
 *
 * A record is well formed if and only if it lies wholly in the table, flags is 0, pad1 and pad2 are 0 or 4, and a pad
 * that is not 0 stands in a record of type SET. Pads are what is left of a versionstamp's 4-byte offset after patching
 * (a record keeps its size, so nothing moves); a client's table has none.
 *
 * A table from a client is valid if and only if all its records are well formed and pass mutation_table_check.
 *
 * All functions are pure. A struct mutation borrows from the table. Nothing here trusts a length before it is checked
 * against the bytes at hand. */
#pragma once

#include "net/arena.h"
#include "net/bytes.h"
#include "txn/types.h"

/* FoundationDB's codes. 64 and above are private: from the proxies to storage servers, never from a client. */
enum mutation_type {
    MUTATION_SET = 0,
    MUTATION_CLEAR_RANGE = 1,
    MUTATION_ADD = 2,
    MUTATION_AND = 6, /* an absent value counts as zeros (API below 510) */
    MUTATION_OR = 7,
    MUTATION_XOR = 8,
    MUTATION_APPEND_IF_FITS = 9,
    MUTATION_MAX = 12,
    MUTATION_MIN = 13, /* an absent value counts as zeros (API below 510) */
    MUTATION_SET_VERSIONSTAMPED_KEY = 14,
    MUTATION_SET_VERSIONSTAMPED_VALUE = 15,
    MUTATION_BYTE_MIN = 16,
    MUTATION_BYTE_MAX = 17,
    MUTATION_MIN_V2 = 18,
    MUTATION_AND_V2 = 19,
    MUTATION_COMPARE_AND_CLEAR = 20,

    MUTATION_PRIVATE_MIN = 64, /* everything from here to 255 is private */
    MUTATION_PRIVATE_ASSIGN = 64, /* shard ownership: param1 = begin, param2 begins with what its reader defines */
};

struct mutation {
    enum mutation_type type;
    struct bytes param1, param2; /* borrowed from the table */
};

#define MUTATION_HEADER_BYTES 12u

static inline size_t mutation_encoded_bytes(size_t param1_len, size_t param2_len)
{
    return MUTATION_HEADER_BYTES + param1_len + param2_len;
}

/* True for the types that mutation_apply_atomic evaluates (which need the older value). */
bool mutation_type_is_atomic(enum mutation_type type);

/* Adds a record. 0, ERROR_OUT_OF_MEMORY (the buffer is as it was), or ERROR_CLIENT_INVALID_OPERATION when a parameter
 * is longer than TRANSACTION_BYTES_MAX. */
int mutation_append(struct bytes_buffer *buffer, enum mutation_type type, struct bytes param1, struct bytes param2);

/* Takes the next record off *cursor. 0; ERROR_END_OF_STREAM when the cursor is empty; ERROR_SERIALIZATION_FAILED when the
 * record is not well formed (the cursor does not move). Does not judge types, keys or sizes: mutation_table_check does. */
int mutation_next(struct bytes *cursor, struct mutation *ret);

/* What a transaction may do beyond its own key space. */
enum mutation_allow {
    MUTATION_ALLOW_SYSTEM = 1,  /* keys in \xff .. \xff\xff: the access_system_keys option */
    MUTATION_ALLOW_PRIVATE = 2, /* private types, pads, any write of metadataVersion: tables that servers made */
};

/* What a proxy must know of a valid table before it handles it. */
struct mutation_table_facts {
    uint32_t count;
    uint32_t versionstamps; /* records that mutation_patch_versionstamps will change */
    bool touches_system;    /* some record meets \xff .. : metadata must be looked at */
};

/* Checks a whole table in one pass. `allow` is an OR of enum mutation_allow. On failure *ret_facts is untouched. Errors:
 *   SERIALIZATION_FAILED   1044  a record is not well formed, or has pads
 *   INVALID_MUTATION_TYPE  2018  a type that does not exist or is private
 *   KEY_TOO_LARGE          2102  a key above its limit (range ends: one byte more, so that key_after of any key is legal)
 *   VALUE_TOO_LARGE        2103
 *   INVERTED_RANGE         2005  begin > end (begin == end is an empty range, and valid)
 *   KEY_OUTSIDE_LEGAL_RANGE 2004 a key at \xff or above without leave, or at \xff\xff or above
 *   CLIENT_INVALID_OPERATION 2000 a versionstamp offset that does not fit, or a write of \xff/metadataVersion that is not
 *                                 SET_VERSIONSTAMPED_VALUE of 14 zero bytes (that one needs no leave) */
int mutation_table_check(struct bytes table, unsigned allow, struct mutation_table_facts *ret_facts);

/* Fills in the versionstamps of a transaction, in place: SET_VERSIONSTAMPED_* become SET, without the trailing offset,
 * which becomes a pad of 4 zero bytes. The table's size and every other record stay. The table must have passed
 * mutation_table_check; a table that has not gives ERROR_SERIALIZATION_FAILED or ERROR_CLIENT_INVALID_OPERATION and may
 * be patched up to the bad record. */
int mutation_patch_versionstamps(uint8_t *table, size_t table_len, version_t version, uint16_t batch_order);

/* Writes the 10 bytes of a versionstamp. */
void mutation_versionstamp(version_t version, uint16_t batch_order, uint8_t ret_stamp[VERSIONSTAMP_BYTES]);

/* What an atomic operation makes of a key. `existing` counts only if `exists`. The result borrows from existing, param or
 * the arena. 0, ERROR_OUT_OF_MEMORY, or ERROR_INVALID_MUTATION_TYPE when mutation_type_is_atomic(type) is false. */
int mutation_apply_atomic(struct arena *arena, enum mutation_type type, bool exists, struct bytes existing,
                          struct bytes param, bool *ret_exists, struct bytes *ret_value);
