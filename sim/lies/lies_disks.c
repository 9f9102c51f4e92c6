/* Disks that lie: what they give back is not what was written. `from` names the kind of role whose hosts are hit (`all`: all of
 * them, at once; "everybody": all servers but the coordinators), `file` the beginning of the paths that the harm is done to. */
#include <stdio.h>

#include "net/mem.h"
#include "sim/lies/lie_disk.h"
#include "sim/lies/lies_table.h"

enum { DOWN_US = 300000, LOOK_US = 300000, AGAIN_US = 3000000, BLOCK = 4096, HEADER_BYTES = 4096, VICTIMS_MAX = 16 };

struct victims {
    struct sim_process *processes[VICTIMS_MAX];
    unsigned count;
};

static enum role_kind kind_of(const struct lies *lies)
{
    for (int kind = ROLE_COORDINATOR; kind < ROLE_KINDS; kind++)
        if (strcmp(role_kind_name((enum role_kind)kind), lies->section->from) == 0)
            return (enum role_kind)kind;
    return ROLE_COORDINATOR;
}

/* Every witness: all servers but the coordinators. */
static struct victims everybody(struct lies *lies)
{
    struct victims victims = {.count = 0};

    for (size_t i = 0; i < lies->world->process_count && victims.count < VICTIMS_MAX; i++) {
        struct sim_process *process = lies->world->processes[i];

        if (process->server && sim_cluster_class_of(process) != CLASS_COORDINATOR)
            victims.processes[victims.count++] = process;
    }
    return victims;
}

/* A coordinator that does not lead, or one host of the kind; or all of them. */
static struct victims choose(struct lies *lies)
{
    enum role_kind kind = kind_of(lies);
    struct victims victims = {.count = 0};
    struct sim_process *process;

    if (strcmp(lies->section->from, "everybody") == 0)
        return everybody(lies);

    for (unsigned nth = 0; victims.count < VICTIMS_MAX; nth++) {
        process = kind == ROLE_COORDINATOR && !lies->section->all ? lie_follower(lies, nth) : lie_host(lies, kind, nth);
        if (process == NULL)
            break;
        victims.processes[victims.count++] = process;
    }
    if (!lies->section->all && victims.count > 1) {
        victims.processes[0] = victims.processes[lie_random(lies, victims.count)];
        victims.count = 1;
    }
    return victims;
}

static void stop_all(const struct victims *victims)
{
    for (unsigned i = 0; i < victims->count; i++)
        lie_stop(victims->processes[i], SIM_POWER_OFF);
}

static void boot_all(const struct victims *victims)
{
    for (unsigned i = 0; i < victims->count; i++)
        lie_boot(victims->processes[i]);
}

/* ---- a file is changed while its process is down ---- */

/* Within what was written behind the header; false when there is too little of it. */
static bool harm_file(struct lies *lies, struct sim_process *process, const char *path)
{
    const char *at = lies->section->at;
    uint64_t end = lie_file_end(process, path), offset;
    uint8_t garbage[64];

    if (end <= HEADER_BYTES + 64)
        return false;
    if (strcmp(at, "behind") == 0) { /* a frame that a crash tore */
        for (size_t i = 0; i < sizeof(garbage); i++)
            garbage[i] = (uint8_t)(1 + lie_random(lies, 255));
        offset = (end + 7) / 8 * 8;
        lie_file_write(process, path, offset, bytes_of(garbage, sizeof(garbage)));
    } else {
        /* A frame is filled up to 8 bytes, and what fills it means nothing: the first of 8 is never that. The first frame (its head
         * alone has 32 bytes) is below what those behind it name as synced, however short the file is. */
        uint64_t room = strcmp(at, "first") == 0 ? 32 : (end - HEADER_BYTES) / 2;

        offset = strcmp(at, "end") == 0 ? end - 1 : HEADER_BYTES + (lie_random(lies, room) & ~UINT64_C(7));
        lie_file_xor(process, path, offset, (uint8_t)(1u << lie_random(lies, 8)));
    }
    lie_strikes(lies, "%s of %s at %d of %d", path, process->name, (int)offset, (int)end);
    return true;
}

static void harm(struct lies *lies)
{
    struct victims victims;

    do {
        victims = choose(lies);
        stop_all(&victims);
        for (unsigned i = 0; i < victims.count; i++) {
            const char *path = lie_file_find(victims.processes[i], lies->section->file, lies->section->suffix);

            if (path != NULL)
                (void)harm_file(lies, victims.processes[i], path);
        }
        (void)lie_sleep(lies, DOWN_US);
        boot_all(&victims);
    } while (lies->strikes == 0 && lie_sleep(lies, LOOK_US));
}

const struct lie_type lie_harmed_file = {
    .name = "harmed-file", .what = "a bit of a file flips, or stands where nothing was written", .run = harm};

/* ---- a page stands where another belongs ---- */

static void misdirect_once(struct lies *lies, const struct victims *victims)
{
    uint8_t page[BLOCK];
    const char *path;

    stop_all(victims);
    for (unsigned i = 0; i < victims->count; i++) {
        uint64_t pages, to;

        path = lie_file_find(victims->processes[i], lies->section->file, lies->section->suffix);
        pages = path == NULL ? 0 : lie_file_end(victims->processes[i], path) / BLOCK;
        if (pages < 4)
            continue;
        to = 1 + lie_random(lies, (pages - 2) / 2); /* the last pages could pass for a torn tail */
        lie_file_write(victims->processes[i], path, to * BLOCK,
                       lie_file_read(victims->processes[i], path, (to + 1) * BLOCK, page, BLOCK));
        lie_strikes(lies, "page %d of %s stands at %d", (int)to + 1, path, (int)to);
    }
    (void)lie_sleep(lies, DOWN_US);
    boot_all(victims);
}

