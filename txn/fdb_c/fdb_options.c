/* Network options from the environment: FDB_NETWORK_OPTION_<NAME>=value[:value...].
 *
 * The values of one variable are separated by ':'; a backslash keeps the character behind it ("\:" and "\\"). Hidden options
 * have no variable. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/bytes.h"
#include "net/mem.h"
#include "txn/fdb_c/fdb_internal.h"

enum parameter { PARAMETER_NONE, PARAMETER_INT, PARAMETER_STRING, PARAMETER_BYTES };
enum kind { KIND_SHOWN, KIND_DEPRECATED, KIND_HIDDEN };

struct network_option {
    const char *name;
    int code;
    enum parameter parameter;
    enum kind kind;
};

static const struct network_option options[] = {
#define ROW(NAME, name, code, parameter, kind) {#NAME, code, PARAMETER_##parameter, KIND_##kind},
    FDB_NETWORK_OPTION_TABLE(ROW)
#undef ROW
};

static int set_one(const struct network_option *option, const char *value)
{
    uint8_t number[8];
    char *end;

    if (option->parameter != PARAMETER_INT)
        return quoin_network_set_option(option->code, option->parameter == PARAMETER_NONE ? NULL : value,
                                        option->parameter == PARAMETER_NONE ? 0 : (int)strlen(value));
    errno = 0;
    put_le64(number, (uint64_t)strtoll(value, &end, 10));
    if (errno != 0 || end == value || *end != '\0')
        return ERROR_INVALID_OPTION_VALUE;
    return quoin_network_set_option(option->code, number, (int)sizeof(number));
}

/* Sets every value of `text`, which is cut up. */
static int set_values(const struct network_option *option, char *text)
{
    char *out = text, *value = text;
    int error = 0;

    for (char *in = text;; in++) {
        bool ends = *in == ':' || *in == '\0', last = *in == '\0';

        if (*in == '\\') {
            if (in[1] != ':' && in[1] != '\\')
                return ERROR_INVALID_OPTION_VALUE;
            in++;
        }
        if (!ends) {
            *out++ = *in;
            continue;
        }
        *out = '\0';
        error = set_one(option, value);
        if (last || error != 0)
            return error;
        value = out = in + 1;
    }
}

static int set_from_variable(const struct network_option *option)
{
    char variable[96];
    const char *value;
    char *copy;
    size_t size;
    int error;

    snprintf(variable, sizeof(variable), "FDB_NETWORK_OPTION_%s", option->name);
    value = getenv(variable);
    if (value == NULL)
        return 0;
    size = strlen(value) + 1;
    copy = mem_alloc(size);
    if (copy == NULL)
        return ERROR_OUT_OF_MEMORY;
    memcpy(copy, value, size);
    error = set_values(option, copy);
    mem_free(copy);
    return error == 0 ? 0 : ERROR_ENVIRONMENT_VARIABLE_NETWORK_OPTION_FAILED;
}

int fdb_options_from_environment(void)
{
    int error = 0;

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]) && error == 0; i++)
        if (options[i].kind != KIND_HIDDEN)
            error = set_from_variable(&options[i]);
    return error;
}
