"""Signatures that take longer than a turn of the lane may: made by threads of a process, without the GIL."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

from responder._native cimport libcrypto
from responder._native.algorithms cimport MAX_SIGNATURE, Algorithm

cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t

cdef extern from "<semaphore.h>" nogil:
    ctypedef struct sem_t:
        pass

# What is signed, and for which connection.
ctypedef struct Job:
    Job* next
    uint64_t token
    libcrypto.EVP_PKEY* key          # a reference of its own
    const Algorithm* algorithm
    uint16_t signatures              # words that count it
    uint16_t seconds
    int64_t produced_at
    int64_t begun                    # CLOCK_MONOTONIC: waits since
    int64_t taken                    # nanoseconds
    const uint8_t* data              # of this very allocation
    size_t size
    size_t signature_size            # 0: it wasn't signed, or not in time
    uint8_t[MAX_SIGNATURE] signature

# What the threads see.
ctypedef struct Shop:
    Job** ring                       # of jobs that wait, in their order
    size_t room
    int64_t patience                 # nanoseconds
    sem_t waiting
    sem_t call                       # for who keeps the pace, where that is resting
    int is_resting
    uint64_t taken                   # from the ring, since the beginning
    Job* done                        # a pile
    int rouser                       # an eventfd with an event when the first is put on it
    int is_closing


cdef class SigningThreads:
    cdef Shop* shop
    cdef pthread_t* threads
    cdef int wanted
    cdef int started
    cdef uint64_t put_count          # since the beginning
    cdef size_t count                # of jobs that haven't been taken back
    # Have `job` signed; it is the threads' then. False where there is no room, or no thread.
    cdef bint put(self, Job* job) noexcept nogil
    # Those that are done, the first of them; they are the caller's.
    cdef Job* take(self) noexcept nogil
    cdef bint start(self) noexcept nogil
    # End them, each after the signature that it is at.
    cdef close(self)


# With a copy of `data`; NULL where there is no memory.
cdef Job* make_job(
    uint64_t token, libcrypto.EVP_PKEY* key, const Algorithm* algorithm, const uint8_t* data, size_t size
) noexcept nogil
cdef void free_job(Job* job) noexcept nogil
