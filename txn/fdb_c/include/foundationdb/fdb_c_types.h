/* Types of FoundationDB's C API. Handles are opaque; what they point to belongs to the library. */
#ifndef FDB_C_TYPES_H
#define FDB_C_TYPES_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int fdb_error_t; /* 0 is success; fdb_get_error() says what another one means */
typedef int fdb_bool_t;

typedef struct FDB_future FDBFuture;
typedef struct FDB_result FDBResult;
typedef struct FDB_cluster FDBCluster;
typedef struct FDB_database FDBDatabase;
typedef struct FDB_tenant FDBTenant;
typedef struct FDB_transaction FDBTransaction;
typedef struct FDB_cdc_consumer FDBCdcConsumer;

#ifdef __cplusplus
}
#endif
#endif
