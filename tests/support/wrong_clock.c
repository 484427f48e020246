/* A clock that is WRONG_CLOCK seconds ahead (or behind, if negative), for a process in which this is
   preloaded, and for all that comes from it. The kernel's own clock stays right: so do the times of
   files, and how long a wait takes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long off(void) {
    const char *said = getenv("WRONG_CLOCK");
    return said ? atol(said) : 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_of_day(clockid_t clock) {
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int answer = REAL(clock_gettime)(clock, now);
    if (answer == 0 && is_of_day(clock)) now->tv_sec += off();
    return answer;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int answer = REAL(gettimeofday)(now, zone);
    if (answer == 0) now->tv_sec += off();
    return answer;
}

time_t time(time_t *now) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now) *now = found.tv_sec;
    return found.tv_sec;
}

/* Waits until a time of day, which was read from the clock above. Times of the monotonic clock, with
   which a condition may wait as well, are those since the machine started, and so far smaller. */
static struct timespec meant(const struct timespec *until) {
    struct timespec right = *until;
    if (right.tv_sec > 1000000000) right.tv_sec -= off();
    return right;
}

int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict until) {
    struct timespec right = meant(until);
    return REAL(sem_timedwait)(sem, &right);
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict until) {
    struct timespec right = meant(until);
    return REAL(pthread_mutex_timedlock)(mutex, &right);
}

/* There are two of this name; dlsym would give the older one. */
int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!real) {
        real = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
        if (!real) real = REAL(pthread_cond_timedwait);
    }
    struct timespec right = meant(until);
    return real(condition, mutex, &right);
}
