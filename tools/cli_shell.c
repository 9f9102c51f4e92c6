/* A line's commands, one after the other: find it in the table, check its words, run it, say how it went. */
#include "tools/cli_shell.h"

#include <stdarg.h>
#include <stdio.h>

#include "net/error.h"

static void cli_help(struct cli *cli);
static void cli_exit(struct cli *cli);

const struct cli_entry cli_entries[] = {
    {"begin", "begin", "begins a transaction; the commands that follow are part of it", NULL, 1, 1, cli_begin},
    {"clear", "clear <KEY>", "clears a key", "Needs `writemode on'.", 2, 2, cli_clear},
    {"clearrange", "clearrange <BEGINKEY> <ENDKEY>", "clears the keys from BEGINKEY to before ENDKEY",
     "Needs `writemode on'.", 3, 3, cli_clearrange},
    {"commit", "commit", "commits the transaction that was begun", NULL, 1, 1, cli_commit},
    {"configure", "configure [FORCE] [new] [single|double|triple] [lmdb|memory] [logs=N] [commit_proxies=N] [grv_proxies=N] [resolvers=N]",
     "creates the database of a new cluster, or changes what it is made of",
     "`new' tells the coordinators of the cluster file that they are one cluster, and creates its database. single, double, triple:\n"
     "how many copies of everything, in different zones. The engines ssd, ssd-2 and ssd-redwood-1 mean lmdb. A change is made while\n"
     "the cluster runs; one that it could not be made of is refused. FORCE: numbers that there are too few processes for, until\n"
     "more come.\n\n"
     "  configure new double lmdb\n"
     "  configure triple logs=5\n"
     "  configure commit_proxies=3 grv_proxies=2 resolvers=2", 1, 16, cli_configure},
    {"consistencycheck", "consistencycheck [on|off]", "lets the scan that compares replicas go on, or pauses it; or shows how far it is",
     "Without an argument: how far the scan is, what its last round was, what it has found and what became of that.\n\n"
     "  consistencycheck off", 1, 2, cli_consistencycheck},
    {"coordinators", "coordinators [auto|ADDRESS...]", "shows the coordinators, or changes them while the cluster runs",
     "ADDRESS...: IP:PORT of all that there shall be, an odd number, in different zones; each must run. auto: as many as the redundancy\n"
     "calls for. One is added or removed at a time; servers and clients write the new ones into their cluster files.\n\n"
     "  coordinators 10.0.0.1:4500 10.0.0.2:4500 10.0.0.3:4500\n"
     "  coordinators auto", 1, 9, cli_coordinators},
    {"datadistribution", "datadistribution [on|off|enable rebalance|disable rebalance]", "lets the data distributor move data, or not",
     "off: nothing is moved at all, and lost copies are not replaced. disable rebalance: nothing is moved for balance alone.\n"
     "Without an argument: shows which.\n\n"
     "  datadistribution disable rebalance", 1, 3, cli_datadistribution},
    {"exclude", "exclude [FORCE] [failed] [no_wait] [ADDRESS...]", "takes processes out of service, and says when they can be removed",
     "An ADDRESS is IP:PORT, or IP for all processes there. They are given no role any more, and their data moves away; the command\n"
     "waits until it is safe to remove them (no_wait: only says how far it is). failed: what they hold counts as lost, and is not\n"
     "waited for. Refused when too few zones would remain. FORCE: also for a process that is not running; with `failed', though it\n"
     "loses data. Without an address: shows what is excluded.\n\n"
     "  exclude 10.0.0.7:4500\n"
     "  exclude no_wait 10.0.0.7 10.0.0.8", 1, SIZE_MAX, cli_exclude},
    {"exit", "exit", "leaves the shell", NULL, 1, 1, cli_exit},
    {"get", "get <KEY>", "shows a key's value", NULL, 2, 2, cli_get},
    {"getrange", "getrange <BEGINKEY> [ENDKEY] [LIMIT]", "shows keys and values from BEGINKEY to before ENDKEY",
     "Without ENDKEY: the keys that start with BEGINKEY. LIMIT is 25 unless given; a negative one reads from the end.", 2, 4,
     cli_getrange},
    {"getrangekeys", "getrangekeys <BEGINKEY> [ENDKEY] [LIMIT]", "the same, keys alone", NULL, 2, 4, cli_getrangekeys},
    {"getversion", "getversion", "shows the current read version", NULL, 1, 1, cli_getversion},
    {"help", "help [COMMAND|escaping|options]", "shows all commands, or one", NULL, 1, 2, cli_help},
    {"hotrange", "hotrange [ADDRESS] [readbytes|readops|writebytes|bytes] [COUNT]", "shows the ranges that are read and written most",
     "Of each storage server, or of the one at ADDRESS (IP:PORT): the COUNT (5) first ranges by what they are read (readbytes, the\n"
     "default; readops) or written (writebytes) a second, or by their size (bytes). Density: how often a second all of it is read.\n\n"
     "  hotrange\n"
     "  hotrange 10.0.0.7:4500 writebytes 20", 1, 4, cli_hotrange},
    {"include", "include all|ADDRESS...", "takes back what `exclude' did",
     "An IP includes every process there.\n\n"
     "  include 10.0.0.7:4500", 2, SIZE_MAX, cli_include},
    {"kill", "kill [all|list|ADDRESS...]", "ends processes; their supervisor starts them again",
     "Without arguments, or with `list': the addresses of all processes.", 1, SIZE_MAX, cli_kill},
    {"locations", "locations <KEY>|<BEGINKEY> <ENDKEY>", "shows which storage servers have a key, or the shards of a range",
     "Boundaries of each shard, its size by the servers' samples, addresses and zones of its servers, and where it is moving to.\n\n"
     "  locations hello\n"
     "  locations \"\" \\xff", 2, 3, cli_locations},
    {"lock", "lock", "locks the database: from then on only lock-aware transactions read and write",
     "Prints the UID with which `unlock' ends it.", 1, 1, cli_lock},
    {"maintenance", "maintenance [on ZONE SECONDS|off]", "says that a zone is away on purpose: nothing is moved for it",
     "Ends by itself after SECONDS. Without an argument: shows it.\n\n"
     "  maintenance on rack7 600", 1, 4, cli_maintenance},
    {"option", "option [on|off <OPTION> [ARG]]", "sets a transaction option, or shows which are set",
     "In a transaction that was begun: for that one; else for all that begin from now on. `help options' lists them.", 1, 4,
     cli_option_command},
    {"quit", "quit", "leaves the shell", NULL, 1, 1, cli_exit},
    {"reset", "reset", "starts the transaction that was begun anew", NULL, 1, 1, cli_reset},
    {"rollback", "rollback", "drops the transaction that was begun", NULL, 1, 1, cli_rollback},
    {"set", "set <KEY> <VALUE>", "sets a key's value", "Needs `writemode on'.", 3, 3, cli_set},
    {"setclass", "setclass [ADDRESS CLASS|default]", "sets the class of a process, whatever its command line says",
     "CLASS: unset, coordinator, stateless, log, storage; `default' is that of the command line. It stays when the process is started\n"
     "again; roles that the class does not host move away. Without an argument: shows the classes.\n\n"
     "  setclass 10.0.0.7:4500 stateless", 1, 3, cli_setclass},
    {"status", "status [minimal|details|json]", "shows how the cluster is", "Works without a database as well.", 1, 2, cli_status},
    {"throttle", "throttle <on|off|enable auto|disable auto|list> [ARGS]", "shows and sets limits of transactions by their tag",
     "  throttle on tag <TAG> [RATE] [DURATION] [PRIORITY]\n"
     "      RATE: transactions a second that start, over the whole cluster (0 unless given: none). DURATION: a number and s, m, h or d\n"
     "      (1h unless given). PRIORITY: default (unless given), batch; the limit holds for it and for those below. immediate is\n"
     "      taken as well, and means default: what starts with system-immediate priority is never limited.\n"
     "  throttle off [all|auto|manual] [tag <TAG>] [PRIORITY]\n"
     "      Ends those limits that fit all that is named, at least one thing; manual ones unless all or auto is.\n"
     "  throttle enable|disable auto\n"
     "      Whether the cluster may limit by itself a tag that makes much of the load of a storage server that can't keep up.\n"
     "  throttle list [throttled|recommended|all] [LIMIT]\n"
     "      recommended: those that the cluster would limit, if it were allowed to.\n\n"
     "  throttle on tag reports 50 10m batch", 2, 8, cli_throttle},
    {"unlock", "unlock <UID>", "unlocks the database", NULL, 2, 2, cli_unlock},
    {"writemode", "writemode <on|off>", "allows or forbids set, clear and clearrange", NULL, 2, 2, cli_writemode},
    {NULL, NULL, NULL, NULL, 0, 0, NULL},
};

