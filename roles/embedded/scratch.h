/* Directories of embedded clusters: made, locked, and for `memory:` removed again. */
#pragma once

#include <stddef.h>

/* Makes `path` and what leads there; *ret_directory is its absolute name, freed by mem_free. On failure ret_why names the directory and
 * the reason. Errors of all: 1510, 1501. */
int directory_make(const char *path, char **ret_directory, char *ret_why, size_t why_size);
/* One process a directory: the lock goes with the process, however it ends. 1529 (lock_file_failure): another has it. *ret_fd is closed
 * by the caller. */
int directory_lock(const char *directory, int *ret_fd, char *ret_why, size_t why_size);

/* A new directory of our own in memory (/dev/shm, else $TMPDIR, else /tmp). Also removes what killed processes have left. */
int scratch_make(char **ret_directory, char *ret_why, size_t why_size);
void scratch_remove(const char *directory);
