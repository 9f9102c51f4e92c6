/* Line by line: comments go, exactly one line is left, which is taken apart from left to right. */
#include "txn/client/cluster_file.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

#include "net/error.h"

struct parser {
    char *why;
    size_t why_size;
    unsigned line;
};

__attribute__((format(printf, 2, 3))) static int bad(struct parser *parser, const char *format, ...)
{
    va_list args;
    int len = 0;

    if (parser->why_size > 0) {
        if (parser->line > 0)
            len = snprintf(parser->why, parser->why_size, "line %u: ", parser->line);
        if (len >= 0 && (size_t)len < parser->why_size) {
            va_start(args, format);
            vsnprintf(parser->why + len, parser->why_size - (size_t)len, format, args);
            va_end(args);
        }
    }
    return ERROR_CONNECTION_STRING_INVALID;
}

static struct bytes trim(struct bytes text)
{
    while (text.len > 0 && isspace(text.ptr[0]))
        text = bytes_of(text.ptr + 1, text.len - 1);
    while (text.len > 0 && isspace(text.ptr[text.len - 1]))
        text.len--;
    return text;
}

/* Cuts text at the first `separator`; *ret_found says whether there was one. */
static struct bytes cut(struct bytes *text, char separator, bool *ret_found)
{
    const uint8_t *at = text->len == 0 ? NULL : memchr(text->ptr, separator, text->len);
    struct bytes head = *text;

    *ret_found = at != NULL;
    if (at == NULL) {
        *text = bytes_none();
        return head;
    }
    head.len = (size_t)(at - text->ptr);
    *text = bytes_of(at + 1, text->len - head.len - 1);
    return head;
}

static int take_name(struct parser *parser, struct bytes name, const char *what, bool underscores,
                     char ret_name[CLUSTER_FILE_NAME_MAX])
{
    char shown[64];

    if (name.len == 0)
        return bad(parser, "the %s is empty (description:ID@ip:port,...)", what);
    if (name.len >= CLUSTER_FILE_NAME_MAX)
        return bad(parser, "the %s is longer than %d characters", what, CLUSTER_FILE_NAME_MAX - 1);
    for (size_t i = 0; i < name.len; i++)
        if (!isalnum(name.ptr[i]) && !(underscores && name.ptr[i] == '_'))
            return bad(parser, "'%s' is no character of the %s: letters%s digits only",
                       bytes_print(bytes_of(name.ptr + i, 1), shown, sizeof(shown)), what, underscores ? ", '_' and" : " and");
    memcpy(ret_name, name.ptr, name.len);
    ret_name[name.len] = '\0';
    return 0;
}

static int take_address(struct parser *parser, struct bytes text, struct cluster_file *file)
{
    struct address address;
    char shown[64];

    text = trim(text);
    bytes_print(text, shown, sizeof(shown));
    if (text.len > 4 && memcmp(text.ptr + text.len - 4, ":tls", 4) == 0)
        return bad(parser, "%s: TLS is not supported", shown);
    if (address_parse(text, &address) != 0)
        return bad(parser, "'%s' is not ip:port", shown);
    for (uint32_t i = 0; i < file->coordinator_count; i++)
        if (address_equal(address, file->coordinators[i]))
            return bad(parser, "%s is there twice", shown);
    if (file->coordinator_count == CLUSTER_FILE_COORDINATORS_MAX)
        return bad(parser, "more than %d coordinators", CLUSTER_FILE_COORDINATORS_MAX);
    file->coordinators[file->coordinator_count++] = address;
    return 0;
}

static int take_line(struct parser *parser, struct bytes line, struct cluster_file *file)
{
    bool found;
    struct bytes names = cut(&line, '@', &found), description;
    int error;

    if (!found)
        return bad(parser, "no '@' (description:ID@ip:port,...)");
    description = cut(&names, ':', &found);
    if (!found)
        return bad(parser, "no ':' between description and ID (description:ID@ip:port,...)");
    error = take_name(parser, description, "description", true, file->description);
    if (error == 0)
        error = take_name(parser, names, "ID", false, file->id);
    do {
        struct bytes address = cut(&line, ',', &found);

        if (error == 0)
            error = take_address(parser, address, file);
    } while (found && error == 0);
    return error;
}

int cluster_file_parse(struct bytes text, struct cluster_file *ret_file, char *why, size_t why_size)
{
    struct parser parser = {.why = why, .why_size = why_size};
    struct cluster_file file = {0};
    bool more = text.len > 0, seen = false, found;

    if (why_size > 0)
        why[0] = '\0';
    if (text.len > CLUSTER_FILE_BYTES_MAX)
        return bad(&parser, "larger than %d bytes: not a cluster file", CLUSTER_FILE_BYTES_MAX);
    while (more) {
        struct bytes line = cut(&text, '\n', &more);
        int error;

        parser.line++;
        line = trim(cut(&line, '#', &found));
        if (line.len == 0)
            continue;
        if (seen)
            return bad(&parser, "a second line (one description:ID@ip:port,... is wanted)");
        error = take_line(&parser, line, &file);
        if (error != 0)
            return error;
        seen = true;
    }
    parser.line = 0;
    if (!seen)
        return bad(&parser, "it has no line description:ID@ip:port,...");
    *ret_file = file;
    return 0;
}
