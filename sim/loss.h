/* Loss beyond the limit: more disks gone than the replication can do without, on purpose.
 *
 * Then nothing can be as it was, and nothing is asked of the cluster but honesty: it must not go on as if it had lost nothing (a commit
 * on other logs, an answer from an empty store), and its status must name what it lacks. The run ends with a statement of what was
 * lost, how much could have been, and how the cluster stands: never silently. */
#pragma once

#include "sim/cluster.h"

enum sim_loss_of { LOSS_OF_NOTHING, LOSS_OF_LOGS, LOSS_OF_STORAGE, LOSS_OF_COORDINATORS };

struct sim_loss {
    struct sim_event event; /* when the disks go */
    struct sim_cluster *cluster;
    enum sim_loss_of of;
    int64_t zones_max; /* 0: all */
    unsigned disks, zones, limit;
    bool struck, served;
    char status[SIM_WHY_MAX]; /* what the cluster says */
    char statement[2 * SIM_WHY_MAX];
};

/* In the middle of the chaos, what the scenario names is lost. `loss` lives as long as the run. */
void sim_loss_plan(struct sim_loss *loss, struct sim_cluster *cluster, const struct scenario *scenario);
/* What is gone is more than the replication allows. */
bool sim_loss_is_beyond(const struct sim_loss *loss);
/* Actors' mains; arg: the loss. The first serves no purpose but to be served: it returns when what needs the lost was done. */
void sim_loss_try(struct sim_actor *actor, void *arg);
void sim_loss_ask(struct sim_actor *actor, void *arg);
/* After both: fills in the statement, or says what was not honest. */
void sim_loss_judge(struct sim_loss *loss);
