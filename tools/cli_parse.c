/* One pass from left to right. The words' bytes are never more than the line's, so everything is allocated once, up front. */
#include "tools/cli_parse.h"

#include <stdio.h>

#include "net/error.h"

struct parser {
    struct bytes text;
    size_t at;
    uint8_t *out; /* where the next byte of a word goes */
    char *why;
    size_t why_size;
};

static int refuse(struct parser *parser, size_t at, const char *what)
{
    snprintf(parser->why, parser->why_size, "%s at column %zu", what, at + 1);
    return ERROR_CLIENT_INVALID_OPERATION;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* At a backslash. */
static int parse_escape(struct parser *parser)
{
    struct bytes text = parser->text;
    size_t at = parser->at;
    int high, low;

    if (at + 1 >= text.len)
        return refuse(parser, at, "incomplete escape sequence");
    if (text.ptr[at + 1] != 'x') {
        if (text.ptr[at + 1] == '\0' || strchr("\\\"'; ", text.ptr[at + 1]) == NULL)
            return refuse(parser, at, "unknown escape sequence (there are \\xNN, \\\\, \\\", \\', \\; and \"\\ \")");
        *parser->out++ = text.ptr[at + 1];
        parser->at += 2;
        return 0;
    }
    if (at + 3 >= text.len)
        return refuse(parser, at, "incomplete escape sequence (\\x takes two hex digits)");
    high = hex_digit(text.ptr[at + 2]);
    low = hex_digit(text.ptr[at + 3]);
    if (high < 0 || low < 0)
        return refuse(parser, at, "malformed escape sequence (\\x takes two hex digits)");
    *parser->out++ = (uint8_t)(high << 4 | low);
    parser->at += 4;
    return 0;
}

/* From a word's first character to behind its last. */
static int parse_word(struct parser *parser, struct bytes *ret_word)
{
    struct bytes text = parser->text;
    uint8_t *begin = parser->out;
    size_t quote = 0;
    bool quoted = false;

    for (; parser->at < text.len; ) {
        uint8_t c = text.ptr[parser->at];

        if (c == '\\') {
            int error = parse_escape(parser);

            if (error != 0)
                return error;
            continue;
        }
        if (!quoted && (is_blank(c) || c == ';'))
            break;
        if (c == '"') {
            quoted = !quoted;
            quote = parser->at;
        } else {
            *parser->out++ = c;
        }
        parser->at++;
    }
    if (quoted)
        return refuse(parser, quote, "unterminated quote");
    *ret_word = bytes_of(begin, (size_t)(parser->out - begin));
    return 0;
}

static int parse_commands(struct parser *parser, struct cli_line *line, struct bytes *words)
{
    struct bytes text = parser->text;
    struct cli_command *command = NULL; /* NULL: none has begun since the last ';' */

    while (parser->at < text.len) {
        uint8_t c = text.ptr[parser->at];
        int error;

        if (is_blank(c)) {
            parser->at++;
            continue;
        }
        if (c == ';') {
            command = NULL;
            parser->at++;
            continue;
        }
        if (c == '#' && command == NULL) {
            const uint8_t *end = memchr(text.ptr + parser->at, '\n', text.len - parser->at);

            parser->at = end == NULL ? text.len : (size_t)(end - text.ptr);
            continue;
        }
        if (command == NULL) {
            command = &line->commands[line->command_count++];
            *command = (struct cli_command){words, 0};
        }
        error = parse_word(parser, words);
        if (error != 0)
            return error;
        words++;
        command->word_count++;
    }
    return 0;
}

/* No more words than separators and one. */
static size_t words_max(struct bytes text)
{
    size_t count = 1;

    for (size_t i = 0; i < text.len; i++)
        count += is_blank(text.ptr[i]) || text.ptr[i] == ';';
    return count;
}

int cli_parse(struct bytes text, struct cli_line *ret_line, char *why, size_t why_size)
{
    struct cli_line line = {.command_count = 0};
    struct parser parser = {.text = text, .why = why, .why_size = why_size};
    size_t count = words_max(text);
    struct bytes *words;
    int error = ERROR_OUT_OF_MEMORY;

    arena_init(&line.arena);
    parser.out = arena_alloc(&line.arena, text.len + 1);
    words = arena_alloc(&line.arena, count * sizeof(*words));
    line.commands = arena_alloc(&line.arena, count * sizeof(*line.commands));
    if (parser.out != NULL && words != NULL && line.commands != NULL)
        error = parse_commands(&parser, &line, words);
    else
        snprintf(why, why_size, "out of memory");
    if (error != 0) {
        arena_done(&line.arena);
        *ret_line = (struct cli_line){.command_count = 0};
        return error;
    }
    *ret_line = line;
    return 0;
}

void cli_line_done(struct cli_line *line)
{
    arena_done(&line->arena);
    *line = (struct cli_line){.command_count = 0};
}

char *cli_printable(struct arena *arena, struct bytes bytes)
{
    size_t size = bytes.len * 4 + 1;
    char *out = arena_alloc(arena, size);

    return out == NULL ? NULL : bytes_print(bytes, out, size);
}

bool cli_prefix_end(struct arena *arena, struct bytes prefix, struct bytes *ret_end)
{
    size_t len = prefix.len;
    struct bytes copy;

    while (len > 0 && prefix.ptr[len - 1] == 0xff)
        len--;
    if (len == 0 || arena_copy(arena, bytes_of(prefix.ptr, len), &copy) != 0)
        return false;
    ((uint8_t *)copy.ptr)[len - 1]++;
    *ret_end = copy;
    return true;
}

bool cli_parse_number(struct bytes text, int64_t low, int64_t high, int64_t *ret_number)
{
    bool negative = text.len > 0 && text.ptr[0] == '-';
    int64_t number = 0;

    if (text.len == (size_t)negative)
        return false;
    for (size_t i = negative; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9' || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, text.ptr[i] - '0', &number))
            return false;
    }
    number = negative ? -number : number;
    if (number < low || number > high)
        return false;
    *ret_number = number;
    return true;
}

bool cli_parse_uid(struct bytes text, uint8_t ret_uid[CLI_UID_BYTES])
{
    uint8_t uid[CLI_UID_BYTES];

    if (text.len != 2 * sizeof(uid))
        return false;
    for (size_t i = 0; i < sizeof(uid); i++) {
        int high = hex_digit(text.ptr[2 * i]), low = hex_digit(text.ptr[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        uid[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(ret_uid, uid, sizeof(uid));
    return true;
}
