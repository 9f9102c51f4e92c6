#include "net/error.h"

#include <stddef.h>

static const struct {
    int code;
    const char *name;
} names[] = {
#define X(code, name, constant) {code, #name},
    ERROR_TABLE(X)
#undef X
};

/* What a person should know beyond the name, for the errors that people meet. */
static const struct {
    int code;
    const char *text;
} texts[] = {
    {0, "Success"},
    {1001, "The shard has moved to another storage server"},
    {1004, "The operation timed out"},
    {1006, "No replica of the data could be reached"},
    {1007, "The transaction is too old: its read version is no longer readable"},
    {1009, "The requested version is not yet known to the storage server"},
    {1020, "The transaction conflicts with another one and was not committed"},
    {1021, "The commit's result is unknown: it may or may not have happened"},
    {1022, "The commit's result is unknown and can no longer be learned"},
    {1025, "The transaction was cancelled"},
    {1031, "The transaction passed its time-out"},
    {1032, "Too many watches are set"},
    {1036, "The transaction read what it had written with a versionstamp"},
    {1037, "A storage server is too far behind"},
    {1038, "The database is locked"},
    {1039, "The cluster has been upgraded to a new protocol version"},
    {1101, "The operation was cancelled"},
    {1102, "The future's memory has been released"},
    {1501, "Out of memory"},
    {1510, "A file could not be read or written"},
    {1515, "No cluster file was found"},
    {1520, "A checksum did not match"},
    {1522, "A data file is damaged"},
    {2000, "The operation is not valid here"},
    {2004, "The key is outside the legal range"},
    {2005, "The range's begin is after its end"},
    {2006, "The option's value is not valid"},
    {2007, "The option does not exist"},
    {2010, "The read version has already been set"},
    {2012, "The range's limits are not valid"},
    {2017, "The transaction was used while it was being committed"},
    {2021, "The transaction has not been committed, so it has no version"},
    {2100, "The other side speaks an incompatible protocol version"},
    {2101, "The transaction is larger than its limit"},
    {2102, "The key is larger than the limit of 10,000 bytes"},
    {2103, "The value is larger than the limit of 100,000 bytes"},
    {2104, "The cluster file's connection string is malformed"},
    {2105, "The address is already in use"},
    {2108, "The operation is not supported"},
};

const char *error_name(int code)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].code == code)
            return names[i].name;
    return "unknown_error";
}

const char *error_text(int code)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (texts[i].code == code)
            return texts[i].text;
    return error_name(code);
}

bool error_is_maybe_committed(int code)
{
    return code == ERROR_COMMIT_UNKNOWN_RESULT || code == ERROR_CLUSTER_VERSION_CHANGED;
}

bool error_is_retryable_not_committed(int code)
{
    switch (code) {
    case ERROR_NOT_COMMITTED:
    case ERROR_TRANSACTION_TOO_OLD:
    case ERROR_FUTURE_VERSION:
    case ERROR_PROCESS_BEHIND:
    case ERROR_DATABASE_LOCKED:
    case ERROR_COMMIT_PROXY_MEMORY_LIMIT_EXCEEDED:
    case ERROR_BATCH_TRANSACTION_THROTTLED:
    case ERROR_GRV_PROXY_MEMORY_LIMIT_EXCEEDED:
    case ERROR_TAG_THROTTLED:
    case ERROR_TRANSACTION_THROTTLED_HOT_SHARD:
    case ERROR_TRANSACTION_REJECTED_RANGE_LOCKED:
        return true;
    default:
        return false;
    }
}

bool error_is_retryable(int code)
{
    return error_is_maybe_committed(code) || error_is_retryable_not_committed(code);
}
