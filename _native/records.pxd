"""Records of a certificate, as Python holds them."""

from responder._native.record_format cimport RecordView


cdef class Records:
    cdef readonly bytes encoded
    cdef RecordView view


cdef Records read_records(bytes encoded)
cdef set_version(RecordView* view, object epoch, object number, object as_of_microseconds)
