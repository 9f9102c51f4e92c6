/* What breaks during the chaos, drawn by the seed.
 *
 * Every class is on in half of the seeds, unless the scenario says. Each class that is on strikes at its own pace between
 * begin and end; what it broke mends itself after a drawn time, or at the heal. Processes and disks are hit only on servers
 * (process->server); the network between any two machines. */
#pragma once

#include "sim/world.h"

/* X(class, key in scenario files, shortest and longest mean pause between two strikes in ms, what it attacks) */
#define SIM_FAULT_TABLE(X)                                                                                        \
    X(KILL, "kill", 3000, 30000, "kill -9 of one or several server processes")                                    \
    X(REBOOT, "reboot", 5000, 40000, "power-off of one machine: its unsynced pages are lost, kept or torn")       \
    X(POWER_OFF, "power-off", 4000, 40000, "power-off of all servers at once")                                   \
    X(CLOG, "clog", 1000, 15000, "a machine's sends, receives, or one pair is held up")                           \
    X(SWIZZLE, "swizzle", 10000, 60000, "half of the machines clogged one by one, released in another order")     \
    X(PARTITION, "partition", 5000, 30000, "halves, one isolated, one direction, or a ring of majorities")        \
    X(DROP, "drop", 500, 10000, "a connection breaks; both sides hear of it, one, or none")                       \
    X(PAUSE, "pause", 3000, 30000, "SIGSTOP of a process for 0.1 to 30 s")                                        \
    X(SLOW_CPU, "slow-cpu", 5000, 30000, "a process runs a hundred times slower")                                 \
    X(LATENCY, "latency", 3000, 20000, "the whole network gets slow, with a long tail")                           \
    X(SLOW_DISK, "slow-disk", 3000, 20000, "syncs of a disk take up to a second")                                 \
    X(DISK_ERROR, "disk-error", 5000, 40000, "reads, writes, syncs or changes of names of a process fail now and then") \
    X(DISK_FULL, "disk-full", 10000, 60000, "no file of a process can grow")                                      \
    X(DISK_LITTLE, "disk-little", 5000, 30000, "others have filled a disk: up to 64 MiB are free, and it says so")  \
    X(BIT_FLIP, "bit-flip", 0, 0, "1 to 32 bits of one chunk in some thousands flip; all the chaos long")         \
    X(DEAD, "dead", 5000, 40000, "a server, mostly one of storage, is gone for 5 to 60 s")                        \
    X(PAUSE_ROLE, "pause-role", 3000, 20000, "SIGSTOP of all that host one kind of role, for 0.3 to 20 s")        \
    X(OLD_SIDE, "old-side", 5000, 30000, "the epoch's stateless roles, few logs, some clients: cut off together") \
    X(CLOCK, "clock", 5000, 30000, "a process's clock drifts by up to 10 %, its wall clock jumps by hours")       \
    X(LEADER_ISOLATED, "leader-isolated", 5000, 40000, "the controller is cut off: from all, from coordinators, or one way") \
    X(REORDER, "reorder", 5000, 40000, "each connection gets a delay of its own: what was sent first arrives last") \
    X(SLOW_READER, "slow-reader", 5000, 40000, "a process takes a chunk from each connection now and then: senders' queues fill") \
    X(PARTIAL_WRITE, "partial-write", 5000, 40000, "kernels take a part of what is sent; the rest waits, or dies with its sender") \
    X(DUPLICATE, "duplicate", 5000, 40000, "one request in some is delivered twice, on two connections")          \
    X(REPLAY, "replay", 2000, 15000, "frames of minutes and epochs ago, checksummed and valid, sent again")       \
    X(MIXED_VERSIONS, "mixed-versions", 8000, 60000, "a server of a newer minor version, or one that nobody may talk to") \
    X(DISK_HUNG, "disk-hung", 8000, 60000, "no sync of a disk comes back for 1 to 40 s")                          \
    X(LATENT_CORRUPTION, "latent-corruption", 10000, 60000, "bits of old pages of one disk rot, and it restarts") \
    X(MISDIRECTED_WRITE, "misdirected-write", 10000, 60000, "a page of a disk lies where another should")         \
    X(DISK_SWAPPED, "disk-swapped", 15000, 60000, "two machines come back with each other's disks")               \
    X(DISK_ROLLED_BACK, "disk-rolled-back", 15000, 60000, "a machine comes back with its disk as it was some time ago") \
    X(DISK_DELETED, "disk-deleted", 15000, 60000, "a machine comes back with an empty disk")                      \
    X(OUT_OF_MEMORY, "out-of-memory", 5000, 40000, "the n-th allocation of a turn fails: killed in the middle of it") \
    X(CLOCK_FREEZE, "clock-freeze", 5000, 40000, "a process's clock stands still for 0.1 to 20 s")                \
    X(CLOCK_JUMP, "clock-jump", 8000, 60000, "a process's clock leaps by up to an hour, its wall clock either way") \
    X(VERSION_JUMP, "version-jump", 8000, 60000, "the sequencer's clock leaps: versions jump as far as they may") \
    X(CONFIGURATION, "configuration", 8000, 60000, "the numbers of logs, proxies and resolvers change")           \
    X(EXCLUSION, "exclusion", 8000, 60000, "an operator excludes a server, and includes it again after 1 to 30 s") \
    X(COORDINATORS, "coordinators", 8000, 60000, "an operator puts another server in the place of a coordinator")  \
    X(RERECRUITMENT, "rerecruitment", 5000, 40000, "a host of stateless roles goes for 1 to 20 s: others must take over") \
    X(RECOVERY_STORM, "recovery-storm", 15000, 60000, "whoever is sequencer, controller or log is killed, again and again")

