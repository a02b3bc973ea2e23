/* Norms, and int8 linear layers: what these read is rounded row by row, and what they make may be activated
 * at once.
 *
 * Whatever is read in vectors has a multiple of LANES numbers.
 */
#ifndef TYMPAN_LINEAR_H
#define TYMPAN_LINEAR_H

#include <stdint.h>

#include "activations.h"
#include "vectors.h"

#define INSIDE __attribute__((visibility("hidden")))

/* A linear layer: weights in blocks of LANES outputs, [out / LANES, in / 4, LANES, 4], the last one filled up
 * with zeros; a scale, a bias and the sum of its weights for each output. */
typedef struct {
    const int8_t *weights;
    const float *scales, *biases;
    const int32_t *sums;
    int64_t n_in, n_out;
} Linear;

/* Rows that a linear layer reads: bytes, and of each row its scale and the byte that stands for zero. */
typedef struct {
    uint8_t *bytes;
    float *scales;
    int32_t *zeros;
} Rounded;

typedef struct {
    const float *weight, *bias;
} Norm;

/* Round row `row` of `to`, of so many states. */
INSIDE void round_row(const float *states, int64_t width, Rounded to, int64_t row);

/* What `norm` makes of a row of states. */
INSIDE void normalise(const float *states, Norm norm, float epsilon, int64_t width, float *normed);

/* The same of rows, one after the other in `row_states`, rounded. */
INSIDE void normalise_and_round(const float *states, Norm norm, float epsilon, int64_t width, int64_t n_rows,
                                float *row_states, Rounded to);

/* Outputs of one block for all rows, to rows so far apart: added to what is there, activated, or neither. */
INSIDE void multiply_block(const Linear *layer, int64_t block, Rounded read, int64_t n_rows, float *to,
                           int64_t stride, int64_t then);

static inline int64_t n_blocks(const Linear *layer) { return (layer->n_out + LANES - 1) / LANES; }

#define EACH_BLOCK(layer) \
    _Pragma("omp for schedule(static)") for (int64_t block = 0; block < n_blocks(layer); block++)

#endif
