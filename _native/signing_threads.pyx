"""Signatures that take longer than a turn of the lane may: made by threads of a process, without the GIL.

They have a lower priority than the lane, since whoever needs no signature goes first; so there is no lock that the lane
would wait for, neither the GIL nor one of ours. What waits for too long isn't signed any more: its client has another
answer then.
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
    /* The name and the niceness of this thread alone, as Linux has them. */
    static inline void cs_step_back(int by)
    {
        int thread = (int) syscall(SYS_gettid);
        prctl(PR_SET_NAME, "signing");
        setpriority(PRIO_PROCESS, thread, getpriority(PRIO_PROCESS, thread) + by);
    }
    #define cs_next(count) __atomic_fetch_add((count), 1, __ATOMIC_ACQ_REL)
    #define cs_is_set(flag) __atomic_load_n((flag), __ATOMIC_ACQUIRE)
    #define cs_set(flag) __atomic_store_n((flag), 1, __ATOMIC_RELEASE)
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
    void cs_raise(int fd)
    int cs_begin(pthread_t* thread, void* (*work)(void*) noexcept nogil, void* argument)
    int pthread_join(pthread_t thread, void** result)
    int sem_init(sem_t* semaphore, int is_shared, unsigned value)
    int sem_destroy(sem_t* semaphore)
    int sem_post(sem_t* semaphore)
    int sem_wait(sem_t* semaphore)
    # Take a place in the ring.
    uint64_t cs_next(uint64_t* count)
    # Put a job on the pile of those that are done; whether it is the only one.
    bint cs_lay_down(Job** pile, Job* job)
    # The pile, which is empty then.
    Job* cs_clear(Job** pile)
    bint cs_is_set(const int* flag)
    void cs_set(int* flag)

cdef enum:
    STEP_BACK = 10                    # of niceness: a tenth of the share of the lane, where both have enough to do


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


cdef void* work(void* argument) noexcept nogil:
    cdef Shop* shop = <Shop*> argument
    cdef Job* job
    cs_step_back(STEP_BACK)
    while True:
        while sem_wait(&shop.waiting) != 0:
            pass
        if cs_is_set(&shop.is_closing):
            return NULL
        job = shop.ring[cs_next(&shop.taken) % shop.room]     # filled: there was a post for each
        sign(job, shop.patience)
        if cs_lay_down(&shop.done, job):
            cs_raise(shop.rouser)


@cython.final
cdef class SigningThreads:
    def __cinit__(self, int wanted, size_t room, double patience, /):
        """So many, which begin when there is something for them, for at most `room` jobs that haven't been taken back. What
        has waited for `patience` seconds isn't signed."""
        self.wanted = max(wanted, 1)
        self.shop = <Shop*> calloc(1, sizeof(Shop))
        self.threads = <pthread_t*> calloc(self.wanted, sizeof(pthread_t))
        if self.shop == NULL or self.threads == NULL:
            raise MemoryError
        self.shop.room, self.shop.patience = max(room, <size_t> 1), <int64_t> (patience * 1e9)
        self.shop.ring = <Job**> calloc(self.shop.room, sizeof(Job*))
        self.shop.rouser = eventfd(0, EFD_CLOEXEC)
        if self.shop.ring == NULL:
            raise MemoryError
        if self.shop.rouser < 0 or sem_init(&self.shop.waiting, 0, 0) != 0:
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
            if self.shop.rouser > 0:
                close(self.shop.rouser)
            free(self.shop.ring)
        free(self.shop)
        free(self.threads)

    cdef close(self):
        cdef int index
        with nogil:
            cs_set(&self.shop.is_closing)
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
        return True

    cdef bint start(self) noexcept nogil:
        """Whether there is any thread."""
        while self.started < self.wanted and cs_begin(&self.threads[self.started], work, self.shop) == 0:
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
