#include "roles/storage/drain.h"

enum { BYTES_MIN = 1024 * 1024, BYTES_HALF_COUNTS = 16 * 1024 * 1024, TOOK_MIN_US = 1000, LATE_US = 1000000 };

void drain_committed(struct drain *drain, size_t bytes, int64_t took_us, bool at_leisure)
{
    double now = (double)bytes * 1e6 / (double)(took_us < TOOK_MIN_US ? TOOK_MIN_US : took_us);

    if (bytes < BYTES_MIN || (at_leisure && now < drain->capacity))
        return;
    if (drain->capacity > 0) /* a large one says more than a small one, which may have gone to memory alone */
        now = drain->capacity + (now - drain->capacity) * (double)bytes / (double)(bytes + BYTES_HALF_COUNTS);
    drain->capacity = now;
}

double drain_capacity(const struct drain *drain, size_t bytes, int64_t past_us)
{
    double most = bytes >= BYTES_MIN && past_us >= LATE_US ? (double)bytes * 1e6 / (double)past_us : 0;

    return most > 0 && (drain->capacity == 0 || most < drain->capacity) ? most : drain->capacity;
}

double drain_done_part(const struct drain *drain, size_t bytes, int64_t past_us)
{
    double done = drain->capacity * (double)past_us / 1e6;

    return bytes == 0 || done < 0 ? 0 : done < (double)bytes ? done / (double)bytes : 1;
}
