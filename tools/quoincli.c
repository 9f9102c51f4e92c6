/* quoincli: the shell. Lines are taken apart as fdbcli does; commands are in cli_commands.c and cli_status.c. */
#include <ctype.h>
#include <getopt.h>
#include <histedit.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/error.h"
#include "net/mem.h"
#include "tools/cli.h"

enum { EXEC_TIMEOUT_MS = 5000 };

/* ---- what the commands use ---- */

int cli_fail(struct cli *cli, int error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(cli->message, sizeof(cli->message), format, args);
    va_end(args);
    cli->error = error;
    return error;
}

void cli_print(struct cli *cli, const char *format, ...)
{
    va_list args;

    if (cli->json)
        return;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
}

/* A little less than the whole, so that the report still comes in time. */
int64_t cli_timeout_us(const struct cli *cli)
{
    return cli->timeout_ms > 0 ? cli->timeout_ms * 900 : INT64_C(60000000);
}

bool cli_word_is(const struct cli_word *word, const char *text)
{
    return bytes_equal(word->bytes, bytes_of_string(text));
}

char *cli_show(struct bytes bytes, struct bytes_buffer *buffer)
{
    size_t size = bytes.len * 4 + 1;

    buffer->len = 0;
    bytes_buffer_reserve(buffer, size);
    return bytes_print(bytes, (char *)buffer->ptr, size);
}

/* JSON has no bytes: as the shell shows them. */
json_t *cli_json_bytes(struct bytes bytes)
{
    struct bytes_buffer buffer = {0};
    json_t *text = json_string(cli_show(bytes, &buffer));

    bytes_buffer_done(&buffer);
    return text;
}

/* ---- lines ---- */

struct line {
    struct bytes_buffer text; /* the words' bytes, each with a zero byte behind it */
    size_t starts[CLI_WORDS_MAX + 1];
    struct cli_word words[CLI_WORDS_MAX];
    int count;
};

static int hex_of(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

static void put(struct line *line, char c)
{
    bytes_buffer_append(&line->text, bytes_of(&c, 1));
}

/* After a backslash. Returns how many characters it took, or 0 for a malformed escape. */
static size_t escape(struct line *line, const char *at)
{
    if (at[0] == 'x' && hex_of(at[1]) >= 0 && hex_of(at[2]) >= 0) {
        put(line, (char)(hex_of(at[1]) * 16 + hex_of(at[2])));
        return 3;
    }
    if (at[0] == '\\' || at[0] == '"' || at[0] == ' ' || at[0] == ';' || at[0] == '\'') {
        put(line, at[0]);
        return 1;
    }
    return 0;
}

/* Takes the next command off *at (up to ';' or the end). NULL, or what is wrong. */
static const char *split(const char **at, struct line *line)
{
    const char *p = *at;
    bool quoted = false, in_word = false;

    line->text.len = 0;
    line->count = 0;
    for (; *p != '\0' && (quoted || *p != ';'); p++) {
        if (!quoted && isspace((unsigned char)*p)) {
            if (in_word)
                put(line, '\0');
            in_word = false;
            continue;
        }
        if (!in_word && line->count == CLI_WORDS_MAX)
            return "too many words";
        if (!in_word)
            line->starts[line->count++] = line->text.len;
        in_word = true;
        if (*p == '"') {
            quoted = !quoted;
        } else if (*p == '\\') {
            size_t took = escape(line, p + 1);

            if (took == 0)
                return "malformed escape sequence (\\xNN, \\\\, \\\", \\;)";
            p += took;
        } else {
            put(line, *p);
        }
    }
    *at = *p == ';' ? p + 1 : p;
    if (quoted)
        return "a quote is not closed";
    put(line, '\0');
    line->starts[line->count] = in_word ? line->text.len : line->text.len - 1;
    for (int i = 0; i < line->count; i++)
        line->words[i].bytes = bytes_of(line->text.ptr + line->starts[i], line->starts[i + 1] - line->starts[i] - 1);
    if (line->count > 0 && !in_word)
        line->words[line->count - 1].bytes.len = line->text.len - 2 - line->starts[line->count - 1];
    return NULL;
}

/* ---- commands ---- */

static const struct cli_command *find_command(const struct cli_word *word)
{
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++)
        if (cli_word_is(word, command->name))
            return command;
    return NULL;
}

static void show_result(struct cli *cli)
{
    json_t *object;

    if (!cli->json) {
        fflush(stdout);
        if (cli->error != 0)
            fprintf(stderr, "ERROR: %s\n", cli->message);
        return;
    }
    object = json_pack("{s:s, s:b}", "command", cli->command, "ok", cli->error == 0);
    if (cli->error != 0)
        json_object_set_new(object, "error", json_pack("{s:i, s:s, s:s}", "code", cli->error, "name", error_name(cli->error),
                                                       "message", cli->message));
    if (cli->error == 0 || cli->result != NULL)
        json_object_set(object, "result", cli->result != NULL ? cli->result : json_null());
    json_dumpf(object, stdout, JSON_COMPACT);
    printf("\n");
    fflush(stdout);
    json_decref(object);
}

static void run_line(struct cli *cli, struct line *line)
{
    const struct cli_command *command = find_command(&line->words[0]);

    cli->error = 0;
    cli->message[0] = '\0';
    cli->result = NULL;
    cli->command = (const char *)line->words[0].bytes.ptr;
    if (command == NULL)
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "Unknown command `%s'. Try `help'?", cli->command);
    else if (line->count - 1 < command->words_min || line->count - 1 > command->words_max)
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "usage: %s", command->usage);
    else
        command->run(cli, line->words, line->count);
    show_result(cli);
    json_decref(cli->result);
    cli->result = NULL;
}

