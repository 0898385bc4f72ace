"""What the site says to a request, without Python: from the table, from a page, or that it is too much."""

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from responder._native cimport der, framing, http
from responder._native.answer cimport ASK
from responder._native.der cimport Span
from responder._native.pages cimport put_page_head

cdef int64_t SECOND = 1000000000

cdef enum:
    MAX_SMALL = 8192      # of a page: larger ones aren't copied


@cython.final
cdef class Site:
    def __cinit__(self, Responder responder not None, Pages pages not None, Gate gate not None):
        self.responder, self.pages, self.gate = responder, pages, gate

    cdef Outcome look_up(
        self, const Head* head, Bytes data, Want want, int64_t now, Out* out, int* price
    ) noexcept nogil:
        """What the table says to a plain request, or to one with a nonce."""
        cdef Bytes request = data + head.size
        cdef size_t length = <size_t> head.body_size
        if head.method == framing.HEAD or not http.is_for_any_ocsp(head.target, head.target_size):
            return ASK
        if head.method == framing.GET:
            if framing.is_for_rules(head):
                return ASK
            length = get_path.find_request(head.target, head.target_size, self.text, self.found)
            request = self.found
        return self.responder.answer(head, request, length, now, want, out, price) if length else ASK

    cdef bint shows(self, const Head* head, int64_t now, Out* out, const PageData** following) noexcept nogil:
        """Whether a page is asked for, and `out` has its head, and the body where that is small; else it is `following`.
        Where only the rules in Python know whether the client has it, they are asked."""
        cdef const PageData* page
        cdef uint64_t* counters
        cdef int64_t ceiling = (now + SECOND - 1) // SECOND
        cdef bint is_known = False
        if head.method == framing.POST:
            return False
        page = self.pages.find(head.target, head.target_size)
        if page == NULL or (page.is_dated and (page.next_update <= now // SECOND or framing.is_for_rules(head))):
            return False
        if page.is_dated:
            is_known = http.is_among(page.tag, page.tag_size, head.tags, head.tags_size)
            counters = self.responder.counters
            counters[self.responder.words.crls[is_known]] += 1
        if head.method == framing.GET and not is_known:
            if page.body_size <= MAX_SMALL:
                der.put(out, page.body, page.body_size)
            else:
                following[0] = page
        put_page_head(out, page, is_known, head.closes, self.responder.stamp_at(now // SECOND), ceiling)
        return True

    cdef bint admits(
        self,
        const Address* peer,
        const Head* head,
        Bytes data,
        bint is_hit,
        int price,
        int64_t now,
        int64_t monotonic,
        Out* out,
    ) noexcept nogil:
        cdef bint is_ocsp = head.method != framing.ANOTHER and http.is_for_any_ocsp(head.target, head.target_size) and (
            head.method == framing.POST
            or get_path.find_request(head.target, head.target_size, self.text, self.found) > 0
        )
        cdef const Span* stamp = self.responder.stamp_at(now // SECOND)
        return self.gate.admits(peer, head, data, is_ocsp, is_hit, price, monotonic, stamp, out)
