/* Transaction options: FoundationDB's codes, each with its effect or none.
 *
 * Options that mean something to FoundationDB alone are accepted without one, or programs written for it would fail at their
 * start. A code that is in no table is an error. */
#include "txn/client/client_internal.h"

enum option_form { FORM_NONE, FORM_INT, FORM_BYTES };

struct option {
    int code;
    enum option_form form;
    /* NULL: accepted, without effect. Under the lock; `value` is read when form is FORM_INT. 0 or an error. */
    int (*apply)(struct transaction *txn, int64_t value);
};

static int set_no_write_conflict(struct transaction *txn, int64_t value)
{
    (void)value;
    txn->no_write_conflict_next = true;
    return 0;
}

static int set_causal_write_risky(struct transaction *txn, int64_t value)
{
    (void)value;
    txn->causal_write_risky = true;
    return 0;
}

static int set_ryw_off(struct transaction *txn, int64_t value)
{
    (void)value;
    if (txn->touched)
        return ERROR_CLIENT_INVALID_OPERATION;
    txn->ryw_off = true;
    return 0;
}

static int set_immediate(struct transaction *txn, int64_t value)
{
    (void)value;
    txn->grv_class = 2;
    return 0;
}

static int set_batch(struct transaction *txn, int64_t value)
{
    (void)value;
    txn->grv_class = 1;
    return 0;
}

static int set_access_system(struct transaction *txn, int64_t value)
{
    (void)value;
    txn->system_read = txn->system_write = true;
    return 0;
}

static int set_read_system(struct transaction *txn, int64_t value)
{
    (void)value;
    txn->system_read = true;
    return 0;
}

static int set_raw_access(struct transaction *txn, int64_t value)
{
    (void)value;
    txn->raw_access = true;
    return 0;
}

static int set_timeout(struct transaction *txn, int64_t value)
{
    if (value < 0 || value > INT32_MAX)
        return ERROR_INVALID_OPTION_VALUE;
    txn->settings.timeout_ms = value;
    txn->sync_wanted = true;
    return 0;
}

static int set_retry_limit(struct transaction *txn, int64_t value)
{
    if (value < -1 || value > INT32_MAX)
        return ERROR_INVALID_OPTION_VALUE;
    txn->settings.retry_limit = value;
    return 0;
}

static int set_max_retry_delay(struct transaction *txn, int64_t value)
{
    if (value < 0 || value > INT32_MAX)
        return ERROR_INVALID_OPTION_VALUE;
    txn->settings.max_retry_delay_ms = value;
    return 0;
}

static int set_size_limit(struct transaction *txn, int64_t value)
{
    if (value < TRANSACTION_SIZE_LIMIT_MIN || value > TRANSACTION_BYTES_MAX)
        return ERROR_INVALID_OPTION_VALUE;
    txn->settings.size_limit = value;
    return 0;
}

static int set_snapshot_ryw_on(struct transaction *txn, int64_t value)
{
    (void)value;
    txn->settings.snapshot_ryw_off = false;
    return 0;
}

static int set_snapshot_ryw_off(struct transaction *txn, int64_t value)
{
    (void)value;
    txn->settings.snapshot_ryw_off = true;
    return 0;
}

static int set_lock_aware(struct transaction *txn, int64_t value)
{
    (void)value;
    txn->lock_aware = true;
    return 0;
}

static int set_read_lock_aware(struct transaction *txn, int64_t value)
{
    (void)value;
    txn->read_lock_aware = true;
    return 0;
}

static int set_used_during_commit_off(struct transaction *txn, int64_t value)
{
    (void)value;
    txn->settings.used_during_commit_off = true;
    return 0;
}

static int set_bypass_unreadable(struct transaction *txn, int64_t value)
{
    (void)value;
    txn->bypass_unreadable = true;
    return 0;
}

static const struct option table[] = {
    {10, FORM_NONE, set_causal_write_risky},
    {20, FORM_NONE, NULL}, /* causal_read_risky: every read version is confirmed */
    {21, FORM_NONE, NULL},
    {23, FORM_NONE, NULL},
    {30, FORM_NONE, set_no_write_conflict},
    {40, FORM_NONE, NULL},
    {50, FORM_NONE, NULL},
    {51, FORM_NONE, set_ryw_off},
    {52, FORM_NONE, NULL},
    {110, FORM_NONE, NULL},
    {120, FORM_NONE, NULL},
    {130, FORM_NONE, NULL},
    {200, FORM_NONE, set_immediate},
    {201, FORM_NONE, set_batch},
    {300, FORM_NONE, NULL},
    {301, FORM_NONE, set_access_system},
    {302, FORM_NONE, set_read_system},
    {303, FORM_NONE, set_raw_access},
    {304, FORM_NONE, NULL},
    {400, FORM_NONE, NULL},
    {401, FORM_BYTES, NULL},
    {402, FORM_BYTES, NULL},
    {403, FORM_BYTES, NULL},
    {404, FORM_NONE, NULL},
    {405, FORM_INT, NULL},
    {406, FORM_NONE, NULL},
    {500, FORM_INT, set_timeout},
    {501, FORM_INT, set_retry_limit},
    {502, FORM_INT, set_max_retry_delay},
    {503, FORM_INT, set_size_limit},
    {504, FORM_BYTES, NULL},
    {505, FORM_NONE, NULL},
    {507, FORM_NONE, NULL},
    {508, FORM_NONE, NULL},
    {509, FORM_NONE, NULL},
    {510, FORM_NONE, NULL},
    {511, FORM_NONE, NULL},
    {600, FORM_NONE, set_snapshot_ryw_on},
    {601, FORM_NONE, set_snapshot_ryw_off},
    {700, FORM_NONE, set_lock_aware},
    {701, FORM_NONE, set_used_during_commit_off},
    {702, FORM_NONE, set_read_lock_aware},
    {710, FORM_NONE, NULL},
    {711, FORM_NONE, NULL},
    {712, FORM_NONE, NULL},
    {713, FORM_NONE, NULL},
    {714, FORM_NONE, NULL},
    {800, FORM_BYTES, NULL},
    {801, FORM_BYTES, NULL},
    {900, FORM_BYTES, NULL},
    {1000, FORM_NONE, NULL},
    {1100, FORM_NONE, set_bypass_unreadable},
    {1101, FORM_NONE, NULL},
    {1102, FORM_NONE, NULL},
    {1103, FORM_INT, NULL},
    {2000, FORM_BYTES, NULL},
    {4000, FORM_NONE, NULL},
    {4001, FORM_INT, NULL},
};

static const struct option *find(int code)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].code == code)
            return &table[i];
    return NULL;
}

int transaction_set_option(struct transaction *txn, int code, struct bytes value)
{
    const struct option *option = find(code);
    int64_t number = 0;
    int error = 0;

    if (option == NULL)
        return ERROR_INVALID_OPTION;
    if (option->form == FORM_INT && value.len != 8)
        return ERROR_INVALID_OPTION_VALUE;
    if (option->form == FORM_INT)
        number = (int64_t)get_le64(value.ptr);
    if (option->apply == NULL)
        return 0;
    transaction_lock(txn);
    error = option->apply(txn, number);
    transaction_unlock(txn);
    return error;
}
