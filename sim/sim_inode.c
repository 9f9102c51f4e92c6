/* Files as arrays of pages, each with two images: live (the page cache) and durable; each sync under way holds those that it
 * saw. Images are shared and copied on write, so a clean page costs one block; NULL is a page of zeros.
 *
 * Overlapping syncs of one file finish as they come, and each speaks for itself: one that succeeds has made what it saw durable,
 * whether a later one of the same page fails before or after it; an older image never replaces a newer one. */
#include "sim/sim_disk_internal.h"

#include <assert.h>

#include "net/mem.h"
#include "sim/world.h"

/* ---- page images ---- */

static struct sim_page_block *block_take(struct sim_pages *pages)
{
    struct sim_page_block *block = pages->spare;

    if (block != NULL)
        pages->spare = block->next;
    else
        block = mem_alloc(sizeof(*block));
    assert(block != NULL);
    block->refs = 1;
    return block;
}

static const uint8_t *block_data(const struct sim_page_block *block)
{
    static const uint8_t zeros[SIM_PAGE_BYTES];

    return block == NULL ? zeros : block->data;
}

struct sim_page_block *block_ref(struct sim_page_block *block)
{
    if (block != NULL)
        block->refs++;
    return block;
}

void block_unref(struct sim_pages *pages, struct sim_page_block *block)
{
    if (block == NULL || --block->refs != 0)
        return;
    block->next = pages->spare;
    pages->spare = block;
}

struct sim_page_block *block_copy(struct sim_pages *pages, const struct sim_page_block *block)
{
    struct sim_page_block *copy = block_take(pages);

    memcpy(copy->data, block_data(block), SIM_PAGE_BYTES);
    return copy;
}

static void block_set(struct sim_pages *pages, struct sim_page_block **slot, struct sim_page_block *block)
{
    block_ref(block);
    block_unref(pages, *slot);
    *slot = block;
}

/* ---- inodes ---- */

struct sim_inode *inode_create(struct sim_disk *disk)
{
    struct sim_inode *inode = sim_zalloc(sizeof(*inode));

    inode->refs = 1;
    inode->disk = disk;
    return inode;
}

void inode_unref(struct sim_inode *inode)
{
    struct sim_pages *pages = &inode->disk->world->pages;

    if (--inode->refs != 0)
        return;
    for (size_t i = 0; i < inode->page_count; i++) {
        if (inode->pages[i].live != NULL)
            inode->disk->used_bytes -= SIM_PAGE_BYTES;
        block_unref(pages, inode->pages[i].live);
        block_unref(pages, inode->pages[i].durable);
    }
    mem_free(inode->pages);
    mem_free(inode->dirty);
    mem_free(inode);
}

static struct page *inode_page(struct sim_inode *inode, size_t index)
{
    if (index >= inode->page_count) {
        size_t count = inode->page_count * 2 > index + 1 ? inode->page_count * 2 : index + 1;

        inode->pages = mem_realloc(inode->pages, count * sizeof(inode->pages[0]));
        assert(inode->pages != NULL);
        memset(inode->pages + inode->page_count, 0, (count - inode->page_count) * sizeof(inode->pages[0]));
        inode->page_count = count;
    }
    return &inode->pages[index];
}

static void mark_dirty(struct sim_inode *inode, size_t index)
{
    if (inode->pages[index].dirty)
        return;
    inode->pages[index].dirty = true;
    if (inode->dirty_count == inode->dirty_capacity) {
        inode->dirty_capacity = inode->dirty_capacity == 0 ? 16 : inode->dirty_capacity * 2;
        inode->dirty = mem_realloc(inode->dirty, inode->dirty_capacity * sizeof(inode->dirty[0]));
        assert(inode->dirty != NULL);
    }
    inode->dirty[inode->dirty_count++] = (uint32_t)index;
}

static void set_live(struct sim_inode *inode, struct page *page, struct sim_page_block *block)
{
    struct sim_disk *disk = inode->disk;

    if (page->live == NULL && block != NULL)
        disk->used_bytes += SIM_PAGE_BYTES;
    if (page->live != NULL && block == NULL)
        disk->used_bytes -= SIM_PAGE_BYTES;
    block_set(&disk->world->pages, &page->live, block);
}

