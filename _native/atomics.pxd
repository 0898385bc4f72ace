"""Words that several processes read and write, and the order in which they see them."""

from libc.stdint cimport uint32_t, uint64_t

cdef extern from * nogil:
    """
    #include <stdint.h>
    #include <sched.h>
    #define cs_load(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define cs_store(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    #define cs_acquire() __atomic_thread_fence(__ATOMIC_ACQUIRE)
    #define cs_release() __atomic_thread_fence(__ATOMIC_RELEASE)
    #define cs_prefetch(p) __builtin_prefetch(p)
    static inline int cs_take(uint32_t *word, uint32_t me)
    {
        uint32_t none = 0;
        return __atomic_compare_exchange_n(word, &none, me, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
    }
    static inline int cs_swap(uint64_t *word, uint64_t from, uint64_t to)
    {
        return __atomic_compare_exchange_n(word, &from, to, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    """
    uint64_t load "cs_load"(const uint64_t* word)
    uint32_t load32 "cs_load"(const uint32_t* word)
    void store "cs_store"(uint64_t* word, uint64_t value)
    void store32 "cs_store"(uint32_t* word, uint32_t value)
    # What is read before (written after) a fence isn't seen as read after (written before) it.
    void acquire "cs_acquire"()
    void release "cs_release"()
    void prefetch "cs_prefetch"(const void* where)
    # Make a word that is 0 `me`; whether it was 0.
    bint take "cs_take"(uint32_t* word, uint32_t me)
    # Change a word, where it is `old` still.
    bint swap "cs_swap"(uint64_t* word, uint64_t old, uint64_t new)
    int sched_yield()
