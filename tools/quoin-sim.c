/* quoin-sim: runs a scenario of the simulator with one seed or many.
 *
 *   quoin-sim --test tests/sim/NAME.ini --seed N [--seeds COUNT] [--trace FILE] [--report FILE] [--bug NAME]
 *             [--failures DIR | --no-failure-folder] [--shrink [--limit SECONDS]]
 *
 * With --seeds each seed runs in a child process, so that one that crashes is reported like one that fails. The last line of a
 * good run is `ok seed=N hash=H simulated=S real=R` (seconds); a failure prints why and the one command that repeats it, and
 * ends with 1. Each failing seed leaves a folder (tools/failure-folder) with its trace and explanation. 2: wrong usage or a scenario that can't be read. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "net/bytes.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "sim/run.h"
#include "sim/world.h"

enum { REAL_LIMIT_S = 900, SCENARIO_BYTES_MAX = 1 << 20, FOLDERS_MAX = 10 };

struct arguments {
    const char *program, *test, *trace, *report, *mute, *bug, *failures, *limit;
    uint64_t seed, seeds;
    bool no_folder, shrink;
};

/* For the signal handler: what runs, and how to repeat it. */
static struct sim_world *current_world;
static const struct arguments *current_arguments;
static uint64_t current_seed;

static void print_repeat(FILE *out, uint64_t seed)
{
    fprintf(out, "repeat: %s --test %s --seed %" PRIu64 " --trace /tmp/quoin-sim-%" PRIu64 ".trace\n",
            current_arguments->program, current_arguments->test, seed, seed);
}

/* ---- the scripts that a failure calls ---- */

/* "TOP/tools/NAME" of the tree that this program was built in, at TOP/build/TYPE/tools; false when it lies elsewhere. */
static bool script_path(const char *name, char *self, char *out)
{
    ssize_t length = readlink("/proc/self/exe", self, PATH_MAX - 1);
    char *end;

    if (length <= 0)
        return false;
    self[length] = '\0';
    memcpy(out, self, (size_t)length + 1);
    for (int up = 0; up < 4; up++) {
        end = strrchr(out, '/');
        if (end == NULL)
            return false;
        *end = '\0';
    }
    if (strlen(out) + strlen(name) + sizeof("/tools/") > PATH_MAX)
        return false;
    strcat(strcat(out, "/tools/"), name);
    return access(out, X_OK) == 0;
}

/* Becomes the script; returns only if that fails. */
static void become_script(const char *name, uint64_t seed)
{
    static char self[PATH_MAX], path[PATH_MAX];
    const struct arguments *arguments = current_arguments;
    char number[24];
    const char *argv[20] = {path, "--program", self, "--test", arguments->test, "--seed", number};
    size_t count = 7;

    if (!script_path(name, self, path))
        return;
    snprintf(number, sizeof(number), "%" PRIu64, seed);
    if (arguments->bug != NULL) {
        argv[count++] = "--bug";
        argv[count++] = arguments->bug;
    }
    if (arguments->failures != NULL) {
        argv[count++] = "--failures";
        argv[count++] = arguments->failures;
    }
    if (arguments->shrink && arguments->limit != NULL) {
        argv[count++] = "--limit";
        argv[count++] = arguments->limit;
    }
    execv(path, (char *const *)argv);
}