void inode_set_page(struct sim_inode *inode, size_t index, struct sim_page_block *live, struct sim_page_block *durable)
{
    struct page *page = inode_page(inode, index);

    assert(!page->dirty && page->syncs == 0);
    set_live(inode, page, live);
    block_set(&inode->disk->world->pages, &page->durable, durable);
}

/* The page's live image, ready to be changed in place. */
static uint8_t *page_for_writing(struct sim_inode *inode, size_t index)
{
    struct page *page = inode_page(inode, index);
    struct sim_pages *pages = &inode->disk->world->pages;

    mark_dirty(inode, index);
    page = &inode->pages[index];
    if (page->live == NULL || page->live->refs > 1) {
        struct sim_page_block *block = block_take(pages);

        memcpy(block->data, block_data(page->live), SIM_PAGE_BYTES);
        set_live(inode, page, block);
        block_unref(pages, block);
    }
    return page->live->data;
}

void inode_write(struct sim_inode *inode, uint64_t offset, struct bytes data)
{
    if (offset + data.len > inode->live_size)
        inode->live_size = offset + data.len;
    while (data.len > 0) {
        size_t index = (size_t)(offset / SIM_PAGE_BYTES), start = (size_t)(offset % SIM_PAGE_BYTES);
        size_t part = SIM_PAGE_BYTES - start < data.len ? SIM_PAGE_BYTES - start : data.len;

        memcpy(page_for_writing(inode, index) + start, data.ptr, part);
        offset += part;
        data = bytes_of(data.ptr + part, data.len - part);
    }
}

static void zero_page(struct sim_inode *inode, size_t index)
{
    struct page *page = inode_page(inode, index);

    if (page->live == NULL && page->durable == NULL && page->syncs == 0)
        return;
    set_live(inode, page, NULL);
    mark_dirty(inode, index);
}

void inode_zero(struct sim_inode *inode, uint64_t from, uint64_t to)
{
    while (from < to) {
        size_t index = (size_t)(from / SIM_PAGE_BYTES);
        uint64_t page_end = (uint64_t)(index + 1) * SIM_PAGE_BYTES;
        uint64_t end = to < page_end ? to : page_end;

        if (from % SIM_PAGE_BYTES == 0 && end == page_end)
            zero_page(inode, index);
        else if (index < inode->page_count)
            memset(page_for_writing(inode, index) + from % SIM_PAGE_BYTES, 0, (size_t)(end - from));
        from = end;
    }
}

const uint8_t *inode_page_data(const struct sim_inode *inode, size_t index)
{
    return block_data(index < inode->page_count ? inode->pages[index].live : NULL);
}

void inode_drop_cache(struct sim_inode *inode)
{
    for (size_t i = 0; i < inode->page_count; i++) {
        struct page *page = &inode->pages[i];

        if (!page->dirty && page->syncs == 0 && page->live != page->durable)
            set_live(inode, page, page->durable);
    }
}

/* ---- syncs ---- */

void inode_begin_sync(struct sim_pending *pending)
{
    struct sim_inode *inode = pending->inode;

    pending->size = inode->live_size;
    pending->pages = inode->dirty;
    pending->page_count = inode->dirty_count;
    pending->images = pending->page_count == 0 ? NULL : sim_zalloc(pending->page_count * sizeof(pending->images[0]));
    pending->sync_number = ++inode->sync_number;
    inode->dirty = NULL;
    inode->dirty_count = inode->dirty_capacity = 0;
    for (size_t i = 0; i < pending->page_count; i++) {
        struct page *page = &inode->pages[pending->pages[i]];

        pending->images[i] = block_ref(page->live);
        page->dirty = false;
        page->syncs++;
    }
}

static void end_page_sync(struct sim_pending *pending, size_t i, bool cancelled)
{
    struct sim_inode *inode = pending->inode;
    struct sim_pages *pages = &inode->disk->world->pages;
    struct page *page = &inode->pages[pending->pages[i]];

    assert(page->syncs > 0);
    page->syncs--;
    if (cancelled) {
        mark_dirty(inode, pending->pages[i]); /* the kernel still has it to write */
    } else if (pending->error == 0 && pending->sync_number > page->durable_sync) {
        block_set(pages, &page->durable, pending->images[i]);
        page->durable_sync = pending->sync_number;
    }
    block_unref(pages, pending->images[i]);
}

