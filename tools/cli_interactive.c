/* The shell at a terminal: libedit's editor, history in ~/.quoincli_history, completion of commands and their words.
 *
 * While a person thinks, the network gets its turns: connections stay alive, and the next command starts at once. */
#include <errno.h>
#include <histedit.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/bytes.h"
#include "tools/cli_shell.h"

enum { HISTORY_LINES_MAX = 1000, POLL_MS = 100 };

struct interactive {
    struct cli *cli;
    EditLine *editor;
    History *history;
    char history_path[CLI_PATH_MAX];
};

static const char *prompt(EditLine *editor)
{
    struct interactive *self;

    el_get(editor, EL_CLIENTDATA, &self);
    return self->cli->txn != NULL ? "quoin (in transaction)> " : "quoin> ";
}

/* One byte; 0 at the end of input. Ctrl-C shows as the session's flag: the line is given up. */
static int read_byte(struct cli *cli, char *ret)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    ssize_t n;

    for (;;) {
        int ready = poll(&input, 1, POLL_MS);

        if (ready > 0) {
            n = read(STDIN_FILENO, ret, 1);
            if (n >= 0 || errno != EINTR)
                return n > 0 ? 1 : 0;
        }
        cli_session_idle(&cli->session);
        if (cli->session.interrupted) {
            *ret = '\n';
            return cli->session.terminated ? 0 : 1;
        }
    }
}

static int read_char(EditLine *editor, wchar_t *ret)
{
    struct interactive *self;
    char byte;
    int n;

    el_get(editor, EL_CLIENTDATA, &self);
    n = read_byte(self->cli, &byte);
    if (n > 0)
        *ret = (wchar_t)(unsigned char)byte;
    return n;
}

/* ---- completion ---- */

struct candidates {
    const char *words[64];
    size_t count;
};

static void add(struct candidates *candidates, const char *word, const char *begun, size_t length)
{
    if (strncmp(word, begun, length) == 0 && candidates->count < sizeof(candidates->words) / sizeof(candidates->words[0]))
        candidates->words[candidates->count++] = word;
}

static void add_all(struct candidates *candidates, const char *const *words, const char *begun, size_t length)
{
    for (; *words != NULL; words++)
        add(candidates, *words, begun, length);
}

static bool first_word_is(const char *text, size_t length, const char *word)
{
    return length > strlen(word) && strncmp(text, word, strlen(word)) == 0 && text[strlen(word)] == ' ';
}

/* What may stand where [begun, begun + length) does, in the command that begins at `command`. */
static void collect(struct candidates *candidates, const char *command, const char *begun, size_t length)
{
    static const char *const status[] = {"minimal", "details", "json", NULL}, *const mode[] = {"on", "off", NULL};
    static const char *const configure[] = {"new", "single", "double", "triple", "lmdb", "memory", NULL};
    static const char *const help[] = {"escaping", "options", NULL}, *const kill[] = {"all", "list", NULL};
    size_t before = (size_t)(begun - command);
    bool commands = before == 0 || first_word_is(command, before, "help");

    for (const struct cli_entry *entry = cli_entries; commands && entry->name != NULL; entry++)
        add(candidates, entry->name, begun, length);
    if (first_word_is(command, before, "help"))
        add_all(candidates, help, begun, length);
    if (first_word_is(command, before, "status"))
        add_all(candidates, status, begun, length);
    if (first_word_is(command, before, "writemode"))
        add_all(candidates, mode, begun, length);
    if (first_word_is(command, before, "configure"))
        add_all(candidates, configure, begun, length);
    if (first_word_is(command, before, "kill"))
        add_all(candidates, kill, begun, length);
    if (!first_word_is(command, before, "option"))
        return;
    if (before == strlen("option "))
        add_all(candidates, mode, begun, length);
    for (size_t i = 0; before > strlen("option ") && i < cli_option_count; i++)
        add(candidates, cli_options[i].name, begun, length);
}

static size_t common_length(const struct candidates *candidates)
{
    size_t length = strlen(candidates->words[0]);

    for (size_t i = 1; i < candidates->count; i++) {
        size_t same = 0;

        while (same < length && candidates->words[i][same] == candidates->words[0][same])
            same++;
        length = same;
    }
    return length;
}

