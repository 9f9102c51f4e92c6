/* Tuples: packed bytes that sort as what they hold does. Needs no cluster.
 *
 *   example-tuple */
#include <quoin/layers.h>
#include <stdio.h>
#include <string.h>

static void pack_person(struct quoin_tuple *tuple, const char *name, int64_t born)
{
    quoin_tuple_reset(tuple);
    quoin_tuple_add_text(tuple, name, (int)strlen(name));
    quoin_tuple_add_int(tuple, born);
}

static quoin_error print_person(const void *packed, int length)
{
    struct quoin_unpacked *person;
    struct quoin_slice name;
    int64_t born;
    quoin_error error = quoin_tuple_unpack(packed, length, &person);

    if (error != 0)
        return error;
    error = quoin_unpacked_text(person, 0, &name);
    if (error == 0)
        error = quoin_unpacked_int(person, 1, &born);
    if (error == 0)
        printf("%.*s was born in %d\n", name.length, (const char *)name.data, (int)born);
    quoin_unpacked_destroy(person);
    return error;
}

int main(void)
{
    struct quoin_tuple ada = {0}, euclid = {0};
    struct quoin_slice packed;
    quoin_error error;

    pack_person(&ada, "Ada", 1815);
    pack_person(&euclid, "Euclid", -300);
    error = quoin_tuple_get(&ada, &packed);
    for (int i = 0; error == 0 && i < packed.length; i++)
        printf("%02x%s", ((const uint8_t *)packed.data)[i], i + 1 < packed.length ? " " : "\n");
    if (error == 0)
        error = print_person(packed.data, packed.length);
    if (error == 0)
        error = quoin_tuple_get(&euclid, &packed);
    if (error == 0)
        error = print_person(packed.data, packed.length);
    quoin_tuple_done(&ada);
    quoin_tuple_done(&euclid);
    return error != 0;
}
