/* Harm to the disk of a process that is down: files by the beginning of their paths, byte for byte. */
#pragma once

#include "sim/world.h"

struct lie_file {
    char *path;                 /* owned */
    struct bytes_buffer content; /* owned */
};

/* Files of a disk, as they were. */
struct lie_files {
    struct lie_file *files; /* owned */
    size_t count;
};

/* Copies all files whose paths begin with `prefix`. The process is down. */
void lie_files_take(const struct sim_process *process, const char *prefix, struct lie_files *ret_files);
/* The same of a living one: what a power-off would be sure to leave. */
void lie_files_take_durable(const struct sim_process *process, const char *prefix, struct lie_files *ret_files);
/* Takes away the files whose paths begin with `prefix`, and puts these there, `from` in their paths replaced by `to`. */
void lie_files_put(struct sim_process *process, const char *prefix, const struct lie_files *files, const char *from,
                   const char *to);
void lie_files_done(struct lie_files *files);

/* The last file whose path begins with `prefix` and ends with `suffix`; NULL: none. Borrowed. */
const char *lie_file_find(const struct sim_process *process, const char *prefix, const char *suffix);
/* Behind the last byte that is not zero. */
uint64_t lie_file_end(const struct sim_process *process, const char *path);
/* Bytes of a file, XORed with `mask` (which is not 0) or overwritten; made durable. */
void lie_file_xor(struct sim_process *process, const char *path, uint64_t offset, uint8_t mask);
void lie_file_write(struct sim_process *process, const char *path, uint64_t offset, struct bytes data);
struct bytes lie_file_read(const struct sim_process *process, const char *path, uint64_t offset, void *into, size_t len);
/* The first directory whose path begins with `prefix`, and the n-th from 0 on; NULL: none. Borrowed. */
const char *lie_dir_find(const struct sim_process *process, const char *prefix);
const char *lie_dir_nth(const struct sim_process *process, const char *prefix, unsigned n);
/* Makes the directory if it is not there. */
void lie_dir_make(struct sim_process *process, const char *path);
