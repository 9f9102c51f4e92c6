#include "txn/client/client_hosting.h"

static const struct client_hosting *plugged_in; /* set before main, constant after */

void client_set_hosting(const struct client_hosting *hosting)
{
    plugged_in = hosting;
}

const struct client_hosting *client_hosting(void)
{
    return plugged_in;
}
