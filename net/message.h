/* Messages: structs described once, by X-macros, that the generic codec packs, unpacks, prints and fuzzes.
 *
 * A schema is declared as a field list and expanded by SCHEMA_DECLARE (struct, in a header) and SCHEMA_DEFINE (descriptor, in
 * one .c file):
 *
 *   #define FIELDS_log_range(F, S, A, L)  F(i64, begin) F(i64, end) F(bytes, data) S(address, from) A(log_entry, entries) L(u32, tags)
 *
 *   F(kind, name)    a scalar: u32 u64 i64 boolean bytes
 *   S(schema, name)  a nested struct
 *   A(schema, name)  an array of structs:  struct schema *name;  uint32_t name_count;
 *   L(kind, name)    an array of scalars:  ctype *name;          uint32_t name_count;
 *
 * On the wire a struct is a msgpack array of its fields in order, an array is a msgpack array, bytes are bin, integers are
 * msgpack integers. Arrays may gain trailing fields: what a newer peer adds is skipped, what an older one lacks is zero.
 * Decoded bytes point into the frame, which the message owns. Bounds: nesting MESSAGE_DEPTH_MAX; an array's count is never
 * trusted beyond the bytes that arrived (each element takes at least one). */
#pragma once

#include "net/arena.h"
#include "net/bytes.h"

enum { MESSAGE_DEPTH_MAX = 8 };

enum field_kind { KIND_u32, KIND_u64, KIND_i64, KIND_boolean, KIND_bytes, KIND_struct };
enum field_form { FORM_SCALAR, FORM_ARRAY };

typedef uint32_t ctype_u32;
typedef uint64_t ctype_u64;
typedef int64_t ctype_i64;
typedef bool ctype_boolean;
typedef struct bytes ctype_bytes;

struct schema;

struct field {
    const char *name;
    const struct schema *schema; /* of KIND_struct */
    enum field_kind kind;
    enum field_form form;
    uint32_t offset;
    uint32_t count_offset; /* of FORM_ARRAY */
};

struct schema {
    const char *name;
    const struct field *fields;
    uint32_t field_count;
    uint32_t size; /* of the struct */
};

#define FIELD_DECLARE_F(kind, name) ctype_##kind name;
#define FIELD_DECLARE_S(type, name) struct type name;
#define FIELD_DECLARE_A(type, name) \
    struct type *name;              \
    uint32_t name##_count;
#define FIELD_DECLARE_L(kind, name) \
    ctype_##kind *name;             \
    uint32_t name##_count;
#define SCHEMA_DECLARE(type)                                                                       \
    struct type {                                                                                  \
        FIELDS_##type(FIELD_DECLARE_F, FIELD_DECLARE_S, FIELD_DECLARE_A, FIELD_DECLARE_L)          \
    };                                                                                             \
    extern const struct schema schema_##type;

/* Inside a SCHEMA_DEFINE, `SELF` is the struct. */
#define FIELD_DEFINE_F(kind, name) {#name, NULL, KIND_##kind, FORM_SCALAR, offsetof(SELF, name), 0},
#define FIELD_DEFINE_S(type, name) {#name, &schema_##type, KIND_struct, FORM_SCALAR, offsetof(SELF, name), 0},
#define FIELD_DEFINE_A(type, name) \
    {#name, &schema_##type, KIND_struct, FORM_ARRAY, offsetof(SELF, name), offsetof(SELF, name##_count)},
#define FIELD_DEFINE_L(kind, name) \
    {#name, NULL, KIND_##kind, FORM_ARRAY, offsetof(SELF, name), offsetof(SELF, name##_count)},
#define SCHEMA_DEFINE(type, fields_name)                                                                       \
    static const struct field fields_name[] = {                                                                \
        FIELDS_##type(FIELD_DEFINE_F, FIELD_DEFINE_S, FIELD_DEFINE_A, FIELD_DEFINE_L)};                        \
    const struct schema schema_##type = {#type, fields_name, sizeof(fields_name) / sizeof(struct field),       \
                                         sizeof(struct type)};

/* Who may send a message. */
enum sender { SENDER_CLIENT = 1, SENDER_SERVER = 2, SENDER_ANY = 3 };

struct message_type {
    uint16_t id; /* on the wire; 0 is none */
    const char *name;
    const struct schema *schema;
    const struct message_type *reply; /* NULL: one way */
    unsigned senders;                 /* enum sender bits */
    enum { PRIORITY_COMMIT, PRIORITY_READ } priority;
};

/* An immutable (once sent), reference-counted message. body is a struct of type->schema, in `arena` with all it points to,
 * unless the sender put in borrowed bytes that live as long as `keeps`. */
struct message {
    uint32_t refs;
    const struct message_type *type;
    void *body;
    struct arena arena;
    struct message *keeps; /* shared: a message whose bytes this one points into; may be NULL */
    size_t encoded_bytes;  /* of a received one: what it cost on the wire */
};

/* body is zeroed. One reference. NULL when out of memory. */
struct message *message_create(const struct message_type *type);
static inline struct message *message_ref(struct message *message)
{
    message->refs++;
    return message;
}
void message_unref(struct message *message); /* accepts NULL */
/* If nobody else holds it, its memory goes to `into`: the message is gone, what its body says stays readable for as long as that. False:
 * it is shared, and nothing happened. */
bool message_give(struct message *message, struct arena *into);
/* Makes `message` hold a reference on `kept` until it goes (one at most). */
void message_keep(struct message *message, struct message *kept);

/* ---- codec ---- */

/* Appends the packed body. 0 or ERROR_OUT_OF_MEMORY. */
int message_encode(const struct schema *schema, const void *body, struct bytes_buffer *out);
/* Unpacks into `body` (schema->size bytes, which it overwrites); arrays come from the arena, bytes point into `packed`.
 * 0, ERROR_SERIALIZATION_FAILED (malformed, truncated, trailing garbage, too deep) or ERROR_OUT_OF_MEMORY. */
int message_decode(const struct schema *schema, struct bytes packed, struct arena *arena, void *body);
/* A received frame's body as a message that owns a copy of `packed`. */
int message_from_packed(const struct message_type *type, struct bytes packed, struct message **ret_message);
/* The same without the copy: `packed` lies in `buffer`, whose memory becomes the message's. On failure nothing was taken. */
int message_from_buffer(const struct message_type *type, struct bytes packed, struct bytes_buffer *buffer, struct message **ret_message);
/* One line of JSON-like text, cut to fit; for traces and people. Returns out. */
char *message_print(const struct schema *schema, const void *body, char *out, size_t out_size);
/* A deep copy of a body into an arena (bytes too). */
int message_copy_body(const struct schema *schema, const void *body, struct arena *arena, void *ret_body);
/* Fills a body with random but well-formed content; draw(ctx) gives random numbers. For fuzzing and round-trip tests. */
int message_randomize(const struct schema *schema, struct arena *arena, uint64_t (*draw)(void *ctx), void *ctx, void *body);

/* address, on the wire and in structs. */
#define FIELDS_wire_address(F, S, A, L) F(u32, ip) F(u32, port)
SCHEMA_DECLARE(wire_address)
