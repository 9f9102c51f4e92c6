/* The door of nth.h for file calls of libc: a test links tests/faulty_files.c as well. The loop's ctx is a part of the paths. */
#pragma once

#include "tests/faulty_files.h"
#include "tests/unit/nth.h"

static inline void nth_fail_file_call(void *ctx, uint64_t n)
{
    faulty_files_fail_nth(ctx, n);
}

static inline bool nth_file_call_fired(void *ctx)
{
    (void)ctx;
    return faulty_files_fired();
}

static const struct nth_door nth_file_call = {nth_fail_file_call, nth_file_call_fired};
