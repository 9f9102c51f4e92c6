/* quoind: the one server program. A process with a class that hosts whatever roles it is recruited for.
 *
 * This file is the process: its flags, its data directory's lock, its signals. What it does is roles/worker/. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/env_posix.h"
#include "net/knobs.h"
#include "net/mem.h"
#include "net/trace.h"
#include "roles/worker/worker.h"
#include "tools/inspect.h"
#include "txn/client/cluster_file_disk.h"

enum { PATH_BYTES_MAX = 4096, COMMAND_LINE_BYTES_MAX = 2048 };

static const char usage[] =
    "quoind " QUOIN_VERSION ": a server process of a Quoin cluster\n"
    "\n"
    "usage: quoind -C CLUSTER_FILE -p IP:PORT -d DATADIR [options]\n"
    "       quoind --inspect DIR\n"
    "\n"
    "  -C, --cluster_file FILE     description:ID@ip:port,...; a process whose address is in it is a coordinator\n"
    "  -p, --public_address A      IP:PORT by which the others reach this process\n"
    "  -l, --listen_address A      IP:PORT to listen on (default: the public address)\n"
    "  -d, --datadir DIR           where its files are; made if absent; one process at a time\n"
    "  -c, --class CLASS           coordinator, stateless, log, storage or unset (default: may host anything)\n"
    "  -L, --logdir DIR            where its trace files go: one JSON line an event, rolled by size (default: none)\n"
    "      --locality-zoneid Z     what fails together with this process (default: its machine)\n"
    "      --locality-machineid M  (default: its IP)\n"
    "      --locality-rack R, --locality-data_hall H, --locality-dcid D\n"
    "                              where it stands: replicas are kept apart as far as these allow\n"
    "      --knob-NAME=V           sets a knob; --help-knobs lists them\n"
    "      --inspect DIR           prints and checks a data directory, offline; exits 1 if something in it is damaged\n"
    "      --version, --help, --help-knobs\n"
    "\n"
    "examples:\n"
    "  quoind -C /etc/quoin/quoin.cluster -p 127.0.0.1:4500 -d /var/lib/quoin/4500    # one process is a whole cluster\n"
    "  quoind -C quoin.cluster -p 10.0.0.5:4501 -l 0.0.0.0:4501 -d d/4501 -c log -L log --locality-zoneid rack7\n"
    "A new cluster is empty: create its database with: quoincli -C FILE --exec 'configure new single lmdb'\n";

struct server {
    struct env *env;
    struct worker *worker;
    const char *cluster_file; /* its path */
    int lock_fd;
    int exit_status;
};

struct arguments {
    const char *cluster_file, *data_directory, *log_directory, *inspect;
    struct address public_address, listen_address;
    enum process_class process_class;
    const char *zone, *machine, *rack, *hall, *data_center;
    struct knobs knobs;
};

static void __attribute__((format(printf, 1, 2), noreturn)) die(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    fprintf(stderr, "quoind: ");
    vfprintf(stderr, format, list);
    fprintf(stderr, "\n");
    va_end(list);
    exit(1);
}

/* ---- flags ---- */

static void print_knobs(void)
{
    const char *name, *why;
    int64_t value;

    for (size_t i = 0; (name = knobs_describe(i, &value, &why)) != NULL; i++)
        printf("--knob-%s=%" PRId64 "\n    %s\n", name, value, why);
}

static struct address parse_address(const char *flag, const char *text)
{
    struct address address;

    if (address_parse(bytes_of_string(text), &address) != 0)
        die("%s: \"%s\" is not an address of the form IP:PORT, as 127.0.0.1:4500", flag, text);
    return address;
}

static enum process_class parse_class(const char *text)
{
    for (int i = 0; i < CLASS_COUNT; i++)
        if (strcmp(text, process_class_name((enum process_class)i)) == 0)
            return (enum process_class)i;
    die("--class: \"%s\" is not one of coordinator, stateless, log, storage, unset", text);
}

static void set_knob(struct knobs *knobs, const char *argument)
{
    const char *name = argument + strlen("--knob-"), *equals = strchr(name, '=');
    int error;

    if (equals == NULL)
        die("%s: a knob is set by --knob-NAME=VALUE", argument);
    error = knobs_set(knobs, bytes_of(name, (size_t)(equals - name)), bytes_of_string(equals + 1));
    if (error == ERROR_INVALID_OPTION)
        die("%.*s: there is no such knob; --help-knobs lists them", (int)(equals - argument), argument);
    if (error != 0)
        die("%s: \"%s\" is not a whole number in its range", argument, equals + 1);
}

/* getopt knows no open set of names: knobs are taken out first. */
static int take_knobs(int argc, char **argv, struct knobs *knobs)
{
    int kept = 1;

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--knob-", 7) == 0 || strncmp(argv[i], "--knob_", 7) == 0)
            set_knob(knobs, argv[i]);
        else
            argv[kept++] = argv[i];
    }
    argv[kept] = NULL;
    return kept;
}

static bool is_too_long(const char *locality)
{
    return locality != NULL && strlen(locality) > 255;
}