const struct cli_entry *cli_find_entry(struct bytes name)
{
    for (const struct cli_entry *entry = cli_entries; entry->name != NULL; entry++)
        if (bytes_equal(name, bytes_of_string(entry->name)))
            return entry;
    return NULL;
}

/* ---- what commands say ---- */

void cli_say(struct cli *cli, const char *format, ...)
{
    va_list args;

    if (cli->json)
        return;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
}

void cli_fail(struct cli *cli, int error, const char *format, ...)
{
    va_list args;

    cli->error = error;
    va_start(args, format);
    vsnprintf(cli->message, sizeof(cli->message), format, args);
    va_end(args);
}

void cli_fail_with(struct cli *cli, int error)
{
    if (error == 0)
        return;
    if (cli->session.why[0] != '\0')
        cli_fail(cli, error, "%s", cli->session.why);
    else
        cli_fail(cli, error, "%s", error_text(error));
}

void cli_usage(struct cli *cli)
{
    cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "Usage: %s", cli_find_entry(cli->words[0])->usage);
}

void cli_result(struct cli *cli, const char *key, json_t *value)
{
    if (cli->result == NULL)
        cli->result = json_object();
    (void)json_object_set_new(cli->result, key, value);
}

const char *cli_show(struct cli *cli, struct bytes bytes)
{
    const char *text = cli_printable(&cli->arena, bytes);

    return text == NULL ? "(out of memory)" : text;
}

