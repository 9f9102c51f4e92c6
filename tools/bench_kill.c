/* Kills, and how long until the cluster goes on.
 *
 * tools/local-cluster says who runs the role, but this process sends the signal itself: only so is the moment known to some
 * microseconds, where a script's start takes longer than a recovery. What ends the clock is the first acknowledged
 * transaction whose try was begun, with its read version, after the kill: one that had its read version already would show
 * nothing when a GRV proxy dies. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/bench.h"

enum {
    RECOVERY_WAIT_US = 60000000,
    WHOLE_WAIT_US = 60000000,
    DRAIN_WAIT_US = 10000000, /* for storage servers to drain older generations */
    SETTLED_US = 1000000,
};

/* ---- the victim ---- */

/* build/TYPE/tools/quoin-bench -> tools/local-cluster. */
static bool find_script(char *out, size_t size)
{
    char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);

    if (len < 0)
        return false;
    path[len] = '\0';
    for (int i = 0; i < 4; i++) {
        char *slash = strrchr(path, '/');

        if (slash == NULL)
            return false;
        *slash = '\0';
    }
    return (size_t)snprintf(out, size, "%s/tools/local-cluster", path) < size;
}

/* The directory of the cluster file is the cluster's. */
static bool find_directory(const char *cluster_file, char out[static PATH_MAX])
{
    char *slash;

    if (realpath(cluster_file, out) == NULL)
        return false;
    slash = strrchr(out, '/');
    slash[slash == out] = '\0';
    return true;
}

/* Runs `local-cluster kill ROLE --print` and reads "role address pid" from it; its complaints go to stderr. */
static bool run_script(const char *script, const char *directory, const char *role, struct bench_kill *kill)
{
    int ends[2], status;
    char line[256];
    FILE *output;
    pid_t child;
    bool good;

    if (pipe2(ends, 0) != 0)
        return false;
    child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl(script, script, "kill", role, "--print", "--dir", directory, (char *)NULL);
        fprintf(stderr, "quoin-bench: %s: %s\n", script, strerror(errno));
        _exit(127);
    }
    close(ends[1]);
    output = fdopen(ends[0], "r");
    good = child > 0 && output != NULL && fgets(line, sizeof(line), output) != NULL &&
           sscanf(line, "%63s %63s %d", kill->role, kill->address, &kill->pid) == 3 && kill->pid > 1;
    if (output != NULL)
        fclose(output);
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0 && good;
}

static bool find_victim(const struct bench_options *options, struct bench_kill *kill)
{
    char script[PATH_MAX], directory[PATH_MAX];

    if (!find_script(script, sizeof(script)) || access(script, X_OK) != 0) {
        fprintf(stderr, "quoin-bench: --kill needs tools/local-cluster beside the build that this program is of\n");
        return false;
    }
    if (!find_directory(options->cluster, directory)) {
        fprintf(stderr, "quoin-bench: %s: %s\n", options->cluster, strerror(errno));
        return false;
    }
    return run_script(script, directory, options->kill, kill);
}

/* ---- one kill ---- */

static bool kill_one(struct bench_run *run, struct bench_kill *victim)
{
    int64_t killed_us, recovered_us;

    atomic_store(&run->recovered_us, 0);
    killed_us = bench_now_us();
    if (kill(victim->pid, SIGKILL) != 0) {
        fprintf(stderr, "quoin-bench: kill %d: %s\n", victim->pid, strerror(errno));
        return false;
    }
    atomic_store(&run->killed_us, bench_now_us());
    while ((recovered_us = atomic_load(&run->recovered_us)) == 0) {
        if (bench_now_us() - killed_us > RECOVERY_WAIT_US) {
            fprintf(stderr, "quoin-bench: no commit within %d s of killing %s %s\n", RECOVERY_WAIT_US / 1000000, victim->role,
                    victim->address);
            return false;
        }
        bench_sleep_us(1000);
    }
    atomic_store(&run->killed_us, 0);
    victim->recovery_ms = (double)(recovered_us - killed_us) / 1000;
    return true;
}

static bool is_back(const struct bench_cluster *cluster, const struct bench_kill *killed)
{
    for (int i = 0; i < cluster->count; i++)
        if (strcmp(cluster->processes[i].address, killed->address) == 0)
            return cluster->processes[i].pid != killed->pid;
    return false;
}

/* Waits until the supervisor has started it again, it has registered, every role is there, and the recovery is through. */
static bool wait_until_whole(struct bench_run *run, const struct bench_cluster *before, const struct bench_kill *killed)
{
    int64_t began_us = bench_now_us();
    uint64_t committed;

    for (;;) {
        struct bench_cluster now = {.recovery_state = "no answer"};
        int64_t waited_us = bench_now_us() - began_us;

        if (bench_cluster_read(run->options->cluster, &now) && is_back(&now, killed) && bench_cluster_is_whole(&now, before) &&
            (strcmp(now.recovery_state, "fully_recovered") == 0 ||
             (waited_us > DRAIN_WAIT_US && strcmp(now.recovery_state, "accepting_commits") == 0)))
            break;
        if (waited_us > WHOLE_WAIT_US) {
            fprintf(stderr, "quoin-bench: %d s after %s %s was killed the cluster is not whole (%s)\n", WHOLE_WAIT_US / 1000000,
                    killed->role, killed->address, now.recovery_state);
            return false;
        }
        bench_sleep_us(100000);
    }
    do {
        committed = atomic_load(&run->committed);
        bench_sleep_us(SETTLED_US);
    } while (atomic_load(&run->committed) == committed);
    return true;
}

bool bench_kills(struct bench_run *run, struct bench_kill *kills, int *ret_count)
{
    struct bench_cluster before;

    if (!bench_cluster_read(run->options->cluster, &before)) {
        fprintf(stderr, "quoin-bench: the cluster does not answer `status`\n");
        return false;
    }
    for (*ret_count = 0; *ret_count < run->options->times; (*ret_count)++) {
        struct bench_kill *victim = &kills[*ret_count];

        if (!find_victim(run->options, victim) || !kill_one(run, victim))
            return false;
        if (!run->options->json)
            printf("kill %3d: %s %s pid %d: %.1f ms\n", *ret_count + 1, victim->role, victim->address, victim->pid,
                   victim->recovery_ms);
        fflush(stdout);
        if (!wait_until_whole(run, &before, victim)) {
            (*ret_count)++;
            return false;
        }
    }
    return true;
}
