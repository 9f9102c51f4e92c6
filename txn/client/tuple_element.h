/* Walks a packed tuple, element by element, without knowing what the elements mean. Private to txn/client.
 *
 * The layers' parser (txn/layers/) stands above the client; this one only finds where elements end. Formats: FoundationDB's tuple
 * layer. */
#pragma once

#include "net/arena.h"
#include "net/bytes.h"

enum { TUPLE_CODE_BYTES = 0x01, TUPLE_CODE_TEXT = 0x02 };

/* Moves *left past its first element. *ret_element borrows from it, with the type code. False: it is empty, or (then *left is not)
 * what begins there is no element. */
bool tuple_element_next(struct bytes *left, struct bytes *ret_element);
/* What an element of the codes BYTES or TEXT says, in the arena. 0 or ERROR_OUT_OF_MEMORY. */
int tuple_element_string(struct bytes element, struct arena *arena, struct bytes *ret);
/* Appends one of the code BYTES. 0 or ERROR_OUT_OF_MEMORY. */
int tuple_element_append(struct bytes_buffer *out, struct bytes string);
