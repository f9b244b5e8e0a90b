/* What detections are made of: an exponential, the overlap of two boxes, the greatest of some scores. */
#ifndef MEMAOPT_DETECTION_H
#define MEMAOPT_DETECTION_H

#include <stdint.h>

/* 2^exponent, for exponents of normal numbers. */
static inline double power_of_two(int32_t exponent)
{
    union { uint64_t bits; double value; } made = { (uint64_t)(exponent + 1023) << 52 };
    return made.value;
}

/* e^x within an ulp or so: a series around the nearest multiple of ln 2. Products and sums apart, so that none is fused. */
static inline double exponential(double x)
{
    const double limited = x > 800.0 ? 800.0 : x < -800.0 ? -800.0 : x;
    const double turns = limited * 1.4426950408889634;
    const int32_t steps = (int32_t)(turns + (limited < 0.0 ? -0.5 : 0.5));
    const double high = (double)steps * 6.93147180369123816490e-01;
    const double low = (double)steps * 1.90821492927058770002e-10;
    const double near = limited - high;
    const double rest = near - low;
    double sum = 1.6059043836821613e-10;
    sum *= rest;
    sum += 2.08767569878681e-09;
    sum *= rest;
    sum += 2.505210838544172e-08;
    sum *= rest;
    sum += 2.755731922398589e-07;
    sum *= rest;
    sum += 2.7557319223985893e-06;
    sum *= rest;
    sum += 2.48015873015873e-05;
    sum *= rest;
    sum += 0.0001984126984126984;
    sum *= rest;
    sum += 0.001388888888888889;
    sum *= rest;
    sum += 0.008333333333333333;
    sum *= rest;
    sum += 0.041666666666666664;
    sum *= rest;
    sum += 0.16666666666666666;
    sum *= rest;
    sum += 0.5;
    sum *= rest;
    sum += 1.0;
    sum *= rest;
    sum += 1.0;
    const double scaled = sum * power_of_two(steps / 2);
    return scaled * power_of_two(steps - steps / 2);
}

/* Of corners ymin, xmin, ymax, xmax: what two boxes share over what they cover together; 0 if one has no area. */
static inline float overlap(const float *a, const float *b)
{
    const float height_a = a[2] - a[0], width_a = a[3] - a[1];
    const float height_b = b[2] - b[0], width_b = b[3] - b[1];
    const float area_a = height_a * width_a;
    const float area_b = height_b * width_b;
    const float low_y = a[0] < b[0] ? b[0] : a[0], low_x = a[1] < b[1] ? b[1] : a[1];
    const float high_y = b[2] < a[2] ? b[2] : a[2], high_x = b[3] < a[3] ? b[3] : a[3];
    const float height = high_y - low_y, width = high_x - low_x;
    const float inside_y = height < 0.0f ? 0.0f : height, inside_x = width < 0.0f ? 0.0f : width;
    const float shared = inside_y * inside_x;
    const float both = area_a + area_b;
    const float ratio = shared / (both - shared);
    return area_a <= 0.0f || area_b <= 0.0f ? 0.0f : ratio;
}

/* Puts an index where it belongs in a heap with the least score on top, from a hole downwards. */
static inline void settle(int32_t *heap, const float *scores, int32_t hole, int32_t size, int32_t index)
{
    const int32_t top = hole;
    int32_t child = hole;
    while (child < (size - 1) / 2) {
        child = 2 * (child + 1);
        child -= scores[heap[child]] > scores[heap[child - 1]];
        heap[hole] = heap[child];
        hole = child;
    }
    if (size % 2 == 0 && child == (size - 2) / 2) {
        child = 2 * child + 1;
        heap[hole] = heap[child];
        hole = child;
    }
    while (hole > top && scores[heap[(hole - 1) / 2]] > scores[index]) {
        heap[hole] = heap[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    heap[hole] = index;
}

/* The indices of the greatest scores in descending order, into order, which has room for all of them; equal ones as a
 * heap leaves them, and the first of them where one is wanted. */
static inline void first_of(int32_t *order, const float *scores, int32_t count, int32_t wanted)
{
    for (int32_t i = 0; i < count; i++) {
        order[i] = i;
    }
    if (wanted == 1) {
        for (int32_t i = 1; i < count; i++) {
            order[0] = scores[i] > scores[order[0]] ? i : order[0];
        }
        return;
    }
    for (int32_t parent = (wanted - 2) / 2; parent >= 0; parent--) {
        settle(order, scores, parent, wanted, order[parent]);
    }
    for (int32_t i = wanted; i < count; i++) {
        if (scores[order[i]] > scores[order[0]]) {
            const int32_t index = order[i];
            order[i] = order[0];
            settle(order, scores, 0, wanted, index);
        }
    }
    for (int32_t last = wanted - 1; last > 0; last--) {
        const int32_t index = order[last];
        order[last] = order[0];
        settle(order, scores, 0, last, index);
    }
}

#endif
