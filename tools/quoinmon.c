/* quoinmon: keeps a quoind running for each [quoind.PORT] section of quoin.conf.
 *
 * It starts what the file names, restarts what dies (at once the first time, then with a growing wait), follows edits of
 * the file, passes SIGTERM, SIGINT and SIGHUP on and leaves when all its processes have. It sleeps in one poll over a
 * signalfd, an inotify and a timerfd, so an idle cluster costs it nothing. The children are killed by the kernel when
 * it dies: a cluster that nobody watches would be half a cluster.
 *
 * A child is WAITING (for its restart) -> RUNNING -> STOPPING (told to end; killed if it has not in time) -> gone, and
 * from RUNNING straight to WAITING when it dies by itself. `wanted` says whether the conf names it. */
#include "net/list.h"
#include "net/mem.h"
#include "tools/quoinmon_conf.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STOP_TIMEOUT_US (10 * 1000 * 1000ull) /* from SIGTERM to SIGKILL */
#define BACKOFF_FLOOR_US (50 * 1000ull)       /* what a wait of 0 grows from */
#define EXIT_CANNOT_EXEC 127

enum child_stage { CHILD_WAITING, CHILD_RUNNING, CHILD_STOPPING };

struct child {
    struct list node;
    char *id; /* owned */
    enum child_stage stage;
    bool wanted;          /* the conf names it */
    pid_t pid;            /* of RUNNING and STOPPING */
    uint64_t started_us;  /* of RUNNING and STOPPING */
    uint64_t deadline_us; /* WAITING: start then; STOPPING: SIGKILL then; UINT64_MAX: never */
    uint64_t delay_us;    /* the wait before the next restart */
};

