/* What every target defines, and what fuzz_input.c asserts of each of its inputs: nothing leaks, and nothing is left behind
 * that another run of the same input would see. */
#pragma once

#include "net/bytes.h"

/* Tries one input. Returns 0. */
int fuzz_input(const uint8_t *data, size_t size);

/* Part of what the input did, in order: bytes sent, lines traced, bytes written. A second run must do the same. */
void fuzz_did(struct bytes what);
