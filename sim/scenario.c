/* A table of sections and keys over libinih, which gives each (section, key, value) and counts the lines. */
#include "sim/scenario.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/loss.h"
#include "sim/workload.h"
#include "txn/messages.h"

struct parser {
    struct scenario *scenario;
    char *why;
    size_t why_size;
    bool failed;
};

static bool fail(struct parser *parser, const char *what, const char *name)
{
    if (!parser->failed)
        snprintf(parser->why, parser->why_size, "%s: %s", what, name);
    parser->failed = true;
    return false;
}

static bool parse_integer(struct parser *parser, const char *text, int64_t min, int64_t max, int64_t *ret)
{
    char *end;
    long long number;

    errno = 0;
    number = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < min || number > max)
        return fail(parser, "not an integer in the allowed range", text);
    *ret = number;
    return true;
}

static bool parse_count(struct parser *parser, const char *text, int64_t min, int64_t max, int64_t *ret)
{
    if (strcmp(text, "draw") != 0)
        return parse_integer(parser, text, min, max, ret);
    *ret = SCENARIO_DRAW;
    return true;
}

static bool parse_seconds(struct parser *parser, const char *text, int64_t *ret_us)
{
    int64_t seconds;

    if (!parse_integer(parser, text, 0, 100000, &seconds))
        return false;
    *ret_us = seconds * SIM_SECOND_US;
    return true;
}

/* The index of `text` in `words` (ended by NULL), plus first. */
static bool parse_word(struct parser *parser, const char *text, const char *const *words, int64_t first, int64_t *ret)
{
    for (int64_t i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], text) == 0) {
            *ret = first + i;
            return true;
        }
    }
    return fail(parser, "no such value", text);
}

static bool parse_switch(struct parser *parser, const char *text, enum sim_switch *ret)
{
    static const char *const words[] = {"draw", "off", "on", NULL};
    int64_t value;

    if (!parse_word(parser, text, words, SWITCH_DRAW, &value))
        return false;
    *ret = (enum sim_switch)value;
    return true;
}

static bool add_workload(struct parser *parser, const char *name)
{
    struct scenario *scenario = parser->scenario;
    const struct sim_workload *type = sim_workload_find(name);
    struct scenario_workload *workload;

    if (type == NULL)
        return fail(parser, "no such workload", name);
    if (scenario->workload_count == SCENARIO_WORKLOADS_MAX)
        return fail(parser, "too many workloads", name);
    workload = &scenario->workloads[scenario->workload_count++];
    workload->type = type;
    for (size_t i = 0; i < SCENARIO_OPTIONS_MAX; i++)
        workload->options[i] = type->options[i].value;
    return true;
}

static bool parse_workloads(struct parser *parser, const char *value)
{
    char names[SCENARIO_TEXT_MAX], *rest = names, *name;

    if (strlen(value) >= sizeof(names))
        return fail(parser, "too long", value);
    snprintf(names, sizeof(names), "%s", value);
    while ((name = strsep(&rest, " ")) != NULL)
        if (*name != '\0' && !add_workload(parser, name))
            return false;
    return true;
}

static bool parse_test(struct parser *parser, const char *key, const char *value)
{
    static const char *const losses[] = {"nothing", "logs", "storage", "coordinators", NULL};
    struct scenario *scenario = parser->scenario;

    if (strcmp(key, "title") == 0) {
        snprintf(scenario->title, sizeof(scenario->title), "%s", value);
        return true;
    }
    if (strcmp(key, "workloads") == 0)
        return parse_workloads(parser, value);
    if (strcmp(key, "duration") == 0)
        return parse_seconds(parser, value, &scenario->duration_us);
    if (strcmp(key, "recovery-limit") == 0)
        return parse_seconds(parser, value, &scenario->recovery_limit_us);
    if (strcmp(key, "quiet-limit") == 0)
        return parse_seconds(parser, value, &scenario->quiet_limit_us);
    if (strcmp(key, "time-limit") == 0)
        return parse_seconds(parser, value, &scenario->time_limit_us);
    if (strcmp(key, "buggify") == 0)
        return parse_switch(parser, value, &scenario->buggify);
    if (strcmp(key, "survivors") == 0)
        return parse_switch(parser, value, &scenario->survivors);
    if (strcmp(key, "lose") == 0)
        return parse_word(parser, value, losses, LOSS_OF_NOTHING, &scenario->lose);
    if (strcmp(key, "lose-zones") == 0)
        return parse_integer(parser, value, 1, 64, &scenario->lose_zones);
    if (strcmp(key, "seed") == 0)
        return parse_integer(parser, value, 1, INT64_MAX, &scenario->seed);
    return fail(parser, "no such key", key);
}

