/* Transaction options: FoundationDB's codes, each with its effect or none.
 *
 * Options that mean something to FoundationDB alone are accepted without one, or programs written for it would fail at their
 * start; but their parameters are checked as it checks them. A code that is in no table is an error. */
#include <limits.h>
#include <stddef.h>

#include "txn/client/client_internal.h"

enum option_form { FORM_NONE, FORM_INT, FORM_BYTES };

struct option {
    int code;
    enum option_form form;
    size_t field; /* FORM_NONE: a bool to set; FORM_INT: an int64_t; 0: none */
    int64_t min, max; /* FORM_INT: the number; FORM_BYTES: the length */
    /* Instead; under the lock. 0 or an error. */
    int (*apply)(struct transaction *txn, struct bytes value);
};

#define FIELD(name) offsetof(struct transaction, name)
#define SETTING(name) offsetof(struct transaction, settings.name)

static int set_ryw_off(struct transaction *txn, struct bytes value)
{
    (void)value;
    if (txn->touched)
        return ERROR_CLIENT_INVALID_OPERATION;
    txn->ryw_off = true;
    return 0;
}

static int set_immediate(struct transaction *txn, struct bytes value)
{
    (void)value;
    txn->grv_class = 2;
    return 0;
}

static int set_batch(struct transaction *txn, struct bytes value)
{
    (void)value;
    txn->grv_class = 1;
    return 0;
}

static int set_access_system(struct transaction *txn, struct bytes value)
{
    (void)value;
    txn->system_read = txn->system_write = true;
    return 0;
}

static int set_timeout(struct transaction *txn, struct bytes value)
{
    txn->settings.timeout_ms = (int64_t)get_le64(value.ptr);
    txn->sync_wanted = true;
    return 0;
}

static int set_snapshot_ryw_on(struct transaction *txn, struct bytes value)
{
    (void)value;
    txn->settings.snapshot_ryw_off = false;
    return 0;
}

static int set_skip_grv_cache(struct transaction *txn, struct bytes value)
{
    (void)value;
    txn->use_grv_cache = false;
    return 0;
}

static int set_idempotency_id(struct transaction *txn, struct bytes value)
{
    txn->idempotency_id.len = 0;
    return bytes_buffer_append(&txn->idempotency_id, value);
}

static int set_tag(struct transaction *txn, struct bytes value)
{
    return tag_set_add(&txn->tags, value);
}

static int set_auto_tag(struct transaction *txn, struct bytes value)
{
    int error = tag_set_add(&txn->tags, value);

    for (unsigned i = 0; error == 0 && i < txn->tags.count; i++)
        if (bytes_equal(tag_bytes(&txn->tags.names[i]), value))
            txn->auto_tags = (uint8_t)(txn->auto_tags | 1u << i);
    return error;
}

/* What an application wants in its logs needs a name first. */
static int set_identifier(struct transaction *txn, struct bytes value)
{
    if (txn->has_identifier)
        return ERROR_CLIENT_INVALID_OPERATION;
    txn->has_identifier = value.len > 0;
    return 0;
}

static int set_log(struct transaction *txn, struct bytes value)
{
    (void)value;
    return txn->has_identifier ? 0 : ERROR_CLIENT_INVALID_OPERATION;
}

#define FLAG(code) {code, FORM_NONE, 0, 0, 0, NULL}
#define SETS(code, field) {code, FORM_NONE, field, 0, 0, NULL}
#define CALLS(code, function) {code, FORM_NONE, 0, 0, 0, function}
#define NUMBER(code, field, min, max) {code, FORM_INT, field, min, max, NULL}
#define TEXT(code, min, max, function) {code, FORM_BYTES, 0, min, max, function}

