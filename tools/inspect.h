/* quoind --inspect DIR: prints and checks a data directory, offline.
 *
 * Opens every log, storage server and coordinator as a starting process would (a torn tail is cut, nothing else is changed),
 * says what each holds, and checks every record. Returns the program's exit status: 0, or 1 when something is damaged,
 * missing or in use. */
#pragma once

int inspect_directory(const char *directory);
