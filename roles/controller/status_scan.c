/* The consistency scan's part of a status: how far it is, what the last round was, what it has found. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "roles/controller/status.h"

static void put(json_t *object, const char *key, json_t *value)
{
    (void)json_object_set_new(object, key, value);
}

static int64_t told(const struct status_input *input, const char *name)
{
    return status_sum(input, ROLE_DATA_DISTRIBUTOR, name);
}

struct number {
    const char *key, *metric;
};

static json_t *numbers_of(const struct status_input *input, const struct number *numbers, size_t count)
{
    json_t *object = json_object();

    for (size_t i = 0; i < count; i++)
        put(object, numbers[i].key, json_integer(told(input, numbers[i].metric)));
    return object;
}

/* Each note of that name, of the distributor. */
static void add_notes(const struct status_input *input, const char *name, void (*each)(json_t *array, struct bytes text), json_t *array)
{
    for (uint32_t p = 0; p < input->process_count; p++)
        for (uint32_t r = 0; input->processes[p].reply != NULL && r < input->processes[p].reply->roles_count; r++) {
            const struct role_status *role = &input->processes[p].reply->roles[r];

            for (uint32_t i = 0; role->kind == ROLE_DATA_DISTRIBUTOR && i < role->texts_count; i++)
                if (bytes_equal(role->texts[i].name, bytes_of_string(name)))
                    each(array, role->texts[i].text);
        }
}

static json_t *text_of(struct bytes text)
{
    return json_stringn((const char *)text.ptr, text.len);
}

static void add_text(json_t *array, struct bytes text)
{
    (void)json_array_append_new(array, text_of(text));
}

static void add_message(json_t *messages, struct bytes text)
{
    json_t *message = json_object();

    put(message, "name", json_string("consistency_scan_finding"));
    put(message, "description", text_of(text));
    (void)json_array_append_new(messages, message);
}

static json_t *notes_of(const struct status_input *input, const char *name)
{
    json_t *array = json_array();

    add_notes(input, name, add_text, array);
    return array;
}

static const char *state_of(const struct status_input *input)
{
    if (told(input, "scan_bytes_per_second") == 0)
        return "disabled";
    if (told(input, "scan_suspended") > 0)
        return "suspended";
    return told(input, "scan_round_began") > 0 ? "scanning" : "waiting";
}

json_t *status_scan(const struct status_input *input)
{
    static const struct number current[] = {{"number", "scan_round"},           {"began", "scan_round_began"},
                                            {"percent", "scan_round_percent"},  {"shards", "scan_round_shards"},
                                            {"shards_passed_over", "scan_round_skipped"}, {"bytes", "scan_round_bytes"}};
    static const struct number last[] = {{"began", "scan_last_began"},
                                         {"ended", "scan_last_ended"},
                                         {"shards", "scan_last_shards"},
                                         {"shards_passed_over", "scan_last_skipped"},
                                         {"bytes", "scan_last_bytes"}};
    static const struct number lifetime[] = {{"differences_found", "scan_found"}, {"replicas_repaired", "scan_repaired"}};
    json_t *object;

    if (told(input, "scan_known") == 0)
        return NULL;
    object = json_object();
    put(object, "state", json_string(state_of(input)));
    put(object, "bytes_per_second_limit", json_integer(told(input, "scan_bytes_per_second")));
    put(object, "current_round", numbers_of(input, current, sizeof(current) / sizeof(current[0])));
    put(object, "last_round", numbers_of(input, last, sizeof(last) / sizeof(last[0])));
    put(object, "lifetime", numbers_of(input, lifetime, sizeof(lifetime) / sizeof(lifetime[0])));
    put(object, "findings", notes_of(input, "scan_finding"));
    put(object, "repaired", notes_of(input, "scan_repaired"));
    return object;
}

void status_scan_messages(const struct status_input *input, json_t *messages)
{
    add_notes(input, "scan_finding", add_message, messages);
}
