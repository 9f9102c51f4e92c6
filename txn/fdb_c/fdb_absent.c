/* What Quoin has not: tenants, blob granules, flat maps, change streams, snapshots by the operating system. Bindings refuse to
 * load without the symbols, so each is here, and fails with 2108 (unsupported_operation), or as FoundationDB does when it is asked
 * for what is not configured.
 *
 * No handle of a tenant, a consumer or a result is ever given out but one: the result that says 2108. */
#include <ctype.h>

#include "txn/client/quoin_internal.h"
#include "txn/fdb_c/fdb_internal.h"

/* Nothing here looks at more than the handle. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

struct FDB_result {
    int error;
};

static struct FDB_result no_result = {ERROR_UNSUPPORTED_OPERATION};

static FDBFuture *absent(const void *handle)
{
    return fdb_failed(handle == NULL ? ERROR_CLIENT_INVALID_OPERATION : ERROR_UNSUPPORTED_OPERATION);
}

/* No future holds such a thing. */
static int not_held(FDBFuture *f)
{
    int error = quoin_future_get_error(inner_future(f));

    return error != 0 ? error : ERROR_CLIENT_INVALID_OPERATION;
}

/* ---- results ---- */

void fdb_result_destroy(FDBResult *r)
{
}

fdb_error_t fdb_result_get_keyvalue_array(FDBResult *r, FDBKeyValue const **out_kv, int *out_count, fdb_bool_t *out_more)
{
    return r == NULL ? ERROR_CLIENT_INVALID_OPERATION : r->error;
}

fdb_error_t fdb_result_get_bg_mutations_array(FDBResult *r, FDBBGMutation const **out, int *out_count)
{
    return r == NULL ? ERROR_CLIENT_INVALID_OPERATION : r->error;
}

fdb_error_t fdb_future_get_keyrange_array(FDBFuture *f, FDBKeyRange const **out_ranges, int *out_count)
{
    return not_held(f);
}

fdb_error_t fdb_future_get_granule_summary_array(FDBFuture *f, FDBGranuleSummary const **out_summaries, int *out_count)
{
    return not_held(f);
}

fdb_error_t fdb_future_readbg_get_descriptions(FDBFuture *f, FDBBGFileDescription **out, int *out_count)
{
    return not_held(f);
}

fdb_error_t fdb_future_get_cdc_consumer(FDBFuture *f, FDBCdcConsumer **out)
{
    return not_held(f);
}

fdb_error_t fdb_future_get_cdc_stream_info_array(FDBFuture *f, FDBCdcStreamInfo const **out, int *out_count)
{
    return not_held(f);
}

fdb_error_t fdb_future_get_cdc_versioned_mutations(FDBFuture *f, FDBCdcVersionedMutations const **out, int *out_count,
                                                   int64_t *out_version)
{
    return not_held(f);
}

FDBResult *fdb_readbg_parse_snapshot_file(const uint8_t *data, int length, FDBBGTenantPrefix const *prefix,
                                          FDBBGEncryptionCtx const *encryption)
{
    return &no_result;
}

FDBResult *fdb_readbg_parse_delta_file(const uint8_t *data, int length, FDBBGTenantPrefix const *prefix,
                                       FDBBGEncryptionCtx const *encryption)
{
    return &no_result;
}

/* There is one region, so there is no other to go on from: it waits until the database accepts transactions, as it does there. */
FDBFuture *fdb_database_force_recovery_with_data_loss(FDBDatabase *d, uint8_t const *dcid, int dcid_length)
{
    struct quoin_transaction *transaction;
    struct quoin_future *future;
    int error = fdb_check(d);

    if (error == 0 && (dcid_length < 0 || (dcid == NULL && dcid_length > 0)))
        error = ERROR_CLIENT_INVALID_OPERATION;
    if (error == 0)
        error = quoin_transaction_create(inner_database(d), &transaction);
    if (error != 0)
        return fdb_failed(error);
    future = quoin_transaction_get_read_version(transaction);
    transaction_unref(transaction); /* the future keeps it */
    return fdb_future_of(future);
}

