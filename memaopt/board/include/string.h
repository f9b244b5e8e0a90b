/* The part of <string.h> that freestanding.c implements, for compilers that come without a C library. */
#ifndef MEMAOPT_STRING_H
#define MEMAOPT_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *left, const void *right, size_t size);

#endif
