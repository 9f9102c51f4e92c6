/* quoin.conf: inheritance, expansion, and a line number for whatever is wrong. */
#include "tools/quoinmon_conf.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool load_text(const char *text, struct conf *ret_conf, char *error, size_t error_size)
{
    char path[] = "/tmp/quoin-conf-XXXXXX";
    int fd = mkstemp(path);
    bool good;

    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    good = conf_load(path, "/default/quoind", ret_conf, error, error_size);
    unlink(path);
    return good;
}

static struct conf load(const char *text)
{
    struct conf conf;
    char error[256] = "";

    cr_assert(load_text(text, &conf, error, sizeof(error)), "%s", error);
    return conf;
}

static void expect_error(const char *text, const char *expected)
{
    struct conf conf;
    char error[256] = "";

    cr_assert_not(load_text(text, &conf, error, sizeof(error)), "accepted: %s", text);
    cr_assert_not_null(strstr(error, expected), "expected `%s` in `%s`", expected, error);
}

/* The arguments of process `index`, joined by blanks. */
static const char *command_of(const struct conf *conf, size_t index, char out[static 1024])
{
    out[0] = '\0';
    for (const char **argument = conf->processes[index].argv; *argument != NULL; argument++) {
        strncat(out, *argument, 1023 - strlen(out));
        strncat(out, argument[1] != NULL ? " " : "", 1023 - strlen(out));
    }
    return out;
}

#define BASE "[quoind]\ncluster-file=/c\npublic_address = auto:$ID\ndatadir = /d/$ID\n"

Test(quoinmon_conf, a_section_without_keys_inherits_everything)
{
    struct conf conf = load(BASE "[quoind.4500]\n[quoind.4501]\n");
    char out[1024];

    cr_assert_eq(conf.process_count, 2);
    cr_assert_str_eq(command_of(&conf, 0, out), "/default/quoind -C /c -p 127.0.0.1:4500 -d /d/4500");
    cr_assert_str_eq(command_of(&conf, 1, out), "/default/quoind -C /c -p 127.0.0.1:4501 -d /d/4501");
    conf_done(&conf);
}

Test(quoinmon_conf, a_section_overrides_what_it_inherits_in_any_order)
{
    struct conf conf = load("[quoind.7]\nclass=log\nlocality_zoneid = z$ID\nknob_a_b=3\n" BASE
                            "class = storage\ncommand = /x/q --verbose\nlogdir=/l\nlisten_address = 0.0.0.0:$ID\n");
    char out[1024];

    cr_assert_str_eq(command_of(&conf, 0, out),
                     "/x/q --verbose -c log --locality-zoneid z7 --knob-a_b=3 -C /c -p 127.0.0.1:7 -d /d/7 -L /l "
                     "-l 0.0.0.0:7");
    conf_done(&conf);
}

Test(quoinmon_conf, general_has_the_cluster_file_and_the_delays)
{
    struct conf conf = load("[general]\ncluster_file=/g\nrestart_delay = 5\ninitial_restart_delay=0.25\nrestart_backoff = 3\n"
                            "restart_delay_reset_interval=7\nkill_on_configuration_change = false\n"
                            "[quoind.1]\npublic_address=1.2.3.4:1\ndatadir=/d\n");
    char out[1024];

    cr_assert_eq(conf.restart_delay_us, 5000000);
    cr_assert_eq(conf.initial_restart_delay_us, 250000);
    cr_assert_eq(conf.restart_delay_reset_us, 7000000);
    cr_assert_float_eq(conf.restart_backoff, 3, 1e-9);
    cr_assert_not(conf.kill_on_configuration_change);
    cr_assert_str_eq(command_of(&conf, 0, out), "/default/quoind -p 1.2.3.4:1 -d /d -C /g");
    conf_done(&conf);
}

Test(quoinmon_conf, comments_blank_lines_and_spaces_do_not_matter)
{
    struct conf conf = load("# first\n\n; second\n" BASE "  class = log ; inline\n#[quoind.5]\n  [quoind.6]  \n");
    char out[1024];

    cr_assert_eq(conf.process_count, 1);
    cr_assert_str_eq(command_of(&conf, 0, out), "/default/quoind -C /c -p 127.0.0.1:6 -d /d/6 -c log");
    conf_done(&conf);
}

Test(quoinmon_conf, two_loads_compare_by_command_line)
{
    struct conf a = load(BASE "[quoind.1]\n[quoind.2]\n"), b = load(BASE "[quoind.1]\nclass=log\n[quoind.2]\n");

    cr_assert_not(conf_process_equal(conf_find(&a, "1"), conf_find(&b, "1")));
    cr_assert(conf_process_equal(conf_find(&a, "2"), conf_find(&b, "2")));
    cr_assert_null(conf_find(&a, "3"));
    conf_done(&a);
    conf_done(&b);
}

Test(quoinmon_conf, what_is_wrong_is_named_with_its_line)
{
    expect_error("[general]\nrestart_delay = soon\n", "line 2: restart_delay = soon");
    expect_error("[general]\nrestart_delay = -1\n", "line 2:");
    expect_error("[general]\nrestart_backoff = 0.5\n", "line 2:");
    expect_error("[general]\nkill_on_configuration_change = yes\n", "line 2:");
    expect_error("[general]\nspeed = 9\n", "line 2: unknown key `speed`");
    expect_error("x = 1\n", "line 1: `x` stands before");
    expect_error("[nothing]\n", "line 1: unknown section [nothing]");
    expect_error("[quoind.abc]\n", "line 1: [quoind.abc]: what follows");
    expect_error("[quoind.70000]\n", "line 1:");
    expect_error("[quoind.0]\n", "line 1:");
    expect_error("[quoind.1\n", "line 1: no ]");
    expect_error(BASE "[quoind.1]\n\n[quoind.1]\n", "line 7: [quoind.1] is there twice");
    expect_error(BASE "[quoind.1]\nnonsense\n", "line 6: neither");
    expect_error(BASE "flavour = mint\n[quoind.1]\n", "line 5: unknown key `flavour`");
    expect_error(BASE "class =\n[quoind.1]\n", "line 5: `class` has no value");
    expect_error(BASE "command = \n[quoind.1]\n", "line 5: `command` is empty");
    expect_error("[quoind.1]\ndatadir=/d\ncluster_file=/c\n", "[quoind.1] has no public_address");
}

Test(quoinmon_conf, a_line_of_any_length_is_taken_or_refused)
{
    static char text[3 * CONF_LINE_BYTES_MAX];
    struct conf conf;
    char error[256];

    for (int len = 1; len < CONF_LINE_BYTES_MAX + 50; len += len < CONF_LINE_BYTES_MAX - 50 ? 97 : 1) {
        bool good;

        snprintf(text, sizeof(text), BASE "knob_x = %0*d\n[quoind.1]\n", len, 7);
        good = load_text(text, &conf, error, sizeof(error));
        cr_assert_eq(good, len + 10 <= CONF_LINE_BYTES_MAX - 1, "%d: %s", len, error);
        if (good) {
            cr_assert_eq(strlen(conf.processes[0].argv[7]), (size_t)len + strlen("--knob-x="));
            conf_done(&conf);
        } else {
            cr_assert_not_null(strstr(error, "line 5: longer than"), "%s", error);
        }
    }
}

Test(quoinmon_conf, a_missing_file_is_an_error)
{
    struct conf conf;
    char error[256] = "";

    cr_assert_not(conf_load("/nonexistent/quoin.conf", "q", &conf, error, sizeof(error)));
    cr_assert_not_null(strstr(error, "can't open"), "%s", error);
}
