cdef str drain_errors()
