"""Signing profiles, as Python holds them."""

from responder._native.render cimport Constants


cdef class SigningProfile:
    cdef readonly bytes id
    cdef readonly bytes body
    cdef readonly bytes issuer_tag
    cdef readonly int generation
    cdef readonly bytes signature_algorithm
    cdef readonly bytes responder_id
    cdef readonly tuple certificates
    cdef bytes extensions
    cdef bytes certs
    cdef Constants constants