static bool parse_topology(struct parser *parser, const char *key, const char *value)
{
    static const char *const kinds[] = {"default", "one", "draw", NULL};
    static const char *const modes[] = {"draw", "?", "single", "double", "triple", NULL};
    struct scenario *scenario = parser->scenario;
    int64_t kind;

    if (strcmp(key, "kind") == 0) {
        if (!parse_word(parser, value, kinds, TOPOLOGY_DEFAULT, &kind))
            return false;
        scenario->topology = (enum scenario_topology)kind;
        return true;
    }
    if (strcmp(key, "redundancy") == 0)
        return parse_word(parser, value, modes, SCENARIO_DRAW, &scenario->redundancy) &&
               (scenario->redundancy != 0 || fail(parser, "no such value", value));
    if (strcmp(key, "engine") == 0) {
        static const char *const memory[] = {"memory", NULL}, *const lmdb[] = {"lmdb", NULL}, *const draw[] = {"draw", NULL};

        if (value[0] == 'm')
            return parse_word(parser, value, memory, ENGINE_MEMORY, &scenario->engine);
        if (value[0] == 'l')
            return parse_word(parser, value, lmdb, ENGINE_LMDB, &scenario->engine);
        return parse_word(parser, value, draw, SCENARIO_DRAW, &scenario->engine);
    }
    if (strcmp(key, "coordinators") == 0)
        return parse_count(parser, value, 1, 7, &scenario->coordinators);
    if (strcmp(key, "logs") == 0)
        return parse_count(parser, value, 0, 8, &scenario->logs);
    if (strcmp(key, "storage") == 0)
        return parse_count(parser, value, 0, 90, &scenario->storage);
    if (strcmp(key, "stateless") == 0)
        return parse_count(parser, value, 0, 16, &scenario->stateless);
    if (strcmp(key, "unset") == 0)
        return parse_count(parser, value, 0, 8, &scenario->unset);
    if (strcmp(key, "commit-proxies") == 0)
        return parse_count(parser, value, 0, 3, &scenario->commit_proxies);
    if (strcmp(key, "grv-proxies") == 0)
        return parse_count(parser, value, 0, 3, &scenario->grv_proxies);
    if (strcmp(key, "resolvers") == 0)
        return parse_count(parser, value, 0, 4, &scenario->resolvers);
    if (strcmp(key, "clients") == 0)
        return parse_count(parser, value, 1, 8, &scenario->clients);
    if (strcmp(key, "far-paths") == 0)
        return parse_switch(parser, value, &scenario->far_paths);
    return fail(parser, "no such key", key);
}

static bool parse_fault(struct parser *parser, const char *key, const char *value)
{
    enum sim_fault_class class = sim_fault_class_of(key);

    if (strcmp(key, "all") == 0) {
        for (int i = 0; i < FAULT_CLASSES; i++)
            if (!parse_switch(parser, value, &parser->scenario->faults[i]))
                return false;
        return true;
    }
    if (class == FAULT_CLASSES)
        return fail(parser, "no such fault", key);
    if (*value >= '0' && *value <= '9') {
        parser->scenario->faults[class] = SWITCH_ON;
        return sim_strikes_parse(value, &parser->scenario->strikes[class]) || fail(parser, "not a list of strikes", value);
    }
    return parse_switch(parser, value, &parser->scenario->faults[class]);
}

