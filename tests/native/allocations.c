/* Counts the blocks that are allocated now, for tests/native/test_native_leaks.py. Loaded with LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *block);

static atomic_long live;

long live_allocations(void) { return atomic_load(&live); }

static void *counted(void *block) {
    if (block) atomic_fetch_add(&live, 1);
    return block;
}

void *malloc(size_t size) { return counted(__libc_malloc(size)); }
void *calloc(size_t count, size_t size) { return counted(__libc_calloc(count, size)); }
void *memalign(size_t alignment, size_t size) { return counted(__libc_memalign(alignment, size)); }
void *aligned_alloc(size_t alignment, size_t size) { return counted(__libc_memalign(alignment, size)); }

int posix_memalign(void **block, size_t alignment, size_t size) {
    *block = counted(__libc_memalign(alignment, size));
    return *block ? 0 : 12;
}

void *realloc(void *block, size_t size) {
    void *moved = __libc_realloc(block, size);
    if (!block && moved) atomic_fetch_add(&live, 1);
    if (block && !size && !moved) atomic_fetch_sub(&live, 1);
    return moved;
}

void free(void *block) {
    if (block) atomic_fetch_sub(&live, 1);
    __libc_free(block);
}
