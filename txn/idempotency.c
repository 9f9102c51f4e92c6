#include "txn/idempotency.h"

#include "net/error.h"

static const char prefix[] = "\xff\x02/idmp/"; /* 8 bytes */

int idempotency_check(struct bytes id, version_t read_version)
{
    if (id.len < IDEMPOTENCY_ID_BYTES_MIN || id.len > IDEMPOTENCY_ID_BYTES_MAX || read_version < 0)
        return ERROR_CLIENT_INVALID_OPERATION;
    return 0;
}

void idempotency_key(version_t version, uint16_t order, uint8_t ret_key[IDEMPOTENCY_KEY_BYTES])
{
    static_assert(sizeof(prefix) - 1 + VERSIONSTAMP_BYTES == IDEMPOTENCY_KEY_BYTES, "prefix and stamp");
    memcpy(ret_key, prefix, sizeof(prefix) - 1);
    put_be64(ret_key + 8, (uint64_t)version);
    ret_key[16] = (uint8_t)(order >> 8);
    ret_key[17] = (uint8_t)order;
}

bool idempotency_parse(struct bytes key, version_t *ret_version, uint16_t *ret_order)
{
    if (key.len != IDEMPOTENCY_KEY_BYTES || memcmp(key.ptr, prefix, sizeof(prefix) - 1) != 0)
        return false;
    *ret_version = (version_t)get_be64(key.ptr + 8);
    *ret_order = (uint16_t)(key.ptr[16] << 8 | key.ptr[17]);
    return *ret_version >= 0;
}
