"""What a turn without the GIL has for Python, in its order."""

cimport cython
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from responder._native.sockets cimport close


@cython.final
cdef class Mail:
    def __cinit__(self):
        self.first = NULL
        self.last = &self.first

    def __dealloc__(self):
        cdef Letter* letter
        while self.first != NULL:
            letter = self.first
            self.first = letter.next
            if letter.fd >= 0:
                close(letter.fd)
            free(letter)

    cdef bint note(
        self, uint64_t token, int fd, Bytes octets, size_t size, void* page, bint closes
    ) noexcept nogil:
        cdef Letter* letter = <Letter*> malloc(sizeof(Letter) + size)
        if letter == NULL:
            return False
        letter.next, letter.token, letter.fd, letter.size, letter.closes = NULL, token, fd, size, closes
        letter.page = page
        memcpy(letter.octets, octets, size)
        self.last[0] = letter
        self.last = &letter.next
        return True

    cdef list take(self):
        cdef list taken = []
        cdef Letter* letter
        while self.first != NULL:
            letter = self.first
            octets = <bytes> letter.octets[:letter.size]
            page = None if letter.page == NULL else <object> letter.page
            taken.append((letter.token, letter.fd, octets, page, letter.closes))
            self.first = letter.next
            free(letter)
        self.last = &self.first
        return taken
