/* What the files of quoin-api-test share. */
#pragma once

#include <quoin/quoin.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

extern const char *running; /* the test's name */
extern struct quoin_database *db;
extern int64_t version_at_start; /* a read version */
extern struct timespec started;  /* when that was */

#define CHECK_EQ(is, wanted)                                                                                            \
    do {                                                                                                                \
        long long is_ = (long long)(is), wanted_ = (long long)(wanted);                                                 \
                                                                                                                        \
        if (is_ != wanted_) {                                                                                           \
            fprintf(stderr, "FAIL %s: %s:%d: %s is %lld, not %lld\n", running, __FILE__, __LINE__, #is, is_, wanted_);  \
            exit(1);                                                                                                    \
        }                                                                                                               \
    } while (0)
#define CHECK(holds) CHECK_EQ(!!(holds), 1)

/* Waits, destroys the future, returns how it ended. */
int wait_for(struct quoin_future *future);
struct quoin_transaction *begin(void);
void set(struct quoin_transaction *txn, const char *key, const char *value);
struct quoin_future *ask(struct quoin_transaction *txn, const char *key);
int get_error(struct quoin_transaction *txn, const char *key);
/* True: the key is there with exactly that value. NULL: it is not there. */
bool is(struct quoin_transaction *txn, const char *key, const void *value, int length);
int commit(struct quoin_transaction *txn);
void empty(char *prefix);
int set_number(struct quoin_transaction *txn, int option, int64_t number);
int64_t read_version(struct quoin_transaction *txn);
double seconds_since(const struct timespec *then);

struct test {
    const char *name;
    void (*run)(void);
};
#define TEST(name) {#name, name}
extern const struct test data_tests[], more_tests[], special_tests[], watch_tests[]; /* each in a file of its own; each ends with an empty one */
