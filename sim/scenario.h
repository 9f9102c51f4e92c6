/* A scenario file: topology hints, workloads, faults, knobs. An unknown key is an error with its line.
 *
 *   [test]
 *   title = what it shows
 *   workloads = Cycle Increment      ; names of sim/workload.h, each with an optional section of its own
 *   duration = 60                    ; seconds of chaos
 *   recovery-limit = 10              ; seconds after the heal within which a commit must succeed
 *   quiet-limit = 120                ; and within which workloads have ended and nothing recovers or waits any more
 *   time-limit = 600                 ; seconds of virtual time after which the run hangs
 *   buggify = draw                   ; on, off, draw
 *   survivors = draw                 ; on: the heal leaves dead what is not needed; off, draw
 *   seed = 17                        ; below tests/sim/seeds/: the seed that it is bound to, read by tests/sim/run.py
 *   [topology]
 *   kind = default                   ; default, one, draw: one process, or as below, or the seed's choice
 *   coordinators = 3  logs = 3  storage = 3  stateless = 5  unset = 0  clients = 2    (one a line; also "draw")
 *   commit-proxies = 3  grv-proxies = 2  resolvers = 3     ; configured at the start; 0: as `configure new' leaves it
 *   redundancy = double              ; single, double, triple, draw
 *   engine = memory                  ; memory, lmdb, draw
 *   far-paths = draw                 ; some machines are far from others, one way, all the run long: on, off, draw
 *   [faults]
 *   all = draw                       ; then one key a class of sim/faults.h: on, off, draw
 *   kill = on
 *   clog = 2 5-7                     ; only these strikes of it, as --shrink writes
 *   [knobs]
 *   randomize = draw                 ; draw half of the knobs: on, off, draw
 *   commit_slots = 1
 *   [lie]                            ; below tests/sim/lies/: see sim/lies/lie_section.h
 *   [Cycle]
 *   nodes = 20
 */
#pragma once

#include "net/bytes.h"
#include "sim/faults.h"
#include "sim/lies/lie_section.h"

enum { SCENARIO_WORKLOADS_MAX = 8, SCENARIO_OPTIONS_MAX = 8, SCENARIO_KNOBS_MAX = 64, SCENARIO_TEXT_MAX = 120 };

enum scenario_topology { TOPOLOGY_DEFAULT, TOPOLOGY_ONE, TOPOLOGY_DRAW };
enum { SCENARIO_DRAW = -1 }; /* of a count */

struct sim_workload;

struct scenario_workload {
    const struct sim_workload *type;
    int64_t options[SCENARIO_OPTIONS_MAX]; /* in the order of type->options */
};

struct scenario_knob {
    char name[64];
    char value[32];
};

struct scenario {
    char title[SCENARIO_TEXT_MAX];
    struct scenario_workload workloads[SCENARIO_WORKLOADS_MAX];
    size_t workload_count;
    int64_t duration_us, recovery_limit_us, quiet_limit_us, time_limit_us;
    enum sim_switch buggify, survivors;
    int64_t seed; /* it is bound to; 0: none */
    int64_t lose, lose_zones; /* enum sim_loss_of: all of that, or what that many zones have (sim/loss.h) */
    enum scenario_topology topology;
    int64_t coordinators, logs, storage, stateless, unset, clients; /* or SCENARIO_DRAW */
    int64_t commit_proxies, grv_proxies, resolvers;                 /* the same */
    int64_t redundancy;                                             /* 1, 2, 3 or SCENARIO_DRAW */
    int64_t engine;                                                 /* enum engine_kind or SCENARIO_DRAW */
    enum sim_switch far_paths;
    enum sim_switch faults[FAULT_CLASSES];
    struct sim_strikes strikes[FAULT_CLASSES];
    enum sim_switch randomize_knobs;
    struct scenario_knob knobs[SCENARIO_KNOBS_MAX];
    size_t knob_count;
    struct lie_section lie;
};

/* 0; on an error the line's number (1 when there is none), and why in ret_why. */
int scenario_parse(const char *text, struct scenario *ret_scenario, char *ret_why, size_t ret_why_size);