/* Again while the file that was drawn is too short, and while nobody has noticed: what was popped, or stands in a recycled file from its last
 * life, is never read. The same ones again, for no more than they may be harmed. */
static void misdirect(struct lies *lies)
{
    struct victims victims;

    do {
        if (lies->strikes == 0)
            victims = choose(lies);
        misdirect_once(lies, &victims);
    } while (lie_sleep(lies, lies->strikes == 0 ? LOOK_US : AGAIN_US) && !lie_is_answered(lies));
}

const struct lie_type lie_misdirected = {
    .name = "misdirected-page", .what = "a page of a file holds the content of the next one", .run = misdirect};

/* ---- an older image ---- */

/* What `file` names is `for` seconds older when the power comes back. */
static void roll_back(struct lies *lies)
{
    struct victims victims = choose(lies);
    struct lie_files older[VICTIMS_MAX] = {0};

    for (unsigned i = 0; i < victims.count; i++)
        lie_files_take_durable(victims.processes[i], lies->section->file, &older[i]);
    (void)lie_sleep(lies, lies->section->lasts_us);
    stop_all(&victims);
    for (unsigned i = 0; i < victims.count; i++) {
        lie_files_put(victims.processes[i], lies->section->file, &older[i], NULL, NULL);
        lie_strikes(lies, "%s of %s is %d s older", lies->section->file, victims.processes[i]->name,
                    (int)(lies->section->lasts_us / SIM_SECOND_US));
        lie_files_done(&older[i]);
    }
    (void)lie_sleep(lies, DOWN_US);
    boot_all(&victims);
}

const struct lie_type lie_rolled_back = {
    .name = "rolled-back", .what = "files are as they were some seconds ago", .run = roll_back};

/* ---- syncs that do nothing ---- */

static void skip_syncs(struct lies *lies)
{
    struct victims victims = choose(lies);

    for (unsigned i = 0; i < victims.count; i++) {
        victims.processes[i]->disk->lying = true;
        lie_strikes(lies, "syncs of %s do nothing", victims.processes[i]->name);
    }
    (void)lie_sleep(lies, lies->section->lasts_us);
    stop_all(&victims);
    for (unsigned i = 0; i < victims.count; i++)
        victims.processes[i]->disk->lying = false;
    (void)lie_sleep(lies, DOWN_US);
    boot_all(&victims);
}

const struct lie_type lie_lying_disk = {
    .name = "lying-disk", .what = "syncs say that they are done and do nothing, then the power goes", .run = skip_syncs};

/* ---- what belongs to another ---- */

static bool two_hosts(struct lies *lies, struct victims *ret)
{
    enum role_kind kind = kind_of(lies);

    *ret = (struct victims){{lie_host(lies, kind, 0), lie_host(lies, kind, 1)}, 2};
    return ret->processes[0] != NULL && ret->processes[1] != NULL;
}

/* The files of one role's directory under the name of another's. */
static void swap_files(struct lies *lies)
{
    struct lie_files files;
    struct victims two;
    const char *from, *to;

    if (!two_hosts(lies, &two))
        return;
    stop_all(&two);
    from = lie_dir_find(two.processes[0], lies->section->file);
    to = lie_dir_find(two.processes[1], lies->section->file);
    if (from != NULL && to != NULL) {
        lie_files_take(two.processes[0], from, &files);
        lie_files_put(two.processes[1], to, &files, from, to);
        lie_files_done(&files);
        lie_strikes(lies, "%s of %s holds what belongs to %s", to, two.processes[1]->name, two.processes[0]->name);
    }
    (void)lie_sleep(lies, DOWN_US);
    boot_all(&two);
}

const struct lie_type lie_foreign_files = {
    .name = "foreign-files", .what = "a role's directory holds the files of another of its kind", .run = swap_files};

/* One role's directory, copied to a process that hosts no such role, which starts with it. */
static void copy_role(struct lies *lies)
{
    struct sim_process *owner = lie_host(lies, kind_of(lies), 0), *other = lie_host(lies, ROLE_GRV_PROXY, 0);
    struct lie_files files;
    char path[SIM_PATH_MAX];
    const char *directory = owner == NULL ? NULL : lie_dir_find(owner, lies->section->file);

    if (directory == NULL || other == NULL || other == owner)
        return;
    lie_stop(other, SIM_POWER_OFF);
    for (size_t i = 0; i < owner->disk->dir_count; i++)
        if (strncmp(owner->disk->dirs[i], directory, strlen(directory)) == 0)
            lie_dir_make(other, owner->disk->dirs[i]);
    snprintf(path, sizeof(path), "%s/", directory);
    lie_files_take_durable(owner, path, &files);
    lie_files_put(other, path, &files, NULL, NULL);
    lie_strikes(lies, "%s of %s is on %s as well (%d files)", directory, owner->name, other->name, (int)files.count);
    lie_files_done(&files);
    (void)lie_sleep(lies, DOWN_US);
    lie_boot(other);
}

const struct lie_type lie_copied_role = {
    .name = "copied-role", .what = "a role's files are on a second machine as well", .run = copy_role};
