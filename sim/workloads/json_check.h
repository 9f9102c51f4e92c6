/* Is a text JSON, and has its outermost object a member? What status promises to those who parse it. */
#pragma once

#include "net/bytes.h"

/* Strictly as RFC 8259, an object outermost. */
bool json_is_object(struct bytes text);
/* Of a text that is one. */
bool json_has_member(struct bytes text, const char *name);
