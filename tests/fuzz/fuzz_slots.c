/* Any bytes as a file of two slots: the newest valid record, or ERROR_FILE_CORRUPT; and what is written then is read back. */
#include <assert.h>
#include <xxhash.h>

#include "net/error.h"
#include "storage/diskqueue.h"
#include "tests/fuzz/fuzz_env.h"
#include "tests/fuzz/fuzz_input.h"

enum { FILE_BYTES = 8192, SLOT = 4096 };

/* The first two bytes say which slots get a hash that fits, so that what stands behind it is believed. */
static void lay_out(const uint8_t *data, size_t size, uint8_t file[FILE_BYTES])
{
    size_t half = (size - 2) / 2;

    memset(file, 0, FILE_BYTES);
    for (unsigned i = 0; i < 2; i++) {
        uint8_t *slot = file + i * SLOT;
        uint32_t length;

        memcpy(slot, data + 2 + i * half, half < SLOT ? half : SLOT);
        if (data[i] & 1)
            memcpy(slot + 20, "Slot", 4);
        if (data[i] & 2)
            put_le32(slot + 16, get_le32(slot + 16) % 5000);
        length = get_le32(slot + 16);
        if (data[i] & 4 && length <= SLOT - 24)
            put_le64(slot, XXH3_64bits_withSeed(slot + 8, 16 + length, i));
    }
}

static int open_slots(struct fuzz_env *fuzz, struct bytes expected, const uint8_t *file)
{
    struct slots *slots;
    struct arena arena = {0};
    struct bytes record;
    int error = slots_open(&fuzz->env, "slots", &arena, &record, &slots);

    assert(error == 0 || (error == ERROR_FILE_CORRUPT && file != NULL));
    if (error == 0) {
        assert(record.len <= SLOTS_RECORD_BYTES_MAX);
        assert(file != NULL || bytes_equal(record, expected));
        error = file == NULL ? 0 : slots_write_now(slots, expected);
        assert(error == 0 || error == ERROR_FILE_CORRUPT);
        slots_close(slots);
    }
    arena_done(&arena);
    return error;
}

int fuzz_input(const uint8_t *data, size_t size)
{
    struct fuzz_env *fuzz;
    uint8_t file[FILE_BYTES];
    struct bytes record = bytes_of(data, size < 100 ? size : 100);

    if (size < 4)
        return 0;
    fuzz = fuzz_env_create();
    lay_out(data, size, file);
    fuzz_file_put(fuzz, "slots", bytes_of(file, data[0] & 8 ? size % FILE_BYTES : FILE_BYTES));
    if (open_slots(fuzz, record, file) == 0)
        assert(open_slots(fuzz, record, NULL) == 0);
    fuzz_env_destroy(fuzz);
    return 0;
}
