/* A product with the interface of CMSIS-NN's function: it reads each argument where that has it. */
#include "arm_nnfunctions.h"

static int8_t requantise(int32_t sum, int32_t multiplier, int32_t shift, const cmsis_nn_activation *to)
{
    const int32_t left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
    const int64_t product = (int64_t)(int32_t)((uint32_t)sum << left) * multiplier;
    const int32_t high = (int32_t)((product + (1LL << 30)) >> 31), mask = (int32_t)((1u << right) - 1u);
    const int32_t value = (high >> right) + ((high & mask) > (mask >> 1) + (high < 0));
    return (int8_t)(value < to->min ? to->min : value > to->max ? to->max : value);
}

int arm_convolve_1x1_s8_fast(
    const cmsis_nn_context *context, const cmsis_nn_conv_params *conv, const cmsis_nn_per_channel_quant_params *quant,
    const cmsis_nn_dims *input, const int8_t *x, const cmsis_nn_dims *filter, const int8_t *weights,
    const cmsis_nn_dims *bias_dims, const int32_t *bias, const cmsis_nn_dims *output, int8_t *y)
{
    (void)context, (void)filter, (void)bias_dims;
    for (int32_t j = 0; j < input->w; j++) {
        for (int32_t i = 0; i < output->c; i++) {
            int32_t sum = bias[i];
            for (int32_t p = 0; p < input->c; p++) {
                sum += weights[i * input->c + p] * x[j * input->c + p];
            }
            y[j * output->c + i] = requantise(sum, quant->multiplier[i], quant->shift[i], &conv->activation);
        }
    }
    return 0;
}