json_t *cli_json_bytes(struct cli *cli, struct bytes bytes)
{
    return json_string(cli_show(cli, bytes));
}

bool cli_word_is(const struct cli *cli, size_t index, const char *text)
{
    return index < cli->word_count && bytes_equal(cli->words[index], bytes_of_string(text));
}

/* ---- help ---- */

static const char escaping[] =
    "A word may hold any bytes: \\xNN is the byte with that hex number; \\\\, \\\", \\', \\; and \"\\ \" are the character itself.\n"
    "Between double quotes blanks and `;' are themselves. Several commands are separated by `;'.\n"
    "\n"
    "  set \"a key\" \\x00\\xff; get a\\ key\n";

static void help_options(struct cli *cli)
{
    for (size_t i = 0; i < cli_option_count; i++)
        cli_say(cli, "  %-40s %s%s\n", cli_options[i].name, cli_options[i].takes_number ? "NUMBER: " : "",
                cli_options[i].summary);
}

static void help_all(struct cli *cli)
{
    cli_say(cli, "List of CLI commands:\n\n");
    for (const struct cli_entry *entry = cli_entries; entry->name != NULL; entry++) {
        cli_say(cli, "  %-16s %s\n", entry->name, entry->summary);
        cli_result(cli, entry->name, json_string(entry->usage));
    }
    cli_say(cli, "\nFor one command, type `help <command>'. Quotes and escapes: `help escaping'; options: `help options'.\n");
}