enum sim_fault_class {
#define X(class, key, pause_min_ms, pause_max_ms, what) FAULT_##class,
    SIM_FAULT_TABLE(X)
#undef X
        FAULT_CLASSES
};

enum sim_switch { SWITCH_DRAW, SWITCH_OFF, SWITCH_ON };

/* Which strikes of a class happen, by their numbers from 1 on; the others are left out, and what the rest draws stays as it was. */
enum { SIM_STRIKES_MAX = 1023 };
struct sim_strikes {
    bool limited; /* false: all of them */
    uint64_t bits[(SIM_STRIKES_MAX + 64) / 64];
};
/* "2 5-7 9". False when it is not a list of such numbers. */
bool sim_strikes_parse(const char *text, struct sim_strikes *ret_strikes);
bool sim_strikes_has(const struct sim_strikes *strikes, uint64_t number);

struct sim_fault_ticker {
    struct sim_event event;
    struct sim_faults *faults;
    enum sim_fault_class class;
    int64_t pause_us; /* mean */
    struct sim_random random;
};

struct sim_faults {
    struct sim_world *world; /* borrowed */
    /* The kinds of roles that live in the process, 1 << enum role_kind each. NULL: nobody knows, nobody hosts any. */
    uint32_t (*role_kinds)(const struct sim_process *process);
    /* Has a client change the configuration. NULL: nobody can. */
    void (*configure)(void *ctx);
    /* Has a client exclude that server for so long; false when that can't be now. NULL: nobody can. */
    bool (*exclude)(void *ctx, struct sim_process *process, int64_t lasts_us);
    /* Has a client make that server a coordinator, in the place of one of those that there are; false when that can't be now. NULL: nobody
     * can. */
    bool (*replace)(void *ctx, struct sim_process *process, uint64_t leaves);
    void *operator_ctx;
    /* How many disks may lose what they held: of zones with logs or storage servers, and of coordinators. Beyond that, loss would
     * be legal. 0 until somebody says more. */
    unsigned zones_may_lose, coordinators_may_lose;
    /* Whether others have all that this server's logs hold of the epochs that ended. NULL: they have. */
    bool (*others_suffice)(const void *ctx, const struct sim_process *process);
    /* The log of the living epoch that the server hosts; 0: none. NULL: nobody knows of any. */
    uint64_t (*living_log)(const void *ctx, const struct sim_process *process);
    const void *others_ctx;
    enum sim_switch want[FAULT_CLASSES];
    struct sim_strikes only[FAULT_CLASSES];
    bool on[FAULT_CLASSES];
    uint64_t numbers[FAULT_CLASSES]; /* of the newest strike, or of one that was left out */
    uint64_t strikes[FAULT_CLASSES]; /* how many had something to strike */
    struct sim_fault_ticker tickers[FAULT_CLASSES];
    struct list active; /* what mends itself later */
    struct sim_settings healthy;
    int64_t end_us;
    bool running;
};

void sim_faults_init(struct sim_faults *faults, struct sim_world *world);
/* Draws which classes are on, and strikes from now on until `duration_us` have passed or sim_faults_heal(). */
void sim_faults_start(struct sim_faults *faults, int64_t duration_us);
/* Mends everything: network, disks, clocks, pauses; boots every process that is down and may run (not stay_down). */
void sim_faults_heal(struct sim_faults *faults);
/* One line a class, tabs between: "fault KEY ON STRIKES", 0 or 1 for whether it was on. */
void sim_faults_report(const struct sim_faults *faults, FILE *out);
/* "kill=3 clog=12/13 ..", strikes and turns of the classes that struck; cut to fit. */
char *sim_faults_print(const struct sim_faults *faults, char *out, size_t out_size);
/* The class of that key, or FAULT_CLASSES; and back. */
enum sim_fault_class sim_fault_class_of(const char *key);
const char *sim_fault_key(enum sim_fault_class class);
/* One strike now, of any class: for tests and scenarios with a plan. */
void sim_faults_strike(struct sim_faults *faults, enum sim_fault_class class);
