/* Plugs embedded clusters into the client library of whatever program or library this is linked into. */
#include "roles/embedded/embedded.h"
#include "txn/client/client_hosting.h"

static int host_open(struct env *env, struct client_hosts *hosts, const char *name, struct client_options *ret_options, void **ret_host,
                     char *ret_why, size_t why_size)
{
    struct embedded *embedded;
    int error = embedded_open(env, hosts, name, &embedded, ret_why, why_size);

    if (error != 0)
        return error;
    *ret_options = embedded_client_options(embedded);
    *ret_host = embedded;
    return 0;
}

static void host_close(void *host)
{
    embedded_close(host);
}

static bool host_busy(const struct client_hosts *hosts)
{
    return embedded_any_closing(hosts);
}

static const struct client_hosting hosting = {host_open, host_close, host_busy};

static void __attribute__((constructor)) plug_in(void)
{
    client_set_hosting(&hosting);
}
