/* Futures: quoin's own, seen through FoundationDB's names and types. */
#include <assert.h>
#include <stddef.h>

#include "txn/fdb_c/fdb_internal.h"

static_assert(sizeof(FDBKey) == 12 && sizeof(struct quoin_key) == sizeof(FDBKey), "layout of the ABI");
static_assert(sizeof(FDBKeyValue) == 24 && sizeof(struct quoin_pair) == sizeof(FDBKeyValue), "layout of the ABI");
static_assert(offsetof(FDBKeyValue, key_length) == offsetof(struct quoin_pair, key_length) &&
                  offsetof(FDBKeyValue, value) == offsetof(struct quoin_pair, value) &&
                  offsetof(FDBKeyValue, value_length) == offsetof(struct quoin_pair, value_length),
              "layout of the ABI");
static_assert(sizeof(FDBKeyRange) == 24 && sizeof(FDBKeySelector) == 20, "layout of the ABI");
static_assert(sizeof(FDBMappedKeyValue) == 112 && offsetof(FDBMappedKeyValue, getRange) == 24 &&
                  offsetof(FDBMappedKeyValue, getRange.data) == 64 && offsetof(FDBMappedKeyValue, buffer) == 80,
              "layout of the ABI");
static_assert(sizeof(FDBGranuleSummary) == 56, "layout of the ABI");
static_assert(sizeof(FDBCdcMutation) == 28 && sizeof(FDBCdcVersionedMutations) == 20 && sizeof(FDBCdcStreamInfo) == 52,
              "layout of the ABI");
static_assert(sizeof(fdb_bool_t) == 4 && sizeof(fdb_error_t) == 4, "layout of the ABI");

/* ---- life ---- */

void fdb_future_cancel(FDBFuture *f)
{
    quoin_future_cancel(inner_future(f));
}

void fdb_future_release_memory(FDBFuture *f)
{
    quoin_future_release_memory(inner_future(f));
}

void fdb_future_destroy(FDBFuture *f)
{
    quoin_future_destroy(inner_future(f));
}

fdb_error_t fdb_future_block_until_ready(FDBFuture *f)
{
    return quoin_future_block_until_ready(inner_future(f));
}

fdb_bool_t fdb_future_is_ready(FDBFuture *f)
{
    return quoin_future_is_ready(inner_future(f));
}

fdb_error_t fdb_future_set_callback(FDBFuture *f, FDBCallback callback, void *callback_parameter)
{
    return quoin_future_set_callback(inner_future(f), (quoin_callback *)callback, callback_parameter);
}

/* ---- errors ---- */

fdb_error_t fdb_future_get_error_new(FDBFuture *f)
{
    return quoin_future_get_error(inner_future(f));
}

fdb_error_t fdb_future_get_error_old(FDBFuture *f, const char **out_description)
{
    int error = quoin_future_get_error(inner_future(f));

    if (!fdb_future_is_error(f))
        return ERROR_FUTURE_NOT_ERROR;
    if (out_description != NULL)
        *out_description = fdb_get_error(error);
    return error;
}

fdb_bool_t fdb_future_is_error(FDBFuture *f)
{
    return quoin_future_is_ready(inner_future(f)) && quoin_future_get_error(inner_future(f)) != 0;
}

/* ---- getters ---- */

fdb_error_t fdb_future_get_version(FDBFuture *f, int64_t *out_version)
{
    return fdb_future_get_int64(f, out_version);
}

fdb_error_t fdb_future_get_bool(FDBFuture *f, fdb_bool_t *out)
{
    bool value;
    int error = out == NULL ? ERROR_CLIENT_INVALID_OPERATION : quoin_future_get_bool(inner_future(f), &value);

    if (error == 0)
        *out = value;
    return error;
}

fdb_error_t fdb_future_get_int64(FDBFuture *f, int64_t *out)
{
    return out == NULL ? ERROR_CLIENT_INVALID_OPERATION : quoin_future_get_int64(inner_future(f), out);
}

