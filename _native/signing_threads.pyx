"""Signatures that take longer than a turn of the lane may: made by threads of a process, without the GIL.

They have the lowest priority, since whoever needs no signature goes first; so there is no lock that the lane would wait
for, neither the GIL nor one of ours. Where everything else keeps the cores busy one more thread, which has the lane's own
priority, signs what they don't come to, at a pace that others hardly notice. What waits for too long isn't signed any
more: its client has another answer then.
"""

cimport cython
from libc.errno cimport errno
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from responder._native.algorithms cimport SigningContext, close_signing, open_signing, sign_octets
from responder._native.sockets cimport CLOCK_MONOTONIC, EFD_CLOEXEC, close, cs_time, eventfd

cdef extern from * nogil:
    """
    #include <pthread.h>
    #include <semaphore.h>
    #include <signal.h>
    #include <stdint.h>
    #include <sys/prctl.h>
    #include <sys/resource.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    #include <time.h>
    /* The name and the niceness of this thread alone, as Linux has them. */
    static inline void cs_step_back(int by)
    {
        int thread = (int) syscall(SYS_gettid);
        prctl(PR_SET_NAME, "signing");
        setpriority(PRIO_PROCESS, thread, getpriority(PRIO_PROCESS, thread) + by);
    }
    static inline void cs_sleep(long nanoseconds)
    {
        struct timespec time = {.tv_nsec = nanoseconds};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
    }
    #define cs_next(count) __atomic_fetch_add((count), 1, __ATOMIC_ACQ_REL)
    #define cs_is_set(flag) __atomic_load_n((flag), __ATOMIC_ACQUIRE)
    /* What follows sees what came before an "unset" that didn't see this, and the other way round. */
    static inline void cs_set(int *flag)
    {
        __atomic_store_n(flag, 1, __ATOMIC_RELEASE);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
    static inline int cs_unset(int *flag)
    {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        return __atomic_exchange_n(flag, 0, __ATOMIC_ACQ_REL);
    }
    #define cs_count(count) __atomic_load_n((count), __ATOMIC_ACQUIRE)
    #define cs_clear(pile) __atomic_exchange_n((pile), NULL, __ATOMIC_ACQ_REL)
    #define cs_lay_down(pile, job) ({ \
        __typeof__(*(pile)) below = __atomic_load_n((pile), __ATOMIC_RELAXED); \
        do (job)->next = below; \
        while (!__atomic_compare_exchange_n((pile), &below, (job), 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)); \
        below == NULL; })
    static inline void cs_raise(int fd) { uint64_t one = 1; ssize_t done = write(fd, &one, sizeof one); (void) done; }
    /* A thread that no signal is delivered to. */
    static inline int cs_begin(pthread_t *thread, void *(*work)(void *), void *argument)
    {
        sigset_t all, before;
        int failed;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        failed = pthread_create(thread, NULL, work, argument);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return failed;
    }
    """
    void cs_step_back(int by)
    void cs_sleep(long nanoseconds)
    void cs_raise(int fd)
    int cs_begin(pthread_t* thread, void* (*work)(void*) noexcept nogil, void* argument)
    int pthread_join(pthread_t thread, void** result)
    int sem_init(sem_t* semaphore, int is_shared, unsigned value)
    int sem_destroy(sem_t* semaphore)
    int sem_post(sem_t* semaphore)
    int sem_wait(sem_t* semaphore)
    int sem_trywait(sem_t* semaphore)
    int sem_getvalue(sem_t* semaphore, int* value)
    # Take a place in the ring.
    uint64_t cs_next(uint64_t* count)
    uint64_t cs_count(const uint64_t* count)
    # Put a job on the pile of those that are done; whether it is the only one.
    bint cs_lay_down(Job** pile, Job* job)
    # The pile, which is empty then.
    Job* cs_clear(Job** pile)
    bint cs_is_set(const int* flag)
    void cs_set(int* flag)
    # Whether it was set.
    bint cs_unset(int* flag)

cdef enum:
    LAST = 19                         # of niceness
    PACE = 5000000                    # nanoseconds: of these in which something waits one is signed at least


cdef Job* make_job(
    uint64_t token, libcrypto.EVP_PKEY* key, const Algorithm* algorithm, const uint8_t* data, size_t size
) noexcept nogil:
    cdef Job* job = <Job*> malloc(sizeof(Job) + size)
    if job == NULL:
        return NULL
    if libcrypto.EVP_PKEY_up_ref(key) != 1:
        free(job)
        return NULL
    job.next, job.token, job.key, job.algorithm = NULL, token, key, algorithm
    job.taken, job.signature_size = 0, 0
    job.begun = cs_time(CLOCK_MONOTONIC)
    memcpy(job + 1, data, size)
    job.data, job.size = <const uint8_t*> (job + 1), size
    return job


cdef void free_job(Job* job) noexcept nogil:
    libcrypto.EVP_PKEY_free(job.key)
    free(job)


