/* Trace lines of a process: buffered during a turn, written at its end, rolled by size.
 *
 * A file is opened with its first line. Tracing never fails anybody: lines that can't be written (a full disk) are lost, and the
 * next turn tries again. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "net/env_posix_impl.h"
#include "net/error.h"
#include "net/mem.h"

enum { BUFFER_BYTES_MAX = 64 * 1024, OLD_FILES_MAX = 1000 };

static int make_tail(struct trace_sink *sink, const char *group)
{
    bool grouped = group != NULL && group[0] != '\0';
    int error = grouped ? bytes_buffer_append(&sink->tail, BYTES_LITERAL(",\"LogGroup\":\"")) : 0;

    if (error == 0 && grouped)
        error = bytes_buffer_append(&sink->tail, bytes_of_string(group));
    return error != 0 ? error : bytes_buffer_append(&sink->tail, grouped ? BYTES_LITERAL("\"}\n") : BYTES_LITERAL("}\n"));
}

int posix_trace_init(struct env_posix *posix, const struct env_posix_options *options)
{
    struct trace_sink *sink = &posix->trace;

    pthread_mutex_init(&sink->mutex, NULL);
    sink->fd = -1;
    sink->port = options->trace_port;
    sink->to_stderr = options->trace_stderr;
    sink->severity_min = options->trace_severity_min == 0 ? SEVERITY_INFO : options->trace_severity_min;
    sink->started_s = env_wall_us(&posix->env) / 1000000;
    if (options->trace_dir == NULL)
        return 0;
    sink->dir = mem_alloc(strlen(options->trace_dir) + 1);
    if (sink->dir == NULL)
        return ERROR_OUT_OF_MEMORY;
    memcpy(sink->dir, options->trace_dir, strlen(options->trace_dir) + 1);
    return make_tail(sink, options->trace_group);
}

/* ---- files ---- */

struct old_file {
    int64_t started_s;
    unsigned number;
};

static int compare_old_files(const void *left, const void *right)
{
    const struct old_file *a = left, *b = right;

    if (a->started_s != b->started_s)
        return a->started_s < b->started_s ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

static void file_path(const struct trace_sink *sink, struct old_file file, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/trace.%" PRIu32 ".%" PRId64 ".%u.json", sink->dir, sink->port, file.started_s, file.number);
}

/* "trace.PORT.TIME.N.json" of this port and nothing else. */
static bool parse_name(const struct trace_sink *sink, const char *name, struct old_file *ret_file)
{
    char again[64];
    uint32_t port;

    if (sscanf(name, "trace.%" SCNu32 ".%" SCNd64 ".%u.json", &port, &ret_file->started_s, &ret_file->number) != 3)
        return false;
    snprintf(again, sizeof(again), "trace.%" PRIu32 ".%" PRId64 ".%u.json", sink->port, ret_file->started_s,
             ret_file->number);
    return strcmp(name, again) == 0;
}

static size_t list_old_files(const struct trace_sink *sink, struct old_file *files)
{
    DIR *dir = opendir(sink->dir);
    struct dirent *entry;
    size_t count = 0;

    if (dir == NULL)
        return 0;
    while (count < OLD_FILES_MAX && (entry = readdir(dir)) != NULL)
        if (parse_name(sink, entry->d_name, &files[count]))
            count++;
    closedir(dir);
    qsort(files, count, sizeof(files[0]), compare_old_files);
    return count;
}

static void remove_oldest(struct env_posix *posix)
{
    struct old_file *files = mem_alloc(OLD_FILES_MAX * sizeof(*files));
    int64_t keep = posix->env.knobs.trace_files_max;
    char path[PATH_MAX];
    size_t count;

    if (files == NULL)
        return;
    count = list_old_files(&posix->trace, files);
    for (size_t i = 0; (int64_t)(count - i) > (keep < 1 ? 1 : keep); i++) {
        file_path(&posix->trace, files[i], path);
        unlink(path);
    }
    mem_free(files);
}

static void open_file(struct env_posix *posix)
{
    struct trace_sink *sink = &posix->trace;
    char path[PATH_MAX];

    file_path(sink, (struct old_file){sink->started_s, sink->number}, path);
    sink->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (sink->fd < 0)
        return;
    sink->number++;
    sink->file_bytes = 0;
    remove_oldest(posix);
}

/* With the mutex held. */
static void flush_lines(struct env_posix *posix)
{
    struct trace_sink *sink = &posix->trace;
    size_t done = 0;

    if (sink->buffer.len == 0)
        return;
    if (sink->fd < 0)
        open_file(posix);
    while (sink->fd >= 0 && done < sink->buffer.len) {
        ssize_t put = write(sink->fd, sink->buffer.ptr + done, sink->buffer.len - done);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            break;
        done += (size_t)put;
    }
    sink->file_bytes += done;
    sink->buffer.len = 0;
    if (sink->fd >= 0 && sink->file_bytes >= (uint64_t)posix->env.knobs.trace_roll_bytes) {
        close(sink->fd);
        sink->fd = -1;
    }
}

void posix_trace_flush(struct env_posix *posix)
{
    pthread_mutex_lock(&posix->trace.mutex);
    flush_lines(posix);
    pthread_mutex_unlock(&posix->trace.mutex);
}

/* ---- lines ---- */

static void write_to_stderr(struct bytes line)
{
    struct iovec pieces[2] = {{.iov_base = (void *)(uintptr_t)line.ptr, .iov_len = line.len},
                              {.iov_base = (void *)(uintptr_t)"\n", .iov_len = 1}};

    (void)!writev(STDERR_FILENO, pieces, 2);
}

/* With the mutex held. */
static void add_line(struct env_posix *posix, enum severity severity, struct bytes json_line)
{
    struct trace_sink *sink = &posix->trace;

    json_line.len--; /* its end is the tail's */
    if (sink->buffer.len + json_line.len + sink->tail.len > BUFFER_BYTES_MAX)
        flush_lines(posix);
    if (bytes_buffer_reserve(&sink->buffer, json_line.len + sink->tail.len) != 0)
        return;
    bytes_buffer_append(&sink->buffer, json_line);
    bytes_buffer_append(&sink->buffer, bytes_buffer_bytes(&sink->tail));
    if (severity >= SEVERITY_ERROR) /* the process may not live to the end of the turn */
        flush_lines(posix);
}

void posix_trace(struct env *env, enum severity severity, struct bytes json_line)
{
    struct env_posix *posix = env_posix_of(env);
    struct trace_sink *sink = &posix->trace;

    if (severity < sink->severity_min)
        return;
    if (sink->dir == NULL) {
        if (sink->to_stderr && severity >= SEVERITY_WARN)
            write_to_stderr(json_line);
        return;
    }
    pthread_mutex_lock(&sink->mutex);
    add_line(posix, severity, json_line);
    pthread_mutex_unlock(&sink->mutex);
}

void posix_trace_done(struct env_posix *posix)
{
    struct trace_sink *sink = &posix->trace;

    posix_trace_flush(posix);
    bytes_buffer_done(&sink->buffer);
    bytes_buffer_done(&sink->tail);
    mem_free(sink->dir);
    if (sink->fd >= 0)
        close(sink->fd);
    pthread_mutex_destroy(&sink->mutex);
}
