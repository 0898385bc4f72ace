"""Signatures that take longer than a turn of the lane may: made by threads of a process, without the GIL.

They have a lower priority than the lane, since whoever needs no signature goes first, and none of them ever holds a lock
that the lane waits for: the GIL isn't theirs, and the mutex is held for moments. What waits for too long isn't signed any
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
    int pthread_mutex_init(pthread_mutex_t* mutex, void* attributes)
    int pthread_mutex_destroy(pthread_mutex_t* mutex)
    int pthread_mutex_lock(pthread_mutex_t* mutex)
    int pthread_mutex_unlock(pthread_mutex_t* mutex)
    int pthread_cond_init(pthread_cond_t* condition, void* attributes)
    int pthread_cond_destroy(pthread_cond_t* condition)
    int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex)
    int pthread_cond_signal(pthread_cond_t* condition)
    int pthread_cond_broadcast(pthread_cond_t* condition)

cdef int64_t PATIENCE = 500000000     # nanoseconds, as of the chain (`ocsp/live.py`)

cdef enum:
    STEP_BACK = 15                    # of niceness: a thirtieth of the share of the lane, where both have enough to do


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


cdef void sign(Job* job) noexcept nogil:
    cdef SigningContext context
    cdef int64_t now = cs_time(CLOCK_MONOTONIC)
    if now - job.begun > PATIENCE:
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
    cdef bint is_first
    cs_step_back(STEP_BACK)
    pthread_mutex_lock(&shop.mutex)
    while True:
        while shop.first == NULL and not shop.is_closing:
            pthread_cond_wait(&shop.has_work, &shop.mutex)
        if shop.is_closing:
            break
        job = shop.first
        shop.first = job.next
        pthread_mutex_unlock(&shop.mutex)
        job.next = NULL
        sign(job)
        pthread_mutex_lock(&shop.mutex)
        is_first = shop.done == NULL
        if is_first:
            shop.done = job
        else:
            shop.last_done.next = job
        shop.last_done = job
        if is_first:                 # whoever wakes up takes over at once, and wants the mutex
            pthread_mutex_unlock(&shop.mutex)
            cs_raise(shop.rouser)
            pthread_mutex_lock(&shop.mutex)
    pthread_mutex_unlock(&shop.mutex)
    return NULL


@cython.final
cdef class SigningThreads:
    def __cinit__(self, int wanted, /):
        """So many, which begin when there is something for them."""
        self.wanted = max(wanted, 1)
        self.shop = <Shop*> calloc(1, sizeof(Shop))
        self.threads = <pthread_t*> calloc(self.wanted, sizeof(pthread_t))
        if self.shop == NULL or self.threads == NULL:
            raise MemoryError
        pthread_mutex_init(&self.shop.mutex, NULL)
        pthread_cond_init(&self.shop.has_work, NULL)
        self.shop.rouser = eventfd(0, EFD_CLOEXEC)
        if self.shop.rouser < 0:
            raise OSError(errno, "no eventfd")

    def __dealloc__(self):
        if self.shop != NULL:
            self.close()
            free_all(self.shop.first)
            free_all(self.shop.done)
            pthread_cond_destroy(&self.shop.has_work)
            pthread_mutex_destroy(&self.shop.mutex)
            if self.shop.rouser > 0:
                close(self.shop.rouser)
        free(self.shop)
        free(self.threads)

    cdef close(self):
        cdef int index
        with nogil:
            pthread_mutex_lock(&self.shop.mutex)
            self.shop.is_closing = True
            pthread_cond_broadcast(&self.shop.has_work)
            pthread_mutex_unlock(&self.shop.mutex)
            for index in range(self.started):
                pthread_join(self.threads[index], NULL)
            self.started = 0

    cdef bint put(self, Job* job) noexcept nogil:
        if self.shop.is_closing or (self.started == 0 and not self.start()):
            return False
        pthread_mutex_lock(&self.shop.mutex)
        if self.shop.first == NULL:
            self.shop.first = job
        else:
            self.shop.last.next = job
        self.shop.last = job
        pthread_cond_signal(&self.shop.has_work)
        pthread_mutex_unlock(&self.shop.mutex)
        self.count += 1
        return True

    cdef bint start(self) noexcept nogil:
        """Whether there is any thread."""
        while self.started < self.wanted and cs_begin(&self.threads[self.started], work, self.shop) == 0:
            self.started += 1
        return self.started > 0

    cdef Job* take(self) noexcept nogil:
        cdef Job* first
        cdef Job* each
        pthread_mutex_lock(&self.shop.mutex)
        first = self.shop.done
        self.shop.done = NULL
        pthread_mutex_unlock(&self.shop.mutex)
        each = first
        while each != NULL:
            self.count -= 1
            each = each.next
        return first


cdef void free_all(Job* job) noexcept nogil:
    cdef Job* following
    while job != NULL:
        following = job.next
        free_job(job)
        job = following
