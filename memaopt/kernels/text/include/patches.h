/* How a matrix kernel is driven over the positions of an image. */
#ifndef MEMAOPT_PATCHES_H
#define MEMAOPT_PATCHES_H

#include <stdint.h>

#include "compiler.h"

/* What a matrix kernel works on: tiles of up to three output positions. In each following tile the positions'
 * inputs and the outputs lie at a fixed distance from this one's. */
struct patch_tiles {
    const int8_t *x[3];
    int8_t *out;
    const int32_t *weights;
    int32_t tiles;
};

/* Rows of output positions: bytes from a position's input to the next one's, and to the next row's. */
struct patch_grid {
    int32_t n, width, row_step, step, outputs;
};

/* Runs a kernel over rows of positions, n at a time. What a row leaves over starts a tile that ends in the next
 * row; the last tile of all overlaps the one before it. */
ONE_TEXT static void run_tiles(void (*kernel)(const struct patch_tiles *), const struct patch_grid *grid, const int32_t *weights,
                      const int8_t *x, int8_t *out, int32_t rows)
{
    const int32_t count = rows * grid->width;
    int32_t p = 0;
    while (p < count) {
        p = p > count - grid->n ? count - grid->n : p;
        struct patch_tiles tiles = {.out = out + p * grid->outputs, .weights = weights};
        for (int32_t j = 0; j < grid->n; j++) {
            tiles.x[j] = x + (p + j) / grid->width * grid->row_step + (p + j) % grid->width * grid->step;
        }
        const int32_t whole = (grid->width - p % grid->width) / grid->n;
        tiles.tiles = whole > 0 ? whole : 1;
        kernel(&tiles);
        p += tiles.tiles * grid->n;
    }
}

#endif
