/* Which logs hold a tag: a pure function of a generation's list, so that proxies, storage and recovery always agree.
 *
 * A tag lives on `replication` logs in different zones. Tag t starts at log t % n of the list and takes, going round, every
 * log whose zone it has not got yet. A generation was recruited with at least `replication` zones (log_system_zone_count). */
#pragma once

#include "txn/messages.h"

enum { LOG_REPLICATION_MAX = 3, LOGS_MAX = 64 };

/* Fills indexes into generation->logs, in the order of preference for peeks; returns how many (fewer than replication only if
 * zones are missing). */
unsigned log_system_logs_of_tag(const struct generation *generation, tag_t tag, uint32_t ret_indexes[LOG_REPLICATION_MAX]);
/* A bit for each log of the generation that holds at least one of the tags. */
uint64_t log_system_logs_of_tags(const struct generation *generation, const tag_t *tags, uint32_t count);
/* Distinct zones among the logs whose bit is set in `mask`. */
unsigned log_system_zone_count(const struct generation *generation, uint64_t mask);
/* Could a recovery have made it? 1 to LOGS_MAX logs in at least `replication` zones, begin <= end. Whoever takes a generation
 * from another process or from a disk asks this before any of the above. */
bool log_system_is_sound(const struct generation *generation);
/* All of them are, their epochs ascend, and none begins before the one before it ends. */
bool log_system_are_sound(const struct generation *generations, uint32_t count);
/* Of a description: they are, and the newest is of the epoch that it describes. */
bool log_system_description_is_sound(const struct description *description);
/* Of the coordinated state: no generation before a database exists, then at least one, up to the written epoch, which has one
 * sequencer, commit proxies and resolvers. */
bool log_system_state_is_sound(const struct coordinated_state *state);
