/* The shell's language: words, quotes, escapes, commands. */
#include "tools/cli_parse.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* "[word][word];[word];" of the parsed line, or "!why". */
static const char *parse(struct bytes text, char out[static 1024])
{
    struct cli_line line;
    char why[256];
    size_t used = 0;

    out[0] = '\0';
    if (cli_parse(text, &line, why, sizeof(why)) != 0) {
        snprintf(out, 1024, "!%s", why);
        return out;
    }
    for (size_t c = 0; c < line.command_count; c++) {
        cr_assert_gt(line.commands[c].word_count, 0);
        for (size_t w = 0; w < line.commands[c].word_count; w++)
            used += (size_t)snprintf(out + used, 1024 - used, "[%s]",
                                     cli_printable(&line.arena, line.commands[c].words[w]));
        used += (size_t)snprintf(out + used, 1024 - used, ";");
    }
    cli_line_done(&line);
    return out;
}

#define EXPECT(text, expected)                                              \
    do {                                                                    \
        char out_[1024];                                                    \
        cr_expect_str_eq(parse(BYTES_LITERAL(text), out_), expected, "%s -> %s", text, out_); \
    } while (0)
#define REFUSED(text, part)                                                 \
    do {                                                                    \
        char out_[1024];                                                    \
        parse(BYTES_LITERAL(text), out_);                                   \
        cr_expect(out_[0] == '!' && strstr(out_, part) != NULL, "%s -> %s", text, out_); \
    } while (0)

Test(cli_parse, blanks_separate_words_and_semicolons_commands)
{
    EXPECT("get a", "[get][a];");
    EXPECT("  writemode on ;set a  b;\tget a ", "[writemode][on];[set][a][b];[get][a];");
    EXPECT("a;b", "[a];[b];");
}

Test(cli_parse, nothing_is_no_command)
{
    EXPECT("", "");
    EXPECT("  ;; ; \n", "");
    EXPECT("# get a", "");
    EXPECT("get a # b; # c\nget d", "[get][a][#][b];[get][d];");
}

Test(cli_parse, quotes_keep_blanks_and_semicolons)
{
    EXPECT("set \"a b\" \"c;d\"", "[set][a b][c;d];");
    EXPECT("set a\"b c\"d \"\"", "[set][ab cd][];");
}

Test(cli_parse, escapes_mean_the_same_inside_quotes_and_outside)
{
    EXPECT("set a\\x00\\xfF \"\\x41\\\"\"", "[set][a\\x00\\xff][A\"];");
    EXPECT("get \\\\ \\; \\  \\\" \\'", "[get][\\\\][;][ ][\"]['];");
}

Test(cli_parse, what_is_malformed_is_named_with_its_column)
{
    REFUSED("get \"a", "unterminated quote at column 5");
    REFUSED("get a\\", "incomplete escape sequence at column 6");
    REFUSED("get \\x4", "column 5");
    REFUSED("get \\xg0", "malformed escape sequence");
    REFUSED("get \\q", "unknown escape sequence");
    REFUSED("get \\\0", "unknown escape sequence");
}

Test(cli_parse, every_byte_survives_printing_and_parsing)
{
    for (unsigned c = 0; c < 256; c++) {
        uint8_t byte = (uint8_t)c;
        struct arena arena;
        struct cli_line line;
        char text[16], why[64];

        arena_init(&arena);
        snprintf(text, sizeof(text), "\"%s%s\"", c == '"' ? "\\" : "", cli_printable(&arena, bytes_of(&byte, 1)));
        cr_assert_eq(cli_parse(bytes_of_string(text), &line, why, sizeof(why)), 0, "%u: %s", c, why);
        cr_assert(bytes_equal(line.commands[0].words[0], bytes_of(&byte, 1)), "%u", c);
        cli_line_done(&line);
        arena_done(&arena);
    }
}

Test(cli_parse, the_end_of_a_prefix_is_above_all_its_keys)
{
    struct arena arena;
    struct bytes end;

    arena_init(&arena);
    cr_assert(cli_prefix_end(&arena, BYTES_LITERAL("ab"), &end));
    cr_assert(bytes_equal(end, BYTES_LITERAL("ac")));
    cr_assert(cli_prefix_end(&arena, BYTES_LITERAL("a\xff\xff"), &end));
    cr_assert(bytes_equal(end, BYTES_LITERAL("b")));
    cr_assert_not(cli_prefix_end(&arena, BYTES_LITERAL("\xff"), &end));
    cr_assert_not(cli_prefix_end(&arena, bytes_none(), &end));
    arena_done(&arena);
}

Test(cli_parse, numbers_are_whole_and_bounded)
{
    int64_t number = 7;

    cr_assert(cli_parse_number(BYTES_LITERAL("-12"), -20, 20, &number) && number == -12);
    cr_assert(cli_parse_number(BYTES_LITERAL("9223372036854775807"), 0, INT64_MAX, &number) && number == INT64_MAX);
    cr_assert_not(cli_parse_number(BYTES_LITERAL("9223372036854775808"), 0, INT64_MAX, &number));
    cr_assert_not(cli_parse_number(BYTES_LITERAL("21"), -20, 20, &number));
    cr_assert_not(cli_parse_number(BYTES_LITERAL("1x"), 0, 20, &number));
    cr_assert_not(cli_parse_number(BYTES_LITERAL("-"), -1, 20, &number));
    cr_assert_not(cli_parse_number(bytes_none(), 0, 20, &number));
}

Test(cli_parse, a_uid_is_thirty_two_hex_digits)
{
    uint8_t uid[CLI_UID_BYTES];

    cr_assert(cli_parse_uid(BYTES_LITERAL("000102030405060708090a0b0c0d0eFF"), uid));
    cr_assert_eq(uid[1], 1);
    cr_assert_eq(uid[15], 0xff);
    cr_assert_not(cli_parse_uid(BYTES_LITERAL("000102030405060708090a0b0c0d0e0"), uid));
    cr_assert_not(cli_parse_uid(BYTES_LITERAL("000102030405060708090a0b0c0d0e0g"), uid));
}
