/* The shell's inside: commands over one database, and how their results are shown. Used by quoincli.c and cli_*.c. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "net/bytes.h"
#include "txn/client/quoin_admin.h"

enum { CLI_WORDS_MAX = 32 };

struct cli {
    struct quoin_database *db;
    struct quoin_transaction *transaction; /* of begin; NULL: each command is one of its own */
    bool json, interactive, write_mode, quit;
    int64_t timeout_ms; /* 0: none */
    bool lock_aware, access_system_keys;
    /* of the command that runs */
    const char *command;
    json_t *result;      /* owned; what --json shows */
    int error;
    char message[1024];  /* why it failed */
};

struct cli_word {
    struct bytes bytes; /* unescaped; owned by the line */
};

/* Each returns 0 or an error, with the message set by cli_fail. words[0] is the command. */
typedef int cli_function(struct cli *cli, struct cli_word *words, int count);

struct cli_command {
    const char *name;
    int words_min, words_max; /* without the command itself */
    cli_function *run;
    const char *usage, *help;
};

extern const struct cli_command cli_commands[]; /* ends with a NULL name */

/* Sets the error and the message (printf); returns the error. */
__attribute__((format(printf, 3, 4))) int cli_fail(struct cli *cli, int error, const char *format, ...);
/* Human output, left out with --json. */
__attribute__((format(printf, 2, 3))) void cli_print(struct cli *cli, const char *format, ...);
int64_t cli_timeout_us(const struct cli *cli);
bool cli_word_is(const struct cli_word *word, const char *text);
/* "`...'" as fdbcli shows it; in a static-size buffer of the caller. */
char *cli_show(struct bytes bytes, struct bytes_buffer *buffer);
json_t *cli_json_bytes(struct bytes bytes);

cli_function cli_status, cli_kill, cli_configure;
