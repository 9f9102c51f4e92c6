/* Reads quoin.conf in two steps: libinih's callbacks collect (section, key, value, line), then each [quoind.PORT] is
 * turned into a command line. Collecting first lets the sections come in any order.
 *
 * libinih tells a handler no line number, so the reader that feeds it counts them. */
#include "tools/quoinmon_conf.h"

#include "net/error.h"
#include "net/mem.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROCESS_SECTION "quoind."
#define DEFAULT_RESTART_DELAY_S 60.0
#define DEFAULT_INITIAL_RESTART_DELAY_S 0.0
#define DEFAULT_RESTART_DELAY_RESET_S 10.0
#define DEFAULT_RESTART_BACKOFF 2.0
#define DURATION_S_MAX 86400.0
#define ARGUMENTS_MAX 512

struct entry {
    struct entry *next;
    const char *section, *key, *value;
    int line;
};

struct loader {
    struct arena *arena;
    FILE *file;
    int line;            /* of the line that the reader gave last */
    struct entry *first; /* in file order */
    struct entry **last;
    const char *section; /* the newest header */
    const char **ids;    /* of the [quoind.PORT] sections, in file order */
    size_t id_count;
    const char *default_command;
    char *error;
    size_t error_size;
    bool failed;
};

static bool fail_at(struct loader *loader, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Keeps the first error. Returns false, for `return fail_at(...)`. */
static bool fail_at(struct loader *loader, int line, const char *format, ...)
{
    va_list args;
    int prefix;

    if (loader->failed)
        return false;
    loader->failed = true;
    prefix = line > 0 ? snprintf(loader->error, loader->error_size, "line %d: ", line) : 0;
    if (prefix < 0 || (size_t)prefix >= loader->error_size)
        return false;
    va_start(args, format);
    vsnprintf(loader->error + prefix, loader->error_size - (size_t)prefix, format, args);
    va_end(args);
    return false;
}

static const char *copy_string(struct arena *arena, const char *text, size_t len)
{
    char *copy = arena_alloc(arena, len + 1);

    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

/* ---- collecting ---- */

static bool is_id(const char *id)
{
    size_t digits = strspn(id, "0123456789");
    long port = strtol(id, NULL, 10);

    return digits > 0 && digits <= 5 && id[digits] == '\0' && id[0] != '0' && port <= 65535;
}

static bool add_section(struct loader *loader, const char *name, size_t len)
{
    const char *section = copy_string(loader->arena, name, len);
    const char *id = section + strlen(PROCESS_SECTION);

    loader->section = section;
    if (strcmp(section, "general") == 0 || strcmp(section, "quoind") == 0)
        return true;
    if (strncmp(section, PROCESS_SECTION, strlen(PROCESS_SECTION)) != 0)
        return fail_at(loader, loader->line, "unknown section [%s] (general, quoind or quoind.PORT)", section);
    if (!is_id(id))
        return fail_at(loader, loader->line, "[%s]: what follows the dot must be a port, 1 to 65535", section);
    for (size_t i = 0; i < loader->id_count; i++)
        if (strcmp(loader->ids[i], id) == 0)
            return fail_at(loader, loader->line, "[%s] is there twice", section);
    if (loader->id_count == CONF_PROCESSES_MAX)
        return fail_at(loader, loader->line, "more than %d processes", CONF_PROCESSES_MAX);
    loader->ids[loader->id_count++] = id;
    return true;
}

/* libinih reports no empty section, and a [quoind.PORT] without keys of its own is the usual one: the reader looks for
 * the headers itself. */
static char *read_line(char *line, int size, void *stream)
{
    struct loader *loader = stream;
    size_t len, blank, name;

    if (loader->failed || fgets(line, size, loader->file) == NULL)
        return NULL;
    loader->line++;
    len = strlen(line);
    if (len + 1 == (size_t)size && line[len - 1] != '\n') {
        fail_at(loader, loader->line, "longer than %d bytes", size - 2);
        return NULL;
    }
    blank = strspn(line, " \t");
    if (line[blank] == '[') {
        name = strcspn(line + blank + 1, "]\r\n");
        if (line[blank + 1 + name] != ']')
            fail_at(loader, loader->line, "no ] at the end of the section's name");
        else
            add_section(loader, line + blank + 1, name);
    }
    return loader->failed ? NULL : line;
}

static int collect(void *user, const char *section, const char *key, const char *value)
{
    struct loader *loader = user;
    struct entry *entry;

    if (loader->failed)
        return 0;
    if (loader->section == NULL || section[0] == '\0')
        return fail_at(loader, loader->line, "`%s` stands before the first [section]", key);
    entry = arena_zalloc(loader->arena, sizeof(*entry));
    entry->section = loader->section;
    entry->key = copy_string(loader->arena, key, strlen(key));
    entry->value = copy_string(loader->arena, value, strlen(value));
    entry->line = loader->line;
    /* FoundationDB spells its keys with - and with _. */
    for (char *c = (char *)entry->key; *c != '\0'; c++)
        if (*c == '-')
            *c = '_';
    *loader->last = entry;
    loader->last = &entry->next;
    return 1;
}

static bool collect_all(struct loader *loader)
{
    int bad_line;

    ini_max_line = CONF_LINE_BYTES_MAX;
    ini_initial_alloc = CONF_LINE_BYTES_MAX;
    ini_use_stack = false;
    ini_allow_multiline = false;
    bad_line = ini_parse_stream(read_line, loader, collect, loader);
    if (loader->failed)
        return false;
    if (ferror(loader->file))
        return fail_at(loader, 0, "can't read: %s", strerror(errno));
    if (bad_line != 0)
        return fail_at(loader, bad_line > 0 ? bad_line : 0, "neither a [section], nor key = value, nor a comment");
    return true;
}

/* ---- values ---- */

/* The last of a key in a section, as libinih's users expect; NULL if there is none. */
static const struct entry *find(const struct loader *loader, const char *section, const char *key)
{
    const struct entry *found = NULL;

    for (const struct entry *entry = loader->first; entry != NULL; entry = entry->next)
        if (strcmp(entry->section, section) == 0 && strcmp(entry->key, key) == 0)
            found = entry;
    return found;
}

static bool to_seconds(struct loader *loader, const struct entry *entry, uint64_t *ret_us)
{
    char *end;
    double seconds = strtod(entry->value, &end);

    if (end == entry->value || *end != '\0' || !(seconds >= 0 && seconds <= DURATION_S_MAX))
        return fail_at(loader, entry->line, "%s = %s: not a number of seconds, 0 to %.0f", entry->key, entry->value,
                       DURATION_S_MAX);
    *ret_us = (uint64_t)(seconds * 1e6);
    return true;
}

static bool to_factor(struct loader *loader, const struct entry *entry, double *ret_factor)
{
    char *end;
    double factor = strtod(entry->value, &end);

    if (end == entry->value || *end != '\0' || !(factor >= 1 && factor <= 1000))
        return fail_at(loader, entry->line, "%s = %s: not a factor, 1 to 1000", entry->key, entry->value);
    *ret_factor = factor;
    return true;
}

static bool to_bool(struct loader *loader, const struct entry *entry, bool *ret_flag)
{
    if (strcmp(entry->value, "true") != 0 && strcmp(entry->value, "false") != 0)
        return fail_at(loader, entry->line, "%s = %s: true or false", entry->key, entry->value);
    *ret_flag = strcmp(entry->value, "true") == 0;
    return true;
}

static bool read_general(struct loader *loader, const struct entry *entry, struct conf *conf)
{
    if (strcmp(entry->key, "restart_delay") == 0)
        return to_seconds(loader, entry, &conf->restart_delay_us);
    if (strcmp(entry->key, "initial_restart_delay") == 0)
        return to_seconds(loader, entry, &conf->initial_restart_delay_us);
    if (strcmp(entry->key, "restart_delay_reset_interval") == 0)
        return to_seconds(loader, entry, &conf->restart_delay_reset_us);
    if (strcmp(entry->key, "restart_backoff") == 0)
        return to_factor(loader, entry, &conf->restart_backoff);
    if (strcmp(entry->key, "kill_on_configuration_change") == 0)
        return to_bool(loader, entry, &conf->kill_on_configuration_change);
    if (strcmp(entry->key, "cluster_file") == 0)
        return true;
    return fail_at(loader, entry->line, "unknown key `%s` in [general]", entry->key);
}

/* A copy of `text` with $ID replaced by the process's id. */
static const char *expand(struct loader *loader, const char *text, const char *id)
{
    size_t count = 0, len = 0, id_len = strlen(id);
    char *expanded;

    for (const char *at = strstr(text, "$ID"); at != NULL; at = strstr(at + 3, "$ID"))
        count++;
    expanded = arena_alloc(loader->arena, strlen(text) + count * id_len + 1);
    while (*text != '\0') {
        if (strncmp(text, "$ID", 3) == 0) {
            memcpy(expanded + len, id, id_len);
            len += id_len;
            text += 3;
        } else {
            expanded[len++] = *text++;
        }
    }
    expanded[len] = '\0';
    return expanded;
}

static const char *join(struct loader *loader, const char *a, const char *b, const char *c, const char *d)
{
    size_t size = strlen(a) + strlen(b) + strlen(c) + strlen(d) + 1;
    char *joined = arena_alloc(loader->arena, size);

    snprintf(joined, size, "%s%s%s%s", a, b, c, d);
    return joined;
}

/* ---- command lines ---- */

struct command {
    const char *argv[ARGUMENTS_MAX];
    size_t count;
};

static bool add_argument(struct loader *loader, int line, struct command *command, const char *argument)
{
    if (command->count == ARGUMENTS_MAX - 1)
        return fail_at(loader, line, "more than %d arguments", ARGUMENTS_MAX - 1);
    command->argv[command->count++] = argument;
    return true;
}

static bool add_command(struct loader *loader, int line, struct command *command, const char *words)
{
    while (*(words += strspn(words, " \t")) != '\0') {
        size_t len = strcspn(words, " \t");

        if (!add_argument(loader, line, command, copy_string(loader->arena, words, len)))
            return false;
        words += len;
    }
    return command->count > 0 || fail_at(loader, line, "`command` is empty");
}

static const char *address_of(struct loader *loader, const char *value)
{
    return strncmp(value, "auto:", 5) == 0 ? join(loader, "127.0.0.1:", value + 5, "", "") : value;
}

/* Keys with an argument of their own; the others of a process are locality_* and knob_*. */
static const struct {
    const char *key, *flag;
    bool is_address;
} flags[] = {
    {"cluster_file", "-C", false}, {"public_address", "-p", true}, {"listen_address", "-l", true},
    {"datadir", "-d", false},      {"class", "-c", false},         {"logdir", "-L", false},
};

static bool add_entry(struct loader *loader, const struct entry *entry, const char *id, struct command *command)
{
    const char *value = expand(loader, entry->value, id);

    if (strcmp(entry->key, "command") == 0)
        return true;
    if (value[0] == '\0')
        return fail_at(loader, entry->line, "`%s` has no value", entry->key);
    if (strcmp(entry->key, "listen_address") == 0 && strcmp(value, "public") == 0)
        return true; /* the same as the public one, which is what quoind does without the flag */
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (strcmp(entry->key, flags[i].key) == 0)
            return add_argument(loader, entry->line, command, flags[i].flag) &&
                   add_argument(loader, entry->line, command, flags[i].is_address ? address_of(loader, value) : value);
    if (strncmp(entry->key, "locality_", 9) == 0 && entry->key[9] != '\0')
        return add_argument(loader, entry->line, command, join(loader, "--locality-", entry->key + 9, "", "")) &&
               add_argument(loader, entry->line, command, value);
    if (strncmp(entry->key, "knob_", 5) == 0 && entry->key[5] != '\0')
        return add_argument(loader, entry->line, command, join(loader, "--knob-", entry->key + 5, "=", value));
    return fail_at(loader, entry->line, "unknown key `%s` in [%s]", entry->key, entry->section);
}

static bool has_flag(const struct command *command, const char *flag)
{
    for (size_t i = 1; i < command->count; i++)
        if (strcmp(command->argv[i], flag) == 0)
            return true;
    return false;
}

/* What the section says, then what it inherits: a key of [quoind] counts where the section does not name it. */
static bool build_process(struct loader *loader, const char *id, struct conf_process *ret_process)
{
    const char *section = join(loader, PROCESS_SECTION, id, "", "");
    struct command *command = arena_zalloc(loader->arena, sizeof(*command));
    const struct entry *general = find(loader, "general", "cluster_file");
    const struct entry *program = find(loader, section, "command");

    if (program == NULL)
        program = find(loader, "quoind", "command");
    if (!add_command(loader, program != NULL ? program->line : 0, command,
                     program != NULL ? expand(loader, program->value, id) : loader->default_command))
        return false;
    for (const struct entry *entry = loader->first; entry != NULL; entry = entry->next) {
        bool own = strcmp(entry->section, section) == 0;
        bool inherited = strcmp(entry->section, "quoind") == 0 && find(loader, section, entry->key) == NULL;

        if ((own || inherited) && find(loader, entry->section, entry->key) == entry &&
            !add_entry(loader, entry, id, command))
            return false;
    }
    if (general != NULL && !has_flag(command, "-C") && !add_entry(loader, general, id, command))
        return false;
    for (size_t i = 0; i < 3; i++) {
        static const char *const needed[][2] = {{"-C", "cluster_file"}, {"-p", "public_address"}, {"-d", "datadir"}};

        if (!has_flag(command, needed[i][0]))
            return fail_at(loader, 0, "[%s] has no %s, nor has [quoind]", section, needed[i][1]);
    }
    ret_process->id = id;
    ret_process->argv = command->argv;
    return true;
}

static bool build(struct loader *loader, struct conf *conf)
{
    for (const struct entry *entry = loader->first; entry != NULL; entry = entry->next)
        if (strcmp(entry->section, "general") == 0 && !read_general(loader, entry, conf))
            return false;
    conf->processes = arena_zalloc(loader->arena, sizeof(conf->processes[0]) * (loader->id_count + 1));
    for (size_t i = 0; i < loader->id_count; i++)
        if (!build_process(loader, loader->ids[i], &conf->processes[i]))
            return false;
    conf->process_count = loader->id_count;
    return true;
}

bool conf_load(const char *path, const char *default_command, struct conf *ret_conf, char *error, size_t error_size)
{
    struct conf conf = {
        .restart_delay_us = (uint64_t)(DEFAULT_RESTART_DELAY_S * 1e6),
        .initial_restart_delay_us = (uint64_t)(DEFAULT_INITIAL_RESTART_DELAY_S * 1e6),
        .restart_delay_reset_us = (uint64_t)(DEFAULT_RESTART_DELAY_RESET_S * 1e6),
        .restart_backoff = DEFAULT_RESTART_BACKOFF,
        .kill_on_configuration_change = true,
    };
    struct loader loader = {
        .arena = &conf.arena, .default_command = default_command, .error = error, .error_size = error_size};
    bool good;

    loader.file = fopen(path, "re");
    if (loader.file == NULL)
        return fail_at(&loader, 0, "can't open: %s", strerror(errno));
    arena_init(&conf.arena);
    loader.last = &loader.first;
    loader.ids = arena_zalloc(&conf.arena, sizeof(loader.ids[0]) * CONF_PROCESSES_MAX);
    good = collect_all(&loader) && build(&loader, &conf);
    fclose(loader.file);
    if (good)
        *ret_conf = conf;
    else
        arena_done(&conf.arena);
    return good;
}

void conf_done(struct conf *conf)
{
    arena_done(&conf->arena);
    *conf = (struct conf){0};
}

const struct conf_process *conf_find(const struct conf *conf, const char *id)
{
    for (size_t i = 0; i < conf->process_count; i++)
        if (strcmp(conf->processes[i].id, id) == 0)
            return &conf->processes[i];
    return NULL;
}

bool conf_process_equal(const struct conf_process *a, const struct conf_process *b)
{
    size_t i = 0;

    while (a->argv[i] != NULL && b->argv[i] != NULL && strcmp(a->argv[i], b->argv[i]) == 0)
        i++;
    return a->argv[i] == NULL && b->argv[i] == NULL;
}
