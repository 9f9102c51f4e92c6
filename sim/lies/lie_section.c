#include "sim/lies/lie_section.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/lies/lies.h"
#include "txn/messages.h"

static bool parse_number(const char *text, int64_t max, int64_t *ret)
{
    char *end;

    errno = 0;
    *ret = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *ret >= 0 && *ret <= max;
}

static bool parse_seconds(const char *text, int64_t *ret_us)
{
    if (!parse_number(text, 1000, ret_us))
        return false;
    *ret_us *= SIM_SECOND_US;
    return true;
}

static bool copy(char *out, size_t size, const char *text)
{
    return (size_t)snprintf(out, size, "%s", text) < size;
}

static bool parse_yes(const char *text, bool *ret)
{
    *ret = strcmp(text, "yes") == 0;
    return *ret || strcmp(text, "no") == 0;
}

static const struct message_type *find_message(const char *name)
{
    for (int id = 0; id < MESSAGE_ID_END; id++)
        if (message_types[id] != NULL && strcmp(message_types[id]->name, name) == 0)
            return message_types[id];
    return NULL;
}

/* "Name text", or "metric >= N". */
static bool parse_expect(struct lie_section *section, enum lie_expect_kind kind, const char *text)
{
    struct lie_expect *expect = &section->expects[section->expect_count];
    size_t length = strcspn(text, " ");
    const char *rest = text + length + strspn(text + length, " ");

    if (section->expect_count == LIE_EXPECTS_MAX || length == 0 || length >= sizeof(expect->name))
        return false;
    *expect = (struct lie_expect){.kind = kind};
    snprintf(expect->name, sizeof(expect->name), "%.*s", (int)length, text);
    section->expect_count++;
    if (kind != LIE_EXPECT_COUNT)
        return copy(expect->text, sizeof(expect->text), rest);
    return strncmp(rest, ">= ", 3) == 0 && parse_number(rest + 3, INT64_MAX, &expect->least);
}

static const char *parse_what(struct lie_section *section, const char *key, const char *value)
{
    const struct schema *schema = section->message == NULL ? NULL : section->message->schema;

    if (schema == NULL)
        return "name the message first";
    if (strcmp(key, "if") == 0)
        return section->test_count < LIE_CHANGES_MAX && lie_test_parse(value, schema, &section->tests[section->test_count++])
                   ? NULL
                   : "no test of a field of the message";
    return section->change_count < LIE_CHANGES_MAX &&
                   lie_change_parse(value, schema, &section->changes[section->change_count++])
               ? NULL
               : "no change of a field of the message";
}

static const char *parse_provoke(struct lie_section *section, const char *value)
{
    static const char *const words[] = {"nothing", "leader", "epoch", "log", "storage", "follower", NULL};

    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], value) == 0) {
            section->provoke = i;
            return NULL;
        }
    }
    return "nothing that can be provoked";
}

static bool parse_number_key(struct lie_section *section, const char *key, const char *value, bool *ret_well)
{
    struct {
        const char *key;
        int64_t *seconds, *number;
    } keys[] = {
        {"after", &section->after_us, NULL},  {"for", &section->lasts_us, NULL},  {"every", &section->every_us, NULL},
        {"one-in", NULL, &section->one_in}, {"most", NULL, &section->most},   {"pause-ms", NULL, &section->pause_ms},
    };

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (strcmp(keys[i].key, key) != 0)
            continue;
        *ret_well = keys[i].seconds != NULL ? parse_seconds(value, keys[i].seconds)
                                            : parse_number(value, INT64_MAX, keys[i].number);
        return true;
    }
    return false;
}

static bool parse_text_key(struct lie_section *section, const char *key, const char *value, bool *ret_well)
{
    if (strcmp(key, "from") == 0)
        *ret_well = copy(section->from, sizeof(section->from), value);
    else if (strcmp(key, "to") == 0)
        *ret_well = copy(section->to, sizeof(section->to), value);
    else if (strcmp(key, "before-recovery") == 0)
        *ret_well = parse_yes(value, &section->before_recovery);
    else if (strcmp(key, "all") == 0)
        *ret_well = parse_yes(value, &section->all);
    else if (strcmp(key, "file") == 0)
        *ret_well = copy(section->file, sizeof(section->file), value);
    else if (strcmp(key, "suffix") == 0)
        *ret_well = copy(section->suffix, sizeof(section->suffix), value);
    else if (strcmp(key, "keys") == 0)
        *ret_well = copy(section->keys, sizeof(section->keys), value);
    else if (strcmp(key, "at") == 0)
        *ret_well = copy(section->at, sizeof(section->at), value);
    else if (strcmp(key, "as-client") == 0)
        *ret_well = parse_yes(value, &section->as_client);
    else if (strcmp(key, "loses-replica") == 0)
        *ret_well = parse_yes(value, &section->loses_replica);
    else if (strcmp(key, "expect-trace") == 0)
        *ret_well = parse_expect(section, LIE_EXPECT_TRACE, value);
    else if (strcmp(key, "expect-error") == 0)
        *ret_well = parse_expect(section, LIE_EXPECT_ERROR, value);
    else if (strcmp(key, "expect-count") == 0)
        *ret_well = parse_expect(section, LIE_EXPECT_COUNT, value);
    else if (strcmp(key, "excuse-error") == 0)
        *ret_well = copy(section->excused, sizeof(section->excused), value);
    else if (strcmp(key, "expect-failure") == 0)
        *ret_well = copy(section->failure, sizeof(section->failure), value);
    else
        return false;
    return true;
}

const char *lie_section_parse(struct lie_section *section, const char *key, const char *value)
{
    bool well;

    if (strcmp(key, "lie") == 0) {
        section->type = lie_find(value);
        section->one_in = 1;
        section->pause_ms = 100;
        section->every_us = 2 * SIM_SECOND_US;
        return section->type == NULL ? "no such lie" : NULL;
    }
    if (section->type == NULL)
        return "name the lie first";
    if (strcmp(key, "message") == 0) {
        section->message = find_message(value);
        return section->message == NULL ? "no such message" : NULL;
    }
    if (strcmp(key, "if") == 0 || strcmp(key, "change") == 0)
        return parse_what(section, key, value);
    if (strcmp(key, "provoke") == 0)
        return parse_provoke(section, value);
    if (parse_number_key(section, key, value, &well) || parse_text_key(section, key, value, &well))
        return well ? NULL : "not a value of this key";
    return "no such key";
}

const char *lie_section_check(const struct lie_section *section)
{
    if (section->type == NULL)
        return NULL;
    if (section->type->observe != NULL && section->message == NULL)
        return "this lie is about a message: name it";
    if (section->message == NULL && section->test_count + section->change_count > 0)
        return "a change of no message";
    if (section->pause_ms == 0)
        return "pause-ms is at least 1";
    return section->one_in == 0 ? "one-in is at least 1" : NULL;
}