fdb_error_t fdb_future_get_uint64(FDBFuture *f, uint64_t *out)
{
    return out == NULL ? ERROR_CLIENT_INVALID_OPERATION : quoin_future_get_uint64(inner_future(f), out);
}

fdb_error_t fdb_future_get_double(FDBFuture *f, double *out)
{
    return out == NULL ? ERROR_CLIENT_INVALID_OPERATION : quoin_future_get_double(inner_future(f), out);
}

fdb_error_t fdb_future_get_key(FDBFuture *f, uint8_t const **out_key, int *out_key_length)
{
    if (out_key == NULL || out_key_length == NULL)
        return ERROR_CLIENT_INVALID_OPERATION;
    return quoin_future_get_key(inner_future(f), out_key, out_key_length);
}

fdb_error_t fdb_future_get_value(FDBFuture *f, fdb_bool_t *out_present, uint8_t const **out_value, int *out_value_length)
{
    const uint8_t *value;
    bool present;
    int length, error;

    if (out_present == NULL || out_value == NULL || out_value_length == NULL)
        return ERROR_CLIENT_INVALID_OPERATION;
    error = quoin_future_get_value(inner_future(f), &present, &value, &length);
    if (error != 0)
        return error;
    *out_present = present;
    if (present) {
        *out_value = value;
        *out_value_length = length;
    }
    return 0;
}

fdb_error_t fdb_future_get_keyvalue_array_new(FDBFuture *f, FDBKeyValue const **out_kv, int *out_count, fdb_bool_t *out_more)
{
    const struct quoin_pair *pairs;
    bool more;
    int count, error;

    if (out_kv == NULL || out_count == NULL || out_more == NULL)
        return ERROR_CLIENT_INVALID_OPERATION;
    error = quoin_future_get_range(inner_future(f), &pairs, &count, &more);
    if (error != 0)
        return error;
    *out_kv = (const FDBKeyValue *)pairs;
    *out_count = count;
    *out_more = more;
    return 0;
}

fdb_error_t fdb_future_get_keyvalue_array_old(FDBFuture *f, FDBKeyValue const **out_kv, int *out_count)
{
    fdb_bool_t more;

    return fdb_future_get_keyvalue_array_new(f, out_kv, out_count, &more);
}

static_assert(sizeof(FDBMappedKeyValue) == sizeof(struct quoin_mapped) && offsetof(FDBMappedKeyValue, getRange.data) == offsetof(struct quoin_mapped, pairs),
              "one layout");

fdb_error_t fdb_future_get_mappedkeyvalue_array(FDBFuture *f, FDBMappedKeyValue const **out_kv, int *out_count, fdb_bool_t *out_more)
{
    const struct quoin_mapped *rows;
    bool more;
    int count, error;

    if (out_kv == NULL || out_count == NULL || out_more == NULL)
        return ERROR_CLIENT_INVALID_OPERATION;
    error = quoin_future_get_mapped_range(inner_future(f), &rows, &count, &more);
    if (error != 0)
        return error;
    *out_kv = (const FDBMappedKeyValue *)rows;
    *out_count = count;
    *out_more = more;
    return 0;
}

fdb_error_t fdb_future_get_key_array(FDBFuture *f, FDBKey const **out_keys, int *out_count)
{
    const struct quoin_key *keys;
    int error;

    if (out_keys == NULL || out_count == NULL)
        return ERROR_CLIENT_INVALID_OPERATION;
    error = quoin_future_get_key_array(inner_future(f), &keys, out_count);
    if (error == 0)
        *out_keys = (const FDBKey *)keys;
    return error;
}

fdb_error_t fdb_future_get_string_array(FDBFuture *f, const char ***out_strings, int *out_count)
{
    const char *const *strings;
    int error;

    if (out_strings == NULL || out_count == NULL)
        return ERROR_CLIENT_INVALID_OPERATION;
    error = quoin_future_get_string_array(inner_future(f), &strings, out_count);
    if (error == 0)
        *out_strings = (const char **)(uintptr_t)strings;
    return error;
}
