/* quoin.conf as a list of command lines: what quoinmon has to keep running.
 *
 * The file is an ini file with foundationdb.conf's keys: [general], defaults in [quoind], and one [quoind.PORT] section a
 * process, which inherits from [quoind]. In values $ID becomes PORT, and an address "auto:PORT" is 127.0.0.1:PORT.
 * Nothing is half loaded: a file with one bad line gives an error that names the line, and no conf. */
#pragma once

#include "net/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONF_LINE_BYTES_MAX 4096
#define CONF_PROCESSES_MAX 1024

struct conf_process {
    const char *id;    /* "4500"; owned by the conf's arena, as all below */
    const char **argv; /* NULL at the end; argv[0] is the command */
};

struct conf {
    struct arena arena; /* owns everything that the conf points to */
    uint64_t restart_delay_us;         /* the longest wait before a restart */
    uint64_t initial_restart_delay_us; /* before the first restart of a process that had lived long enough */
    uint64_t restart_delay_reset_us;   /* what is long enough */
    double restart_backoff;            /* factor from one wait to the next */
    bool kill_on_configuration_change; /* false: what runs is left alone by an edit */
    struct conf_process *processes;
    size_t process_count;
};

/* Reads the file at `path`. `default_command` stands for a missing `command` key. On failure returns false and puts one
 * line for a person into `error`; *ret_conf is untouched. */
bool conf_load(const char *path, const char *default_command, struct conf *ret_conf, char *error, size_t error_size);
/* Accepts a zeroed conf. */
void conf_done(struct conf *conf);

/* NULL if there is no process of that id. */
const struct conf_process *conf_find(const struct conf *conf, const char *id);
bool conf_process_equal(const struct conf_process *a, const struct conf_process *b);
