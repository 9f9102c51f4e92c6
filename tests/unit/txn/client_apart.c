#include "tests/unit/txn/client_apart.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void serve(int ready)
{
    struct env_posix_options options = {0};
    struct fakes fakes;
    struct env *env;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (env_posix_create(&options, &env) != 0)
        _exit(1);
    fakes_serve(&fakes, env);
    if (write(ready, &fakes.address, sizeof(fakes.address)) != sizeof(fakes.address))
        _exit(1);
    for (;;)
        env_posix_run(env);
}

struct apart serve_apart(void)
{
    struct apart apart;
    int ready[2];

    cr_assert_eq(pipe(ready), 0);
    apart.pid = fork();
    cr_assert_geq(apart.pid, 0);
    if (apart.pid == 0)
        serve(ready[1]);
    cr_assert_eq(read(ready[0], &apart.address, sizeof(apart.address)), (ssize_t)sizeof(apart.address));
    close(ready[0]);
    close(ready[1]);
    return apart;
}

void end_apart(struct apart *apart)
{
    kill(apart->pid, SIGKILL);
    waitpid(apart->pid, NULL, 0);
}
