/* A table of sites by (base name, line), filled as they are reached.
 *
 * The base name is hashed by content: addresses and directories of literals differ from build to build. */
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

static uint64_t hash_name(const char *name, int line)
{
    uint64_t hash = (uint64_t)line + UINT64_C(0xcbf29ce484222325);

    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return sim_mix(hash);
}

static void table_insert(struct sim_buggify *buggify, uint32_t index)
{
    const struct sim_site *site = &buggify->sites[index];
    size_t slot = hash_name(site->name, site->line) & (buggify->table_size - 1);

    while (buggify->table[slot] != 0)
        slot = (slot + 1) & (buggify->table_size - 1);
    buggify->table[slot] = index + 1;
}

static void grow(struct sim_buggify *buggify)
{
    buggify->capacity = buggify->capacity == 0 ? 256 : buggify->capacity * 2;
    buggify->sites = mem_realloc(buggify->sites, buggify->capacity * sizeof(buggify->sites[0]));
    assert(buggify->sites != NULL);
    buggify->table_size = buggify->capacity * 4;
    mem_free(buggify->table);
    buggify->table = sim_zalloc(buggify->table_size * sizeof(buggify->table[0]));
    for (size_t i = 0; i < buggify->count; i++)
        table_insert(buggify, (uint32_t)i);
}

static struct sim_site *find_site(struct sim_buggify *buggify, const char *name, int line)
{
    uint64_t hash = hash_name(name, line);
    struct sim_site *site;

    if (buggify->count == buggify->capacity)
        grow(buggify);
    for (size_t slot = hash & (buggify->table_size - 1); buggify->table[slot] != 0;
         slot = (slot + 1) & (buggify->table_size - 1)) {
        site = &buggify->sites[buggify->table[slot] - 1];
        if (site->line == line && strcmp(site->name, name) == 0)
            return site;
    }
    site = &buggify->sites[buggify->count];
    *site = (struct sim_site){.name = name, .line = line, .active = sim_mix(hash ^ sim_mix(buggify->seed)) % 4 == 0};
    table_insert(buggify, (uint32_t)buggify->count++);
    return site;
}

static bool fire(struct buggify *face, struct env *env, const char *file, int line)
{
    struct sim_buggify *buggify = container_of(face, struct sim_buggify, face);
    struct sim_process *process = sim_process_of(env);
    struct sim_site *site = find_site(buggify, base_name(file), line);

    site->asked++;
    if (!site->active || buggify->quiet || process->dying || !sim_random_one_in(&buggify->random, 4))
        return false;
    site->fired++;
    sim_note(process->world, process, site->name, (uint64_t)line);
    return true;
}

static void probe(struct buggify *face, struct env *env, const char *name)
{
    struct sim_site *site = find_site(container_of(face, struct sim_buggify, face), name, 0);

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

        if (site->line == 0)
            fprintf(out, "probe %s %" PRIu64 "\n", site->name, site->fired);
        else
            fprintf(out, "site %s:%d %" PRIu64 " %" PRIu64 "\n", site->name, site->line, site->asked, site->fired);
    }
}

uint64_t sim_buggify_fired(const struct sim_buggify *buggify)
{
    uint64_t fired = 0;

    for (size_t i = 0; i < buggify->count; i++)
        if (buggify->sites[i].line != 0)
            fired += buggify->sites[i].fired;
    return fired;
}
