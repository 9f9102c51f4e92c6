/* Every lie, by file. A new one is a line here and a struct lie_type in its file. */
#pragma once

#include <assert.h>

#include "sim/lies/lies.h"

#define LIE_TABLE(X) \
    /* lies_messages.c */ \
    X(change) X(flip) X(double) X(drop) X(replay) X(stale) X(forge) \
    /* lies_raft.c */ \
    X(one_voter_twice) X(forged_configuration) X(wrong_hello) \
    /* lies_clock.c */ \
    X(clock_jump) X(clock_frozen) X(clock_fast) \
    /* lies_pipeline.c */ \
    X(one_version_twice) X(forgotten_batch) \
    /* lies_client.c */ \
    X(injected_metadata) X(monstrous_lengths) X(ignored_too_old) \
    /* lies_identity.c */ \
    X(forgotten_vote) X(double_identity) \
    /* lies_engine.c */ \
    X(harmed_engine) \
    /* lies_disks.c */ \
    X(harmed_file) X(misdirected) X(rolled_back) X(lying_disk) X(foreign_files) X(copied_role)

#define X(name) extern const struct lie_type lie_##name;
LIE_TABLE(X)
#undef X
