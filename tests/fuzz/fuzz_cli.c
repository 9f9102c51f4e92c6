/* Any bytes as a line of the shell: commands of at least one word, or a reason. */
#include <assert.h>

#include "tests/fuzz/fuzz_input.h"
#include "tools/cli_parse.h"

int fuzz_input(const uint8_t *data, size_t size)
{
    struct cli_line line;
    struct arena arena = {0};
    struct bytes end;
    char why[40] = "";
    uint8_t uid[CLI_UID_BYTES];
    int64_t number;

    if (cli_parse(bytes_of(data, size), &line, why, sizeof(why)) == 0) {
        for (size_t i = 0; i < line.command_count; i++)
            assert(line.commands[i].word_count >= 1);
        cli_line_done(&line);
    } else {
        assert(why[0] != '\0' && strlen(why) < sizeof(why));
    }
    assert(strlen(cli_printable(&arena, bytes_of(data, size))) >= size);
    if (cli_prefix_end(&arena, bytes_of(data, size), &end))
        assert(bytes_compare(bytes_of(data, size), end) < 0);
    if (cli_parse_number(bytes_of(data, size), -5, 100, &number))
        assert(number >= -5 && number <= 100);
    (void)cli_parse_uid(bytes_of(data, size), uid);
    arena_done(&arena);
    return 0;
}
