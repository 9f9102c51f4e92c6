/* The version that an application selects, the network, and what changes with the version in the ABI.
 *
 * A program built with an old header calls the same symbol with other parameters. C can't say that, so each of those symbols is a
 * jump through a pointer that fdb_select_api_version_impl sets. Before that they lead to the newest form, which refuses
 * what needs a version. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "net/mem.h"
#include "txn/client/quoin_internal.h"
#include "txn/fdb_c/fdb_internal.h"

/* One network a process: the interface has no handle for it. */
static pthread_mutex_t api_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int api_version;
static _Atomic bool network_ready;

struct hook {
    struct hook *next;
    void (*run)(void *parameter);
    void *parameter;
};
static struct hook *hooks, **hooks_end = &hooks; /* owned; in the order of their coming */

/* ---- jumps ---- */

#if defined(__x86_64__)
#define JUMP_CODE(name) "jmp *" name "_target(%rip)\n"
#elif defined(__aarch64__)
#define JUMP_CODE(name) "adrp x16, " name "_target\nldr x16, [x16, #:lo12:" name "_target]\nbr x16\n"
#else
#error "fdb_api.c: write the jump for this processor"
#endif

/* The pointer is seen by the assembler alone, so it can't be static; no library exports it. */
#define JUMP(name, last_old) \
    extern void (*name##_target)(void) __attribute__((visibility("hidden"))); \
    void (*name##_target)(void) __attribute__((used)) = (void (*)(void))name##_new; \
    __asm__(".text\n.p2align 4\n.globl " #name "\n.type " #name ", %function\n" #name ":\n" JUMP_CODE(#name) ".size " #name \
            ", . - " #name "\n");
FDB_JUMPS(JUMP)
#undef JUMP

static void set_jumps(int version)
{
#define SET_JUMP(name, last_old) name##_target = version <= (last_old) ? (void (*)(void))name##_old : (void (*)(void))name##_new;
    FDB_JUMPS(SET_JUMP)
#undef SET_JUMP
}

/* ---- the version ---- */

int fdb_version(void)
{
    return atomic_load_explicit(&api_version, memory_order_acquire);
}

fdb_error_t fdb_select_api_version_impl(int runtime_version, int header_version)
{
    int error = 0;

    pthread_mutex_lock(&api_lock);
    if (fdb_version() != 0)
        error = ERROR_API_VERSION_ALREADY_SET;
    else if (runtime_version > header_version)
        error = ERROR_API_VERSION_INVALID;
    else if (header_version > FDB_LATEST_API_VERSION || runtime_version < FDB_OLDEST_API_VERSION)
        error = ERROR_API_VERSION_NOT_SUPPORTED;
    if (error == 0) {
        set_jumps(runtime_version);
        atomic_store_explicit(&api_version, runtime_version, memory_order_release);
    }
    pthread_mutex_unlock(&api_lock);
    return error;
}

int fdb_get_max_api_version(void)
{
    return FDB_LATEST_API_VERSION;
}

const char *fdb_get_client_version(void)
{
    static char text[96];
    static _Atomic bool made;

    pthread_mutex_lock(&api_lock);
    if (!made)
        snprintf(text, sizeof(text), "%s,quoin,%llx", QUOIN_VERSION, (unsigned long long)QUOIN_PROTOCOL_VERSION);
    made = true;
    pthread_mutex_unlock(&api_lock);
    return text;
}

const char *fdb_get_error(fdb_error_t code)
{
    return quoin_error_text(code);
}

fdb_bool_t fdb_error_predicate(int predicate, fdb_error_t code)
{
    return quoin_error_predicate((enum quoin_predicate)predicate, code);
}

/* ---- the network ---- */

int fdb_check_network(void)
{
    if (fdb_version() == 0)
        return ERROR_API_VERSION_UNSET;
    if (!atomic_load_explicit(&network_ready, memory_order_acquire))
        return ERROR_NETWORK_NOT_SETUP;
    return network_is_over() ? ERROR_NETWORK_CANNOT_BE_RESTARTED : 0;
}

int fdb_check(const void *handle)
{
    if (handle == NULL)
        return ERROR_CLIENT_INVALID_OPERATION;
    return network_is_over() ? ERROR_NETWORK_CANNOT_BE_RESTARTED : 0;
}

fdb_error_t fdb_network_set_option(FDBNetworkOption option, uint8_t const *value, int value_length)
{
    return fdb_version() == 0 ? ERROR_API_VERSION_UNSET : quoin_network_set_option((int)option, value, value_length);
}

fdb_error_t fdb_setup_network_new(void)
{
    int error = fdb_version() == 0 ? ERROR_API_VERSION_UNSET : 0;

    pthread_mutex_lock(&api_lock);
    if (error == 0 && network_ready)
        error = ERROR_NETWORK_ALREADY_SETUP;
    if (error == 0)
        error = fdb_options_from_environment();
    if (error == 0)
        error = network_setup();
    if (error == 0)
        atomic_store_explicit(&network_ready, true, memory_order_release);
    pthread_mutex_unlock(&api_lock);
    return error;
}

fdb_error_t fdb_setup_network_old(const char *local_address)
{
    (void)local_address;
    return fdb_setup_network_new();
}

static void run_hooks(void)
{
    struct hook *hook;

    pthread_mutex_lock(&api_lock);
    hook = hooks;
    hooks = NULL;
    hooks_end = &hooks;
    pthread_mutex_unlock(&api_lock);
    while (hook != NULL) {
        struct hook *next = hook->next;

        hook->run(hook->parameter);
        mem_free(hook);
        hook = next;
    }
}

fdb_error_t fdb_run_network(void)
{
    int error = fdb_check_network();

    if (error == 0)
        error = network_loop();
    if (error == 0)
        run_hooks();
    return error;
}

fdb_error_t fdb_stop_network(void)
{
    if (fdb_version() == 0)
        return ERROR_API_VERSION_UNSET;
    return atomic_load_explicit(&network_ready, memory_order_acquire) ? network_end() : ERROR_NETWORK_NOT_SETUP;
}

fdb_error_t fdb_add_network_thread_completion_hook(void (*hook)(void *), void *parameter)
{
    int error = fdb_check_network();
    struct hook *added;

    if (error == 0 && hook == NULL)
        error = ERROR_CLIENT_INVALID_OPERATION;
    if (error != 0)
        return error;
    added = mem_alloc(sizeof(*added));
    if (added == NULL)
        return ERROR_OUT_OF_MEMORY;
    *added = (struct hook){NULL, hook, parameter};
    pthread_mutex_lock(&api_lock);
    *hooks_end = added;
    hooks_end = &added->next;
    pthread_mutex_unlock(&api_lock);
    return 0;
}
