/* Where a process is reached, and how that is written. Pure. */
#pragma once

#include "net/bytes.h"

/* IPv4, host byte order. All zero = none. */
struct address {
    uint32_t ip;
    uint32_t port; /* 1..65535 */
};

enum { ADDRESS_TEXT_MAX = 24 };
char *address_print(struct address address, char out[ADDRESS_TEXT_MAX]);
/* "127.0.0.1:4500" exactly; returns 0, or ERROR_ADDRESS_PARSE_ERROR and leaves *ret untouched. */
int address_parse(struct bytes text, struct address *ret_address);

static inline bool address_equal(struct address a, struct address b)
{
    return a.ip == b.ip && a.port == b.port;
}
