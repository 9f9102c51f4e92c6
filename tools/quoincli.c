/* quoincli: the shell of a Quoin cluster. This file is its flags; commands are in cli_shell.c's table. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/error.h"
#include "net/mem.h"
#include "tools/cli_shell.h"

/* The margin: what was in the way has been said, and the process has ended, within the time-out. */
enum { EXEC_TIMEOUT_S = 5, ANSWER_MARGIN_US = 100000 };

static const char usage[] =
    "quoincli " QUOIN_VERSION ": the shell of a Quoin cluster\n"
    "\n"
    "usage: quoincli [-C FILE] [--exec COMMANDS] [--json] [--timeout SECONDS]\n"
    "\n"
    "  -C, --cluster_file FILE   where the coordinators are (default: $QUOIN_CLUSTER_FILE, ./quoin.cluster,\n"
    "                            /etc/quoin/quoin.cluster); or embedded:DIR or memory:, a cluster in this process\n"
    "      --exec COMMANDS       runs commands, separated by `;', and exits; with 1 at the first that fails\n"
    "      --json                one JSON object a command, one a line: command, ok, result or error\n"
    "      --timeout SECONDS     with --exec: for all commands together (default 5; 0: none); else for each (default none)\n"
    "      --version, --help\n"
    "\n"
    "Without --exec it reads commands: from a terminal with history and completion, else line by line, and then exits with 1 at\n"
    "the first that fails. `help' lists the commands.\n"
    "\n"
    "examples:\n"
    "  quoincli -C quoin.cluster --exec 'configure new single lmdb'\n"
    "  quoincli -C quoin.cluster --exec 'writemode on; set hello world; get hello'\n"
    "  quoincli -C quoin.cluster --exec 'getrange a b 100' --json\n"
    "  quoincli -C quoin.cluster --exec status\n"
    "  quoincli -C embedded:./data --exec 'writemode on; set hello world; get hello'\n";

struct arguments {
    const char *cluster_file, *exec;
    bool json;
    double timeout_s; /* negative: not given */
};

static double parse_seconds(const char *text)
{
    char *end;
    double seconds;

    errno = 0;
    seconds = strtod(text, &end);
    if (end == text || *end != '\0' || errno != 0 || !(seconds >= 0 && seconds <= 1e9)) {
        fprintf(stderr, "quoincli: --timeout: \"%s\" is not a number of seconds\n", text);
        exit(1);
    }
    return seconds;
}

static void parse_arguments(int argc, char **argv, struct arguments *ret)
{
    enum { EXEC = 256, JSON, TIMEOUT, VERSION };
    static const struct option options[] = {
        {"cluster_file", required_argument, NULL, 'C'}, {"cluster-file", required_argument, NULL, 'C'},
        {"exec", required_argument, NULL, EXEC},        {"json", no_argument, NULL, JSON},
        {"timeout", required_argument, NULL, TIMEOUT},  {"version", no_argument, NULL, VERSION},
        {"help", no_argument, NULL, 'h'},               {NULL, 0, NULL, 0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "C:h", options, NULL)) != -1) {
        switch (c) {
        case 'C': ret->cluster_file = optarg; break;
        case EXEC: ret->exec = optarg; break;
        case JSON: ret->json = true; break;
        case TIMEOUT: ret->timeout_s = parse_seconds(optarg); break;
        case VERSION: printf("quoincli %s\n", QUOIN_VERSION); exit(0);
        case 'h': fputs(usage, stdout); exit(0);
        default: fprintf(stderr, "quoincli: --help shows the flags\n"); exit(1);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "quoincli: unexpected argument \"%s\"; commands go into --exec '...'; --help shows the flags\n", argv[optind]);
        exit(1);
    }
}

/* From a pipe or a file: each line as it comes. */
static int run_lines(struct cli *cli)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    bool good = true;

    while (good && !cli->quit && (length = getline(&line, &capacity, stdin)) >= 0)
        good = cli_run_text(cli, bytes_of(line, (size_t)length));
    (free)(line); /* getline's own */
    return good ? 0 : 1;
}

static int run(struct cli *cli, const struct arguments *arguments, bool person)
{
    double seconds = arguments->timeout_s >= 0 ? arguments->timeout_s : arguments->exec != NULL ? EXEC_TIMEOUT_S : 0;

    cli->timeout_us = (int64_t)(seconds * 1e6);
    if (cli->timeout_us > 10 * ANSWER_MARGIN_US)
        cli->timeout_us -= ANSWER_MARGIN_US;
    if (arguments->exec != NULL && cli->timeout_us > 0)
        cli->session.deadline_us = env_now_us(cli->session.env) + cli->timeout_us;
    if (arguments->exec != NULL)
        return cli_run_text(cli, bytes_of_string(arguments->exec)) ? 0 : 1;
    return person ? cli_interactive(cli) : run_lines(cli);
}

/* In the form that was asked for: a program that reads JSON gets JSON. */
static void say_failed_open(struct cli *cli, int error)
{
    json_t *object;

    fprintf(stderr, "ERROR: %s (%d)\n", cli->session.why, error);
    if (!cli->json)
        return;
    object = json_pack("{s:s,s:b,s:{s:i,s:s,s:s}}", "command", "open", "ok", 0, "error", "code", error, "name", error_name(error),
                       "message", cli->session.why);
    if (object == NULL)
        return;
    (void)json_dumpf(object, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
    putchar('\n');
    json_decref(object);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.timeout_s = -1};
    static struct cli cli;
    bool person;
    int error, status = 1;

    mem_set_fatal(true);
    parse_arguments(argc, argv, &arguments);
    person = arguments.exec == NULL && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    cli.json = arguments.json;
    cli.prompts = person && !arguments.json;
    arena_init(&cli.arena);
    error = cli_session_open(&cli.session, arguments.cluster_file, person);
    if (error == 0)
        status = run(&cli, &arguments, person);
    else
        say_failed_open(&cli, error);
    if (cli.session.env != NULL)
        cli_drop_transaction(&cli);
    cli_session_close(&cli.session);
    arena_done(&cli.arena);
    return status;
}
