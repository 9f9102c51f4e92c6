/* Parses the cluster file: where the coordinators are.
 *
 *   # comment lines and trailing comments
 *   description:ID@127.0.0.1:4500,127.0.0.2:4500
 *
 * description: letters, digits and '_'; ID: letters and digits; 1 to CLUSTER_FILE_COORDINATORS_MAX addresses, none twice.
 * Exactly one such line. Pure. */
#pragma once

#include "net/bytes.h"
#include "net/env.h"

enum { CLUSTER_FILE_COORDINATORS_MAX = 15, CLUSTER_FILE_NAME_MAX = 128, CLUSTER_FILE_BYTES_MAX = 65536 };

struct cluster_file {
    char description[CLUSTER_FILE_NAME_MAX];
    char id[CLUSTER_FILE_NAME_MAX];
    struct address coordinators[CLUSTER_FILE_COORDINATORS_MAX];
    uint32_t coordinator_count;
};

/* 0, or ERROR_CONNECTION_STRING_INVALID: `why` then says the line and the reason ("line 2: ..."), cut to fit. *ret_file is
 * untouched on failure. */
int cluster_file_parse(struct bytes text, struct cluster_file *ret_file, char *why, size_t why_size);
