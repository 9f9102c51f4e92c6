#include "txn/keys.h"

#include "net/error.h"

int key_after(struct arena *arena, struct bytes key, struct bytes *ret_after)
{
    uint8_t *at = arena_alloc(arena, key.len + 1);

    if (at == NULL)
        return ERROR_OUT_OF_MEMORY;
    if (key.len > 0)
        memcpy(at, key.ptr, key.len);
    at[key.len] = 0;
    *ret_after = bytes_of(at, key.len + 1);
    return 0;
}

int key_strinc(struct arena *arena, struct bytes prefix, struct bytes *ret_after)
{
    struct bytes copy;
    int error;

    while (prefix.len > 0 && prefix.ptr[prefix.len - 1] == 0xff)
        prefix.len--;
    if (prefix.len == 0)
        return ERROR_CLIENT_INVALID_OPERATION;
    error = arena_copy(arena, prefix, &copy);
    if (error != 0)
        return error;
    ((uint8_t *)copy.ptr)[copy.len - 1]++;
    *ret_after = copy;
    return 0;
}
