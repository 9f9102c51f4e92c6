/* The shell's state, its commands' table, and how a command answers. */
#pragma once

#include <jansson.h>

#include "tools/cli_parse.h"
#include "tools/cli_session.h"

enum { CLI_MESSAGE_MAX = CLI_WHY_MAX + 256, CLI_OPTIONS_MAX = 32 };

/* A transaction option that is set: an index of cli_options, and its parameter. */
struct cli_option_setting {
    size_t option;
    int64_t number;
};

struct cli_option_set {
    struct cli_option_setting settings[CLI_OPTIONS_MAX];
    size_t count;
};

struct cli {
    struct cli_session session;
    bool json;
    bool prompts;       /* questions may be asked: a person sits there */
    bool writemode;
    bool quit;
    int64_t timeout_us; /* of each command, when interactive; 0: none */
    struct transaction *txn;       /* owned; NULL: none was begun */
    struct cli_option_set options; /* of all transactions that begin from now on */
    /* of the command that runs */
    struct arena arena;    /* goes with the command */
    struct bytes *words;
    size_t word_count;
    void *ctx;             /* the command's own, for its transactions' bodies */
    json_t *result;        /* owned; NULL: an empty object */
    int error;             /* 0: it went well */
    char message[CLI_MESSAGE_MAX];
};

/* Runs all commands of `text`. Returns false when one failed (the rest has not run), in which case it has been said. */
bool cli_run_text(struct cli *cli, struct bytes text);

/* For commands: text for people (nothing with --json). */
__attribute__((format(printf, 2, 3))) void cli_say(struct cli *cli, const char *format, ...);
/* Fails the command. */
__attribute__((format(printf, 3, 4))) void cli_fail(struct cli *cli, int error, const char *format, ...);
/* Fails it with what the session knows, or the error's own sentence. */
void cli_fail_with(struct cli *cli, int error);
/* Fails it with the command's usage. */
void cli_usage(struct cli *cli);
/* Adds to the result; takes the value. */
void cli_result(struct cli *cli, const char *key, json_t *value);
/* Bytes as the shell shows them. */
json_t *cli_json_bytes(struct cli *cli, struct bytes bytes);
/* Never NULL. */
const char *cli_show(struct cli *cli, struct bytes bytes);
bool cli_word_is(const struct cli *cli, size_t index, const char *text);

struct cli_entry {
    const char *name, *usage, *summary;
    const char *detail; /* NULL: the summary says it all */
    size_t words_min, words_max; /* the name counts */
    void (*run)(struct cli *cli);
};
/* Ends with an entry without a name. */
extern const struct cli_entry cli_entries[];
const struct cli_entry *cli_find_entry(struct bytes name);

/* Transaction options that the shell knows. */
struct cli_option {
    const char *name;
    int code;
    bool takes_number;
    const char *summary;
};
extern const struct cli_option cli_options[];
extern const size_t cli_option_count;

/* cli_commands.c: keys and transactions. */
void cli_begin(struct cli *cli);
void cli_commit(struct cli *cli);
void cli_rollback(struct cli *cli);
void cli_reset(struct cli *cli);
void cli_get(struct cli *cli);
void cli_getrange(struct cli *cli);
void cli_getrangekeys(struct cli *cli);
void cli_set(struct cli *cli);
void cli_clear(struct cli *cli);
void cli_clearrange(struct cli *cli);
void cli_getversion(struct cli *cli);
void cli_writemode(struct cli *cli);
void cli_option_command(struct cli *cli);
/* Ends the open transaction, if there is one. */
void cli_drop_transaction(struct cli *cli);

/* A transaction of its own, with retries: body returns 0 or an error; the commit follows. */
int cli_transact(struct cli *cli, const struct cli_option_set *options, int (*body)(struct cli *cli, struct transaction *txn),
                 version_t *ret_committed);
/* With the options that an operator's transactions need: system keys, though the database is locked, before all others. */
int cli_transact_system(struct cli *cli, int (*body)(struct cli *cli, struct transaction *txn), version_t *ret_committed);
int cli_option_by_name(struct bytes name, size_t *ret_index);

/* For bodies. A key's value, in the command's arena; *ret_present false: there is none. */
int cli_read(struct cli *cli, struct transaction *txn, struct bytes key, bool *ret_present, struct bytes *ret_value);
/* Every pair of [begin, end): each(cli, pair, ctx) returns 0 or an error, which ends it. */
int cli_read_range(struct cli *cli, struct transaction *txn, struct bytes begin, struct bytes end,
                   int (*each)(struct cli *cli, const struct client_pair *pair, void *ctx), void *ctx);

/* cli_configure.c */
void cli_configure(struct cli *cli);

/* cli_coordinators.c */
void cli_coordinators(struct cli *cli);

/* cli_exclude.c */
void cli_exclude(struct cli *cli);
void cli_include(struct cli *cli);

/* cli_operator.c: what is set for processes and for the distributor. */
struct operator_processes;
/* The processes as the status names them now; the document, which the caller owns and they borrow from. NULL: the command has failed. */
json_t *cli_processes_now(struct cli *cli, struct operator_processes *ret);
void cli_setclass(struct cli *cli);
void cli_maintenance(struct cli *cli);
void cli_datadistribution(struct cli *cli);
/* A transaction of its own, and what to say when it went well. */
void cli_run_and_say(struct cli *cli, int (*body)(struct cli *cli, struct transaction *txn), const char *said);

/* cli_consistency.c */
void cli_consistencycheck(struct cli *cli);

/* cli_throttle.c */
void cli_throttle(struct cli *cli);

/* cli_locations.c */
void cli_locations(struct cli *cli);
void cli_hotrange(struct cli *cli);

/* cli_admin.c */
void cli_lock(struct cli *cli);
void cli_unlock(struct cli *cli);
void cli_kill(struct cli *cli);

/* cli_status.c: what is known, as the document; owned by the caller. *ret_quorum: a majority of the coordinators answered. */
json_t *cli_status_document(struct cli *cli, bool *ret_quorum);
void cli_status(struct cli *cli);
/* One line for the beginning of an interactive shell. */
void cli_status_minimal(struct cli *cli);

/* cli_status_text.c: fdbcli's layout. `later` is a second document, taken interval_s after the first, for rates; may be NULL. */
void cli_print_status(const json_t *document, const json_t *later, double interval_s, bool details);
/* Prints the coordinators that did not answer, and why. */
void cli_print_unreachable(const json_t *document, FILE *out);
bool cli_status_is_available(const json_t *document);

/* cli_interactive.c: the editor with history and completion, until the end of input. Returns the exit status. */
int cli_interactive(struct cli *cli);
/* Asks for one line (echoed); false at the end of input. */
bool cli_ask(struct cli *cli, const char *question, char *out, size_t out_size);
