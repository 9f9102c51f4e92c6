/* Whom a storage server in the lab fetches from: a commit proxy that says where keys are, and two sources that answer by the model. */
#pragma once

#include "tests/unit/roles/storage_lab.h"

enum source_mood {
    SOURCE_WELL,
    SOURCE_HOLDS,      /* keeps what it is asked until source_release */
    SOURCE_DEAD,       /* broken_promise */
    SOURCE_ELSEWHERE,  /* wrong_shard_server */
    SOURCE_BEHIND,     /* future_version */
    SOURCE_FORGOT,     /* transaction_too_old */
    SOURCE_DAMAGED,    /* a byte of its answer is another one */
    SOURCE_WRONG_PART, /* answers as if it had been asked for another range */
};

enum { SOURCES = 2 };

struct lab_source {
    struct lab *lab;
    enum source_mood moods[SOURCES];
    uint64_t asked[SOURCES], given[SOURCES], located;
    bool names_server;         /* the proxy names the fetching server too */
    bool proxy_silent;
    uint32_t bytes_limit;      /* of a chunk; 0: what is asked for */
    version_t least_version;   /* that was asked for last */
    struct list held;
};

/* Registers them; the lab is described anew. Before lab_done: source_done. */
void source_init(struct lab_source *source, struct lab *lab);
void source_done(struct lab_source *source);
/* Answers what was held, as of now; later requests are answered well. */
void source_release(struct lab_source *source);
