/* Memory that goes in one call: a chain of blocks, bumped.
 *
 * A zeroed arena is empty and valid. arena_alloc returns 8-byte aligned memory, NULL when out of memory (never in a
 * server, see mem.h). Nothing is freed before arena_done or arena_reset. */
#pragma once

#include "net/bytes.h"

struct arena_block;

struct arena {
    struct arena_block *blocks; /* owned, newest first */
    uint8_t *next;              /* bump pointer into blocks */
    uint8_t *end;
    size_t reserved_bytes; /* of all blocks */
};

void arena_init(struct arena *arena);
void arena_done(struct arena *arena);
/* Forgets everything but keeps the newest block for reuse. */
void arena_reset(struct arena *arena);
void *arena_alloc(struct arena *arena, size_t size);
void *arena_zalloc(struct arena *arena, size_t size);
/* *ret_copy owns nothing: it lives as long as the arena. Returns 0 or ERROR_OUT_OF_MEMORY. */
int arena_copy(struct arena *arena, struct bytes bytes, struct bytes *ret_copy);
/* The buffer's memory becomes the arena's, where it is; the buffer is empty after. 0 or ERROR_OUT_OF_MEMORY (nothing happened). */
int arena_adopt(struct arena *arena, struct bytes_buffer *buffer);
/* Moves all memory of `from` into `to`; pointers stay valid; `from` is empty after. */
void arena_join(struct arena *to, struct arena *from);
