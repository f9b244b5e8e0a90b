"""The warnings that the emitted C is free of."""

#: Of GCC and Clang, on every core and on a host.
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wmissing-prototypes", "-Werror")