struct monitor {
    const char *conf_path;
    char conf_dir[PATH_MAX], conf_name[PATH_MAX];
    char default_command[PATH_MAX];
    struct conf conf;
    struct list children;
    int signal_fd, inotify_fd, timer_fd;
    bool leaving; /* a signal said so: nothing is started any more */
};

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void say(const char *who, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One line an event; `who` is the child's id or NULL. */
static void say(const char *who, const char *format, ...)
{
    char text[1024], stamp[32];
    struct timespec now;
    struct tm utc;
    va_list args;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fprintf(stderr, "%s.%03ldZ %s%s: %s\n", stamp, now.tv_nsec / 1000000, who != NULL ? "quoind." : "quoinmon",
            who != NULL ? who : "", text);
}

/* ---- children ---- */

static struct child *child_find(struct monitor *monitor, const char *id)
{
    list_each(node, after, &monitor->children)
    {
        struct child *child = list_entry(node, struct child, node);

        if (strcmp(child->id, id) == 0)
            return child;
    }
    return NULL;
}

static struct child *child_create(struct monitor *monitor, const char *id)
{
    struct child *child = mem_zalloc(sizeof(*child));

    child->id = mem_alloc(strlen(id) + 1);
    memcpy(child->id, id, strlen(id) + 1);
    child->delay_us = monitor->conf.initial_restart_delay_us;
    list_push_back(&monitor->children, &child->node);
    return child;
}

static void child_destroy(struct child *child)
{
    list_remove(&child->node);
    mem_free(child->id);
    mem_free(child);
}

/* In the child, between fork and exec. */
static void become(const struct conf_process *process, pid_t parent)
{
    sigset_t none;
    int null;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    /* A terminal's Ctrl-C is for quoinmon, which passes it on. */
    setpgid(0, 0);
    null = open("/dev/null", O_RDONLY);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    execvp(process->argv[0], (char *const *)process->argv);
    fprintf(stderr, "quoinmon: can't run %s: %s\n", process->argv[0], strerror(errno));
    _exit(EXIT_CANNOT_EXEC);
}

static void child_wait(struct monitor *monitor, struct child *child);

static void child_start(struct monitor *monitor, struct child *child)
{
    const struct conf_process *process = conf_find(&monitor->conf, child->id);
    pid_t parent = getpid();

    assert(process != NULL && child->stage == CHILD_WAITING);
    child->started_us = now_us();
    child->pid = fork();
    if (child->pid == 0)
        become(process, parent);
    if (child->pid < 0) {
        say(child->id, "can't fork: %s", strerror(errno));
        child->delay_us = child->delay_us > BACKOFF_FLOOR_US ? child->delay_us : BACKOFF_FLOOR_US;
        child_wait(monitor, child);
        return;
    }
    child->stage = CHILD_RUNNING;
    child->deadline_us = UINT64_MAX;
    say(child->id, "started %s, pid %d", process->argv[0], child->pid);
}

/* The wait before the next start; each is longer than the one before until the process has lived long enough. */
static void child_wait(struct monitor *monitor, struct child *child)
{
    const struct conf *conf = &monitor->conf;
    double next;

    if (now_us() - child->started_us >= conf->restart_delay_reset_us)
        child->delay_us = conf->initial_restart_delay_us;
    if (child->delay_us > conf->restart_delay_us)
        child->delay_us = conf->restart_delay_us;
    child->stage = CHILD_WAITING;
    child->deadline_us = now_us() + child->delay_us;
    if (child->delay_us > 0)
        say(child->id, "starts again in %.2f s", (double)child->delay_us / 1e6);
    next = (double)(child->delay_us > BACKOFF_FLOOR_US ? child->delay_us : BACKOFF_FLOOR_US) * conf->restart_backoff;
    child->delay_us = next < (double)conf->restart_delay_us ? (uint64_t)next : conf->restart_delay_us;
}

/* `signal`, and one that wakes a paused process to receive it. */
static void child_stop(struct child *child, int signal, const char *why)
{
    assert(child->stage == CHILD_RUNNING || child->stage == CHILD_STOPPING);
    say(child->id, "stopping pid %d: %s", child->pid, why);
    child->stage = CHILD_STOPPING;
    child->deadline_us = now_us() + STOP_TIMEOUT_US;
    kill(child->pid, signal);
    kill(child->pid, SIGCONT);
}

static void child_ended(struct monitor *monitor, struct child *child, int status)
{
    if (WIFSIGNALED(status))
        say(child->id, "pid %d was ended by signal %d (%s)", child->pid, WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        say(child->id, "pid %d exited with status %d", child->pid, WEXITSTATUS(status));
    if (monitor->leaving || !child->wanted) {
        child_destroy(child);
    } else if (child->stage == CHILD_STOPPING) {
        child->stage = CHILD_WAITING;
        child_start(monitor, child);
    } else {
        child_wait(monitor, child);
    }
}

static void reap(struct monitor *monitor)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        list_each(node, after, &monitor->children)
        {
            struct child *child = list_entry(node, struct child, node);

            if (child->stage != CHILD_WAITING && child->pid == pid) {
                child_ended(monitor, child, status);
                break;
            }
        }
}

/* ---- the conf ---- */

/* Brings one child in line with the new conf; `changed`: its command line is another one now. */
static void child_follow(struct monitor *monitor, struct child *child, bool changed)
{
    child->wanted = conf_find(&monitor->conf, child->id) != NULL;
    if (!child->wanted && child->stage == CHILD_WAITING) {
        say(child->id, "no longer in the conf");
        child_destroy(child);
    } else if (changed && child->stage == CHILD_WAITING) {
        child->delay_us = monitor->conf.initial_restart_delay_us;
        child->deadline_us = 0;
    } else if (child->stage == CHILD_RUNNING && (changed || !child->wanted)) {
        const char *why = child->wanted ? "its section has changed" : "no longer in the conf";

        if (monitor->conf.kill_on_configuration_change)
            child_stop(child, SIGTERM, why);
        else
            say(child->id, "%s; left running (kill_on_configuration_change = false)", why);
    }
}

/* Loads the conf again. A bad one changes nothing. */
static void reload(struct monitor *monitor)
{
    struct conf old = monitor->conf;
    char error[512];

    if (!conf_load(monitor->conf_path, monitor->default_command, &monitor->conf, error, sizeof(error))) {
        say(NULL, "%s: %s; going on with the one before", monitor->conf_path, error);
        return;
    }
    list_each(node, after, &monitor->children)
    {
        struct child *child = list_entry(node, struct child, node);
        const struct conf_process *before = conf_find(&old, child->id);
        const struct conf_process *now = conf_find(&monitor->conf, child->id);

        child_follow(monitor, child, before != NULL && now != NULL && !conf_process_equal(before, now));
    }
    for (size_t i = 0; i < monitor->conf.process_count; i++)
        if (child_find(monitor, monitor->conf.processes[i].id) == NULL) {
            struct child *child = child_create(monitor, monitor->conf.processes[i].id);

            child->wanted = true;
            child_start(monitor, child);
        }
    say(NULL, "%s: %zu processes", monitor->conf_path, monitor->conf.process_count);
    conf_done(&old);
}

/* Reads all queued events and reloads once: an editor causes several. */
static void follow_edits(struct monitor *monitor)
{
    char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool edited = false;
    ssize_t got;

    while ((got = read(monitor->inotify_fd, buffer, sizeof(buffer))) > 0)
        for (char *at = buffer; at < buffer + got;) {
            struct inotify_event *event = (struct inotify_event *)(void *)at;

            if ((event->mask & IN_Q_OVERFLOW) != 0 || (event->len > 0 && strcmp(event->name, monitor->conf_name) == 0))
                edited = true;
            at += sizeof(*event) + event->len;
        }
    if (edited && !monitor->leaving)
        reload(monitor);
}

/* ---- signals and time ---- */

static void leave(struct monitor *monitor, int signal)
{
    say(NULL, "signal %d (%s), passed on", signal, strsignal(signal));
    monitor->leaving = true;
    list_each(node, after, &monitor->children)
    {
        struct child *child = list_entry(node, struct child, node);

        if (child->stage == CHILD_WAITING)
            child_destroy(child);
        else
            child_stop(child, signal, "quoinmon leaves");
    }
}

static void read_signals(struct monitor *monitor)
{
    struct signalfd_siginfo info;

    while (read(monitor->signal_fd, &info, sizeof(info)) == sizeof(info))
        if (info.ssi_signo != SIGCHLD)
            leave(monitor, (int)info.ssi_signo);
    reap(monitor);
}

static void run_deadlines(struct monitor *monitor)
{
    uint64_t now = now_us();

    list_each(node, after, &monitor->children)
    {
        struct child *child = list_entry(node, struct child, node);

        if (child->deadline_us > now)
            continue;
        if (child->stage == CHILD_WAITING) {
            child_start(monitor, child);
        } else {
            assert(child->stage == CHILD_STOPPING);
            say(child->id, "pid %d did not end in time: SIGKILL", child->pid);
            child->deadline_us = UINT64_MAX;
            kill(child->pid, SIGKILL);
        }
    }
}

static void arm_timer(struct monitor *monitor)
{
    struct itimerspec when = {0};
    uint64_t first = UINT64_MAX;

    list_each(node, after, &monitor->children)
    {
        struct child *child = list_entry(node, struct child, node);

        if (child->deadline_us < first)
            first = child->deadline_us;
    }
    if (first != UINT64_MAX) {
        first = first > 0 ? first : 1; /* all zeroes would disarm */
        when.it_value.tv_sec = (time_t)(first / 1000000);
        when.it_value.tv_nsec = (long)(first % 1000000) * 1000;
    }
    timerfd_settime(monitor->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void run(struct monitor *monitor)
{
    struct pollfd fds[] = {
        {.fd = monitor->signal_fd, .events = POLLIN},
        {.fd = monitor->inotify_fd, .events = POLLIN},
        {.fd = monitor->timer_fd, .events = POLLIN},
    };

    while (!monitor->leaving || !list_empty(&monitor->children)) {
        uint64_t expirations;

        arm_timer(monitor);
        if (poll(fds, sizeof(fds) / sizeof(fds[0]), -1) < 0 && errno != EINTR)
            break;
        if (read(monitor->timer_fd, &expirations, sizeof(expirations)) < 0)
            assert(errno == EAGAIN || errno == ECANCELED);
        follow_edits(monitor);
        read_signals(monitor);
        run_deadlines(monitor);
    }
}

/* ---- main ---- */

static void usage(FILE *out)
{
    fputs("usage: quoinmon --conffile FILE\n"
          "\n"
          "Keeps a quoind running for each [quoind.PORT] section of FILE, restarts what dies, follows edits of FILE,\n"
          "passes SIGTERM, SIGINT and SIGHUP on and leaves when its processes have. Logs to stderr.\n"
          "\n"
          "  --conffile FILE   quoin.conf; the keys are those of foundationdb.conf\n"
          "  --help            this text\n"
          "\n"
          "A quoin.conf of two processes ($ID is the PORT of the section; auto: is 127.0.0.1):\n"
          "\n"
          "  [general]\n"
          "  cluster_file = /etc/quoin/quoin.cluster\n"
          "  restart_delay = 60                  # the longest wait, in seconds, before a restart\n"
          "  initial_restart_delay = 0           # the first, if the process lived restart_delay_reset_interval\n"
          "  restart_backoff = 2                 # each wait is that much longer than the one before\n"
          "  restart_delay_reset_interval = 10\n"
          "  kill_on_configuration_change = true\n"
          "\n"
          "  [quoind]\n"
          "  command = /usr/sbin/quoind\n"
          "  public_address = auto:$ID\n"
          "  listen_address = public\n"
          "  datadir = /var/lib/quoin/data/$ID\n"
          "  logdir = /var/log/quoin/$ID\n"
          "\n"
          "  [quoind.4500]\n"
          "  class = log\n"
          "  locality_zoneid = rack-1\n"
          "\n"
          "  [quoind.4501]\n"
          "  knob_storage_memory_bytes = 1000000000\n"
          "\n"
          "A process whose section is removed or commented out is stopped and not started again.\n",
          out);
}

static void open_events(struct monitor *monitor)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    monitor->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    monitor->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    monitor->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (monitor->signal_fd < 0 || monitor->inotify_fd < 0 || monitor->timer_fd < 0) {
        say(NULL, "can't open an event descriptor: %s", strerror(errno));
        exit(1);
    }
    /* The folder, not the file: editors write another file and rename it. */
    if (inotify_add_watch(monitor->inotify_fd, monitor->conf_dir, IN_CLOSE_WRITE | IN_MOVED_TO) < 0)
        say(NULL, "can't watch %s (%s): edits will not be followed", monitor->conf_dir, strerror(errno));
}

/* Where the file is, and the quoind beside this program, for a conf that names none. */
static void find_paths(struct monitor *monitor, const char *conf_path)
{
    char copy[PATH_MAX], self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (strlen(conf_path) >= sizeof(copy)) {
        say(NULL, "the path of the conf is too long");
        exit(1);
    }
    monitor->conf_path = conf_path;
    strcpy(copy, conf_path);
    strcpy(monitor->conf_dir, dirname(copy));
    strcpy(copy, conf_path);
    strcpy(monitor->conf_name, basename(copy));
    if (len < 0)
        len = 0;
    self[len] = '\0';
    if (snprintf(monitor->default_command, sizeof(monitor->default_command), "%s/quoind", dirname(self)) < 0)
        monitor->default_command[0] = '\0';
}

static const char *parse_arguments(int argc, char **argv)
{
    static const struct option options[] = {
        {"conffile", required_argument, NULL, 'f'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    const char *conf_path = NULL;
    int option;

    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            usage(stdout);
            exit(0);
        }
        if (option != 'f')
            exit(2); /* getopt has said why */
        conf_path = optarg;
    }
    if (conf_path == NULL || optind != argc) {
        fprintf(stderr, "quoinmon: %s\n", conf_path == NULL ? "--conffile FILE is needed" : "takes no argument");
        usage(stderr);
        exit(2);
    }
    return conf_path;
}

int main(int argc, char **argv)
{
    struct monitor monitor = {0};
    char error[512];

    mem_set_fatal(true);
    list_init(&monitor.children);
    find_paths(&monitor, parse_arguments(argc, argv));
    open_events(&monitor);
    if (!conf_load(monitor.conf_path, monitor.default_command, &monitor.conf, error, sizeof(error))) {
        say(NULL, "%s: %s", monitor.conf_path, error);
        return 1;
    }
    for (size_t i = 0; i < monitor.conf.process_count; i++) {
        struct child *child = child_create(&monitor, monitor.conf.processes[i].id);

        child->wanted = true;
        child_start(&monitor, child);
    }
    say(NULL, "%s: %zu processes", monitor.conf_path, monitor.conf.process_count);
    run(&monitor);
    conf_done(&monitor.conf);
    say(NULL, "all processes have ended");
    return 0;
}
