/* Options of the network: FoundationDB's, for the whole process. Those with an effect are kept here until the network is made.
 *
 * The library traces into files only when trace_enable says so: JSON lines, by the same writer as a server's, named by the process
 * id. A knob is one of net/knobs.h; FoundationDB's own names mean nothing here and are passed over, as it does with names that it does not
 * know. */
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "txn/client/quoin_internal.h"

enum { GROUP_BYTES_MAX = 64, ROLL_BYTES = 10 << 20, LOGS_BYTES = 100 << 20 };

/* One network a process: the interface has no handle for it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    bool traces, has_knobs;
    char directory[PATH_MAX], group[GROUP_BYTES_MAX + 1];
    int64_t roll_bytes, logs_bytes; /* logs: 0 is no limit */
    struct knobs knobs;
} settings = {.roll_bytes = ROLL_BYTES, .logs_bytes = LOGS_BYTES};

static const struct {
    int first, last;
    enum option_form form;
} options[] = {
    {10, 10, FORM_BYTES}, {20, 20, FORM_BYTES}, {30, 30, FORM_BYTES}, {31, 32, FORM_INT},  {33, 36, FORM_BYTES},   {37, 38, FORM_NONE},
    {39, 43, FORM_BYTES}, {45, 47, FORM_BYTES}, {48, 49, FORM_NONE},  {50, 51, FORM_INT},  {52, 54, FORM_BYTES},   {55, 55, FORM_NONE},
    {60, 61, FORM_NONE},  {62, 63, FORM_BYTES}, {64, 64, FORM_NONE},  {65, 65, FORM_INT},  {66, 66, FORM_BYTES},   {67, 72, FORM_NONE},
    {80, 81, FORM_NONE},  {82, 83, FORM_INT},   {84, 84, FORM_BYTES}, {90, 91, FORM_BYTES}, {1000, 1000, FORM_BYTES}, {1001, 1001, FORM_NONE},
    {1002, 1002, FORM_INT},
};

int option_check_form(enum option_form form, const void *value, int value_length)
{
    if (value_length < 0 || (value == NULL && value_length > 0))
        return ERROR_INVALID_OPTION_VALUE;
    if (form == FORM_INT)
        return value_length == 8 ? 0 : ERROR_INVALID_OPTION_VALUE;
    return form == FORM_NONE && value_length > 0 ? ERROR_INVALID_OPTION_VALUE : 0;
}

/* ---- those with an effect; under the lock ---- */

static int set_directory(struct bytes value)
{
    if (value.len >= sizeof(settings.directory) || memchr(value.ptr == NULL ? (const uint8_t *)"" : value.ptr, '\0', value.len) != NULL)
        return ERROR_INVALID_OPTION_VALUE;
    snprintf(settings.directory, sizeof(settings.directory), "%.*s", value.len == 0 ? 1 : (int)value.len,
             value.len == 0 ? "." : (const char *)value.ptr);
    settings.traces = true;
    return 0;
}

static int set_bytes(struct bytes value, int64_t *ret_number)
{
    int64_t number = (int64_t)get_le64(value.ptr);

    if (number < 0)
        return ERROR_INVALID_OPTION_VALUE;
    *ret_number = number;
    return 0;
}

/* It stands in each line between quotes. */
static int set_group(struct bytes value)
{
    if (value.len > GROUP_BYTES_MAX)
        return ERROR_INVALID_OPTION_VALUE;
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] < ' ' || value.ptr[i] > '~' || value.ptr[i] == '"' || value.ptr[i] == '\\')
            return ERROR_INVALID_OPTION_VALUE;
    snprintf(settings.group, sizeof(settings.group), "%.*s", (int)value.len, (const char *)value.ptr);
    return 0;
}

static int one_of(struct bytes value, const char *a, const char *b)
{
    return bytes_equal(value, bytes_of_string(a)) || bytes_equal(value, bytes_of_string(b)) ? 0 : ERROR_INVALID_OPTION_VALUE;
}

static int set_knob(struct bytes value)
{
    const uint8_t *equals = value.len == 0 ? NULL : memchr(value.ptr, '=', value.len);
    size_t name_len;
    int error;

    if (equals == NULL)
        return ERROR_INVALID_OPTION_VALUE;
    if (!settings.has_knobs)
        knobs_init(&settings.knobs);
    settings.has_knobs = true;
    name_len = (size_t)(equals - value.ptr);
    error = knobs_set(&settings.knobs, bytes_of(value.ptr, name_len), bytes_of(equals + 1, value.len - name_len - 1));
    return error == ERROR_INVALID_OPTION ? 0 : error;
}

static int set(int option, struct bytes value)
{
    switch (option) {
    case 30:
        return set_directory(value);
    case 31:
        return set_bytes(value, &settings.roll_bytes);
    case 32:
        return set_bytes(value, &settings.logs_bytes);
    case 33:
        return set_group(value);
    case 34:
        return one_of(value, "json", "xml"); /* lines are JSON either way */
    case 35:
        return one_of(value, "now", "realtime");
    case 40:
        return set_knob(value);
    default:
        return 0;
    }
}

quoin_error quoin_network_set_option(int option, const void *value, int value_length)
{
    int error = ERROR_INVALID_OPTION;

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (option >= options[i].first && option <= options[i].last)
            error = option_check_form(options[i].form, value, value_length);
    if (error != 0)
        return error;
    pthread_mutex_lock(&lock);
    error = set(option, bytes_of(value, (size_t)value_length));
    pthread_mutex_unlock(&lock);
    return error;
}

/* ---- for the network that is made ---- */

int network_make_env(struct env_posix_options *env_options, struct env **ret_env)
{
    int error;

    pthread_mutex_lock(&lock);
    if (settings.traces) {
        env_options->trace_dir = settings.directory;
        env_options->trace_group = settings.group;
        env_options->trace_port = (uint32_t)getpid();
    }
    error = env_posix_create(env_options, ret_env);
    if (error == 0 && settings.has_knobs)
        (*ret_env)->knobs = settings.knobs;
    if (error == 0 && settings.traces) {
        int64_t roll_bytes = settings.roll_bytes == 0 ? ROLL_BYTES : settings.roll_bytes;

        (*ret_env)->knobs.trace_roll_bytes = roll_bytes;
        (*ret_env)->knobs.trace_files_max = settings.logs_bytes == 0 ? INT64_MAX : settings.logs_bytes / roll_bytes;
    }
    pthread_mutex_unlock(&lock);
    return error;
}
