/* What the client knows, as JSON: for status/json's "client" part, and for quoin_database_get_client_status. */
#include <stdarg.h>
#include <stdio.h>

#include "txn/client/client_internal.h"

__attribute__((format(printf, 2, 3))) static int put(struct bytes_buffer *out, const char *format, ...)
{
    char text[256];
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return bytes_buffer_append(out, bytes_of(text, len < (int)sizeof(text) ? (size_t)len : sizeof(text) - 1));
}

static int put_string(struct bytes_buffer *out, struct bytes text)
{
    int error = put(out, "\"");

    for (size_t i = 0; i < text.len && error == 0; i++) {
        uint8_t c = text.ptr[i];

        if (c == '"' || c == '\\')
            error = put(out, "\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            error = put(out, "\\u%04x", c);
        else
            error = bytes_buffer_append(out, bytes_of(&c, 1));
    }
    return error != 0 ? error : put(out, "\"");
}

static int put_address(struct bytes_buffer *out, struct address address, const char *before)
{
    char text[ADDRESS_TEXT_MAX];

    return put(out, "%s\"%s\"", before, address_print(address, text));
}

static int put_explanation(const struct client *client, struct bytes_buffer *out)
{
    char text[1024];

    return put_string(out, bytes_of_string(client_explain(client, text, sizeof(text))));
}

static bool is_healthy(const struct client *client)
{
    char text[8];

    return client_explain(client, text, sizeof(text))[0] == '\0';
}

/* ---- the "client" part of status/json ---- */

static int put_coordinators(const struct client *client, struct bytes_buffer *out)
{
    uint32_t reachable = 0;
    int error = put(out, "\"coordinators\":{\"coordinators\":[");

    for (uint32_t i = 0; i < client->coordinator_count && error == 0; i++) {
        const struct coordinator *coordinator = &client->coordinators[i];
        bool answers = coordinator->asked && coordinator->error == 0;

        reachable += answers;
        error = put_address(out, coordinator->address, i == 0 ? "{\"address\":" : ",{\"address\":");
        if (error == 0)
            error = put(out, ",\"protocol\":\"%016llx\",\"reachable\":%s}", (unsigned long long)QUOIN_PROTOCOL_VERSION,
                        answers ? "true" : "false");
    }
    return error != 0 ? error
                      : put(out, "],\"quorum_reachable\":%s}", reachable > client->coordinator_count / 2 ? "true" : "false");
}

int client_json_status(const struct client *client, struct bytes cluster, struct bytes_buffer *out)
{
    bool healthy = is_healthy(client);
    int error = put(out, "{\"client\":{\"cluster_file\":{\"path\":");

    if (error == 0)
        error = put_string(out, bytes_buffer_bytes(&client->file_path));
    if (error == 0)
        error = put(out, ",\"up_to_date\":true},");
    if (error == 0)
        error = put_coordinators(client, out);
    if (error == 0)
        error = put(out, ",\"database_status\":{\"available\":%s,\"healthy\":%s},\"messages\":[", healthy && cluster.len > 0 ? "true" : "false",
                    healthy && cluster.len > 0 ? "true" : "false");
    if (error == 0 && !healthy)
        error = put(out, "{\"name\":\"unreachable\",\"description\":");
    if (error == 0 && !healthy)
        error = put_explanation(client, out);
    if (error == 0)
        error = put(out, "%s]},\"cluster\":", healthy ? "" : "}");
    if (error == 0)
        error = cluster.len > 0 ? bytes_buffer_append(out, cluster) : put(out, "{\"layers\":{\"_valid\":false}}");
    return error != 0 ? error : put(out, "}");
}

/* ---- the client's own status ---- */

static int put_roles(const struct client *client, struct bytes_buffer *out, enum role_kind kind, const char *name)
{
    const struct description *description = client->description;
    const char *before = "";
    int error = put(out, ",\"%s\":[", name);

    for (uint32_t i = 0; description != NULL && i < description->roles_count && error == 0; i++) {
        if (description->roles[i].kind != (uint32_t)kind)
            continue;
        error = put_address(out, endpoint_of(&description->roles[i].endpoint).address, before);
        before = ",";
    }
    return error != 0 ? error : put(out, "]");
}

static int put_servers(const struct client *client, struct bytes_buffer *out)
{
    const char *before = "";
    int error = put(out, ",\"StorageServers\":[");

    list_each(node, after, &client->servers) {
        const struct client_server *server = list_entry(node, struct client_server, link);

        if (error == 0)
            error = put(out, "%s{\"SSID\":\"%016llx\",\"Address\":", before, (unsigned long long)server->endpoint.id);
        if (error == 0)
            error = put_address(out, server->endpoint.address, "");
        if (error == 0)
            error = put(out, ",\"LatencySeconds\":%.6f,\"Outstanding\":%u}", (double)server->latency_us / 1e6, server->outstanding);
        before = ",";
    }
    return error != 0 ? error : put(out, "]");
}

int client_json_own(const struct client *client, struct bytes_buffer *out)
{
    const struct rpc_counters *counters = rpc_counters(client->rpc);
    int error = put(out, "{\"Healthy\":%s,\"ClusterID\":\"%016llx%016llx\",\"InitializationState\":\"%s\",\"Coordinators\":[",
                    is_healthy(client) ? "true" : "false", (unsigned long long)client->cluster_id.high,
                    (unsigned long long)client->cluster_id.low, client->description == NULL ? "initializing" : "created");

    for (uint32_t i = 0; i < client->coordinator_count && error == 0; i++)
        error = put_address(out, client->coordinators[i].address, i == 0 ? "" : ",");
    if (error == 0 && client->controller.port != 0)
        error = put_address(out, client->controller, "],\"CurrentCoordinator\":");
    else if (error == 0)
        error = put(out, "],\"CurrentCoordinator\":null");
    if (error == 0)
        error = put_roles(client, out, ROLE_GRV_PROXY, "GrvProxies");
    if (error == 0)
        error = put_roles(client, out, ROLE_COMMIT_PROXY, "CommitProxies");
    if (error == 0)
        error = put_servers(client, out);
    if (error == 0)
        error = put(out, ",\"Connections\":[],\"NumConnectionsFailed\":%llu,\"Watches\":%lld,\"ProtocolVersion\":\"%016llx\",\"Explanation\":",
                    (unsigned long long)counters->dial_failures, (long long)client->watches.count,
                    (unsigned long long)QUOIN_PROTOCOL_VERSION);
    if (error == 0)
        error = put_explanation(client, out);
    return error != 0 ? error : put(out, "}");
}
