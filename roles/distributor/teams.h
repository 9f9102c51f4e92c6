/* Sets of servers, each kept once: what thousands of shards share.
 *
 * A server is named by its slot in the picture (picture.h). A team's id is valid while somebody holds a reference on it; id 0 is the
 * empty team, which needs none. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { TEAM_SERVERS_MAX = 8, TEAM_NONE = 0 };

/* What the servers of a team are worth now: the planner's, worked out anew for each plan. */
struct team_health {
    uint8_t living;    /* have not failed */
    uint8_t zones;     /* different ones, of the living */
    uint8_t reachable; /* different zones of those that answer at this moment */
    uint8_t unwanted;  /* living, but to be emptied: excluded, of another engine */
    bool no_further;   /* no candidate's members are further apart: found once for all shards of the team */
    uint32_t nearness; /* 0: no two share a data centre, hall or rack; a shared data centre counts more than any halls, a hall than racks */
};

struct team {
    uint32_t servers[TEAM_SERVERS_MAX]; /* slots, sorted */
    uint32_t count;
    uint32_t refs; /* 0: the entry is free */
    uint32_t next; /* in its bucket, or of the free ones; 0: none */
    struct team_health health;
};

struct teams {
    struct team *all; /* owned; all[0] is the empty team */
    uint32_t count, capacity, free;
    uint32_t *buckets; /* owned */
    uint32_t bucket_count, used;
};

void teams_init(struct teams *teams);
void teams_done(struct teams *teams);
/* Takes a reference for the caller. Slots in any order, no duplicates, at most TEAM_SERVERS_MAX. */
uint32_t teams_intern(struct teams *teams, const uint32_t *servers, uint32_t count);
void teams_ref(struct teams *teams, uint32_t id);
void teams_unref(struct teams *teams, uint32_t id);
/* Valid until the next intern. */
static inline struct team *teams_at(const struct teams *teams, uint32_t id)
{
    return &teams->all[id];
}
bool team_has(const struct team *team, uint32_t server);
