/* Output and the end of the program, by semihosting. */
#include "host.h"

static void ask(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt #0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void host_write(const char *text)
{
    ask(4u, text);
}

void host_number(uint32_t number)
{
    char text[11];
    char *at = text + sizeof text;
    *--at = '\0';
    do {
        *--at = (char)('0' + number % 10u);
        number /= 10u;
    } while (number != 0u);
    host_write(at);
}

void host_exit(uint32_t code)
{
    const uint32_t reason[2] = {0x20026u, code};
    ask(0x20u, reason);
    for (;;) {
    }
}