static bool is_uid(uint8_t const *text, int length)
{
    for (int i = 0; i < length; i++)
        if (!isxdigit(text[i]))
            return false;
    return length == 32;
}

/* No server runs a program: none is on its list of those that it may. */
FDBFuture *fdb_database_create_snapshot(FDBDatabase *d, uint8_t const *uid, int uid_length, uint8_t const *command,
                                        int command_length)
{
    int error = fdb_check(d);

    if (error == 0 && (uid == NULL || uid_length < 0 || command == NULL || command_length < 0))
        error = ERROR_CLIENT_INVALID_OPERATION;
    if (error == 0)
        error = is_uid(uid, uid_length) ? ERROR_SNAP_PATH_NOT_WHITELISTED : ERROR_SNAP_INVALID_UID_STRING;
    return fdb_failed(error);
}

FDBFuture *fdb_transaction_get_range_and_flat_map(FDBTransaction *tr, uint8_t const *begin, int begin_length,
                                                  fdb_bool_t begin_or_equal, int begin_offset, uint8_t const *end, int end_length,
                                                  fdb_bool_t end_or_equal, int end_offset, uint8_t const *mapper, int mapper_length,
                                                  int limit, int target_bytes, FDBStreamingMode mode, int iteration,
                                                  fdb_bool_t snapshot, fdb_bool_t reverse)
{
    return absent(tr);
}

fdb_error_t fdb_database_open_tenant(FDBDatabase *d, uint8_t const *name, int name_length, FDBTenant **out_tenant)
{
    return d == NULL ? ERROR_CLIENT_INVALID_OPERATION : ERROR_UNSUPPORTED_OPERATION;
}

void fdb_tenant_destroy(FDBTenant *t)
{
}

fdb_error_t fdb_tenant_create_transaction(FDBTenant *t, FDBTransaction **out_transaction)
{
    return t == NULL ? ERROR_CLIENT_INVALID_OPERATION : ERROR_UNSUPPORTED_OPERATION;
}

FDBFuture *fdb_tenant_get_id(FDBTenant *t)
{
    return absent(t);
}

FDBFuture *fdb_database_blobbify_range(FDBDatabase *d, uint8_t const *begin, int begin_length, uint8_t const *end, int end_length)
{
    return absent(d);
}

FDBFuture *fdb_database_blobbify_range_blocking(FDBDatabase *d, uint8_t const *begin, int begin_length, uint8_t const *end,
                                                int end_length)
{
    return absent(d);
}

FDBFuture *fdb_database_unblobbify_range(FDBDatabase *d, uint8_t const *begin, int begin_length, uint8_t const *end, int end_length)
{
    return absent(d);
}

FDBFuture *fdb_database_list_blobbified_ranges(FDBDatabase *d, uint8_t const *begin, int begin_length, uint8_t const *end,
                                               int end_length, int limit)
{
    return absent(d);
}

FDBFuture *fdb_database_verify_blob_range(FDBDatabase *d, uint8_t const *begin, int begin_length, uint8_t const *end,
                                          int end_length, int64_t version)
{
    return absent(d);
}

FDBFuture *fdb_database_flush_blob_range(FDBDatabase *d, uint8_t const *begin, int begin_length, uint8_t const *end, int end_length,
                                         fdb_bool_t compact, int64_t version)
{
    return absent(d);
}

FDBFuture *fdb_database_purge_blob_granules(FDBDatabase *d, uint8_t const *begin, int begin_length, uint8_t const *end,
                                            int end_length, int64_t version, fdb_bool_t force)
{
    return absent(d);
}

FDBFuture *fdb_database_wait_purge_granules_complete(FDBDatabase *d, uint8_t const *key, int key_length)
{
    return absent(d);
}

FDBFuture *fdb_tenant_blobbify_range(FDBTenant *t, uint8_t const *begin, int begin_length, uint8_t const *end, int end_length)
{
    return absent(t);
}