static struct bytes locality_of(const char *text)
{
    return text == NULL ? bytes_none() : bytes_of_string(text);
}

static void parse_arguments(int argc, char **argv, struct arguments *a)
{
    enum { ZONE = 256, MACHINE, RACK, HALL, DATA_CENTER, INSPECT, VERSION, HELP_KNOBS, OTHER_LOCALITY };
    static const struct option options[] = {
        {"cluster_file", required_argument, NULL, 'C'},     {"cluster-file", required_argument, NULL, 'C'},
        {"public_address", required_argument, NULL, 'p'},   {"public-address", required_argument, NULL, 'p'},
        {"listen_address", required_argument, NULL, 'l'},   {"listen-address", required_argument, NULL, 'l'},
        {"datadir", required_argument, NULL, 'd'},          {"class", required_argument, NULL, 'c'},
        {"logdir", required_argument, NULL, 'L'},           {"locality-zoneid", required_argument, NULL, ZONE},
        {"locality_zoneid", required_argument, NULL, ZONE}, {"locality-machineid", required_argument, NULL, MACHINE},
        {"locality_machineid", required_argument, NULL, MACHINE},
        {"locality-rack", required_argument, NULL, RACK},   {"locality_rack", required_argument, NULL, RACK},
        {"locality-data-hall", required_argument, NULL, HALL}, {"locality_data_hall", required_argument, NULL, HALL},
        {"locality-data_hall", required_argument, NULL, HALL}, {"locality-dcid", required_argument, NULL, DATA_CENTER},
        {"locality_dcid", required_argument, NULL, DATA_CENTER},
        {"inspect", required_argument, NULL, INSPECT},      {"version", no_argument, NULL, VERSION},
        {"help", no_argument, NULL, 'h'},                   {"help-knobs", no_argument, NULL, HELP_KNOBS},
        {NULL, 0, NULL, 0},
    };
    int c;

    argc = take_knobs(argc, argv, &a->knobs);
    while ((c = getopt_long(argc, argv, "C:p:l:d:c:L:h", options, NULL)) != -1) {
        switch (c) {
        case 'C': a->cluster_file = optarg; break;
        case 'p': a->public_address = parse_address("--public_address", optarg); break;
        case 'l': a->listen_address = parse_address("--listen_address", optarg); break;
        case 'd': a->data_directory = optarg; break;
        case 'c': a->process_class = parse_class(optarg); break;
        case 'L': a->log_directory = optarg; break;
        case ZONE: a->zone = optarg; break;
        case MACHINE: a->machine = optarg; break;
        case RACK: a->rack = optarg; break;
        case HALL: a->hall = optarg; break;
        case DATA_CENTER: a->data_center = optarg; break;
        case INSPECT: a->inspect = optarg; break;
        case VERSION: printf("quoind %s\n", QUOIN_VERSION); exit(0);
        case 'h': fputs(usage, stdout); exit(0);
        case HELP_KNOBS: print_knobs(); exit(0);
        default: fprintf(stderr, "quoind: --help shows the flags\n"); exit(1);
        }
    }
    if (optind < argc)
        die("unexpected argument \"%s\"; --help shows the flags", argv[optind]);
    if (a->inspect != NULL)
        return;
    if (a->public_address.port == 0)
        die("-p IP:PORT is missing: the address by which the others reach this process");
    if (a->data_directory == NULL)
        die("-d DATADIR is missing: where this process keeps its files");
    if (is_too_long(a->zone) || is_too_long(a->machine) || is_too_long(a->rack) || is_too_long(a->hall) || is_too_long(a->data_center))
        die("a locality has at most 255 characters");
}

/* ---- files ---- */

static void make_directories(const char *path, const char *what)
{
    char part[PATH_BYTES_MAX];
    size_t length = strlen(path);

    if (length == 0 || length >= sizeof(part))
        die("%s \"%s\" is not a usable path", what, path);
    memcpy(part, path, length + 1);
    for (char *slash = part + 1; slash <= part + length; slash++) {
        char kept = *slash;

        if (kept != '/' && kept != '\0')
            continue;
        *slash = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            die("%s %s can't be made: %s", what, part, strerror(errno));
        *slash = kept;
    }
}

/* One process a data directory: the lock goes with the process, however it ends. */
static int lock_directory(const char *directory)
{
    char path[PATH_BYTES_MAX];
    int fd;

    if (snprintf(path, sizeof(path), "%s/lock", directory) >= (int)sizeof(path))
        die("data directory %s: the path is too long", directory);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        die("data directory %s: %s: %s", directory, path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        char pid[32] = "?";
        ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);

        pid[n > 0 ? n : 0] = '\0';
        pid[strcspn(pid, "\n")] = '\0';
        die("data directory %s is in use by process %s; give this one another -d, or stop that one", directory, pid);
    }
    if (ftruncate(fd, 0) != 0 || dprintf(fd, "%ld\n", (long)getpid()) < 0)
        die("data directory %s can't be written: %s", directory, strerror(errno));
    return fd;
}