static void cli_help(struct cli *cli)
{
    const struct cli_entry *entry;

    if (cli->word_count == 1) {
        help_all(cli);
    } else if (cli_word_is(cli, 1, "escaping")) {
        cli_say(cli, "%s", escaping);
    } else if (cli_word_is(cli, 1, "options")) {
        help_options(cli);
    } else if ((entry = cli_find_entry(cli->words[1])) != NULL) {
        cli_say(cli, "%s\n\n%s\n%s%s", entry->usage, entry->summary, entry->detail == NULL ? "" : entry->detail,
                entry->detail == NULL ? "" : "\n");
        cli_result(cli, "usage", json_string(entry->usage));
        cli_result(cli, "summary", json_string(entry->summary));
    } else {
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "No help available for unknown command `%s'", cli_show(cli, cli->words[1]));
    }
}

static void cli_exit(struct cli *cli)
{
    cli->quit = true;
}

/* ---- running ---- */

/* `result' stays beside an error if there is one: a status says what it knows. */
static void print_object(struct cli *cli, const char *command)
{
    json_t *object = json_object();

    (void)json_object_set_new(object, "command", json_string(command));
    (void)json_object_set_new(object, "ok", json_boolean(cli->error == 0));
    if (cli->result != NULL || cli->error == 0)
        (void)json_object_set_new(object, "result", cli->result != NULL ? json_incref(cli->result) : json_object());
    if (cli->error != 0) {
        char shown[CLI_MESSAGE_MAX * 2];
        json_t *error = json_object(), *message = json_string(cli->message);

        if (message == NULL) /* bytes that are not UTF-8 */
            message = json_string(bytes_print(bytes_of_string(cli->message), shown, sizeof(shown)));
        (void)json_object_set_new(error, "code", json_integer(cli->error));
        (void)json_object_set_new(error, "name", json_string(error_name(cli->error)));
        (void)json_object_set_new(error, "message", message);
        (void)json_object_set_new(object, "error", error);
    }
    (void)json_dumpf(object, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
    putchar('\n');
    json_decref(object);
}

static void finish(struct cli *cli, const char *command)
{
    if (cli->json)
        print_object(cli, command);
    else if (cli->error != 0) {
        fflush(stdout);
        if (strncmp(cli->message, "Usage: ", 7) == 0)
            fprintf(stderr, "%s\n", cli->message);
        else if (cli->error == ERROR_CLIENT_INVALID_OPERATION)
            fprintf(stderr, "ERROR: %s\n", cli->message);
        else
            fprintf(stderr, "ERROR: %s (%d)\n", cli->message, cli->error);
    }
    fflush(stdout);
    json_decref(cli->result);
    cli->result = NULL;
}

static void run_command(struct cli *cli, const struct cli_command *command)
{
    const struct cli_entry *entry = cli_find_entry(command->words[0]);
    const char *name;

    cli->words = command->words;
    cli->word_count = command->word_count;
    cli->error = 0;
    cli->ctx = NULL;
    cli->session.why[0] = '\0';
    cli->session.interrupted = false;
    name = entry == NULL ? cli_show(cli, command->words[0]) : entry->name;
    if (cli->session.interactive)
        cli->session.deadline_us = cli->timeout_us == 0 ? 0 : env_now_us(cli->session.env) + cli->timeout_us;
    if (entry == NULL)
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "Unknown command `%s'. Try `help'?", name);
    else if (cli->word_count < entry->words_min || cli->word_count > entry->words_max)
        cli_usage(cli);
    else
        entry->run(cli);
    finish(cli, name);
    arena_reset(&cli->arena);
}

bool cli_run_text(struct cli *cli, struct bytes text)
{
    struct cli_line line;
    char why[256];
    int error = cli_parse(text, &line, why, sizeof(why));
    bool good = true;

    if (error != 0) {
        cli_fail(cli, error, "%s", why);
        finish(cli, "");
        return false;
    }
    for (size_t i = 0; i < line.command_count && good && !cli->quit; i++) {
        run_command(cli, &line.commands[i]);
        good = cli->error == 0;
    }
    cli_line_done(&line);
    return good;
}