/* Also from a signal handler: between fork and exec nothing is done that a crashed process could not do. */
static void keep_failure(uint64_t seed)
{
    const struct arguments *arguments = current_arguments;
    bool wanted_to_fail = arguments->bug != NULL && arguments->failures == NULL;
    pid_t child;

    if (arguments->no_folder || arguments->trace != NULL || wanted_to_fail)
        return;
    fflush(stderr);
    alarm(0);
    child = fork();
    if (child == 0) {
        become_script("failure-folder", seed);
        _exit(127);
    }
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* ---- one seed ---- */

static void watch(struct sim_world *world)
{
    current_world = world;
}

/* Not safe in every state of a crashed process; the process ends either way. */
static void crashed(int number)
{
    struct sim_world *world = current_world;

    signal(number, SIG_DFL);
    fprintf(stderr, "FAILED seed=%" PRIu64 ": %s at %.6f s in %s\n", current_seed,
            number == SIGALRM ? "it takes too long" : strsignal(number), world == NULL ? 0.0 : (double)world->now_us / 1e6,
            world == NULL || world->current == NULL ? "the world" : world->current->name);
    print_repeat(stderr, current_seed);
    if (world != NULL) {
        sim_world_fail(world, "%s", number == SIGALRM ? "it takes too long" : strsignal(number));
        sim_trace_end(world);
    }
    keep_failure(current_seed);
    raise(number);
}

static void usage(const char *program, FILE *out)
{
    fprintf(out,
            "usage: %s --test FILE --seed N [--seeds COUNT] [--trace FILE] [--report FILE] [--mute TEXT] [--bug NAME]\n"
            "       [--failures DIR | --no-failure-folder] [--shrink [--limit SECONDS]]\n"
            "\n"
            "  --test FILE    the scenario, as tests/sim/cycle.ini\n"
            "  --seed N       decides everything that happens\n"
            "  --seeds COUNT  that many seeds from N on, each in a process of its own\n"
            "  --trace FILE   every message with its cause\n"
            "  --report FILE  appends what struck, fired and was reached; tools/sim-report adds up\n"
            "  --mute TEXT    the BUGGIFY site of that text says that it fires, and does nothing: another hash shows its effect\n"
            "  --layout N     other addresses, other garbage in fresh memory: the hash must stay the same\n"
            "  --bug NAME     turns a planted bug on (tools/build bugs); --bug list names them\n"
            "  --failures DIR where a failing seed leaves its folder (default build/failures: see tools/failure-folder --help)\n"
            "  --no-failure-folder   leave none; --trace leaves none either, nor does --bug without --failures\n"
            "  --shrink       looks for a smaller scenario that fails in the same way (see tools/shrink --help)\n"
            "  --limit SECONDS       how long --shrink looks at most\n"
            "\n"
            "examples:\n"
            "  quoin-sim --test tests/sim/kills.ini --seed 1 --seeds 100\n"
            "  quoin-sim --test tests/sim/kills.ini --seed 7 --trace /tmp/7.trace && tools/explain /tmp/7.trace\n"
            "  quoin-sim --test tests/sim/kills.ini --seed 7 --shrink --limit 300\n",
            program);
    exit(out == stdout ? 0 : 2);
}

/* What the simulator must find. "list" is answered and ends the program well; a name that is none ends it with 2. */
static void turn_bug_on(const char *program, const char *name)
{
#ifdef QUOIN_PLANTED_BUGS
    if (planted_bug_turn_on(name))
        return;
    if (strcmp(name, "list") != 0)
        fprintf(stderr, "%s: no such bug: %s; there are:\n", program, name);
    planted_bug_list(strcmp(name, "list") == 0 ? stdout : stderr);
    exit(strcmp(name, "list") == 0 ? 0 : 2);
#else
    fprintf(stderr, "%s: --bug %s: this build has no bugs of that kind; tools/build bugs makes one that has\n", program, name);
    exit(2);
#endif
}

static uint64_t parse_number(const char *program, const char *text)
{
    char *end;
    unsigned long long number;

    errno = 0;
    number = strtoull(text, &end, 0);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-') {
        fprintf(stderr, "%s: not a number: %s\n", program, text);
        exit(2);
    }
    return number;
}

static struct arguments parse_arguments(int argc, char **argv)
{
    static const struct option options[] = {
        {"test", required_argument, NULL, 't'},   {"seed", required_argument, NULL, 's'},
        {"seeds", required_argument, NULL, 'n'},  {"trace", required_argument, NULL, 'o'},
        {"report", required_argument, NULL, 'r'}, {"bug", required_argument, NULL, 'b'},
        {"failures", required_argument, NULL, 'f'}, {"no-failure-folder", no_argument, NULL, 'x'},
        {"shrink", no_argument, NULL, 'k'},       {"limit", required_argument, NULL, 'l'},
        {"layout", required_argument, NULL, 'y'},
        {"mute", required_argument, NULL, 'm'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    struct arguments arguments = {.program = argv[0], .seeds = 1};
    bool has_seed = false;
    int option;

    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case 't':
            arguments.test = optarg;
            break;
        case 's':
            arguments.seed = parse_number(argv[0], optarg);
            has_seed = true;
            break;
        case 'n':
            arguments.seeds = parse_number(argv[0], optarg);
            break;
        case 'o':
            arguments.trace = optarg;
            break;
        case 'r':
            arguments.report = optarg;
            break;
        case 'y':
            mem_disturb(parse_number(argv[0], optarg));
            break;
        case 'm':
            arguments.mute = optarg;
            break;
        case 'b':
            arguments.bug = optarg;
            turn_bug_on(argv[0], optarg);
            break;
        case 'f':
            arguments.failures = optarg;
            break;
        case 'x':
            arguments.no_folder = true;
            break;
        case 'k':
            arguments.shrink = true;
            break;
        case 'l':
            arguments.limit = optarg;
            break;
        case 'h':
            usage(argv[0], stdout);
            break;
        default:
            usage(argv[0], stderr);
        }
    }
    if (arguments.test == NULL || !has_seed || arguments.seeds == 0 || optind != argc)
        usage(argv[0], stderr);
    return arguments;
}

