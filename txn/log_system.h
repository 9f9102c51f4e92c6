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
