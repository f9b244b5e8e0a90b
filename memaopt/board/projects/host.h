/* Output and the end of the program, by semihosting. */
#ifndef HOST_H
#define HOST_H

#include <stdint.h>

void host_write(const char *text);
void host_number(uint32_t number);
void host_exit(uint32_t code);

#endif
