/* A chain of blocks that double in size up to a limit; what is larger than half a block gets one of its own. */
#include "net/arena.h"

#include "net/error.h"
#include "net/mem.h"

enum { BLOCK_BYTES_MIN = 512, BLOCK_BYTES_MAX = 64 * 1024 };

struct arena_block {
    struct arena_block *next;
    size_t size; /* of data; 0: data is a pointer to memory that was adopted */
    uint8_t data[] __attribute__((aligned(16)));
};

void arena_init(struct arena *arena)
{
    *arena = (struct arena){0};
}

void arena_done(struct arena *arena)
{
    struct arena_block *block = arena->blocks;

    while (block != NULL) {
        struct arena_block *next = block->next;

        if (block->size == 0)
            mem_free(*(void **)(void *)block->data);
        mem_free(block);
        block = next;
    }
    arena_init(arena);
}

void arena_reset(struct arena *arena)
{
    struct arena_block *keep = arena->blocks;

    if (keep == NULL)
        return;
    arena->blocks = keep->next;
    arena_done(arena);
    keep->next = NULL;
    arena->blocks = keep;
    arena->next = keep->data;
    arena->end = keep->data + keep->size;
    arena->reserved_bytes = keep->size;
}

static struct arena_block *add_block(struct arena *arena, size_t size)
{
    struct arena_block *block = mem_alloc(sizeof(*block) + size);

    if (block == NULL)
        return NULL;
    block->size = size;
    arena->reserved_bytes += size;
    return block;
}

static void *alloc_slow(struct arena *arena, size_t size)
{
    size_t block_size = arena->reserved_bytes < BLOCK_BYTES_MIN ? BLOCK_BYTES_MIN : arena->reserved_bytes;
    struct arena_block *block;

    if (block_size > BLOCK_BYTES_MAX)
        block_size = BLOCK_BYTES_MAX;
    if (size > block_size / 2 && arena->blocks != NULL) { /* its own block, behind the one being bumped */
        block = add_block(arena, size);
        if (block == NULL)
            return NULL;
        block->next = arena->blocks->next;
        arena->blocks->next = block;
        return block->data;
    }
    if (block_size < size)
        block_size = size;
    block = add_block(arena, block_size);
    if (block == NULL)
        return NULL;
    block->next = arena->blocks;
    arena->blocks = block;
    arena->next = block->data + size;
    arena->end = block->data + block_size;
    return block->data;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    uint8_t *at = arena->next;

    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + 7) & ~(size_t)7;
    if (at == NULL || size > (size_t)(arena->end - at))
        return alloc_slow(arena, size);
    arena->next = at + size;
    return at;
}

void *arena_zalloc(struct arena *arena, size_t size)
{
    void *at = arena_alloc(arena, size);

    if (at != NULL)
        memset(at, 0, size);
    return at;
}

int arena_copy(struct arena *arena, struct bytes bytes, struct bytes *ret_copy)
{
    uint8_t *at = arena_alloc(arena, bytes.len);

    if (at == NULL)
        return ERROR_OUT_OF_MEMORY;
    if (bytes.len > 0)
        memcpy(at, bytes.ptr, bytes.len);
    *ret_copy = bytes_of(at, bytes.len);
    return 0;
}

int arena_adopt(struct arena *arena, struct bytes_buffer *buffer)
{
    struct arena_block *block;

    if (arena->blocks == NULL && alloc_slow(arena, 0) == NULL) /* the first is always one to be bumped */
        return ERROR_OUT_OF_MEMORY;
    block = mem_alloc(sizeof(*block) + sizeof(void *));
    if (block == NULL)
        return ERROR_OUT_OF_MEMORY;
    block->size = 0;
    *(void **)(void *)block->data = buffer->ptr;
    block->next = arena->blocks->next;
    arena->blocks->next = block;
    arena->reserved_bytes += buffer->capacity;
    *buffer = (struct bytes_buffer){0};
    return 0;
}

void arena_join(struct arena *to, struct arena *from)
{
    struct arena_block **tail = &from->blocks;

    if (from->blocks == NULL)
        return;
    if (to->blocks == NULL) {
        *to = *from;
    } else {
        while (*tail != NULL)
            tail = &(*tail)->next;
        *tail = to->blocks->next;
        to->blocks->next = from->blocks;
        to->reserved_bytes += from->reserved_bytes;
    }
    arena_init(from);
}
