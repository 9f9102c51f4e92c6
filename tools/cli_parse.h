/* The shell's language: commands separated by ';', words by blanks, fdbcli's quotes and escapes.
 *
 *   set "a key" v\x00\xff; get a\ key        # a comment, where a command would begin
 *
 * Inside double quotes blanks and ';' are themselves; an escape is one of \xNN (two hex digits: any byte), \\, \", \', \; and
 * "\ "; it means the same inside quotes and outside. A word may join quoted and plain parts; "" is an empty word. Pure. */
#pragma once

#include "net/arena.h"

struct cli_command {
    struct bytes *words; /* at least one; any bytes */
    size_t word_count;
};

/* What a line holds; all of it lives in its arena, until cli_line_done. */
struct cli_line {
    struct arena arena;
    struct cli_command *commands;
    size_t command_count; /* 0: blank or a comment */
};

/* 0; ERROR_CLIENT_INVALID_OPERATION with the reason and its column in `why` (cut to fit); or ERROR_OUT_OF_MEMORY. On failure
 * *ret_line is empty and needs no cli_line_done. */
int cli_parse(struct bytes text, struct cli_line *ret_line, char *why, size_t why_size);
void cli_line_done(struct cli_line *line);

/* Bytes as the shell shows them: what is not printable as \xNN, a backslash doubled; always terminated. In the arena; NULL when
 * out of memory. */
char *cli_printable(struct arena *arena, struct bytes bytes);
/* The first key after all keys that start with `prefix`: in the arena. False if there is none (all bytes are \xff). */
bool cli_prefix_end(struct arena *arena, struct bytes prefix, struct bytes *ret_end);
/* A whole number in [low, high]; false for anything else. */
bool cli_parse_number(struct bytes text, int64_t low, int64_t high, int64_t *ret_number);
/* 32 hex digits; false for anything else. */
enum { CLI_UID_BYTES = 16 };
bool cli_parse_uid(struct bytes text, uint8_t ret_uid[CLI_UID_BYTES]);
