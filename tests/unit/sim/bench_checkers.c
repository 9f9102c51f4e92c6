/* How many transactions of 4 reads and 2 writes each checker goes through in a second, on one core. */
#include <stdio.h>
#include <time.h>

#include "sim/checkers/replay.h"
#include "tests/unit/sim/history_maker.h"

enum { TRANSACTIONS = 1000000 };

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(void)
{
    struct maker_options options = {
        .seed = 1, .transactions = TRANSACTIONS, .keys = 10000, .at_once = 32, .reads = 4, .writes = 2, .points = true};
    struct history history;
    struct cycles_history lists;
    struct replay_report replay;
    struct cycles_report cycles;
    double began_s;

    make_history(&options, &history);
    began_s = now_s();
    replay_check(&history, NULL, &replay);
    printf("replay: %-8s %.0f transactions/s (%u committed, %u conflicts, %u unknown)\n", replay_name(replay.anomaly),
           TRANSACTIONS / (now_s() - began_s), replay.committed, replay.conflicts, replay.unknown);
    history_done(&history);
    options.keys = 100000;
    make_lists(&options, &lists);
    began_s = now_s();
    cycles_check(&lists, &cycles);
    printf("cycles: %-8s %.0f transactions/s (%u committed, %u edges)\n", cycles_name(cycles.anomaly),
           TRANSACTIONS / (now_s() - began_s), cycles.committed, cycles.edges);
    cycles_done(&lists);
    return replay.anomaly != REPLAY_OK || cycles.anomaly != CYCLES_OK;
}
