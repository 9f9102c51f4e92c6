/* The special keys tracing/ (of this transaction alone) and global_config/ (of all clients).
 *
 * tracing/ takes effect when it is set, not at the commit: transaction_id is a number, drawn anew by each reset, token is "true" (one
 * is drawn) or "false" (0). Once the transaction has written anything it is too late: the value stays, and the commit is refused.
 *
 * global_config/K is \xff/globalConfig/k/K, whose values are tuples of one element; they are read as text, as in FoundationDB. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "txn/client/client_internal.h"
#include "txn/client/special_keys.h"

/* ---- tracing/ ---- */

int special_collect_tracing(struct special_read *read, const struct special_part *part)
{
    struct transaction *txn = read->txn;
    char token[24], id[24];
    int error;

    transaction_lock(txn);
    while (txn->trace_id == 0 && !txn->trace_id_set)
        txn->trace_id = env_random(txn->client->env);
    while (txn->trace_token_wanted && txn->trace_token == 0)
        txn->trace_token = env_random(txn->client->env);
    snprintf(token, sizeof(token), "%" PRIu64, txn->trace_token);
    snprintf(id, sizeof(id), "%" PRIu64, txn->trace_id);
    transaction_unlock(txn);
    error = special_add_text(read, part->span.begin, "token", token);
    return error != 0 ? error : special_add_text(read, part->span.begin, "transaction_id", id);
}

static bool parse_id(struct bytes text, uint64_t *ret)
{
    uint64_t id = 0;

    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)text.ptr[i] - '0';

        if (digit > 9 || id > (UINT64_MAX - digit) / 10)
            return false;
        id = id * 10 + digit;
    }
    *ret = id;
    return text.len > 0;
}

int special_set_tracing(struct transaction *txn, struct bytes rest, struct bytes value)
{
    int error = 0;

    if (txn->mutations.len > 0 || txn->write_conflicts.len > 0 || txn->read_conflicts.len > 0) {
        /* An empty range: nothing that is read changes, and the commit meets it. */
        error = mutation_append(&txn->special_table, MUTATION_CLEAR_RANGE, BYTES_LITERAL("\xff\xff/tracing/"),
                                     BYTES_LITERAL("\xff\xff/tracing/\0"));
    } else if (bytes_equal(rest, BYTES_LITERAL("transaction_id"))) {
        txn->trace_id_set = parse_id(value, &txn->trace_id);
        if (!txn->trace_id_set)
            error = special_refuse(txn, "tracing", "transaction_id must be set to a number of 64 bits");
    } else if (bytes_equal(rest, BYTES_LITERAL("token"))) {
        txn->trace_token_wanted = bytes_equal(value, BYTES_LITERAL("true"));
        txn->trace_token = 0;
        if (!txn->trace_token_wanted && !bytes_equal(value, BYTES_LITERAL("false")))
            error = special_refuse(txn, "tracing", "token must be set to true/false");
    }
    return error;
}

int special_commit_tracing(struct special_commit *commit, const struct special_part *part)
{
    return special_refuse(commit->txn, part->command, "tracing options must be set first");
}

/* ---- global_config/ ---- */

enum { TUPLE_BYTES = 0x01, TUPLE_TEXT = 0x02, TUPLE_ZERO = 0x14, TUPLE_FLOAT = 0x20, TUPLE_DOUBLE = 0x21, TUPLE_FALSE = 0x26, TUPLE_TRUE = 0x27 };
enum { CONFIG_TEXT_MAX = 64 };

