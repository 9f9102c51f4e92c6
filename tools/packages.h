/* Reads a Debian package index (`apt-cache dumpavail`), one package at a time.
 *
 * A record is the paragraph as it stands, without the empty line behind it. Dependencies are the names in Depends and
 * Pre-Depends, each alternative one name, without versions and architectures, sorted, each once. */
#pragma once

#include "net/bytes.h"

#include <stdbool.h>
#include <stdio.h>

#define PACKAGE_RECORD_BYTES_MAX (1024 * 1024)

/* Everything is borrowed from the reader until the next packages_next. */
struct package {
    struct bytes name;
    struct bytes section; /* "" if the record names none */
    struct bytes record;
    const struct bytes *depends;
    size_t depend_count;
};

struct packages {
    FILE *file; /* borrowed */
    struct bytes_buffer buffer;
    size_t start; /* of what is not parsed yet, in buffer */
    bool at_end;
    struct bytes *depends; /* owned */
    size_t depend_capacity;
    size_t line; /* of the input, where the next record begins: for messages */
};

void packages_init(struct packages *packages, FILE *file);
void packages_done(struct packages *packages);
/* 1: *ret_package is the next; 0: the end; -1: *ret_error (a string that is never freed) says what is wrong near
 * packages->line. */
int packages_next(struct packages *packages, struct package *ret_package, const char **ret_error);
/* Takes one record apart; `packages` only lends its memory and needs no file. Returns 1 or -1 as packages_next does. */
int packages_parse(struct packages *packages, struct bytes record, struct package *ret_package, const char **ret_error);
