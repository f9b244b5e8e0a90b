/* The four functions that a freestanding compiler may call on its own (GCC manual, "Standards").
 * Weak, so that a program with its own versions uses those. */
#include <stddef.h>
#include <stdint.h>

#define WEAK __attribute__((weak))

WEAK void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    uint8_t *d = to;
    const uint8_t *s = from;
    if ((((uintptr_t)d | (uintptr_t)s) & 3u) == 0u) {
        for (; size >= 4u; size -= 4u, d += 4, s += 4) {
            *(uint32_t *)(void *)d = *(const uint32_t *)(const void *)s;
        }
    }
    while (size-- > 0u) {
        *d++ = *s++;
    }
    return to;
}

WEAK void *memmove(void *to, const void *from, size_t size)
{
    uint8_t *d = to;
    const uint8_t *s = from;
    if ((uintptr_t)d <= (uintptr_t)s) {
        while (size-- > 0u) {
            *d++ = *s++;
        }
    } else {
        while (size-- > 0u) {
            d[size] = s[size];
        }
    }
    return to;
}

WEAK void *memset(void *to, int value, size_t size)
{
    uint8_t *d = to;
    const uint32_t word = (uint8_t)value * 0x01010101u;
    if (((uintptr_t)d & 3u) == 0u) {
        for (; size >= 4u; size -= 4u, d += 4) {
            *(uint32_t *)(void *)d = word;
        }
    }
    while (size-- > 0u) {
        *d++ = (uint8_t)value;
    }
    return to;
}

WEAK int memcmp(const void *left, const void *right, size_t size)
{
    const uint8_t *a = left;
    const uint8_t *b = right;
    for (; size > 0u; --size, ++a, ++b) {
        if (*a != *b) {
            return *a < *b ? -1 : 1;
        }
    }
    return 0;
}
