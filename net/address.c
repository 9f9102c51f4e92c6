/* Text and numbers alone: pure. */
#include "net/address.h"

#include <stdio.h>

#include "net/error.h"

char *address_print(struct address address, char out[ADDRESS_TEXT_MAX])
{
    snprintf(out, ADDRESS_TEXT_MAX, "%u.%u.%u.%u:%u", address.ip >> 24, address.ip >> 16 & 255, address.ip >> 8 & 255,
             address.ip & 255, address.port & 65535);
    return out;
}

/* A decimal number without sign, spaces or leading zeros (which some parsers take for octal); *at moves behind it. */
static bool parse_number(struct bytes text, size_t *at, uint32_t max, uint32_t *ret_number)
{
    uint32_t number = 0;
    size_t i = *at;

    for (; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++) {
        number = number * 10 + (uint32_t)(text.ptr[i] - '0');
        if (number > max)
            return false;
    }
    if (i == *at || (text.ptr[*at] == '0' && i - *at > 1))
        return false;
    *at = i;
    *ret_number = number;
    return true;
}

int address_parse(struct bytes text, struct address *ret_address)
{
    struct address address = {0};
    size_t at = 0;

    for (int i = 0; i < 4; i++) {
        uint32_t part;

        if (!parse_number(text, &at, 255, &part))
            return ERROR_ADDRESS_PARSE_ERROR;
        if (at >= text.len || text.ptr[at++] != (i < 3 ? '.' : ':'))
            return ERROR_ADDRESS_PARSE_ERROR;
        address.ip = address.ip << 8 | part;
    }
    if (!parse_number(text, &at, 65535, &address.port) || address.port == 0 || at != text.len)
        return ERROR_ADDRESS_PARSE_ERROR;
    *ret_address = address;
    return 0;
}
