/* The processes of a cluster, from its status, and the CPU time that those of this machine have used.
 *
 * A status is asked for by a client of its own, on an env that lives for the one question: nothing of it stays in the way of what is
 * measured. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/env_posix.h"
#include "tools/bench.h"
#include "txn/client/client_admin.h"
#include "txn/client/cluster_file.h"

enum { STATUS_TIMEOUT_US = 5000000 };

/* ---- asking ---- */

struct question {
    struct env *env;
    struct client_status status; /* call.ctx is the question */
    struct env_timer timeout;
    bool answered;
};

static void status_done(struct client_call *call)
{
    struct question *question = call->ctx;

    question->answered = call->error == 0;
    env_posix_stop(question->env);
}

static void timed_out(struct env_timer *timer)
{
    struct question *question = (struct question *)((char *)timer - offsetof(struct question, timeout));

    client_call_cancel(&question->status.call);
    env_posix_stop(question->env);
}

static bool read_cluster_file(const char *path, struct cluster_file *ret_file)
{
    char text[CLUSTER_FILE_BYTES_MAX], why[256];
    FILE *file = fopen(path, "re");
    size_t len;

    if (file == NULL)
        return false;
    len = fread(text, 1, sizeof(text), file);
    fclose(file);
    return cluster_file_parse(bytes_of(text, len), ret_file, why, sizeof(why)) == 0;
}

/* The status document as text in question->status.json; the caller ends that. */
static bool ask(const struct cluster_file *file, struct question *question)
{
    struct client_options options = {.coordinators = file->coordinators, .coordinator_count = file->coordinator_count};
    struct client *client;

    if (env_posix_create(&(struct env_posix_options){.trace_stderr = false}, &question->env) != 0)
        return false;
    if (client_create(question->env, &options, &client) == 0) {
        question->status.call.done = status_done;
        question->status.call.ctx = question;
        question->timeout.fire = timed_out;
        env_timer_start(question->env, &question->timeout, env_now_us(question->env) + STATUS_TIMEOUT_US);
        client_status_start(&question->status, NULL, client);
        env_posix_run(question->env);
        env_timer_cancel(question->env, &question->timeout);
        client_destroy(client);
    }
    env_posix_destroy(question->env);
    return question->answered;
}

/* ---- reading ---- */

static void copy_text(char *out, size_t size, const json_t *text)
{
    const char *from = json_string_value(text);

    snprintf(out, size, "%s", from != NULL ? from : "");
}

static void take_process(struct bench_process *process, const json_t *object)
{
    const json_t *roles = json_object_get(object, "roles");
    size_t i, used = 0;
    json_t *role;

    memset(process, 0, sizeof(*process));
    copy_text(process->address, sizeof(process->address), json_object_get(object, "address"));
    process->pid = (int)json_integer_value(json_object_get(object, "pid"));
    json_array_foreach (roles, i, role) {
        const char *name = json_string_value(json_object_get(role, "role"));

        if (name != NULL && used + strlen(name) + 2 < sizeof(process->roles))
            used += (size_t)sprintf(process->roles + used, "%s%s", used > 0 ? " " : "", name);
        process->watch_bytes += (uint64_t)json_integer_value(json_object_get(role, "watch_bytes"));
    }
}

static int by_address(const void *a, const void *b)
{
    return strcmp(((const struct bench_process *)a)->address, ((const struct bench_process *)b)->address);
}

/* The document is the "cluster" part, or holds it. */
static bool take_document(struct bytes text, struct bench_cluster *cluster)
{
    json_t *document = json_loadb((const char *)text.ptr, text.len, 0, NULL), *inner, *process;
    const char *id;

    if (document == NULL)
        return false;
    inner = json_object_get(document, "cluster");
    inner = inner != NULL ? inner : document;
    copy_text(cluster->recovery_state, sizeof(cluster->recovery_state),
              json_object_get(json_object_get(inner, "recovery_state"), "name"));
    json_object_foreach (json_object_get(inner, "processes"), id, process)
        if (cluster->count < BENCH_PROCESSES_MAX)
            take_process(&cluster->processes[cluster->count++], process);
    json_decref(document);
    qsort(cluster->processes, (size_t)cluster->count, sizeof(cluster->processes[0]), by_address);
    return cluster->count > 0;
}

/* Another machine may have a process of the same number: ours has its address among its arguments. */
static bool is_here(const struct bench_process *process)
{
    char path[64], text[8192];
    FILE *file;
    size_t len;

    snprintf(path, sizeof(path), "/proc/%d/cmdline", process->pid);
    file = process->pid > 0 ? fopen(path, "re") : NULL;
    if (file == NULL)
        return false;
    len = fread(text, 1, sizeof(text), file);
    fclose(file);
    return memmem(text, len, process->address, strlen(process->address)) != NULL;
}

bool bench_cluster_read(const char *cluster_file, struct bench_cluster *ret_cluster)
{
    struct question question = {.answered = false};
    struct bench_cluster cluster = {.count = 0};
    struct cluster_file file;
    bool good = read_cluster_file(cluster_file, &file) && ask(&file, &question) &&
                take_document(bytes_buffer_bytes(&question.status.json), &cluster);

    client_status_done(&question.status);
    if (!good)
        return false;
    for (int i = 0; i < cluster.count; i++)
        cluster.processes[i].here = is_here(&cluster.processes[i]);
    bench_cluster_sample(&cluster);
    *ret_cluster = cluster;
    return true;
}

/* ---- CPU time ---- */

/* Fields 14 and 15 of /proc/PID/stat; the second, the name, may hold anything but ends with the last parenthesis. */
static bool read_ticks(int pid, uint64_t *ret_ticks)
{
    unsigned long long user, system;
    char path[64], text[1024], *fields;
    size_t len = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "re");
    if (file != NULL) {
        len = fread(text, 1, sizeof(text) - 1, file);
        fclose(file);
    }
    text[len] = '\0';
    fields = strrchr(text, ')');
    if (fields == NULL ||
        sscanf(fields + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2)
        return false;
    *ret_ticks = user + system;
    return true;
}

void bench_cluster_sample(struct bench_cluster *cluster)
{
    for (int i = 0; i < cluster->count; i++)
        if (cluster->processes[i].here)
            cluster->processes[i].here = read_ticks(cluster->processes[i].pid, &cluster->processes[i].ticks);
}

/* ---- roles ---- */

static int count_role(const struct bench_cluster *cluster, const char *name, size_t len)
{
    int count = 0;

    for (int i = 0; i < cluster->count; i++)
        for (const char *at = cluster->processes[i].roles; *at != '\0'; at += strcspn(at, " "), at += *at == ' ')
            count += strcspn(at, " ") == len && strncmp(at, name, len) == 0;
    return count;
}

/* How many of a role there must be: those that hold data belong to their processes. */
static int wanted(const struct bench_cluster *before, const char *name, size_t len)
{
    bool holds_data = (len == 7 && strncmp(name, "storage", len) == 0) || (len == 11 && strncmp(name, "coordinator", len) == 0);

    return holds_data ? count_role(before, name, len) : 1;
}

bool bench_cluster_is_whole(const struct bench_cluster *now, const struct bench_cluster *before)
{
    if (now->count < before->count)
        return false;
    for (int i = 0; i < before->count; i++)
        for (const char *at = before->processes[i].roles; *at != '\0'; at += strcspn(at, " "), at += *at == ' ')
            if (count_role(now, at, strcspn(at, " ")) < wanted(before, at, strcspn(at, " ")))
                return false;
    return true;
}
