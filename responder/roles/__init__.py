"""The composition roots: one file a program, on the stores that `stores` opens."""
