/* Every line must be valid JSON, whatever is in it: jansson is the judge. */
#include <criterion/criterion.h>
#include <jansson.h>

#include "net/trace.h"

struct sink {
    struct env env;
    enum severity severity;
    char line[16384];
    json_t *json;
};

static int64_t sink_wall_us(struct env *env)
{
    (void)env;
    return 1700000000000042;
}

static void sink_trace(struct env *env, enum severity severity, struct bytes line)
{
    struct sink *sink = container_of(env, struct sink, env);
    json_error_t error;

    sink->severity = severity;
    cr_assert_lt(line.len, sizeof(sink->line));
    cr_assert_null(memchr(line.ptr, '\n', line.len));
    memcpy(sink->line, line.ptr, line.len);
    sink->line[line.len] = '\0';
    sink->json = json_loadb((const char *)line.ptr, line.len, 0, &error);
    cr_assert_not_null(sink->json, "%s: %s", error.text, sink->line);
}

static const struct env_ops sink_ops = {.wall_us = sink_wall_us, .trace = sink_trace};

static const char *text_of(const struct sink *sink, const char *field)
{
    return json_string_value(json_object_get(sink->json, field));
}

Test(trace, a_line_has_its_head_and_its_fields)
{
    static struct sink sink;

    env_init(&sink.env, &sink_ops);
    TRACE(&sink.env, SEVERITY_WARN, "Happened", {"Count", trace_int(INT64_MIN)}, {"Role", trace_str("log")},
          {"Key", trace_bytes(BYTES_LITERAL("k\0\xff"))}, {"Peer", trace_addr((struct address){0x7f000001, 4500})},
          {"Id", trace_id(0xabc)});
    cr_assert_str_eq(sink.line,
                     "{\"Time\":1700000000.000042,\"Severity\":20,\"Type\":\"Happened\",\"Count\":-9223372036854775808,"
                     "\"Role\":\"log\",\"Key\":\"k\\\\x00\\\\xff\",\"Peer\":\"127.0.0.1:4500\","
                     "\"Id\":\"0000000000000abc\"}");
    cr_assert_eq(sink.severity, SEVERITY_WARN);
    cr_assert_str_eq(text_of(&sink, "Key"), "k\\x00\\xff");
    json_decref(sink.json);
}

Test(trace, every_byte_is_escaped_into_valid_json)
{
    static struct sink sink;
    uint8_t all[256];

    env_init(&sink.env, &sink_ops);
    for (int i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    TRACE(&sink.env, SEVERITY_INFO, "All", {"Bytes", trace_bytes(bytes_of(all, sizeof(all)))},
          {"Text", trace_str("say \"hi\" \\ \n \x7f \xc3\xa4")}, {"None", trace_str(NULL)});
    cr_assert_str_eq(text_of(&sink, "Text"), "say \"hi\" \\ \n \\x7f \\xc3\\xa4");
    cr_assert_str_eq(text_of(&sink, "None"), "");
    json_decref(sink.json);
}

Test(trace, a_long_value_is_cut_and_the_line_stays_whole)
{
    static struct sink sink;
    static uint8_t megabyte[1 << 20];

    env_init(&sink.env, &sink_ops);
    memset(megabyte, 'x', sizeof(megabyte));
    TRACE(&sink.env, SEVERITY_INFO, "Long", {"Value", trace_bytes(bytes_of(megabyte, sizeof(megabyte)))},
          {"After", trace_int(1)});
    cr_assert_eq(json_string_length(json_object_get(sink.json, "Value")), 1003);
    cr_assert_eq(json_integer_value(json_object_get(sink.json, "After")), 1);
    json_decref(sink.json);
}

Test(trace, fields_that_do_not_fit_are_left_out_and_the_line_says_so)
{
    static struct sink sink;
    static uint8_t zeros[4096];
    struct trace_field fields[10];

    env_init(&sink.env, &sink_ops);
    for (int i = 0; i < 10; i++)
        fields[i] = (struct trace_field){"Zeros", trace_bytes(bytes_of(zeros, sizeof(zeros)))};
    fields[0] = (struct trace_field){"First", trace_int(1)};
    trace_event(&sink.env, SEVERITY_INFO, "TooMuch", fields, 10);
    cr_assert_eq(json_integer_value(json_object_get(sink.json, "Truncated")), 1);
    cr_assert_eq(json_integer_value(json_object_get(sink.json, "First")), 1);
    json_decref(sink.json);
}

Test(trace, lines_of_any_length_near_the_limit_are_whole)
{
    static struct sink sink;
    static uint8_t text[1000];
    struct trace_field fields[9];

    env_init(&sink.env, &sink_ops);
    memset(text, 'y', sizeof(text));
    for (size_t len = 0; len < sizeof(text); len++) {
        for (int i = 0; i < 9; i++)
            fields[i] = (struct trace_field){"F", trace_bytes(bytes_of(text, i < 7 ? sizeof(text) : len))};
        trace_event(&sink.env, SEVERITY_INFO, "Edge", fields, 9);
        json_decref(sink.json);
    }
}