static const struct option table[] = {
    SETS(10, FIELD(causal_write_risky)),
    FLAG(20), /* causal_read_risky: every read version is confirmed */
    FLAG(21),
    SETS(23, FIELD(include_port)),
    SETS(30, FIELD(no_write_conflict_next)),
    FLAG(40),
    FLAG(50),
    CALLS(51, set_ryw_off),
    FLAG(52),
    FLAG(110),
    FLAG(120),
    FLAG(130),
    CALLS(200, set_immediate),
    CALLS(201, set_batch),
    FLAG(300),
    CALLS(301, set_access_system),
    SETS(302, FIELD(system_read)),
    SETS(303, FIELD(raw_access)),
    FLAG(304),
    FLAG(400),
    TEXT(401, 0, 100, NULL),
    TEXT(402, 0, 100, set_identifier),
    TEXT(403, 0, 100, set_identifier),
    CALLS(404, set_log),
    NUMBER(405, 0, -1, INT_MAX),
    FLAG(406),
    {500, FORM_INT, 0, 0, INT_MAX, set_timeout},
    NUMBER(501, SETTING(retry_limit), -1, INT_MAX),
    NUMBER(502, SETTING(max_retry_delay_ms), 0, INT_MAX),
    NUMBER(503, SETTING(size_limit), TRANSACTION_SIZE_LIMIT_MIN, TRANSACTION_BYTES_MAX),
    TEXT(504, IDEMPOTENCY_ID_BYTES_MIN, IDEMPOTENCY_ID_BYTES_MAX, set_idempotency_id),
    SETS(505, SETTING(automatic_idempotency)),
    FLAG(507),
    FLAG(508),
    FLAG(509),
    FLAG(510),
    FLAG(511),
    CALLS(600, set_snapshot_ryw_on),
    SETS(601, SETTING(snapshot_ryw_off)),
    SETS(700, FIELD(lock_aware)),
    SETS(701, SETTING(used_during_commit_off)),
    SETS(702, FIELD(read_lock_aware)),
    FLAG(710),
    FLAG(711),
    SETS(712, SETTING(report_conflicts)),
    SETS(713, FIELD(special_relaxed)),
    SETS(714, FIELD(special_writes)),
    TEXT(800, 0, INT_MAX, set_tag),
    TEXT(801, 0, INT_MAX, set_auto_tag),
    TEXT(900, 33, 33, NULL),
    FLAG(1000),
    SETS(1100, SETTING(bypass_unreadable)),
    SETS(1101, FIELD(use_grv_cache)),
    CALLS(1102, set_skip_grv_cache),
    NUMBER(1103, 0, 0, INT_MAX),
    TEXT(2000, 0, INT_MAX, NULL),
    FLAG(4000),
    NUMBER(4001, 0, INT_MIN, INT_MAX),
};

static const struct option *find(int code)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].code == code)
            return &table[i];
    return NULL;
}

static int check_value(const struct option *option, struct bytes value)
{
    int64_t number;

    if (option->form == FORM_NONE)
        return value.len == 0 ? 0 : ERROR_INVALID_OPTION_VALUE;
    if (option->form == FORM_INT && value.len != 8)
        return ERROR_INVALID_OPTION_VALUE;
    number = option->form == FORM_INT ? (int64_t)get_le64(value.ptr) : (int64_t)value.len;
    return number < option->min || number > option->max ? ERROR_INVALID_OPTION_VALUE : 0;
}

/* Under the lock. */
static int apply(struct transaction *txn, const struct option *option, struct bytes value)
{
    char *field = (char *)txn + option->field;
    int64_t number;

    if (option->apply != NULL)
        return option->apply(txn, value);
    if (option->field == 0)
        return 0;
    if (option->form == FORM_NONE) {
        *(bool *)(void *)field = true;
        return 0;
    }
    number = (int64_t)get_le64(value.ptr);
    memcpy(field, &number, sizeof(number));
    return 0;
}

int transaction_set_option(struct transaction *txn, int code, struct bytes value)
{
    const struct option *option = find(code);
    int error = option == NULL ? ERROR_INVALID_OPTION : check_value(option, value);

    if (error != 0)
        return error;
    transaction_lock(txn);
    error = apply(txn, option, value);
    transaction_unlock(txn);
    return error;
}
