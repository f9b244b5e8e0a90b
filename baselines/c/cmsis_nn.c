/* CMSIS-NN's 1x1 convolution as a matrix product: C[N][M] = requantised B[N][K] A[M][K]^T, activations NHWC. ``channels``
 * has the biases of all channels, then the multipliers, then the shifts, so that none of it is rearranged in a call. */
#include "arm_nnfunctions.h"

int cmsis_nn_1x1(
    const int8_t *a, const int8_t *b, int8_t *c, uint32_t m, uint32_t k, uint32_t n, const int32_t *channels);

int cmsis_nn_1x1(
    const int8_t *a, const int8_t *b, int8_t *c, uint32_t m, uint32_t k, uint32_t n, const int32_t *channels)
{
    const cmsis_nn_context context = {.buf = NULL, .size = 0};
    const cmsis_nn_conv_params conv = {
        .stride = {.w = 1, .h = 1},
        .dilation = {.w = 1, .h = 1},
        .activation = {.min = -128, .max = 127},
    };
    const cmsis_nn_per_channel_quant_params quant = {
        .multiplier = (int32_t *)&channels[m],
        .shift = (int32_t *)&channels[2 * m],
    };
    const cmsis_nn_dims input = {.n = 1, .h = 1, .w = (int32_t)n, .c = (int32_t)k};
    const cmsis_nn_dims filter = {.n = (int32_t)m, .h = 1, .w = 1, .c = (int32_t)k};
    const cmsis_nn_dims bias = {.n = 1, .h = 1, .w = 1, .c = (int32_t)m};
    const cmsis_nn_dims output = {.n = 1, .h = 1, .w = (int32_t)n, .c = (int32_t)m};
    return (int)arm_convolve_1x1_s8_fast(
        &context, &conv, &quant, &input, b, &filter, a, &bias, channels, &output, c);
}
