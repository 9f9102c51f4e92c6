/* Opens everything in a data directory as a starting process would, says what it finds, and checks every record. */
#include "tools/inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/env_posix.h"
#include "net/mem.h"
#include "roles/coordinator/coordinator_disk.h"
#include "roles/log/log.h"
#include "roles/storage/storage.h"
#include "roles/worker/worker.h"
#include "storage/diskqueue.h"

enum { PATH_BYTES_MAX = 4096, ENTRIES_MAX = 1024, NAME_BYTES_MAX = 64 };

struct inspection {
    struct env *env;
    struct rpc *rpc;
    struct role_context context;
    const char *directory;
    char names[ENTRIES_MAX][NAME_BYTES_MAX];
    size_t name_count;
    unsigned damaged;
    bool newer; /* of a format that this program does not know */
};

static void collect_name(void *ctx, const char *name)
{
    struct inspection *inspection = ctx;

    if (inspection->name_count < ENTRIES_MAX && strlen(name) < NAME_BYTES_MAX)
        strcpy(inspection->names[inspection->name_count++], name);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void say_damaged(struct inspection *inspection, const char *what, int error)
{
    printf("%-28s DAMAGED: %s\n", what, error_text(error));
    inspection->damaged++;
}

static void print_metrics(const char *what, const struct role_status *status)
{
    printf("%s\n", what);
    for (uint32_t i = 0; i < status->metrics_count; i++)
        printf("    %-28.*s %" PRId64 "\n", (int)status->metrics[i].name.len, (const char *)status->metrics[i].name.ptr,
               status->metrics[i].value);
}

/* ---- the process ---- */

static void inspect_identity(struct inspection *inspection)
{
    char path[PATH_BYTES_MAX];
    struct arena arena = {0};
    struct bytes record = {0};
    struct slots *slots = NULL;
    int error;

    snprintf(path, sizeof(path), "%s/process", inspection->directory);
    if (access(path, F_OK) != 0) {
        printf("%-28s absent: no process has used this directory\n", "process");
        return;
    }
    error = slots_open(inspection->env, path, &arena, &record, &slots);
    if (error == 0 && record.len >= 4 && get_le32(record.ptr) > WORKER_FORMAT_VERSION) {
        printf("%-28s written by a newer format (%u; this program knows up to %u): nothing else is looked at\n", "process",
               get_le32(record.ptr), (unsigned)WORKER_FORMAT_VERSION);
        inspection->newer = true;
    } else if (error == 0 && record.len == 0) {
        printf("%-28s new: no process has used this directory\n", "process");
    } else if (error != 0 || record.len < 24) {
        say_damaged(inspection, "process", error != 0 ? error : ERROR_FILE_CORRUPT);
    } else {
        printf("%-28s format %u, cluster id %016" PRIx64 "%016" PRIx64 "%s\n", "process", get_le32(record.ptr),
               get_le64(record.ptr + 8), get_le64(record.ptr + 16),
               get_le64(record.ptr + 8) == 0 && get_le64(record.ptr + 16) == 0 ? " (belongs to no cluster yet)" : "");
    }
    slots_close(slots);
    arena_done(&arena);
}

/* ---- roles with state ---- */

static void persisted(void *ctx, uint64_t sequence)
{
    (void)ctx;
    (void)sequence;
}

static void disk_failed(void *ctx, int error)
{
    (void)ctx;
    (void)error;
}

static void inspect_coordinator(struct inspection *inspection)
{
    const struct coordinator_disk_owner owner = {persisted, disk_failed, NULL};
    struct coordinator_restored restored = {0};
    const struct coordinator_record *record;
    struct coordinator_disk *disk;
    int error = coordinator_disk_open(inspection->env, inspection->directory, &owner, &restored, &disk);

    if (error != 0) {
        say_damaged(inspection, "coordinator", error);
        return;
    }
    record = coordinator_disk_record(disk);
    if (record == NULL) {
        printf("%-28s no record: it takes no part until a database is created\n", "coordinator");
    } else {
        printf("coordinator\n    %-28s %016" PRIx64 "\n    %-28s %016" PRIx64 "%016" PRIx64 "\n", "member",
               record->member, "cluster_id", record->cluster_high, record->cluster_low);
        printf("    %-28s %" PRIu64 "\n    %-28s %" PRIu64 "\n    %-28s %zu\n", "term", restored.raft.term,
               "snapshot_index", restored.raft.snapshot.index, "entries", restored.raft.entry_count);
    }
    arena_done(&restored.arena);
    coordinator_disk_close(disk);
}

static bool parse_id(const char *name, const char *prefix, uint64_t *ret_id)
{
    size_t length = strlen(prefix);
    char *end;

    if (strncmp(name, prefix, length) != 0 || strlen(name) != length + 16)
        return false;
    *ret_id = strtoull(name + length, &end, 16);
    return *end == '\0';
}

static void inspect_log(struct inspection *inspection, const char *name, uint64_t id)
{
    struct role_status status = {0};
    struct arena arena = {0};
    struct log_server *log;
    int error = log_server_restore(&inspection->context, id, &log);

    if (error != 0) {
        say_damaged(inspection, name, error);
        return;
    }
    role_metric(&status, &arena, "epoch", (int64_t)log_server_epoch(log));
    log_server_status(log, &status, &arena);
    print_metrics(name, &status);
    arena_done(&arena);
    log_server_destroy(log);
}

static void report_damage(void *ctx, struct bytes key, const char *what)
{
    struct inspection *inspection = ctx;
    char text[256];

    printf("    DAMAGED: key %s: %s\n", bytes_print(key, text, sizeof(text)), what);
    inspection->damaged++;
}

static void inspect_storage(struct inspection *inspection, const char *name, uint64_t id)
{
    struct role_status status = {0};
    struct arena arena = {0};
    struct storage_server *storage;
    int error = storage_server_restore(&inspection->context, id, &storage);
    int64_t checked;

    if (error != 0) {
        say_damaged(inspection, name, error);
        return;
    }
    storage_server_status(storage, &status, &arena);
    print_metrics(name, &status);
    checked = storage_server_check(storage, report_damage, inspection);
    if (checked < 0)
        say_damaged(inspection, name, (int)-checked);
    arena_done(&arena);
    storage_server_destroy(storage);
}

static void role_ended(void *host, enum role_kind kind, uint64_t role_id, int error)
{
    (void)host;
    (void)kind;
    (void)role_id;
    (void)error;
}

static void inspect_all(struct inspection *inspection)
{
    env_dir_list(inspection->env, inspection->directory, collect_name, inspection);
    qsort(inspection->names, inspection->name_count, NAME_BYTES_MAX, compare_names);
    inspect_identity(inspection);
    if (inspection->newer)
        return;
    for (size_t i = 0; i < inspection->name_count; i++) {
        const char *name = inspection->names[i];
        uint64_t id;

        if (strcmp(name, "coordinator") == 0)
            inspect_coordinator(inspection);
        else if (parse_id(name, "log-", &id))
            inspect_log(inspection, name, id);
        else if (parse_id(name, "storage-", &id))
            inspect_storage(inspection, name, id);
        else if (strcmp(name, "process") != 0 && strcmp(name, "lock") != 0)
            printf("%-28s not a name of ours; left alone\n", name);
    }
    if (inspection->damaged > 0)
        printf("%u damaged. A damaged log or storage server counts as missing; the cluster heals from its other copies.\n",
               inspection->damaged);
    else
        printf("nothing is damaged\n");
}

/* A living process holds the lock; its files change under us. */
static bool is_in_use(const char *directory)
{
    char path[PATH_BYTES_MAX];
    int fd;
    bool in_use;

    snprintf(path, sizeof(path), "%s/lock", directory);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return false;
    in_use = flock(fd, LOCK_EX | LOCK_NB) != 0;
    close(fd);
    return in_use;
}

int inspect_directory(const char *directory)
{
    struct env_posix_options env_options = {.trace_stderr = true, .trace_severity_min = SEVERITY_WARN_ALWAYS};
    struct rpc_options rpc_options = {.public_address = {0x7f000001, 1}, .types = message_types, .type_count = MESSAGE_ID_END};
    struct inspection *inspection;
    struct stat st;
    bool bad;

    if (stat(directory, &st) != 0 || !S_ISDIR(st.st_mode)) {
        fprintf(stderr, "quoind: --inspect %s: %s\n", directory, errno != 0 ? strerror(errno) : "not a directory");
        return 1;
    }
    if (is_in_use(directory)) {
        fprintf(stderr, "quoind: --inspect %s: the directory is in use by a living process; stop it first\n", directory);
        return 1;
    }
    inspection = mem_zalloc(sizeof(*inspection));
    inspection->directory = directory;
    if (env_posix_create(&env_options, &inspection->env) != 0 ||
        rpc_create(inspection->env, &rpc_options, &inspection->rpc) != 0) {
        fprintf(stderr, "quoind: --inspect: the event loop can't be made\n");
        return 1;
    }
    inspection->env->knobs.storage_check_bytes_max = 0; /* what is damaged is named below, key by key, not refused */
    inspection->context = (struct role_context){
        .env = inspection->env, .rpc = inspection->rpc, .data_directory = directory, .ended = role_ended};
    inspect_all(inspection);
    rpc_destroy(inspection->rpc);
    env_posix_destroy(inspection->env);
    bad = inspection->damaged > 0 || inspection->newer;
    mem_free(inspection);
    return bad;
}
