#include "roles/role.h"

#include <assert.h>
#include <stdio.h>

char *role_directory(const char *data_directory, enum role_kind kind, uint64_t role_id, char out[ROLE_PATH_MAX])
{
    int len;

    assert(kind == ROLE_LOG || kind == ROLE_STORAGE);
    len = snprintf(out, ROLE_PATH_MAX, "%s/%s-%016llx", data_directory, kind == ROLE_LOG ? "log" : "storage",
                   (unsigned long long)role_id);
    assert(len > 0 && len < ROLE_PATH_MAX); /* the worker has refused longer data directories */
    return out;
}

/* The array has room for the next power of two, so that adding one by one copies each a few times only. */
void role_metric(struct role_status *status, struct arena *arena, const char *name, int64_t value)
{
    uint32_t count = status->metrics_count;

    if ((count & (count - 1)) == 0) {
        struct metric *grown = arena_alloc(arena, (count == 0 ? 1 : 2 * (size_t)count) * sizeof(*grown));

        if (grown == NULL)
            return; /* a status without this number */
        if (count > 0)
            memcpy(grown, status->metrics, count * sizeof(*grown));
        status->metrics = grown;
    }
    status->metrics[count] = (struct metric){.name = bytes_of_string(name), .value = value};
    status->metrics_count++;
}

void role_text(struct role_status *status, struct arena *arena, const char *name, struct bytes text)
{
    struct role_text *grown = arena_alloc(arena, (status->texts_count + (size_t)1) * sizeof(*grown));
    struct bytes copy;

    if (grown == NULL || arena_copy(arena, text, &copy) != 0)
        return;
    if (status->texts_count > 0)
        memcpy(grown, status->texts, status->texts_count * sizeof(*grown));
    status->texts = grown;
    status->texts[status->texts_count++] = (struct role_text){.name = bytes_of_string(name), .text = copy};
}