FDBFuture *fdb_tenant_blobbify_range_blocking(FDBTenant *t, uint8_t const *begin, int begin_length, uint8_t const *end,
                                              int end_length)
{
    return absent(t);
}

FDBFuture *fdb_tenant_unblobbify_range(FDBTenant *t, uint8_t const *begin, int begin_length, uint8_t const *end, int end_length)
{
    return absent(t);
}

FDBFuture *fdb_tenant_list_blobbified_ranges(FDBTenant *t, uint8_t const *begin, int begin_length, uint8_t const *end,
                                             int end_length, int limit)
{
    return absent(t);
}

FDBFuture *fdb_tenant_verify_blob_range(FDBTenant *t, uint8_t const *begin, int begin_length, uint8_t const *end, int end_length,
                                        int64_t version)
{
    return absent(t);
}

FDBFuture *fdb_tenant_flush_blob_range(FDBTenant *t, uint8_t const *begin, int begin_length, uint8_t const *end, int end_length,
                                       fdb_bool_t compact, int64_t version)
{
    return absent(t);
}

FDBFuture *fdb_tenant_purge_blob_granules(FDBTenant *t, uint8_t const *begin, int begin_length, uint8_t const *end, int end_length,
                                          int64_t version, fdb_bool_t force)
{
    return absent(t);
}

FDBFuture *fdb_tenant_wait_purge_granules_complete(FDBTenant *t, uint8_t const *key, int key_length)
{
    return absent(t);
}

FDBFuture *fdb_transaction_get_blob_granule_ranges(FDBTransaction *tr, uint8_t const *begin, int begin_length, uint8_t const *end,
                                                   int end_length, int limit)
{
    return absent(tr);
}

FDBFuture *fdb_transaction_summarize_blob_granules(FDBTransaction *tr, uint8_t const *begin, int begin_length, uint8_t const *end,
                                                   int end_length, int64_t version, int limit)
{
    return absent(tr);
}

FDBResult *fdb_transaction_read_blob_granules(FDBTransaction *tr, uint8_t const *begin, int begin_length, uint8_t const *end,
                                              int end_length, int64_t begin_version, int64_t read_version,
                                              FDBReadBlobGranuleContext context)
{
    return &no_result;
}

FDBFuture *fdb_transaction_read_blob_granules_description(FDBTransaction *tr, uint8_t const *begin, int begin_length,
                                                          uint8_t const *end, int end_length, int64_t begin_version,
                                                          int64_t read_version, int64_t *out_read_version)
{
    return absent(tr);
}

FDBFuture *fdb_database_register_cdc_stream(FDBDatabase *d, uint8_t const *name, int name_length, uint8_t const *begin,
                                            int begin_length, uint8_t const *end, int end_length)
{
    return absent(d);
}

FDBFuture *fdb_database_remove_cdc_stream(FDBDatabase *d, uint8_t const *name, int name_length)
{
    return absent(d);
}

FDBFuture *fdb_database_list_cdc_streams(FDBDatabase *d)
{
    return absent(d);
}

FDBFuture *fdb_database_create_cdc_consumer(FDBDatabase *d, uint8_t const *name, int name_length)
{
    return absent(d);
}

FDBFuture *fdb_database_resume_cdc_consumer(FDBDatabase *d, uint64_t stream_id, int64_t version)
{
    return absent(d);
}

FDBFuture *fdb_cdc_consumer_consume(FDBCdcConsumer *c)
{
    return absent(c);
}

FDBFuture *fdb_cdc_consumer_acknowledge(FDBCdcConsumer *c)
{
    return absent(c);
}

fdb_error_t fdb_cdc_consumer_get_position(FDBCdcConsumer *c, uint64_t *out_stream_id, int64_t *out_version)
{
    return c == NULL ? ERROR_CLIENT_INVALID_OPERATION : ERROR_UNSUPPORTED_OPERATION;
}

void fdb_cdc_consumer_destroy(FDBCdcConsumer *c)
{
}
