/* The "qos" object of the status document, and what a person should know of it. Private to status*.c. */
#pragma once

#include <jansson.h>

#include "roles/controller/status.h"

/* Owned by the caller. */
json_t *status_qos(const struct status_input *input);
/* Adds busiest_read_tag and busiest_write_tag to a storage server's `role`. */
void status_busiest_tags(const struct status_input *input, const struct role_status *storage, json_t *role);
/* Appends {name, description} messages: what slows the cluster down, what is held back, whose lease has lapsed. */
void status_qos_messages(const struct status_input *input, json_t *messages);
