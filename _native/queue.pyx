"""Connections whose turn comes later, in their order; bounded."""

cimport cython
from libc.stdlib cimport calloc, free


@cython.final
cdef class Queue:
    def __cinit__(self, size_t room, /):
        self.tokens, self.room = <uint64_t*> calloc(max(room, <size_t> 1), sizeof(uint64_t)), room
        if self.tokens == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.tokens)

    cdef bint put(self, uint64_t token) noexcept nogil:
        if self.count == self.room:
            return False
        self.tokens[(self.first + self.count) % self.room] = token
        self.count += 1
        return True

    cdef bint take(self, uint64_t* token) noexcept nogil:
        if self.count == 0:
            return False
        token[0] = self.tokens[self.first]
        self.first = (self.first + 1) % self.room
        self.count -= 1
        return True
