/* A storage server to which shards move, in the lab, and what is done with it again and again. [k20, k40) moves, [, k20) is its own.
 *
 * Whoever calls bench_init calls bench_done. What fails, fails the test. */
#pragma once

#include "tests/unit/roles/storage_source.h"

#define OWN_END BYTES_LITERAL("k20")
#define MOVED_END BYTES_LITERAL("k99")

struct bench {
    struct lab lab;
    struct lab_source source;
};

uint64_t draw(struct lab *lab, uint64_t below);
version_t assign(struct lab *lab, struct bytes begin, struct bytes end, enum server_keys_state state);
/* A server with half of the keys, all of which have values of before. */
void bench_init(struct bench *bench, uint64_t seed, bool buggify);
void bench_done(struct bench *bench);
/* Versions for `seconds` of real time, all committed. */
void idle(struct lab *lab, unsigned seconds);
int ask_progress(struct lab *lab, version_t version, int64_t wait_us, bool *ret_ready);
int ask_progress_of(struct lab *lab, version_t version, int64_t wait_us, bool heals, bool *ret_ready);
bool is_ready(struct lab *lab, version_t version);
/* Time passes until the move that began at `version` may be finished; it is. */
void finish(struct lab *lab, version_t version);
void compare(struct lab *lab);
struct moves *moves_of(struct lab *lab);
/* Commits and runs until a chunk is being held. */
void until_held(struct bench *bench);
/* A move whose first chunk was asked for, and is held back by the source. The version of its assignment. */
version_t begin_held(struct bench *bench);
/* From here on chunks go into the engine, however small they are. */
void go_straight(struct lab *lab);
