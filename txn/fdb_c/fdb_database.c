/* Databases: where the cluster file is looked for, and the cluster objects of API versions below 610. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/mem.h"
#include "txn/client/quoin_internal.h"
#include "txn/fdb_c/fdb_internal.h"

/* ---- opening ---- */

/* The argument, the environment, the working directory, the machine; NULL: there is none. */
static const char *choose_path(const char *argument)
{
    static const char *const defaults[] = {"./fdb.cluster", "/etc/foundationdb/fdb.cluster"};
    const char *path = argument != NULL && argument[0] != '\0' ? argument : getenv("FDB_CLUSTER_FILE");

    if (path != NULL && path[0] != '\0')
        return path;
    for (size_t i = 0; i < 2; i++)
        if (access(defaults[i], F_OK) == 0)
            return defaults[i];
    return NULL;
}

/* The rules of the selected version for a database that was just opened. */
static int finish(struct quoin_database *db, FDBDatabase **out_database)
{
    int error = quoin_database_set_api_version(db, fdb_version());

    if (error != 0)
        quoin_database_destroy(db);
    else
        *out_database = (FDBDatabase *)db;
    return error;
}

fdb_error_t fdb_create_database(const char *cluster_file_path, FDBDatabase **out_database)
{
    const char *path = choose_path(cluster_file_path);
    struct quoin_database *db;
    int error = fdb_check_network();

    if (error == 0 && out_database == NULL)
        error = ERROR_CLIENT_INVALID_OPERATION;
    if (error == 0 && path == NULL)
        error = ERROR_NO_CLUSTER_FILE_FOUND;
    if (error == 0)
        error = quoin_open(path, &db);
    return error != 0 ? error : finish(db, out_database);
}

fdb_error_t fdb_create_database_from_connection_string(const char *connection_string, FDBDatabase **out_database)
{
    struct quoin_database *db;
    int error = fdb_check_network();

    if (error == 0 && (connection_string == NULL || out_database == NULL))
        error = ERROR_CLIENT_INVALID_OPERATION;
    if (error == 0)
        error = quoin_open_text(connection_string, &db);
    return error != 0 ? error : finish(db, out_database);
}

void fdb_database_destroy(FDBDatabase *d)
{
    quoin_database_destroy(inner_database(d));
}

/* ---- databases ---- */

fdb_error_t fdb_database_set_option(FDBDatabase *d, FDBDatabaseOption option, uint8_t const *value, int value_length)
{
    int error = fdb_check(d);

    return error != 0 ? error : quoin_database_set_option(inner_database(d), (int)option, value, value_length);
}

fdb_error_t fdb_database_create_transaction(FDBDatabase *d, FDBTransaction **out_transaction)
{
    struct quoin_transaction *transaction;
    int error = fdb_check(d);

    if (error == 0 && out_transaction == NULL)
        error = ERROR_CLIENT_INVALID_OPERATION;
    if (error == 0)
        error = quoin_transaction_create(inner_database(d), &transaction);
    if (error == 0)
        *out_transaction = (FDBTransaction *)transaction;
    return error;
}

FDBFuture *fdb_database_reboot_worker(FDBDatabase *d, uint8_t const *address, int address_length, fdb_bool_t check, int duration)
{
    int error = fdb_check(d);

    return error != 0 ? fdb_failed(error)
                      : fdb_future_of(quoin_database_reboot_worker(inner_database(d), address, address_length, check != 0, duration));
}

double fdb_database_get_main_thread_busyness(FDBDatabase *d)
{
    return fdb_check(d) != 0 ? 0 : quoin_database_get_main_thread_busyness(inner_database(d));
}

FDBFuture *fdb_database_get_server_protocol(FDBDatabase *d, uint64_t expected_version)
{
    int error = fdb_check(d);

    return error != 0 ? fdb_failed(error) : fdb_future_of(quoin_database_get_server_protocol(inner_database(d), expected_version));
}

FDBFuture *fdb_database_get_client_status(FDBDatabase *d)
{
    int error = fdb_check(d);

    return error != 0 ? fdb_failed(error) : fdb_future_of(quoin_database_get_client_status(inner_database(d)));
}

/* ---- clusters, for API versions below 610 ---- */

/* A cluster is a path until its database is asked for. Its future, and a database's, holds the counted cluster; what the
 * getters give is the caller's. */
struct FDB_cluster {
    _Atomic unsigned refs;
    char path[];
};

static void cluster_unref(struct FDB_cluster *cluster)
{
    if (cluster != NULL && atomic_fetch_sub(&cluster->refs, 1) == 1)
        mem_free(cluster);
}

static int make_cluster(const char *path, struct FDB_cluster **ret_cluster)
{
    size_t size = strlen(path) + 1;
    struct FDB_cluster *cluster = mem_alloc(sizeof(*cluster) + size);

    if (cluster == NULL)
        return ERROR_OUT_OF_MEMORY;
    atomic_init(&cluster->refs, 1);
    memcpy(cluster->path, path, size);
    *ret_cluster = cluster;
    return 0;
}

FDBFuture *fdb_create_cluster(const char *cluster_file_path)
{
    const char *path = choose_path(cluster_file_path);
    struct FDB_cluster *cluster = NULL;
    int error = fdb_check_network();

    if (error == 0 && path == NULL)
        error = ERROR_NO_CLUSTER_FILE_FOUND;
    if (error == 0)
        error = make_cluster(path, &cluster);
    if (error != 0)
        return fdb_failed(error);
    return fdb_future_of(future_of_object(cluster, (void (*)(void *))cluster_unref));
}

fdb_error_t fdb_future_get_cluster(FDBFuture *f, FDBCluster **out_cluster)
{
    void *object;
    int error = out_cluster == NULL ? ERROR_CLIENT_INVALID_OPERATION : future_object(inner_future(f), &object);

    if (error != 0)
        return error;
    *out_cluster = object;
    atomic_fetch_add(&(*out_cluster)->refs, 1);
    return 0;
}

void fdb_cluster_destroy(FDBCluster *c)
{
    cluster_unref(c);
}

fdb_error_t fdb_cluster_set_option(FDBCluster *c, FDBClusterOption option, uint8_t const *value, int value_length)
{
    (void)c;
    (void)option;
    (void)value;
    (void)value_length;
    return ERROR_INVALID_OPTION;
}

FDBFuture *fdb_cluster_create_database(FDBCluster *c, uint8_t const *db_name, int db_name_length)
{
    int error = fdb_check(c);

    if (error == 0 && (db_name == NULL || db_name_length != 2 || memcmp(db_name, "DB", 2) != 0))
        error = ERROR_INVALID_DATABASE_NAME;
    if (error != 0)
        return fdb_failed(error);
    atomic_fetch_add(&c->refs, 1);
    return fdb_future_of(future_of_object(c, (void (*)(void *))cluster_unref));
}

fdb_error_t fdb_future_get_database(FDBFuture *f, FDBDatabase **out_database)
{
    void *object;
    int error = out_database == NULL ? ERROR_CLIENT_INVALID_OPERATION : future_object(inner_future(f), &object);

    return error != 0 ? error : fdb_create_database(((struct FDB_cluster *)object)->path, out_database);
}