static uint64_t big_endian(const uint8_t *bytes, size_t len)
{
    uint64_t value = 0;

    for (size_t i = 0; i < len; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* Floating-point numbers are packed so that they order as bytes: the sign bit flipped, or all bits of a negative one. */
static uint64_t unpack_order(uint64_t bits, unsigned width)
{
    uint64_t sign = UINT64_C(1) << (width - 1), all = width == 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;

    return bits & sign ? bits ^ sign : ~bits & all;
}

static bool real_text(struct bytes rest, char *out)
{
    uint64_t bits = unpack_order(big_endian(rest.ptr, rest.len), (unsigned)rest.len * 8);
    uint32_t short_bits = (uint32_t)bits;
    double value;
    float single;

    if (rest.len == 4) {
        memcpy(&single, &short_bits, sizeof(single));
        value = (double)single;
    } else {
        memcpy(&value, &bits, sizeof(value));
    }
    snprintf(out, CONFIG_TEXT_MAX, "%f", value > 1e40 || value < -1e40 ? 0.0 : value);
    return value <= 1e40 && value >= -1e40;
}

/* Of at most 8 bytes: its length is in the code, on both sides of zero. */
static bool integer_text(int code, struct bytes rest, char *out)
{
    int len = code - TUPLE_ZERO;
    uint64_t value = big_endian(rest.ptr, rest.len);

    if ((size_t)(len < 0 ? -len : len) != rest.len)
        return false;
    if (len < 0 && rest.len < 8)
        value = ((UINT64_C(1) << (8 * rest.len)) - 1) - value;
    else if (len < 0)
        value = ~value;
    if (value > INT64_MAX)
        return false;
    snprintf(out, CONFIG_TEXT_MAX, "%s%" PRIu64, len < 0 ? "-" : "", value);
    return true;
}

/* The element's text, in `out` or in the arena. False: the value is no tuple of one element of a kind that a setting has. */
static bool config_text(struct bytes value, struct arena *arena, char out[CONFIG_TEXT_MAX], struct bytes *ret)
{
    struct bytes rest = value.len == 0 ? value : bytes_of(value.ptr + 1, value.len - 1);
    int code = value.len == 0 ? -1 : value.ptr[0];
    bool fine = false;

    out[0] = '\0';
    if (code == TUPLE_BYTES || code == TUPLE_TEXT) {
        uint8_t *copy = arena_alloc(arena, rest.len + 1);
        size_t len = 0, i = 0;

        for (; copy != NULL && i + 1 < rest.len && (rest.ptr[i] != 0 || rest.ptr[i + 1] == 0xff); i++) {
            copy[len++] = rest.ptr[i];
            i += rest.ptr[i] == 0; /* a zero byte is followed by 0xff */
        }
        *ret = bytes_of(copy, len);
        return copy != NULL && i + 1 == rest.len && rest.ptr[i] == 0;
    }
    if (code == TUPLE_FLOAT || code == TUPLE_DOUBLE)
        fine = rest.len == (code == TUPLE_FLOAT ? 4 : 8) && real_text(rest, out);
    else if (code >= TUPLE_ZERO - 8 && code <= TUPLE_ZERO + 8)
        fine = integer_text(code, rest, out);
    else if (code == TUPLE_FALSE || code == TUPLE_TRUE)
        fine = rest.len == 0 && snprintf(out, CONFIG_TEXT_MAX, "%d", code == TUPLE_TRUE) > 0;
    *ret = bytes_of_string(out);
    return fine;
}

/* What is no setting is not shown: FoundationDB's clients pass over it as well. */
int special_collect_global_config(struct special_read *read, const struct special_part *part)
{
    const struct transaction_range *range = &read->fetch.ranges[0];
    char out[CONFIG_TEXT_MAX];
    struct bytes text;
    int error = 0;

    for (uint32_t i = 0; i < range->pair_count && error == 0; i++) {
        struct bytes key = range->pairs[i].key;

        if (config_text(range->pairs[i].value, &read->arena, out, &text))
            error = special_add(read, part->span.begin, bytes_of(key.ptr + part->map_begin.len, key.len - part->map_begin.len), text);
    }
    return error;
}

const char *special_refuses_global_config(struct bytes rest, struct bytes value)
{
    struct arena arena = {0};
    char out[CONFIG_TEXT_MAX];
    struct bytes text;
    bool fine = config_text(value, &arena, out, &text);

    (void)rest;
    arena_done(&arena);
    return fine ? NULL : "The value must be a tuple of one string, whole number, float, double or boolean";
}