/* Runs commands until the first that fails; returns false then. */
static bool run_text(struct cli *cli, const char *text)
{
    struct line line = {0};
    const char *wrong = NULL;

    cli->error = 0;
    while (*text != '\0' && cli->error == 0 && !cli->quit) {
        wrong = split(&text, &line);
        if (wrong != NULL) {
            cli->command = "";
            cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "%s", wrong);
            show_result(cli);
        } else if (line.count > 0) {
            run_line(cli, &line);
        }
    }
    bytes_buffer_done(&line.text);
    return cli->error == 0;
}

/* ---- interactive ---- */

static char *prompt(EditLine *el)
{
    static char text[] = "quoin> ";

    (void)el;
    return text;
}

static unsigned char complete(EditLine *el, int ch)
{
    const LineInfo *info = el_line(el);
    size_t len = (size_t)(info->cursor - info->buffer);
    const char *only = NULL;

    (void)ch;
    if (len == 0 || memchr(info->buffer, ' ', len) != NULL)
        return CC_ERROR;
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++)
        if (strncmp(command->name, info->buffer, len) == 0) {
            if (only != NULL)
                return CC_ERROR;
            only = command->name;
        }
    if (only == NULL || el_insertstr(el, only + len) != 0 || el_insertstr(el, " ") != 0)
        return CC_ERROR;
    return CC_REFRESH;
}

static void history_path(char *out, size_t size)
{
    const char *home = getenv("HOME");

    snprintf(out, size, "%s/.quoincli_history", home != NULL ? home : ".");
}

static int interact(struct cli *cli)
{
    EditLine *el = el_init("quoincli", stdin, stdout, stderr);
    History *past = history_init();
    char path[4096], text[CLUSTER_FILE_BYTES_MAX];
    HistEvent event;
    const char *read;
    int len;

    history_path(path, sizeof(path));
    history(past, &event, H_SETSIZE, 1000);
    history(past, &event, H_SETUNIQUE, 1);
    history(past, &event, H_LOAD, path);
    el_set(el, EL_PROMPT, prompt);
    el_set(el, EL_EDITOR, "emacs");
    el_set(el, EL_HIST, history, past);
    el_set(el, EL_ADDFN, "quoin-complete", "complete a command", complete);
    el_set(el, EL_BIND, "^I", "quoin-complete", NULL);
    el_source(el, NULL);
    printf("Using cluster file `%s'.\n\nWelcome to quoincli. For help, type `help'.\n", quoin_database_cluster_file(cli->db));
    while (!cli->quit && (read = el_gets(el, &len)) != NULL && len > 0) {
        snprintf(text, sizeof(text), "%s", read);
        if (text[0] != '\n')
            history(past, &event, H_ENTER, text);
        run_text(cli, text);
    }
    history(past, &event, H_SAVE, path);
    history_end(past);
    el_end(el);
    return 0;
}

/* From a pipe: as --exec, line by line. */
static int read_lines(struct cli *cli)
{
    char *text = NULL;
    size_t size = 0;
    bool good = true;

    while (good && !cli->quit && getline(&text, &size, stdin) >= 0)
        good = run_text(cli, text);
    free(text);
    return good ? 0 : 1;
}

/* ---- main ---- */

static void usage(FILE *out)
{
    fprintf(out, "usage: quoincli [-C CLUSTER_FILE] [--exec 'COMMAND; COMMAND'] [--json] [--timeout SECONDS]\n"
                 "\n"
                 "  -C FILE          the cluster file (else $QUOIN_CLUSTER_FILE, ./quoin.cluster, /etc/quoin/quoin.cluster)\n"
                 "  --exec COMMANDS  runs them and exits: 1 at the first that fails\n"
                 "  --json           one object a command: {command, ok, result | error{code, name, message}}\n"
                 "  --timeout S      of each command (default: 5 with --exec, else none)\n");
}

static int open_database(struct cli *cli, const char *cluster)
{
    int error = quoin_open(cluster, &cli->db);

    if (error == 0)
        return 0;
    cli->command = "";
    cli_fail(cli, error, "%s%s%s", error_text(error), quoin_open_why()[0] != '\0' ? ": " : "", quoin_open_why());
    show_result(cli);
    return 1;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"exec", required_argument, NULL, 'e'}, {"json", no_argument, NULL, 'j'},
                                            {"timeout", required_argument, NULL, 't'}, {"help", no_argument, NULL, 'h'},
                                            {"cluster", required_argument, NULL, 'C'}, {NULL, 0, NULL, 0}};
    struct cli cli = {.timeout_ms = -1};
    const char *cluster = NULL, *exec = NULL;
    int option, status;
    char *end;

    mem_set_fatal(true);
    while ((option = getopt_long(argc, argv, "C:h", options, NULL)) != -1) {
        if (option == 'C')
            cluster = optarg;
        else if (option == 'e')
            exec = optarg;
        else if (option == 'j')
            cli.json = true;
        else if (option == 't' && (cli.timeout_ms = (int64_t)(strtod(optarg, &end) * 1000), *end == '\0') && cli.timeout_ms >= 0)
            continue;
        else {
            usage(option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 2;
        }
    }
    if (optind != argc) {
        usage(stderr);
        return 2;
    }
    if (cli.timeout_ms < 0)
        cli.timeout_ms = exec != NULL ? EXEC_TIMEOUT_MS : 0;
    if (open_database(&cli, cluster) != 0)
        return 1;
    cli.interactive = exec == NULL && isatty(STDIN_FILENO);
    if (exec != NULL)
        status = run_text(&cli, exec) ? 0 : 1;
    else
        status = cli.interactive ? interact(&cli) : read_lines(&cli);
    quoin_transaction_destroy(cli.transaction);
    quoin_database_destroy(cli.db);
    quoin_network_stop();
    return status;
}
