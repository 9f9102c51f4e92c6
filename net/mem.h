/* All our allocation: the one door that tests can make fail.
 *
 * In a server (mem_set_fatal(true), called once by its main) a failed allocation ends the process: a kill is survived.
 * In the client library and in tests the functions return NULL and the caller returns ERROR_OUT_OF_MEMORY (1501). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *mem_alloc(size_t size);  /* not zeroed */
void *mem_zalloc(size_t size); /* zeroed */
void *mem_realloc(void *old, size_t size); /* on failure old stays valid */
void mem_free(void *ptr);      /* accepts NULL */

void mem_set_fatal(bool fatal);

/* Test hook: the n-th allocation from now on (1 = the next) returns NULL, once; 0 turns it off. */
void mem_fail_nth(uint64_t nth);
/* The same, but nothing fails: the simulator ends the process behind the turn instead. */
void mem_watch_nth(uint64_t nth);
/* How many allocations the armed call is away; 0: none is armed, or it has fired. */
uint64_t mem_armed(void);
/* True when the armed failure has fired since mem_fail_nth. */
bool mem_fail_fired(void);

/* Test hook: other addresses and other garbage. From now on allocations are larger by amounts that follow from the seed, never in
 * place when they grow, and fresh memory is full of one byte of its own; 0 turns it off. A program whose results change depends
 * on addresses or on memory that nobody wrote. */
void mem_disturb(uint64_t seed);
