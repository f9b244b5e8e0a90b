/* For compilers that come without a C library: CMSIS-DSP's headers include <math.h>, its matrix products use nothing
 * of it. */
