/* What the files of faults share: draws from the seed's stream of faults, and faults that last.
 *
 * faults.c keeps the classes, their pace and the heal; faults_network.c, faults_disk.c, faults_process.c and faults_cluster.c
 * hold one function a class, which strikes once and returns whether there was anything to strike. */
#pragma once

#include "sim/faults.h"
#include "txn/messages.h"

/* A fault that mends itself. Allocated by fault_lasts(), freed when it has ended or at the heal. */
struct sim_active {
    struct list link;
    struct sim_event event;
    struct sim_faults *faults;
    void (*begin)(struct sim_active *active); /* NULL: begun */
    void (*end)(struct sim_active *active);   /* not called by the heal, which mends everything by itself */
    int64_t lasts_us;
    struct sim_process *process;              /* borrowed; NULL: the fault of no one process */
    uint64_t incarnation;
    struct sim_disk_image *image;             /* owned */
    uint64_t commits;                         /* of the world, when it began */
    char kind[SIM_FILE_KIND_MAX];             /* of files; waited for until until_us */
    int64_t until_us;
    bool keeps_down;                          /* the process stays down until it ends */
    struct sim_machines blocks[SIM_MACHINES_MAX]; /* from [a] to those in it */
};

#define KIND(kind) (UINT32_C(1) << (kind))

int64_t fault_range(struct sim_faults *faults, int64_t low, int64_t high);
/* Mostly short, now and then long: uniform in the exponent. */
int64_t fault_long_tail(struct sim_faults *faults, int64_t low, int64_t high);
bool fault_coin(struct sim_faults *faults);
bool fault_one_in(struct sim_faults *faults, uint64_t n);
/* NULL when there is none. */
struct sim_process *fault_server(struct sim_faults *faults);
/* The kinds of roles that live in it now; 0 for what is no server. */
uint32_t fault_role_kinds(const struct sim_faults *faults, const struct sim_process *process);
/* One of those that host any of these kinds; NULL when there is none. */
struct sim_process *fault_host(struct sim_faults *faults, uint32_t kinds);
/* One more may be gone for long: what is left has a majority of the coordinators and a replica of everything. */
bool fault_can_spare(const struct sim_faults *faults, const struct sim_process *process);

/* begin() after delay_us (NULL: there is nothing to begin, and the delay is its end), end() lasts_us after that. */
struct sim_active *fault_lasts(struct sim_faults *faults, void (*begin)(struct sim_active *active),
                               void (*end)(struct sim_active *active), int64_t delay_us, int64_t lasts_us);
/* The same for a process, from now on. */
struct sim_active *fault_of_process(struct sim_faults *faults, struct sim_process *process,
                                    void (*end)(struct sim_active *active), int64_t lasts_us);
/* The process that it was made for still runs. */
bool fault_same_life(const struct sim_active *active);
/* Ends the process for that long. False when another fault keeps it down already. */
bool fault_keep_down(struct sim_faults *faults, struct sim_process *process, enum sim_stop how, int64_t lasts_us);

/* X(class, function) */
#define SIM_STRIKES(X)                      \
    X(KILL, strike_kill)                    \
    X(REBOOT, strike_reboot)                \
    X(POWER_OFF, strike_power_off)          \
    X(CLOG, strike_clog)                    \
    X(SWIZZLE, strike_swizzle)              \
    X(PARTITION, strike_partition)          \
    X(DROP, strike_drop)                    \
    X(PAUSE, strike_pause)                  \
    X(SLOW_CPU, strike_slow_cpu)            \
    X(LATENCY, strike_latency)              \
    X(SLOW_DISK, strike_slow_disk)          \
    X(DISK_ERROR, strike_disk_error)        \
    X(DISK_FULL, strike_disk_full)          \
    X(DISK_LITTLE, strike_disk_little)      \
    X(BIT_FLIP, strike_bit_flip)            \
    X(DEAD, strike_dead)                    \
    X(PAUSE_ROLE, strike_pause_role)        \
    X(OLD_SIDE, strike_old_side)            \
    X(CLOCK, strike_clock)                  \
    X(LEADER_ISOLATED, strike_leader)       \
    X(REORDER, strike_reorder)              \
    X(SLOW_READER, strike_slow_reader)      \
    X(PARTIAL_WRITE, strike_partial_write)  \
    X(DUPLICATE, strike_duplicate)          \
    X(REPLAY, strike_replay)                \
    X(MIXED_VERSIONS, strike_mixed_versions) \
    X(DISK_HUNG, strike_disk_hung)          \
    X(LATENT_CORRUPTION, strike_latent_corruption) \
    X(MISDIRECTED_WRITE, strike_misdirected_write) \
    X(DISK_SWAPPED, strike_disk_swapped)    \
    X(DISK_ROLLED_BACK, strike_disk_rolled_back) \
    X(DISK_DELETED, strike_disk_deleted)    \
    X(OUT_OF_MEMORY, strike_out_of_memory)  \
    X(CLOCK_FREEZE, strike_clock_freeze)    \
    X(CLOCK_JUMP, strike_clock_jump)        \
    X(VERSION_JUMP, strike_version_jump)    \
    X(CONFIGURATION, strike_configuration)  \
    X(EXCLUSION, strike_exclusion)          \
    X(COORDINATORS, strike_coordinators)    \
    X(RERECRUITMENT, strike_rerecruitment)  \
    X(RECOVERY_STORM, strike_recovery_storm)

#define X(class, function) bool function(struct sim_faults *faults);
SIM_STRIKES(X)
#undef X
