/* The input is a pipe of some 50 MB; it is read in large pieces and parsed where it lies, so that a package costs no
 * copy and no allocation once the buffer has grown to the largest record. */
#include "tools/packages.h"

#include "net/mem.h"

#include <stdlib.h>

#define READ_BYTES (64 * 1024)

void packages_init(struct packages *packages, FILE *file)
{
    *packages = (struct packages){.file = file, .line = 1};
}

void packages_done(struct packages *packages)
{
    bytes_buffer_done(&packages->buffer);
    mem_free(packages->depends);
    *packages = (struct packages){0};
}

/* Reads more behind what is there. Returns false when there is no memory. */
static bool read_more(struct packages *packages)
{
    struct bytes_buffer *buffer = &packages->buffer;
    size_t kept = buffer->len - packages->start, got;

    if (packages->start > 0) {
        memmove(buffer->ptr, buffer->ptr + packages->start, kept);
        buffer->len = kept;
        packages->start = 0;
    }
    if (bytes_buffer_reserve(buffer, READ_BYTES) != 0)
        return false;
    got = fread(buffer->ptr + buffer->len, 1, READ_BYTES, packages->file);
    buffer->len += got;
    packages->at_end = got < READ_BYTES;
    return true;
}

/* The next paragraph, without its last newline; ptr NULL at the end of the input. */
static struct bytes next_record(struct packages *packages, const char **ret_error)
{
    size_t searched = 0;

    if (packages->buffer.ptr == NULL && !read_more(packages)) {
        *ret_error = "out of memory";
        return bytes_none();
    }
    for (;;) {
        const uint8_t *start = packages->buffer.ptr + packages->start, *end;
        size_t len = packages->buffer.len - packages->start;

        if (searched == 0 && len > 0 && start[0] == '\n') {
            packages->start++;
            packages->line++;
            continue;
        }
        end = len > searched ? memmem(start + searched, len - searched, "\n\n", 2) : NULL;
        if (end != NULL) {
            packages->start += (size_t)(end - start) + 1;
            return bytes_of(start, (size_t)(end - start));
        }
        if (packages->at_end) {
            packages->start = packages->buffer.len;
            return len > 0 ? bytes_of(start, len - (start[len - 1] == '\n')) : bytes_none();
        }
        if (len > PACKAGE_RECORD_BYTES_MAX) {
            *ret_error = "a record of more than a MiB";
            return bytes_none();
        }
        searched = len > 0 ? len - 1 : 0;
        if (!read_more(packages)) {
            *ret_error = "out of memory";
            return bytes_none();
        }
    }
}

/* The value of a field with its continuation lines; "" if there is none. `name` has the colon. */
static struct bytes field(struct bytes record, struct bytes name)
{
    const uint8_t *at = record.ptr, *end = record.ptr + record.len;

    while (at < end) {
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
        const uint8_t *line_end = newline != NULL ? newline : end;

        if (bytes_starts_with(bytes_of(at, (size_t)(line_end - at)), name)) {
            while (line_end < end && line_end + 1 < end && (line_end[1] == ' ' || line_end[1] == '\t')) {
                newline = memchr(line_end + 1, '\n', (size_t)(end - line_end - 1));
                line_end = newline != NULL ? newline : end;
            }
            at += name.len;
            while (at < line_end && (*at == ' ' || *at == '\t'))
                at++;
            return bytes_of(at, (size_t)(line_end - at));
        }
        at = line_end < end ? line_end + 1 : end;
    }
    return bytes_none();
}

static bool is_name_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.' ||
           c == '_';
}

/* Appends the first word of each part between commas and bars. */
static bool add_depends(struct packages *packages, struct bytes value, size_t *count)
{
    size_t at = 0;

    while (at < value.len) {
        size_t begin, end;

        while (at < value.len && !is_name_byte(value.ptr[at]))
            at++;
        begin = at;
        while (at < value.len && is_name_byte(value.ptr[at]))
            at++;
        end = at;
        while (at < value.len && value.ptr[at] != ',' && value.ptr[at] != '|')
            at++;
        if (end == begin)
            continue;
        if (*count == packages->depend_capacity) {
            size_t capacity = packages->depend_capacity * 2 + 64;
            struct bytes *grown = mem_realloc(packages->depends, capacity * sizeof(grown[0]));

            if (grown == NULL)
                return false;
            packages->depends = grown;
            packages->depend_capacity = capacity;
        }
        packages->depends[(*count)++] = bytes_of(value.ptr + begin, end - begin);
    }
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

static size_t sort_once(struct bytes *names, size_t count)
{
    size_t kept = 0;

    if (count > 1)
        qsort(names, count, sizeof(names[0]), compare_names);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || !bytes_equal(names[kept - 1], names[i]))
            names[kept++] = names[i];
    return kept;
}

static size_t count_lines(struct bytes record)
{
    size_t lines = 1;

    for (size_t i = 0; i < record.len; i++)
        lines += record.ptr[i] == '\n';
    return lines;
}

int packages_parse(struct packages *packages, struct bytes record, struct package *ret_package, const char **ret_error)
{
    struct package package = {.record = record};

    package.name = field(record, BYTES_LITERAL("Package:"));
    package.section = field(record, BYTES_LITERAL("Section:"));
    if (package.name.len == 0) {
        *ret_error = "a record without a Package field";
        return -1;
    }
    if (!add_depends(packages, field(record, BYTES_LITERAL("Depends:")), &package.depend_count) ||
        !add_depends(packages, field(record, BYTES_LITERAL("Pre-Depends:")), &package.depend_count)) {
        *ret_error = "out of memory";
        return -1;
    }
    package.depend_count = sort_once(packages->depends, package.depend_count);
    package.depends = packages->depends;
    *ret_package = package;
    return 1;
}

int packages_next(struct packages *packages, struct package *ret_package, const char **ret_error)
{
    struct bytes record;
    int got;

    *ret_error = NULL;
    record = next_record(packages, ret_error);
    if (*ret_error != NULL)
        return -1;
    if (record.ptr == NULL)
        return 0;
    got = packages_parse(packages, record, ret_package, ret_error);
    if (got == 1)
        packages->line += count_lines(record);
    return got;
}