void inode_end_sync(struct sim_pending *pending, bool cancelled)
{
    for (size_t i = 0; i < pending->page_count; i++)
        end_page_sync(pending, i, cancelled);
    if (!cancelled && pending->error == 0 && pending->sync_number > pending->inode->durable_size_sync) {
        pending->inode->durable_size = pending->size;
        pending->inode->durable_size_sync = pending->sync_number;
    }
    mem_free(pending->images);
    pending->images = NULL;
    pending->page_count = 0;
}

/* ---- power-off ---- */

/* Garbage only where the write changed something: a power loss does not harm bytes outside of what was being written (what
 * SQLite calls powersafe overwrite, and every log that appends within a block relies on). */
static void garbage_sector(uint8_t *out, const uint8_t *live, const uint8_t *durable, struct sim_random *random)
{
    size_t first = 0, end = SIM_SECTOR_BYTES;

    while (first < end && live[first] == durable[first])
        first++;
    while (end > first && live[end - 1] == durable[end - 1])
        end--;
    memcpy(out, durable, SIM_SECTOR_BYTES);
    for (size_t i = first; i < end; i++)
        out[i] = (uint8_t)sim_random_u64(random);
}

static void tear_page(struct sim_inode *inode, struct page *page, struct sim_random *random)
{
    struct sim_page_block *block = block_take(&inode->disk->world->pages);
    const uint8_t *live = block_data(page->live), *durable = block_data(page->durable);
    bool garbage = inode->hit || sim_random_one_in(random, 4);

    for (size_t sector = 0; sector < SIM_PAGE_BYTES; sector += SIM_SECTOR_BYTES) {
        uint64_t drawn = sim_random_below(random, garbage ? 3 : 2);

        if (drawn == 2)
            garbage_sector(block->data + sector, live + sector, durable + sector, random);
        else
            memcpy(block->data + sector, (drawn == 0 ? live : durable) + sector, SIM_SECTOR_BYTES);
    }
    block_set(&inode->disk->world->pages, &page->durable, block);
    block_unref(&inode->disk->world->pages, block);
    inode->disk->torn_pages++;
}

static void page_power_off(struct sim_inode *inode, struct page *page, enum power_fate fate, struct sim_random *random)
{
    bool written_back = page->dirty || page->syncs > 0; /* a page whose sync failed is clean: nobody writes it */
    uint64_t drawn = fate == FATE_DRAWN ? sim_random_below(random, 3) : (uint64_t)fate;

    if (inode->hit && sim_random_coin(random))
        drawn = 0;
    if (page->live == page->durable)
        drawn = FATE_ALL_KEPT;
    else if (!written_back)
        drawn = FATE_ALL_LOST;
    if (drawn == 0) {
        tear_page(inode, page, random);
    } else if (drawn == FATE_ALL_KEPT) {
        inode->disk->kept_pages += page->live != page->durable;
        block_set(&inode->disk->world->pages, &page->durable, page->live);
    } else {
        inode->disk->lost_pages++;
    }
    set_live(inode, page, page->durable);
    page->dirty = false;
    assert(page->syncs == 0); /* the process was killed first */
    page->durable_sync = inode->sync_number;
}

void inode_power_off(struct sim_inode *inode, enum power_fate fate, struct sim_random *random)
{
    for (size_t i = 0; i < inode->page_count; i++)
        page_power_off(inode, &inode->pages[i], fate, random);
    inode->dirty_count = 0;
    inode->hit = false;
    if (inode->live_size != inode->durable_size && fate != FATE_ALL_LOST &&
        (fate == FATE_ALL_KEPT || sim_random_coin(random)))
        inode->durable_size = inode->live_size;
    inode->live_size = inode->durable_size;
    inode_zero(inode, inode->live_size, (uint64_t)inode->page_count * SIM_PAGE_BYTES);
    for (size_t i = 0; i < inode->page_count; i++) { /* what lies behind the end is no content */
        block_set(&inode->disk->world->pages, &inode->pages[i].durable, inode->pages[i].live);
        inode->pages[i].dirty = false;
    }
    inode->dirty_count = 0;
}