static unsigned char complete(EditLine *editor, int key)
{
    const LineInfo *line = el_line(editor);
    const char *command = line->buffer, *begun = line->cursor;
    struct candidates candidates = {.count = 0};
    char rest[128];
    size_t length, common;

    (void)key;
    for (const char *at = line->buffer; at < line->cursor; at++)
        if (*at == ';')
            command = at + 1;
    while (command < line->cursor && *command == ' ')
        command++;
    while (begun > command && begun[-1] != ' ')
        begun--;
    length = (size_t)(line->cursor - begun);
    collect(&candidates, command, begun, length);
    if (candidates.count == 0)
        return CC_ERROR;
    common = common_length(&candidates);
    if (common == length && candidates.count > 1) {
        putchar('\n');
        for (size_t i = 0; i < candidates.count; i++)
            printf("%s  ", candidates.words[i]);
        putchar('\n');
        return CC_REDISPLAY;
    }
    snprintf(rest, sizeof(rest), "%.*s%s", (int)(common - length), candidates.words[0] + length, candidates.count == 1 ? " " : "");
    return el_insertstr(editor, rest) == 0 ? CC_REFRESH : CC_ERROR;
}

/* ---- history ---- */

static void open_history(struct interactive *self)
{
    const char *home = getenv("HOME");
    HistEvent event;

    self->history = history_init();
    if (self->history == NULL)
        return;
    history(self->history, &event, H_SETSIZE, HISTORY_LINES_MAX);
    history(self->history, &event, H_SETUNIQUE, 1);
    el_set(self->editor, EL_HIST, history, self->history);
    if (home != NULL && home[0] != '\0')
        snprintf(self->history_path, sizeof(self->history_path), "%s/.quoincli_history", home);
    if (self->history_path[0] != '\0')
        history(self->history, &event, H_LOAD, self->history_path);
}

/* The lines may hold what was stored: they are the user's alone. */
static void close_history(struct interactive *self)
{
    HistEvent event;
    mode_t mask;

    if (self->history == NULL)
        return;
    mask = umask(077);
    if (self->history_path[0] != '\0')
        history(self->history, &event, H_SAVE, self->history_path);
    umask(mask);
    history_end(self->history);
}

/* ---- the loop ---- */

static bool is_blank(const char *line)
{
    return line[strspn(line, " \t\r\n")] == '\0';
}

static void loop(struct interactive *self)
{
    struct cli *cli = self->cli;
    HistEvent event;
    const char *line;
    int count;

    while (!cli->quit && !cli->session.terminated) {
        cli->session.interrupted = false;
        line = el_gets(self->editor, &count);
        if (cli->session.interrupted) {
            printf("^C\n");
            el_reset(self->editor);
            continue;
        }
        if (line == NULL || count <= 0) {
            putchar('\n');
            break;
        }
        if (is_blank(line))
            continue;
        if (self->history != NULL)
            history(self->history, &event, H_ENTER, line);
        (void)cli_run_text(cli, bytes_of(line, (size_t)count));
    }
}

int cli_interactive(struct cli *cli)
{
    struct interactive self = {.cli = cli};

    self.editor = el_init("quoincli", stdin, stdout, stderr);
    if (self.editor == NULL) {
        fprintf(stderr, "quoincli: this terminal can't be used; try --exec\n");
        return 1;
    }
    el_set(self.editor, EL_CLIENTDATA, &self);
    el_set(self.editor, EL_PROMPT, prompt);
    el_set(self.editor, EL_EDITOR, "emacs");
    el_set(self.editor, EL_GETCFN, read_char);
    el_set(self.editor, EL_ADDFN, "complete", "completes a word", complete);
    el_set(self.editor, EL_BIND, "^I", "complete", NULL);
    el_set(self.editor, EL_BIND, "^R", "em-inc-search-prev", NULL);
    open_history(&self);
    printf("Using cluster file `%s'.\n\n", cli->session.path);
    cli_status_minimal(cli);
    printf("\nWelcome to quoincli. For help, type `help'.\n");
    loop(&self);
    close_history(&self);
    el_end(self.editor);
    return cli->session.terminated ? 1 : 0;
}

bool cli_ask(struct cli *cli, const char *question, char *out, size_t out_size)
{
    size_t length = 0;
    char byte;

    printf("%s", question);
    fflush(stdout);
    while (read_byte(cli, &byte) > 0) {
        if (cli->session.interrupted)
            return false;
        if (byte == '\n' || byte == '\r') {
            out[length] = '\0';
            return true;
        }
        if (length + 1 < out_size)
            out[length++] = byte;
    }
    return false;
}
