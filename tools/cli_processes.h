/* The processes of a cluster, as a status document names them. Pure. */
#pragma once

#include <jansson.h>

#include "net/arena.h"
#include "txn/operator_processes.h"

/* In the arena; zones and sources (json_t objects) are borrowed from the document. False: it has no processes, for the controller did
 * not answer. */
bool cli_processes_read(const json_t *document, struct arena *arena, struct operator_processes *ret);
