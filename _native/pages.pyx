"""Whole bodies under fixed paths: CRLs, and what the site says of itself. Found and described without the GIL."""

cimport cython
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from responder._native cimport der, http


@cython.final
cdef class Page:
    def __cinit__(
        self, bytes path not None, bytes body not None, bytes media_type not None, /, *, bytes etag=b"",
        int64_t this_update=0, int64_t next_update=0, int64_t fresh_until=0, int64_t max_age=0,
    ):
        if not 0 < len(path) <= MAX_PATH or len(etag) > MAX_TAG:
            raise ValueError(f"a path of {len(path)} octets, an ETag of {len(etag)}: {MAX_PATH} and {MAX_TAG} are the most")
        self.held = path, body, media_type
        self.data.path, self.data.path_size = path, len(path)
        self.data.body, self.data.body_size = body, len(body)
        self.data.media_type, self.data.media_type_size = media_type, len(media_type)
        self.data.is_dated = len(etag) > 0
        self.data.tag_size = len(etag)
        memcpy(self.data.tag, <Bytes> etag, len(etag))
        self.data.this_update, self.data.next_update = this_update, next_update
        self.data.fresh_until, self.data.max_age = fresh_until, max_age
        self.data.page = <void*> self

    @property
    def body(self):
        return self.held[1]


@cython.final
cdef class Pages:
    def __cinit__(self):
        self.replace([])

    def __dealloc__(self):
        free(self.places)

    def replace(self, object pages, /):
        cdef list held = list(pages)
        cdef uint64_t size = 16
        cdef uint64_t index
        cdef const PageData** places
        cdef Page page
        while size < <uint64_t> (2 * len(held)):
            size *= 2
        places = <const PageData**> calloc(size, sizeof(void*))
        if places == NULL:
            raise MemoryError
        for page in held:
            index = _hash(page.data.path, page.data.path_size) & (size - 1)
            while places[index] != NULL:
                index = (index + 1) & (size - 1)
            places[index] = &page.data
        free(self.places)
        self.places, self.mask, self.held = places, size - 1, held

    cdef const PageData* find(self, Bytes path, size_t size) noexcept nogil:
        cdef uint64_t index
        cdef const PageData* page
        if size > MAX_PATH:
            return NULL
        index = _hash(path, size)
        while True:
            page = self.places[index & self.mask]
            if page == NULL or (page.path_size == size and memcmp(page.path, path, size) == 0):
                return page
            index += 1


cdef uint64_t _hash(Bytes path, size_t size) noexcept nogil:
    """FNV-1a. The paths are the operator's; who asks for others finds an empty place."""
    cdef uint64_t value = 14695981039346656037ULL
    cdef size_t index
    for index in range(size):
        value = (value ^ path[index]) * 1099511628211ULL
    return value


cdef void put_page_head(
    Out* out, const PageData* page, bint is_known, bint closes, const Span* stamp, int64_t ceiling
) noexcept nogil:
    """The headers of `web.exchange.crl_sent`, at a time rounded up to seconds."""
    http.put_text(out, b"\r\nConnection: close\r\n\r\n" if closes else b"\r\n\r\n")
    der.put_span(out, stamp)
    http.put_text(out, b"\r\nDate: ")
    if page.is_dated:
        http.put_date(out, page.this_update)
        http.put_text(out, b"\r\nLast-Modified: ")
        http.put_date(out, page.next_update)
        http.put_text(out, b"\"\r\nExpires: ")
        der.put(out, page.tag, page.tag_size)
        http.put_text(out, b",public,no-transform,must-revalidate\r\nETag: \"")
        http.put_number(
            out, max(<int64_t> 0, min(page.max_age, min(page.fresh_until - ceiling, page.next_update - ceiling)))
        )
        http.put_text(out, b"\r\nCache-Control: max-age=")
    if is_known:
        http.put_text(out, b"HTTP/1.1 304 Not Modified")
        return
    http.put_number(out, <int64_t> page.body_size)
    http.put_text(out, b"\r\nContent-Length: ")
    der.put(out, page.media_type, page.media_type_size)
    http.put_text(out, b"HTTP/1.1 200 OK\r\nContent-Type: ")
