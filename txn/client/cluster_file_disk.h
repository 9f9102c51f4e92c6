/* Writes other coordinators into a cluster file that is there: for whoever was told of them. */
#pragma once

#include "txn/client/cluster_file.h"

/* Description, ID and comments stay as they are. Blocking; atomic (a new file takes the old one's place, with its mode), durable. 0, or
 * ERROR_CONNECTION_STRING_INVALID (it is no cluster file any more), ERROR_FILE_NOT_READABLE, ERROR_FILE_NOT_WRITABLE: then it is as it
 * was. A file that names them already, in whatever order, is left alone. */
int cluster_file_update(const char *path, const struct address *coordinators, uint32_t count);