static bool parse_knob(struct parser *parser, const char *key, const char *value)
{
    struct scenario *scenario = parser->scenario;
    struct scenario_knob *knob;
    struct knobs probe;

    if (strcmp(key, "randomize") == 0)
        return parse_switch(parser, value, &scenario->randomize_knobs);
    knobs_init(&probe);
    if (strlen(key) >= sizeof(knob->name) || knobs_set(&probe, bytes_of_string(key), bytes_of_string(value)) != 0 ||
        strlen(value) >= sizeof(knob->value))
        return fail(parser, "no such knob, or not an integer", key);
    if (scenario->knob_count == SCENARIO_KNOBS_MAX)
        return fail(parser, "too many knobs", key);
    knob = &scenario->knobs[scenario->knob_count++];
    snprintf(knob->name, sizeof(knob->name), "%s", key);
    snprintf(knob->value, sizeof(knob->value), "%s", value);
    return true;
}

static bool parse_lie(struct parser *parser, const char *key, const char *value)
{
    const char *wrong = lie_section_parse(&parser->scenario->lie, key, value);

    return wrong == NULL || fail(parser, wrong, value);
}

static bool parse_option(struct parser *parser, const char *section, const char *key, const char *value)
{
    for (size_t i = 0; i < parser->scenario->workload_count; i++) {
        struct scenario_workload *workload = &parser->scenario->workloads[i];

        if (strcmp(workload->type->name, section) != 0)
            continue;
        for (size_t at = 0; at < SCENARIO_OPTIONS_MAX && workload->type->options[at].key != NULL; at++) {
            const struct sim_workload_option *option = &workload->type->options[at];

            if (strcmp(option->key, key) == 0)
                return parse_integer(parser, value, option->min, option->max, &workload->options[at]);
        }
        return fail(parser, "the workload has no such option", key);
    }
    return fail(parser, "no such section (a workload is named under [test] first)", section);
}

static int handle(void *user, const char *section, const char *key, const char *value)
{
    struct parser *parser = user;

    if (parser->failed)
        return 0;
    if (strcmp(section, "test") == 0)
        return parse_test(parser, key, value);
    if (strcmp(section, "topology") == 0)
        return parse_topology(parser, key, value);
    if (strcmp(section, "faults") == 0)
        return parse_fault(parser, key, value);
    if (strcmp(section, "knobs") == 0)
        return parse_knob(parser, key, value);
    if (strcmp(section, "lie") == 0)
        return parse_lie(parser, key, value);
    return parse_option(parser, section, key, value);
}

int scenario_parse(const char *text, struct scenario *ret_scenario, char *ret_why, size_t ret_why_size)
{
    struct scenario scenario = {
        .duration_us = 60 * SIM_SECOND_US,
        .recovery_limit_us = 10 * SIM_SECOND_US,
        .quiet_limit_us = 120 * SIM_SECOND_US,
        .time_limit_us = 900 * SIM_SECOND_US,
        .coordinators = 3,
        .logs = 3,
        .storage = 3,
        .stateless = 5,
        .clients = 2,
        .redundancy = 2,
        .engine = ENGINE_MEMORY,
    };
    struct parser parser = {&scenario, ret_why, ret_why_size, false};
    int line = ini_parse_string(text, handle, &parser);

    if (line != 0 && !parser.failed)
        snprintf(ret_why, ret_why_size, "neither a section nor `key = value`, or too long");
    if (line == 0 && scenario.workload_count == 0) {
        snprintf(ret_why, ret_why_size, "no workloads under [test]");
        return 1;
    }
    if (line == 0 && lie_section_check(&scenario.lie) != NULL) {
        snprintf(ret_why, ret_why_size, "[lie]: %s", lie_section_check(&scenario.lie));
        return 1;
    }
    if (line == 0)
        *ret_scenario = scenario;
    return line < 0 ? 1 : line;
}