cdef void sign(Job* job, int64_t patience) noexcept nogil:
    cdef SigningContext context
    cdef int64_t now = cs_time(CLOCK_MONOTONIC)
    if now - job.begun > patience:
        return
    if not open_signing(&context, job.key, job.algorithm) or not sign_octets(
        &context, job.data, job.size, job.signature, &job.signature_size
    ):
        job.signature_size = 0
    close_signing(&context)
    job.taken = cs_time(CLOCK_MONOTONIC) - now


cdef void sign_next(Shop* shop) noexcept nogil:
    """After a post has been taken from `waiting`."""
    cdef Job* job = shop.ring[cs_next(&shop.taken) % shop.room]
    sign(job, shop.patience)
    if cs_lay_down(&shop.done, job):
        cs_raise(shop.rouser)


cdef void* work(void* argument) noexcept nogil:
    cdef Shop* shop = <Shop*> argument
    cs_step_back(LAST)
    while True:
        wait(&shop.waiting)
        if cs_is_set(&shop.is_closing):
            return NULL
        sign_next(shop)


cdef void* keep_pace(void* argument) noexcept nogil:
    """Looks on while something waits, and signs the next when none was begun for a while."""
    cdef Shop* shop = <Shop*> argument
    cdef uint64_t taken
    cs_step_back(0)
    while not cs_is_set(&shop.is_closing):
        cs_set(&shop.is_resting)
        if not something_waits(shop):
            wait(&shop.call)
        while something_waits(shop) and not cs_is_set(&shop.is_closing):
            taken = cs_count(&shop.taken)
            cs_sleep(PACE)
            if taken == cs_count(&shop.taken) and sem_trywait(&shop.waiting) == 0:
                if cs_is_set(&shop.is_closing):
                    sem_post(&shop.waiting)                   # another's
                else:
                    sign_next(shop)
    return NULL


cdef bint something_waits(Shop* shop) noexcept nogil:
    cdef int count = 0
    sem_getvalue(&shop.waiting, &count)
    return count > 0


cdef void wait(sem_t* semaphore) noexcept nogil:
    while sem_wait(semaphore) != 0:      # a signal
        pass


@cython.final
cdef class SigningThreads:
    def __cinit__(self, int wanted, size_t room, double patience, /):
        """So many, and the one that keeps the pace, which begin when there is something for them, for at most `room` jobs
        that haven't been taken back. What has waited for `patience` seconds isn't signed."""
        self.wanted = max(wanted, 1) + 1
        self.shop = <Shop*> calloc(1, sizeof(Shop))
        self.threads = <pthread_t*> calloc(self.wanted, sizeof(pthread_t))
        if self.shop == NULL or self.threads == NULL:
            raise MemoryError
        self.shop.room, self.shop.patience = max(room, <size_t> 1), <int64_t> (patience * 1e9)
        self.shop.ring = <Job**> calloc(self.shop.room, sizeof(Job*))
        self.shop.rouser = eventfd(0, EFD_CLOEXEC)
        if self.shop.ring == NULL:
            raise MemoryError
        if self.shop.rouser < 0 or sem_init(&self.shop.waiting, 0, 0) != 0 or sem_init(&self.shop.call, 0, 0) != 0:
            raise OSError(errno, "no eventfd, or no semaphore")

    def __dealloc__(self):
        cdef uint64_t place
        if self.shop != NULL:
            self.close()
            if self.shop.ring != NULL:
                for place in range(self.shop.taken, self.put_count):
                    free_job(self.shop.ring[place % self.shop.room])
            free_all(self.shop.done)
            sem_destroy(&self.shop.waiting)
            sem_destroy(&self.shop.call)
            if self.shop.rouser > 0:
                close(self.shop.rouser)
            free(self.shop.ring)
        free(self.shop)
        free(self.threads)

    cdef close(self):
        cdef int index
        with nogil:
            cs_set(&self.shop.is_closing)
            sem_post(&self.shop.call)
            for index in range(self.started):
                sem_post(&self.shop.waiting)
            for index in range(self.started):
                pthread_join(self.threads[index], NULL)
            self.started = 0

    cdef bint put(self, Job* job) noexcept nogil:
        if self.count == self.shop.room or self.shop.is_closing or (self.started == 0 and not self.start()):
            return False
        self.shop.ring[self.put_count % self.shop.room] = job
        self.put_count += 1
        self.count += 1
        sem_post(&self.shop.waiting)
        if cs_unset(&self.shop.is_resting):
            sem_post(&self.shop.call)
        return True

    cdef bint start(self) noexcept nogil:
        """Whether there is any thread."""
        while self.started < self.wanted and cs_begin(
            &self.threads[self.started], keep_pace if self.started == self.wanted - 1 else work, self.shop
        ) == 0:
            self.started += 1
        return self.started > 0

    cdef Job* take(self) noexcept nogil:
        cdef Job* pile = cs_clear(&self.shop.done)
        cdef Job* first = NULL
        cdef Job* below
        while pile != NULL:              # the last one lies on top
            below = pile.next
            pile.next = first
            first, pile = pile, below
            self.count -= 1
        return first


cdef void free_all(Job* job) noexcept nogil:
    cdef Job* following
    while job != NULL:
        following = job.next
        free_job(job)
        job = following
