/* File calls of libc that fail: linked into a test, or preloaded into a program (faulty_files.c says how).
 *
 * Linked in, its functions stand in libc's place for the whole process, for LMDB too, and under the sanitizers as well. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The n-th call from now on upon a file whose path contains `part` fails with EIO and does nothing; 0: none. `part` is
 * borrowed until the next such call. Any thread's calls count. */
void faulty_files_fail_nth(const char *part, uint64_t n);
/* Whether it has, since then. */
bool faulty_files_fired(void);
