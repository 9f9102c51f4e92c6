/* A list of sites by (base name, text), filled as they are reached.
 *
 * What decides is content: addresses and directories of literals differ from build to build. A table by address only saves the
 * comparison, for the hottest sites are asked millions of times a run; one site may stand in it twice (a literal that two objects hold). */
#include "sim/buggify.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "net/mem.h"
#include "sim/world.h"

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

static uint64_t hash_text(const char *text, uint64_t hash)
{
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return sim_mix(hash);
}

static uint64_t hash_site(const char *file, const char *what)
{
    return hash_text(what, hash_text(file, UINT64_C(0xcbf29ce484222325)));
}

/* ---- by address ---- */

static struct sim_site_slot *find_slot(const struct sim_buggify *buggify, const char *file, const char *what)
{
    size_t mask = buggify->table_size - 1, at = sim_mix((uintptr_t)what ^ sim_mix((uintptr_t)file)) & mask;

    while (buggify->table[at].index_plus_1 != 0 && (buggify->table[at].what != what || buggify->table[at].file != file))
        at = (at + 1) & mask;
    return &buggify->table[at];
}

static void grow_table(struct sim_buggify *buggify)
{
    struct sim_site_slot *old = buggify->table;
    size_t old_size = buggify->table_size;

    buggify->table_size = old_size == 0 ? 1024 : old_size * 2;
    buggify->table = sim_zalloc(buggify->table_size * sizeof(buggify->table[0]));
    for (size_t i = 0; i < old_size; i++)
        if (old[i].index_plus_1 != 0)
            *find_slot(buggify, old[i].file, old[i].what) = old[i];
    mem_free(old);
}

/* ---- by content ---- */

static size_t add_site(struct sim_buggify *buggify, const char *file, const char *what, bool is_probe)
{
    if (buggify->count == buggify->capacity) {
        buggify->capacity = buggify->capacity == 0 ? 256 : buggify->capacity * 2;
        buggify->sites = mem_realloc(buggify->sites, buggify->capacity * sizeof(buggify->sites[0]));
        assert(buggify->sites != NULL);
    }
    buggify->sites[buggify->count] = (struct sim_site){
        .file = file,
        .what = what,
        .is_probe = is_probe,
        .active = !is_probe && sim_mix(hash_site(file, what) ^ sim_mix(buggify->seed)) % 4 == 0,
        .muted = !is_probe && buggify->mute != NULL && strcmp(buggify->mute, what) == 0,
    };
    return buggify->count++;
}

static size_t site_index(struct sim_buggify *buggify, const char *file, const char *what, bool is_probe)
{
    for (size_t i = 0; i < buggify->count; i++) {
        const struct sim_site *site = &buggify->sites[i];

        if (site->is_probe == is_probe && strcmp(site->what, what) == 0 && strcmp(site->file, file) == 0)
            return i;
    }
    return add_site(buggify, file, what, is_probe);
}

static struct sim_site *find_site(struct sim_buggify *buggify, const char *file, const char *what, bool is_probe)
{
    struct sim_site_slot *slot;

    if (buggify->table_count * 2 >= buggify->table_size)
        grow_table(buggify);
    slot = find_slot(buggify, file, what);
    if (slot->index_plus_1 == 0) {
        *slot = (struct sim_site_slot){file, what, (uint32_t)site_index(buggify, base_name(file), what, is_probe) + 1};
        buggify->table_count++;
    }
    return &buggify->sites[slot->index_plus_1 - 1];
}

/* ---- the face ---- */

static bool fire(struct buggify *face, struct env *env, const char *file, const char *what, unsigned one_in)
{
    struct sim_buggify *buggify = container_of(face, struct sim_buggify, face);
    struct sim_process *process = sim_process_of(env);
    struct sim_site *site = find_site(buggify, file, what, false);

    site->asked++;
    if (!site->active || buggify->quiet || process->dying || !sim_random_one_in(&buggify->random, one_in))
        return false;
    site->fired++;
    sim_note_as(process->world, process, what, 0, "buggify: %s", what);
    return !site->muted;
}

static void probe(struct buggify *face, struct env *env, const char *file, const char *what)
{
    struct sim_site *site = find_site(container_of(face, struct sim_buggify, face), file, what, true);

    (void)env;
    site->asked++;
    site->fired++;
}

struct sim_buggify *sim_buggify_create(uint64_t seed)
{
    struct sim_buggify *buggify = sim_zalloc(sizeof(*buggify));

    buggify->face.fire = fire;
    buggify->face.probe = probe;
    buggify->seed = seed;
    buggify->random = sim_random_stream(seed, 100);
    return buggify;
}

void sim_buggify_destroy(struct sim_buggify *buggify)
{
    if (buggify == NULL)
        return;
    mem_free(buggify->sites);
    mem_free(buggify->table);
    mem_free(buggify);
}

void sim_buggify_report(const struct sim_buggify *buggify, FILE *out)
{
    for (size_t i = 0; i < buggify->count; i++) {
        const struct sim_site *site = &buggify->sites[i];

        if (site->is_probe)
            fprintf(out, "probe\t%s\t%s\t%" PRIu64 "\n", site->file, site->what, site->fired);
        else
            fprintf(out, "site\t%s\t%s\t%" PRIu64 "\t%" PRIu64 "\n", site->file, site->what, site->asked, site->fired);
    }
}

uint64_t sim_buggify_fired(const struct sim_buggify *buggify)
{
    uint64_t fired = 0;

    for (size_t i = 0; i < buggify->count; i++)
        if (!buggify->sites[i].is_probe)
            fired += buggify->sites[i].fired;
    return fired;
}
