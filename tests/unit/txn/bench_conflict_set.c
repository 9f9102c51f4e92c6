/* How many transactions a second one core resolves. Not a test: run build/release/tests/unit/txn/bench_conflict_set.
 *
 * Keys are 16 bytes, uniform over a million. Batches of 500; versions advance by about what they would at the rate that
 * the load reaches, read versions lie 5 ms back, the window is 5 s. Only conflict_set_resolve and
 * conflict_set_set_oldest are timed. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/unit/draw.h"
#include "txn/conflict_range.h"
#include "txn/conflict_set.h"

enum { BATCH = 500, BATCHES = 4000, KEYS = 1000000, READ_LAG = 5000 };

struct load {
    const char *name;
    int point_reads, range_reads, point_writes, range_writes;
    int versions_per_batch;
};

static double now_seconds(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static struct bytes draw_key(uint64_t *random, char *out)
{
    return bytes_of(out, (size_t)snprintf(out, 24, "bench/%010llu", (unsigned long long)draw_below(random, KEYS)));
}

static void append_points(struct bytes_buffer *buffer, uint64_t *random, int count)
{
    char key[24];

    for (int i = 0; i < count; i++)
        conflict_range_append_point(buffer, draw_key(random, key));
}

/* 10 keys each */
static void append_ranges(struct bytes_buffer *buffer, uint64_t *random, int count)
{
    char begin[24], end[24];

    for (int i = 0; i < count; i++) {
        uint64_t at = draw_below(random, KEYS);

        snprintf(begin, sizeof(begin), "bench/%010llu", (unsigned long long)at);
        snprintf(end, sizeof(end), "bench/%010llu", (unsigned long long)at + 10);
        conflict_range_append(buffer, bytes_of_string(begin), bytes_of_string(end));
    }
}

/* All tables of one batch in one buffer; cut[2i], cut[2i+1], cut[2i+2] bound transaction i's reads and writes. */
struct batch {
    struct bytes_buffer bytes;
    size_t cut[2 * BATCH + 1];
};

static void fill_batch(struct batch *batch, const struct load *load, uint64_t *random)
{
    batch->bytes.len = 0;
    for (int i = 0; i < BATCH; i++) {
        batch->cut[2 * i] = batch->bytes.len;
        append_points(&batch->bytes, random, load->point_reads);
        append_ranges(&batch->bytes, random, load->range_reads);
        batch->cut[2 * i + 1] = batch->bytes.len;
        append_points(&batch->bytes, random, load->point_writes);
        append_ranges(&batch->bytes, random, load->range_writes);
    }
    batch->cut[2 * BATCH] = batch->bytes.len;
}

static void set_transactions(const struct batch *batch, struct conflict_transaction *transactions, version_t version)
{
    for (int i = 0; i < BATCH; i++) {
        const size_t *cut = &batch->cut[2 * i];

        transactions[i] = (struct conflict_transaction){
            .read_version = version < READ_LAG ? 0 : version - READ_LAG,
            .read_ranges = bytes_of(batch->bytes.ptr + cut[0], cut[1] - cut[0]),
            .write_ranges = bytes_of(batch->bytes.ptr + cut[1], cut[2] - cut[1]),
        };
    }
}

static void run(const struct load *load)
{
    static struct batch batch;
    static struct conflict_transaction transactions[BATCH];
    struct conflict_set *set = NULL;
    uint64_t random = 42;
    double spent = 0;
    int committed = 0;

    if (conflict_set_create(0, 1, &set) != 0)
        abort();
    for (int i = 1; i <= BATCHES; i++) {
        version_t version = (version_t)i * load->versions_per_batch;
        double start;

        fill_batch(&batch, load, &random);
        set_transactions(&batch, transactions, version);
        start = now_seconds();
        if (conflict_set_resolve(set, version, transactions, BATCH, NULL) != 0)
            abort();
        conflict_set_set_oldest(set, version - MAX_WRITE_TRANSACTION_LIFE_VERSIONS);
        spent += now_seconds() - start;
        for (int t = 0; t < BATCH; t++)
            committed += transactions[t].verdict == CONFLICT_COMMITTED;
    }
    printf("%-44s %6.2f M transactions/s, %.1f%% committed, %zu MiB held\n", load->name,
           (double)BATCH * BATCHES / spent / 1e6, 100.0 * committed / ((double)BATCH * BATCHES),
           conflict_set_bytes(set) >> 20);
    conflict_set_destroy(set);
}

int main(void)
{
    static const struct load loads[] = {
        {"4 point reads, 2 point writes", 4, 0, 2, 0, 200},
        {"1 point read, 1 point write", 1, 0, 1, 0, 60},
        {"3 point reads, 1 range read, 2 point writes", 3, 1, 2, 0, 1500},
        {"4 point reads, 1 point write, 1 range write", 4, 0, 1, 1, 1500},
        {"2 range reads, 2 range writes", 0, 2, 0, 2, 1500},
    };

    for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++)
        run(&loads[i]);
    return 0;
}
