/* A coordinator's files: who it is, Raft's log, and how far that log was synced.
 *
 *   <data>/coordinator/record   slots: member id, cluster id, the members that the cluster was created with; or, with `joins`, those
 *                               that it waits to be added to
 *   <data>/coordinator/log/     disk queue, one frame a raft_persist; its file id is the member id
 *   <data>/coordinator/hard     slots: term, vote and the synced end of the log
 *
 * The record is written last at creation, so that it stands for the other two. A torn tail of the log alone can't be told
 * from a lost one: `hard` is written after each sync of the log, and names an end and a term that opening must find again. */
#pragma once

#include "net/rpc.h"
#include "roles/coordinator/raft/raft.h"
#include "storage/diskqueue.h"
#include "txn/messages.h"

#define FIELDS_coordinator_record(F, S, A, L) \
    F(u32, format) F(u64, member) F(u64, cluster_high) F(u64, cluster_low) A(coordinator_member, members) F(boolean, joins)
SCHEMA_DECLARE(coordinator_record)

enum { COORDINATOR_FORMAT = 1 };

struct coordinator_disk;

struct coordinator_disk_owner {
    /* Everything through `sequence` is durable. */
    void (*persisted)(void *ctx, uint64_t sequence);
    /* A write or a sync failed: nothing more will be persisted. */
    void (*failed)(void *ctx, int error);
    void *ctx;
};

/* What Raft and the state start from; all of it in `arena`. */
struct coordinator_restored {
    struct raft_restored raft;
    struct arena arena; /* the caller ends it */
};

/* Blocking. Without a record *ret_record is NULL and nothing is restored. ERROR_FILE_CORRUPT (traced): the files are damaged. */
int coordinator_disk_open(struct env *env, const char *data_directory, const struct coordinator_disk_owner *owner,
                          struct coordinator_restored *ret_restored, struct coordinator_disk **ret_disk);
void coordinator_disk_close(struct coordinator_disk *disk); /* accepts NULL */
/* NULL: none. Owned by the disk. */
const struct coordinator_record *coordinator_disk_record(const struct coordinator_disk *disk);

/* Makes the record durable (blocking), with an empty log; only where there is none. */
int coordinator_disk_create(struct coordinator_disk *disk, const struct coordinator_record *record,
                            struct coordinator_restored *ret_restored);

/* A round is under way: nothing may be written beside it. */
bool coordinator_disk_is_writing(const struct coordinator_disk *disk);
/* Takes the record away (blocking): the directory is as new. Only of one that is no member and never will be by this id: between the
 * two writes it would have forgotten how it voted. The disk is then only good for being closed. */
int coordinator_disk_forget(struct coordinator_disk *disk);
/* Is there a coordinator's directory? */
int coordinator_disk_is_there(struct env *env, const char *data_directory, bool *ret_there);

/* Hands one persist to the disk; owner.persisted() follows, in a later turn or stage. raft: for the entries that stay behind a snapshot. */
int coordinator_disk_persist(struct coordinator_disk *disk, const struct raft *raft, const struct raft_persist *persist);
void coordinator_disk_status(const struct coordinator_disk *disk, struct diskqueue_status *ret_status);
