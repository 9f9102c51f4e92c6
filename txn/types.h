/* The scalars and the limits that every part of the transaction system shares.
 *
 * All limits with names live here, with the static asserts that relate them. Sizes are in bytes; versions advance about
 * VERSIONS_PER_SECOND a second. */
#pragma once

#include <assert.h>
#include <stdint.h>

/* A point in the database's one order of commits. 0 is the empty database; negative is never a version. */
typedef int64_t version_t;
/* Names the part of the mutation stream that one storage server pulls. Never reused. */
typedef uint32_t tag_t;

#define VERSION_NONE ((version_t)-1)
#define VERSION_MAX INT64_MAX

#define KEY_BYTES_MAX 10000u
#define SYSTEM_KEY_BYTES_MAX 30000u /* keys that begin with \xff */
#define VALUE_BYTES_MAX 100000u
#define PAIR_HEADER_BYTES 8u            /* of a pair in a list of them (get_range): two lengths */
#define TRANSACTION_BYTES_MAX 10000000u /* keys and values written, plus conflict ranges */
#define TRANSACTION_SIZE_LIMIT_MIN 32u  /* least value of the size_limit option */

#define TRANSACTION_TAGS_MAX 5u
#define TRANSACTION_TAG_BYTES_MAX 16u
#define IDEMPOTENCY_ID_BYTES_MIN 16u
#define IDEMPOTENCY_ID_BYTES_MAX 255u
#define API_VERSION_MIN 13
#define API_VERSION_MAX 800

#define VERSIONS_PER_SECOND ((version_t)1000000)
#define MAX_READ_TRANSACTION_LIFE_VERSIONS (5 * VERSIONS_PER_SECOND)
#define MAX_WRITE_TRANSACTION_LIFE_VERSIONS (5 * VERSIONS_PER_SECOND)
/* The sequencer never runs further ahead of the committed version; a new epoch starts above the old one by more. */
#define VERSIONS_IN_FLIGHT_MAX (100 * VERSIONS_PER_SECOND)
/* What holds versions in memory frees them in steps of this many. */
#define VERSIONS_PER_GENERATION (VERSIONS_PER_SECOND / 2)

/* A transaction's place in its batch is 2 bytes of its versionstamp. */
#define BATCH_TRANSACTIONS_MAX 65535u
#define VERSIONSTAMP_BYTES 10u        /* 8 big-endian of the version, 2 big-endian of the place in the batch */
#define VERSIONSTAMP_OFFSET_BYTES 4u  /* little-endian, at the end of a versionstamped key or value */

static_assert(KEY_BYTES_MAX <= SYSTEM_KEY_BYTES_MAX, "a system key may be at least as long as any other");
static_assert(SYSTEM_KEY_BYTES_MAX + VALUE_BYTES_MAX < TRANSACTION_BYTES_MAX, "one largest mutation fits a transaction");
static_assert(MAX_WRITE_TRANSACTION_LIFE_VERSIONS <= MAX_READ_TRANSACTION_LIFE_VERSIONS,
              "what can still commit can still read");
static_assert(MAX_READ_TRANSACTION_LIFE_VERSIONS < VERSIONS_IN_FLIGHT_MAX, "an epoch's jump exceeds the window");
static_assert(VERSIONS_PER_GENERATION < UINT32_MAX, "a version within a generation fits 32 bits");