static char *read_scenario(const char *path)
{
    FILE *in = fopen(path, "r");
    char *text = mem_zalloc(SCENARIO_BYTES_MAX);
    size_t length;

    if (in == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    length = fread(text, 1, SCENARIO_BYTES_MAX - 1, in);
    if (ferror(in) || length == SCENARIO_BYTES_MAX - 1) {
        fprintf(stderr, "%s: can't be read, or is too long\n", path);
        exit(2);
    }
    fclose(in);
    return text;
}

static void load_scenario(const char *path, struct scenario *ret_scenario)
{
    char *text = read_scenario(path);
    char why[256];
    int line = scenario_parse(text, ret_scenario, why, sizeof(why));

    mem_free(text);
    if (line != 0) {
        fprintf(stderr, "%s:%d: %s\n", path, line, why);
        exit(2);
    }
}

static FILE *open_output(const char *path, const char *mode)
{
    FILE *out = path == NULL ? NULL : fopen(path, mode);

    if (path != NULL && out == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    return out;
}

static double real_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int64_t cpu_ns(void)
{
    struct timespec used;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
}

static double cpu_seconds(void)
{
    return (double)cpu_ns() / 1e9;
}

/* The first line is there also when the run crashes: then no "end" follows. */
static FILE *open_report(const struct arguments *arguments, uint64_t seed)
{
    FILE *out = open_output(arguments->report, "a");

    if (out != NULL) {
        fprintf(out, "run\t%s\t%" PRIu64 "\n", arguments->test, seed);
        fflush(out);
    }
    return out;
}

static bool run_seed(const struct arguments *arguments, const struct scenario *scenario, uint64_t seed)
{
    struct sim_run_options options = {.seed = seed, .watch = watch, .cpu_ns = cpu_ns, .mute = arguments->mute};
    struct sim_run_result result;
    double began = real_seconds();

    current_seed = seed;
    options.trace = open_output(arguments->trace, "w");
    options.report = open_report(arguments, seed);
    alarm(REAL_LIMIT_S);
    sim_run(scenario, &options, &result);
    alarm(0);
    if (options.trace != NULL)
        fclose(options.trace);
    if (options.report != NULL) {
        fprintf(options.report, "end\t%s\t%016" PRIx64 "\t%.3f\t%.3f\n", result.ok ? "ok" : "failed", result.hash,
                result.simulated_s, cpu_seconds());
        fclose(options.report);
    }
    if (result.ok && result.why[0] != '\0') /* a scenario that must fail */
        printf("found at %.6f s: %s\n", result.simulated_s, result.why);
    if (result.ok && result.lost[0] != '\0')
        printf("lost beyond the limit at %.6f s: %s\n", result.simulated_s, result.lost);
    if (result.ok && result.shown[0] != '\0')
        printf("shown: %s\n", result.shown);
    if (result.ok) {
        printf("ok seed=%" PRIu64 " hash=%016" PRIx64 " simulated=%.3f real=%.3f\n", seed, result.hash, result.simulated_s,
               real_seconds() - began);
    } else {
        fprintf(stderr, "FAILED seed=%" PRIu64 " at %.6f s: %s\n", seed, result.simulated_s, result.why);
        if (result.shown[0] != '\0')
            fprintf(stderr, "shown: %s\n", result.shown);
        fprintf(stderr, "faults: %s\n", result.faults[0] == '\0' ? "none" : result.faults);
        print_repeat(stderr, seed);
        keep_failure(seed);
    }
    fflush(stdout);
    return result.ok;
}

static bool run_in_child(const struct arguments *arguments, const struct scenario *scenario, uint64_t seed)
{
    pid_t child = fork();
    int status;

    if (child < 0) {
        perror("fork");
        exit(2);
    }
    if (child == 0)
        _exit(run_seed(arguments, scenario, seed) ? 0 : 1);
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(int argc, char **argv)
{
    struct arguments arguments = parse_arguments(argc, argv);
    struct scenario scenario;
    uint64_t failed = 0;

    mem_set_fatal(true);
    current_arguments = &arguments;
    load_scenario(arguments.test, &scenario);
    signal(SIGABRT, crashed);
    signal(SIGSEGV, crashed);
    signal(SIGBUS, crashed);
    signal(SIGFPE, crashed);
    signal(SIGALRM, crashed);
    if (arguments.shrink) {
        become_script("shrink", arguments.seed);
        fprintf(stderr, "%s: tools/shrink is not where this program was built\n", arguments.program);
        return 2;
    }
    if (arguments.seeds == 1)
        return run_seed(&arguments, &scenario, arguments.seed) ? 0 : 1;
    for (uint64_t i = 0; i < arguments.seeds; i++) {
        failed += !run_in_child(&arguments, &scenario, arguments.seed + i);
        arguments.no_folder |= failed >= FOLDERS_MAX; /* the first ones tell enough */
    }
    if (failed != 0)
        fprintf(stderr, "%" PRIu64 " of %" PRIu64 " seeds failed\n", failed, arguments.seeds);
    return failed == 0 ? 0 : 1;
}
