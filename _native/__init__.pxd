# Makes `from responder._native cimport …` find the modules here.