static void read_cluster_file(const char *path, struct cluster_file *ret)
{
    static char text[CLUSTER_FILE_BYTES_MAX];
    char why[256];
    FILE *file = fopen(path, "re");
    size_t length;

    if (file == NULL)
        die("cluster file %s: %s; give one with -C, its form is description:ID@ip:port,ip:port", path, strerror(errno));
    length = fread(text, 1, sizeof(text), file);
    fclose(file);
    if (cluster_file_parse(bytes_of(text, length), ret, why, sizeof(why)) != 0)
        die("cluster file %s: %s", path, why);
}

static const char *find_cluster_file(const char *given)
{
    const char *environment = getenv("QUOIN_CLUSTER_FILE");

    if (given != NULL)
        return given;
    if (environment != NULL && environment[0] != '\0')
        return environment;
    return access("quoin.cluster", F_OK) == 0 ? "quoin.cluster" : "/etc/quoin/quoin.cluster";
}

/* ---- the process ---- */

static void on_signal(void *ctx, int signal_number)
{
    struct server *server = ctx;

    TRACE(server->env, SEVERITY_INFO, "Signal", {"Number", trace_int(signal_number)});
    env_posix_stop(server->env);
}

static void on_exit_wanted(void *ctx, int status, const char *why)
{
    struct server *server = ctx;

    fprintf(stderr, "quoind: the process ends: %s\n", why);
    server->exit_status = status;
    env_posix_stop(server->env);
}

static void on_coordinators_changed(void *ctx, const struct address *coordinators, uint32_t count)
{
    struct server *server = ctx;
    int error = cluster_file_update(server->cluster_file, coordinators, count);

    TRACE(server->env, error == 0 ? SEVERITY_INFO : SEVERITY_WARN_ALWAYS, "ClusterFileUpdated", {"Path", trace_str(server->cluster_file)},
          {"Error", trace_str(error_name(error))});
}

static void join_arguments(int argc, char **argv, char *out, size_t size)
{
    size_t at = 0;

    out[0] = '\0';
    for (int i = 0; i < argc && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%s", i == 0 ? "" : " ", argv[i]);
}

static int serve(const struct arguments *a, struct server *server, const char *command_line)
{
    struct env_posix_options env_options = {.trace_dir = a->log_directory,
                                            .trace_port = a->public_address.port,
                                            .trace_stderr = true,
                                            .on_signal = on_signal,
                                            .ctx = server};
    struct cluster_file cluster;
    struct worker_options options = {
        .data_directory = a->data_directory,
        .public_address = a->public_address,
        .listen_address = a->listen_address,
        .process_class = a->process_class,
        .zone = locality_of(a->zone),
        .machine = locality_of(a->machine),
        .rack = locality_of(a->rack),
        .hall = locality_of(a->hall),
        .data_center = locality_of(a->data_center),
        .command_line = bytes_of_string(command_line),
        .pid = (uint64_t)getpid(),
        .exit = on_exit_wanted,
        .exit_ctx = server,
        .coordinators_changed = on_coordinators_changed,
        .coordinators_ctx = server,
    };
    char why[512] = "";
    int status;

    server->cluster_file = find_cluster_file(a->cluster_file);
    read_cluster_file(server->cluster_file, &cluster);
    options.coordinators = cluster.coordinators;
    options.coordinator_count = cluster.coordinator_count;
    make_directories(a->data_directory, "data directory");
    if (a->log_directory != NULL)
        make_directories(a->log_directory, "log directory");
    server->lock_fd = lock_directory(a->data_directory);
    if (env_posix_create(&env_options, &server->env) != 0)
        die("the event loop can't be made: %s", strerror(errno));
    server->env->knobs = a->knobs;
    TRACE(server->env, SEVERITY_INFO, "ProgramStart", {"Version", trace_str(QUOIN_VERSION)},
          {"CommandLine", trace_str(command_line)}, {"Pid", trace_int(getpid())});
    if (worker_create(server->env, &options, &server->worker, why, sizeof(why)) != 0) {
        TRACE(server->env, SEVERITY_WARN_ALWAYS, "StartFailed", {"Why", trace_str(why)});
        fprintf(stderr, "quoind: %s\n", why);
        env_posix_destroy(server->env);
        return 1;
    }
    status = env_posix_run(server->env);
    TRACE(server->env, SEVERITY_INFO, "ProgramStop", {"Status", trace_int(status | server->exit_status)});
    worker_destroy(server->worker);
    env_posix_destroy(server->env);
    return status | server->exit_status;
}

int main(int argc, char **argv)
{
    struct server server = {.lock_fd = -1};
    struct arguments arguments = {.process_class = CLASS_UNSET};
    char command_line[COMMAND_LINE_BYTES_MAX];

    join_arguments(argc, argv, command_line, sizeof(command_line));
    mem_set_fatal(true);
    signal(SIGPIPE, SIG_IGN);
    knobs_init(&arguments.knobs);
    parse_arguments(argc, argv, &arguments);
    if (arguments.inspect != NULL)
        return inspect_directory(arguments.inspect);
    return serve(&arguments, &server, command_line);
}
